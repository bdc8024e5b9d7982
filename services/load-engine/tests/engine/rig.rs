//! An engine in a test: plans, targets, and samples that are checked as they are read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use lab_core::control::{Endpoint, LoadPlan, Operation, PhaseSample, PlanPhase, Sample, Share, Targets};
use lab_core::histogram::{Encoded, Histogram};
use lab_core::ledger::Ledger;
use lab_core::spec::{Arrivals, Shape};
use lab_core::unit::{Rate, Span};
use load_engine::{Config, Drive, Engine};

pub const DEADLINE: Duration = Duration::from_secs(15);

pub struct Rig {
    pub engine: Engine,
    samples: Receiver<Sample>,
}

/// Everything that a load left behind.
#[derive(Default)]
pub struct Outcome {
    pub ledger: Ledger,
    pub response: Histogram,
    pub send_lag: Histogram,
    pub failures: Histogram,
    pub causes: BTreeMap<String, u64>,
    pub samples: Vec<Sample>,
}

impl Rig {
    pub fn new(targets: &[SocketAddr]) -> Self {
        Self::with_workers(targets, 1)
    }

    pub fn with_workers(targets: &[SocketAddr], workers: u32) -> Self {
        let config = Config { name: "g".into(), workers, ..Config::default() };
        let (engine, samples) = Engine::spawn(&config).expect("threads");
        engine.targets(&list(1, targets)).expect("literal addresses");
        Self { engine, samples }
    }

    pub fn load(&self, drive: impl Into<Drive>) {
        self.engine.load(drive).expect("a valid plan");
    }

    pub fn next(&self) -> Sample {
        self.samples.recv_timeout(DEADLINE).expect("a sample within the deadline")
    }

    /// Reads to the last sample and checks all of them.
    pub fn finish(&self) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            outcome.take(self.next());
            if outcome.samples.last().is_some_and(|s| s.last) {
                return outcome;
            }
        }
    }

    pub fn run(&self, drive: impl Into<Drive>) -> Outcome {
        self.load(drive);
        self.finish()
    }

    /// Waits until the status has a property.
    pub fn wait(&self, what: &str, wanted: impl Fn(&lab_core::control::Status) -> bool) {
        let began = Instant::now();
        while !wanted(&self.engine.status().expect("an answer")) {
            assert!(began.elapsed() < DEADLINE, "no {what} within the deadline");
            std::thread::yield_now();
        }
    }
}

impl Outcome {
    /// Adds a sample: numbers and times without a gap, a ledger that sums, histograms that agree with it, and as many unfinished
    /// requests as are queued or in flight.
    pub fn take(&mut self, sample: Sample) {
        assert_eq!(sample.seq, self.samples.len() as u64 + 1, "sample numbers have no gap");
        let before = self.samples.last().map_or(sample.from_ns, |s| s.to_ns);
        assert_eq!(sample.from_ns, before, "stretches have no gap");
        let mut unfinished = i64::try_from(self.ledger.unfinished).expect("small");
        for phase in &sample.phases {
            unfinished += phase.counts.unfinished;
            self.add(phase);
        }
        self.ledger.unfinished = u64::try_from(unfinished).expect("never below zero in total");
        assert!(self.ledger.sums(), "{:?}", self.ledger);
        assert_eq!(self.ledger.unfinished, sample.queued + sample.in_flight, "unfinished is what is somewhere");
        self.samples.push(sample);
    }

    fn add(&mut self, phase: &PhaseSample) {
        let counts = phase.counts;
        let decode = |e: &Encoded| Histogram::decode(e).expect("our own histogram");
        let (response, lag, failures) = (decode(&phase.response), decode(&phase.send_lag), decode(&phase.failures));
        assert_eq!(response.count(), counts.completed);
        assert_eq!(decode(&phase.service).count(), counts.completed);
        assert_eq!(lag.count(), counts.started);
        assert_eq!(failures.count(), counts.failed);
        assert_eq!(phase.completed_by_operation.values().sum::<u64>(), counts.completed);
        assert_eq!(phase.failures_by_cause.values().sum::<u64>(), counts.failed);
        self.ledger.offered += counts.offered;
        self.ledger.started += counts.started;
        self.ledger.completed += counts.completed;
        self.ledger.failed += counts.failed;
        self.ledger.dropped += counts.dropped;
        self.response.merge(&response);
        self.send_lag.merge(&lag);
        self.failures.merge(&failures);
        for (cause, count) in &phase.failures_by_cause {
            *self.causes.entry(cause.clone()).or_default() += count;
        }
    }

    pub fn answers_of(&self, replica: &str) -> u64 {
        let all = self.samples.iter().flat_map(|s| &s.endpoints);
        all.filter(|e| e.replica == replica).map(|e| e.completed).sum()
    }
}

pub fn list(version: u64, targets: &[SocketAddr]) -> Targets {
    let endpoint = |address: &SocketAddr| Endpoint { replica: address.to_string(), address: address.to_string() };
    Targets { version, endpoints: targets.iter().map(endpoint).collect() }
}

pub fn operation(name: &str, method: &str, path: &str) -> Operation {
    Operation {
        name: name.into(),
        weight: 1.0,
        method: method.into(),
        path: path.into(),
        headers: vec![],
        body: String::new(),
        creates_key: false,
        ledger: false,
    }
}

/// One phase of a constant rate, requests `/n/{n}`.
pub fn plan(rate: f64, millis: u64) -> LoadPlan {
    LoadPlan {
        id: "test".into(),
        start_at_ns: None,
        operations: vec![operation("get", "GET", "/n/{n}")],
        arrivals: Arrivals::Constant,
        phases: vec![PlanPhase {
            name: "load".into(),
            rate: Shape::Constant(Rate(rate)),
            length: Span::from_millis(millis),
        }],
        connections: 16,
        timeout: Span::from_secs(5),
        max_queue: 100_000,
        seed: 3,
        share: Share { index: 0, count: 1 },
        joins_at_ns: 0,
        keys: 0,
        drain: Span::from_secs(5),
    }
}
