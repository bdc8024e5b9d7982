//! HDR histograms of nanoseconds that merge exactly, and their text form (HDR V2, base64).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::unit::Span;

/// Lowest value told apart from its neighbours, in nanoseconds.
const LOWEST_NS: u64 = 1_000;
/// Highest value; larger ones are recorded as this one.
const HIGHEST_NS: u64 = 3_600 * 1_000_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 3;

/// A histogram of nanoseconds: 1 µs to 1 h, three significant digits. All share one layout, so merging loses nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

/// HDR V2, base64. The empty text is the empty histogram.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Encoded(pub String);

/// A text is not a histogram of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an HDR V2 histogram of nanoseconds: {0}")]
pub struct HistogramError(String);

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram.
    #[expect(clippy::expect_used, reason = "constant bounds that the library accepts")]
    pub fn new() -> Self {
        Self(
            hdrhistogram::Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("constant bounds are valid"),
        )
    }

    /// Counts one value; above an hour it counts as an hour.
    pub fn record(&mut self, value: Span) {
        self.record_n(value, 1);
    }

    /// Counts one value `n` times.
    pub fn record_n(&mut self, value: Span, n: u64) {
        self.0.saturating_record_n(value.0, n);
    }

    /// Adds every count of `other`.
    pub fn merge(&mut self, other: &Self) {
        // Equal bounds are the type's invariant, so the only error of the library (a value out of range) cannot occur.
        if self.0.add(&other.0).is_err() {
            for value in other.0.iter_recorded() {
                self.0.saturating_record_n(value.value_iterated_to(), value.count_at_value());
            }
        }
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// True when nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at a quantile in 0..=1; None when empty. It is the upper end of its bucket, so never flattering.
    pub fn quantile(&self, quantile: f64) -> Option<Span> {
        (!self.0.is_empty()).then(|| Span(self.0.value_at_quantile(quantile)))
    }

    /// The largest value, to bucket precision; None when empty.
    pub fn max(&self) -> Option<Span> {
        (!self.0.is_empty()).then(|| Span(self.0.max()))
    }

    /// The mean, to bucket precision; None when empty.
    pub fn mean(&self) -> Option<Span> {
        (!self.0.is_empty()).then(|| Span(self.0.mean().round() as u64))
    }

    /// How many values are at or below `value`, to bucket precision.
    pub fn count_at_or_below(&self, value: Span) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.count_between(0, value.0.min(HIGHEST_NS)) }
    }

    /// Non-empty buckets as (highest value of the bucket, count), ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (Span, u64)> + '_ {
        self.0.iter_recorded().map(|v| (Span(v.value_iterated_to()), v.count_at_value()))
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The text form.
    #[expect(clippy::expect_used, reason = "writing to a vector cannot fail and u64 counts below 2^63 always encode")]
    pub fn encode(&self) -> Encoded {
        if self.0.is_empty() {
            return Encoded::default();
        }
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).expect("a vector takes every histogram");
        Encoded(STANDARD.encode(bytes))
    }

    /// Reads the text form; a histogram with another layout is refused, because it would not merge exactly.
    pub fn decode(text: &Encoded) -> Result<Self, HistogramError> {
        if text.0.is_empty() {
            return Ok(Self::new());
        }
        let bytes = STANDARD.decode(&text.0).map_err(|e| HistogramError(e.to_string()))?;
        let inner: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| HistogramError(e.to_string()))?;
        if (inner.low(), inner.high(), inner.sigfig()) != (LOWEST_NS, HIGHEST_NS, DIGITS) {
            return Err(HistogramError(format!(
                "layout {}..{} at {} digits",
                inner.low(),
                inner.high(),
                inner.sigfig()
            )));
        }
        let mut ours = Self::new();
        ours.0.add(inner).map_err(|e| HistogramError(e.to_string()))?;
        Ok(ours)
    }
}
