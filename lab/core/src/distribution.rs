//! A histogram as the model keeps it: only the buckets that hold something, in the layout of [`Histogram`], so that nothing is
//! lost and hundreds fit in memory. Recording single values is `histogram`'s business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::histogram::{Encoded, Histogram, HistogramError};
use crate::unit::Span;

/// Bits below the finest bucket: values are told apart by 512 ns.
const UNIT_BITS: u32 = 9;
/// Bits of the linear half of a bucket.
const HALF_BITS: u32 = 10;
/// One more than the highest index of the layout (1 µs to 1 h at three digits, rounded up to whole powers of two).
const INDEXES: u32 = 25 << HALF_BITS;
/// Highest value that is told apart, as in [`Histogram`].
const HIGHEST_NS: u64 = 3_600_000_000_000;
/// First word of an uncompressed HDR V2 histogram.
const V2_COOKIE: u32 = 0x1c84_9313;
/// Length of its header.
const V2_HEADER: usize = 40;

/// Counts by bucket, ascending. Merging adds counts, as merging the histograms would.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    buckets: Vec<(u32, u64)>,
    count: u64,
}

impl Distribution {
    /// Reads the text form without building the full histogram: a second of samples costs microseconds, not a page of zeros.
    ///
    /// # Errors
    /// The text is no HDR V2 histogram of the layout that all of ours share.
    pub fn decode(text: &Encoded) -> Result<Self, HistogramError> {
        if text.0.is_empty() {
            return Ok(Self::default());
        }
        let bytes = STANDARD.decode(&text.0).ok();
        match bytes.as_deref().and_then(read_v2) {
            Some(read) => Ok(read),
            // The full reader settles what this one does not take, and words the error.
            None => Histogram::decode(text).map(|histogram| Self::from(&histogram)),
        }
    }

    /// Adds every count of `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.buckets.is_empty() {
            return;
        }
        self.count = self.count.saturating_add(other.count);
        // A second into a phase: almost all its buckets are there already, so nothing needs to move.
        if other.buckets.len() * 4 < self.buckets.len() {
            for &(index, count) in &other.buckets {
                match self.buckets.binary_search_by_key(&index, |(i, _)| *i) {
                    Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
                    Err(at) => self.buckets.insert(at, (index, count)),
                }
            }
            return;
        }
        let mine = std::mem::take(&mut self.buckets);
        self.buckets.reserve(mine.len().max(other.buckets.len()));
        let (mut a, mut b) = (mine.into_iter().peekable(), other.buckets.iter().copied().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.0 == y.0 => {
                    let sum = (x.0, x.1.saturating_add(y.1));
                    take(sum, || a.next().and(b.next()))
                }
                (Some(x), Some(y)) if x.0 < y.0 => take(*x, || a.next()),
                (Some(x), None) => take(*x, || a.next()),
                (_, Some(y)) => take(*y, || b.next()),
                (None, None) => break,
            };
            self.buckets.push(next);
        }
    }

    /// How many values it holds.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value of the given rank, counting from 1; None beyond the last. It is the upper end of its bucket.
    pub fn at_rank(&self, rank: u64) -> Option<Span> {
        let mut seen = 0_u64;
        self.buckets.iter().find_map(|&(index, count)| {
            seen = seen.saturating_add(count);
            (seen >= rank.max(1)).then(|| top(index))
        })
    }

    /// The value at a quantile in 0..=1; None when empty. The same number that [`Histogram::quantile`] gives.
    pub fn quantile(&self, quantile: f64) -> Option<Span> {
        self.at_rank(rank(quantile, self.count))
    }

    /// The largest value, to bucket precision.
    pub fn max(&self) -> Option<Span> {
        self.buckets.last().map(|&(index, _)| top(index))
    }

    /// Sum of all values, nanoseconds, each taken as the middle of its bucket (off by 0.05 % at most above 0.5 ms).
    pub fn sum_ns(&self) -> f64 {
        self.buckets.iter().map(|&(index, count)| middle(index) * count as f64).sum()
    }

    /// Sum of squares, nanoseconds². With [`Self::sum_ns`] it gives the mean age of what is under way at a random instant.
    pub fn sum_of_squares(&self) -> f64 {
        self.buckets.iter().map(|&(index, count)| middle(index).powi(2) * count as f64).sum()
    }

    /// The mean; None when empty.
    pub fn mean(&self) -> Option<Span> {
        (self.count > 0).then(|| Span((self.sum_ns() / self.count as f64).round() as u64))
    }

    /// How many values are at or below `value`, to bucket precision.
    pub fn count_at_or_below(&self, value: Span) -> u64 {
        let limit = index_of(value.0.min(HIGHEST_NS));
        self.buckets.iter().take_while(|(index, _)| *index <= limit).map(|(_, count)| count).sum()
    }

    /// Non-empty buckets as (upper end, count), ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (Span, u64)> + '_ {
        self.buckets.iter().map(|&(index, count)| (top(index), count))
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<(u32, u64)>()
    }
}

