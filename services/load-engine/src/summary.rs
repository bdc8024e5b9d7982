//! A load in a few numbers: what `lab load --format json` prints, and whether the generator itself can be believed.

use lab_core::control::Sample;
use lab_core::histogram::{Histogram, HistogramError};
use lab_core::ledger::Ledger;
use lab_core::unit::Span;
use serde::{Deserialize, Serialize};

/// A turn of the send loop above this is a stall.
const STALL_NS: u64 = 50_000_000;
/// One stall above this is enough to doubt a load.
const LONG_STALL_NS: u64 = 250_000_000;
/// Part of the time above which several stalls are.
const STALLED_SHARE: f64 = 0.005;

/// Whether a measurement can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// Nothing speaks against it.
    Valid,
    /// The generator may have distorted it; the reasons say how.
    Suspect,
    /// It does not measure what was asked.
    Invalid,
}

/// Percentiles in microseconds; null where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// Half are at or below.
    pub p50_us: Option<f64>,
    /// 90 %.
    pub p90_us: Option<f64>,
    /// 95 %.
    pub p95_us: Option<f64>,
    /// 99 %.
    pub p99_us: Option<f64>,
    /// 99.9 %.
    pub p999_us: Option<f64>,
    /// The largest.
    pub max_us: Option<f64>,
}

/// A load's results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests that were answered or failed.
    pub requests: u64,
    /// Of the offered ones, those that failed or were dropped.
    pub errors: u64,
    /// From the first intended time to the end of the schedule, or of the answers at closed pace, seconds.
    pub duration_s: f64,
    /// Completed requests a second.
    pub rps: f64,
    /// See [`Ledger`].
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Intended time to last byte.
    pub response: Latencies,
    /// First byte written to last byte.
    pub service: Latencies,
    /// Intended time to first byte written.
    pub send_lag: Latencies,
    /// CPU time of the process.
    pub cpu_s: f64,
    /// Failures by cause.
    pub failures: std::collections::BTreeMap<String, u64>,
    /// Whether to believe it.
    pub validity: Validity,
    /// Why not.
    pub reasons: Vec<String>,
}

/// Adds up samples. Phases below `first_phase` are left out (warm-up), except in what concerns the generator.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) first_phase: u32,
    ledger: Ledger,
    unfinished: i64,
    response: Histogram,
    service: Histogram,
    send_lag: Histogram,
    failures: std::collections::BTreeMap<String, u64>,
    cpu_ns: u64,
    longest_turn_ns: u64,
    /// Samples with a turn above [`STALL_NS`], and the sum of their longest turns.
    stalls: u32,
    stalled_ns: u64,
    last_ns: u64,
    /// Over all phases, for Little's law.
    in_flight_ns: u64,
    service_ns: f64,
    exact: bool,
    next_seq: u64,
    gap: bool,
}

impl Totals {
    pub(crate) fn new(first_phase: u32) -> Self {
        Self { first_phase, exact: true, next_seq: 1, ..Self::default() }
    }

    pub(crate) fn add(&mut self, sample: &Sample) -> Result<(), HistogramError> {
        self.gap |= sample.seq != self.next_seq;
        self.next_seq = sample.seq + 1;
        self.cpu_ns += sample.cpu_ns;
        self.turn(sample.longest_turn_ns);
        self.last_ns = sample.to_ns;
        self.in_flight_ns += sample.in_flight_ns;
        for phase in &sample.phases {
            let service = Histogram::decode(&phase.service)?;
            self.service_ns += service.mean().map_or(0.0, |m| m.0 as f64) * service.count() as f64;
            self.exact &= phase.counts.failed == 0;
            if phase.phase < self.first_phase {
                continue;
            }
            self.ledger.offered += phase.counts.offered;
            self.ledger.started += phase.counts.started;
            self.ledger.completed += phase.counts.completed;
            self.ledger.failed += phase.counts.failed;
            self.ledger.dropped += phase.counts.dropped;
            self.unfinished += phase.counts.unfinished;
            self.response.merge(&Histogram::decode(&phase.response)?);
            self.service.merge(&service);
            self.send_lag.merge(&Histogram::decode(&phase.send_lag)?);
            for (cause, count) in &phase.failures_by_cause {
                *self.failures.entry(cause.clone()).or_default() += count;
            }
        }
        self.exact &= !sample.last || sample.in_flight == 0;
        Ok(())
    }

