//! What is known of one load generator: which of its samples came, what it used.

use crate::unit::Span;

/// One generator over a trial.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Generator {
    /// Samples of its plan, by number.
    pub received: Numbers,
    /// Highest number that is known to exist, from samples or from a report of a loss.
    pub highest: u64,
    /// Its last sample has come.
    pub finished: bool,
    /// CPU time used over all samples, nanoseconds.
    pub cpu_ns: u64,
    /// Time that the samples cover.
    pub over: Span,
    /// Longest turn of its send loop.
    pub longest_turn: Span,
    /// Requests that waited for a connection at the end of the newest sample.
    pub queued: u64,
    /// Plan of the samples.
    pub plan: String,
}

impl Generator {
    /// Samples that did not come.
    pub fn lost(&self) -> u64 {
        self.highest.saturating_sub(self.received.count())
    }

    /// Mean CPU use in cores.
    pub fn cores(&self) -> Option<f64> {
        (self.over.0 > 0).then(|| self.cpu_ns as f64 / self.over.0 as f64)
    }
}

/// A set of numbers that mostly come without a gap, as ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers {
    /// First and last of each range, ascending, neither touching nor overlapping.
    ranges: Vec<(u64, u64)>,
}

impl Numbers {
    /// Adds a number; false when it is there already.
    pub fn insert(&mut self, n: u64) -> bool {
        let at = self.ranges.partition_point(|&(_, last)| last < n);
        if self.ranges.get(at).is_some_and(|&(first, _)| first <= n) {
            return false;
        }
        let joins_left = at > 0 && self.ranges[at - 1].1.checked_add(1) == Some(n);
        let joins_right = self.ranges.get(at).is_some_and(|&(first, _)| n.checked_add(1) == Some(first));
        match (joins_left, joins_right) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = n,
            (false, true) => self.ranges[at].0 = n,
            (false, false) => self.ranges.insert(at, (n, n)),
        }
        true
    }

    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0_u64, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// The largest number.
    pub fn highest(&self) -> Option<u64> {
        self.ranges.last().map(|(_, last)| *last)
    }

    /// True when the number is in it.
    pub fn contains(&self, n: u64) -> bool {
        let at = self.ranges.partition_point(|&(_, last)| last < n);
        self.ranges.get(at).is_some_and(|&(first, _)| first <= n)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(numbers in prop::collection::vec(prop_oneof![0_u64..40, Just(u64::MAX), Just(u64::MAX - 1)], 0..120)) {
            let mut ours = Numbers::default();
            let mut set = BTreeSet::new();
            for n in numbers {
                prop_assert_eq!(ours.insert(n), set.insert(n));
            }
            prop_assert_eq!(ours.count(), set.len() as u64);
            prop_assert_eq!(ours.highest(), set.last().copied());
            prop_assert!((0..42).all(|n| ours.contains(n) == set.contains(&n)));
        }
    }
}
