//! Everything that can happen in a run, one value an event. The journal holds exactly these; the model is folded from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::{Endpoint, LoadChange, Sample};
use crate::deliveries::Conserved;
use crate::histogram::Encoded;
use crate::parity::Promises;
use crate::spec::Spec;
use crate::unit::{RunTime, Span};

/// Version of the journal's format: the first line of `events.ndjson` is `{"lab-journal":1}`. Readers refuse a newer one.
pub const JOURNAL_VERSION: u32 = 1;

/// One line of a journal: `{"n":12,"t":81250000000,"src":"env.local","kind":"replica-ready",…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 without a gap.
    pub n: u64,
    /// When it happened, as far as that is known; else when it was ordered.
    pub t: RunTime,
    /// How much later than `t` it was ordered: what was seen afterwards is written down afterwards.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub late: Span,
    /// Who saw it: `run`, `env.local`, `autoscaler`, `generator.load-generator-1`, `user`.
    pub src: String,
    /// For stamps that came from another clock: what was added to it to reach the run's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockOffset>,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
}

impl Event {
    /// When it was ordered. Never falls from one event of a journal to the next, so the events that had arrived at an instant are a
    /// beginning of the journal.
    pub fn arrived(&self) -> RunTime {
        self.t.plus(self.late)
    }
}

