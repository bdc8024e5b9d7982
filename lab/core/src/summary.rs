//! `summary.json`: the facts of a run for programs, the same that the report shows to people. Versioned; described by
//! `schema/summary.schema.json`. Times are seconds, latencies nanoseconds; what is not known is null or absent, never 0.

mod build;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::{Quantity, Said};
use crate::deliveries::Conserved;
use crate::episode::{Direction, Point};
use crate::event::{Grade, HostInfo, Outcome};
use crate::judge::Verdict;
use crate::ledger::Ledger;
use crate::parity::{Promises, RoleParity};
use crate::validity::Validity;

/// Version of the format. Fields may be added without a new one; removing or changing one makes a new one.
pub const SUMMARY_VERSION: u32 = 1;

/// The JSON schema of [`Summary`].
pub const SCHEMA: &str = include_str!("../schema/summary.schema.json");

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SUMMARY_VERSION`].
    pub summary_version: u32,
    /// Run id.
    pub run: String,
    /// Version of `lab` that ran it.
    pub lab_version: String,
    /// Wall-clock time of run time 0, RFC 3339.
    pub started_at: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Its question.
    pub question: String,
    /// The answer, in sentences.
    pub answer: String,
    /// The run came to its end and no event is missing.
    pub complete: bool,
    /// How it ended; null while it is under way or when its journal was cut.
    pub outcome: Option<Outcome>,
    /// Trials that were planned.
    pub planned_trials: usize,
    /// Trials that ran to their end.
    pub finished_trials: usize,
    /// Events missing from the journal, before its last one.
    pub missing_events: u64,
    /// Over all expectations.
    pub verdict: Verdict,
    /// The worst of all trials.
    pub validity: Validity,
    /// Exit code of the experiment, as far as measurement and expectations go.
    pub exit_code: u8,
    /// One entry a variant.
    pub variants: Vec<VariantSummary>,
    /// What the backing services of the variants promise, for each role in which they differ; cells in the order of `variants`.
    #[serde(default)]
    pub parity: Vec<RoleParity>,
    /// Every variant against the first.
    pub comparisons: Vec<ComparisonSummary>,
    /// One entry a trial that has begun.
    pub trials: Vec<TrialSummary>,
    /// How far the environment is what it stands for.
    pub fidelity: Vec<FidelitySummary>,
    /// Warnings.
    pub warnings: Vec<RemarkSummary>,
    /// Notes by the user.
    pub notes: Vec<RemarkSummary>,
    /// Names of things that could not be removed.
    pub left_behind: Vec<String>,
    /// What watching cost.
    pub observer: ObserverSummary,
    /// The machine.
    pub host: HostInfo,
}

/// One variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantSummary {
    /// Its label.
    pub label: String,
    /// Dotted path to value.
    pub cell: BTreeMap<String, String>,
    /// Over all its trials.
    pub expectations: Vec<ExpectationSummary>,
    /// Quantity to one value a trial that counts.
    pub values: BTreeMap<String, Vec<f64>>,
    /// Trials that do not count, because they are invalid or did not end.
    pub left_out: usize,
    /// The backing services that its trials found.
    #[serde(default)]
    pub backing: Vec<BackingSummary>,
    /// Its measured constant rates, ascending; empty unless some variant has two.
    #[serde(default)]
    pub curve: Vec<RateSummary>,
    /// The largest rate at which its limits hold; null where nothing limits the response time at two rates.
    #[serde(default)]
    pub capacity: Option<CapacitySummary>,
    /// What its cache did; null where no variant has one.
    #[serde(default)]
    pub cache: Option<CacheSummary>,
}

/// A backing service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackingSummary {
    /// `store.postgres`.
    pub name: String,
    /// What it says of itself.
    pub server: String,
    /// The image it was started from; null: it was there already, or is embedded.
    pub image: Option<String>,
    /// The image's content.
    pub digest: Option<String>,
    /// What it promises.
    pub promises: Promises,
}

/// One point of a throughput–latency curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateSummary {
    /// The phase.
    pub phase: String,
    /// Requests a second, as the spec has it.
    pub offered_per_s: f64,
    /// Good answers a second, by the time they came.
    pub completed_per_s: Option<f64>,
    /// Median response time.
    pub p50: EstimateSummary,
    /// 99th percentile of the response time.
    pub p99: EstimateSummary,
    /// Failed and dropped over offered.
    pub errors: f64,
    /// Trials that it rests on.
    pub trials: usize,
    /// At least 95 % of what was offered was completed in time, in every trial.
    pub kept_up: bool,
    /// A check of some trial finds it suspect.
    pub suspect: bool,
    /// Whether the limits on response time and errors hold; null without a limit on response time.
    pub holds: Option<Verdict>,
}

/// A percentile over blocks, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EstimateSummary {
    /// Geometric mean; null when it is beyond measure in some trial, or no trial has enough requests.
    pub ns: Option<f64>,
    /// Lower end of its 95 % interval; null below three blocks.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Trials in which it lies among requests without a good answer.
    pub beyond: usize,
}

/// The largest rate at which a variant's limits hold, requests a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacitySummary {
    /// The last measured rate that held; null: none.
    pub at_least: Option<f64>,
    /// The first that did not; null: none.
    pub below: Option<f64>,
    /// For people.
    pub text: String,
}

/// What a cache did in the measured phases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheSummary {
    /// Its engine, `none` without one.
    pub engine: String,
    /// Hits over look-ups.
    pub hit_ratio: Option<f64>,
    /// Look-ups.
    pub lookups: Option<f64>,
    /// Share of reads that did not need the store.
    pub offload: Option<f64>,
    /// From the beginning of load to the first second with 90 % of the hit ratio, seconds.
    pub cold_s: Option<f64>,
}

/// An expectation and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpectationSummary {
    /// As written.
    pub expectation: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was measured, for people.
    pub measured: String,
    /// What it rests on, or what is missing.
    pub why: String,
    /// Lowest value it can have: nanoseconds, share or number; null when unbounded.
    pub low: Option<f64>,
    /// Highest value it can have.
    pub high: Option<f64>,
}

/// One quantity of a variant against the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonSummary {
    /// Label of the variant.
    pub variant: String,
    /// Label of the first.
    pub against: String,
    /// What is compared.
    pub quantity: Quantity,
    /// In one word, with notes on what is not alike.
    #[serde(flatten)]
    pub said: Said,
    /// Ratio to the first; null without a pair.
    pub ratio: Option<f64>,
    /// Lower end of its confidence interval; null below three blocks.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Confidence of the interval: 0.95 shared by all comparisons of the run.
    #[serde(default)]
    pub confidence: f64,
    /// Blocks it rests on.
    pub blocks: usize,
    /// For `cannot-tell`: further blocks that would tell; null when more than a thousand.
    pub more_blocks: Option<usize>,
    /// Why there is no ratio although blocks were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialSummary {
    /// Counts from 0.
    pub trial: u32,
    /// Label of its variant.
    pub variant: String,
    /// Its block.
    pub block: u32,
    /// Its seed.
    pub seed: u64,
    /// How it ended; null while it is under way.
    pub outcome: Option<Outcome>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The worst of its checks.
    pub validity: Validity,
    /// The checks.
    pub checks: Vec<CheckSummary>,
    /// Its expectations.
    pub expectations: Vec<ExpectationSummary>,
    /// Its phases.
    pub phases: Vec<PhaseSummary>,
    /// Its scalings.
    pub episodes: Vec<EpisodeSummary>,
    /// Its replicas.
    pub replicas: Vec<ReplicaSummary>,
    /// Faults that were put in on purpose.
    #[serde(default)]
    pub faults: Vec<FaultSummary>,
    /// The delivery ledger: what was attempted, and what of it was found.
    #[serde(default)]
    pub deliveries: Vec<Conserved>,
}

/// A fault and what was measured around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultSummary {
    /// What was hit.
    pub target: String,
    /// `killed`, `paused`, …
    pub what: String,
    /// Seconds since load began.
    pub at_s: f64,
    /// How long until what it hit went on and the rate was back.
    pub lasted_s: f64,
    /// At most ten seconds before.
    pub before: PatchSummary,
    /// Until it was over.
    pub during: PatchSummary,
    /// At most ten seconds after.
    pub after: PatchSummary,
}

/// Some seconds of load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PatchSummary {
    /// 99th percentile of the response time of the good answers in it.
    pub p99_ns: Option<u64>,
    /// Failed and dropped over all that came to an end.
    pub errors: Option<f64>,
    /// Good answers a second.
    pub completed_per_s: Option<f64>,
}

/// A check of validity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSummary {
    /// Its name.
    pub name: String,
    /// The phase it is about.
    pub subject: Option<String>,
    /// What was measured.
    pub measured: String,
    /// Where it becomes suspect or invalid.
    pub bounds: String,
    /// The result.
    pub grade: Validity,
    /// What follows.
    pub reason: String,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// Its name.
    pub name: String,
    /// Counts for expectations.
    pub measured: bool,
    /// How long it lasted; null while it is under way.
    pub seconds: Option<f64>,
    /// Requests by fate.
    pub ledger: Ledger,
    /// Response time, from the intended time.
    pub response: Quantiles,
    /// Service time, from the first byte written.
    pub service: Quantiles,
    /// Send lag.
    pub send_lag: Quantiles,
    /// Completed requests by operation.
    pub completed_by_operation: BTreeMap<String, u64>,
    /// Failed requests by cause.
    pub failures_by_cause: BTreeMap<String, u64>,
}

/// Quantiles in nanoseconds. Null where fewer than ten values lie beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many values.
    pub count: u64,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile.
    pub p999_ns: Option<u64>,
    /// Largest.
    pub max_ns: Option<u64>,
}

/// One scaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpisodeSummary {
    /// The workload.
    pub workload: String,
    /// Which way.
    pub direction: Direction,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// The replica that the path follows.
    pub replica: Option<String>,
    /// The critical path, in one line.
    pub path: String,
    /// Change of load to recovery; null when it did not recover or there is no limit.
    pub recovery_s: Option<f64>,
    /// Its instants.
    pub points: Vec<PointSummary>,
}

/// An instant of an episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointSummary {
    /// Which.
    pub point: Point,
    /// Seconds since load began.
    pub at_s: f64,
    /// Who stamped it.
    pub source: String,
    /// It may have happened this much earlier.
    pub precision_s: f64,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaSummary {
    /// The workload.
    pub workload: String,
    /// The replica.
    pub replica: String,
    /// Completed requests.
    pub completed: u64,
    /// Failed requests.
    pub failed: u64,
    /// CPU time, seconds.
    pub cpu_s: f64,
    /// Largest resident memory that was read.
    pub peak_rss_bytes: u64,
    /// It ended by itself.
    pub died: bool,
}

/// How far something is what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FidelitySummary {
    /// What.
    pub subject: String,
    /// How far.
    pub grade: Grade,
    /// In what it differs.
    pub note: String,
    /// Labels of the variants it was said of; empty: of the run.
    pub variants: Vec<String>,
}

/// A sentence and when it was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemarkSummary {
    /// Seconds since the run began.
    pub at_s: f64,
    /// The sentence.
    pub text: String,
}

/// What watching cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ObserverSummary {
    /// CPU time, seconds.
    pub cpu_s: f64,
    /// Time watched, seconds.
    pub over_s: f64,
    /// Largest resident memory, bytes.
    pub peak_rss_bytes: u64,
}
