//! A history in memory: a run that is not on disk.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use lab_core::event::Event;

use super::{History, HistoryError, Place};

/// Events in memory. Clones share them: one side appends, the other reads.
#[derive(Debug, Clone, Default)]
pub struct MemoryHistory {
    events: Arc<Mutex<Vec<Event>>>,
}

impl MemoryHistory {
    /// Of these events.
    pub fn new(events: Vec<Event>) -> Self {
        Self { events: Arc::new(Mutex::new(events)) }
    }

    /// Appends an event. It must not have arrived before the last one.
    pub fn push(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl History for MemoryHistory {
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError> {
        for next in from.offset.. {
            // The lock is held for one event only: who appends is never kept waiting by who reads.
            let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(event) = usize::try_from(next).ok().and_then(|i| events.get(i)).cloned() else { break };
            drop(events);
            if each(event, Place { events: next + 1, offset: next + 1 }).is_break() {
                break;
            }
        }
        Ok(())
    }
}
