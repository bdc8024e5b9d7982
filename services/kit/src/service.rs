//! What one running service is made of: its name, metrics, dependencies, stage and limits, built once and shared by every request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ::metrics::{Counter, Gauge};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::admission::Admission;
use crate::chaos::Chaos;
use crate::probes::{Readiness, Scrapes};
use crate::work::Turns;
use crate::{Burner, Lifecycle, Metrics, ServeArgs, Work, chain};

/// A part of the service that ends after the last request, and how to wait for it.
pub(crate) struct StopHook {
    pub(crate) part: &'static str,
    pub(crate) done: BoxFuture<'static, ()>,
}

/// A service. Clones are the same one.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

/// What requests, probes and shutdown share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) args: ServeArgs,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) admission: Admission,
    pub(crate) readiness: Readiness,
    pub(crate) scrapes: Scrapes,
    pub(crate) chaos: Option<Chaos>,
    pub(crate) turns: Turns,
    pub(crate) shed: Counter,
    pub(crate) in_flight: Gauge,
    stops: Mutex<Vec<StopHook>>,
}

/// Builds a [`Service`].
pub struct Builder {
    name: String,
    args: ServeArgs,
    address: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
    scrapes: Scrapes,
}

impl Service {
    /// Begins a service; `kind` is its name when `--name` gives none, `port` its port when `--listen` gives none.
    pub fn builder(args: &ServeArgs, kind: &str, port: u16) -> Builder {
        let metrics = Metrics::new();
        metrics.describe("http_requests_total", "Requests answered; status 499: the client went away first");
        metrics.describe(
            "http_request_duration_seconds",
            "Time from a request's admission to its answer; shed requests are not in it",
        );
        metrics.describe("http_requests_in_flight", "Requests in work");
        metrics.describe("lab_shed_total", "Requests turned away because all places were taken");
        Builder {
            name: args.name.clone().unwrap_or_else(|| kind.to_owned()),
            args: args.clone(),
            address: args.address(port),
            metrics,
            readiness: Readiness::default(),
            scrapes: Scrapes::default(),
        }
    }

    /// The replica's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The registry of metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The stage of life.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// True when only this machine can reach the listener.
    pub fn is_local(&self) -> bool {
        self.0.address.ip().is_loopback()
    }

    /// Burns the CPU time that `work` gives this operation.
    pub fn burner(&self, work: &Work, operation: &str) -> Burner {
        Burner::new(work.of(operation), self.0.turns.clone())
    }

    /// Something to wait for after the last request, within the drain limit: consumers that end, a store that closes. In the order added.
    pub fn on_stop(&self, part: &'static str, done: impl Future<Output = ()> + Send + 'static) {
        self.0.stops.lock().unwrap_or_else(PoisonError::into_inner).push(StopHook { part, done: done.boxed() });
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.0.clone()
    }
}

impl Shared {
    /// The stop hooks; each is given out once.
    pub(crate) fn take_stops(&self) -> Vec<StopHook> {
        std::mem::take(&mut *self.stops.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Builder {
    /// The registry of metrics, for handles that hooks keep.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Something without which the service is not ready. `check` is asked at most once a second and has 500 ms to answer.
    pub fn dependency<C, F, E>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + 'static,
    {
        let check = move || check().map(|answer| answer.map_err(|error| chain(&error))).boxed();
        self.readiness.checks.push((name, Box::new(check)));
        self
    }

    /// Refreshes gauges before a scrape, at most once a second, in at most 500 ms.
    pub fn on_scrape<H, F>(mut self, hook: H) -> Self
    where
        H: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.scrapes.hooks.push(Box::new(move || hook().boxed()));
        self
    }

    /// The service.
    pub fn build(self) -> Service {
        Service(Arc::new(Shared {
            shed: self.metrics.counter("lab_shed_total", &[]),
            in_flight: self.metrics.gauge("http_requests_in_flight", &[]),
            admission: Admission::new(self.args.max_in_flight.get()),
            turns: Turns::new(self.args.threads.get()),
            chaos: self.args.chaos.then(Chaos::default),
            lifecycle: Lifecycle::default(),
            stops: Mutex::default(),
            name: self.name,
            args: self.args,
            address: self.address,
            metrics: self.metrics,
            readiness: self.readiness,
            scrapes: self.scrapes,
        }))
    }
}
