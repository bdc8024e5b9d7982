//! What an engine promises, as data: the rows of the parity table that stands beside every comparison.

use serde::{Deserialize, Serialize};

use crate::event::Grade;

/// What an engine promises. Each field is one phrase for a table cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promises<T = String> {
    /// `sqlite`, `memory`, `postgres`, …
    pub engine: T,
    /// What survives which failure.
    pub durability: T,
    /// What has happened when a write is answered.
    pub acknowledgement: T,
    /// How many copies, where.
    pub replication: T,
    /// In which order readers see writes.
    pub ordering: T,
    /// Which calls share the cost of one write.
    pub batching: T,
    /// How near it is to what it stands for.
    pub fidelity: Grade,
}
