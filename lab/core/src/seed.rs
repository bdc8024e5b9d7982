//! Randomness from seeds: the same numbers on every machine, in every version. Nothing here may ever change its output.

use rand_core::RngCore as _;
use rand_pcg::Pcg64;

/// A generator of numbers that a seed and a purpose determine.
#[derive(Debug, Clone)]
pub struct Seeded(Pcg64);

impl Seeded {
    /// Numbers of `seed` for one purpose; other purposes get independent ones.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let state = derive(seed, purpose, 0);
        let wide = |a: u64, b: u64| (u128::from(a) << 64) | u128::from(b);
        Self(Pcg64::new(wide(mix(state), mix(state ^ 1)), wide(mix(state ^ 2), mix(state ^ 3))))
    }

    /// A whole number over the full range.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number in `0..bound`, each as likely as the others; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound < 2 {
            return 0;
        }
        // Numbers past the last full turn are drawn again, or low ones would come more often.
        let past = u64::MAX - (u64::MAX % bound + 1) % bound;
        loop {
            let drawn = self.next_u64();
            if drawn <= past {
                return drawn % bound;
            }
        }
    }

    /// A number in 0 ≤ x < 1 with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Puts the items into an order of which each is as likely as the others (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

/// A seed from a seed, for the `index`-th thing of a purpose.
pub fn derive(seed: u64, purpose: &str, index: u64) -> u64 {
    // FNV-1a over the purpose, then splitmix64's finisher after each part.
    let named = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(mix(mix(seed) ^ named) ^ index)
}

/// The finisher of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_what_they_are() {
        let mut numbers = Seeded::new(1, "order");
        let drawn: Vec<u64> = (0..3).map(|_| numbers.next_u64()).collect();
        assert_eq!(drawn, [6_742_496_473_903_936_461, 16_577_915_630_868_638_148, 482_918_029_549_391_536]);
        assert_eq!(derive(1, "block", 0), 786_713_034_395_061_389);
        let mut items: Vec<u32> = (0..6).collect();
        Seeded::new(1, "order").shuffle(&mut items);
        assert_eq!(items, [1, 2, 4, 0, 5, 3]);
    }

    #[test]
    fn purposes_and_indexes_differ() {
        let seeds = [derive(1, "block", 0), derive(1, "block", 1), derive(2, "block", 0), derive(1, "order", 0)];
        let distinct: std::collections::HashSet<_> = seeds.iter().collect();
        assert_eq!(distinct.len(), seeds.len());
    }

    #[test]
    fn bounded_numbers_are_even() {
        let mut numbers = Seeded::new(7, "even");
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[usize::try_from(numbers.below(6)).expect("small")] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!(numbers.below(0), 0);
        assert!((0..1000).map(|_| numbers.unit()).all(|x| (0.0..1.0).contains(&x)));
    }
}
