//! The `in` of each kind of vector. Unknown keys are ignored here, unlike in a behavior that a person writes.

use serde::Deserialize;

use crate::autoscaler::{Autoscaler, Input};
use crate::behavior::{Behavior, PolicyType, ScalingPolicy, ScalingRules, SelectPolicy};
use crate::config::Config;
use crate::memory::{Memory, Recommendation, ScaleEvent};
use crate::metric::{Metric, Scene, Tolerance};
use crate::pod::Pod;
use crate::wire::{null_as_default, ratio};

#[derive(Deserialize)]
pub(super) struct ReplicasIn {
    current: i32,
    #[serde(default)]
    status_replicas: Option<i32>,
    #[serde(default)]
    tolerance: Option<Tolerance>,
    #[serde(default)]
    cpu_initialization_period_ms: Option<i64>,
    #[serde(default)]
    initial_readiness_delay_ms: Option<i64>,
    #[serde(default, deserialize_with = "null_as_default")]
    pods: Vec<Pod>,
    pub metric: Metric,
}

impl ReplicasIn {
    pub(super) fn scene(&self) -> Scene<'_> {
        let default = Config::new(1, 1);
        Scene {
            current: self.current,
            status_replicas: self.status_replicas.unwrap_or(self.current),
            pods: &self.pods,
            tolerance: self.tolerance.unwrap_or(Tolerance::both(default.tolerance)),
            cpu_initialization_period_ms: self
                .cpu_initialization_period_ms
                .unwrap_or(default.cpu_initialization_period_ms),
            initial_readiness_delay_ms: self.initial_readiness_delay_ms.unwrap_or(default.initial_readiness_delay_ms),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct BehaviorIn {
    #[serde(flatten)]
    pub series: Series,
    pub steps: Vec<BehaviorStep>,
}

#[derive(Deserialize)]
pub(super) struct BehaviorStep {
    pub at_ms: i64,
    pub desired: i32,
    #[serde(default)]
    pub current: Option<i32>,
}

#[derive(Deserialize)]
pub(super) struct ReconcileIn {
    #[serde(flatten)]
    pub series: Series,
    pub steps: Vec<ReconcileStep>,
}

#[derive(Deserialize)]
pub(super) struct ReconcileStep {
    pub at_ms: i64,
    #[serde(default)]
    pub current: Option<i32>,
    #[serde(default)]
    status_replicas: Option<i32>,
    #[serde(default, deserialize_with = "null_as_default")]
    pods: Vec<Pod>,
    #[serde(default, deserialize_with = "null_as_default")]
    metrics: Vec<Metric>,
}

impl ReconcileStep {
    pub(super) fn input(&self, current: i32) -> Input {
        Input { current, status_replicas: self.status_replicas, pods: self.pods.clone(), metrics: self.metrics.clone() }
    }
}

/// What the kinds with steps share.
#[derive(Deserialize)]
pub(super) struct Series {
    #[serde(default)]
    min: Option<i32>,
    max: i32,
    #[serde(default)]
    behavior: Option<BehaviorGiven>,
    #[serde(default)]
    downscale_stabilization_ms: Option<i64>,
    #[serde(default)]
    tolerance: Option<f64>,
    #[serde(default)]
    cpu_initialization_period_ms: Option<i64>,
    #[serde(default)]
    initial_readiness_delay_ms: Option<i64>,
    #[serde(default, deserialize_with = "null_as_default")]
    state: State,
    pub current: i32,
}

impl Series {
    pub(super) fn autoscaler(&self) -> Autoscaler {
        let mut config = Config::new(1, self.max);
        config.min = self.min.unwrap_or(config.min);
        config.behavior = self.behavior.as_ref().map(BehaviorGiven::behavior);
        let given = |given: Option<i64>, default: &mut i64| *default = given.unwrap_or(*default);
        given(self.downscale_stabilization_ms, &mut config.downscale_stabilization_ms);
        given(self.cpu_initialization_period_ms, &mut config.cpu_initialization_period_ms);
        given(self.initial_readiness_delay_ms, &mut config.initial_readiness_delay_ms);
        config.tolerance = self.tolerance.unwrap_or(config.tolerance);
        Autoscaler::with_memory(config, self.state.memory())
    }
}

#[derive(Default, Deserialize)]
struct State {
    #[serde(default, deserialize_with = "null_as_default")]
    recommendations: Vec<PastRecommendation>,
    #[serde(default, deserialize_with = "null_as_default")]
    scale_up_events: Vec<PastEvent>,
    #[serde(default, deserialize_with = "null_as_default")]
    scale_down_events: Vec<PastEvent>,
    #[serde(default, deserialize_with = "null_as_default")]
    scaled_to_zero: bool,
}

#[derive(Deserialize)]
struct PastRecommendation {
    age_ms: i64,
    replicas: i32,
}

#[derive(Deserialize)]
struct PastEvent {
    age_ms: i64,
    change: i32,
}

impl State {
    /// Ages count back from time 0.
    fn memory(&self) -> Memory {
        let recommendation =
            |past: &PastRecommendation| Recommendation { at_ms: past.age_ms.saturating_neg(), replicas: past.replicas };
        let event =
            |past: &PastEvent| ScaleEvent { at_ms: past.age_ms.saturating_neg(), change: past.change, outdated: false };
        Memory {
            recommendations: self.recommendations.iter().map(recommendation).collect(),
            scale_up_events: self.scale_up_events.iter().map(event).collect(),
            scale_down_events: self.scale_down_events.iter().map(event).collect(),
            scaled_to_zero: self.scaled_to_zero,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BehaviorGiven {
    #[serde(default)]
    scale_up: Option<RulesGiven>,
    #[serde(default)]
    scale_down: Option<RulesGiven>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RulesGiven {
    #[serde(default)]
    stabilization_window_seconds: Option<i32>,
    #[serde(default)]
    select_policy: Option<SelectPolicy>,
    #[serde(default)]
    policies: Option<Vec<PolicyGiven>>,
    #[serde(default, deserialize_with = "ratio")]
    tolerance: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyGiven {
    r#type: PolicyType,
    value: i32,
    period_seconds: i32,
}

impl BehaviorGiven {
    fn behavior(&self) -> Behavior {
        Behavior {
            scale_up: self.scale_up.as_ref().map(RulesGiven::rules),
            scale_down: self.scale_down.as_ref().map(RulesGiven::rules),
        }
    }
}

impl RulesGiven {
    fn rules(&self) -> ScalingRules {
        let policy = |given: &PolicyGiven| ScalingPolicy {
            kind: given.r#type,
            value: given.value,
            period_seconds: given.period_seconds,
        };
        ScalingRules {
            stabilization_window_seconds: self.stabilization_window_seconds,
            select_policy: self.select_policy,
            policies: self.policies.as_ref().map(|policies| policies.iter().map(policy).collect()),
            tolerance: self.tolerance,
        }
    }
}
