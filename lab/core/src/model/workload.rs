//! What is known of one workload of a trial: its replicas over time, what they used, what the autoscaler saw and wanted.

use std::collections::BTreeMap;

use crate::control::Endpoint;
use crate::deliveries::Conserved;
use crate::distribution::Distribution;
use crate::event::{Decided, ReplicaUsage, SeenMetric};
use crate::histogram::Encoded;
use crate::series::{Last, PerSecond, Series};
use crate::unit::{RunTime, Span};

/// Replicas kept by name; more come only from a lab that replaces them without end, and then the oldest stopped one goes.
const MOST_REPLICAS: usize = 1_024;
/// Names of gauges kept.
const MOST_GAUGES: usize = 64;
/// Decisions and scalings kept, each.
const MOST_DECISIONS: usize = 16_384;

/// One workload.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Workload {
    /// Wanted replicas.
    pub desired: Series<Last<u32>>,
    /// Replicas that exist: created and not yet gone.
    pub created: Series<Last<u32>>,
    /// Replicas that are ready.
    pub ready: Series<Last<u32>>,
    /// Every replica by name.
    pub replicas: BTreeMap<String, Replica>,
    /// CPU of all replicas together, CPU-seconds over the time between two readings.
    pub cpu: Series<PerSecond>,
    /// Numbers of the workload as a whole, by name.
    pub gauges: BTreeMap<String, Series<Last<f64>>>,
    /// How long messages took from their send to their place in the store, by when they came there.
    pub end_to_end: Series<Distribution>,
    /// Changes of the wanted number.
    pub scalings: Vec<Scaling>,
    /// What the autoscaler wanted, in order.
    pub decisions: Vec<Decision>,
    /// What happened to its replicas, in order of arrival.
    pub moments: Vec<Moment>,
    /// What was acknowledged against what was found, number by number.
    pub conserved: Vec<Conserved>,
    /// The same by counts alone, in older journals.
    pub delivered: Vec<Delivered>,
    /// The endpoints last pushed, with their version.
    pub endpoints: Option<(u64, Vec<Endpoint>)>,
}

/// A change of the wanted number of replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// When.
    pub at: RunTime,
    /// From.
    pub from: u32,
    /// To.
    pub to: u32,
    /// `deploy`, `autoscaler`, `user`, `replace`.
    pub cause: String,
}

/// One sync of the autoscaler, without the workings.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// When.
    pub at: RunTime,
    /// The size that was found.
    pub current: i32,
    /// The size that was wanted.
    pub desired: i32,
    /// The sentence.
    pub why: String,
    /// What it was given.
    pub seen: Vec<SeenMetric>,
}

/// Something that happened to one replica. A name may come back after its replica is gone, so the order matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: RunTime,
    /// The replica.
    pub replica: String,
    /// What.
    pub what: Life,
}

/// Steps of a replica's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// It is being made.
    Created,
    /// Its process runs.
    Started,
    /// Its readiness probe answered.
    Ready,
    /// Its first good answer.
    FirstAnswer,
    /// Its readiness probe stopped answering.
    Unready,
    /// It gets no new requests.
    Draining,
    /// It is gone.
    Stopped,
}

/// What was acknowledged against what was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// `messages`, `users`.
    pub what: String,
    /// Requests answered with a good status.
    pub acknowledged: u64,
    /// Requests whose fate is not known.
    pub indeterminate: u64,
    /// Rows found, less those that were there before.
    pub applied: u64,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Replica {
    /// It is being made.
    pub created: Option<RunTime>,
    /// Its process runs.
    pub started: Option<RunTime>,
    /// Its readiness probe answered for the first time.
    pub ready: Option<RunTime>,
    /// It is ready now.
    pub is_ready: bool,
    /// It gets no new requests.
    pub draining: Option<RunTime>,
    /// It is gone.
    pub stopped: Option<RunTime>,
    /// How it ended.
    pub exit: Option<String>,
    /// It ended by itself.
    pub died: bool,
    /// Its first good answer.
    pub first_answer: Option<RunTime>,
    /// Its address.
    pub address: String,
    /// Completed requests.
    pub completed: u64,
    /// Failed requests.
    pub failed: u64,
    /// CPU time since its start, nanoseconds, at the last reading.
    pub cpu_ns: u64,
    /// CPU use between the last two readings, cores.
    pub cores: Option<f64>,
    /// Resident memory at the last reading, bytes.
    pub rss_bytes: u64,
    /// Largest resident memory that was read, bytes.
    pub peak_rss_bytes: u64,
    /// Time it was held back by its CPU limit, nanoseconds, at the last reading.
    pub throttled_ns: Option<u64>,
    /// When it was last read.
    pub read_at: Option<RunTime>,
}

impl Replica {
    fn exists(&self) -> bool {
        self.created.or(self.started).or(self.ready).is_some() && self.stopped.is_none()
    }

    fn live(&mut self, at: RunTime, what: Life) {
        match what {
            Life::Created => {
                // The name may have belonged to one that is gone: its instants go, what it answered stays.
                let answered = (self.completed, self.failed);
                *self = Self { created: Some(at), completed: answered.0, failed: answered.1, ..Self::default() };
            }
            Life::Started => self.started = Some(at),
            Life::Ready => {
                self.ready.get_or_insert(at);
                self.is_ready = true;
            }
            Life::FirstAnswer => self.first_answer = self.first_answer.or(Some(at)),
            Life::Unready => self.is_ready = false,
            Life::Draining => (self.draining, self.is_ready) = (Some(at), false),
            Life::Stopped => (self.stopped, self.is_ready) = (Some(at), false),
        }
    }

