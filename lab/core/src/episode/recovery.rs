//! When the latency limit holds again after a change of load, second by second.

use crate::model::{Cell, Trial};
use crate::unit::{RunTime, Span};

/// Consecutive seconds for which the limit must hold to count as met again.
pub const STAYING: usize = 5;

/// How it went on after an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The limit held throughout.
    Held,
    /// It was broken and holds from this instant on; known to a second.
    At(RunTime),
    /// It was broken and had not held for long enough when the seconds ended. It cannot have recovered before this instant.
    NotBefore(RunTime),
    /// There is nothing to tell it by.
    Unknown,
}

/// How a second counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    Good,
    Bad,
    Gap,
}

/// Looks for the first [`STAYING`] seconds in a row in which at most a share of 1 − `quantile` of the requests missed their phase's
/// limit, after the first second of `from..until` in which more did. A failed or dropped request missed it. One slow request alone
/// does not break a second. A missing second can neither break nor keep the limit: counting starts anew after it.
pub fn recovery(trial: &Trial, from: RunTime, until: RunTime, quantile: f64) -> Recovery {
    let mut broken = false;
    let mut since = None;
    let mut good = 0;
    let mut end = from;
    let mut known = 0;
    for stretch in trial.cells.between(RunTime(from.0.saturating_sub(250_000_000)), until) {
        if stretch.from.since(end) > Span::from_millis(500) {
            (since, good) = (None, 0);
        }
        end = stretch.to;
        match judge(&stretch.value, quantile) {
            Second::Good => {
                known += 1;
                since.get_or_insert(stretch.from.max(from));
                good += 1;
            }
            Second::Bad => (broken, since, good) = (true, None, 0),
            Second::Gap => (since, good) = (None, 0),
        }
        if let Some(since) = since.filter(|_| broken && good >= STAYING) {
            return Recovery::At(since);
        }
    }
    match (broken, known) {
        (true, _) => Recovery::NotBefore(since.unwrap_or(end)),
        (false, 0) => Recovery::Unknown,
        (false, _) => Recovery::Held,
    }
}

fn judge(cell: &Cell, quantile: f64) -> Second {
    if !cell.complete() {
        return Second::Gap;
    }
    let answered = cell.counts.completed + cell.counts.failed + cell.counts.dropped;
    if answered == 0 {
        // Nothing came back while more than a newcomer waited: the target stands still.
        return if cell.queued > 0 || cell.in_flight > 1 { Second::Bad } else { Second::Good };
    }
    let missed = answered.saturating_sub(cell.within_limit);
    let too_many = missed as f64 > (1.0 - quantile) * answered as f64;
    if too_many && (missed > 1 || answered <= 2) { Second::Bad } else { Second::Good }
}
