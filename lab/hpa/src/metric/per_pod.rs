//! Proposals from samples of pods: Resource and Pods metrics.

use super::{Basis, MetricError, Outcome, Resource, Sample, Scene, ceil};
use crate::pod::{Group, Groups, Pod, ReadinessRule};

/// What the samples are held against.
#[derive(Clone, Copy)]
pub(super) enum Aim {
    /// Percent of what the pods request of a resource.
    Utilization(Resource, i32),
    /// Milli-units a pod.
    Average(i64),
}

pub(super) fn outcome(
    aim: Aim,
    cpu: bool,
    samples: &[Option<Sample>],
    orphans: &[Sample],
    scene: &Scene,
) -> Result<Outcome, MetricError> {
    if orphans.is_empty() && samples.iter().all(Option::is_none) {
        return Err(MetricError::MetricsUnavailable);
    }
    if scene.pods.is_empty() {
        return Err(MetricError::NoPods);
    }
    let groups = group(cpu, samples, scene);
    let mut held = held(&groups, samples, orphans);
    if held.is_empty() {
        return Err(MetricError::NoUsableSamples);
    }
    let gauge = Gauge::new(aim, scene.pods)?;
    let first = gauge.read(&held)?;
    let counts = counts(&groups);

    let up_with_unready = counts.unready > 0 && first.ratio > 1.0;
    let mut outcome = Outcome {
        replicas: scene.current,
        utilization: first.utilization,
        usage: Some(first.usage),
        total: None,
        ratio: first.ratio,
        filled_ratio: None,
        groups: Some(counts),
        basis: Basis::WithinTolerance,
    };
    if !up_with_unready && counts.missing == 0 {
        if !scene.tolerance.within(first.ratio) {
            outcome.replicas = ceil(first.ratio * counts.ready as f64);
            outcome.basis = Basis::Ratio;
        }
        return Ok(outcome);
    }

    fill_in(&mut held, &groups, &gauge, first.ratio, up_with_unready);
    let second = gauge.read(&held)?.ratio;
    let wanted = ceil(second * held.len() as f64);
    outcome.filled_ratio = Some(second);
    outcome.basis = Basis::FilledHolds;
    if !scene.tolerance.within(second) && !turns_around(first.ratio, second, wanted, scene.current) {
        outcome.replicas = wanted;
        outcome.basis = Basis::Filled;
    }
    Ok(outcome)
}

fn group(cpu: bool, samples: &[Option<Sample>], scene: &Scene) -> Vec<Group> {
    let rule = if cpu {
        ReadinessRule::Cpu {
            initialization_ms: scene.cpu_initialization_period_ms,
            delay_ms: scene.initial_readiness_delay_ms,
        }
    } else {
        ReadinessRule::PhaseOnly
    };
    let sample = |i| samples.get(i).and_then(Option::as_ref);
    scene.pods.iter().enumerate().map(|(i, pod)| pod.group(sample(i), rule)).collect()
}

fn counts(groups: &[Group]) -> Groups {
    let mut counts = Groups::default();
    groups.iter().for_each(|group| counts.count(*group));
    counts
}

/// A value that enters the sums, with the index of its pod if that is listed.
struct Held {
    pod: Option<usize>,
    value: i64,
}

fn held(groups: &[Group], samples: &[Option<Sample>], orphans: &[Sample]) -> Vec<Held> {
    let listed = samples.iter().enumerate().filter_map(|(i, sample)| {
        let value = sample.as_ref()?.value;
        match groups.get(i) {
            Some(Group::Ready) => Some(Held { pod: Some(i), value }),
            Some(_) => None,
            None => Some(Held { pod: None, value }),
        }
    });
    listed.chain(orphans.iter().map(|sample| Held { pod: None, value: sample.value })).collect()
}

/// Fills in to the safe side: on the way down a missing pod uses all it may, on the way up it and an unready one use
/// nothing.
fn fill_in(held: &mut Vec<Held>, groups: &[Group], gauge: &Gauge, ratio: f64, up_with_unready: bool) {
    for (i, group) in groups.iter().enumerate() {
        let value = match group {
            Group::Missing if ratio < 1.0 => gauge.full_use(i),
            Group::Missing if ratio > 1.0 => 0,
            Group::Unready if up_with_unready => 0,
            _ => continue,
        };
        held.push(Held { pod: Some(i), value });
    }
}

fn turns_around(first: f64, second: f64, wanted: i32, current: i32) -> bool {
    (first < 1.0 && second > 1.0)
        || (first > 1.0 && second < 1.0)
        || (second < 1.0 && wanted > current)
        || (second > 1.0 && wanted < current)
}

/// How samples become a ratio.
enum Gauge {
    /// Percent of the requests, one request a pod.
    Utilization { percent: i32, requests: Vec<i64> },
    /// Milli-units a sample.
    Average { value: i64 },
}

struct Reading {
    utilization: Option<i32>,
    usage: i64,
    ratio: f64,
}

impl Gauge {
    fn new(aim: Aim, pods: &[Pod]) -> Result<Self, MetricError> {
        match aim {
            Aim::Average(value) => Ok(Self::Average { value }),
            Aim::Utilization(resource, percent) => {
                let requests: Option<_> = pods.iter().map(|pod| pod.request.of(resource)).collect();
                let requests = requests.ok_or(MetricError::MissingRequest)?;
                Ok(Self::Utilization { percent, requests })
            }
        }
    }

    fn read(&self, held: &[Held]) -> Result<Reading, MetricError> {
        match self {
            Self::Utilization { percent, requests } => {
                let (mut used, mut requested, mut count) = (0_i64, 0_i64, 0_i64);
                for (value, pod) in held.iter().filter_map(|held| Some((held.value, held.pod?))) {
                    used = used.wrapping_add(value);
                    requested = requested.wrapping_add(requests[pod]);
                    count += 1;
                }
                if requested == 0 {
                    return Err(MetricError::NoMatchingRequests);
                }
                let utilization = used.wrapping_mul(100).wrapping_div(requested) as i32;
                let ratio = f64::from(utilization) / f64::from(*percent);
                Ok(Reading { utilization: Some(utilization), usage: used / count, ratio })
            }
            Self::Average { value } => {
                let used = held.iter().fold(0_i64, |sum, held| sum.wrapping_add(held.value));
                let usage = used / held.len() as i64;
                Ok(Reading { utilization: None, usage, ratio: usage as f64 / *value as f64 })
            }
        }
    }

    /// What a missing pod is taken to use on the way down: its request, or the target where that is more.
    fn full_use(&self, pod: usize) -> i64 {
        match self {
            Self::Utilization { percent, requests } => requests[pod].wrapping_mul(i64::from(*percent).max(100)) / 100,
            Self::Average { value } => *value,
        }
    }
}
