//! A metric with its target and what was measured, and the proposal that follows from it.
//! The two ways to compute one live in `metric/`: from samples of pods, and from a total.

mod per_pod;
mod total;

use serde::{Deserialize, Serialize};

use self::per_pod::Aim;
use crate::pod::{Groups, Pod};
use crate::wire::null_as_default;

/// A resource that pods request and use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Milli-cores.
    Cpu,
    /// Milli-bytes.
    Memory,
}

impl Resource {
    /// `cpu` or `memory`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// What one pod used: a mean over the `window_ms` that ended `age_ms` ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Milli-units.
    pub value: i64,
    /// Milliseconds since the end of the window.
    #[serde(default)]
    pub age_ms: i64,
    /// Length of the window in milliseconds.
    #[serde(default)]
    pub window_ms: i64,
}

impl Sample {
    /// A sample of this moment, without a window.
    pub fn of(value: i64) -> Self {
        Self { value, age_ms: 0, window_ms: 0 }
    }
}

/// Target of a Resource metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
pub enum ResourceTarget {
    /// Percent of the request.
    Utilization(i32),
    /// Milli-units for each pod.
    AverageValue(i64),
}

/// Target of a Pods metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
pub enum PodsTarget {
    /// Milli-units for each pod.
    AverageValue(i64),
}

/// Target of an Object or External metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
pub enum TotalTarget {
    /// Milli-units that the value itself should have, e.g. a response time; scales what is ready now by the ratio.
    Value(i64),
    /// Milli-units for each replica, e.g. a queue's depth; the total over the share of each.
    AverageValue(i64),
}

/// A metric: its target and what was measured of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Metric {
    /// CPU or memory of the pods.
    Resource {
        /// Which.
        resource: Resource,
        /// What to reach.
        target: ResourceTarget,
        /// One entry a pod, in the order of the pods; `None` = no sample. Entries beyond the pods are orphans.
        #[serde(default, deserialize_with = "null_as_default")]
        samples: Vec<Option<Sample>>,
        /// Samples of pods that are not listed.
        #[serde(default, deserialize_with = "null_as_default")]
        orphans: Vec<Sample>,
    },
    /// A number that each pod reports.
    Pods {
        /// Its name, for the explanation.
        #[serde(default)]
        name: Option<String>,
        /// What to reach.
        target: PodsTarget,
        /// As for `Resource`.
        #[serde(default, deserialize_with = "null_as_default")]
        samples: Vec<Option<Sample>>,
        /// As for `Resource`.
        #[serde(default, deserialize_with = "null_as_default")]
        orphans: Vec<Sample>,
    },
    /// A number of one Kubernetes object.
    Object {
        /// Its name, for the explanation.
        #[serde(default)]
        name: Option<String>,
        /// What to reach.
        target: TotalTarget,
        /// Exactly one value in milli-units; empty = it could not be had.
        #[serde(default, deserialize_with = "null_as_default")]
        values: Vec<i64>,
    },
    /// A number from outside the cluster, e.g. a queue's depth or a response time.
    External {
        /// Its name, for the explanation.
        #[serde(default)]
        name: Option<String>,
        /// What to reach.
        target: TotalTarget,
        /// Values of all matching series in milli-units; empty = none could be had.
        #[serde(default, deserialize_with = "null_as_default")]
        values: Vec<i64>,
    },
}

impl Metric {
    /// The metric Kubernetes follows when none is given (CPU at 80 %), without samples.
    pub fn default_cpu() -> Self {
        Self::Resource {
            resource: Resource::Cpu,
            target: ResourceTarget::Utilization(80),
            samples: Vec::new(),
            orphans: Vec::new(),
        }
    }

    /// Which of the four kinds it is.
    pub fn source(&self) -> Source {
        match self {
            Self::Resource { .. } => Source::Resource,
            Self::Pods { .. } => Source::Pods,
            Self::Object { .. } => Source::Object,
            Self::External { .. } => Source::External,
        }
    }

    /// The resource's name, the given name, or the kind.
    pub fn name(&self) -> &str {
        match self {
            Self::Resource { resource, .. } => resource.name(),
            Self::Pods { name, .. } => name.as_deref().unwrap_or("the pods metric"),
            Self::Object { name, .. } => name.as_deref().unwrap_or("the object metric"),
            Self::External { name, .. } => name.as_deref().unwrap_or("the external metric"),
        }
    }

    /// Its target, whatever the kind.
    pub fn target(&self) -> Target {
        match *self {
            Self::Resource { target: ResourceTarget::Utilization(percent), .. } => Target::Utilization(percent),
            Self::Resource { target: ResourceTarget::AverageValue(value), .. }
            | Self::Pods { target: PodsTarget::AverageValue(value), .. }
            | Self::Object { target: TotalTarget::AverageValue(value), .. }
            | Self::External { target: TotalTarget::AverageValue(value), .. } => Target::AverageValue(value),
            Self::Object { target: TotalTarget::Value(value), .. }
            | Self::External { target: TotalTarget::Value(value), .. } => Target::Value(value),
        }
    }

    /// The size this metric asks for, or why it cannot say.
    pub fn propose(&self, scene: &Scene) -> Proposal {
        let outcome = match self {
            Self::Resource { resource, target, samples, orphans } => {
                let aim = match *target {
                    ResourceTarget::Utilization(percent) => Aim::Utilization(*resource, percent),
                    ResourceTarget::AverageValue(value) => Aim::Average(value),
                };
                per_pod::outcome(aim, *resource == Resource::Cpu, samples, orphans, scene)
            }
            Self::Pods { target: PodsTarget::AverageValue(value), samples, orphans, .. } => {
                per_pod::outcome(Aim::Average(*value), false, samples, orphans, scene)
            }
            Self::Object { target, values, .. } => total::outcome(Source::Object, *target, values, scene),
            Self::External { target, values, .. } => total::outcome(Source::External, *target, values, scene),
        };
        Proposal::new(self, outcome)
    }
}

