//! Bounds a stabilized size by rate and by minimum and maximum.

use crate::behavior::{Filled, PolicyType, Rules, ScalingPolicy, SelectPolicy};
use crate::decision::Limit;
use crate::memory::Memory;
use crate::metric::ceil;

/// Without a behavior a rise may at most double the size, but always reach this.
const FREE_RISE: i32 = 4;

/// The HPA's own bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub min: i32,
    pub max: i32,
}

/// A size after its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub size: i32,
    pub limit: Limit,
    /// What the rate alone allows in the direction of the wish; `None` without a wish to move.
    pub rate: Option<i32>,
}

/// Without a behavior: at most double on the way up, no rate on the way down.
pub(crate) fn plain(current: i32, wanted: i32, bounds: Bounds) -> Limited {
    let top = current.saturating_mul(2).max(FREE_RISE);
    let (upper, upper_limit) = lower_of(bounds.max, top);
    let rate = (wanted > current).then_some(top);
    if wanted < bounds.min {
        Limited { size: bounds.min, limit: Limit::TooFewReplicas, rate }
    } else if wanted > upper {
        Limited { size: upper, limit: upper_limit, rate }
    } else {
        Limited { size: wanted, limit: Limit::DesiredWithinRange, rate }
    }
}

/// With one: by its policies, counting what both directions changed within each policy's period.
pub(crate) fn with_behavior(
    memory: &Memory,
    now_ms: i64,
    current: i32,
    wanted: i32,
    bounds: Bounds,
    rules: &Filled,
) -> Limited {
    let start = |policy: &ScalingPolicy| memory.size_before(now_ms, current, policy.period_ms());
    let within = |rate| Limited { size: wanted, limit: Limit::DesiredWithinRange, rate };
    if wanted > current {
        let rate = highest_rise(&rules.up, current, start).max(current);
        let (upper, limit) = lower_of(bounds.max, rate);
        if wanted > upper { Limited { size: upper, limit, rate: Some(rate) } } else { within(Some(rate)) }
    } else if wanted < current {
        let rate = lowest_fall(&rules.down, current, start).min(current);
        let (lower, limit) =
            if bounds.min < rate { (rate, Limit::ScaleDownLimit) } else { (bounds.min, Limit::TooFewReplicas) };
        if wanted < lower { Limited { size: lower, limit, rate: Some(rate) } } else { within(Some(rate)) }
    } else {
        within(None)
    }
}

fn lower_of(max: i32, rate: i32) -> (i32, Limit) {
    if max > rate { (rate, Limit::ScaleUpLimit) } else { (max, Limit::TooManyReplicas) }
}

fn highest_rise(rules: &Rules, current: i32, start: impl Fn(&ScalingPolicy) -> i64) -> i32 {
    let allowed = rules.policies.iter().map(|policy| match policy.kind {
        PolicyType::Pods => clamp(start(policy).saturating_add(i64::from(policy.value))),
        PolicyType::Percent => ceil(start(policy) as f64 * (1.0 + f64::from(policy.value) / 100.0)),
    });
    match rules.select {
        SelectPolicy::Disabled => current,
        SelectPolicy::Max => allowed.max().unwrap_or(i32::MIN),
        SelectPolicy::Min => allowed.min().unwrap_or(i32::MAX),
    }
}

fn lowest_fall(rules: &Rules, current: i32, start: impl Fn(&ScalingPolicy) -> i64) -> i32 {
    let allowed = rules.policies.iter().map(|policy| match policy.kind {
        PolicyType::Pods => clamp(start(policy).saturating_sub(i64::from(policy.value))),
        PolicyType::Percent => (start(policy) as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i32,
    });
    match rules.select {
        SelectPolicy::Disabled => current,
        SelectPolicy::Max => allowed.min().unwrap_or(i32::MAX),
        SelectPolicy::Min => allowed.max().unwrap_or(i32::MIN),
    }
}

fn clamp(size: i64) -> i32 {
    size.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}
