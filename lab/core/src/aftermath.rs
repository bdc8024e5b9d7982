//! What a fault did to the rate of good answers, and how long it took until that was back. By whole seconds, so everything here is
//! known to a second.

use crate::fault::Injury;
use crate::model::{Cell, Fault, Trial};
use crate::series::Stretch;
use crate::unit::{RunTime, Span};

/// How far back the rate before a fault is looked at.
const BEFORE: Span = Span::from_secs(5);
/// A fall that begins later than this after a fault is not its doing.
const DOING: Span = Span::from_secs(10);
/// The share of the rate before at which it is back.
pub const BACK: f64 = 0.9;

/// What became of the rate of completed requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aftermath {
    /// Completed a second over the five seconds before the fault.
    pub before: f64,
    /// Completed in the worst second until it was back.
    pub lowest: f64,
    /// When it was back.
    pub back: Back,
}

/// When the rate was back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// It did not fall more than it varies by itself.
    Held,
    /// So long after the fault began the first second with 90 % of the rate before.
    After(Span),
    /// It was not back for so long after the fault, when the load ended or the next fault came.
    NotWithin(Span),
}

/// True of what only ends another fault: `resumed`, `connected again`, `as fast as before`.
pub fn is_relief(fault: &Fault) -> bool {
    [Injury::Resume, Injury::Connect, Injury::Slow(Span::ZERO)].iter().any(|relief| relief.done() == fault.what)
}

/// Of a fault of this trial. Where less is offered than was completed before, as much must come back as is offered; seconds that
/// offer less than half say nothing. None when too little was measured around it.
pub fn aftermath(trial: &Trial, fault: &Fault) -> Option<Aftermath> {
    let told = |second: &&Stretch<Cell>| second.value.complete();
    let earliest = RunTime(fault.at.0.saturating_sub(BEFORE.0));
    let before: Vec<&Stretch<Cell>> =
        trial.cells.between(earliest, fault.at).iter().filter(told).filter(|s| s.to <= fault.at).collect();
    let over: f64 = before.iter().map(|s| s.value.over.as_secs_f64()).sum();
    let completed: u64 = before.iter().map(|s| s.value.counts.completed).sum();
    let before = (over > 0.0).then(|| completed as f64 / over).filter(|rate| *rate > 0.0)?;

    let others = trial.faults.iter().filter(|other| other.at > fault.at && !is_relief(other));
    let until = others.map(|other| other.at).min().unwrap_or(RunTime(u64::MAX));
    let mut found = Aftermath { before, lowest: before, back: Back::Held };
    let mut fallen = false;
    let mut seen = false;
    let second_before = RunTime(fault.at.0.saturating_sub(1_000_000_000));
    for second in trial.cells.between(second_before, until).iter().filter(told).filter(|s| s.to > fault.at) {
        let rates = (
            second.value.per_second(second.value.counts.completed),
            second.value.per_second(second.value.counts.offered),
        );
        let (Some(rate), Some(offered)) = rates else { continue };
        if offered < before / 2.0 {
            continue;
        }
        seen = true;
        let due = before.min(offered);
        // Counts of a second scatter by the root of their mean.
        if !fallen && rate < BACK * due - 3.0 * due.sqrt() {
            if second.from.since(fault.at) > DOING {
                break;
            }
            fallen = true;
        } else if fallen && rate >= BACK * due {
            found.back = Back::After(second.from.since(fault.at));
            return Some(found);
        }
        if fallen {
            found.lowest = found.lowest.min(rate);
            found.back = Back::NotWithin(second.to.since(fault.at));
        }
    }
    seen.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    const SECOND: u64 = 1_000_000_000;

    /// Seconds with so many completed of 100 offered, and faults at these tenths of a second.
    fn trial(completed: &[u64], faults: &[(u64, &str)]) -> Trial {
        let mut trial = Trial::default();
        for (at, completed) in (0..).zip(completed) {
            let cell = trial.cells.reaching(RunTime(at * SECOND), RunTime((at + 1) * SECOND));
            (cell.samples, cell.expected, cell.over) = (1, 1, Span(SECOND));
            cell.counts = Ledger { offered: 100, completed: *completed, ..Ledger::default() };
        }
        let fault = |(at, what): &(u64, &str)| Fault {
            at: RunTime(at * SECOND / 10),
            replica: "store.postgres".to_owned(),
            what: (*what).to_owned(),
            by: "phase crash".to_owned(),
        };
        trial.faults = faults.iter().map(fault).collect();
        trial
    }

    fn of_first(completed: &[u64], faults: &[(u64, &str)]) -> Option<Aftermath> {
        let trial = trial(completed, faults);
        aftermath(&trial, &trial.faults[0])
    }

    #[test]
    fn a_fall_is_over_when_nine_tenths_are_back() {
        let found = of_first(&[100, 100, 98, 40, 0, 80, 91, 100], &[(35, "killed")]).expect("measured");
        assert_eq!(found.back, Back::After(Span::from_millis(2_500)));
        assert!((found.before - 99.3).abs() < 0.1 && found.lowest == 0.0, "{found:?}");
    }

    #[test]
    fn scatter_is_no_fall_and_what_is_not_back_says_so() {
        assert_eq!(of_first(&[100, 96, 80, 70, 96], &[(25, "killed")]).map(|a| a.back), Some(Back::Held));
        let not = of_first(&[100, 100, 0, 0, 0], &[(20, "killed")]).map(|a| a.back);
        assert_eq!(not, Some(Back::NotWithin(Span::from_secs(3))));
        assert_eq!(of_first(&[100], &[(0, "killed")]), None, "nothing before");
        assert_eq!(of_first(&[100, 100], &[(20, "killed")]), None, "nothing after");
    }

    #[test]
    fn relief_belongs_to_its_fault_and_another_fault_does_not() {
        let seconds = [100, 100, 0, 0, 0, 95];
        let paused = of_first(&seconds, &[(20, "paused"), (40, "resumed")]).map(|a| a.back);
        assert_eq!(paused, Some(Back::After(Span::from_secs(3))));
        let killed = of_first(&seconds, &[(20, "killed"), (40, "killed")]).map(|a| a.back);
        assert_eq!(killed, Some(Back::NotWithin(Span::from_secs(2))));
    }
}
