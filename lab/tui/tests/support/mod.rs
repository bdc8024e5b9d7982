//! Frames of made-up runs.
#![allow(dead_code, reason = "each test file uses a part of it")]

use lab_core::event::Event;
use lab_core::fixture::Scenario;
use lab_core::model::Model;
use lab_core::unit::{RunTime, Span};
use lab_tui::columns::Columns;
use lab_tui::frame::{Instant, frame};
use lab_tui::look::Look;
use lab_tui::pane::Extras;
use lab_tui::view::View;
use ratatui::buffer::Buffer;

pub mod runs;

/// The events of the run with one fourfold step: load begins after a few seconds, steps at 20 s, cools down at 100 s, ends at 180 s.
pub fn autoscale() -> Vec<Event> {
    Scenario::autoscale(3).events()
}

/// The events of a run of three variants in two blocks.
pub fn matrix() -> Vec<Event> {
    Scenario::matrix(3, 2).events()
}

/// The run as it was known at an instant.
pub fn at(events: &[Event], t: RunTime) -> Model {
    Model::of(events.iter().take_while(|e| e.arrived() <= t))
}

/// Seconds since the load of the last trial began.
pub fn since_load(events: &[Event], seconds: f64) -> RunTime {
    let zero = Model::of(events).trials.last().and_then(|t| t.load_started).expect("load");
    zero.plus(Span((seconds * 1e9) as u64))
}

/// The frame that was live at an instant.
pub fn live(events: &[Event], t: RunTime, view: &View, size: (u16, u16), look: Look) -> Buffer {
    let model = at(events, t);
    let instant = Instant { whole: &model, model: &model, now: t, end: t };
    frame(&instant, view, size, look, &Extras::still(), &mut Columns::default())
}
