//! Resource and Pods metrics: who counts, the ratio, and what is filled in.

use lab_hpa::{
    Basis, Groups, Metric, MetricError, Phase, Pod, PodsTarget, Readiness, Resource, ResourceTarget, Sample, Tolerance,
};

use crate::support::{ready, scene};

fn cpu(percent: i32, samples: Vec<Option<Sample>>) -> Metric {
    Metric::Resource { resource: Resource::Cpu, target: ResourceTarget::Utilization(percent), samples, orphans: vec![] }
}

fn pods_metric(target: i64, samples: &[Option<i64>], orphans: &[i64]) -> Metric {
    Metric::Pods {
        name: None,
        target: PodsTarget::AverageValue(target),
        samples: samples.iter().map(|value| value.map(Sample::of)).collect(),
        orphans: orphans.iter().copied().map(Sample::of).collect(),
    }
}

fn of(values: &[i64]) -> Vec<Option<Sample>> {
    values.iter().map(|value| Some(Sample::of(*value))).collect()
}

#[test]
fn a_pod_falls_into_the_first_group_that_fits() {
    let old = Pod::running(3_600_000);
    let young = Pod { start_age_ms: Some(299_999), ready_age_ms: Some(40_000), ..old.clone() };
    let grown = Pod { start_age_ms: Some(300_000), ..old.clone() };
    let sample = Sample { value: 1, age_ms: 10_000, window_ms: 30_000 };
    let unready =
        |pod: &Pod, ready_age_ms| Pod { ready: Readiness::False, ready_age_ms: Some(ready_age_ms), ..pod.clone() };
    let [ready_group, unready_group, missing, ignored] = [0, 1, 2, 3];
    let cases = [
        ("ready for long", old.clone(), Some(sample), ready_group),
        ("deleted before all else", Pod { deleted: true, phase: Phase::Pending, ..old.clone() }, None, ignored),
        ("failed", Pod { phase: Phase::Failed, ..old.clone() }, Some(sample), ignored),
        ("pending without a sample", Pod { phase: Phase::Pending, ..old.clone() }, None, unready_group),
        ("no sample before readiness", Pod { ready: Readiness::Absent, ..old.clone() }, None, missing),
        ("no Ready condition", Pod { ready: Readiness::Absent, ..old.clone() }, Some(sample), unready_group),
        ("not started", Pod { start_age_ms: None, ..old.clone() }, Some(sample), unready_group),
        ("succeeded", Pod { phase: Phase::Succeeded, ..old.clone() }, Some(sample), ready_group),
        ("phase unknown", Pod { phase: Phase::Unknown, ..old.clone() }, Some(sample), ready_group),
        ("readiness unknown", Pod { ready: Readiness::Unknown, ..old.clone() }, Some(sample), ready_group),
        ("young, window just full", young.clone(), Some(sample), ready_group),
        ("young, window not full", Pod { ready_age_ms: Some(39_999), ..young.clone() }, Some(sample), unready_group),
        ("young and unready", unready(&young, 3_600_000), Some(sample), unready_group),
        (
            "age is the period: window no matter",
            Pod { ready_age_ms: Some(1), ..grown.clone() },
            Some(sample),
            ready_group,
        ),
        ("grown, unready later", unready(&grown, 270_000), Some(sample), ready_group),
        ("grown, unready from the start", unready(&grown, 270_001), Some(sample), unready_group),
    ];
    for (what, pod, sample, group) in cases {
        let pods = [pod.with_cpu(100), Pod::running(3_600_000).with_cpu(100)];
        let proposal = cpu(50, vec![sample, Some(Sample::of(50))]).propose(&scene(2, &pods));
        let Groups { ready, unready, missing, ignored } = proposal.groups.unwrap();
        assert_eq!([ready - 1, unready, missing, ignored][group], 1, "{what}: {:?}", proposal.groups);
    }
}

#[test]
fn only_cpu_asks_for_readiness() {
    let pod = Pod { ready: Readiness::False, ready_age_ms: Some(1), start_age_ms: Some(2), ..Pod::running(0) };
    let pods = [pod.with_cpu(100).with_memory(100)];
    let memory = Metric::Resource {
        resource: Resource::Memory,
        target: ResourceTarget::Utilization(50),
        samples: of(&[100]),
        orphans: vec![],
    };
    assert_eq!(memory.propose(&scene(1, &pods)).replicas, Some(2));
    assert_eq!(pods_metric(50, &[Some(100)], &[]).propose(&scene(1, &pods)).replicas, Some(2));
    assert_eq!(cpu(50, of(&[100])).propose(&scene(1, &pods)).error, Some(MetricError::NoUsableSamples));
}

#[test]
fn errors_come_in_order() {
    let nothing = cpu(50, vec![]);
    assert_eq!(nothing.propose(&scene(0, &[])).error, Some(MetricError::MetricsUnavailable));
    assert_eq!(cpu(50, of(&[1])).propose(&scene(0, &[])).error, Some(MetricError::NoPods));
    let pending = [Pod { phase: Phase::Pending, ..Pod::running(0) }];
    assert_eq!(cpu(50, of(&[1])).propose(&scene(1, &pending)).error, Some(MetricError::NoUsableSamples));
    let bare = [Pod::running(3_600_000).with_cpu(1), Pod { deleted: true, ..Pod::running(0) }];
    assert_eq!(cpu(50, of(&[1])).propose(&scene(1, &bare)).error, Some(MetricError::MissingRequest));
    assert_eq!(cpu(50, of(&[1])).propose(&scene(1, &ready(1, 0))).error, Some(MetricError::NoMatchingRequests));

    let failed = cpu(50, vec![]).propose(&scene(1, &[]));
    assert_eq!((failed.replicas, failed.usage, failed.groups, failed.ratio), (None, None, None, None));
}