impl From<&Histogram> for Distribution {
    fn from(histogram: &Histogram) -> Self {
        let buckets: Vec<_> = histogram.buckets().map(|(value, count)| (index_of(value.0), count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Self { buckets, count }
    }
}

/// The rank (from 1) that a quantile asks for among `count` values.
pub fn rank(quantile: f64, count: u64) -> u64 {
    ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1)
}

/// The value, after moving on.
fn take<T>(value: T, advance: impl FnOnce() -> Option<T>) -> T {
    advance();
    value
}

fn index_of(ns: u64) -> u32 {
    let bucket = (64 - (ns | ((2 << (HALF_BITS + UNIT_BITS)) - 1)).leading_zeros()) - (HALF_BITS + UNIT_BITS + 1);
    let within = (ns >> (bucket + UNIT_BITS)) as u32;
    (((bucket + 1) << HALF_BITS) + within).saturating_sub(1 << HALF_BITS)
}

/// Lowest value of a bucket and its width.
fn extent(index: u32) -> (u64, u64) {
    let (bucket, within) = match index >> HALF_BITS {
        0 => (0, index),
        n => (n - 1, (index & ((1 << HALF_BITS) - 1)) + (1 << HALF_BITS)),
    };
    (u64::from(within) << (bucket + UNIT_BITS), 1 << (bucket + UNIT_BITS))
}

fn top(index: u32) -> Span {
    let (low, width) = extent(index);
    Span(low + width - 1)
}

fn middle(index: u32) -> f64 {
    let (low, width) = extent(index);
    (low + width / 2) as f64
}

/// HDR V2: a header, then zig-zag varints, a negative one skipping so many empty buckets. None for anything unusual.
fn read_v2(bytes: &[u8]) -> Option<Distribution> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let long = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let expected = (V2_COOKIE, 0, 3, 1_000, HIGHEST_NS, 1.0_f64.to_bits());
    if (word(0)?, word(8)?, word(12)?, long(16)?, long(24)?, long(32)?) != expected {
        return None;
    }
    let mut rest = bytes.get(V2_HEADER..V2_HEADER + word(4)? as usize)?;
    let mut read = Distribution::default();
    let mut index = 0_u32;
    while !rest.is_empty() {
        let (number, after) = varint(rest)?;
        rest = after;
        if number < 0 {
            index = index.checked_add(u32::try_from(number.checked_neg()?).ok()?)?;
            continue;
        }
        if number > 0 {
            if index >= INDEXES {
                return None;
            }
            read.buckets.push((index, number as u64));
            read.count = read.count.checked_add(number as u64)?;
        }
        index = index.checked_add(1)?;
    }
    Some(read)
}

/// LEB128 in at most nine bytes (the ninth counts whole), zig-zag.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(9) {
        let last = at == 8;
        value |= u64::from(if last { byte } else { byte & 0x7f }) << (7 * at);
        if last || byte & 0x80 == 0 {
            let decoded = ((value >> 1) as i64) ^ -((value & 1) as i64);
            return Some((decoded, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_full_histogram(
            one in prop::collection::vec((0_u64..5_000_000_000_000, 1_u64..1_000), 0..60),
            two in prop::collection::vec((0_u64..50_000_000, 1_u64..10), 0..60),
            q in 0.001_f64..=1.0,
            at in 0_u64..5_000_000_000_000,
        ) {
            let fill = |values: &[(u64, u64)]| {
                let mut h = Histogram::new();
                values.iter().for_each(|&(value, n)| h.record_n(Span(value), n));
                h
            };
            let (mut full, other) = (fill(&one), fill(&two));
            let mut sparse = Distribution::decode(&full.encode()).unwrap();
            let bytes = STANDARD.decode(&full.encode().0).unwrap();
            prop_assert!(bytes.is_empty() || read_v2(&bytes) == Some(sparse.clone()), "what we write needs no full reader");
            prop_assert_eq!(&sparse, &Distribution::from(&full));
            full.merge(&other);
            sparse.merge(&Distribution::decode(&other.encode()).unwrap());
            prop_assert_eq!(sparse.count(), full.count());
            prop_assert_eq!(sparse.quantile(q), full.quantile(q));
            prop_assert_eq!(sparse.count_at_or_below(Span(at)), full.count_at_or_below(Span(at)));
            prop_assert!(sparse.buckets().eq(full.buckets()));
            let (ours, theirs) = (sparse.mean().unwrap_or_default().0, full.mean().unwrap_or_default().0);
            prop_assert!(ours.abs_diff(theirs) <= 1 + theirs / 1_000_000, "{} {}", ours, theirs);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut text = Vec::from([0x1c, 0x84, 0x93, 0x03]);
            text.extend(&bytes);
            // Only that it returns matters here.
            drop(Distribution::decode(&Encoded(STANDARD.encode(text.get(..3).unwrap_or_default()))));
            drop(read_v2(&text));
        }
    }
}
