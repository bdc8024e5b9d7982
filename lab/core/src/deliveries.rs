//! The delivery ledger: what became of each writing request by its number, and what of it was found in the store afterwards. What
//! was answered well must be there, what was refused or never sent must not, and nothing may be there twice.

use serde::{Deserialize, Serialize};

use crate::numbers::{Numbers, NumbersError, Packed};

/// Numbers shown of each kind.
const EXAMPLES: usize = 10;

/// What an answer, or its absence, says of a request's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A good answer: the effect must be found.
    Acknowledged,
    /// An answer that promises no effect: none may be found.
    Refused,
    /// Neither: no answer, a cut one, or one that leaves it open. The effect may be found.
    Indeterminate,
}

/// Fates that became known in one sample, by the requests' numbers. A request of which no byte was written has none: it was not
/// attempted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fates {
    /// See [`Fate::Acknowledged`].
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub acknowledged: Packed,
    /// See [`Fate::Refused`].
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub refused: Packed,
    /// See [`Fate::Indeterminate`].
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub indeterminate: Packed,
}

impl Fates {
    /// True when nothing became known.
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty() && self.refused.is_empty() && self.indeterminate.is_empty()
    }
}

/// All that was attempted. Each number has one fate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attempts {
    /// See [`Fate::Acknowledged`].
    pub acknowledged: Numbers,
    /// See [`Fate::Refused`].
    pub refused: Numbers,
    /// See [`Fate::Indeterminate`].
    pub indeterminate: Numbers,
}

impl Attempts {
    /// Of all samples of a load. A number that was sent twice, because two generators had it for a moment, has the fate that binds
    /// most: one acknowledgement must hold, and one that is open may have had its effect.
    ///
    /// # Errors
    /// A sample holds a text that is no set of numbers.
    pub fn of<'a>(fates: impl IntoIterator<Item = &'a Fates>) -> Result<Self, NumbersError> {
        let mut all: [Vec<u64>; 3] = Default::default();
        for fates in fates {
            let parts = [&fates.acknowledged, &fates.refused, &fates.indeterminate];
            for (all, part) in all.iter_mut().zip(parts) {
                all.extend(part.decode()?.iter());
            }
        }
        let [acknowledged, mut refused, mut indeterminate] = all.map(Numbers::from);
        indeterminate.remove(&acknowledged);
        refused.remove(&acknowledged);
        refused.remove(&indeterminate);
        Ok(Self { acknowledged, refused, indeterminate })
    }

    /// How many there were.
    pub fn len(&self) -> u64 {
        self.acknowledged.len() + self.refused.len() + self.indeterminate.len()
    }

    /// True when nothing was attempted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Compares them with the numbers of the rows that were found, in any order, one a row.
    pub fn against(&self, mut found: Vec<u64>) -> Balance {
        found.sort_unstable();
        let mut seen = Balance { found: found.len() as u64, ..Balance::default() };
        let mut missing = self.acknowledged.iter().peekable();
        for copies in found.chunk_by(|a, b| a == b) {
            let [number, again @ ..] = copies else { continue };
            while let Some(number) = missing.next_if(|missing| missing < number) {
                seen.lost.add(number);
            }
            again.iter().for_each(|number| seen.duplicated.add(*number));
            if missing.next_if_eq(number).is_some() {
                continue;
            }
            let kind = if self.indeterminate.contains(*number) { &mut seen.recovered } else { &mut seen.unexpected };
            kind.add(*number);
        }
        missing.for_each(|number| seen.lost.add(number));
        seen
    }
}

/// Numbers of one kind: how many, and the lowest of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listed {
    /// How many.
    pub count: u64,
    /// The first ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<u64>,
}

impl Listed {
    fn add(&mut self, number: u64) {
        self.count += 1;
        if self.first.len() < EXAMPLES && self.first.last() != Some(&number) {
            self.first.push(number);
        }
    }
}

/// What was attempted against what was found. Always found − duplicated = acknowledged − lost + recovered + unexpected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    /// Rows of this load.
    pub found: u64,
    /// Acknowledged, and not found.
    pub lost: Listed,
    /// Found, and refused or never attempted.
    pub unexpected: Listed,
    /// Rows beyond the first of their number.
    pub duplicated: Listed,
    /// Of unknown fate, and found.
    pub recovered: Listed,
}

