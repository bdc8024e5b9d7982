//! Conducts a run: trials, phases, the autoscaler's loop, the journal. The only writer of `runs/`.
//! Environments make replicas, load-generators send; what happened is read back from the journal.

mod autoscaler;
mod clock;
mod conductor;
mod down;
mod drive;
mod error;
mod fleet;
mod gauges;
mod hold;
mod http;
mod interrupt;
mod listen;
mod observe;
mod prepare;
mod run;
mod run_dir;
mod supervisor;
mod trial;

pub use conductor::Sink;
pub use error::RunError;
pub use hold::{Hold, Up};
pub use interrupt::Interrupt;
pub use run::{Finished, Maker, MakerRequest, Run};
pub use run_dir::{RunDir, RunDirError, list_runs};
pub use supervisor::{Ask, Reply, ask};
