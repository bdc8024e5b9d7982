//! Whether expectations hold: what was measured as an interval that the truth lies in, compared with the bound. What the interval
//! leaves open cannot be told; nothing is guessed.

mod measure;

use serde::{Deserialize, Serialize};

use crate::expect::{Bound, Comparison, Expectation};
use crate::model::{Model, Trial};
use crate::validity::{self, Validity};
use crate::words;

pub use measure::{Measured, followed, measure};

/// Whether an expectation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// What was measured does not decide it.
    CannotTell,
}

impl Verdict {
    /// `pass`, `fail`, `cannot tell`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::CannotTell => "cannot tell",
        }
    }

    /// Of several: any failure fails, all passes pass, anything else cannot be told. Of none: cannot tell.
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let mut verdicts = verdicts.into_iter();
        let Some(first) = verdicts.next() else { return Self::CannotTell };
        verdicts.fold(first, |all, one| match (all, one) {
            (Self::Fail, _) | (_, Self::Fail) => Self::Fail,
            (Self::Pass, Self::Pass) => Self::Pass,
            _ => Self::CannotTell,
        })
    }
}

/// An expectation and what became of it, in one trial or over all trials of a variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What was expected.
    pub expectation: Expectation,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was measured, with its unit: `182 ms`; over several trials their range.
    pub measured: String,
    /// What the measurement rests on, or why it decides nothing; without a full stop.
    pub why: String,
    /// The interval in which the measured value lies: nanoseconds, share or number.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// The expectations of one variant over its trials.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantJudged {
    /// Index of the variant.
    pub variant: u32,
    /// Trials that have begun.
    pub trials: usize,
    /// Trials that were planned.
    pub planned: usize,
    /// One entry an expectation, in the order of the spec.
    pub expectations: Vec<Judged>,
}

/// How a run is to be taken as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conclusion {
    /// Over all expectations of all variants; Pass when nothing was expected of a complete run.
    pub verdict: Verdict,
    /// The worst of all trials.
    pub validity: Validity,
    /// The run came to its end.
    pub complete: bool,
    /// 0: the run is complete and all that was expected holds. 1: an expectation failed. 4: the measurement is invalid, incomplete, or
    /// does not decide an expectation. To be asked after the run's last event.
    pub exit_code: u8,
}

/// Judges every expectation of a trial's spec.
pub fn trial(model: &Model, trial: &Trial) -> Vec<Judged> {
    let expectations = model.spec(trial).map_or(&[][..], |spec| &spec.expect);
    expectations
        .iter()
        .map(|expectation| judge(expectation, &measure(model, trial, expectation), trial.complete()))
        .collect()
}

/// Judges every expectation over the trials of each variant: fail if any trial fails, pass if all planned trials pass.
pub fn variants(model: &Model) -> Vec<VariantJudged> {
    let count = model.run.as_ref().map_or(0, |run| run.variants.len()) as u32;
    (0..count).map(|variant| over_trials(model, variant)).collect()
}

/// Sums up a run.
pub fn conclude(model: &Model) -> Conclusion {
    let complete = model.complete();
    let verdicts: Vec<_> = variants(model).iter().flat_map(|v| &v.expectations).map(|j| j.verdict).collect();
    let verdict = if verdicts.is_empty() && complete { Verdict::Pass } else { Verdict::all(verdicts) };
    let validity =
        model.trials.iter().map(|t| validity::overall(&validity::checks(model, t))).max().unwrap_or(Validity::Valid);
    let exit_code = match (validity, verdict) {
        (Validity::Invalid, _) => 4,
        (_, Verdict::Fail) => 1,
        (_, Verdict::CannotTell) => 4,
        (_, Verdict::Pass) => {
            if complete {
                0
            } else {
                4
            }
        }
    };
    Conclusion { verdict, validity, complete, exit_code }
}

fn over_trials(model: &Model, variant: u32) -> VariantJudged {
    let run = model.run.as_ref();
    let planned = run.map_or(0, |run| run.order.iter().filter(|t| t.variant == variant).count());
    let mine = |t: &&Trial| t.info.is_some_and(|info| info.variant == variant);
    let judged: Vec<Vec<Judged>> = model.trials.iter().filter(mine).map(|t| trial(model, t)).collect();
    let expectations = run.and_then(|run| run.variants.get(variant as usize)).map_or(&[][..], |v| &v.spec.expect);
    let expectations = expectations.iter().enumerate().map(|(i, expectation)| {
        let each: Vec<&Judged> = judged.iter().filter_map(|trial| trial.get(i)).collect();
        combine(expectation, &each, planned)
    });
    VariantJudged { variant, trials: judged.len(), planned, expectations: expectations.collect() }
}

