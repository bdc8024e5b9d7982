//! What an engine says of itself when it is opened.

use lab_core::event::Grade;

use crate::Promises;

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Name and version: `PostgreSQL 15.18`.
    pub server: String,
    /// How near it is to what its engine's name stands for.
    pub fidelity: Grade,
    /// Most connections that it takes from all its clients together; None: it has no such limit, or does not tell.
    pub connections: Option<u32>,
}

impl About {
    /// An engine of which no more is known than what it promises.
    pub(crate) fn nothing_but(promises: &Promises) -> Self {
        Self { server: promises.engine.to_owned(), fidelity: promises.fidelity, connections: None }
    }
}
