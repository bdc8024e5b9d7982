//! Logs: one JSON object a line on stderr, the level by LAB_LOG. Neither bodies nor query strings are logged.

use tracing_subscriber::EnvFilter;

/// Environment variable with the level or filter: `warn`, `info,hyper=debug`, …
pub const LEVEL: &str = "LAB_LOG";

/// Starts logging for this process; without effect when a subscriber is there already. Panics are logged like everything else.
pub fn init() {
    let filter = EnvFilter::try_from_env(LEVEL).unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .is_ok();
    if started {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, message = panic.payload_as_str().unwrap_or("no message"), "a task panicked");
        }));
    }
}
