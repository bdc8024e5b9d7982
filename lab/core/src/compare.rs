//! Variants compared over blocks: what each measured, and in one word how it stands to the first variant. No winner is named.

use serde::{Deserialize, Serialize};

use crate::distribution::{Distribution, rank};
use crate::event::Grade;
use crate::model::{Model, Phase, Trial};
use crate::narrate::grade_text;
use crate::parity::{Footnotes, Note, Parity};
use crate::stats::{self, FEWEST_BLOCKS, Finding, Ratio, shared_confidence};
use crate::unit::Span;
use crate::validity::{self, Validity};
use crate::words;

/// A second may end this much after its phase, since generators cut seconds a little late.
const EDGE: Span = Span::from_millis(50);

/// What is compared. All over the measured phases of a trial together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Median response time.
    P50,
    /// 99th percentile of the response time.
    P99,
    /// Requests completed a second, by the time of their answers: a backlog that is answered later does not count.
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

/// What one trial measured of one quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Nanoseconds, or requests a second.
    Known(f64),
    /// Worse than any number: the rank lies among requests without a good answer, or nothing was completed.
    Beyond,
    /// The trial has too few requests, or too few whole seconds, to say.
    TooFew,
}

/// How a variant stands to the first. It is written only as part of a [`Said`], together with its notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    const ALL: [Self; 6] =
        [Self::Faster, Self::Slower, Self::Cheaper, Self::Dearer, Self::Equivalent, Self::CannotTell];

    fn text(self) -> &'static str {
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

/// A word of a comparison with what must be said beside it: in what the two variants are not alike. There is no way to write the word
/// without its notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    #[serde(with = "wire")]
    word: Word,
    notes: Vec<Note>,
}

impl Said {
    /// `cannot tell` claims nothing and needs no notes.
    fn new(word: Word, notes: &[Note]) -> Self {
        let notes = if word == Word::CannotTell { Vec::new() } else { notes.to_vec() };
        Self { word, notes }
    }

    /// To decide by, not to write.
    pub fn word(&self) -> Word {
        self.word
    }

    /// The word as it stands in tables and sentences, with its marks: `faster¹`. Its notes go to `footnotes`.
    pub fn text(&self, footnotes: &mut Footnotes) -> String {
        format!("{}{}", self.word.text(), footnotes.mark(&self.notes))
    }
}

/// A word in files for programs: `cannot-tell`.
mod wire {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Word;

