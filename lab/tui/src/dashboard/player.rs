//! Where a replay is.

use std::time::Duration;

use lab_core::unit::{RunTime, Span};

/// A position that moves while it plays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Player {
    /// The instant.
    pub at: RunTime,
    /// Seconds of the run a second.
    pub speed: f64,
}

impl Player {
    /// Plays for a while, to `end` at most. True when it moved.
    pub fn play(&mut self, passed: Duration, end: RunTime) -> bool {
        let before = self.at;
        let by = passed.as_secs_f64() * self.speed.max(0.0) * 1e9;
        self.at = self.at.plus(Span(by as u64)).min(end.max(before));
        self.at != before
    }
}
