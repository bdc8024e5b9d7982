//! The one time axis that all lanes share: which instant a column stands for. Columns are aligned to the start of load, so that a
//! column keeps its instant while time goes on.

use lab_core::series::{Merge, Series};
use lab_core::unit::{RunTime, Span};

/// Lengths of a column that are easy to count in.
const NICE_SECONDS: [u64; 16] = [1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1_800, 3_600];

/// Columns of equal length around a zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// The instant that is written as 0: load begins.
    pub zero: RunTime,
    /// How long a column is.
    pub column: Span,
    /// Number of the leftmost column; column 0 begins at `zero`.
    pub first: i64,
    /// Columns.
    pub width: u16,
}

impl Axis {
    /// The finest nice length of a column with which `length` fits into `columns`.
    pub fn fitting(length: Span, columns: u16) -> Span {
        let columns = u64::from(columns.max(1));
        let fits = |seconds: &&u64| Span::from_secs(**seconds).0.saturating_mul(columns) >= length.0;
        let hour = Span::from_secs(3_600).0;
        let hours = length.0.div_ceil(columns).div_ceil(hour).max(1);
        NICE_SECONDS.iter().find(fits).map_or(Span(hour.saturating_mul(hours)), |s| Span::from_secs(*s))
    }

    /// The next nice length above or below.
    pub fn zoomed(column: Span, finer: bool) -> Span {
        let seconds = NICE_SECONDS.iter().copied().map(Span::from_secs);
        let next = if finer { seconds.rev().find(|s| *s < column) } else { seconds.into_iter().find(|s| *s > column) };
        next.unwrap_or(column)
    }

    /// Begin of a column, in nanoseconds that may lie before run time 0.
    fn begin(&self, column: i64) -> i128 {
        i128::from(self.zero.0) + i128::from(self.first + column) * i128::from(self.column.0)
    }

    /// First instant of a column; columns before run time 0 begin at 0.
    pub fn start_of(&self, column: u16) -> RunTime {
        RunTime(u64::try_from(self.begin(i64::from(column)).max(0)).unwrap_or(u64::MAX))
    }

    /// First instant of the plot.
    pub fn from(&self) -> RunTime {
        self.start_of(0)
    }

    /// The instant after its last.
    pub fn to(&self) -> RunTime {
        RunTime(u64::try_from(self.begin(i64::from(self.width)).max(0)).unwrap_or(u64::MAX))
    }

    /// The column that an instant belongs to; None outside of the plot.
    pub fn column_of(&self, t: RunTime) -> Option<u16> {
        let since = i128::from(t.0) - self.begin(0);
        let column = since.div_euclid(i128::from(self.column.0.max(1)));
        u16::try_from(column).ok().filter(|c| *c < self.width)
    }

    /// Whole columns before run time 0, which hold nothing.
    fn before_time(&self) -> usize {
        let begin = self.begin(0);
        if begin >= 0 || self.column.0 == 0 {
            return 0;
        }
        let columns = begin.unsigned_abs().div_ceil(u128::from(self.column.0));
        usize::try_from(columns).unwrap_or(usize::MAX).min(usize::from(self.width))
    }

    fn with<R>(&self, fill: impl FnOnce(RunTime, RunTime, usize) -> Vec<Option<R>>) -> Vec<Option<R>> {
        let skip = self.before_time();
        let width = usize::from(self.width);
        let mut columns: Vec<Option<R>> = (0..skip).map(|_| None).collect();
        if skip < width {
            columns.extend(fill(self.start_of(skip as u16), self.to(), width - skip));
        }
        columns
    }

    /// What a series says of each column; None is a gap.
    pub fn columns<R: Merge>(&self, series: &Series<R>) -> Vec<Option<R>> {
        self.with(|from, to, columns| series.columns(from, to, columns))
    }

    /// As [`Self::columns`] for a state that holds until it is read again, for at most `longest`, and not beyond `until`.
    pub fn held<R: Merge>(&self, series: &Series<R>, longest: Span, until: RunTime) -> Vec<Option<R>> {
        let mut columns = self.with(|from, to, columns| series.held_columns(from, to, columns, longest));
        for (column, value) in (0u16..).zip(&mut columns) {
            if self.start_of(column) > until {
                *value = None;
            }
        }
        columns
    }
}
