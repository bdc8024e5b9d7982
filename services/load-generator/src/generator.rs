//! One generator: the engine with what stands around it, and what the routes do with it. Calls of the engine may block for a moment,
//! so they run beside the runtime.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use kit::guard::Token;
use kit::{ApiError, Metrics, ServeError, Service};
use lab_core::control::{LoadChange, LoadPlan, LoadState, Sample, Share, Status, Targets};
use lab_core::histogram::Encoded;
use lab_core::unit::Rate;
use load_engine::{Engine, EngineError};

use crate::Config;
use crate::config::{over_cap, peak_of, wrong_with};
use crate::lease::Lease;
use crate::samples::Samples;

/// How long a load that is stopped with the service may take to finish.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the routes share.
pub struct Generator {
    /// The service around it.
    pub service: Service,
    pub(crate) samples: Samples,
    pub(crate) lease: Lease,
    engine: Engine,
    token: Token,
    default_plan: LoadPlan,
    max_rate: Rate,
    offer: Mutex<Offer>,
}

/// What the load in progress asks of this generator, as far as it has been told.
#[derive(Debug, Clone, Copy)]
struct Offer {
    /// Highest rate of the plan, and what replaces it, requests a second of the whole schedule.
    planned: f64,
    instead: Option<f64>,
    share: Share,
}

impl Offer {
    fn of(plan: &LoadPlan) -> Self {
        Self { planned: peak_of(plan), instead: None, share: plan.share }
    }

    fn changed(self, change: &LoadChange) -> Self {
        let instead = change.rate.map_or(self.instead, |rate| (rate >= 0.0).then_some(rate));
        Self { instead, share: change.share.unwrap_or(self.share), ..self }
    }
}

/// A call that cannot be answered as wished.
#[derive(Debug)]
pub(crate) enum Refused {
    Unauthorized(kit::guard::Unauthorized),
    Api(ApiError),
}

impl Generator {
    /// Starts the engine; within a runtime. Nothing is sent until a load is begun.
    ///
    /// # Errors
    /// A token or load file that cannot be used, a target that cannot be found, threads that cannot be had.
    pub fn start(config: &Config) -> Result<Arc<Self>, ServeError> {
        let (token, default_plan) = (config.token()?, config.default_plan()?);
        let service = Service::builder(&config.serve, "load-generator", 8080).build();
        let settings =
            load_engine::Config { name: service.name().to_owned(), workers: config.senders, ..Default::default() };
        let (engine, received) = Engine::spawn(&settings).map_err(start_error)?;
        engine.targets(&config.first_targets()).map_err(start_error)?;
        let generator = Arc::new(Self {
            samples: Samples::new(),
            lease: Lease::new(config.lease.to_duration()),
            engine,
            token,
            offer: Mutex::new(Offer::of(&default_plan)),
            default_plan,
            max_rate: config.max_rate,
            service,
        });
        keep_samples(&generator, received)?;
        watch_lease(&generator);
        end_with_service(&generator);
        Ok(generator)
    }

    /// Passes a call with the token, and takes it as a sign of life of the conductor.
    pub(crate) fn authorize(&self, request: &Parts) -> Result<(), Refused> {
        self.token.check(&request.headers).map_err(Refused::Unauthorized)?;
        self.lease.renew();
        Ok(())
    }

    /// Begins the default load. Each time it has an id of its own, so that what it writes is new.
    pub(crate) async fn begin_default(self: &Arc<Self>) -> Result<(), Refused> {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let plan = LoadPlan { id: format!("{}-{millis}", self.default_plan.id), ..self.default_plan.clone() };
        if !self.run(|g| Ok(g.engine.has_targets())).await? {
            let message = "no targets are known; give --target HOST:PORT, or PUT /targets";
            return Err(Refused::Api(ApiError::new(StatusCode::CONFLICT, message)));
        }
        self.begin(plan, false).await
    }

    /// Begins a load of a conductor, which hangs on its lease.
    pub(crate) async fn begin_leased(self: &Arc<Self>, plan: LoadPlan) -> Result<(), Refused> {
        let wrong = wrong_with(&plan, self.max_rate);
        if !wrong.is_empty() {
            return Err(EngineError::Plan(wrong).into());
        }
        self.begin(plan, true).await
    }

    async fn begin(self: &Arc<Self>, plan: LoadPlan, leased: bool) -> Result<(), Refused> {
        self.run(move |g| {
            let (id, offer) = (plan.id.clone(), Offer::of(&plan));
            // Before the load, so that its first sample finds its plan begun.
            g.engine.load_after(plan, || g.samples.begin(&id))?;
            *g.offer() = offer;
            g.lease.hold(leased);
            tracing::info!(plan = id, leased, "load begun");
            Ok(())
        })
        .await
    }

    pub(crate) async fn change(self: &Arc<Self>, change: LoadChange) -> Result<(), Refused> {
        self.run(move |g| {
            // Held over the call, so that two changes cannot both be within the cap and together above it.
            let mut offer = g.offer();
            let changed = offer.changed(&change);
            let rate = changed.instead.unwrap_or(changed.planned);
            if let Some(over) = over_cap(rate, changed.share, g.max_rate) {
                return Err(EngineError::Change(vec![format!("rate: {over}")]));
            }
            g.engine.change(&change)?;
            *offer = changed;
            Ok(())
        })
        .await
    }