    fn observe(&mut self, at: RunTime, usage: &ReplicaUsage) -> Option<PerSecond> {
        let used = self
            .read_at
            .filter(|before| *before < at && usage.cpu_ns >= self.cpu_ns)
            .map(|before| PerSecond { amount: (usage.cpu_ns - self.cpu_ns) as f64 / 1e9, over: at.since(before) });
        self.cores = used.and_then(|u| u.rate());
        self.read_at = Some(at);
        self.cpu_ns = usage.cpu_ns;
        self.rss_bytes = usage.rss_bytes;
        self.peak_rss_bytes = self.peak_rss_bytes.max(usage.rss_bytes);
        self.throttled_ns = usage.throttled_ns.or(self.throttled_ns);
        used
    }
}

impl Workload {
    /// Replicas that are ready now.
    pub fn ready_now(&self) -> u32 {
        self.replicas.values().filter(|r| r.is_ready && r.stopped.is_none()).count() as u32
    }

    /// CPU time of all replicas over the trial, as last read.
    pub fn cpu_used(&self) -> Span {
        Span(self.replicas.values().fold(0, |sum, r| sum.saturating_add(r.cpu_ns)))
    }

    /// Most ready replicas in `from..=to`, counting what held at its beginning; None when nothing is known.
    pub fn most_ready(&self, from: RunTime, to: RunTime) -> Option<u32> {
        let at_start = self.ready.before(from).map(|s| s.value.0);
        let within = self.ready.between(from, to.plus(Span(1))).iter().map(|s| s.value.0);
        at_start.into_iter().chain(within).max()
    }

    /// The integral of ready replicas over `from..to`, replica-seconds: what was paid for.
    pub fn replica_seconds(&self, from: RunTime, to: RunTime) -> f64 {
        let mut level = self.ready.before(from).map_or(0, |s| s.value.0);
        let (mut since, mut sum) = (from, 0.0);
        for change in self.ready.between(from.plus(Span(1)), to) {
            sum += f64::from(level) * change.from.since(since).as_secs_f64();
            (level, since) = (change.value.0, change.from);
        }
        sum + f64::from(level) * to.since(since).as_secs_f64()
    }

    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let steps = self.desired.stretches().len() + self.created.stretches().len() + self.ready.stretches().len();
        let gauges: usize = self.gauges.values().map(|g| 24 * g.stretches().len()).sum();
        let delays: usize = self.end_to_end.stretches().iter().map(|s| 40 + s.value.heap_bytes()).sum();
        let decisions: usize = self.decisions.iter().map(|d| 160 + d.why.len() + 72 * d.seen.len()).sum();
        24 * steps
            + gauges
            + delays
            + decisions
            + 32 * self.cpu.stretches().len()
            + 320 * self.replicas.len()
            + 64 * self.scalings.len()
    }

    pub(super) fn scaled(&mut self, at: RunTime, from: u32, to: u32, cause: &str) {
        self.desired.push(at, at, Last(to));
        if self.scalings.len() < MOST_DECISIONS {
            self.scalings.push(Scaling { at, from, to, cause: cause.to_owned() });
        }
    }

    /// Changes one replica and notes how many exist and are ready from now on.
    pub(super) fn live(&mut self, at: RunTime, replica: &str, what: Life) {
        self.replica(replica).live(at, what);
        if self.moments.len() < MOST_DECISIONS {
            self.moments.push(Moment { at, replica: replica.to_owned(), what });
        }
        let existing = self.replicas.values().filter(|r| r.exists()).count() as u32;
        let ready = self.ready_now();
        for (series, level) in [(&mut self.created, existing), (&mut self.ready, ready)] {
            if series.last().is_none_or(|s| s.value.0 != level || s.from > at) {
                series.push(at, at, Last(level));
            }
        }
    }

    pub(super) fn replica(&mut self, name: &str) -> &mut Replica {
        if !self.replicas.contains_key(name) && self.replicas.len() >= MOST_REPLICAS {
            let oldest = self.replicas.iter().min_by_key(|(_, r)| r.stopped.unwrap_or(RunTime(u64::MAX)));
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.replicas.remove(&oldest);
            }
        }
        self.replicas.entry(name.to_owned()).or_default()
    }

    pub(super) fn observed(&mut self, at: RunTime, replicas: &[ReplicaUsage]) {
        let mut sum = None;
        for usage in replicas {
            if let Some(used) = self.replica(&usage.replica).observe(at, usage) {
                let sum = sum.get_or_insert(PerSecond::default());
                sum.amount += used.amount;
                sum.over = sum.over.max(used.over);
            }
        }
        if let Some(sum) = sum {
            self.cpu.push(RunTime(at.0.saturating_sub(sum.over.0)), at, sum);
        }
    }

    pub(super) fn gauges(&mut self, at: RunTime, values: &BTreeMap<String, f64>) {
        for (name, value) in values {
            if self.gauges.contains_key(name) || self.gauges.len() < MOST_GAUGES {
                self.gauges.entry(name.clone()).or_default().push(at, at, Last(*value));
            }
        }
    }

    /// A text that is no histogram tells of nothing.
    pub(super) fn delivered_in(&mut self, at: RunTime, over: Span, delays: &Encoded) {
        if let Ok(delays) = Distribution::decode(delays) {
            self.end_to_end.push(RunTime(at.0.saturating_sub(over.0)), at, delays);
        }
    }

    pub(super) fn decided(&mut self, at: RunTime, decided: &Decided) {
        if self.decisions.len() >= MOST_DECISIONS {
            self.decisions.remove(0);
        }
        let d = &decided.decision;
        self.decisions.push(Decision {
            at,
            current: d.current,
            desired: d.desired,
            why: d.why.clone(),
            seen: decided.seen.clone(),
        });
    }
}
