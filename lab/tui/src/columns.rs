//! Merged seconds of load, a column each, kept from frame to frame: only columns that can still change are merged anew. What is kept is
//! what would be merged, whatever came meanwhile: late samples cost time, never truth.

use lab_core::model::{Cell, Trial};
use lab_core::unit::{RunTime, Span};

use crate::axis::Axis;
use crate::frame::merged;

/// After so long a second of load hardly ever changes any more.
const LATE: Span = Span::from_secs(90);

/// What was merged for one trial.
#[derive(Debug, Default)]
struct Strip {
    key: Option<(usize, Axis)>,
    until: RunTime,
    cells: Vec<Option<Cell>>,
    settled: Settled,
}

/// Columns that hardly ever change any more, and by what it is seen that they have not.
#[derive(Debug, Default)]
struct Settled {
    /// Number of the first column that is not among them.
    end: i64,
    /// Of the seconds in them.
    print: u64,
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
        if stays && self.settled.print == print(trial, &axis, self.settled.end) {
            self.extend(trial, axis);
        } else {
            self.cells = merged(trial, &axis);
        }
        let end = settled(&axis, until);
        self.settled = Settled { end, print: print(trial, &axis, end) };
        self.key = Some((index, axis));
        self.until = until;
    }

    /// Keeps what is settled, merges the rest.
    fn extend(&mut self, trial: &Trial, axis: Axis) {
        let Some((_, before)) = self.key else { return };
        let width = usize::from(axis.width);
        let passed = usize::try_from(axis.first.saturating_sub(before.first)).unwrap_or(usize::MAX);
        self.cells.drain(..passed.min(self.cells.len()));
        let keep = usize::try_from(self.settled.end.saturating_sub(axis.first)).unwrap_or(0);
        self.cells.truncate(keep.min(width));
        let kept = self.cells.len();
        let rest = Axis { first: axis.first + kept as i64, width: (width - kept) as u16, ..axis };
        self.cells.extend(merged(trial, &rest));
    }
}

/// The column before the one that was drawn so long ago that it hardly ever changes.
fn settled(axis: &Axis, until: RunTime) -> i64 {
    let since = i128::from(until.0) - i128::from(LATE.0) - i128::from(axis.zero.0);
    let column = since.div_euclid(i128::from(axis.column.0.max(1))) - 1;
    i64::try_from(column).unwrap_or(i64::MIN)
}

/// Changes when any second before a column does.
fn print(trial: &Trial, axis: &Axis, column: i64) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let from = Axis { first: column, ..*axis }.from();
    let stretches = trial.cells.stretches();
    let before = &stretches[..stretches.partition_point(|s| s.from < from)];
    before.iter().fold(PRIME, |print, s| {
        let cell = &s.value;
        let parts = [s.from.0, s.to.0, u64::from(cell.samples), u64::from(cell.expected), u64::from(cell.is_open())];
        parts.iter().fold(print, |print, part| (print ^ part).wrapping_mul(PRIME))
    })
}
