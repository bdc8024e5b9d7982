//! Merged seconds of load, a column each, kept from frame to frame: only columns that can still change are merged anew.

use lab_core::model::{Cell, Trial};
use lab_core::unit::{RunTime, Span};

use crate::axis::Axis;
use crate::frame::merged;

/// How late a sample may change a second that was drawn before.
const LATE: Span = Span::from_secs(90);

/// What was merged for one trial.
#[derive(Debug, Default)]
struct Strip {
    key: Option<(usize, Axis)>,
    until: RunTime,
    cells: Vec<Option<Cell>>,
}

/// Merged columns of the shown trial and of its ghost.
#[derive(Debug, Default)]
pub struct Columns {
    shown: Strip,
    ghost: Strip,
}

/// One frame's columns.
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a> {
    /// Of the shown trial.
    pub shown: &'a [Option<Cell>],
    /// Of the ghost; empty without one.
    pub ghost: &'a [Option<Cell>],
}

impl Columns {
    /// Brings the columns up to an instant.
    pub fn update(
        &mut self,
        index: Option<usize>,
        trial: &Trial,
        axis: Axis,
        until: RunTime,
        ghost: Option<(usize, &Trial)>,
    ) -> Cells<'_> {
        self.shown.update(index.unwrap_or(usize::MAX), trial, axis, until);
        match ghost {
            Some((index, trial)) => {
                let axis = Axis { zero: crate::frame::zero(trial), ..axis };
                self.ghost.update(index, trial, axis, until);
            }
            None => self.ghost = Strip::default(),
        }
        Cells { shown: &self.shown.cells, ghost: &self.ghost.cells }
    }
}

impl Strip {
    fn update(&mut self, index: usize, trial: &Trial, axis: Axis, until: RunTime) {
        let same = self.key.is_some_and(|(i, a)| i == index && a.zero == axis.zero && a.column == axis.column);
        let stays = same && until >= self.until && self.key.is_some_and(|(_, a)| a.first <= axis.first);
        if !stays {
            self.cells = merged(trial, &axis);
        } else {
            self.extend(trial, axis);
        }
        self.key = Some((index, axis));
        self.until = until;
    }

    /// Keeps what is old enough, merges the rest.
    fn extend(&mut self, trial: &Trial, axis: Axis) {
        let Some((_, before)) = self.key else { return };
        let width = usize::from(axis.width);
        let passed = usize::try_from(axis.first - before.first).unwrap_or(usize::MAX).min(self.cells.len());
        self.cells.drain(..passed);
        let settled = RunTime(self.until.0.saturating_sub(LATE.0));
        let keep = axis.column_of(settled).map_or(if settled < axis.from() { 0 } else { width }, usize::from);
        self.cells.truncate(keep.saturating_sub(1));
        let kept = self.cells.len();
        let rest = Axis { first: axis.first + kept as i64, width: (width - kept) as u16, ..axis };
        self.cells.extend(merged(trial, &rest));
    }
}
