//! To 0 and back, and the metrics stage as a whole.

use lab_hpa::{
    Active, Autoscaler, Behavior, Decision, Input, Limit, Memory, Metric, Reason, Recommendation, Resource,
    ResourceTarget, Sample,
};

use crate::support::{asks, config, dead, once, ready, recommended, sync};

fn asleep(scaled_to_zero: bool) -> Memory {
    Memory { scaled_to_zero, ..recommended(&[(10_000_000, 0)]) }
}

fn with_metrics(min: i32, memory: Memory, current: i32, metrics: Vec<Metric>) -> Decision {
    let mut autoscaler = Autoscaler::with_memory(config(min, 10, None), memory);
    autoscaler.sync(0, &Input { current, metrics, pods: ready(3, 100), ..Input::default() })
}

fn cpu(value: i64) -> Metric {
    Metric::Resource {
        resource: Resource::Cpu,
        target: ResourceTarget::Utilization(50),
        samples: vec![Some(Sample::of(value)); 3],
        orphans: vec![],
    }
}

#[test]
fn a_target_of_size_0_is_left_alone_unless_the_autoscaler_brought_it_there() {
    for min in [0, 1] {
        let decision = once(config(min, 10, None), asleep(false), 0, 5);
        assert_eq!((decision.desired, decision.active), (0, Some(Active::ScalingDisabled)));
        assert!(decision.proposals.is_empty() && decision.limit.is_none());
        let woken = once(config(min, 10, None), asleep(true), 0, 3);
        assert_eq!((woken.desired, woken.reason), (3, Some(Reason::MetricAbove)));
    }
    let blind = with_metrics(0, asleep(true), 0, vec![cpu(90)]);
    assert_eq!(blind.active, Some(Active::ScalingDisabled), "cpu exists only with pods");
    let min_raised = with_metrics(1, asleep(true), 0, vec![cpu(90)]);
    assert_eq!(min_raised.active, Some(Active::ValidMetricFound));
}

#[test]
fn waking_reaches_the_minimum_at_once() {
    let quiet = once(config(3, 10, Some(Behavior::default())), asleep(true), 0, 0);
    assert_eq!((quiet.desired, quiet.reason), (3, Some(Reason::BelowMin)));
    assert_eq!((quiet.limit, quiet.limited), (Some(Limit::DesiredWithinRange), Some(false)));
    let busy = once(config(6, 10, Some(Behavior::default())), asleep(true), 0, 8);
    assert_eq!((busy.desired, busy.reason), (6, Some(Reason::MetricAbove)), "the policy alone would allow 4");
    let plain = once(config(6, 10, None), asleep(true), 0, 8);
    assert_eq!((plain.desired, plain.limit), (6, Some(Limit::ScaleUpLimit)));
}

#[test]
fn going_to_0_is_remembered_until_the_next_rescale() {
    let mut autoscaler = Autoscaler::with_memory(config(0, 10, None), recommended(&[(10_000_000, 2)]));
    assert_eq!(sync(&mut autoscaler, 0, 2, 0).desired, 0);
    assert!(autoscaler.memory().scaled_to_zero);
    assert_eq!(sync(&mut autoscaler, 15_000, 0, 0).desired, 0);
    assert!(autoscaler.memory().scaled_to_zero);
    assert_eq!(sync(&mut autoscaler, 30_000, 0, 1).desired, 1);
    assert!(!autoscaler.memory().scaled_to_zero);

    let by_max = once(config(0, 0, None), Memory::default(), 5, 5);
    assert_eq!((by_max.desired, by_max.reason), (0, Some(Reason::AboveMax)));
}

#[test]
fn the_largest_proposal_wins_and_0_never_holds_the_place() {
    let winner = |metrics| {
        let decision = with_metrics(0, recommended(&[(10_000_000, 3)]), 3, metrics);
        (decision.winner, decision.proposal)
    };
    assert_eq!(winner(vec![asks(4), asks(6), asks(6)]), (Some(1), Some(6)));
    assert_eq!(winner(vec![asks(5), asks(2)]), (Some(0), Some(5)));
    assert_eq!(winner(vec![asks(0), asks(0)]), (Some(1), Some(0)));
}

#[test]
fn a_dead_metric_blocks_the_way_down_and_never_the_way_up() {
    for (metrics, desired, active) in [
        (vec![asks(1), dead()], 3, Active::FailedGetExternalMetric),
        (vec![dead(), asks(3)], 3, Active::ValidMetricFound),
        (vec![dead(), asks(6)], 6, Active::ValidMetricFound),
        (vec![dead(), dead()], 3, Active::FailedGetExternalMetric),
    ] {
        let decision = with_metrics(1, recommended(&[(10_000_000, 3)]), 3, metrics);
        assert_eq!((decision.desired, decision.active), (desired, Some(active)));
        assert_eq!(decision.proposals.len(), 2);
        assert_eq!(decision.winner.is_some(), active == Active::ValidMetricFound);
    }
    let nothing_given = with_metrics(1, recommended(&[(1, 3)]), 3, vec![]);
    assert_eq!(nothing_given.active, Some(Active::FailedGetResourceMetric), "the default metric is cpu");
}

#[test]
fn a_negative_proposal_counts_as_0() {
    let object = Metric::Object { name: None, target: lab_hpa::TotalTarget::AverageValue(1000), values: vec![-2500] };
    let mut autoscaler = Autoscaler::with_memory(config(0, 10, None), recommended(&[(10_000_000, 3)]));
    let decision = autoscaler.sync(0, &Input { current: 3, metrics: vec![object], ..Input::default() });
    assert_eq!((decision.proposal, decision.stabilized, decision.desired), (Some(-2), Some(0), 0));
    assert_eq!(autoscaler.memory().recommendations.last(), Some(&Recommendation { at_ms: 0, replicas: 0 }));
}

#[test]
fn a_size_outside_the_bounds_is_corrected_without_reading_metrics() {
    for (current, desired, reason) in [(15, 10, Reason::AboveMax), (1, 2, Reason::BelowMin)] {
        let decision = once(config(2, 10, None), recommended(&[(1, 7)]), current, 5);
        assert_eq!((decision.desired, decision.reason), (desired, Some(reason)));
        assert!(decision.active.is_none() && decision.proposals.is_empty() && decision.stabilized.is_none());
    }
}
