//! Environments: make, deploy, watch, scale, remove. One file each under this folder; what they share stands beside them.
//! Nothing here drives load, writes a journal or decides about replicas.

mod environment;

pub use environment::{
    EnvError, Environment, EventSink, Finding, GeneratorAddress, Removal, ReplicaPhase, ReplicaState, Seen,
};
