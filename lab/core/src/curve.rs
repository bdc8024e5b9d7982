//! Throughput against latency: the measured phases of a constant rate are the points of a variant's curve, and the largest of these
//! rates at which its limits hold is its capacity, known between two points. Of a fixed number of replicas only.

use crate::compare::{self, InTime, Value};
use crate::event::Grade;
use crate::expect::{Bound, Comparison, Expectation, Measure};
use crate::judge::{self, Verdict};
use crate::model::{Model, Phase, Trial};
use crate::parity::{Footnotes, Note, Parity};
use crate::spec::{Shape, Spec};
use crate::stats;
use crate::unit::Span;
use crate::validity::{self, Check, Validity};
use crate::words;

/// Share of what is offered that must be completed in time.
pub const KEPT_UP: f64 = 0.95;
/// Of the intervals over blocks.
const CONFIDENCE: f64 = 0.95;

/// The curve of one variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Index of the variant.
    pub variant: u32,
    /// Ascending by rate.
    pub points: Vec<Point>,
    /// The largest rate at which its limits hold; None where no expectation limits the response time.
    pub capacity: Option<Capacity>,
    /// How real what it was measured with is: see [`Parity::grade`].
    pub grade: Grade,
    notes: Vec<Note>,
}

impl Curve {
    /// Marks for the variant's name where its numbers stand beside those of the first; the notes go to `footnotes`.
    pub fn marks(&self, footnotes: &mut Footnotes) -> String {
        footnotes.mark(&self.notes)
    }
}

/// One rate, over all trials of the variant that count.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The phase.
    pub phase: String,
    /// Requests a second, as the spec has it.
    pub offered: f64,
    /// Good answers a second, by the time they came; None when nothing can be said.
    pub completed: Option<f64>,
    /// Median response time.
    pub p50: Estimate,
    /// 99th percentile of the response time.
    pub p99: Estimate,
    /// Failed and dropped over offered.
    pub errors: f64,
    /// Trials that it rests on.
    pub trials: usize,
    /// At least [`KEPT_UP`] of what was offered was completed in time, in every trial.
    pub kept_up: bool,
    /// A check of some trial finds this phase, or the trial, suspect.
    pub suspect: bool,
    /// Whether the limits on response time and errors hold in every trial; None where nothing limits the response time.
    pub holds: Option<Verdict>,
    /// The limits that were looked at, each asked of this phase alone.
    pub limits: Vec<Expectation>,
}

impl Point {
    /// It is what it seems: kept up with, and not suspect.
    pub fn solid(&self) -> bool {
        self.kept_up && !self.suspect
    }

    /// The limit on the 99th percentile, where there is one.
    pub fn p99_limit(&self) -> Option<Span> {
        let limits = self.limits.iter().filter_map(time_limit);
        limits.filter(|(quantile, _)| *quantile == 0.99).map(|(_, limit)| limit).min()
    }
}

/// A percentile over trials.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// Geometric mean, nanoseconds; None when some trial is beyond measure or none has enough requests.
    pub value: Option<f64>,
    /// 95 % interval of the mean over blocks; None below three.
    pub interval: Option<(f64, f64)>,
    /// Trials in which it lies among requests without a good answer.
    pub beyond: usize,
}

impl Estimate {
    fn of(values: &[Value]) -> Self {
        let beyond = values.iter().filter(|v| **v == Value::Beyond).count();
        let known = values.iter().filter_map(|v| if let Value::Known(ns) = v { Some(*ns) } else { None });
        let known: Vec<f64> = if beyond == 0 { known.collect() } else { Vec::new() };
        match stats::geometric_mean(&known, CONFIDENCE) {
            Some((value, interval)) => Self { value: Some(value), interval, beyond },
            None => Self { beyond, ..Self::default() },
        }
    }

