//! Object and External metrics.

use lab_hpa::{Metric, MetricError, Phase, Pod, Proposal, Readiness, Scene, TotalTarget};

use crate::support::{ready, scene};

const MAX: i64 = i64::MAX;

fn external(target: TotalTarget, values: &[i64], scene: &Scene) -> Proposal {
    Metric::External { name: None, target, values: values.to_vec() }.propose(scene)
}

fn object(target: TotalTarget, value: i64, scene: &Scene) -> Proposal {
    Metric::Object { name: None, target, values: vec![value] }.propose(scene)
}

#[test]
fn a_value_scales_what_is_running_and_ready() {
    let mut pods = ready(2, 1);
    pods.push(Pod { deleted: true, ..Pod::running(1) });
    pods.push(Pod { phase: Phase::Succeeded, ..Pod::running(1) });
    pods.push(Pod { ready: Readiness::Unknown, ..Pod::running(1) });
    let scene = scene(5, &pods);
    let proposal = external(TotalTarget::Value(200), &[250, 50], &scene);
    assert_eq!((proposal.replicas, proposal.usage, proposal.groups), (Some(5), Some(300), None));
    assert_eq!(external(TotalTarget::Value(200), &[210], &scene).replicas, Some(5));
    assert_eq!(object(TotalTarget::Value(100), 300, &scene).replicas, Some(9));
}

#[test]
fn a_value_needs_pods_unless_it_stays_or_starts_from_0() {
    let none = scene(3, &[]);
    assert_eq!(external(TotalTarget::Value(100), &[], &none).error, Some(MetricError::MetricsUnavailable));
    assert_eq!(external(TotalTarget::Value(100), &[300], &none).error, Some(MetricError::NoPods));
    assert_eq!(external(TotalTarget::Value(100), &[100], &none).replicas, Some(3));
    assert_eq!(external(TotalTarget::Value(30_000), &[31_000], &scene(0, &[])).replicas, Some(2));
    assert_eq!(external(TotalTarget::Value(30_000), &[0], &scene(0, &[])).replicas, Some(0));
}

#[test]
fn a_share_looks_at_the_status_size_only() {
    let at = |status_replicas| Scene { status_replicas, ..scene(7, &[]) };
    for (status, values, replicas, usage) in [
        (3, vec![250_000], 9, Some(83_334)),
        (3, vec![94_000], 3, Some(31_334)), // within: the status size, not the current
        (0, vec![94_000], 4, None),
        (0, vec![0], 0, None),
        (2, vec![0], 0, Some(0)),
    ] {
        let proposal = external(TotalTarget::AverageValue(30_000), &values, &at(status));
        assert_eq!((proposal.replicas, proposal.usage), (Some(replicas), usage), "{status} {values:?}");
        let same = object(TotalTarget::AverageValue(30_000), values[0], &at(status));
        assert_eq!((same.replicas, same.usage), (Some(replicas), usage), "object {status} {values:?}");
    }
}

#[test]
fn overflows_stay_at_the_ends() {
    let pods = ready(3, 1);
    let scene = scene(3, &pods);
    let share = |values: &[i64]| {
        let proposal = external(TotalTarget::AverageValue(1000), values, &scene);
        (proposal.replicas, proposal.usage)
    };
    assert_eq!(share(&[MAX, 1]), (Some(i32::MAX), Some(MAX)));
    assert_eq!(share(&[-1, 5000]), (Some(i32::MAX), Some(MAX)), "a negative running sum is taken for an overflow");
    assert_eq!(share(&[5000, -1000]), (Some(4), Some(1334)));
    assert_eq!(share(&[MAX - 511]), (Some(i32::MAX), Some(MAX)), "rounds up to 2^63");

    let value = external(TotalTarget::Value(1000), &[MAX, 1, -MAX], &scene);
    assert_eq!((value.replicas, value.usage), (Some(i32::MAX), Some(MAX)), "once at the maximum it stays");
    assert_eq!(object(TotalTarget::AverageValue(1000), -2500, &scene).replicas, Some(-2), "a value is no sum");
}
