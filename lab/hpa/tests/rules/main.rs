//! Every rule of the algorithm, one table or story each, through the public interface.

mod behavior;
mod limit;
mod memory;
mod per_pod;
mod stabilize;
mod support;
mod total;
mod trace;
mod zero;
