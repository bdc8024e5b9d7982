//! Paired comparison over blocks. In each block every variant faced the same arrivals, so the logarithm of the ratio within a block is
//! one observation; requests inside a trial are not independent and never count as observations.
//!
//! Why a t interval on the mean log ratio: with the three to ten blocks that a run has, the rank methods (sign-flip test,
//! Hodges–Lehmann with Wilcoxon's interval) cannot reach 95 % below six blocks and are coarse up to eight; ratios of percentiles are
//! near symmetric on the log scale, and the t interval is exact for normal and conservative for heavier tails. Below three blocks
//! nothing is said.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Ratios within 1/1.05 and 1.05 make no practical difference.
pub const EQUIVALENT: f64 = 1.05;
/// Blocks below which nothing is said.
pub const FEWEST_BLOCKS: usize = 3;
/// Blocks above which the search for a sufficient number stops.
const MOST_BLOCKS: usize = 1_000;

/// What paired observations say about a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The ratio is above 1, and not within the equivalence band.
    Above,
    /// The ratio is below 1, and not within the equivalence band.
    Below,
    /// The ratio lies within the band.
    Equivalent,
    /// The observations do not decide.
    CannotTell,
}

/// A ratio with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Geometric mean of the ratios of the blocks; None without any.
    pub ratio: Option<f64>,
    /// Confidence interval; None below [`FEWEST_BLOCKS`].
    pub interval: Option<(f64, f64)>,
    /// Confidence of the interval, 0.95 or what several comparisons together leave to each.
    pub confidence: f64,
    /// Blocks it rests on.
    pub blocks: usize,
    /// What follows.
    pub finding: Finding,
    /// For `CannotTell`: how many more blocks would tell if they scatter like those so far. None: more than a thousand.
    pub more_blocks: Option<usize>,
}

/// Compares `b` with `a` from pairs (a, b), one a block. Pairs with a value that is not positive and finite are left out.
///
/// *Equivalent* is two one-sided t tests, each at the error that `confidence` leaves in all (at 0.95: the 90 % interval lies within
/// the band); *above* and *below* need the two-sided interval to exclude 1. Equivalence is looked at first, so a difference that is
/// certain but small is called equivalent.
pub fn compare(pairs: &[(f64, f64)], confidence: f64) -> Ratio {
    let usable = |x: f64| x.is_finite() && x > 0.0;
    let ratios = pairs.iter().filter(|(a, b)| usable(*a) && usable(*b)).map(|(a, b)| b / a);
    let logs: Vec<f64> = ratios.filter(|ratio| usable(*ratio)).map(f64::ln).collect();
    let n = logs.len();
    let Some(mean) = mean(&logs) else {
        return Ratio {
            ratio: None,
            interval: None,
            confidence,
            blocks: 0,
            finding: Finding::CannotTell,
            more_blocks: Some(FEWEST_BLOCKS),
        };
    };
    let deviation = deviation(&logs, mean);
    let finding = decide(mean, deviation, n, confidence);
    let more = (finding == Finding::CannotTell).then(|| enough(mean, deviation, n, confidence)).flatten();
    let interval = (n >= FEWEST_BLOCKS).then(|| {
        let half = half_width(deviation, n, confidence);
        ((mean - half).exp(), (mean + half).exp())
    });
    Ratio { ratio: Some(mean.exp()), interval, confidence, blocks: n, finding, more_blocks: more }
}

/// Confidence for each of `comparisons` looked at together, so that a wrong difference among all of them stays at 5 % (Bonferroni).
pub fn shared_confidence(comparisons: usize) -> f64 {
    1.0 - 0.05 / comparisons.max(1) as f64
}

fn decide(mean: f64, deviation: f64, n: usize, confidence: f64) -> Finding {
    if n < FEWEST_BLOCKS {
        return Finding::CannotTell;
    }
    let band = EQUIVALENT.ln();
    if mean.abs() + half_width(deviation, n, 2.0 * confidence - 1.0) <= band {
        return Finding::Equivalent;
    }
    let half = half_width(deviation, n, confidence);
    match mean {
        m if m - half > 0.0 => Finding::Above,
        m if m + half < 0.0 => Finding::Below,
        _ => Finding::CannotTell,
    }
}

/// Further blocks after which the same mean and scatter would decide.
fn enough(mean: f64, deviation: f64, n: usize, confidence: f64) -> Option<usize> {
    let decided = |blocks: usize| decide(mean, deviation, blocks, confidence) != Finding::CannotTell;
    (n.max(FEWEST_BLOCKS - 1) + 1..=MOST_BLOCKS).find(|blocks| decided(*blocks)).map(|blocks| blocks - n)
}

fn half_width(deviation: f64, n: usize, confidence: f64) -> f64 {
    t_quantile(0.5 + confidence / 2.0, n.saturating_sub(1)) * deviation / (n as f64).sqrt()
}

/// Quantile of Student's t; infinite without degrees of freedom.
fn t_quantile(p: f64, freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, freedom as f64).map_or(f64::INFINITY, |t| t.inverse_cdf(p))
}

/// The mean; None of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Geometric mean of what was measured in each block, with its t interval on the log scale; no interval below [`FEWEST_BLOCKS`], None
/// without a positive value.
pub fn geometric_mean(values: &[f64], confidence: f64) -> Option<(f64, Option<(f64, f64)>)> {
    let logs: Vec<f64> = values.iter().filter(|v| v.is_finite() && **v > 0.0).map(|v| v.ln()).collect();
    let mean = mean(&logs)?;
    let interval = (logs.len() >= FEWEST_BLOCKS).then(|| {
        let half = half_width(deviation(&logs, mean), logs.len(), confidence);
        ((mean - half).exp(), (mean + half).exp())
    });
    Some((mean.exp(), interval))
}

