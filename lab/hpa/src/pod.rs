//! What the autoscaler sees of a pod, and the group each pod falls into for one metric.

use serde::{Deserialize, Serialize};

use crate::metric::{Resource, Sample};
use crate::wire::null_as_default;

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Accepted, not all containers started.
    Pending,
    /// Bound to a node, at least one container runs.
    Running,
    /// All containers ended well; counts like `Running`.
    Succeeded,
    /// Ended with an error; ignored.
    Failed,
    /// The node cannot be asked; counts like `Running`.
    Unknown,
}

/// Status of a pod's Ready condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// Serves requests.
    True,
    /// Does not.
    False,
    /// Not known; not the same as `False`.
    Unknown,
    /// The pod has no such condition yet.
    #[default]
    #[serde(rename = "None")]
    Absent,
}

/// The requests of a whole pod in milli-units; `None` when some container requests nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Milli-cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i64>,
    /// Milli-bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
}

impl Requests {
    /// The request for one resource.
    pub fn of(&self, resource: Resource) -> Option<i64> {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
        }
    }
}

/// One pod (or any other replica) behind the scale target. Ages count back from the moment of the sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its phase.
    pub phase: Phase,
    /// Its Ready condition.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ready: Readiness,
    /// Milliseconds since the Ready condition last changed; `None` counts as long ago.
    #[serde(default)]
    pub ready_age_ms: Option<i64>,
    /// Milliseconds since it started; `None` = not started.
    #[serde(default)]
    pub start_age_ms: Option<i64>,
    /// It has a deletion timestamp.
    #[serde(default, deserialize_with = "null_as_default")]
    pub deleted: bool,
    /// What it requests.
    #[serde(default, deserialize_with = "null_as_default")]
    pub request: Requests,
}

impl Pod {
    /// A pod that started `age_ms` ago and has been ready since.
    pub fn running(age_ms: i64) -> Self {
        Self {
            phase: Phase::Running,
            ready: Readiness::True,
            ready_age_ms: Some(age_ms),
            start_age_ms: Some(age_ms),
            deleted: false,
            request: Requests::default(),
        }
    }

    /// The same pod with a CPU request in milli-cores.
    #[must_use]
    pub fn with_cpu(mut self, millicores: i64) -> Self {
        self.request.cpu = Some(millicores);
        self
    }

    /// The same pod with a memory request in milli-bytes.
    #[must_use]
    pub fn with_memory(mut self, millibytes: i64) -> Self {
        self.request.memory = Some(millibytes);
        self
    }

    /// Running and Ready: what a `Value` target multiplies with.
    pub(crate) fn serves(&self) -> bool {
        self.phase == Phase::Running && self.ready == Readiness::True
    }

    pub(crate) fn group(&self, sample: Option<&Sample>, rule: ReadinessRule) -> Group {
        if self.deleted || self.phase == Phase::Failed {
            return Group::Ignored;
        }
        if self.phase == Phase::Pending {
            return Group::Unready;
        }
        match (sample, rule) {
            (None, _) => Group::Missing,
            (Some(sample), ReadinessRule::Cpu { initialization_ms, delay_ms })
                if self.cpu_sample_misleads(sample, initialization_ms, delay_ms) =>
            {
                Group::Unready
            }
            _ => Group::Ready,
        }
    }

    /// A starting pod burns CPU that says nothing about load, so its sample is set aside until the pod has been ready
    /// for a whole window, or is past its initialization and was ready once.
    fn cpu_sample_misleads(&self, sample: &Sample, initialization_ms: i64, delay_ms: i64) -> bool {
        let Some(start_age) = self.start_age_ms else {
            return true;
        };
        let ready_age = self.ready_age_ms.unwrap_or(i64::MAX);
        match self.ready {
            Readiness::Absent => true,
            _ if start_age < initialization_ms => {
                self.ready == Readiness::False || sample.age_ms > ready_age.saturating_sub(sample.window_ms)
            }
            Readiness::False => ready_age > start_age.saturating_sub(delay_ms),
            Readiness::True | Readiness::Unknown => false,
        }
    }
}

/// Whether readiness matters for a metric: only CPU asks more than "not Pending".
#[derive(Clone, Copy)]
pub(crate) enum ReadinessRule {
    Cpu { initialization_ms: i64, delay_ms: i64 },
    PhaseOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Ready,
    Unready,
    Missing,
    Ignored,
}

/// How many pods fell into each group for one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// With a sample that counts.
    pub ready: usize,
    /// Starting or not ready; their samples are left out, and count as 0 on the way up.
    pub unready: usize,
    /// Without a sample.
    pub missing: usize,
    /// Deleted or failed.
    pub ignored: usize,
}

impl Groups {
    pub(crate) fn count(&mut self, group: Group) {
        match group {
            Group::Ready => self.ready += 1,
            Group::Unready => self.unready += 1,
            Group::Missing => self.missing += 1,
            Group::Ignored => self.ignored += 1,
        }
    }
}
