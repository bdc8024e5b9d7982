//! message-service: takes messages into a queue, consumes them into a store, lists them. Flags in, a served router out;
//! routes are in `routes`, the consumers in `inbox`.

mod config;
mod inbox;
mod message;
mod refuse;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use backing::cache::{ReadThrough, Ttl};
use backing::{Queue, Store, cache, queue, store};
use kit::ServeError;

pub use config::Config;
pub use inbox::QUEUE;
pub use routes::{State, app};

/// Opens what the flags name and serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`]: wrong flags, a store or queue that cannot be opened, a taken address, an unclean end.
pub async fn run(config: Config) -> Result<(), ServeError> {
    kit::telemetry::init();
    let state = open(&config).await?;
    kit::run(&state.service, app(state.clone())).await
}

/// Opens what the flags name and starts the consumers. The service is not served yet.
///
/// # Errors
/// As [`run`], without the listening.
pub async fn open(config: &Config) -> Result<Arc<State>, ServeError> {
    config.work.only(&routes::OPERATIONS)?;
    let opened = |role, address: &str| {
        // As it may be shown: without a password.
        let address = backing::address::shown(address);
        move |error: backing::Error| ServeError::Open { role, address, source: error.into() }
    };
    let settings = store::Settings { connections: config.store_connections.get(), ..store::Settings::default() };
    let store = store::open(&config.store, settings).await.map_err(opened("store", &config.store))?;
    let cache = cache::open(&config.cache, cache::Settings::default()).await.map_err(opened("cache", &config.cache))?;
    let settings = queue::Settings::default();
    let visibility = settings.visibility;
    let queue = queue::open(&config.queue, inbox::QUEUE, settings).await.map_err(opened("queue", &config.queue))?;
    // Replicas must not let their copies expire together.
    let ttl = Ttl::at_most(config.cache_ttl.to_duration(), u64::from(std::process::id()));
    Ok(assemble(config, store, Arc::new(ReadThrough::new(cache, ttl)), queue, visibility))
}

/// Puts parts together that are open already: dependencies, gauges, consumers, and what ends with the service. `visibility` is the
/// queue's. Within a runtime.
pub fn assemble(
    config: &Config,
    store: Arc<dyn Store>,
    reader: Arc<ReadThrough>,
    queue: Arc<dyn Queue>,
    visibility: Duration,
) -> Arc<State> {
    let service = routes::observed(config, &store, &reader, &queue).build();
    let state = Arc::new(State::new(service, config, store, reader, queue));
    inbox::start(&state, config, visibility);
    close_at_the_end(&state);
    state
}

fn close_at_the_end(state: &State) {
    let (queue, store) = (state.queue.clone(), state.store.clone());
    state.service.on_stop("queue", async move {
        if let Err(error) = queue.close().await {
            tracing::warn!(error = kit::chain(&error), "the queue did not close cleanly");
        }
    });
    state.service.on_stop("store", async move {
        if let Err(error) = store.close().await {
            tracing::warn!(error = kit::chain(&error), "the store did not close cleanly");
        }
    });
}
