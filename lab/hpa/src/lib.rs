//! The algorithm of Kubernetes' HorizontalPodAutoscaler (v1.37) as a pure library: what was seen and a time in,
//! a [`Decision`] and its reasons out. No I/O, no clock, no randomness; the caller measures, waits and scales.
//!
//! One [`Autoscaler`] follows one scale target. Call [`Autoscaler::sync`] every [`Config::sync_period_ms`] with the pods
//! and the metrics as they are, set the target's size to [`Decision::desired`], and keep the decision: it says in
//! one sentence ([`Decision::why`]) what it wants and why.
//!
//! ```
//! use lab_hpa::{Autoscaler, Config, Input, Metric, Pod, Resource, ResourceTarget, Sample};
//!
//! let mut autoscaler = Autoscaler::new(Config::new(1, 10));
//! let input = Input {
//!     current: 2,
//!     pods: vec![Pod::running(3_600_000).with_cpu(250), Pod::running(3_600_000).with_cpu(250)],
//!     metrics: vec![Metric::Resource {
//!         resource: Resource::Cpu,
//!         target: ResourceTarget::Utilization(70),
//!         samples: vec![Some(Sample::of(350)), Some(Sample::of(360))],
//!         orphans: vec![],
//!     }],
//!     ..Input::default()
//! };
//! let decision = autoscaler.sync(0, &input);
//! assert_eq!(decision.desired, 4);
//! assert_eq!(decision.why, "wants 4 (was 2): cpu 142 % of 70 %, ratio 2.03 asks for 5; rate limit allows 4");
//! ```
//!
//! # Units
//!
//! Times and ages are integers in milliseconds. Metric values, requests and targets are milli-units in `i64`
//! (250 m CPU = 250, 100 MiB = 104 857 600 000, a queue of 3 = 3000); a utilization target is a percentage.
//!
//! # Arithmetic
//!
//! Sums and integer divisions wrap as the original's do. Where the original converts a float beyond the range of an
//! integer, the result of which depends on its platform, this library saturates.

pub mod behavior;

mod autoscaler;
mod config;
mod decision;
mod limit;
mod memory;
mod metric;
mod pod;
mod replay;
mod stabilize;
mod trace;
mod wire;

pub use autoscaler::{Autoscaler, Input};
pub use behavior::{Behavior, PolicyType, ScalingPolicy, ScalingRules, SelectPolicy};
pub use config::{Config, InvalidConfig, Problem};
pub use decision::{Active, Decision, Limit, Reason, Stabilization};
pub use memory::{Memory, Recommendation, ScaleEvent};
pub use metric::{
    Basis, Metric, MetricError, PodsTarget, Proposal, Resource, ResourceTarget, Sample, Scene, Source, Target,
    Tolerance, TotalTarget,
};
pub use pod::{Groups, Phase, Pod, Readiness, Requests};
pub use replay::{ReplayError, replay_line};
