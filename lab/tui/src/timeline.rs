//! A run over time: the newest state, and the state at any instant before, folded from its history.

use std::ops::ControlFlow;

use lab_core::event::Event;

/// Where the next event of a history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Events before it.
    pub events: u64,
    /// Whatever the history finds it by: an offset in a file, an index.
    pub offset: u64,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the run's events cannot be read")]
pub struct HistoryError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where a run's events come from: a journal on disk, also while it is being written, or memory.
pub trait History: Send {
    /// Passes on the events from `from` on, in order, each with the place after it, until there are no more for now or `each` breaks.
    ///
    /// # Errors
    /// It cannot be read, or what is there is not a journal.
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError>;
}
