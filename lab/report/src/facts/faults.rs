//! What was measured around each fault of a trial.

use serde::Serialize;

use lab_core::aftermath::Back;
use lab_core::around::{self, Around, Patch};
use lab_core::model::Trial;
use lab_core::unit::RunTime;
use lab_core::words;

/// Faults that are told one by one; a broker killed every few seconds for an hour would fill the report.
const MOST: usize = 40;

#[derive(Serialize)]
pub(crate) struct Facts {
    rows: Vec<Row>,
    more: usize,
}

#[derive(Serialize)]
struct Row {
    at: String,
    what: String,
    lasted: String,
    back: String,
    /// Before, during, after; of p99, errors and good answers a second.
    p99: Vec<String>,
    errors: Vec<String>,
    completed: Vec<String>,
}

impl Facts {
    pub(crate) fn of(trial: &Trial, zero: RunTime) -> Self {
        let all = around::around(trial);
        Self { more: all.len().saturating_sub(MOST), rows: all.iter().take(MOST).map(|a| Row::of(a, zero)).collect() }
    }
}

impl Row {
    fn of(around: &Around, zero: RunTime) -> Self {
        let patches = [around.before, around.during, around.after];
        let each = |text: fn(&Patch) -> Option<String>| {
            patches.iter().map(|patch| text(patch).unwrap_or_else(|| "–".to_owned())).collect()
        };
        Self {
            at: words::clock(around.fault.at, zero),
            what: format!("{} {}", around.fault.replica, around.fault.what),
            lasted: words::duration(around.over.since(around.fault.at)),
            back: match around.back {
                None => "not measured".to_owned(),
                Some(Back::Held) => "did not fall".to_owned(),
                Some(Back::After(span)) => format!("after {}", words::duration(span)),
                Some(Back::NotWithin(span)) => format!("not within {}", words::duration(span)),
            },
            p99: each(|patch| patch.p99.map(words::duration)),
            errors: each(|patch| patch.errors.map(words::share)),
            completed: each(|patch| patch.completed.map(words::rate)),
        }
    }
}
