//! What travels between the conductor and a load-generator: plans, targets, changes, samples. JSON over the control API.
//! Plan time is nanoseconds since the plan's `start_at`; generators and conductor agree on it, whatever their clocks say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::deliveries::Fates;
use crate::histogram::Encoded;
use crate::ledger::Ledger;
use crate::spec::{Arrivals, Shape};
use crate::unit::Span;

/// `PUT /load`: everything a generator needs to drive its share of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Names the plan; samples carry it.
    pub id: String,
    /// When plan time 0 is, on the generator's own monotonic clock (see [`Status::now_ns`]); None: at once.
    pub start_at_ns: Option<u64>,
    /// Requests of the mix.
    pub operations: Vec<Operation>,
    /// How arrivals are spaced.
    pub arrivals: Arrivals,
    /// Stretches of load, in order.
    pub phases: Vec<PlanPhase>,
    /// Connections of this generator, over all endpoints.
    pub connections: u32,
    /// Time from the first byte written after which a request without an answer has failed.
    pub timeout: Span,
    /// Requests that may wait for a connection before further ones are dropped.
    pub max_queue: u32,
    /// Seed of arrivals, operations and keys. Equal seeds give equal schedules on every generator.
    pub seed: u64,
    /// This generator's part of the schedule.
    pub share: Share,
    /// Requests intended before this plan time are not this generator's: a generator that joins a running plan gets the plan's own
    /// start (in the past) and the plan time at which it takes its share.
    #[serde(default)]
    pub joins_at_ns: u64,
    /// Highest key that exists before the plan begins: `{key}` is drawn from 1..=keys.
    pub keys: u64,
    /// How long to wait after the last phase for what is in flight.
    pub drain: Span,
}

/// Bits of a request's number that count within its plan.
const COUNTING: u32 = 32;

impl LoadPlan {
    /// The `{n}` of the plan's first request; they count up from there. Plans differ in the bits above the counting ones, as far as 20
    /// bits of their ids' hash can tell them apart, and all stay below 2^53, so that JSON readers keep every digit.
    pub fn first_n(&self) -> u64 {
        let hash =
            self.id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        u64::from((hash >> 12) ^ (hash & 0xfff)) << COUNTING
    }

    /// Whether a number is one that this plan gives.
    pub fn numbers(&self, n: u64) -> bool {
        n >> COUNTING == self.first_n() >> COUNTING
    }
}

/// A stretch of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanPhase {
    /// Its name.
    pub name: String,
    /// What is offered.
    pub rate: Shape,
    /// How long it lasts.
    pub length: Span,
}

/// A request template. `{n}` is a number that no other request of the run has; `{key}` is drawn from the known keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its name in mix, samples and report.
    pub name: String,
    /// Its share of the mix; shares are relative to their sum.
    pub weight: f64,
    /// HTTP method.
    pub method: String,
    /// Path and query, with placeholders.
    pub path: String,
    /// Further header lines, values with placeholders.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Body, with placeholders; empty: none.
    #[serde(default)]
    pub body: String,
    /// A completed request adds one to the known keys (it creates row keys+1).
    #[serde(default)]
    pub creates_key: bool,
    /// Samples tell what became of each of its requests, by number: it writes a row that holds its `{n}`.
    #[serde(default)]
    pub ledger: bool,
}

/// Which requests of the schedule a generator sends: those whose number k has k mod count = index. An index that is not below the
/// count is legal and owns nothing: what a leaving generator is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// 0-based.
    pub index: u32,
    /// How many generators share the schedule.
    pub count: u32,
}

/// `PUT /targets`: the only addresses that a generator may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Rises with each list; an older list is refused.
    pub version: u64,
    /// Ready replicas of the target.
    pub endpoints: Vec<Endpoint>,
}

/// One address of a replica.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The replica.
    pub replica: String,
    /// `host:port`.
    pub address: String,
}

/// `PATCH /load`: what is given changes, within 50 ms, without a gap or a double send.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadChange {
    /// From this plan time on; None: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<u64>,
    /// Offered rate of the whole schedule, requests a second, instead of the phases' own; a negative one returns to the phases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Operation name to weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<BTreeMap<String, f64>>,
    /// Connections of this generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// True: nothing becomes due until false; what is in flight goes on. Plan time goes on too, so the plan ends when it would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<bool>,
    /// This generator's part from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// True: the phase at `from_ns` ends there, and the later ones come forward; the last one's end is the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<bool>,
}

impl LoadChange {
    /// Offers so many requests a second.
    pub fn to_rate(rate: f64) -> Self {
        Self { rate: Some(rate), ..Self::default() }
    }

    /// Offers what the phases say again.
    pub fn to_rate_of_phases() -> Self {
        Self::to_rate(-1.0)
    }

