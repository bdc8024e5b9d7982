//! The one error of this crate: what failed, on what, and whether asking again can help.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

/// Why a store, queue or cache could not do what it was asked. Cheap to clone, so that callers who share one load share its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// An idempotency key came back with another body. The first answer stands; nothing was written.
    #[error("idempotency key `{key}` was used before with another body; send a new key")]
    KeyReused {
        /// The key as the client sent it.
        key: String,
    },
    /// No answer within the deadline. A write may or may not have happened: repeat it with the same idempotency key.
    #[error("{operation} had no answer within {limit:?}; try again")]
    Timeout {
        /// What was asked, with its engine: `sqlite store: create user`.
        operation: &'static str,
        /// The deadline.
        limit: Duration,
    },
    /// The engine's own queue is full. Nothing was written.
    #[error("{operation} was refused because {waiting} calls already wait; send less or try later")]
    Overloaded {
        /// What was asked, with its engine.
        operation: &'static str,
        /// The bound that was reached.
        waiting: usize,
    },
    /// The handle was closed before or during the call.
    #[error("{operation} came after close")]
    Closed {
        /// What was asked, with its engine.
        operation: &'static str,
    },
    /// A scan was to go on at a place that its table does not have.
    #[error("{operation} was given a cursor that is not of this table; begin without one")]
    Cursor {
        /// What was asked, with its engine.
        operation: &'static str,
    },
    /// The engine itself refused or failed.
    #[error("{operation} failed")]
    Engine {
        /// What was asked, with its engine.
        operation: &'static str,
        /// What the engine said.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The engine's server is away, or refuses us.
    #[error("{operation} cannot use `{address}`; {remedy}")]
    Unreachable {
        /// What was asked, with its engine: `postgres store: open`.
        operation: &'static str,
        /// The address without its password, as [`shown`](crate::address::shown) gives it.
        address: String,
        /// What to do.
        remedy: &'static str,
        /// What the driver or the server said.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The data was written by a newer version.
    #[error(
        "{what} has schema version {found}, this build knows up to {known}; use a newer build or another file or database"
    )]
    NewerSchema {
        /// Which file or database.
        what: String,
        /// The version found.
        found: i64,
        /// The newest version this build knows.
        known: i64,
    },
    /// The file or database belongs to something else: a queue's file given to a store, or another program's.
    #[error("{operation} found another kind of data in `{path}`; give each store and queue a place of its own")]
    OtherFile {
        /// What was asked, with its engine.
        operation: &'static str,
        /// The file, or the database's address without its password.
        path: String,
    },
    /// An address names no engine that exists.
    #[error("`{address}` is not a {role}; write {accepted}")]
    Address {
        /// The address, without a password.
        address: String,
        /// `store`, `queue` or `cache`.
        role: &'static str,
        /// Accepted spellings.
        accepted: &'static str,
    },
}

impl Error {
    /// Wraps what an engine said.
    pub fn engine(operation: &'static str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Engine { operation, source: Arc::new(source) }
    }

    /// True when the same call may succeed later without anybody changing anything: answer 503 with Retry-After, not 500.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Overloaded { .. }
                | Self::Closed { .. }
                | Self::Engine { .. }
                | Self::Unreachable { .. }
        )
    }
}
