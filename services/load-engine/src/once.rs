//! One load from a command line: a URL and a few numbers in, a summary out. Blocks until it is over.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use lab_core::control::{Endpoint, LoadChange, LoadPlan, Operation, PlanPhase, Sample, Share, Targets};
use lab_core::spec::{Arrivals, Shape};
use lab_core::unit::{Rate, Span};

use crate::clock::now_ns;
use crate::engine::{Config, Engine, EngineError};
use crate::plan::{Drive, Pace, Plan};
use crate::summary::{Summary, Totals};

/// Without a sample for so long, the engine is stuck.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest load that ends by its number of requests.
const LONGEST: Span = Span::from_secs(24 * 3600);

/// When a load ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After a time.
    For(Span),
    /// After a number of requests.
    Requests(u64),
}

/// What to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `http://host[:port][/path][?query]`; path, header values and body may hold `{n}` and `{key}`.
    pub url: String,
    /// Offered rate; None sends as fast as the connections are answered.
    pub rate: Option<Rate>,
    /// Most connections.
    pub connections: u32,
    /// When it ends, warm-up not included.
    pub length: Length,
    /// Time before, sent at the same rate and left out of the results.
    pub warmup: Span,
    /// HTTP method.
    pub method: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Body; empty: none.
    pub body: String,
    /// Time after which a request has failed.
    pub timeout: Span,
    /// How arrivals are spaced.
    pub arrivals: Arrivals,
    /// Seed of arrivals and keys.
    pub seed: u64,
    /// `{key}` is drawn from 1 to this.
    pub keys: u64,
    /// Threads that send.
    pub workers: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            rate: None,
            connections: 64,
            length: Length::For(Span::from_secs(10)),
            warmup: Span::ZERO,
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: String::new(),
            timeout: Span::from_secs(10),
            arrivals: Arrivals::Poisson,
            seed: 1,
            keys: 1,
            workers: 1,
        }
    }
}

impl Options {
    /// Checks all that can be known before anything is sent; names are not looked up.
    ///
    /// # Errors
    /// The URL or the options cannot be used.
    pub fn check(&self) -> Result<(), OnceError> {
        prepare(self).map(drop)
    }
}