    pub(crate) fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// `seconds` is the measured time, `workers` the threads that sent.
    pub(crate) fn summary(mut self, seconds: f64, workers: u32) -> Summary {
        self.ledger.unfinished = u64::try_from(self.unfinished).unwrap_or(0);
        let (validity, reasons) = self.audit(workers);
        let ledger = self.ledger;
        Summary {
            requests: ledger.completed + ledger.failed,
            errors: ledger.failed + ledger.dropped,
            duration_s: seconds,
            rps: if seconds > 0.0 { ledger.completed as f64 / seconds } else { 0.0 },
            ledger,
            response: Latencies::of(&self.response),
            service: Latencies::of(&self.service),
            send_lag: Latencies::of(&self.send_lag),
            cpu_s: self.cpu_ns as f64 / 1e9,
            failures: self.failures,
            validity,
            reasons,
        }
    }

    fn turn(&mut self, longest_ns: u64) {
        self.longest_turn_ns = self.longest_turn_ns.max(longest_ns);
        if longest_ns > STALL_NS {
            self.stalls += 1;
            self.stalled_ns = self.stalled_ns.saturating_add(longest_ns);
        }
    }

    /// One longer turn happens on any machine and moves no percentile of a long load; several that add up do, and so does a very
    /// long one.
    fn is_stalled(&self) -> bool {
        let often = self.stalls >= 2 && self.stalled_ns as f64 > STALLED_SHARE * self.last_ns as f64;
        often || self.longest_turn_ns > LONG_STALL_NS
    }

    /// What speaks against the generator, not against the target: a slow target alone leaves a load valid.
    fn audit(&self, workers: u32) -> (Validity, Vec<String>) {
        let mut findings = Vec::new();
        if !self.ledger.sums() {
            findings.push((Validity::Invalid, "the request ledger does not sum".to_owned()));
        }
        if self.gap {
            findings.push((Validity::Invalid, "a sample is missing".to_owned()));
        }
        if self.ledger.offered == 0 {
            findings
                .push((Validity::Invalid, "nothing was offered: give a longer duration or a higher rate".to_owned()));
        }
        if self.is_stalled() {
            let stall = Span(self.longest_turn_ns / 1_000_000 * 1_000_000);
            findings.push((Validity::Suspect, format!("the generator stalled for {stall}: give it a core of its own")));
        }
        let busy = self.cpu_ns as f64 / self.last_ns.max(1) as f64 / f64::from(workers.max(1));
        if busy > 0.95 {
            findings.push((
                Validity::Suspect,
                format!("the generator used {:.0} % of its cores: add workers", busy * 100.0),
            ));
        }
        if self.ledger.dropped > 0 {
            let dropped = self.ledger.dropped;
            findings.push((
                Validity::Suspect,
                format!("{dropped} requests were dropped unsent: allow more connections or a lower rate"),
            ));
        }
        let difference = (self.in_flight_ns as f64 - self.service_ns).abs();
        if self.exact && self.service_ns > 1e8 && difference > 0.02 * self.service_ns {
            findings.push((
                Validity::Suspect,
                "in-flight time and service time differ by more than 2 % (Little's law)".to_owned(),
            ));
        }
        let validity = findings.iter().map(|(v, _)| *v).max().unwrap_or(Validity::Valid);
        (validity, findings.into_iter().map(|(_, reason)| reason).collect())
    }
}

impl Latencies {
    /// Percentiles of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        let us = |span: Span| (span.0 as f64 / 10.0).round() / 100.0;
        let at = |q: f64| histogram.quantile(q).map(us);
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max().map(us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_stalled(seconds: u64, turns_ms: &[u64]) -> bool {
        let mut totals = Totals { last_ns: seconds * 1_000_000_000, ..Totals::new(0) };
        turns_ms.iter().for_each(|ms| totals.turn(ms * 1_000_000));
        totals.is_stalled()
    }

    #[test]
    fn stalls_count_when_they_add_up_or_are_very_long() {
        assert!(!is_stalled(3, &[1, 2, 1]));
        assert!(!is_stalled(3, &[1, 240, 1]), "one");
        assert!(!is_stalled(60, &[60, 60, 1]), "two in a long load");
        assert!(is_stalled(3, &[60, 60, 1]));
        assert!(is_stalled(60, &[1, 251, 1]));
    }
}
