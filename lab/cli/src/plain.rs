//! Sentences for people who read a log: one a line, with the time since the run began, on stderr; progress while load is driven.

use std::time::{Duration, Instant};

use lab_core::event::{Event, Kind};
use lab_core::model::Model;
use lab_core::narrate::narrate;
use lab_core::progress::progress;
use lab_run::Sink;

use crate::out;

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Tells events as they happen.
pub struct Plain {
    told: Instant,
}

impl Plain {
    /// Nothing told yet.
    pub fn new() -> Self {
        Self { told: Instant::now() }
    }
}

impl Sink for Plain {
    fn event(&mut self, event: &Event, model: &Model) {
        if let Some(sentence) = narrate(event) {
            self.told = Instant::now();
            out::talk(&format!("{:>7.1}s  {sentence}", event.t.as_secs_f64()));
        } else if matches!(event.kind, Kind::Sample(_)) && self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            if let Some(sentence) = progress(model) {
                out::talk(&format!("{:>7.1}s  {sentence}", event.t.as_secs_f64()));
            }
        }
    }
}