/// After the drain: the delivery ledger of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conserved {
    /// The workload.
    pub workload: String,
    /// What is counted: `users`, `messages`.
    pub what: String,
    /// Requests of which at least a byte was written: acknowledged + refused + indeterminate.
    pub attempted: u64,
    /// Answered well.
    pub acknowledged: u64,
    /// Answered with the promise that nothing happened.
    pub refused: u64,
    /// Of unknown fate: no answer, a cut one, or one that leaves it open.
    pub indeterminate: u64,
    /// What was found of them.
    #[serde(flatten)]
    pub compared: Balance,
    /// Rows that are not of this load: prepared, or of an earlier one.
    #[serde(default)]
    pub others: u64,
    /// Samples that did not come, and with them the fates they held. With any, losses may be more and what was not expected less.
    #[serde(default)]
    pub untold: u64,
    /// The queue was seen empty before rows were read, or there is none. Otherwise what is missing may be on its way still.
    pub drained: bool,
    /// Messages that the queue gave up; they are not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<u64>,
    /// Deliveries of a message after its first, counted by the consumers that lived to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redelivered: Option<u64>,
    /// Deliveries whose effect was there already and did not happen again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
}

impl Conserved {
    /// Lowest and highest number of losses; None: no upper bound.
    pub fn lost(&self) -> (u64, Option<u64>) {
        let lost = self.compared.lost.count;
        (if self.drained { lost } else { 0 }, (self.untold == 0).then_some(lost))
    }

    /// Lowest and highest number of effects that nobody asked for, or that were refused.
    pub fn unexpected(&self) -> (u64, u64) {
        let unexpected = self.compared.unexpected.count;
        (if self.untold == 0 { unexpected } else { 0 }, unexpected)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn fates(acknowledged: &[u64], refused: &[u64], indeterminate: &[u64]) -> Fates {
        let packed = |numbers: &[u64]| Numbers::from(numbers.to_vec()).encode();
        Fates { acknowledged: packed(acknowledged), refused: packed(refused), indeterminate: packed(indeterminate) }
    }

    #[test]
    fn each_number_is_compared_once() {
        let samples = [fates(&[1, 2, 3], &[4], &[]), fates(&[5], &[6], &[7, 8])];
        let attempts = Attempts::of(&samples).expect("sets");
        assert_eq!((attempts.len(), attempts.acknowledged.len()), (8, 4));
        let seen = attempts.against(vec![5, 2, 2, 2, 1, 7, 4, 99]);
        let listed = |numbers: &[u64], count| Listed { count, first: numbers.to_vec() };
        assert_eq!(seen.found, 8);
        assert_eq!(seen.lost, listed(&[3], 1));
        assert_eq!(seen.unexpected, listed(&[4, 99], 2), "a refused one and one that nobody sent");
        assert_eq!(seen.duplicated, listed(&[2], 2), "two rows too many of one number");
        assert_eq!(seen.recovered, listed(&[7], 1));
    }

    #[test]
    fn the_fate_that_binds_most_holds() {
        let samples = [fates(&[1], &[2, 3], &[1]), fates(&[2], &[1, 3], &[3])];
        let attempts = Attempts::of(&samples).expect("sets");
        assert_eq!(attempts.acknowledged, Numbers::from(vec![1, 2]));
        assert_eq!(attempts.indeterminate, Numbers::from(vec![3]));
        assert!(attempts.refused.is_empty());
        assert!(Attempts::of(&[Fates { acknowledged: Packed("?".to_owned()), ..Fates::default() }]).is_err());
    }

    #[test]
    fn what_was_not_told_or_not_drained_leaves_bounds_open() {
        let compared = Balance {
            lost: Listed { count: 2, first: vec![1, 2] },
            unexpected: Listed { count: 3, first: vec![7] },
            ..Balance::default()
        };
        let whole = Conserved { compared, drained: true, ..Conserved::default() };
        assert_eq!((whole.lost(), whole.unexpected()), ((2, Some(2)), (3, 3)));
        let untold = Conserved { untold: 1, ..whole.clone() };
        assert_eq!((untold.lost(), untold.unexpected()), ((2, None), (0, 3)));
        assert_eq!(Conserved { drained: false, ..whole }.lost(), (0, Some(2)));
    }

    proptest! {
        /// Against counting one number at a time.
        #[test]
        fn the_books_balance(
            acknowledged in prop::collection::vec(0_u64..60, 0..40),
            refused in prop::collection::vec(0_u64..60, 0..10),
            open in prop::collection::vec(0_u64..60, 0..10),
            found in prop::collection::vec(0_u64..70, 0..60),
        ) {
            let attempts = Attempts::of(&[fates(&acknowledged, &refused, &open)]).expect("sets");
            let seen = attempts.against(found.clone());
            let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
            found.iter().for_each(|n| *rows.entry(*n).or_default() += 1);
            let lost = attempts.acknowledged.iter().filter(|n| !rows.contains_key(n)).count() as u64;
            prop_assert_eq!(seen.lost.count, lost);
            prop_assert_eq!(seen.duplicated.count, rows.values().map(|n| n - 1).sum::<u64>());
            let recovered = attempts.indeterminate.iter().filter(|n| rows.contains_key(n)).count() as u64;
            prop_assert_eq!(seen.recovered.count, recovered);
            prop_assert_eq!(
                seen.found - seen.duplicated.count,
                attempts.acknowledged.len() - lost + recovered + seen.unexpected.count
            );
        }
    }
}
