//! metrics-adapter: `external.metrics.k8s.io/v1beta1` for a HorizontalPodAutoscaler, made of what the replicas' `/metrics` say together.
//! Flags in, two served routers out; what is served is in `catalogue`, the API in `api`, who may call it in `front_proxy`.
//!
//! ```text
//! replicas' /metrics ─scrape─► page ─► window ─► Reading ─(watch)─► api ─► door (TLS) ─► API server ─► autoscaler
//! ```

mod api;
mod buckets;
mod catalogue;
mod certificates;
mod config;
mod door;
mod front_proxy;
mod page;
mod places;
mod scrape;
mod selector;
mod window;

use std::net::SocketAddr;

use axum::Router;
use kit::{Routes, ServeError, Service};
use tokio::net::TcpListener;

use crate::api::Api;
use crate::catalogue::Source;
use crate::certificates::Files;
use crate::scrape::Pace;

pub use config::Config;

/// An adapter whose API is served and whose scrapers run.
pub struct Adapter {
    /// The service around it.
    pub service: Service,
    /// Where the API is served, over TLS.
    pub api: SocketAddr,
}

impl Adapter {
    /// The plain router: probes and `/metrics`. Ready does not depend on what is scraped: an API without an endpoint behind it stops
    /// the deletion of every namespace of the cluster.
    pub fn app(&self) -> Router {
        Routes::new(&self.service).finish()
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`]: wrong flags, certificates that cannot be used, a taken address, an unclean end.
pub async fn run(config: Config) -> Result<(), ServeError> {
    kit::telemetry::init();
    let adapter = open(&config).await?;
    kit::run(&adapter.service, adapter.app()).await
}

/// Reads the certificates, starts the scrapers and serves the API. Within a runtime; all of it ends with the service.
///
/// # Errors
/// As [`run`], without the plain listener.
pub async fn open(config: &Config) -> Result<Adapter, ServeError> {
    config.check()?;
    let service = Service::builder(&config.serve, "metrics-adapter", 8083).build();
    let files = Files::new(&config.tls_dir, &config.front_proxy_dir);
    let tls = certificates::open(files, service.lifecycle()).await?;
    let listening = |source| ServeError::Listen { address: config.api_listen, source };
    let listener = TcpListener::bind(config.api_listen).await.map_err(listening)?;
    let api = listener.local_addr().map_err(listening)?;
    let pace = Pace { period: config.period.to_duration(), window: config.window.to_duration() };
    let client = client(pace)?;
    let sources = Source::ALL.map(|source| {
        let places = places::find(config.hosts(source), pace.period, service.lifecycle());
        (source, scrape::scrape(source, places, client.clone(), pace, &service))
    });
    let answering = Api::new(&config.namespace, pace.window, sources.into(), service.metrics());
    let serving = tokio::spawn(door::serve(listener, tls, api::app(answering), service.lifecycle().clone()));
    service.on_stop("api", async move {
        // A panic of the task has been logged by the runtime.
        serving.await.ok();
    });
    tracing::info!(address = %api, namespace = config.namespace, "serving external metrics");
    Ok(Adapter { service, api })
}

/// Reads replicas, each within a period. A proxy of the environment does not know them.
fn client(pace: Pace) -> Result<reqwest::Client, ServeError> {
    let built =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(pace.period).build();
    built.map_err(|error| ServeError::System { doing: "make a client for HTTP", source: std::io::Error::other(error) })
}