/// Sample standard deviation; 0 of fewer than two.
fn deviation(values: &[f64], mean: f64) -> f64 {
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    if values.len() < 2 { 0.0 } else { (squares / (values.len() - 1) as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_core::{RngCore, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    struct Noise(Pcg64Mcg);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
        }
    }

    /// Share of simulated runs with a finding, for a true ratio and a scatter of the log ratio.
    fn share_of(finding: impl Fn(Finding) -> bool, ratio: f64, scatter: f64, blocks: usize, tail: bool) -> f64 {
        let mut noise = Noise(Pcg64Mcg::seed_from_u64(7));
        let runs = 4_000;
        let mut found = 0;
        for _ in 0..runs {
            let pairs: Vec<_> = (0..blocks)
                .map(|_| {
                    // What a block has in common cancels; heavy tails come from an occasional noisy neighbour.
                    let block = (0.5 * noise.normal()).exp();
                    let mut factor = |r: f64| {
                        let wild = if tail && noise.uniform() < 0.1 { 4.0 } else { 1.0 };
                        block * r * (wild * scatter / std::f64::consts::SQRT_2 * noise.normal()).exp()
                    };
                    (factor(1.0), factor(ratio))
                })
                .collect();
            found += usize::from(finding(compare(&pairs, 0.95).finding));
        }
        found as f64 / f64::from(runs)
    }

    fn differs(finding: Finding) -> bool {
        matches!(finding, Finding::Above | Finding::Below)
    }

    #[test]
    fn equal_variants_are_rarely_called_different() {
        for (blocks, scatter, tail) in
            [(3, 0.1, false), (5, 0.1, false), (8, 0.02, false), (8, 0.3, false), (5, 0.1, true), (8, 0.1, true)]
        {
            let wrong = share_of(differs, 1.0, scatter, blocks, tail);
            assert!(wrong <= 0.06, "{blocks} blocks, scatter {scatter}, tail {tail}: {wrong}");
        }
    }

    #[test]
    fn a_difference_at_the_edge_of_the_band_is_rarely_called_equivalent() {
        for blocks in [3, 5, 8] {
            let wrong = share_of(|f| f == Finding::Equivalent, EQUIVALENT, 0.04, blocks, false);
            assert!(wrong <= 0.06, "{blocks}: {wrong}");
        }
    }

    #[test]
    fn real_differences_and_real_equality_are_found() {
        assert!(share_of(|f| f == Finding::Above, 1.2, 0.08, 8, false) > 0.9);
        assert!(share_of(|f| f == Finding::Below, 0.8, 0.08, 8, false) > 0.9);
        assert!(share_of(|f| f == Finding::Equivalent, 1.0, 0.03, 8, false) > 0.9);
    }

    #[test]
    fn the_promised_number_of_blocks_decides_if_they_scatter_alike() {
        for logs in [[0.02, 0.2, -0.1, 0.25], [0.05, -0.05, 0.06, -0.06], [-0.3, 0.1, -0.2, 0.05]] {
            let pairs: Vec<(f64, f64)> = logs.iter().map(|log: &f64| (1.0, log.exp())).collect();
            let asked = compare(&pairs, 0.95);
            assert_eq!(asked.finding, Finding::CannotTell);
            let more = asked.more_blocks.expect("a number");
            // Whole repetitions keep the mean and all but keep the scatter.
            let repeated = |times: usize| compare(&pairs.repeat(times), 0.95).finding;
            assert_ne!(repeated((4 + more).div_ceil(4)), Finding::CannotTell, "{logs:?}: {more} more");
            assert_eq!(repeated((4 + more) / 8), Finding::CannotTell, "{logs:?}: half of {more} is not enough");
        }
    }

    #[test]
    fn too_little_decides_nothing() {
        for pairs in
            [&[][..], &[(1.0, 9.0)], &[(1.0, 9.0), (1.0, 9.1)], &[(0.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)]]
        {
            let ratio = compare(pairs, 0.95);
            assert_eq!(ratio.finding, Finding::CannotTell);
            assert_eq!(ratio.interval, None);
            assert!(ratio.more_blocks.is_some_and(|n| n >= 1));
        }
    }

    proptest! {
        #[test]
        fn swapping_the_variants_swaps_the_answer(pairs in prop::collection::vec((0.01_f64..100.0, 0.01_f64..100.0), 0..12)) {
            let there = compare(&pairs, 0.95);
            let back = compare(&pairs.iter().map(|(a, b)| (*b, *a)).collect::<Vec<_>>(), 0.95);
            let mirrored = match there.finding {
                Finding::Above => Finding::Below,
                Finding::Below => Finding::Above,
                same => same,
            };
            prop_assert_eq!(back.finding, mirrored);
            prop_assert_eq!(back.more_blocks, there.more_blocks);
        }

        #[test]
        fn any_numbers_are_answered(pairs in prop::collection::vec((any::<f64>(), any::<f64>()), 0..12)) {
            let ratio = compare(&pairs, 0.95);
            prop_assert!(ratio.blocks <= pairs.len());
            if let (Some(point), Some((low, high))) = (ratio.ratio, ratio.interval) {
                prop_assert!(low <= point * 1.000_001 && point <= high * 1.000_001);
            }
        }
    }
}
