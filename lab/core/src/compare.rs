//! Variants compared over blocks: what each measured, and in one word how it stands to the first variant. No winner is named.

use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;
use crate::model::{Model, Trial};
use crate::stats::{self, Finding, Ratio, shared_confidence};
use crate::unit::Span;
use crate::validity::{self, Validity};
use crate::words;

/// What is compared. All over the measured phases of a trial together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Median response time.
    P50,
    /// 99th percentile of the response time.
    P99,
    /// Completed requests a second.
    Throughput,
    /// CPU time of the loaded workload per completed request.
    Cpu,
}

impl Quantity {
    /// All, in the order of the table.
    pub const ALL: [Self; 4] = [Self::P50, Self::P99, Self::Throughput, Self::Cpu];

    /// `p50`, `p99`, `throughput`, `CPU per request`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Throughput => "throughput",
            Self::Cpu => "CPU per request",
        }
    }

    /// A value with its unit. Times are nanoseconds.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Throughput => words::rate(value),
            Self::P50 | Self::P99 | Self::Cpu => words::duration(Span(value.max(0.0) as u64)),
        }
    }

    /// The word for a finding about the ratio to the first variant.
    pub fn word(self, finding: Finding) -> Word {
        match (finding, self) {
            (Finding::Equivalent, _) => Word::Equivalent,
            (Finding::CannotTell, _) => Word::CannotTell,
            (Finding::Above, Self::Throughput) | (Finding::Below, Self::P50 | Self::P99) => Word::Faster,
            (Finding::Below, Self::Throughput) | (Finding::Above, Self::P50 | Self::P99) => Word::Slower,
            (Finding::Above, Self::Cpu) => Word::Dearer,
            (Finding::Below, Self::Cpu) => Word::Cheaper,
        }
    }
}

/// How a variant stands to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Shorter times, or more throughput.
    Faster,
    /// Longer times, or less throughput.
    Slower,
    /// Less CPU per request.
    Cheaper,
    /// More CPU per request.
    Dearer,
    /// Within ±5 %.
    Equivalent,
    /// The blocks do not decide.
    CannotTell,
}

impl Word {
    /// As it stands in tables and sentences.
    pub fn text(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Cheaper => "cheaper",
            Self::Dearer => "dearer",
            Self::Equivalent => "equivalent",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// One quantity of one variant against the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Index of the variant.
    pub variant: u32,
    /// What is compared.
    pub quantity: Quantity,
    /// The ratio to the first variant.
    pub ratio: Ratio,
    /// What follows.
    pub word: Word,
}

impl Comparison {
    /// `1.83 (1.60 to 2.09)`; without an interval only the ratio, without a ratio nothing.
    pub fn ratio_text(&self) -> String {
        let Some(ratio) = self.ratio.ratio else { return "–".to_owned() };
        let interval = self.ratio.interval.map_or(String::new(), |(low, high)| format!(" ({low:.2} to {high:.2})"));
        format!("{ratio:.2}{interval}")
    }

    /// For `cannot tell`: what would decide.
    pub fn what_would_tell(&self) -> Option<String> {
        (self.word == Word::CannotTell).then(|| match self.ratio.more_blocks {
            Some(n) => format!("about {} would tell", words::plural(n as u64, "more block")),
            None => "more than a thousand blocks would be needed".to_owned(),
        })
    }
}

/// What one variant measured, one value a trial that counts.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantNumbers {
    /// Index of the variant.
    pub variant: u32,
    /// Trials that count, as (block, values in the order of [`Quantity::ALL`]).
    pub trials: Vec<(u32, [Option<f64>; 4])>,
    /// Trials left out because they are invalid or did not end.
    pub left_out: usize,
}

impl VariantNumbers {
    /// Values of one quantity over the trials.
    pub fn values(&self, quantity: Quantity) -> Vec<f64> {
        let at = Quantity::ALL.iter().position(|q| *q == quantity).unwrap_or_default();
        self.trials.iter().filter_map(|(_, values)| values[at]).collect()
    }