    /// Pauses, or resumes.
    pub fn to_pause(pause: bool) -> Self {
        Self { pause: Some(pause), ..Self::default() }
    }

    /// Ends the phase.
    pub fn to_skip() -> Self {
        Self { skip: Some(true), ..Self::default() }
    }
}

/// `GET /load`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The generator's monotonic clock, for measuring the offset to it.
    pub now_ns: u64,
    /// What it is doing.
    pub state: LoadState,
    /// Id of the plan; None when idle since its start.
    pub plan: Option<String>,
    /// Plan time now.
    pub plan_ns: Option<u64>,
    /// Offered rate now, of the whole schedule.
    pub rate: f64,
    /// Version of the target list in force.
    pub targets_version: u64,
    /// Totals since the plan began.
    pub ledger: Ledger,
    /// Number of the last sample.
    pub last_sample: u64,
}

/// What a generator is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadState {
    /// No plan.
    Idle,
    /// A plan waits for its start.
    Waiting,
    /// Sending.
    Running,
    /// Told to pause.
    Paused,
    /// The last phase is over, what is in flight is awaited.
    Draining,
    /// Done; the last sample has been written.
    Finished,
}

/// One second of one generator, or the rest that was left at the end. `GET /load/samples` streams them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which generator; filled in by the generator from its own name.
    pub generator: String,
    /// Id of the plan.
    pub plan: String,
    /// Counts from 1 without a gap within a plan.
    pub seq: u64,
    /// Plan time at which the stretch began and ended.
    pub from_ns: u64,
    /// See `from_ns`.
    pub to_ns: u64,
    /// Results by phase of the *intended* time: a late answer counts for the phase that called for it. In each, `unfinished` is the
    /// change since the sample before (so that the sum over samples is what is unfinished so far) and may be negative.
    pub phases: Vec<PhaseSample>,
    /// Requests in flight, integrated over the stretch: mean number × nanoseconds. For Little's law.
    pub in_flight_ns: u64,
    /// Requests waiting for a connection at the end of the stretch.
    pub queued: u64,
    /// Most requests that waited for a connection at any moment of the stretch.
    #[serde(default)]
    pub longest_queue: u64,
    /// Requests in flight at the end of the stretch.
    pub in_flight: u64,
    /// CPU time of the generator's process in the stretch, nanoseconds.
    pub cpu_ns: u64,
    /// Longest turn of the send loop in the stretch, nanoseconds: a stall of the generator itself.
    pub longest_turn_ns: u64,
    /// Answers by endpoint.
    pub endpoints: Vec<EndpointSample>,
    /// What became known of requests whose operation has [`Operation::ledger`], of all phases together.
    #[serde(default, skip_serializing_if = "Fates::is_empty")]
    pub fates: Fates,
    /// True for the last sample of a plan.
    pub last: bool,
}

/// What one phase got in the stretch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PhaseSample {
    /// Index of the phase in the plan.
    pub phase: u32,
    /// Requests by fate; see [`Sample::phases`] for `unfinished`.
    pub counts: Counts,
    /// Intended time to last byte, completed requests.
    pub response: Encoded,
    /// First byte written to last byte, completed requests.
    pub service: Encoded,
    /// Intended time to first byte written, started requests.
    pub send_lag: Encoded,
    /// Intended time to failure, failed requests.
    pub failures: Encoded,
    /// Sum of the time from intended to last byte over completed and failed requests, nanoseconds.
    pub latency_sum_ns: u64,
    /// Completed requests by operation.
    pub completed_by_operation: BTreeMap<String, u64>,
    /// Failed requests by cause: `status 503`, `timeout`, `connection reset`, `connection refused`, …
    pub failures_by_cause: BTreeMap<String, u64>,
}

/// Changes of a ledger in one stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// See [`Ledger::offered`].
    pub offered: u64,
    /// See [`Ledger::started`].
    pub started: u64,
    /// See [`Ledger::completed`].
    pub completed: u64,
    /// See [`Ledger::failed`].
    pub failed: u64,
    /// See [`Ledger::dropped`].
    pub dropped: u64,
    /// Change of [`Ledger::unfinished`].
    pub unfinished: i64,
}

/// Answers of one endpoint in the stretch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EndpointSample {
    /// The replica.
    pub replica: String,
    /// Completed requests.
    pub completed: u64,
    /// Failed requests.
    pub failed: u64,
    /// Plan time of the first completed request ever from this endpoint, when it lies in this stretch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<u64>,
    /// First byte written to last byte, completed requests.
    pub service: Encoded,
}

/// The header, with the value `none`, by which a service promises that a request it answered with an error of its own had no effect
/// and will have none. Without it the effect of such a request is open.
pub const EFFECT: &str = "lab-effect";

/// A request refused by the control API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong and what to change.
    pub error: String,
}
