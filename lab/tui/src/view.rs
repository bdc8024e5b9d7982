//! What of a run is looked at, and how: chosen by keys, resolved into a scene.

use lab_core::unit::{RunTime, Span};

/// How the shown instant is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The newest.
    #[default]
    Live,
    /// This one; the run goes on unseen.
    Paused(RunTime),
    /// This one, moved by the cursor; lanes show everything that is known.
    Scrub(RunTime),
}

/// How long a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zoom {
    /// So that the planned load fits; without a plan, a second.
    #[default]
    Fit,
    /// This long; the axis follows the instant.
    Column(Span),
}

/// What stands below the lanes, or instead of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Panel {
    /// As the size of the screen has it: the replicas' table where there is room.
    #[default]
    Usual,
    /// What happened, sentence by sentence.
    Events,
    /// Lines of the replicas' logs.
    Logs,
    /// When each replica was created, started, ready and first answered.
    Waterfall,
    /// Replicas as a table.
    Replicas,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// Which instant.
    pub mode: Mode,
    /// Length of a column.
    pub zoom: Zoom,
    /// Index of the trial; None: the newest.
    pub trial: Option<usize>,
    /// Name of the workload; None: the one that is scaled, else the target of the load.
    pub workload: Option<String>,
    /// Another variant's trial is drawn dimmed.
    pub ghost: bool,
    /// The difference to the ghost is drawn.
    pub difference: bool,
    /// What stands below the lanes.
    pub panel: Panel,
    /// Lines of the panel that are passed over from its end (events, logs) or its top (tables).
    pub scroll: u16,
    /// Only lines and rows that contain this are shown.
    pub filter: String,
    /// Name of the selected row of the replicas' table, so that it stays the same when rows change places.
    pub chosen: String,
    /// Place of the selected row while there is none of that name.
    pub selected: usize,
}

impl View {
    /// Place of the selected row among rows of these names.
    pub fn selected_of<'a>(&self, mut names: impl ExactSizeIterator<Item = &'a str>) -> usize {
        let last = names.len().saturating_sub(1);
        names.position(|name| name == self.chosen).unwrap_or(self.selected.min(last))
    }
}