    pub(super) fn serialize<S: Serializer>(word: &Word, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&word.text().replace(' ', "-"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let known = Word::ALL.into_iter().find(|word| word.text().replace(' ', "-") == text);
        known.ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no word of a comparison")))
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
    /// What follows, with what must be said beside it.
    pub said: Said,
    /// Why there is no ratio although the blocks were run: in some of them a value is [`Value::Beyond`].
    pub reason: Option<String>,
}

impl Comparison {
    /// `1.83 (1.60 to 2.09)`; without an interval only the ratio, without a ratio a dash.
    pub fn ratio_text(&self) -> String {
        if self.reason.is_some() {
            return "beyond measure".to_owned();
        }
        let Some(ratio) = self.ratio.ratio else { return "–".to_owned() };
        let interval = self.ratio.interval.map_or(String::new(), |(low, high)| format!(" ({low:.2} to {high:.2})"));
        format!("{ratio:.2}{interval}")
    }

    /// Why there is no ratio; else, for `cannot tell`, what would decide.
    pub fn what_would_tell(&self) -> Option<String> {
        if self.reason.is_some() {
            return self.reason.clone();
        }
        (self.said.word == Word::CannotTell).then(|| match self.ratio.more_blocks {
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
    pub trials: Vec<(u32, [Value; 4])>,
    /// Trials left out because they are invalid or did not end.
    pub left_out: usize,
    /// How real what it was measured with is, where variants differ in their backing services; else real.
    pub grade: Grade,
}

impl VariantNumbers {
    /// Known values of one quantity over the trials.
    pub fn values(&self, quantity: Quantity) -> Vec<f64> {
        let known = |value| if let Value::Known(value) = value { Some(value) } else { None };
        self.each(quantity).filter_map(|(_, value)| known(value)).collect()
    }

    /// Geometric mean over trials and the range: `182 ms (175 ms to 190 ms)`; trials that are beyond measure are told beside it, and
    /// that it was measured with an emulator or an embedded engine.
    pub fn text(&self, quantity: Quantity) -> String {
        let values = self.values(quantity);
        let beyond = self.each(quantity).filter(|(_, value)| *value == Value::Beyond).count();
        let beyond = (beyond > 0).then(|| format!("beyond measure in {}", words::plural(beyond as u64, "trial")));
        let logs: Vec<f64> = values.iter().filter(|v| **v > 0.0).map(|v| v.ln()).collect();
        let Some(mean) = stats::mean(&logs) else { return beyond.unwrap_or_else(|| "–".to_owned()) };
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let (low, high) = (quantity.text(low), quantity.text(high));
        let range = if low == high { String::new() } else { format!(" ({low} to {high})") };
        let beyond = beyond.map_or(String::new(), |beyond| format!(", {beyond}"));
        let mean = quantity.text(mean.exp());
        labelled(format!("{mean}{range}{beyond}"), self.grade)
    }

    /// Block and value of every trial.
    fn each(&self, quantity: Quantity) -> impl Iterator<Item = (u32, Value)> {
        let at = Quantity::ALL.iter().position(|q| *q == quantity).unwrap_or_default();
        self.trials.iter().map(move |(block, values)| (*block, values[at]))
    }
}

/// A number with how real what it was measured with is; of the real thing the number alone.
pub fn labelled(number: String, grade: Grade) -> String {
    if grade == Grade::Real { number } else { format!("{number}, {}", grade_text(grade)) }
}

/// What each variant measured.
pub fn numbers(model: &Model) -> Vec<VariantNumbers> {
    numbers_of(model, &Parity::of(model))
}

fn numbers_of(model: &Model, parity: &Parity) -> Vec<VariantNumbers> {
    let count = model.run.as_ref().map_or(0, |run| run.variants.len()) as u32;
    (0..count)
        .map(|variant| {
            let mine = model.trials.iter().filter(|t| t.info.is_some_and(|info| info.variant == variant));
            let (counted, rest): (Vec<&Trial>, Vec<&Trial>) = mine.partition(|t| counts(model, t));
            let values = |t: &&Trial| Some((t.info?.block, quantities(model, t)));
            let trials = counted.iter().filter_map(values).collect();
            let grade = if parity.roles.is_empty() { Grade::Real } else { parity.grade(variant) };
            VariantNumbers { variant, trials, left_out: rest.len(), grade }
        })
        .collect()
}

/// Confidence of each interval when so many variants are held against the first, each in every quantity.
pub fn confidence(others: usize) -> f64 {
    shared_confidence(others * Quantity::ALL.len())
}

/// Every variant against the first, for every quantity. Blocks in which either trial does not count are left out.
pub fn comparisons(model: &Model) -> Vec<Comparison> {
    let parity = Parity::of(model);
    let numbers = numbers_of(model, &parity);
    let Some((base, others)) = numbers.split_first() else { return Vec::new() };
    let confidence = confidence(others.len());
    let each = others.iter().flat_map(|other| Quantity::ALL.map(|quantity| (other, quantity)));
    each.map(|(other, quantity)| compare(base, other, quantity, confidence, parity.notes(other.variant))).collect()
}

/// One quantity of `other` against `base`. Blocks without enough requests are left out; a block in which one failed so much that it
/// has no number is not, since what is left would be the blocks that went well.
fn compare(
    base: &VariantNumbers,
    other: &VariantNumbers,
    quantity: Quantity,
    confidence: f64,
    notes: &[Note],
) -> Comparison {
    let theirs = |block| other.each(quantity).find(|(b, _)| *b == block).map(|(_, value)| value);
    let both = base.each(quantity).filter_map(|(block, value)| Some((value, theirs(block)?)));
    let pairs: Vec<(Value, Value)> = both.filter(|(a, b)| *a != Value::TooFew && *b != Value::TooFew).collect();
    let beyond = (
        pairs.iter().filter(|(a, _)| *a == Value::Beyond).count(),
        pairs.iter().filter(|(_, b)| *b == Value::Beyond).count(),
    );
    let (ratio, reason) = if beyond == (0, 0) {
        let known = |(a, b): &(Value, Value)| match (a, b) {
            (Value::Known(a), Value::Known(b)) => Some((*a, *b)),
            _ => None,
        };
        let known: Vec<(f64, f64)> = pairs.iter().filter_map(known).collect();
        (stats::compare(&known, confidence), None)
    } else {
        let finding = beyond_measure(quantity, beyond, pairs.len());
        let ratio = Ratio { ratio: None, interval: None, confidence, blocks: pairs.len(), finding, more_blocks: None };
        (ratio, Some(why_beyond(quantity, beyond, pairs.len())))
    };
    let said = Said::new(quantity.word(ratio.finding), notes);
    Comparison { variant: other.variant, quantity, ratio, said, reason }
}

/// What follows where values of (the first variant, the other) are beyond measure in so many of the blocks.
fn beyond_measure(quantity: Quantity, beyond: (usize, usize), blocks: usize) -> Finding {
    let (worse, better) = match quantity {
        Quantity::Throughput => (Finding::Below, Finding::Above),
        Quantity::P50 | Quantity::P99 | Quantity::Cpu => (Finding::Above, Finding::Below),
    };
    match beyond {
        (0, n) if n == blocks && blocks >= FEWEST_BLOCKS => worse,
        (n, 0) if n == blocks && blocks >= FEWEST_BLOCKS => better,
        _ => Finding::CannotTell,
    }
}

fn why_beyond(quantity: Quantity, (first, other): (usize, usize), blocks: usize) -> String {
    let what = match quantity {
        Quantity::P50 | Quantity::P99 => format!("{} lies among requests without a good answer", quantity.name()),
        Quantity::Throughput | Quantity::Cpu => "nothing was completed".to_owned(),
    };
    let with = [(other, "this variant"), (first, "the first")];
    let with: Vec<String> = with.iter().filter(|(n, _)| *n > 0).map(|(n, who)| format!("{n} with {who}")).collect();
    format!("{what}: of {}, in {}", words::plural(blocks as u64, "block"), words::list(&with))
}

/// Whether a trial counts: it ran to its end and is not invalid.
pub(crate) fn counts(model: &Model, trial: &Trial) -> bool {
    trial.complete() && validity::overall(&validity::checks(model, trial)) != Validity::Invalid
}

/// The quantities of one trial over its measured phases. Requests without a good answer count as slowest, so a percentile that falls
/// among them is beyond measure.
fn quantities(model: &Model, trial: &Trial) -> [Value; 4] {
    let mut response = Distribution::default();
    let mut offered = 0;
    for (_, phase) in trial.phases.iter().filter(|(i, _)| model.measured(trial, **i)) {
        response.merge(&phase.response);
        offered += phase.ledger().offered;
    }
    let quantile = |q: f64| quantile(&response, offered, q);
    [quantile(0.5), quantile(0.99), throughput(model, trial), cpu_per_request(model, trial)]
}

/// A quantile of all that was offered.
pub(crate) fn quantile(response: &Distribution, offered: u64, q: f64) -> Value {
    if (offered as f64 * (1.0 - q)) < 10.0 {
        return Value::TooFew;
    }
    response.at_rank(rank(q, offered)).map_or(Value::Beyond, |s| Value::Known(s.0 as f64))
}

/// Answers that came in the measured phases, over the whole seconds of these phases that no sample is missing from.
fn throughput(model: &Model, trial: &Trial) -> Value {
    let phases = trial.phases.iter().filter(|(i, _)| model.measured(trial, **i)).map(|(_, phase)| phase);
    let all = phases.map(|phase| InTime::of(trial, phase));
    let sum = all.fold(InTime::default(), |a, b| InTime {
        completed: a.completed.saturating_add(b.completed),
        offered: a.offered.saturating_add(b.offered),
        seconds: a.seconds + b.seconds,
    });
    match sum.completed {
        _ if sum.seconds <= 0.0 => Value::TooFew,
        0 => Value::Beyond,
        n => Value::Known(n as f64 / sum.seconds),
    }
}

/// What came in the whole seconds of a phase that no sample is missing from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct InTime {
    /// Good answers, by the time they came.
    pub(crate) completed: u64,
    /// Requests, by their intended time.
    pub(crate) offered: u64,
    /// Length of these seconds together.
    pub(crate) seconds: f64,
}

impl InTime {
    pub(crate) fn of(trial: &Trial, phase: &Phase) -> Self {
        let mut sum = Self::default();
        let Some((from, to)) = phase.window(trial.latest) else { return sum };
        for cell in trial.cells.between(from, to).iter().filter(|c| c.value.complete() && c.to <= to.plus(EDGE)) {
            sum.completed = sum.completed.saturating_add(cell.value.counts.completed);
            sum.offered = sum.offered.saturating_add(cell.value.counts.offered);
            sum.seconds += cell.value.over.as_secs_f64();
        }
        sum
    }
}

/// CPU time of the loaded workload over its whole life in the trial, per request completed in any phase.
fn cpu_per_request(model: &Model, trial: &Trial) -> Value {
    let target = model.spec(trial).and_then(|spec| spec.load.as_ref()).map(|load| load.target.name());
    let used = target.and_then(|target| trial.workloads.get(target)).map_or(0, |workload| workload.cpu_used().0);
    let completed: u64 = trial.phases.values().map(|p| p.ledger().completed).sum();
    match (used, completed) {
        (0, _) => Value::TooFew,
        (_, 0) => Value::Beyond,
        (used, completed) => Value::Known(used as f64 / completed as f64),
    }
}
