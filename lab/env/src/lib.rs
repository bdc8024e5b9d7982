//! Environments: make, deploy, watch, scale, remove. One file each under this folder; what they share stands beside them.
//! Nothing here drives load, writes a journal or decides about replicas.

mod backing;
mod check;
pub mod clean;
mod docker;
mod environment;
pub mod front_door;
mod generator;
mod hold;
pub mod home;
pub mod host;
pub mod kubernetes;
pub mod lease;
pub mod ledger;
pub mod local;
pub mod proc;
mod proxy;
pub mod reaper;
mod replicas;
pub mod status;
pub mod sweep;
mod system;
pub mod targets;
mod wait;

pub use backing::{BadEndpoint, Endpoints, Probed};
pub use docker::{DockerConfig, DockerEnvironment, image};
pub use environment::{
    Beside, EnvError, Environment, EventSink, Finding, GeneratorAddress, Removal, ReplicaPhase, ReplicaState, Seen,
};
pub use front_door::FrontDoor;
pub use generator::GeneratorClient;
pub use kubernetes::{ClusterRef, KubernetesConfig, KubernetesEnvironment};
pub use local::{LocalConfig, LocalEnvironment, LocalLimits};