    /// `182 ms (170 ms to 195 ms)`, `beyond measure`, or a dash.
    pub fn text(&self) -> String {
        let time = |ns: f64| words::duration(Span(ns.max(0.0) as u64));
        match (self.value, self.interval) {
            (Some(value), Some((low, high))) => format!("{} ({} to {})", time(value), time(low), time(high)),
            (Some(value), None) => time(value),
            (None, _) if self.beyond > 0 => "beyond measure".to_owned(),
            (None, _) => "–".to_owned(),
        }
    }
}

/// The largest rate at which a variant's limits hold, as far as the measured rates tell. Requests a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// The largest measured rate below `below` at which they held in every trial.
    pub at_least: Option<f64>,
    /// The smallest measured rate at which they did not.
    pub below: Option<f64>,
    /// The smallest and the largest measured rate.
    pub measured: (f64, f64),
    /// Rates above `below` at which they held again.
    pub again: Vec<f64>,
}

impl Capacity {
    fn of(points: &[Point]) -> Option<Self> {
        let held: Vec<(f64, Verdict)> = points.iter().filter_map(|p| Some((p.offered, p.verdict()?))).collect();
        let measured = (held.first()?.0, held.last()?.0);
        let below = held.iter().find(|(_, v)| *v == Verdict::Fail).map(|(rate, _)| *rate);
        let passed = |range: &dyn Fn(f64) -> bool| {
            let all = held.iter().filter(|(rate, v)| *v == Verdict::Pass && range(*rate));
            all.map(|(rate, _)| *rate).collect::<Vec<f64>>()
        };
        let under = passed(&|rate| below.is_none_or(|below| rate < below));
        let again = passed(&|rate| below.is_some_and(|below| rate > below));
        Some(Self { at_least: under.last().copied(), below, measured, again })
    }

    /// `≥ 120/s and < 180/s`; what the measured rates leave open is said.
    pub fn text(&self) -> String {
        let (lowest, highest) = self.measured;
        let text = match (self.at_least, self.below) {
            (Some(low), Some(high)) => format!("≥ {} and < {}", words::rate(low), words::rate(high)),
            (Some(low), None) if low >= highest => format!("≥ {}, not reached", words::rate(low)),
            (Some(low), None) => format!("≥ {}, above which it cannot be told", words::rate(low)),
            (None, Some(high)) if high <= lowest => format!("not even the lowest, < {}", words::rate(high)),
            (None, Some(high)) => format!("< {}, below which it cannot be told", words::rate(high)),
            (None, None) => "not to be told".to_owned(),
        };
        if self.again.is_empty() {
            return text;
        }
        let again: Vec<String> = self.again.iter().map(|rate| words::rate(*rate)).collect();
        format!("{text} (though it held again at {})", words::list(&again))
    }
}

impl Point {
    /// Whether the rate was sustained: work that piles up is not, whatever its latency so far.
    fn verdict(&self) -> Option<Verdict> {
        let holds = self.holds?;
        Some(if self.kept_up || holds == Verdict::CannotTell { holds } else { Verdict::Fail })
    }
}