fn combine(expectation: &Expectation, each: &[&Judged], planned: usize) -> Judged {
    if let ([one], true) = (each, planned <= 1) {
        return (*one).clone();
    }
    let missing = planned.saturating_sub(each.len());
    let verdict = match Verdict::all(each.iter().map(|j| j.verdict)) {
        Verdict::Pass if missing > 0 => Verdict::CannotTell,
        verdict => verdict,
    };
    let low = each.iter().map(|j| j.low).fold(f64::INFINITY, f64::min);
    let high = each.iter().map(|j| j.high).fold(f64::NEG_INFINITY, f64::max);
    let (measured, low, high) = match each {
        [] => ("nothing".to_owned(), 0.0, f64::INFINITY),
        [one] => (one.measured.clone(), low, high),
        _ => (range(expectation, each, low, high), low, high),
    };
    let count = |v: Verdict| each.iter().filter(|j| j.verdict == v).count();
    let mut why = format!("{} of {planned} trials pass", count(Verdict::Pass));
    let reason = each.iter().find(|j| j.verdict != Verdict::Pass);
    if missing > 0 {
        why.push_str(&format!(", {missing} did not run"));
    }
    if let Some(reason) = reason {
        why.push_str(&format!("; trial that does not: {}", reason.why));
    }
    Judged { expectation: expectation.clone(), verdict, measured, why, low, high }
}

/// `175 ms to 190 ms` where all trials have a value, else what the trial that says least has.
fn range(expectation: &Expectation, each: &[&Judged], low: f64, high: f64) -> String {
    if each.iter().any(|j| !j.high.is_finite() || j.low != j.high) {
        let open = each.iter().find(|j| j.verdict != Verdict::Pass).or(each.last());
        return open.map(|j| j.measured.clone()).unwrap_or_default();
    }
    let (low, high) = (measure::text(expectation.measure, low), measure::text(expectation.measure, high));
    if low == high { low } else { format!("{low} to {high}") }
}

/// Compares an interval with a bound. Of a trial that is not complete only a failure is certain: what it went on to do might have
/// been worse, never better.
pub fn judge(expectation: &Expectation, measured: &Measured, complete: bool) -> Judged {
    let bound = match expectation.bound {
        Bound::Time(span) => span.0 as f64,
        Bound::Share(share) => share.0,
        Bound::Count(count) => count as f64,
    };
    let verdict = match compare(measured.low, measured.high, expectation.comparison, bound) {
        Verdict::Pass if !complete => Verdict::CannotTell,
        verdict => verdict,
    };
    Judged {
        expectation: expectation.clone(),
        verdict,
        measured: measured.text.clone(),
        why: words::visible(&measured.why),
        low: measured.low,
        high: measured.high,
    }
}

fn compare(low: f64, high: f64, comparison: Comparison, bound: f64) -> Verdict {
    let (holds, fails) = match comparison {
        Comparison::Less => (high < bound, low >= bound),
        Comparison::AtMost => (high <= bound, low > bound),
        Comparison::Equal => (low == bound && high == bound, low > bound || high < bound),
        Comparison::AtLeast => (low >= bound, high < bound),
        Comparison::Greater => (low > bound, high <= bound),
    };
    match (holds, fails) {
        (true, false) => Verdict::Pass,
        (false, true) => Verdict::Fail,
        _ => Verdict::CannotTell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_decides_only_what_it_can() {
        use Comparison::{AtLeast, AtMost, Equal, Greater, Less};
        use Verdict::{CannotTell, Fail, Pass};
        let table = [
            (1.0, 2.0, Less, 3.0, Pass),
            (1.0, 3.0, Less, 3.0, CannotTell),
            (3.0, 9.0, Less, 3.0, Fail),
            (3.0, 3.0, AtMost, 3.0, Pass),
            (0.0, 0.0, Equal, 0.0, Pass),
            (0.0, 1.0, Equal, 0.0, CannotTell),
            (1.0, 4.0, Equal, 0.0, Fail),
            (2.0, f64::INFINITY, AtLeast, 2.0, Pass),
            (0.0, f64::INFINITY, AtLeast, 2.0, CannotTell),
            (0.0, 2.0, Greater, 2.0, Fail),
        ];
        for (low, high, comparison, bound, verdict) in table {
            assert_eq!(compare(low, high, comparison, bound), verdict, "{low}..{high} {comparison} {bound}");
        }
    }

    #[test]
    fn one_failure_fails_and_silence_does_not_pass() {
        use Verdict::{CannotTell, Fail, Pass};
        assert_eq!(Verdict::all([Pass, CannotTell, Fail]), Fail);
        assert_eq!(Verdict::all([Pass, CannotTell]), CannotTell);
        assert_eq!(Verdict::all([Pass, Pass]), Pass);
        assert_eq!(Verdict::all([]), CannotTell);
    }
}