    /// Geometric mean over trials and the range: `182 ms (175 ms to 190 ms)`.
    pub fn text(&self, quantity: Quantity) -> String {
        let values = self.values(quantity);
        let logs: Vec<f64> = values.iter().filter(|v| **v > 0.0).map(|v| v.ln()).collect();
        let Some(mean) = stats::mean(&logs) else { return "–".to_owned() };
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let (low, high) = (quantity.text(low), quantity.text(high));
        let range = if low == high { String::new() } else { format!(" ({low} to {high})") };
        format!("{}{range}", quantity.text(mean.exp()))
    }
}

/// What each variant measured.
pub fn numbers(model: &Model) -> Vec<VariantNumbers> {
    let count = model.run.as_ref().map_or(0, |run| run.variants.len()) as u32;
    (0..count)
        .map(|variant| {
            let mine = model.trials.iter().filter(|t| t.info.is_some_and(|info| info.variant == variant));
            let (counted, rest): (Vec<&Trial>, Vec<&Trial>) = mine.partition(|t| counts(model, t));
            let values = |t: &&Trial| Some((t.info?.block, quantities(model, t)));
            VariantNumbers { variant, trials: counted.iter().filter_map(values).collect(), left_out: rest.len() }
        })
        .collect()
}

/// Every variant against the first, for every quantity. Blocks in which either trial does not count are left out.
pub fn comparisons(model: &Model) -> Vec<Comparison> {
    let numbers = numbers(model);
    let Some((base, others)) = numbers.split_first() else { return Vec::new() };
    let confidence = shared_confidence(others.len());
    let mut out = Vec::new();
    for other in others {
        for (at, quantity) in Quantity::ALL.into_iter().enumerate() {
            let pairs: Vec<(f64, f64)> = base
                .trials
                .iter()
                .filter_map(|(block, values)| {
                    let (_, theirs) = other.trials.iter().find(|(b, _)| b == block)?;
                    Some((values[at]?, theirs[at]?))
                })
                .collect();
            let ratio = stats::compare(&pairs, confidence);
            out.push(Comparison { variant: other.variant, quantity, ratio, word: quantity.word(ratio.finding) });
        }
    }
    out
}

fn counts(model: &Model, trial: &Trial) -> bool {
    trial.complete() && validity::overall(&validity::checks(model, trial)) != Validity::Invalid
}

/// The quantities of one trial over its measured phases; None where there is too little. Requests without a good answer count as
/// slowest, so a percentile that falls among them has no value.
fn quantities(model: &Model, trial: &Trial) -> [Option<f64>; 4] {
    let mut response = Distribution::default();
    let (mut offered, mut completed, mut seconds) = (0, 0, 0.0);
    for (_, phase) in trial.phases.iter().filter(|(i, _)| model.measured(trial, **i)) {
        response.merge(&phase.response);
        offered += phase.ledger().offered;
        completed += phase.ledger().completed;
        seconds += phase.length().unwrap_or_default().as_secs_f64();
    }
    let quantile = |q: f64| {
        let enough = offered as f64 * (1.0 - q) >= 10.0;
        let rank = crate::distribution::rank(q, offered);
        response.at_rank(rank).filter(|_| enough && rank <= response.count()).map(|s| s.0 as f64)
    };
    let throughput = (seconds > 0.0).then(|| completed as f64 / seconds);
    [quantile(0.5), quantile(0.99), throughput, cpu_per_request(model, trial)]
}

/// CPU time of the loaded workload over its whole life in the trial, per request completed in any phase.
fn cpu_per_request(model: &Model, trial: &Trial) -> Option<f64> {
    let target = model.spec(trial)?.load.as_ref()?.target.name();
    let used = trial.workloads.get(target)?.cpu_used();
    let completed: u64 = trial.phases.values().map(|p| p.ledger().completed).sum();
    (used.0 > 0 && completed > 0).then(|| used.0 as f64 / completed as f64)
}
