//! Environments: make, deploy, watch, scale, remove. One file each under this folder; what they share stands beside them.
//! Nothing here drives load, writes a journal or decides about replicas.

pub mod clean;
mod docker;
mod environment;
pub mod front_door;
mod generator;
pub mod home;
pub mod host;
pub mod lease;
pub mod ledger;
pub mod local;
pub mod proc;
pub mod reaper;
pub mod status;
pub mod sweep;
mod system;
pub mod targets;
mod wait;

pub use docker::image;
pub use environment::{
    EnvError, Environment, EventSink, Finding, GeneratorAddress, Removal, ReplicaPhase, ReplicaState, Seen,
};
pub use front_door::FrontDoor;
pub use generator::GeneratorClient;
pub use local::{LocalConfig, LocalEnvironment, LocalLimits};
