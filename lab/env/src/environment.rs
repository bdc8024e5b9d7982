//! The contract of every environment, and the types that cross it.

use std::path::PathBuf;
use std::time::Instant;

use async_trait::async_trait;
use lab_core::control::Endpoint;
use lab_core::event::{Grade, Kind, ReplicaUsage};
use lab_core::fault::{FaultTarget, Injury};
use lab_core::spec::{EnvironmentKind, Spec};
use tokio::sync::{mpsc, watch};

/// One thing that an environment saw, with who saw it. The receiver gives it its number and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// `env.local`.
    pub src: String,
    /// When it happened; None: when it is received.
    pub at: Option<Instant>,
    /// What.
    pub kind: Kind,
}

/// Where environments announce what they see. Bounded: a full channel makes the environment wait, it loses nothing.
pub type EventSink = mpsc::Sender<Seen>;

/// Something that is missing or in the way, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is missing.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// False: the run works, with less fidelity.
    pub fatal: bool,
}

impl Finding {
    /// Of an error that keeps an environment from looking.
    pub(crate) fn of(error: &EnvError) -> Self {
        Self { problem: error.to_string(), remedy: "try again".to_owned(), fatal: true }
    }
}

/// Why an environment could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// Another process holds the lab of this name.
    #[error("lab `{name}` is already up: held by process {pid} since {since}")]
    Held {
        /// The lab.
        name: String,
        /// Who.
        pid: u32,
        /// When it took hold, RFC 3339.
        since: String,
    },
    /// A replica did not come up.
    #[error("{replica} did not become ready within {waited:?}; its log is {}", log.display())]
    NotReady {
        /// The replica.
        replica: String,
        /// How long was waited.
        waited: std::time::Duration,
        /// Where its own words are.
        log: PathBuf,
    },
    /// A replica ended at once, more than once.
    #[error("{replica} ended with {exit} before it was ready; its log ends: {tail}")]
    Crashed {
        /// The replica.
        replica: String,
        /// How.
        exit: String,
        /// The last lines of its log.
        tail: String,
    },
    /// A workload is not part of this lab.
    #[error("there is no workload `{0}` in this lab")]
    NoSuchWorkload(String),
    /// A workload needs a server that is not there.
    #[error("there is no address of {0}; use `--env docker`, which starts one, or name one with `--endpoint {0}=URL`")]
    NoServer(String),
    /// A fault that cannot be made here.
    #[error("{target} cannot be {done} in this environment")]
    CannotInjure {
        /// What was to be hit.
        target: String,
        /// What was to be done: `disconnected`.
        done: String,
    },
    /// There is nothing of a kind that can be hit now.
    #[error("nothing of {0} is there to be hit")]
    NothingToHit(String),
    /// The operating system refused.
    #[error("cannot {doing}")]
    System {
        /// What was tried, with its object.
        doing: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Docker cannot be used at all.
    #[error("Docker cannot be used: {problem}; {remedy}")]
    NoDocker {
        /// What is missing.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// Docker refused, or did not answer.
    #[error("Docker did not {doing}")]
    Docker {
        /// What was asked, with its object.
        doing: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A cluster cannot be used at all.
    #[error("the cluster cannot be used: {problem}; {remedy}")]
    NoCluster {
        /// What is missing.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A cluster refused, or did not answer.
    #[error("the cluster did not {doing}")]
    Cluster {
        /// What was asked, with its object.
        doing: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something in a cluster did not become ready.
    #[error("{what} did not become ready within {} s: {why}", waited.as_secs())]
    Stuck {
        /// A replica, a server.
        what: String,
        /// How long was waited.
        waited: std::time::Duration,
        /// What the cluster reported of it, and its last words.
        why: String,
    },
    /// A service did not do what was asked over its API.
    #[error("{who} did not {what}")]
    Api {
        /// The replica.
        who: String,
        /// What was asked.
        what: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where a replica is in its life, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaPhase {
    /// Being made.
    Pending,
    /// Its process runs.
    Running,
    /// Being removed.
    Terminating,
    /// Ended.
    Failed,
}

/// What an autoscaler must know of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaState {
    /// The replica.
    pub replica: String,
    /// Its phase.
    pub phase: ReplicaPhase,
    /// Whether its readiness probe answers; None before the first probe.
    pub ready: Option<bool>,
    /// Since when `ready` has been as it is.
    pub ready_since: Option<Instant>,
    /// When its process was started.
    pub started: Option<Instant>,
}

/// A generator's control API.
#[derive(Debug, Clone)]
pub struct GeneratorAddress {
    /// The replica.
    pub replica: String,
    /// `http://host:port`.
    pub url: String,
    /// Bearer token.
    pub token: secrecy::SecretString,
}

/// Something that stands beside the workloads of a lab and answers on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// `monitoring.prometheus`
    pub name: String,
    /// What it says of itself: `Prometheus 3.5.0`.
    pub engine: String,
    /// How far it is what it stands for.
    pub fidelity: Grade,
    /// Where it answers: `http://127.0.0.1:49153`, `127.0.0.1:49154`.
    pub address: String,
}

/// What `down` could not remove. Empty: everything is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// One name each.
    pub left: Vec<String>,
}

/// A place where workloads run. Every method may be called again after it failed; `down` twice is fine.
#[async_trait]
pub trait Environment: Send + Sync {
    /// Which kind it is.
    fn kind(&self) -> EnvironmentKind;

    /// Every missing thing with its remedy, never only the first.
    async fn check(&self, spec: &Spec) -> Vec<Finding>;

    /// Takes hold of the lab's name and makes what all workloads need. Resumes after a crash: what an earlier holder left is removed first.
    async fn up(&self, spec: &Spec) -> Result<(), EnvError>;

    /// Starts the workload with its spec's replicas and waits until they are ready.
    async fn deploy(&self, spec: &Spec, workload: &str) -> Result<(), EnvError>;

    /// Sets the wanted number of replicas and returns at once; the rest is announced as it happens.
    async fn scale(&self, workload: &str, replicas: u32, cause: &str) -> Result<(), EnvError>;

    /// The wanted number of replicas.
    async fn wanted(&self, workload: &str) -> Result<u32, EnvError>;

    /// Every replica that is not gone.
    async fn replicas(&self, workload: &str) -> Result<Vec<ReplicaState>, EnvError>;

    /// The ready replicas, as they change.
    fn endpoints(&self, workload: &str) -> Result<watch::Receiver<Vec<Endpoint>>, EnvError>;

    /// CPU and memory of each replica that can be read now.
    async fn observe(&self, workload: &str) -> Result<Vec<ReplicaUsage>, EnvError>;

    /// The ready generators, as they change.
    fn generators(&self) -> watch::Receiver<Vec<GeneratorAddress>>;

    /// What stands beside the workloads and answers on this machine, in the order it came up.
    fn beside(&self) -> Vec<Beside> {
        Vec::new()
    }

    /// Does harm to what is named, or undoes it; gives the names of what was hit.
    async fn fault(&self, target: &FaultTarget, injury: Injury) -> Result<Vec<String>, EnvError>;

    /// Kills one replica without warning, as a fault.
    async fn kill(&self, replica: &str) -> Result<(), EnvError>;

    /// Removes everything this lab made, newest first, and lets go of its name.
    async fn down(&self) -> Result<Removal, EnvError>;
}