/// The curves of all variants; none unless some variant measures two different constant rates.
pub fn curves(model: &Model) -> Vec<Curve> {
    let Some(run) = model.run.as_deref() else { return Vec::new() };
    let several = |spec: &Spec| {
        let mut rates: Vec<f64> = rates(spec).map(|(_, rate)| rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates.len() > 1
    };
    if !run.variants.iter().any(|v| several(&v.spec)) {
        return Vec::new();
    }
    let parity = Parity::of(model);
    let curve = |(variant, spec): (u32, &Spec)| {
        let mine = model.trials.iter().filter(|t| t.info.is_some_and(|info| info.variant == variant));
        let counted = mine.filter(|t| compare::counts(model, t)).map(|t| (t, validity::checks(model, t)));
        let counted: Vec<(&Trial, Vec<Check>)> = counted.collect();
        let mut points: Vec<Point> =
            rates(spec).filter_map(|(index, rate)| point(model, spec, &counted, index, rate)).collect();
        points.sort_by(|a, b| a.offered.total_cmp(&b.offered));
        Curve {
            variant,
            capacity: Capacity::of(&points),
            points,
            grade: parity.grade(variant),
            notes: parity.notes(variant).to_vec(),
        }
    };
    let curves = (0..).zip(run.variants.iter().map(|v| &v.spec)).map(curve);
    curves.filter(|curve| !curve.points.is_empty()).collect()
}

/// Measured phases of a constant rate in which nothing is broken on purpose, by index. Where an autoscaler follows the loaded workload
/// a rate says nothing by itself: what it came to depends on the replicas that were there when it began.
fn rates(spec: &Spec) -> impl Iterator<Item = (u32, f64)> + '_ {
    let load = spec.load.iter().filter(|load| !spec.services.is_scaled(load.target.name()));
    let phases = (0..).zip(load.flat_map(|load| &load.phases));
    phases.filter(|(_, p)| p.measure && p.faults.is_empty()).filter_map(|(index, phase)| match phase.rate {
        Shape::Constant(rate) if rate.0 > 0.0 => Some((index, rate.0)),
        _ => None,
    })
}

fn point(model: &Model, spec: &Spec, trials: &[(&Trial, Vec<Check>)], index: u32, rate: f64) -> Option<Point> {
    let each: Vec<(&Trial, &[Check], &Phase)> =
        trials.iter().filter_map(|(t, checks)| Some((*t, checks.as_slice(), t.phases.get(&index)?))).collect();
    let (_, _, first) = each.first()?;
    let quantile = |q: f64| {
        let values = each.iter().map(|(_, _, phase)| compare::quantile(&phase.response, phase.ledger().offered, q));
        Estimate::of(&values.collect::<Vec<Value>>())
    };
    let in_time: Vec<InTime> = each.iter().map(|(trial, _, phase)| InTime::of(trial, phase)).collect();
    let rates = in_time.iter().filter(|t| t.seconds > 0.0).map(|t| t.completed as f64 / t.seconds);
    let (mut offered, mut bad) = (0_u64, 0_u64);
    for ledger in each.iter().map(|(_, _, phase)| phase.ledger()) {
        offered = offered.saturating_add(ledger.offered);
        bad = bad.saturating_add(ledger.failed).saturating_add(ledger.dropped);
    }
    let limits = limits(spec, &first.name);
    let verdicts = each.iter().flat_map(|(trial, _, _)| {
        limits.iter().map(|e| judge::judge(e, &judge::measure(model, trial, e), trial.complete()).verdict)
    });
    let limited = limits.iter().any(|e| time_limit(e).is_some());
    Some(Point {
        phase: first.name.clone(),
        offered: rate,
        completed: stats::mean(&rates.collect::<Vec<f64>>()),
        p50: quantile(0.5),
        p99: quantile(0.99),
        errors: if offered == 0 { 0.0 } else { bad as f64 / offered as f64 },
        trials: each.len(),
        kept_up: in_time.iter().all(|t| t.completed as f64 >= KEPT_UP * t.offered as f64),
        suspect: each.iter().any(|(trial, checks, phase)| is_suspect(trial, checks, &phase.name)),
        holds: limited.then(|| Verdict::all(verdicts)),
        limits,
    })
}

/// Whether a check of this phase, of the trial or of a generator is not passed; those of other phases say nothing here.
fn is_suspect(trial: &Trial, checks: &[Check], phase: &str) -> bool {
    let other = |subject: &str| subject != phase && trial.phases.values().any(|p| p.name == subject);
    let about = |check: &&Check| !check.subject.as_deref().is_some_and(other);
    checks.iter().filter(about).any(|check| check.grade != Validity::Valid)
}

