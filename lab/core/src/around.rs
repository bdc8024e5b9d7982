//! What was measured before, during and after each fault: response time, errors and answers of the seconds around it. When the rate
//! was back is in `aftermath`.

use crate::aftermath::{Back, aftermath, is_relief};
use crate::model::{Cell, Fault, Trial};
use crate::series::{Merge, Stretch};
use crate::unit::{RunTime, Span};

/// Longest stretch that is looked at before and after a fault.
const AROUND: Span = Span::from_secs(10);
/// Length of a fault that nothing ends and that nothing shows of.
const UNSEEN: Span = Span::from_secs(5);

/// A fault and what was measured around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Around {
    /// The fault.
    pub fault: Fault,
    /// When it was over: what it hit went on, and the rate was back.
    pub over: RunTime,
    /// At most ten seconds before it, after the fault before it.
    pub before: Patch,
    /// Until it was over.
    pub during: Patch,
    /// At most ten seconds from then on, before the next fault.
    pub after: Patch,
    /// What became of the rate; None when too little was measured.
    pub back: Option<Back>,
}

/// Some seconds of load.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Patch {
    /// 99th percentile of the response time of the good answers that came in it; of several seconds at most a row of the heat map
    /// (a third) too high.
    pub p99: Option<Span>,
    /// Failed and dropped over all requests that came to an end in it.
    pub errors: Option<f64>,
    /// Good answers a second.
    pub completed: Option<f64>,
}

/// Every fault of a trial that does not only end another, in order.
pub fn around(trial: &Trial) -> Vec<Around> {
    let mut last_over = trial.load_window().map_or(trial.started, |(from, _)| from);
    let mut all = Vec::new();
    for (index, fault) in trial.faults.iter().enumerate().filter(|(_, fault)| !is_relief(fault)) {
        let later = &trial.faults[index + 1..];
        let next = later.iter().find(|f| !is_relief(f)).map_or(RunTime(u64::MAX), |f| f.at);
        let back = aftermath(trial, fault).map(|found| found.back);
        let over = over(fault, later, back).min(next);
        let earliest = RunTime(fault.at.0.saturating_sub(AROUND.0)).max(last_over.min(fault.at));
        let patch = |from, to, inside: &dyn Fn(&Stretch<Cell>) -> bool| patch(trial, from, to, inside);
        all.push(Around {
            fault: fault.clone(),
            over,
            before: patch(earliest, fault.at, &|second| second.to <= fault.at),
            during: patch(RunTime(fault.at.0.saturating_sub(1_000_000_000)), over, &|second| second.to > fault.at),
            after: patch(over, over.plus(AROUND).min(next), &|second| second.to <= next),
            back,
        });
        last_over = over;
    }
    all
}

/// When a fault was over: the later of what ended it and the return of the rate.
fn over(fault: &Fault, later: &[Fault], back: Option<Back>) -> RunTime {
    let relief = later.iter().find(|f| f.replica == fault.replica).filter(|f| is_relief(f)).map(|f| f.at);
    let back = match back {
        Some(Back::After(span) | Back::NotWithin(span)) => Some(fault.at.plus(span)),
        Some(Back::Held) | None => None,
    };
    relief.into_iter().chain(back).max().unwrap_or(fault.at.plus(UNSEEN))
}

/// The whole seconds that begin in `from..to` and lie inside.
fn patch(trial: &Trial, from: RunTime, to: RunTime, inside: &dyn Fn(&Stretch<Cell>) -> bool) -> Patch {
    let seconds = trial.cells.between(from, to).iter().filter(|s| s.value.complete() && inside(s));
    let merged = seconds.map(|s| s.value.clone()).reduce(|mut all, second| {
        all.merge(&second);
        all
    });
    let Some(cell) = merged else { return Patch::default() };
    let counts = cell.counts;
    let bad = counts.failed.saturating_add(counts.dropped);
    let ended = counts.completed.saturating_add(bad);
    Patch {
        p99: cell.p99(),
        errors: (ended > 0).then(|| bad as f64 / ended as f64),
        completed: cell.per_second(counts.completed),
    }
}
