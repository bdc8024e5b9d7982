//! Sets of request numbers as they travel in samples and stand in journals: ascending, as the gaps between neighbours in
//! variable-length integers, base64. A thousand neighbours take about a thousand bytes and a third.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Bits of a byte that hold a part of a number; the highest says that more follow.
const PART: u32 = 7;
const MORE: u8 = 1 << PART;

/// A set of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers(Vec<u64>);

/// [`Numbers`] as text. The empty text is the empty set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Packed(pub String);

/// A text is no set of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a set of request numbers: {0}")]
pub struct NumbersError(&'static str);

impl From<Vec<u64>> for Numbers {
    /// The numbers of a list in any order, each once.
    fn from(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers)
    }
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a number is among them.
    pub fn contains(&self, number: u64) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    /// Each once, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }

    /// Takes in all numbers of another set.
    pub fn merge(&mut self, other: &Self) {
        let both = std::mem::take(&mut self.0).into_iter().chain(other.iter()).collect::<Vec<_>>();
        *self = Self::from(both);
    }

    /// Takes out all numbers of another set.
    pub fn remove(&mut self, other: &Self) {
        let mut others = other.iter().peekable();
        self.0.retain(|number| {
            while others.next_if(|other| other < number).is_some() {}
            others.peek() != Some(number)
        });
    }

    /// As text.
    pub fn encode(&self) -> Packed {
        let mut bytes = Vec::with_capacity(self.0.len() + self.0.len() / 8);
        let mut next = 0;
        for number in &self.0 {
            varint(number - next, &mut bytes);
            // After the highest number there is none.
            next = number.saturating_add(1);
        }
        Packed(STANDARD.encode(bytes))
    }
}

impl Packed {
    /// The empty set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set.
    ///
    /// # Errors
    /// The text was not made by [`Numbers::encode`].
    pub fn decode(&self) -> Result<Numbers, NumbersError> {
        let bytes = STANDARD.decode(&self.0).map_err(|_undecoded| NumbersError("it is not base64"))?;
        let mut rest = bytes.as_slice();
        let mut numbers = Vec::with_capacity(bytes.len());
        let mut next = Some(0_u64);
        while !rest.is_empty() {
            let gap = read_varint(&mut rest)?;
            let number =
                next.and_then(|next| next.checked_add(gap)).ok_or(NumbersError("a number has over 64 bits"))?;
            numbers.push(number);
            next = number.checked_add(1);
        }
        Ok(Numbers(numbers))
    }
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= u64::from(MORE) {
        bytes.push(value as u8 | MORE);
        value >>= PART;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, NumbersError> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(PART as usize) {
        let Some((byte, rest)) = bytes.split_first() else { return Err(NumbersError("it is cut")) };
        *bytes = rest;
        let part = u64::from(byte & !MORE);
        if part << shift >> shift != part {
            return Err(NumbersError("a number has over 64 bits"));
        }
        value |= part << shift;
        if byte & MORE == 0 {
            return Ok(value);
        }
    }
    Err(NumbersError("a number has over 64 bits"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn any_set() -> impl Strategy<Value = BTreeSet<u64>> {
        let near = (any::<u64>(), prop::collection::vec(0_u64..400, 0..60))
            .prop_map(|(base, gaps)| gaps.into_iter().map(|gap| base.saturating_add(gap)).collect::<BTreeSet<u64>>());
        prop_oneof![near, prop::collection::btree_set(any::<u64>(), 0..40)]
    }

    fn numbers(set: &BTreeSet<u64>) -> Numbers {
        Numbers::from(set.iter().rev().copied().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(set in any_set()) {
            let set = numbers(&set);
            prop_assert_eq!(set.encode().decode(), Ok(set));
        }

        #[test]
        fn merge_and_remove_are_those_of_sets(a in any_set(), b in any_set(), shared in any_set()) {
            let (a, b): (BTreeSet<_>, BTreeSet<_>) = (&a | &shared, &b | &shared);
            let (mut both, mut less) = (numbers(&a), numbers(&a));
            both.merge(&numbers(&b));
            less.remove(&numbers(&b));
            prop_assert_eq!(both, numbers(&(&a | &b)));
            prop_assert_eq!(less, numbers(&(&a - &b)));
        }

        #[test]
        fn any_text_is_a_set_or_refused(text in "[A-Za-z0-9+/=]{0,40}") {
            if let Ok(set) = Packed(text).decode() {
                prop_assert_eq!(set.encode().decode(), Ok(set));
            }
        }
    }

    #[test]
    fn neighbours_take_a_byte_each_and_the_ends_of_the_range_are_numbers() {
        let thousand = Numbers::from((1 << 50..(1 << 50) + 1000).collect::<Vec<_>>());
        assert!(thousand.encode().0.len() < 1_350);
        for number in [0, 127, 128, u64::MAX - 1, u64::MAX] {
            let one = Numbers::from(vec![number]);
            assert_eq!(one.encode().decode(), Ok(one));
        }
        assert_eq!(Numbers::default().encode(), Packed::default());
        assert!(Packed("gICAgICAgICAgIAB".to_owned()).decode().is_err());
        assert!(Packed("gA==".to_owned()).decode().is_err(), "cut");
    }
}