/// How a remote stamp was brought onto the run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Nanoseconds added.
    pub offset_ns: i64,
    /// Half of the round trip in which the offset was measured.
    pub error_ns: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// First event: all that a report needs to know of the run as a whole.
    RunStarted(Box<RunInfo>),
    /// A trial begins; everything up to its `trial-ended` belongs to it.
    TrialStarted(TrialInfo),
    /// A step of bringing up or taking down began, or ended when `took` is given.
    Step {
        /// Which: `check`, `up`, `deploy`, `prepare`, `drive`, `drain`, `down`.
        step: StepName,
        /// How long it took.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took: Option<Span>,
    },
    /// The wanted number of replicas of a workload was set.
    Scaled {
        /// The workload.
        workload: String,
        /// From.
        from: u32,
        /// To.
        to: u32,
        /// `deploy`, `autoscaler`, `user`, `replace` (one died and is started anew).
        cause: String,
    },
    /// A replica is being made.
    ReplicaCreated {
        /// The workload.
        workload: String,
        /// The replica: `user-service-2`.
        replica: String,
    },
    /// Its process, container or pod runs.
    ReplicaStarted {
        /// The workload.
        workload: String,
        /// The replica.
        replica: String,
        /// `host:port`.
        address: String,
        /// Process id, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    /// Its readiness probe answered.
    ReplicaReady {
        /// The workload.
        workload: String,
        /// The replica.
        replica: String,
    },
    /// Its readiness probe stopped answering.
    ReplicaUnready {
        /// The workload.
        workload: String,
        /// The replica.
        replica: String,
        /// Why.
        reason: String,
    },
    /// It gets no new requests; what it has is finished.
    ReplicaDraining {
        /// The workload.
        workload: String,
        /// The replica.
        replica: String,
    },
    /// It is gone.
    ReplicaStopped {
        /// The workload.
        workload: String,
        /// The replica.
        replica: String,
        /// `exit 0`, `signal 9`, …
        exit: String,
        /// False: it died by itself.
        expected: bool,
    },
    /// A list of endpoints was pushed to the generators.
    EndpointsChanged {
        /// The workload that the endpoints belong to.
        workload: String,
        /// Version of the list.
        version: u64,
        /// The list.
        endpoints: Vec<Endpoint>,
    },
    /// The schedule is dealt among these generators from a plan time on.
    SharesDealt {
        /// The generators, by index.
        generators: Vec<String>,
        /// Plan time.
        from_ns: u64,
        /// `start`, `scaled`, `lost generator-1`.
        cause: String,
    },
    /// Load begins: plan time 0 is at `t` of this event's `at`.
    LoadStarted {
        /// Run time of plan time 0.
        at: RunTime,
    },
    /// A phase's intended times begin.
    PhaseStarted {
        /// Index in the spec.
        index: u32,
        /// Name.
        name: String,
        /// Run time of its first instant.
        at: RunTime,
    },
    /// A phase's intended times are over; answers may still come.
    PhaseEnded {
        /// Index in the spec.
        index: u32,
        /// Name.
        name: String,
        /// Run time of its last instant.
        at: RunTime,
    },
    /// The load was changed by hand or by a phase.
    LoadChanged {
        /// What changed.
        change: LoadChange,
        /// Who: `user`, `api`.
        by: String,
    },
    /// A fault was put into a workload on purpose.
    Fault {
        /// The workload.
        workload: String,
        /// The replica.
        replica: String,
        /// `killed`, `paused`, `slowed by 200ms`, …
        what: String,
        /// Who: `user`, `phase crash`.
        by: String,
    },
    /// One second of one generator.
    Sample(Box<Sample>),
    /// A generator's sample did not come.
    SampleLost {
        /// The generator.
        generator: String,
        /// First number missing.
        from_seq: u64,
        /// How many.
        count: u64,
    },
    /// What was seen of the replicas of one workload.
    Observed {
        /// The workload.
        workload: String,
        /// One entry a replica that could be read; a missing one is a gap.
        replicas: Vec<ReplicaUsage>,
    },
    /// A number that belongs to a whole workload: `queue-depth`, `consumed`, `cache-hits`, `cache-misses`, `rows`, `dead-letters`, …
    Gauges {
        /// The workload.
        workload: String,
        /// Name to value.
        values: BTreeMap<String, f64>,
    },
    /// How long messages took from their send to their place in the store, those that came there in a stretch that ends now.
    EndToEnd {
        /// The workload.
        workload: String,
        /// Length of the stretch.
        over: Span,
        /// One value a message, as the upper end of its bucket on the replica's page: up to a quarter too long.
        delays: Encoded,
    },
    /// What the autoscaler wanted and why.
    Decided(Box<Decided>),
    /// After the drain: what was acknowledged against what was found, number by number.
    Conserved(Box<Conserved>),
    /// As `Conserved`, by counts alone: in journals of labs that did not look at each number.
    Delivered {
        /// The workload.
        workload: String,
        /// What is counted: `messages`, `users`.
        what: String,
        /// Requests answered with a good status.
        acknowledged: u64,
        /// Requests whose fate is not known (timed out, cut).
        indeterminate: u64,
        /// Rows found, less those that were there before.
        applied: u64,
    },
    /// A backing service answers: what it is and what it promises.
    Backing(Box<BackingSeen>),
    /// How far the environment is what it stands for.
    Fidelity {
        /// What: `cpu-limit`, `store sqlite`, `autoscaler`.
        subject: String,
        /// `real`, `compatible`, `embedded`.
        grade: Grade,
        /// In what it differs.
        note: String,
    },
    /// Cost of watching: CPU and memory of `lab` itself over a stretch.
    ObserverCost {
        /// CPU time used since the last such event, nanoseconds.
        cpu_ns: u64,
        /// Length of the stretch.
        over: Span,
        /// Resident memory, bytes.
        rss_bytes: u64,
    },
    /// Something worth knowing that breaks nothing.
    Warning {
        /// The sentence.
        text: String,
    },
    /// A remark by the user.
    Note {
        /// The sentence.
        text: String,
    },
    /// What the dashboard showed was kept.
    Still {
        /// The instant that was shown.
        at: RunTime,
        /// Width and height in cells.
        size: (u16, u16),
        /// Paths inside the run's folder.
        files: Vec<String>,
    },
    /// The user asked to stop.
    Interrupted {
        /// Which request it is: 1 drains and reports, 2 tears down, 3 leaves.
        count: u32,
    },
    /// A trial ends.
    TrialEnded {
        /// How.
        outcome: Outcome,
        /// What went wrong, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Things that were made and could not be removed, with the command that removes them.
    LeftBehind {
        /// One name each.
        things: Vec<String>,
        /// `lab clean`.
        remedy: String,
    },
    /// Last event. A journal without it is incomplete.
    RunEnded {
        /// How.
        outcome: Outcome,
    },
}

/// Steps of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// Everything the environment needs is there.
    Check,
    /// The environment itself.
    Up,
    /// Workloads and their backing services.
    Deploy,
    /// Rows are created so that reads find something.
    Prepare,
    /// Load.
    Drive,
    /// What is in flight or queued is awaited.
    Drain,
    /// Removal.
    Down,
}

