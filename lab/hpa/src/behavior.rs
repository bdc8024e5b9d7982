//! The `behavior` of a HorizontalPodAutoscaler as autoscaling/v2 writes it, its defaults filled in, its limits checked.
//! What is done with the rules lives in `stabilize` and `limit`.

use serde::{Deserialize, Serialize};

use crate::config::Problem;
use crate::wire;

const WINDOW_S: std::ops::RangeInclusive<i32> = 0..=3600;
const PERIOD_S: std::ops::RangeInclusive<i32> = 1..=1800;

/// `spec.behavior`. An empty one is not the same as none: it stabilizes and limits by the default rules below.
/// Unknown fields are errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behavior {
    /// Rules for the way up; by default no window, and 4 pods or 100 % in 15 s, whichever is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRules>,
    /// Rules for the way down; by default the controller's window, and 100 % in 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRules>,
}

/// Rules for one direction; what is not given takes its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingRules {
    /// Seconds of recommendations to look back on, 0 to 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<i32>,
    /// Which policy counts when several speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// Rates; a given list replaces the default one whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<ScalingPolicy>>,
    /// Replaces the controller's tolerance on this side; a ratio, or a quantity such as `"50m"`.
    #[serde(default, deserialize_with = "wire::ratio", skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
}

/// How several policies become one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelectPolicy {
    /// The one that allows the largest change.
    #[default]
    Max,
    /// The one that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// The most that may change within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingPolicy {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// Pods, or percent of the size at the start of the period; above 0.
    pub value: i32,
    /// Seconds, 1 to 1800.
    pub period_seconds: i32,
}

/// Unit of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyType {
    /// Replicas.
    Pods,
    /// Percent of the size at the start of the period.
    Percent,
}

impl Behavior {
    /// Everything outside the ranges that Kubernetes allows, with its path under `behavior`; empty = valid.
    pub fn problems(&self) -> Vec<Problem> {
        let directions = [("scaleUp", &self.scale_up), ("scaleDown", &self.scale_down)];
        let given = directions.into_iter().filter_map(|(name, rules)| Some((name, rules.as_ref()?)));
        given.flat_map(|(name, rules)| rules.problems(&format!("behavior.{name}"))).collect()
    }

    pub(crate) fn filled(&self, downscale_stabilization_ms: i64) -> Filled {
        let default_policy = |kind, value| ScalingPolicy { kind, value, period_seconds: 15 };
        let hundred_percent = default_policy(PolicyType::Percent, 100);
        let up = vec![default_policy(PolicyType::Pods, 4), hundred_percent];
        Filled {
            up: Rules::fill(self.scale_up.as_ref(), 0, up),
            down: Rules::fill(self.scale_down.as_ref(), downscale_stabilization_ms / 1000, vec![hundred_percent]),
        }
    }
}

impl ScalingRules {
    fn problems(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(window) = self.stabilization_window_seconds
            && !WINDOW_S.contains(&window)
        {
            problems.push(Problem::new(
                format!("{path}.stabilizationWindowSeconds"),
                format!("{window} is outside 0 to 3600 s"),
            ));
        }
        if let Some(tolerance) = self.tolerance
            && !(tolerance >= 0.0 && tolerance.is_finite())
        {
            problems.push(Problem::new(format!("{path}.tolerance"), format!("{tolerance} is below 0 or no number")));
        }
        if self.policies.as_ref().is_some_and(Vec::is_empty) {
            problems.push(Problem::new(
                format!("{path}.policies"),
                "is empty; name at least one policy or leave it out for the default".to_owned(),
            ));
        }
        for (i, policy) in self.policies.iter().flatten().enumerate() {
            policy.problems(&format!("{path}.policies[{i}]"), &mut problems);
        }
        problems
    }
}

impl ScalingPolicy {
    fn problems(&self, path: &str, problems: &mut Vec<Problem>) {
        if self.value <= 0 {
            problems.push(Problem::new(format!("{path}.value"), format!("{} is not above 0", self.value)));
        }
        if !PERIOD_S.contains(&self.period_seconds) {
            problems.push(Problem::new(
                format!("{path}.periodSeconds"),
                format!("{} is outside 1 to 1800 s", self.period_seconds),
            ));
        }
    }
}

/// A behavior with every default in place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filled {
    pub up: Rules,
    pub down: Rules,
}

/// The rules of one direction with every default in place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub window_ms: i64,
    pub select: SelectPolicy,
    pub policies: Vec<ScalingPolicy>,
    pub tolerance: Option<f64>,
}

impl Rules {
    fn fill(given: Option<&ScalingRules>, window_s: i64, policies: Vec<ScalingPolicy>) -> Self {
        let none = ScalingRules::default();
        let given = given.unwrap_or(&none);
        let window_s = given.stabilization_window_seconds.map_or(window_s, i64::from);
        Self {
            window_ms: window_s.saturating_mul(1000),
            select: given.select_policy.unwrap_or_default(),
            policies: given.policies.clone().unwrap_or(policies),
            tolerance: given.tolerance,
        }
    }

    pub(crate) fn longest_period_ms(&self) -> i64 {
        self.policies.iter().map(ScalingPolicy::period_ms).max().unwrap_or(0).max(0)
    }
}

impl ScalingPolicy {
    pub(crate) fn period_ms(&self) -> i64 {
        i64::from(self.period_seconds) * 1000
    }
}
