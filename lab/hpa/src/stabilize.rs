//! Holds a proposal back to what recent recommendations agree on. Recording it is `memory`'s.

use crate::behavior::Filled;
use crate::decision::Stabilization;
use crate::memory::Recommendation;

/// A proposal after stabilization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stabilized {
    pub size: i32,
    pub verdict: Stabilization,
    /// The recommendation that held it, where one did.
    pub held_by: i32,
    /// The window in which that was found.
    pub window_ms: i64,
}

/// Without a behavior: the highest recommendation of the window, an age equal to it included.
pub(crate) fn plain(recommendations: &[Recommendation], now_ms: i64, proposed: i32, window_ms: i64) -> Stabilized {
    let recent = recommendations.iter().filter(|r| now_ms.saturating_sub(r.at_ms) <= window_ms);
    let size = recent.map(|r| r.replicas).fold(proposed, i32::max);
    let verdict = if size == proposed { Stabilization::ReadyForNewScale } else { Stabilization::ScaleDownStabilized };
    Stabilized { size, verdict, held_by: size, window_ms }
}

/// With one: the current size, moved no further than into what both windows agree on, an age equal to a window
/// excluded.
pub(crate) fn with_behavior(
    recommendations: &[Recommendation],
    now_ms: i64,
    current: i32,
    proposed: i32,
    rules: &Filled,
) -> Stabilized {
    let within = |window_ms: i64| {
        let recent = recommendations.iter().filter(move |r| now_ms.saturating_sub(r.at_ms) < window_ms);
        recent.map(|r| r.replicas)
    };
    let lowest = within(rules.up.window_ms).fold(proposed, i32::min);
    let highest = within(rules.down.window_ms).fold(proposed, i32::max);
    let size = current.max(lowest).min(highest);
    let (verdict, held_by, window_ms) = if proposed >= current {
        (Stabilization::ScaleUpStabilized, lowest, rules.up.window_ms)
    } else {
        (Stabilization::ScaleDownStabilized, highest, rules.down.window_ms)
    };
    let verdict = if size == proposed { Stabilization::ReadyForNewScale } else { verdict };
    Stabilized { size, verdict, held_by, window_ms }
}
