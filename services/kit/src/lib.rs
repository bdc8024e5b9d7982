//! What every service shares: flags, listener, graceful shutdown, probes, metrics, admission, errors as JSON, CPU work, chaos.
//! It knows HTTP and the process; it knows no store, no queue and no service's own routes.
//!
//! A service is three steps:
//!
//! ```no_run
//! # async fn example(args: kit::ServeArgs) -> Result<(), kit::ServeError> {
//! let service = kit::Service::builder(&args, "hello-service", 8090).build();
//! let app = kit::Routes::new(&service).route("/hello", axum::routing::get(|| async { "hello" })).finish();
//! kit::run(&service, app).await
//! # }
//! ```

mod admission;
pub mod answer;
mod args;
pub mod body;
mod chaos;
pub mod consume;
mod error;
pub mod export;
mod front;
pub mod guard;
pub mod idempotency;
mod lifecycle;
mod listen;
pub mod metrics;
mod probes;
pub mod query;
pub mod reads;
mod routes;
mod serve;
mod service;
mod shutdown;
pub mod telemetry;
mod work;

pub use answer::ApiError;
pub use args::ServeArgs;
pub use error::{OpenError, ServeError, chain};
pub use lifecycle::{Lifecycle, Stage};
pub use metrics::Metrics;
pub use routes::Routes;
pub use serve::{run, serve};
pub use service::{Builder, Service};
pub use work::{Burner, Work};

/// Time in which a request must be answered; later it is answered with 504.
pub const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// Largest request body in bytes; a larger one is answered with 413.
pub const BODY_LIMIT: usize = 16 * 1024;