    fn offer(&self) -> MutexGuard<'_, Offer> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn set_targets(self: &Arc<Self>, targets: Targets) -> Result<(), Refused> {
        self.run(move |g| g.engine.targets(&targets)).await
    }

    pub(crate) async fn stop(self: &Arc<Self>) -> Result<(), Refused> {
        self.run(|g| g.engine.stop()).await
    }

    pub(crate) async fn status(self: &Arc<Self>) -> Result<Status, Refused> {
        self.run(|g| g.engine.status()).await
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Refused> {
        let generator = Arc::clone(self);
        let outcome = tokio::task::spawn_blocking(move || call(&generator)).await;
        outcome.map_err(|_| Refused::Api(ApiError::internal()))?.map_err(Refused::from)
    }
}

/// Takes samples from the engine as long as it lives.
fn keep_samples(generator: &Arc<Generator>, received: Receiver<Sample>) -> Result<(), ServeError> {
    let counted = Counted::new(generator.service.metrics());
    let weak = Arc::downgrade(generator);
    let keep = move || {
        while let Ok(sample) = received.recv() {
            let Some(generator) = weak.upgrade() else { return };
            counted.add(&sample);
            generator.samples.push(&sample);
        }
    };
    let thread = std::thread::Builder::new().name("samples".to_owned()).spawn(keep);
    thread.map(drop).map_err(|source| ServeError::System { doing: "start the thread that keeps samples", source })
}

fn watch_lease(generator: &Arc<Generator>) {
    let (weak, life) = (Arc::downgrade(generator), generator.service.lifecycle().clone());
    tokio::spawn(async move {
        while let Some(generator) = weak.upgrade().filter(|_| !life.is_ending()) {
            tokio::select! {
                () = life.ending() => return,
                () = generator.lease.expired() => {}
            }
            let silent_for = generator.lease.length();
            tracing::warn!(?silent_for, "the conductor has not been heard of; its load is stopped");
            if let Err(refused) = generator.stop().await {
                tracing::error!(?refused, "the load of a silent conductor could not be stopped");
            }
        }
    });
}

/// A service that ends stops its load first, and waits for what is in flight.
fn end_with_service(generator: &Arc<Generator>) {
    let (weak, life) = (Arc::downgrade(generator), generator.service.lifecycle().clone());
    let task = tokio::spawn(async move {
        life.ending().await;
        let Some(generator) = weak.upgrade() else { return };
        let finished = async {
            generator.stop().await?;
            while !matches!(generator.status().await?.state, LoadState::Idle | LoadState::Finished) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<(), Refused>(())
        };
        match tokio::time::timeout(LAST_WORDS, finished).await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => tracing::warn!(?refused, "the load could not be stopped"),
            Err(_) => tracing::warn!(limit = ?LAST_WORDS, "the load did not finish in time"),
        }
    });
    generator.service.on_stop("load", async move {
        // A panic of the task has been logged by the runtime.
        task.await.ok();
    });
}

/// Requests by outcome, for `/metrics`.
struct Counted {
    completed: metrics::Counter,
    failed: metrics::Counter,
    dropped: metrics::Counter,
    in_flight: metrics::Gauge,
    queued: metrics::Gauge,
    response: metrics::Histogram,
    send_lag: metrics::Histogram,
}

impl Counted {
    fn new(metrics: &Metrics) -> Self {
        metrics.describe("lab_load_requests_total", "Requests of the load by outcome");
        metrics.describe("lab_load_in_flight", "Requests of the load that wait for their answer");
        metrics.describe("lab_load_queued", "Requests of the load that wait for a connection");
        metrics.describe(
            "lab_load_response_seconds",
            "From a request's intended time to its last byte, completed requests",
        );
        metrics.describe(
            "lab_load_send_lag_seconds",
            "From a request's intended time to its first byte, started requests",
        );
        let outcome = |outcome| metrics.counter("lab_load_requests_total", &[("outcome", outcome)]);
        Self {
            completed: outcome("completed"),
            failed: outcome("failed"),
            dropped: outcome("dropped"),
            in_flight: metrics.gauge("lab_load_in_flight", &[]),
            queued: metrics.gauge("lab_load_queued", &[]),
            response: metrics.histogram("lab_load_response_seconds", &[]),
            send_lag: metrics.histogram("lab_load_send_lag_seconds", &[]),
        }
    }

    fn add(&self, sample: &Sample) {
        for phase in &sample.phases {
            self.completed.increment(phase.counts.completed);
            self.failed.increment(phase.counts.failed);
            self.dropped.increment(phase.counts.dropped);
            record(&self.response, &phase.response);
            record(&self.send_lag, &phase.send_lag);
        }
        // What is unfinished when a load ends is given up: who scales by these must not see it for ever.
        let (in_flight, queued) = if sample.last { (0, 0) } else { (sample.in_flight, sample.queued) };
        self.in_flight.set(in_flight as f64);
        self.queued.set(queued as f64);
    }
}

/// Puts what a sample has in exact buckets into those of `/metrics`. A text that is no histogram counts nothing.
fn record(into: &metrics::Histogram, from: &Encoded) {
    for (value, count) in lab_core::histogram::Histogram::decode(from).iter().flat_map(|read| read.buckets()) {
        into.record_many(value.as_secs_f64(), usize::try_from(count).unwrap_or(usize::MAX));
    }
}

fn start_error(error: EngineError) -> ServeError {
    match error {
        EngineError::Start(source) => ServeError::System { doing: "start the load engine", source },
        other => ServeError::Config(kit::chain(&other)),
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::Plan(_) | EngineError::Change(_) | EngineError::Targets(_) => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::Busy(_) | EngineError::NoPlan | EngineError::OldTargets { .. } => StatusCode::CONFLICT,
            EngineError::Start(_) | EngineError::NoAnswer => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::Api(ApiError::new(status, error.to_string()))
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthorized(unauthorized) => unauthorized.into_response(),
            Self::Api(error) => error.into_response(),
        }
    }
}
