//! What one phase of a trial got: its instants, its ledger and its merged histograms.

use std::collections::BTreeMap;

use crate::control::{Counts, PhaseSample};
use crate::distribution::Distribution;
use crate::ledger::Ledger;
use crate::unit::{RunTime, Span};

/// Names told apart in one of the maps of a phase; further ones count as `other`.
const MOST_NAMES: usize = 64;

/// Results by phase of the intended time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Phase {
    /// Its name; empty until it is known.
    pub name: String,
    /// Its first instant.
    pub started: Option<RunTime>,
    /// Its last instant.
    pub ended: Option<RunTime>,
    /// Intended time to last byte, completed requests.
    pub response: Distribution,
    /// First byte written to last byte, completed requests.
    pub service: Distribution,
    /// Intended time to first byte written, started requests. Under overload this holds the wait for a free connection as well.
    pub send_lag: Distribution,
    /// The part of `send_lag` from seconds at whose beginning and end no request waited for a connection: what the generator
    /// itself is late by.
    pub own_lag: Distribution,
    /// Intended time to failure, failed requests.
    pub failures: Distribution,
    /// Completed requests by operation.
    pub completed_by_operation: BTreeMap<String, u64>,
    /// Failed requests by cause.
    pub failures_by_cause: BTreeMap<String, u64>,
    /// Sum of the time from intended to last byte over completed and failed requests, nanoseconds, as the generators added it up.
    pub latency_sum_ns: u128,
    /// Histograms that could not be read.
    pub unreadable: u64,
    tally: Tally,
}

/// Counts, with the signed sum of the changes of `unfinished`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    offered: u64,
    started: u64,
    completed: u64,
    failed: u64,
    dropped: u64,
    unfinished: i128,
}

impl Phase {
    /// Requests by fate.
    pub fn ledger(&self) -> Ledger {
        let t = &self.tally;
        Ledger {
            offered: t.offered,
            started: t.started,
            completed: t.completed,
            failed: t.failed,
            dropped: t.dropped,
            unfinished: u64::try_from(t.unfinished.max(0)).unwrap_or(u64::MAX),
        }
    }

    /// Offered less completed, failed, dropped and unfinished; anything but 0 makes the trial invalid.
    pub fn imbalance(&self) -> i128 {
        let t = &self.tally;
        i128::from(t.offered) - i128::from(t.completed) - i128::from(t.failed) - i128::from(t.dropped) - t.unfinished
    }

    /// How long it lasted; None while it is under way or its instants are unknown.
    pub fn length(&self) -> Option<Span> {
        Some(self.ended?.since(self.started?)).filter(|s| s.0 > 0)
    }

    /// Its first instant and its last, or `now` while it is under way.
    pub fn window(&self, now: RunTime) -> Option<(RunTime, RunTime)> {
        let from = self.started?;
        Some((from, self.ended.unwrap_or(now).max(from)))
    }

    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let all = [&self.response, &self.service, &self.send_lag, &self.own_lag, &self.failures];
        all.iter().map(|d| d.heap_bytes()).sum::<usize>()
            + 64 * (self.completed_by_operation.len() + self.failures_by_cause.len())
    }

    /// Adds what a sample says; `queue_empty` tells whether no request waited for a connection around it.
    pub(super) fn add(&mut self, sample: &PhaseSample, read: &ReadSample, queue_empty: bool) {
        self.tally.add(&sample.counts);
        self.response.merge(&read.response);
        self.service.merge(&read.service);
        self.send_lag.merge(&read.send_lag);
        if queue_empty {
            self.own_lag.merge(&read.send_lag);
        }
        self.failures.merge(&read.failures);
        self.latency_sum_ns += u128::from(sample.latency_sum_ns);
        self.unreadable += read.unreadable;
        add_names(&mut self.completed_by_operation, &sample.completed_by_operation);
        add_names(&mut self.failures_by_cause, &sample.failures_by_cause);
    }
}

/// A count of one sample. What no generator can do is taken as the most that fits any number of samples into 64 bits, so that sums
/// of a corrupt journal are wrong but defined.
pub(super) fn sane(count: u64) -> u64 {
    count.min(1 << 36)
}

impl Tally {
    fn add(&mut self, counts: &Counts) {
        for (sum, n) in [
            (&mut self.offered, counts.offered),
            (&mut self.started, counts.started),
            (&mut self.completed, counts.completed),
            (&mut self.failed, counts.failed),
            (&mut self.dropped, counts.dropped),
        ] {
            *sum += sane(n);
        }
        self.unfinished += i128::from(counts.unfinished.clamp(-(1 << 36), 1 << 36));
    }
}

fn add_names(into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (name, n) in from {
        let known = into.contains_key(name) || into.len() < MOST_NAMES;
        let entry = into.entry(if known { name.clone() } else { "other".to_owned() }).or_default();
        *entry = entry.saturating_add(*n);
    }
}

/// The histograms of a [`PhaseSample`], read.
#[derive(Debug, Default)]
pub(super) struct ReadSample {
    pub(super) response: Distribution,
    pub(super) service: Distribution,
    pub(super) send_lag: Distribution,
    pub(super) failures: Distribution,
    pub(super) unreadable: u64,
}

impl ReadSample {
    pub(super) fn of(sample: &PhaseSample) -> Self {
        let mut unreadable = 0;
        let mut read = |text| {
            Distribution::decode(text).unwrap_or_else(|_| {
                unreadable += 1;
                Distribution::default()
            })
        };
        let (response, service) = (read(&sample.response), read(&sample.service));
        let (send_lag, failures) = (read(&sample.send_lag), read(&sample.failures));
        Self { response, service, send_lag, failures, unreadable }
    }
}