/// The upper bounds on response time and errors that hold for a phase: those for it and those for all; where there is none of a kind,
/// the first for another phase. Each is asked of this phase alone.
fn limits(spec: &Spec, phase: &str) -> Vec<Expectation> {
    let kinds: [fn(&Expectation) -> bool; 2] = [
        |e| time_limit(e).is_some(),
        |e| {
            e.measure == Measure::Errors
                && matches!(e.comparison, Comparison::Less | Comparison::AtMost | Comparison::Equal)
        },
    ];
    let of_kind = kinds.iter().flat_map(|kind| {
        let all: Vec<&Expectation> = spec.expect.iter().filter(|e| kind(e)).collect();
        let own: Vec<&Expectation> =
            all.iter().copied().filter(|e| e.phase.as_deref().is_none_or(|name| name == phase)).collect();
        if own.is_empty() { all.into_iter().take(1).collect() } else { own }
    });
    of_kind.map(|e| Expectation { phase: Some(phase.to_owned()), ..e.clone() }).collect()
}

/// Quantile and limit, of an upper bound on response time.
fn time_limit(expectation: &Expectation) -> Option<(f64, Span)> {
    let quantile = match expectation.measure {
        Measure::Response(quantile) => quantile,
        Measure::Max => 1.0,
        _ => return None,
    };
    match (expectation.comparison, expectation.bound) {
        (Comparison::Less | Comparison::AtMost, Bound::Time(limit)) => Some((quantile, limit)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{CannotTell, Fail, Pass};

    /// Rate, whether the limits hold, whether it was kept up with.
    type Rated = (f64, Verdict, bool);
    /// Rates, and the text of their capacity.
    type Case<'a> = (&'a [Rated], &'a str);

    fn capacity(held: &[Rated]) -> String {
        let point = |(offered, verdict, kept_up): &Rated| Point {
            phase: String::new(),
            offered: *offered,
            completed: None,
            p50: Estimate::default(),
            p99: Estimate::default(),
            errors: 0.0,
            trials: 1,
            kept_up: *kept_up,
            suspect: false,
            holds: Some(*verdict),
            limits: Vec::new(),
        };
        Capacity::of(&held.iter().map(point).collect::<Vec<_>>()).map_or_else(String::new, |c| c.text())
    }

    #[test]
    fn a_capacity_lies_between_the_last_rate_that_held_and_the_first_that_did_not() {
        let table: [Case<'_>; 9] = [
            (&[(100.0, Pass, true), (200.0, Pass, true), (300.0, Fail, true)], "≥ 200/s and < 300/s"),
            (&[(100.0, Pass, true), (200.0, Pass, true)], "≥ 200/s, not reached"),
            (&[(100.0, Fail, true), (200.0, Fail, true)], "not even the lowest, < 100/s"),
            (&[(100.0, Pass, true), (200.0, CannotTell, true), (300.0, Fail, true)], "≥ 100/s and < 300/s"),
            (&[(100.0, Pass, true), (200.0, CannotTell, true)], "≥ 100/s, above which it cannot be told"),
            (&[(100.0, CannotTell, true), (200.0, Fail, true)], "< 200/s, below which it cannot be told"),
            (&[(100.0, CannotTell, true)], "not to be told"),
            (&[(100.0, Pass, true), (200.0, Pass, false)], "≥ 100/s and < 200/s"),
            (
                &[(100.0, Pass, true), (200.0, Fail, true), (300.0, Pass, true)],
                "≥ 100/s and < 200/s (though it held again at 300/s)",
            ),
        ];
        for (held, text) in table {
            assert_eq!(capacity(held), text, "{held:?}");
        }
        assert_eq!(capacity(&[]), "");
    }

    #[test]
    fn a_trial_beyond_measure_leaves_no_number() {
        let times = [Value::Known(1e6), Value::Known(2e6), Value::Known(4e6)];
        let all = Estimate::of(&times);
        assert!(all.value.is_some_and(|v| (v - 2e6).abs() < 1.0) && all.interval.is_some());
        assert!(Estimate::of(&times[..2]).interval.is_none());
        assert_eq!(Estimate::of(&[Value::Known(1e6), Value::Beyond]).text(), "beyond measure");
        assert_eq!(Estimate::of(&[Value::TooFew]).text(), "–");
    }
}
