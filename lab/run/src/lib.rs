//! Conducts a run: trials, phases, the autoscaler's loop, the journal. The only writer of `runs/`.
//! Environments make replicas, load-generators send; what happened is read back from the journal.

mod autoscaler;
mod clock;
mod conductor;
mod deliveries;
mod desk;
mod down;
mod drive;
mod error;
mod faults;
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
mod steer;
mod supervisor;
mod trial;
mod up;

pub use conductor::Sink;
pub use error::{RunError, causes};
pub use hold::Hold;
pub use interrupt::Interrupt;
pub use run::{Finished, Maker, MakerRequest, Run};
pub use run_dir::{RunDir, RunDirError, list_runs};
pub use supervisor::{Ask, Reply, ask, socket_path};
pub use up::{BackingUp, Replicas, ServiceUp, Up};