/// How a trial or run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// To the end.
    Completed,
    /// Stopped by the user.
    Interrupted,
    /// The environment failed.
    Failed,
}

/// How far something is what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The thing itself.
    Real,
    /// Another implementation of the same contract.
    Compatible,
    /// A stand-in inside this process or machine.
    Embedded,
}

/// A backing service as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackingSeen {
    /// `store.postgres`; `store.sqlite` for an embedded one.
    pub name: String,
    /// What it says of itself: `PostgreSQL 15.18`.
    pub server: String,
    /// Where services reach it, without a password; empty for one inside them.
    pub address: String,
    /// The image it was started from; None: it was there already, or is embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSeen>,
    /// Most connections it takes, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// What it promises, and how far it is what it stands for.
    pub promises: Promises,
}

/// An image of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSeen {
    /// As it was asked for: `postgres:17`.
    pub name: String,
    /// Its content: `sha256:…`.
    pub digest: String,
}

/// All that a report needs to know of the run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Run id.
    pub run: String,
    /// Version of `lab`.
    pub version: String,
    /// Wall-clock time of run time 0, RFC 3339, UTC.
    pub started_at: String,
    /// The resolved spec, before the matrix is applied.
    pub spec: Spec,
    /// Every variant's resolved spec and its label, by variant index.
    pub variants: Vec<VariantInfo>,
    /// The order of trials: (block, variant index).
    pub order: Vec<TrialInfo>,
    /// The machine.
    pub host: HostInfo,
}

/// One cell of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantInfo {
    /// `cpu=70%`, or the experiment's name when there is no matrix.
    pub label: String,
    /// Dotted path to value, as written.
    pub cell: BTreeMap<String, String>,
    /// Its spec.
    pub spec: Spec,
}

/// One execution of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialInfo {
    /// Counts from 0 over the run.
    pub trial: u32,
    /// Index of the variant.
    pub variant: u32,
    /// Index of the block: each block runs each variant once.
    pub block: u32,
    /// Seed of its arrivals; equal inside a block, so that all variants face the same load.
    pub seed: u64,
}

/// The machine that ran it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostInfo {
    /// `linux x86_64`.
    pub platform: String,
    /// Kernel release.
    pub kernel: String,
    /// Processor model.
    pub cpu: String,
    /// Usable cores.
    pub cores: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
}

/// Use of one replica at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaUsage {
    /// The replica.
    pub replica: String,
    /// CPU time since the replica's start, nanoseconds: a counter.
    pub cpu_ns: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Time it was kept from running by its CPU limit, nanoseconds: a counter; None where it cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ns: Option<u64>,
}

/// One sync of the autoscaler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// The workload.
    pub workload: String,
    /// The engine's own account; its `why` is the sentence shown everywhere.
    pub decision: lab_hpa::Decision,
    /// What it was given, one entry a metric in the order of the spec.
    pub seen: Vec<SeenMetric>,
}

/// What the autoscaler was given for one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenMetric {
    /// `cpu`, `memory`, `response-time`, `queue-depth`, `send-lag`.
    pub metric: String,
    /// In the target's unit: percent, milliseconds, messages; None: no usable data.
    pub value: Option<f64>,
    /// The target, in the same unit.
    pub target: f64,
    /// Age of the data when it was used.
    pub age: Option<Span>,
}
