//! What an autoscaler is told once: the HPA's own limits and the controller's flags, with Kubernetes' defaults.

use serde::{Deserialize, Serialize};

use crate::behavior::Behavior;
use crate::metric::Tolerance;

/// Settings of one autoscaler. Fields left out of JSON take the defaults of Kubernetes; `max` has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Fewest replicas. 0 needs an Object or External metric.
    #[serde(default = "default::min")]
    pub min: i32,
    /// Most replicas.
    pub max: i32,
    /// The HPA's `behavior`; `None` and an empty one are different things.
    #[serde(default)]
    pub behavior: Option<Behavior>,
    /// How often the caller should sync, in milliseconds; the engine itself does not read it.
    #[serde(default = "default::sync_period_ms")]
    pub sync_period_ms: i64,
    /// For how long the highest recommendation holds the size up, where `behavior` does not say.
    #[serde(default = "default::downscale_stabilization_ms")]
    pub downscale_stabilization_ms: i64,
    /// How far a ratio may be from 1 before anything changes, where `behavior` does not say.
    #[serde(default = "default::tolerance")]
    pub tolerance: f64,
    /// How long after its start a pod's CPU may mislead.
    #[serde(default = "default::cpu_initialization_period_ms")]
    pub cpu_initialization_period_ms: i64,
    /// Until when after its start a pod that became unready counts as never having been ready.
    #[serde(default = "default::initial_readiness_delay_ms")]
    pub initial_readiness_delay_ms: i64,
}

mod default {
    pub(super) fn min() -> i32 {
        1
    }
    pub(super) fn sync_period_ms() -> i64 {
        15_000
    }
    pub(super) fn downscale_stabilization_ms() -> i64 {
        300_000
    }
    pub(super) fn tolerance() -> f64 {
        0.1
    }
    pub(super) fn cpu_initialization_period_ms() -> i64 {
        300_000
    }
    pub(super) fn initial_readiness_delay_ms() -> i64 {
        30_000
    }
}

impl Config {
    /// Kubernetes' defaults between two limits.
    pub fn new(min: i32, max: i32) -> Self {
        Self {
            min,
            max,
            behavior: None,
            sync_period_ms: default::sync_period_ms(),
            downscale_stabilization_ms: default::downscale_stabilization_ms(),
            tolerance: default::tolerance(),
            cpu_initialization_period_ms: default::cpu_initialization_period_ms(),
            initial_readiness_delay_ms: default::initial_readiness_delay_ms(),
        }
    }

    /// Checks what Kubernetes would check. [`crate::Autoscaler::new`] does not insist on it, so that recorded inputs
    /// of any kind can be replayed.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let mut problems = Vec::new();
        let mut check = |bad: bool, path: &str, what: String| {
            if bad {
                problems.push(Problem::new(path.to_owned(), what));
            }
        };
        check(self.min < 0, "min", format!("{} is below 0", self.min));
        check(self.max < 1, "max", format!("{} is below 1", self.max));
        check(self.max < self.min, "max", format!("{} is below min {}", self.max, self.min));
        let bad_tolerance = !(self.tolerance >= 0.0 && self.tolerance.is_finite());
        check(bad_tolerance, "tolerance", format!("{} is below 0 or no number", self.tolerance));
        check(self.sync_period_ms <= 0, "sync_period_ms", format!("{} is not above 0", self.sync_period_ms));
        for (path, value) in [
            ("downscale_stabilization_ms", self.downscale_stabilization_ms),
            ("cpu_initialization_period_ms", self.cpu_initialization_period_ms),
            ("initial_readiness_delay_ms", self.initial_readiness_delay_ms),
        ] {
            check(value < 0, path, format!("{value} is below 0"));
        }
        problems.extend(self.behavior.iter().flat_map(Behavior::problems));
        if problems.is_empty() { Ok(()) } else { Err(InvalidConfig { problems }) }
    }

    /// The tolerance of each direction: `behavior`'s where it gives one, else the controller's.
    pub fn tolerances(&self) -> Tolerance {
        let given = |rules: fn(&Behavior) -> Option<f64>| self.behavior.as_ref().and_then(rules);
        Tolerance {
            up: given(|b| b.scale_up.as_ref()?.tolerance).unwrap_or(self.tolerance),
            down: given(|b| b.scale_down.as_ref()?.tolerance).unwrap_or(self.tolerance),
        }
    }
}

/// One setting outside its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, e.g. `behavior.scaleUp.policies[0].value`.
    pub path: String,
    /// What is wrong with it, e.g. `0 is not above 0`.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(path: String, what: String) -> Self {
        Self { path, what }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Settings that Kubernetes would reject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("autoscaler settings out of range: {}", self.list())]
pub struct InvalidConfig {
    /// All of them, at least one.
    pub problems: Vec<Problem>,
}

impl InvalidConfig {
    fn list(&self) -> String {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        lines.join("; ")
    }
}