#[test]
fn divisions_cut_and_the_tolerance_is_exact() {
    // (used, of, target percent, current) -> (replicas, utilization)
    for (used, request, percent, current, replicas, utilization) in [
        (100, 300, 50, 2, 2, 33),  // 0.66 x 2 = 1.32
        (55, 100, 50, 10, 10, 55), // 1.1 <= 1.0 + 0.1
        (56, 100, 50, 10, 12, 56),
        (45, 100, 50, 10, 10, 45), // 0.9 <= 0.9
        (44, 100, 50, 10, 9, 44),
        (459, 1000, 50, 10, 10, 45),
    ] {
        let pods = ready(current, request);
        let proposal = cpu(percent, of(&vec![used; current])).propose(&scene(current as i32, &pods));
        assert_eq!(
            (proposal.replicas, proposal.utilization),
            (Some(replicas), Some(utilization)),
            "{used} of {request}"
        );
    }
}

#[test]
fn a_tolerance_has_two_sides() {
    let tolerance = Tolerance { up: 0.0, down: 0.5 };
    for (ratio, within) in [(1.0, true), (1.0 + f64::EPSILON, false), (0.5, true), (0.49, false), (f64::NAN, false)] {
        assert_eq!(tolerance.within(ratio), within, "{ratio}");
    }
}

#[test]
fn missing_pods_are_filled_in_to_the_safe_side() {
    let pods = ready(4, 100);
    let with_one_missing = |value, percent| {
        let mut samples = of(&[value, value, value]);
        samples.push(None);
        cpu(percent, samples).propose(&scene(4, &pods))
    };
    let turned = with_one_missing(40, 50);
    assert_eq!((turned.replicas, turned.basis), (Some(4), Some(Basis::FilledHolds)));
    assert_eq!(turned.filled_ratio, Some(1.1));
    let up = with_one_missing(90, 50);
    assert_eq!((up.replicas, up.basis), (Some(6), Some(Basis::Filled)));
    // a target above 100 % fills in more than the request: (3 x 30 + 200) / 4 = 72 of 200
    let down = with_one_missing(30, 200);
    assert_eq!((down.replicas, down.filled_ratio), (Some(2), Some(0.36)));
    // exactly on target: nothing to fill in
    let even = with_one_missing(50, 50);
    assert_eq!((even.replicas, even.filled_ratio), (Some(4), Some(1.0)));
}

#[test]
fn unready_pods_count_on_the_way_up_only() {
    let mut pods = ready(3, 100);
    pods.push(Pod { ready: Readiness::False, ..Pod::running(100_000).with_cpu(100) });
    assert_eq!(cpu(50, of(&[90, 90, 90, 90])).propose(&scene(4, &pods)).replicas, Some(6));
    assert_eq!(cpu(50, of(&[20, 20, 20, 90])).propose(&scene(4, &pods)).replicas, Some(2));
}

#[test]
fn the_direction_never_turns_against_the_current_size() {
    // 2 samples, 1 orphan and 1 missing pod ask for ceil(0.82 x 4), above a current size of 2
    let pods = ready(3, 100);
    let metric = pods_metric(100, &[Some(80), None, Some(50)], &[100]);
    let proposal = metric.propose(&scene(2, &pods));
    assert_eq!((proposal.replicas, proposal.basis), (Some(2), Some(Basis::FilledHolds)));
}

#[test]
fn orphans_enter_averages_but_no_utilization() {
    let pods = ready(1, 100);
    let average = pods_metric(10, &[Some(11)], &[11, 1]).propose(&scene(1, &pods));
    assert_eq!((average.usage, average.replicas), (Some(7), Some(1)));
    let mut utilization = cpu(50, of(&[100]));
    if let Metric::Resource { orphans, .. } = &mut utilization {
        orphans.push(Sample::of(1_000_000));
    }
    assert_eq!(utilization.propose(&scene(1, &pods)).utilization, Some(100));
    // a sample beyond the pods is one of a pod that is not listed
    assert_eq!(pods_metric(10, &[Some(11), Some(11), Some(1)], &[]).propose(&scene(1, &pods)).usage, Some(7));
}

#[test]
fn sums_wrap_as_the_original_does_and_nothing_panics() {
    let pods = ready(2, 100);
    let proposal = pods_metric(1, &[Some(i64::MAX), Some(1)], &[]).propose(&scene(2, &pods));
    assert_eq!(proposal.usage, Some(i64::MIN / 2));
    let proposal = cpu(1, of(&[i64::MIN, 0])).propose(&scene(2, &pods));
    assert_eq!((proposal.utilization, proposal.usage), (Some(0), Some(i64::MIN / 2)));
    let odd = vec![Pod::running(3_600_000).with_cpu(-1)];
    assert!(cpu(0, of(&[i64::MIN])).propose(&scene(1, &odd)).error.is_none());
}