/// The four kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// CPU or memory.
    Resource,
    /// A number each pod reports.
    Pods,
    /// A number of a Kubernetes object.
    Object,
    /// A number from outside.
    External,
}

impl Source {
    /// Object and External metrics exist without pods: they alone can wake a target of size 0.
    pub fn outlives_pods(self) -> bool {
        matches!(self, Self::Object | Self::External)
    }
}

/// A target without the kind of its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
pub enum Target {
    /// Percent of the request.
    Utilization(i32),
    /// Milli-units for each replica.
    AverageValue(i64),
    /// Milli-units in all.
    Value(i64),
}

/// How far a ratio may be from 1 on each side before anything changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Above 1.
    pub up: f64,
    /// Below 1.
    pub down: f64,
}

impl Tolerance {
    /// The same on both sides.
    pub fn both(tolerance: f64) -> Self {
        Self { up: tolerance, down: tolerance }
    }

    /// In exactly this form: rounding decides cases such as a ratio of 1.1 with a tolerance of 0.1.
    pub fn within(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What a proposal depends on beside the metric.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// `spec.replicas` of the target.
    pub current: i32,
    /// `status.replicas` of the target.
    pub status_replicas: i32,
    /// The pods behind it.
    pub pods: &'a [Pod],
    /// When to stay.
    pub tolerance: Tolerance,
    /// How long after its start a pod's CPU may mislead.
    pub cpu_initialization_period_ms: i64,
    /// Until when after its start a pod that became unready counts as never having been ready.
    pub initial_readiness_delay_ms: i64,
}

/// Why a metric has no proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum MetricError {
    /// The metrics API failed or returned nothing.
    #[error("metrics_unavailable")]
    MetricsUnavailable,
    /// Nothing stands behind the target.
    #[error("no_pods")]
    NoPods,
    /// Every sample belongs to a pod that is ignored or unready.
    #[error("no_usable_samples")]
    NoUsableSamples,
    /// A utilization needs the request of every pod.
    #[error("missing_request")]
    MissingRequest,
    /// The samples belong to pods that request nothing or are not listed.
    #[error("no_matching_requests")]
    NoMatchingRequests,
}

/// Which rule a proposal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The ratio times the replicas that count.
    Ratio,
    /// The ratio is within the tolerance: stay.
    WithinTolerance,
    /// As `Ratio`, after missing and unready pods were filled in to the safe side.
    Filled,
    /// With missing and unready pods filled in it would be within the tolerance or turn around: stay.
    FilledHolds,
    /// The total over the share of each replica.
    Share,
}

/// What one metric asks for. Either `replicas` or `error` is set; with an error so is nothing else but the first three.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Name of the metric.
    pub metric: String,
    /// Kind of the metric.
    pub source: Source,
    /// What was to be reached.
    pub target: Target,
    /// The size asked for.
    pub replicas: Option<i32>,
    /// Percent of the requests, for a utilization.
    pub utilization: Option<i32>,
    /// Milli-units: the mean of a pod or replica, or the value itself for a `Value` target.
    pub usage: Option<i64>,
    /// Milli-units: the sum of the values of an Object or External metric.
    pub total: Option<i64>,
    /// Measured over target; `None` where it is no finite number.
    pub ratio: Option<f64>,
    /// The ratio after missing and unready pods were filled in, where that was done.
    pub filled_ratio: Option<f64>,
    /// How the pods were grouped, for Resource and Pods metrics.
    pub groups: Option<Groups>,
    /// The rule that gave `replicas`.
    pub basis: Option<Basis>,
    /// Why there is none.
    pub error: Option<MetricError>,
}

impl Proposal {
    /// A valid proposal of an External metric that only a recording knows.
    pub(crate) fn external(replicas: i32) -> Self {
        let target = TotalTarget::AverageValue(1000);
        let metric = Metric::External { name: Some("the recorded metric".to_owned()), target, values: Vec::new() };
        let nothing = Self::new(&metric, Err(MetricError::MetricsUnavailable));
        Self { replicas: Some(replicas), error: None, ..nothing }
    }

    fn new(metric: &Metric, outcome: Result<Outcome, MetricError>) -> Self {
        let finite = |ratio: f64| ratio.is_finite().then_some(ratio);
        let (outcome, error) = match outcome {
            Ok(outcome) => (Some(outcome), None),
            Err(error) => (None, Some(error)),
        };
        let o = outcome.as_ref();
        Self {
            metric: metric.name().to_owned(),
            source: metric.source(),
            target: metric.target(),
            replicas: o.map(|o| o.replicas),
            utilization: o.and_then(|o| o.utilization),
            usage: o.and_then(|o| o.usage),
            total: o.and_then(|o| o.total),
            ratio: o.and_then(|o| finite(o.ratio)),
            filled_ratio: o.and_then(|o| o.filled_ratio).and_then(finite),
            groups: o.and_then(|o| o.groups),
            basis: o.map(|o| o.basis),
            error,
        }
    }
}

struct Outcome {
    replicas: i32,
    utilization: Option<i32>,
    usage: Option<i64>,
    total: Option<i64>,
    ratio: f64,
    filled_ratio: Option<f64>,
    groups: Option<Groups>,
    basis: Basis,
}

/// The next whole number of replicas, at the ends of `i32` when it lies beyond.
pub(crate) fn ceil(replicas: f64) -> i32 {
    replicas.ceil() as i32
}
