//! Expectations: `p99(step) < 250ms`, `errors < 0.1%`, `recovery(step) < 60s`, `lost = 0`. Their text and their parsed form;
//! judging them against a model is in `judge`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::unit::{Percent, Span, UnitError};

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// What is measured.
    pub measure: Measure,
    /// The phase it is measured in; None: all measured phases together.
    pub phase: Option<String>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub bound: Bound,
}

/// What an expectation measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// A quantile of the response time (from the intended time), 0..1: `p50`, `p99`, `p99.9`.
    Response(f64),
    /// The largest response time: `max`.
    Max,
    /// A quantile of the send lag, 0..1: `send-lag` is its p99.
    SendLag(f64),
    /// Failed and dropped over offered: `errors`.
    Errors,
    /// Completed over offered: `completed`.
    Completed,
    /// Time from the phase's start until the latency limit holds again and goes on to hold: `recovery`.
    Recovery,
    /// Acknowledged and not found: `lost`.
    Lost,
    /// Found, and refused or never attempted: `unexpected`.
    Unexpected,
    /// Rows beyond the first of their request: `duplicates`.
    Duplicates,
    /// Most ready replicas of the autoscaled workload (the target unless only another is autoscaled): `replicas`.
    Replicas,
    /// Most messages waiting: `backlog`.
    Backlog,
    /// Cache hits over look-ups: `hit-ratio`.
    HitRatio,
    /// A quantile of the time from a message's send to its place in the store, 0..1: `delivery-p99`.
    Delivery(f64),
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
}

/// What a measure is compared with; which kind fits is settled by the measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// For response time, send lag, delivery and recovery.
    Time(Span),
    /// For errors, completed and hit ratio.
    Share(Percent),
    /// For lost, unexpected, duplicates, replicas and backlog.
    Count(u64),
}

/// A text is no expectation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpectError {
    /// The parts are not there.
    #[error("`{0}` is no expectation; write `MEASURE < BOUND` or `MEASURE(PHASE) < BOUND`, e.g. `p99(step) < 250ms`")]
    Form(String),
    /// Nothing of that name is measured.
    #[error("`{found}` is not measured{}; what is: {MEASURES}", nearest(found))]
    Measure {
        /// The name as it stood.
        found: String,
    },
    /// A bound of the wrong kind.
    #[error("{measure} is compared with {what}: {source}")]
    Bound {
        /// The measure.
        measure: String,
        /// What fits it.
        what: &'static str,
        /// What was found.
        source: BoundError,
    },
    /// A phase for a measure of the whole trial, or none for one that needs it.
    #[error("{0}")]
    Phase(String),
}

/// Why a bound could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// Not a time or share.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// Not a whole number.
    #[error("`{0}` is not a whole number; write it like `0` or `1000`")]
    Count(String),
}

/// Names of measures that are not quantiles.
const NAMED: [(&str, Measure); 11] = [
    ("max", Measure::Max),
    ("send-lag", Measure::SendLag(0.99)),
    ("errors", Measure::Errors),
    ("completed", Measure::Completed),
    ("recovery", Measure::Recovery),
    ("lost", Measure::Lost),
    ("unexpected", Measure::Unexpected),
    ("duplicates", Measure::Duplicates),
    ("replicas", Measure::Replicas),
    ("backlog", Measure::Backlog),
    ("hit-ratio", Measure::HitRatio),
];
const MEASURES: &str = "p50 p90 p95 p99 p99.9 (any quantile) delivery-p99 (any quantile) max send-lag errors completed recovery lost unexpected \
     duplicates replicas backlog hit-ratio";
