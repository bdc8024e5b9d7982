//! Sentences for people who read a log: one a line, with the time since the run began; progress while load is driven. Time is that of
//! the events, so a run that is played again tells the same.

use lab_core::event::{Event, Kind};
use lab_core::model::Model;
use lab_core::narrate::narrate;
use lab_core::progress::progress;
use lab_core::unit::{RunTime, Span};
use lab_run::Sink;

use crate::out;
use crate::screen::Telling;

/// Time between two lines of progress.
const PROGRESS: Span = Span::from_secs(5);

/// Chooses what is told of a run.
#[derive(Debug, Default)]
pub struct Teller {
    told: RunTime,
}

impl Teller {
    /// The line to be told after an event, with `model` as it is then; None for most.
    pub fn line(&mut self, event: &Event, model: &Model) -> Option<String> {
        let due = || matches!(event.kind, Kind::Sample(_)) && event.arrived().since(self.told) >= PROGRESS;
        let sentence = narrate(event).or_else(|| due().then(|| progress(model)).flatten())?;
        self.told = event.arrived();
        Some(format!("{:>7.1}s  {sentence}", event.t.as_secs_f64()))
    }
}

/// Tells events as they happen, on stderr.
#[derive(Debug)]
pub struct Plain {
    teller: Teller,
    telling: Telling,
}

impl Plain {
    /// Nothing told yet; told is only while `telling` says so.
    pub fn new(telling: &Telling) -> Self {
        Self { teller: Teller::default(), telling: telling.clone() }
    }
}

impl Sink for Plain {
    fn event(&mut self, event: &Event, model: &Model) {
        if self.telling.is_told()
            && let Some(line) = self.teller.line(event, model)
        {
            out::talk(&line);
        }
    }
}
