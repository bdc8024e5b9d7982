//! All that a frame is drawn from, resolved for one instant: whose data, on which axis, how it looks. Lanes and panes read this and
//! nothing else.

use lab_core::model::{Cell, Model, Trial, Workload};
use lab_core::series::Stretch;
use lab_core::unit::{RunTime, Span};

use crate::axis::Axis;
use crate::layout::Tier;
use crate::look::Look;
use crate::view::Mode;

/// One trial on an axis.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The run it belongs to.
    pub model: &'a Model,
    /// The trial.
    pub trial: &'a Trial,
    /// The workload whose replicas are shown.
    pub workload: &'a str,
    /// Its columns; those of two sides stand for the same time since their loads began.
    pub axis: Axis,
    /// Its seconds of load, a merged cell a column; as many as the axis has columns.
    pub cells: &'a [Option<Cell>],
    /// Nothing is known beyond this instant.
    pub until: RunTime,
}

/// One instant, ready to be drawn.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What lanes draw: what was known at the instant, or in SCRUB all that is known.
    pub shown: Side<'a>,
    /// Another variant's trial, drawn dimmed.
    pub ghost: Option<Side<'a>>,
    /// Lanes show by how much the shown trial differs from the ghost.
    pub difference: bool,
    /// The run as it was known at the instant: for panes and for the values beside the lanes.
    pub model: &'a Model,
    /// The shown trial in `model`.
    pub trial: &'a Trial,
    /// The instant.
    pub now: RunTime,
    /// Column of the cursor, in SCRUB.
    pub cursor: Option<u16>,
    /// The workload whose replicas are shown.
    pub workload: &'a str,
    /// How the instant was chosen.
    pub mode: Mode,
    /// How large the screen is.
    pub tier: Tier,
    /// Theme and glyphs.
    pub look: Look,
    /// No event has come for so long; zero while they come.
    pub silent: Span,
    /// Speed of a replay that plays.
    pub speed: Option<f64>,
}

impl<'a> Scene<'a> {
    /// The workload in the shown trial, if it is there.
    pub fn shown_workload(&self) -> Option<&'a Workload> {
        self.shown.trial.workloads.get(self.workload)
    }

    /// The workload as it was known at the instant.
    pub fn workload_now(&self) -> Option<&'a Workload> {
        self.trial.workloads.get(self.workload)
    }

    /// The newest second of load that was complete at the instant.
    pub fn second_now(&self) -> Option<&'a Cell> {
        newest_second(self.trial).map(|second| &second.value)
    }
}

/// The newest second of load of which all generators have told.
pub fn newest_second(trial: &Trial) -> Option<&Stretch<Cell>> {
    trial.cells.stretches().iter().rev().find(|second| second.value.complete())
}
