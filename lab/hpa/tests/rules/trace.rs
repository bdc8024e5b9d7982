//! The sentence about each kind of decision.

use lab_hpa::{
    Autoscaler, Behavior, Decision, Input, Memory, Metric, Phase, Pod, PolicyType::Pods, Resource, ResourceTarget,
    Sample, ScalingRules, SelectPolicy, TotalTarget,
};

use crate::support::{config, dead, down, once, ready, recommended, rules, up};

fn cpu(values: &[Option<i64>]) -> Metric {
    Metric::Resource {
        resource: Resource::Cpu,
        target: ResourceTarget::Utilization(70),
        samples: values.iter().map(|value| value.map(Sample::of)).collect(),
        orphans: vec![],
    }
}

fn look(behavior: Option<Behavior>, current: i32, pods: Vec<Pod>, metrics: Vec<Metric>) -> Decision {
    let mut config = config(1, 10, behavior);
    config.tolerance = 0.1;
    let mut autoscaler = Autoscaler::with_memory(config, recommended(&[(10_000_000, current)]));
    autoscaler.sync(0, &Input { current, pods, metrics, ..Input::default() })
}

#[test]
fn a_metric_above_its_target_with_room_in_the_policy() {
    let decision = look(Some(Behavior::default()), 2, ready(2, 100), vec![cpu(&[Some(142), Some(142)])]);
    assert_eq!(decision.why, "wants 5 (was 2): cpu 142 % of 70 %, ratio 2.03; policy allows 6");
}

#[test]
fn within_tolerance() {
    let decision = look(None, 3, ready(3, 100), vec![cpu(&[Some(68), Some(68), Some(68)])]);
    assert_eq!(decision.why, "holds 3: cpu 68 % of 70 % is within tolerance 0.10");
}

#[test]
fn held_by_stabilization() {
    let behavior = down(ScalingRules { stabilization_window_seconds: Some(15), ..ScalingRules::default() });
    let decision = once(config(1, 10, behavior), recommended(&[(1, 5)]), 5, 2);
    assert_eq!(
        decision.why,
        "holds 5: scale-down stabilized, highest recommendation of the last 15 s is 5; \
         queue 0.4 of 1 for each replica, ratio 0.40 asks for 2"
    );
}

#[test]
fn without_a_usable_sample() {
    let decision = look(None, 2, ready(2, 100), vec![cpu(&[])]);
    assert_eq!(decision.why, "holds 2: no usable sample of cpu (metrics_unavailable)");
    let pending = vec![Pod { phase: Phase::Pending, ..Pod::running(1).with_cpu(1) }];
    let decision = look(None, 1, pending, vec![cpu(&[Some(1)])]);
    assert_eq!(decision.why, "holds 1: no usable sample of cpu (no_usable_samples)");
    let decision = look(None, 1, vec![Pod::running(3_600_000)], vec![cpu(&[Some(1)])]);
    assert_eq!(decision.why, "holds 1: a pod has no request for cpu (missing_request)");
    let blocked = look(None, 2, ready(2, 100), vec![cpu(&[Some(10), Some(10)]), dead()]);
    assert_eq!(blocked.why, "holds 2: no usable sample of dead (metrics_unavailable), which blocks the way down to 1");
}

#[test]
fn limits_are_named_with_their_numbers() {
    let wide =
        |behavior, current, wanted| once(config(2, 30, behavior), recommended(&[(10_000_000, 3)]), current, wanted).why;
    let policy = || rules(0, &[(Pods, 3, 60)]);
    let disabled = |rules| ScalingRules { select_policy: Some(SelectPolicy::Disabled), ..rules };
    for (why, end) in [
        (wide(None, 4, 20), "asks for 20; rate limit allows 8"),
        (wide(None, 20, 50), "asks for 50; maximum is 30"),
        (wide(None, 4, 1), "asks for 1; minimum is 2"),
        (wide(up(policy()), 4, 20), "asks for 20; policy allows 7"),
        (wide(down(policy()), 20, 5), "asks for 5; policy allows 17"),
        (wide(up(disabled(policy())), 4, 20), "asks for 20; scale-up is disabled"),
        (wide(down(disabled(policy())), 4, 2), "asks for 2; scale-down is disabled"),
    ] {
        assert!(why.ends_with(end), "{why}");
    }
}

#[test]
fn corrections_and_sleep() {
    assert_eq!(once(config(1, 10, None), Memory::default(), 15, 1).why, "wants 10 (was 15): above the maximum of 10");
    assert_eq!(once(config(2, 10, None), Memory::default(), 1, 1).why, "wants 2 (was 1): below the minimum of 2");
    assert_eq!(
        once(config(1, 10, None), Memory::default(), 0, 1).why,
        "holds 0: scaling is off: either somebody else set this size, or no metric can wake the target"
    );
    let asleep = Memory { scaled_to_zero: true, ..recommended(&[(10_000_000, 0)]) };
    assert_eq!(
        once(config(6, 10, Some(Behavior::default())), asleep, 0, 8).why,
        "wants 6 (was 0): queue 8 in all, 1 for each replica asks for 8; policy allows 4; minimum is 6"
    );
}

#[test]
fn pods_that_were_filled_in_are_named() {
    let mut pods = ready(4, 100);
    pods.push(Pod { phase: Phase::Pending, ..Pod::running(1).with_cpu(100) });
    let decision = look(None, 5, pods, vec![cpu(&[Some(140), Some(140), Some(140), None, None])]);
    assert_eq!(decision.why, "wants 6 (was 5): cpu 140 % of 70 %, ratio 2.00 (1.20 with 1 missing and 1 unready pods)");
    let decision = look(None, 4, ready(4, 100), vec![cpu(&[Some(60), Some(60), Some(60), None])]);
    assert_eq!(decision.why, "holds 4: cpu 60 % of 70 %, ratio 0.86 is not clear enough (1.00 with 1 missing pod)");
}

#[test]
fn amounts_are_written_as_people_write_them() {
    let average = |resource, target, value| Metric::Resource {
        resource,
        target: ResourceTarget::AverageValue(target),
        samples: vec![Some(Sample::of(value))],
        orphans: vec![],
    };
    let memory = average(Resource::Memory, 104_857_600_000, 209_715_200_000);
    let decision = look(None, 1, ready(1, 100), vec![memory]);
    assert_eq!(decision.why, "wants 2 (was 1): memory 200 MiB of 100 MiB for each replica, ratio 2.00");
    let decision = look(None, 1, ready(1, 100), vec![average(Resource::Cpu, 150, 300)]);
    assert_eq!(decision.why, "wants 2 (was 1): cpu 300m of 150m for each replica, ratio 2.00");
    let time = Metric::External {
        name: Some("response-time".to_owned()),
        target: TotalTarget::Value(200_000),
        values: vec![250_500],
    };
    let decision = look(None, 2, ready(2, 100), vec![time]);
    assert_eq!(decision.why, "wants 3 (was 2): response-time 250.5 of 200, ratio 1.25");
}
