//! Proposals from a total: Object and External metrics.

use super::{Basis, MetricError, Outcome, Scene, Source, TotalTarget, ceil};

pub(super) fn outcome(
    source: Source,
    target: TotalTarget,
    values: &[i64],
    scene: &Scene,
) -> Result<Outcome, MetricError> {
    if values.is_empty() {
        return Err(MetricError::MetricsUnavailable);
    }
    match target {
        TotalTarget::Value(target) => by_value(target, capped_sum(values), scene),
        TotalTarget::AverageValue(target) => {
            let total = match source {
                Source::External => sum_never_negative(values),
                _ => capped_sum(values),
            };
            Ok(by_share(source, target, total, scene))
        }
    }
}

fn by_value(target: i64, total: i64, scene: &Scene) -> Result<Outcome, MetricError> {
    let ratio = total as f64 / target as f64;
    let (replicas, basis) = if scene.current == 0 {
        (ceil(ratio), Basis::Ratio)
    } else if scene.tolerance.within(ratio) {
        (scene.current, Basis::WithinTolerance)
    } else if scene.pods.is_empty() {
        return Err(MetricError::NoPods);
    } else {
        let serving = scene.pods.iter().filter(|pod| pod.serves()).count();
        (ceil(ratio * serving as f64), Basis::Ratio)
    };
    Ok(made(replicas, basis, ratio, total, Some(total)))
}

fn by_share(source: Source, target: i64, total: i64, scene: &Scene) -> Outcome {
    let (total_f, target_f, status) = (total as f64, target as f64, f64::from(scene.status_replicas));
    let ratio = total_f / (target_f * status);
    let (replicas, basis) = if scene.tolerance.within(ratio) {
        (scene.status_replicas, Basis::WithinTolerance)
    } else {
        (ceil(total_f / target_f), Basis::Share)
    };
    let usage = if scene.status_replicas == 0 {
        None
    } else if source == Source::External && total_f >= i64::MAX as f64 {
        Some(i64::MAX)
    } else {
        Some((total_f / status).ceil() as i64)
    };
    made(replicas, basis, ratio, total, usage)
}

fn made(replicas: i32, basis: Basis, ratio: f64, total: i64, usage: Option<i64>) -> Outcome {
    Outcome { replicas, utilization: None, usage, total: Some(total), ratio, filled_ratio: None, groups: None, basis }
}

/// Stays at the maximum once an addition would pass it, whatever follows.
fn capped_sum(values: &[i64]) -> i64 {
    let mut sum = 0_i64;
    for value in values {
        match sum.checked_add(*value) {
            Some(next) => sum = next,
            None if *value > 0 => return i64::MAX,
            None => sum = sum.wrapping_add(*value),
        }
    }
    sum
}

/// Takes any negative running sum for an overflow, and an overflow for the maximum.
fn sum_never_negative(values: &[i64]) -> i64 {
    let mut sum = 0_i64;
    for value in values {
        sum = sum.wrapping_add(*value);
        if sum < 0 {
            return i64::MAX;
        }
    }
    sum
}
