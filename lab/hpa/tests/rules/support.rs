//! Short ways to set a scene.

use lab_hpa::{
    Autoscaler, Behavior, Config, Decision, Input, Memory, Metric, Pod, PolicyType, Recommendation, ScaleEvent,
    ScalingPolicy, ScalingRules, Scene, Tolerance, TotalTarget,
};

/// A scene of `current` replicas with the defaults of Kubernetes.
pub fn scene(current: i32, pods: &[Pod]) -> Scene<'_> {
    Scene {
        current,
        status_replicas: current,
        pods,
        tolerance: Tolerance::both(0.1),
        cpu_initialization_period_ms: 300_000,
        initial_readiness_delay_ms: 30_000,
    }
}

/// Pods that have been ready for an hour, each requesting this much CPU.
pub fn ready(count: usize, millicores: i64) -> Vec<Pod> {
    vec![Pod::running(3_600_000).with_cpu(millicores); count]
}

/// A metric that asks for exactly `replicas`, whatever the pods do.
pub fn asks(replicas: i32) -> Metric {
    let values = vec![i64::from(replicas) * 1000];
    Metric::External { name: Some("queue".to_owned()), target: TotalTarget::AverageValue(1000), values }
}

/// A metric that cannot be had.
pub fn dead() -> Metric {
    Metric::External { name: Some("dead".to_owned()), target: TotalTarget::Value(1000), values: vec![] }
}

pub fn config(min: i32, max: i32, behavior: Option<Behavior>) -> Config {
    Config { behavior, tolerance: 0.0, ..Config::new(min, max) }
}

pub fn rules(window_s: i32, policies: &[(PolicyType, i32, i32)]) -> ScalingRules {
    let policies =
        policies.iter().map(|&(kind, value, period_seconds)| ScalingPolicy { kind, value, period_seconds }).collect();
    ScalingRules { stabilization_window_seconds: Some(window_s), policies: Some(policies), ..ScalingRules::default() }
}

pub fn up(rules: ScalingRules) -> Option<Behavior> {
    Some(Behavior { scale_up: Some(rules), scale_down: None })
}

pub fn down(rules: ScalingRules) -> Option<Behavior> {
    Some(Behavior { scale_up: None, scale_down: Some(rules) })
}

/// Recommendations `(age, replicas)` as seen from time 0.
pub fn recommended(past: &[(i64, i32)]) -> Memory {
    let recommendations = past.iter().map(|&(age, replicas)| Recommendation { at_ms: -age, replicas }).collect();
    Memory { recommendations, ..Memory::default() }
}

/// Events `(age, change)` as seen from time 0.
pub fn events(past: &[(i64, i32)]) -> Vec<ScaleEvent> {
    past.iter().map(|&(age, change)| ScaleEvent { at_ms: -age, change, outdated: false }).collect()
}

/// One sync at time 0 of a metric that asks for `wanted`.
pub fn once(config: Config, memory: Memory, current: i32, wanted: i32) -> Decision {
    sync(&mut Autoscaler::with_memory(config, memory), 0, current, wanted)
}

pub fn sync(autoscaler: &mut Autoscaler, now_ms: i64, current: i32, wanted: i32) -> Decision {
    autoscaler.sync(now_ms, &Input { current, metrics: vec![asks(wanted)], ..Input::default() })
}
