//! A resolved spec: one experiment, every default filled in, every value of its right type. Reading one from YAML is in the
//! files below this one ([`parse`]); they let nothing through that cannot be run.

mod autoscale;
pub mod catalogue;
mod checks;
mod diagnostic;
mod load;
mod matrix;
mod node;
mod path;
mod read;
mod reader;
pub mod reference;
mod servers;
mod services;
mod shape;
mod yaml;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use catalogue::{CacheEngine, EnvironmentKind, QueueEngine, StoreEngine, UnknownName};
pub use diagnostic::{Diagnostic, Place};
pub use path::{NotASetting, Set};
pub use read::{Experiment, MAX_SPEC_BYTES, parse};
pub use servers::{Role, Server};

use crate::fault::PlannedFault;
use crate::unit::{Bytes, Millicores, Percent, Rate, Span};

/// One experiment, resolved. Serialises to the YAML/JSON that would produce it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Name of the experiment: the file's stem.
    pub name: String,
    /// The question that the report answers.
    pub question: String,
    /// Where it runs.
    pub environment: EnvironmentKind,
    /// The services that are deployed.
    pub services: Services,
    /// How the autoscaler and its metrics pipeline are set; the names are those of the Kubernetes controller's flags.
    pub autoscaler: AutoscalerSettings,
    /// The load that is driven; None for `lab up` without load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// What must hold, in the order written.
    pub expect: Vec<crate::expect::Expectation>,
    /// How often each variant is run.
    pub repeats: u32,
    /// Seed of arrivals, keys and block order.
    pub seed: u64,
    /// Bounds on what a run may cost.
    pub budget: Budget,
}

/// The services of a lab. An absent one is not deployed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Services {
    /// user-service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_service: Option<UserService>,
    /// message-service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_service: Option<MessageService>,
    /// load-generator: always deployed.
    pub load_generator: LoadGenerator,
}

impl Services {
    /// Workloads that are deployed, in the order in which they are: load-generator comes last.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let user = self.user_service.is_some().then_some("user-service");
        let message = self.message_service.is_some().then_some("message-service");
        user.into_iter().chain(message).chain(["load-generator"])
    }

    /// What every workload has, of one of them; None when it is not deployed.
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        match name {
            "user-service" => self.user_service.as_ref().map(|service| &service.common),
            "message-service" => self.message_service.as_ref().map(|service| &service.common),
            "load-generator" => Some(&self.load_generator.common),
            _ => None,
        }
    }

    /// Whether an autoscaler follows a workload.
    pub fn is_scaled(&self, name: &str) -> bool {
        self.workload(name).is_some_and(|workload| workload.autoscale.is_some())
    }

    /// Whether what a workload acknowledges is applied later, from a queue.
    pub fn is_queued(&self, name: &str) -> bool {
        match name {
            "message-service" => self.message_service.is_some(),
            "user-service" => self.user_service.as_ref().is_some_and(|user| user.create == CreateMode::Queued),
            _ => false,
        }
    }
}

/// Settings of user-service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserService {
    /// Database.
    pub store: StoreEngine,
    /// Cache in front of reads.
    pub cache: CacheEngine,
    /// How long a cached answer lives.
    pub cache_ttl: Span,
    /// Queue used by `create: queued`.
    pub queue: QueueEngine,
    /// Whether a create is stored before the answer or from a queue after it.
    pub create: CreateMode,
    /// CPU burnt per request, by operation: `create`, `get`.
    pub work: BTreeMap<String, Span>,
    /// What every workload has.
    #[serde(flatten)]
    pub common: Workload,
}

/// Settings of message-service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MessageService {
    /// Database.
    pub store: StoreEngine,
    /// Cache in front of reads.
    pub cache: CacheEngine,
    /// How long a cached answer lives.
    pub cache_ttl: Span,
    /// Queue between `send` and the store.
    pub queue: QueueEngine,
    /// Consumers in each replica.
    pub consumers: u32,
    /// CPU burnt per request or message, by operation: `send`, `messages`, `consume`.
    pub work: BTreeMap<String, Span>,
    /// What every workload has.
    #[serde(flatten)]
    pub common: Workload,
}

/// Settings of load-generator.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadGenerator {
    /// What every workload has.
    #[serde(flatten)]
    pub common: Workload,
}

/// What every workload has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Replicas at the start.
    pub replicas: u32,
    /// Limits of one replica. `cpu` is also its request, the base of utilization.
    pub resources: Resources,
    /// Autoscaling; None keeps `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
}

impl Default for Workload {
    fn default() -> Self {
        Self { replicas: 1, resources: Resources::default(), autoscale: None }
    }
}

/// Limits of one replica; None is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Millicores>,
    /// Memory: reported against, enforced where the environment can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

/// A HorizontalPodAutoscaler's spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// What it follows, in the order written; never empty.
    pub metrics: Vec<Metric>,
    /// Exactly autoscaling/v2's `behavior`; None is not the same as an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<lab_hpa::Behavior>,
}

