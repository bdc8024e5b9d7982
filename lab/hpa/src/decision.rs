//! What one sync decided, in the words of the HPA's conditions and events. A plain record, fit for a journal.

use serde::{Deserialize, Serialize};

use crate::metric::Proposal;

/// What one sync decided. What a sync did not come to is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The size that was found.
    pub current: i32,
    /// The size to set; equal to `current` without a rescale.
    pub desired: i32,
    /// Whether they differ.
    pub rescale: bool,
    /// Why it rescales.
    pub reason: Option<Reason>,
    /// One proposal a metric, in their order; empty where the metrics were not read.
    pub proposals: Vec<Proposal>,
    /// Index of the proposal that counts; `None` where the metrics stage failed or was not reached.
    pub winner: Option<usize>,
    /// What that one asks for.
    pub proposal: Option<i32>,
    /// The size after stabilization.
    pub stabilized: Option<i32>,
    /// What stabilization did.
    pub stabilization: Option<Stabilization>,
    /// What the rate alone allows in the direction of the wish, before minimum and maximum.
    pub rate_allows: Option<i32>,
    /// Which limit was met.
    pub limit: Option<Limit>,
    /// Whether it changed the size.
    pub limited: Option<bool>,
    /// Whether the metrics can be followed.
    pub active: Option<Active>,
    /// What it wants and why, in one sentence without a full stop.
    pub why: String,
}

impl Decision {
    pub(crate) fn stay(current: i32) -> Self {
        Self {
            current,
            desired: current,
            rescale: false,
            reason: None,
            proposals: Vec::new(),
            winner: None,
            proposal: None,
            stabilized: None,
            stabilization: None,
            rate_allows: None,
            limit: None,
            limited: None,
            active: None,
            why: String::new(),
        }
    }
}

/// Why a rescale happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The size that was found is above the maximum.
    AboveMax,
    /// It is below the minimum.
    BelowMin,
    /// A metric is above its target.
    MetricAbove,
    /// All metrics are below their targets.
    MetricsBelow,
    /// The metrics ask for the size that is; an earlier recommendation moves it.
    None,
}

/// What stabilization did; reasons of the condition AbleToScale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stabilization {
    /// Nothing.
    ReadyForNewScale,
    /// Held a rise back to the lowest recent recommendation.
    ScaleUpStabilized,
    /// Held a fall back to the highest recent recommendation.
    ScaleDownStabilized,
}

/// Which limit was met; reasons of the condition ScalingLimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// None.
    DesiredWithinRange,
    /// The rate of the way up.
    ScaleUpLimit,
    /// The rate of the way down.
    ScaleDownLimit,
    /// The maximum.
    TooManyReplicas,
    /// The minimum.
    TooFewReplicas,
}

/// Whether the metrics can be followed; reasons of the condition ScalingActive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Active {
    /// Yes.
    ValidMetricFound,
    /// The size is 0 and not by the autoscaler's doing.
    ScalingDisabled,
    /// No: the first metric that failed is a Resource metric.
    FailedGetResourceMetric,
    /// … a Pods metric.
    FailedGetPodsMetric,
    /// … an Object metric.
    FailedGetObjectMetric,
    /// … an External metric.
    FailedGetExternalMetric,
}
