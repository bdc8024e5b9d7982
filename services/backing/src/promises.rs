//! What an engine promises, as data: the rows of the parity table that stands beside every comparison.

use lab_core::event::Grade;
use serde::Serialize;

/// What an engine promises. Each field is one phrase for a table cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Promises {
    /// `sqlite`, `memory`, `postgres`, …
    pub engine: &'static str,
    /// What survives which failure.
    pub durability: &'static str,
    /// What has happened when a write is answered.
    pub acknowledgement: &'static str,
    /// How many copies, where.
    pub replication: &'static str,
    /// In which order readers see writes.
    pub ordering: &'static str,
    /// Which calls share the cost of one write.
    pub batching: &'static str,
    /// How near it is to what it stands for.
    pub fidelity: Grade,
}