/// One metric and its target. Written `{ cpu: 70% }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Share of the requested CPU, mean over replicas (Resource, Utilization).
    Cpu(Percent),
    /// Share of the requested memory, mean over replicas (Resource, Utilization).
    Memory(Percent),
    /// p95 response time of the last window (External, Value).
    ResponseTime(Span),
    /// Messages waiting for each replica (External, AverageValue).
    QueueDepth(u64),
    /// p99 send lag of the load generators in the last window (External, Value).
    SendLag(Span),
}

impl Metric {
    /// The name used in specs, on screens and in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Memory(_) => "memory",
            Self::ResponseTime(_) => "response-time",
            Self::QueueDepth(_) => "queue-depth",
            Self::SendLag(_) => "send-lag",
        }
    }
}

/// How the autoscaler and its metrics pipeline are set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AutoscalerSettings {
    /// Time between two syncs.
    pub sync_period: Span,
    /// Time between two scrapes of CPU and memory, which is also the window of a CPU sample.
    pub metric_resolution: Span,
    /// Ratio around 1 in which nothing is done.
    pub tolerance: f64,
    /// Window of highest recommendations used on the way down when no `behavior` says otherwise.
    pub downscale_stabilization: Span,
    /// Time after a replica's start in which its CPU sample counts only once it is ready.
    pub cpu_initialization_period: Span,
    /// Time after a replica's start in which readiness may still come late.
    pub initial_readiness_delay: Span,
}

impl Default for AutoscalerSettings {
    fn default() -> Self {
        Self {
            sync_period: Span::from_secs(15),
            metric_resolution: Span::from_secs(15),
            tolerance: 0.1,
            downscale_stabilization: Span::from_secs(300),
            cpu_initialization_period: Span::from_secs(300),
            initial_readiness_delay: Span::from_secs(30),
        }
    }
}

/// The load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The workload that is called.
    pub target: Target,
    /// Shares of operations; they sum to 1. Operations are those of the target.
    pub mix: BTreeMap<String, Percent>,
    /// How arrivals are spaced.
    pub arrivals: Arrivals,
    /// Connections of each generator.
    pub connections: u32,
    /// Time after which a request without an answer has failed.
    pub timeout: Span,
    /// Rows created before the first phase, so that reads find something.
    pub prepare: u64,
    /// Stretches of load, in order; never empty.
    pub phases: Vec<Phase>,
}

/// A workload that can be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// user-service: operations `create`, `get`.
    UserService,
    /// message-service: operations `send`, `messages`.
    MessageService,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 2] = [Self::UserService, Self::MessageService];

    /// The mix of operations when a spec does not say.
    pub fn default_mix(self) -> BTreeMap<String, Percent> {
        let shares = match self {
            Self::UserService => [("create", 0.2), ("get", 0.8)],
            Self::MessageService => [("send", 0.5), ("messages", 0.5)],
        };
        shares.into_iter().map(|(operation, share)| (operation.to_owned(), Percent(share))).collect()
    }

    /// The workload's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserService => "user-service",
            Self::MessageService => "message-service",
        }
    }

    /// The operations it offers.
    pub fn operations(self) -> &'static [&'static str] {
        match self {
            Self::UserService => &["create", "get"],
            Self::MessageService => &["send", "messages"],
        }
    }
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Independent users: exponential gaps from the seed.
    #[default]
    Poisson,
    /// A metronome.
    Constant,
}

impl Load {
    /// Length of all phases together.
    pub fn length(&self) -> Span {
        Span(self.phases.iter().fold(0, |sum, phase| sum.saturating_add(phase.length.0)))
    }
}

/// A stretch of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Unique within the spec.
    pub name: String,
    /// What is offered.
    pub rate: Shape,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub length: Span,
    /// False for warm-up: kept in the journal, left out of expectations.
    pub measure: bool,
    /// How many replicas workloads have from its first instant on; those not named keep what they have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, u32>,
    /// What is broken on purpose while it lasts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<PlannedFault>,
}

/// The offered rate over a phase. Written `100/s`, `{ from: 100/s, to: 400/s }` or `{ trace: arrivals.csv }`.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// The same rate throughout; 0 is a pause.
    Constant(Rate),
    /// A straight line from one rate to another.
    Ramp {
        /// Rate at the start.
        from: Rate,
        /// Rate at the end.
        to: Rate,
    },
    /// Offsets of arrivals from the phase's start, ascending, as read from a trace file.
    Trace {
        /// The file, as written in the spec.
        file: String,
        /// Its arrivals.
        offsets: Vec<Span>,
    },
}

/// Bounds on what a run may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Longest time from start to end.
    pub wall: Span,
    /// Most money, in US dollars; nothing local costs any.
    pub usd: f64,
}

/// When a create is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CreateMode {
    /// Before the answer.
    Direct,
    /// From a queue, after the answer.
    Queued,
}

impl Spec {
    /// The YAML that would produce this spec again, every default written out.
    ///
    /// # Errors
    /// None that a resolved spec can cause; the library's own are passed on.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser_error::Error> {
        serde_saphyr::to_string(self)
    }
}