/// What quantiles of the way of messages begin with.
const DELIVERY: &str = "delivery-";
/// Longer spellings first: a text is matched from its start.
const COMPARISONS: [(&str, Comparison); 8] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("\u{2264}", Comparison::AtMost),
    ("\u{2265}", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

fn nearest(found: &str) -> String {
    let names = NAMED.iter().map(|(name, _)| *name).chain(["p50", "p90", "p95", "p99", "p99.9", "delivery-p99"]);
    crate::nearest::nearest(found, names).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl FromStr for Measure {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Self, ExpectError> {
        let unknown = || ExpectError::Measure { found: text.to_owned() };
        if let Some((_, measure)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*measure);
        }
        let (make, text): (fn(f64) -> Self, &str) = match text.strip_prefix(DELIVERY) {
            Some(rest) => (Self::Delivery, rest),
            None => (Self::Response, text),
        };
        let number = text.strip_prefix('p').ok_or_else(unknown)?;
        let percent: Percent = format!("{number}%").parse().map_err(|_| unknown())?;
        (0.0 < percent.0 && percent.0 < 1.0).then(|| make(percent.0)).ok_or_else(unknown)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Response(quantile) | Self::Delivery(quantile) = self {
            let of = if let Self::Delivery(_) = self { DELIVERY } else { "" };
            return write!(f, "{of}p{}", Percent(*quantile).exact().trim_end_matches('%'));
        }
        let same_kind = |m: &Measure| std::mem::discriminant(m) == std::mem::discriminant(self);
        f.write_str(NAMED.iter().find(|(_, m)| same_kind(m)).map_or("?", |(name, _)| name))
    }
}

impl Measure {
    /// Reads the kind of bound that fits this measure.
    fn bound(self, text: &str) -> Result<Bound, ExpectError> {
        let (what, read) = match self {
            Self::Response(_) | Self::Max | Self::SendLag(_) | Self::Recovery | Self::Delivery(_) => {
                ("a time", text.parse().map(Bound::Time).map_err(BoundError::from))
            }
            Self::Errors | Self::Completed | Self::HitRatio => {
                ("a percentage", text.parse().map(Bound::Share).map_err(BoundError::from))
            }
            Self::Lost | Self::Unexpected | Self::Duplicates | Self::Replicas | Self::Backlog => {
                ("a number", text.parse().map(Bound::Count).map_err(|_| BoundError::Count(text.to_owned())))
            }
        };
        read.map_err(|source| ExpectError::Bound { measure: self.to_string(), what, source })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(span) => f.write_str(&span.exact()),
            Self::Share(share) => f.write_str(&share.exact()),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for Expectation {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Self, ExpectError> {
        let form = || ExpectError::Form(text.to_owned());
        let at = text.find(|c| COMPARISONS.iter().any(|(sign, _)| sign.starts_with(c))).ok_or_else(form)?;
        let (left, rest) = text.split_at(at);
        let (sign, comparison) = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(form)?;
        let left = left.trim();
        let (name, phase) = match left.split_once('(') {
            None => (left, None),
            Some((name, inside)) => {
                let phase = inside.strip_suffix(')').map(str::trim).filter(|phase| !phase.is_empty());
                (name.trim_end(), Some(phase.ok_or_else(form)?.to_owned()))
            }
        };
        if name.is_empty() {
            return Err(form());
        }
        let measure: Measure = name.parse()?;
        match (measure, &phase) {
            (Measure::Recovery, None) => Err(ExpectError::Phase(
                "recovery is counted from the start of a phase; name it: `recovery(PHASE) < 60s`".to_owned(),
            )),
            (Measure::Lost | Measure::Unexpected | Measure::Duplicates, Some(_)) => Err(ExpectError::Phase(format!(
                "{name} is counted once the whole trial has drained; leave the phase out: `{name} = 0`"
            ))),
            _ => Ok(()),
        }?;
        let bound = measure.bound(rest[sign.len()..].trim())?;
        Ok(Self { measure, phase, comparison: *comparison, bound })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.measure)?;
        if let Some(phase) = &self.phase {
            write!(f, "({phase})")?;
        }
        write!(f, " {} {}", self.comparison, self.bound)
    }
}

impl Serialize for Expectation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The latency limit that `recovery` waits for: quantile (1 for `max`) and limit of the upper bound on response time that is
/// declared for this phase, else for all phases, else for any. None when no expectation limits response time.
pub fn latency_limit(expectations: &[Expectation], phase: &str) -> Option<(f64, Span)> {
    let rank = |of: &Option<String>| match of {
        Some(name) if name == phase => 0,
        None => 1,
        Some(_) => 2,
    };
    let limits = expectations.iter().filter_map(|e| {
        let quantile = match e.measure {
            Measure::Response(quantile) => quantile,
            Measure::Max => 1.0,
            _ => return None,
        };
        match (e.comparison, e.bound) {
            (Comparison::Less | Comparison::AtMost, Bound::Time(limit)) => Some((rank(&e.phase), quantile, limit)),
            _ => None,
        }
    });
    limits.min_by_key(|(rank, ..)| *rank).map(|(_, quantile, limit)| (quantile, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_design_shows() {
        for text in [
            "p99(step) < 250ms",
            "p99.9 <= 1s",
            "max(hold) < 2s",
            "send-lag < 5ms",
            "errors < 0.1%",
            "completed >= 99%",
            "recovery(step) < 1m",
            "lost = 0",
            "unexpected = 0",
            "duplicates <= 3",
            "replicas(step) >= 3",
            "backlog <= 1000",
            "hit-ratio > 80%",
            "delivery-p99(step) < 500ms",
            "delivery-p50 < 1s",
        ] {
            assert_eq!(text.parse::<Expectation>().expect(text).to_string(), text);
        }
        assert_eq!("p99( step )<250ms".parse::<Expectation>(), "p99(step) < 250ms".parse());
        assert_eq!("lost == 0".parse::<Expectation>(), "lost = 0".parse());
    }

    #[test]
    fn errors_say_what_is_accepted() {
        let error = |text: &str| text.parse::<Expectation>().expect_err(text).to_string();
        assert!(error("p99").contains("write `MEASURE < BOUND`"));
        assert!(error("eror < 1%").contains("did you mean `errors`?"));
        assert!(error("p0 < 1s").contains("is not measured"));
        assert!(error("p100 < 1s").contains("is not measured"));
        assert!(error("errors < 5").contains("errors is compared with a percentage"));
        assert!(error("delivery-p < 1s").contains("did you mean `delivery-p99`?"));
        assert!(error("delivery-p99 < 5").contains("delivery-p99 is compared with a time"));
        assert!(error("p99 < 5%").contains("p99 is compared with a time"));
        assert!(error("lost = none").contains("`none` is not a whole number"));
        assert!(error("duplicates(step) = 0").contains("leave the phase out: `duplicates = 0`"));
        assert!(error("recovery < 60s").contains("recovery(PHASE)"));
        assert!(error("p99() < 60s").contains("is no expectation"));
        assert!(error("p99(step < 60s").contains("is no expectation"));
    }

    #[test]
    fn the_limit_of_the_phase_comes_before_the_general_one() {
        let read = |text: &str| text.parse::<Expectation>().expect(text);
        let all = ["p95(hold) < 1s", "p99 < 300ms", "p99(step) < 250ms", "p99(low) > 1ms"].map(read);
        assert_eq!(latency_limit(&all, "step"), Some((0.99, Span::from_millis(250))));
        assert_eq!(latency_limit(&all, "low"), Some((0.99, Span::from_millis(300))));
        assert_eq!(latency_limit(&all[..1], "low"), Some((0.95, Span::from_secs(1))));
        assert_eq!(latency_limit(&all[3..], "low"), None);
    }
}