/// A load could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The URL cannot be called.
    #[error("`{url}` cannot be loaded: {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong and what to change.
        why: &'static str,
    },
    /// How many requests a warm-up sends is not known, so the two do not combine.
    #[error("a warm-up needs a duration: give one instead of a number of requests")]
    WarmupOfRequests,
    /// The engine refused.
    #[error("the load cannot be driven")]
    Engine(#[from] EngineError),
    /// The engine fell silent.
    #[error("the load engine delivered no sample for {}s; the machine may be overloaded", SILENCE.as_secs())]
    Silent,
    /// A sample could not be read back, which is an error in the engine.
    #[error("a sample of the load engine cannot be read")]
    Sample(#[from] lab_core::histogram::HistogramError),
}

/// Hears whether a change was made.
type Answer = Box<dyn FnOnce(Result<(), EngineError>)>;

/// How a load goes on after a second of it.
pub enum Next {
    /// As it is.
    Go,
    /// With this changed. The answer is called at once; a change that is refused leaves the load as it is.
    Change(LoadChange, Answer),
    /// Nothing more is sent.
    Stop,
}

impl From<bool> for Next {
    fn from(go: bool) -> Self {
        if go { Self::Go } else { Self::Stop }
    }
}

/// Drives one load to its end. `on_sample` sees each second's results and says how it goes on: true, false to stop, or a [`Next`].
/// Once stopped, the summary is that of what was sent by then.
///
/// # Errors
/// The URL or the options cannot be used, or the engine fails.
pub fn run_once<N: Into<Next>>(
    options: &Options,
    mut on_sample: impl FnMut(&Sample) -> N,
) -> Result<Summary, OnceError> {
    let (address, drive) = prepare(options)?;
    let config = Config { workers: options.workers.max(1), ..Config::default() };
    let (engine, samples) = Engine::spawn(&config)?;
    let endpoints = vec![Endpoint { replica: address.clone(), address }];
    engine.targets(&Targets { version: 1, endpoints })?;
    engine.load(drive)?;
    let first_phase = u32::from(options.warmup > Span::ZERO);
    let mut totals = Totals::new(first_phase);
    loop {
        let sample = next(&samples)?;
        totals.add(&sample)?;
        match on_sample(&sample).into() {
            Next::Go => {}
            Next::Change(change, answer) => answer(engine.change(&change)),
            Next::Stop => engine.stop()?,
        }
        if sample.last {
            break;
        }
    }
    let measured_ns = totals.last_ns().saturating_sub(options.warmup.0);
    let measured_ns = match (options.length, options.rate) {
        (Length::For(length), _) => measured_ns.min(length.0),
        (Length::Requests(_), _) => measured_ns,
    };
    Ok(totals.summary(measured_ns as f64 / 1e9, config.workers))
}

/// The address to call and what to drive there, checked.
fn prepare(options: &Options) -> Result<(String, Drive), OnceError> {
    let (address, path) = split(&options.url)?;
    if options.warmup > Span::ZERO && matches!(options.length, Length::Requests(_)) {
        return Err(OnceError::WarmupOfRequests);
    }
    let drive = drive(options, path);
    Plan::divide(&drive, options.workers.max(1)).map_err(EngineError::Plan)?;
    Ok((address, drive))
}

fn next(samples: &Receiver<Sample>) -> Result<Sample, OnceError> {
    samples.recv_timeout(SILENCE).map_err(|e| match e {
        RecvTimeoutError::Timeout => OnceError::Silent,
        RecvTimeoutError::Disconnected => EngineError::NoAnswer.into(),
    })
}

fn drive(options: &Options, path: String) -> Drive {
    let rate = options.rate.unwrap_or_default();
    let (length, limit) = match options.length {
        Length::For(length) => (length, None),
        Length::Requests(n) => (LONGEST, Some(n)),
    };
    let phase = |name: &str, length| PlanPhase { name: name.to_owned(), rate: Shape::Constant(rate), length };
    let warmup = (options.warmup > Span::ZERO).then(|| phase("warm-up", options.warmup));
    let operation = Operation {
        name: options.method.clone(),
        weight: 1.0,
        method: options.method.clone(),
        path,
        headers: options.headers.clone(),
        body: options.body.clone(),
        creates_key: false,
        ledger: false,
    };
    let plan = LoadPlan {
        id: format!("load-{}", now_ns()),
        start_at_ns: None,
        operations: vec![operation],
        arrivals: options.arrivals,
        phases: warmup.into_iter().chain([phase("load", length)]).collect(),
        connections: options.connections,
        timeout: options.timeout,
        max_queue: 1_000_000,
        seed: options.seed,
        share: Share { index: 0, count: 1 },
        joins_at_ns: 0,
        keys: options.keys,
        drain: options.timeout,
    };
    Drive { plan, pace: if options.rate.is_some() { Pace::Open } else { Pace::Closed }, limit }
}

/// Splits a URL into `host:port` and path with query.
fn split(url: &str) -> Result<(String, String), OnceError> {
    let refuse = |why| OnceError::Url { url: url.to_owned(), why };
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    if lower.starts_with("https://") {
        return Err(refuse("only http works today; load the service behind the TLS proxy, or give an http address"));
    }
    let rest = if lower.starts_with("http://") { &url[7..] } else { url };
    if rest.contains("://") {
        return Err(refuse("only http works today; write http://host:port/path"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let tail = tail.split('#').next().unwrap_or_default();
    if authority.is_empty() || authority.contains(['@', ' ']) {
        return Err(refuse("write http://host:port/path, without user or password"));
    }
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
    let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let path = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
    Ok((address, path))
}
