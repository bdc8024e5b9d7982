//! load-generator: the load engine behind a control API. Flags in, a served router out; routes are in `routes`, what they do in
//! `generator`, who may call in `door`.

mod config;
mod door;
mod generator;
mod lease;
mod page;
mod routes;
mod samples;

use kit::ServeError;

pub use config::Config;
pub use generator::Generator;
pub use routes::app;

/// Reads what the flags name, starts the engine and serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`]: wrong flags or files, a taken address, an unclean end.
pub async fn run(config: Config) -> Result<(), ServeError> {
    kit::telemetry::init();
    let generator = Generator::start(&config)?;
    kit::run(&generator.service, app(generator.clone())).await
}
