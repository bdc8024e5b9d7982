//! user-service: creates users and returns them. Flags in, a served router out; routes are in `routes`, the queued way in `queued`.

mod config;
mod queued;
mod refuse;
mod routes;
mod user;

use std::sync::Arc;

use backing::cache::{ReadThrough, Ttl};
use backing::{Queue, Store, cache, queue, store};
use kit::{ServeError, Service};

pub use config::{Config, Create};
pub use queued::NAME as QUEUE;
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

/// Opens what the flags name, and starts the consumer when creates are queued. The service is not served yet.
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
    let queue = match config.queue_address()? {
        Some(address) => {
            let settings = queue::Settings::default();
            Some(queue::open(address, queued::NAME, settings).await.map_err(opened("queue", address))?)
        }
        None => None,
    };
    let reader = Arc::new(ReadThrough::new(cache, Ttl::at_most(config.cache_ttl.to_duration(), seed())));
    Ok(assemble(config, store, reader, queue))
}

/// Replicas must not let their copies expire together.
fn seed() -> u64 {
    u64::from(std::process::id())
}

/// Puts parts together that are open already: dependencies, gauges, the consumer when there is a queue, and what ends with the
/// service. Within a runtime.
pub fn assemble(
    config: &Config,
    store: Arc<dyn Store>,
    reader: Arc<ReadThrough>,
    queue: Option<Arc<dyn Queue>>,
) -> Arc<State> {
    let mut builder = Service::builder(&config.serve, "user-service", 8081);
    builder = routes::observe(builder, &store, &reader);
    builder = builder.dependency("store", {
        let store = store.clone();
        move || {
            let store = store.clone();
            async move { store.ping().await }
        }
    });
    if let Some(queue) = &queue {
        builder = queued::observe(builder, queue);
    }
    let service = builder.build();
    if let Some(queue) = &queue {
        queued::start(&service, queue, &store);
    }
    close_at_the_end(&service, &store, queue.as_ref());
    Arc::new(State::new(service, config, store, reader, queue))
}

fn close_at_the_end(service: &Service, store: &Arc<dyn Store>, queue: Option<&Arc<dyn Queue>>) {
    if let Some(queue) = queue.cloned() {
        service.on_stop("queue", async move {
            if let Err(error) = queue.close().await {
                tracing::warn!(error = kit::chain(&error), "the queue did not close cleanly");
            }
        });
    }
    let store = store.clone();
    service.on_stop("store", async move {
        if let Err(error) = store.close().await {
            tracing::warn!(error = kit::chain(&error), "the store did not close cleanly");
        }
    });
}
