//! One sync after another: the order of the steps, and the state between them. What each step computes lives in
//! `metric`, `stabilize` and `limit`; the sentence about it in `trace`.

use serde::{Deserialize, Serialize};

use crate::behavior::Filled;
use crate::config::Config;
use crate::decision::{Active, Decision, Reason};
use crate::limit::{self, Bounds};
use crate::memory::Memory;
use crate::metric::{Metric, Proposal, Scene, Source};
use crate::pod::Pod;
use crate::stabilize::{self, Stabilized};
use crate::trace;
use crate::wire::null_as_default;

/// What was seen of the scale target for one sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// `spec.replicas`: the size that was last asked for.
    pub current: i32,
    /// `status.replicas`: the size that is; `None` = the same as `current`.
    #[serde(default)]
    pub status_replicas: Option<i32>,
    /// The replicas behind the target.
    #[serde(default, deserialize_with = "null_as_default")]
    pub pods: Vec<Pod>,
    /// The metrics to follow with what was measured; empty = [`Metric::default_cpu`].
    #[serde(default, deserialize_with = "null_as_default")]
    pub metrics: Vec<Metric>,
}

/// The autoscaler of one scale target.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    config: Config,
    rules: Option<Filled>,
    memory: Memory,
}

impl Autoscaler {
    /// One that remembers nothing, as after a restart of the controller. Any settings are taken; check those that a
    /// person wrote with [`Config::validate`] first.
    pub fn new(config: Config) -> Self {
        Self::with_memory(config, Memory::default())
    }

    /// One that goes on from what another remembered.
    pub fn with_memory(config: Config, memory: Memory) -> Self {
        let rules = Self::rules(&config);
        Self { config, rules, memory }
    }

    /// Changes the settings and keeps the memory, as an edit of the HPA does.
    pub fn reconfigure(&mut self, config: Config) {
        self.rules = Self::rules(&config);
        self.config = config;
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it remembers.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// One sync at `now_ms`, a time on any clock that does not fall. The caller sets the size to
    /// [`Decision::desired`]; the autoscaler counts on it when it limits the next change.
    pub fn sync(&mut self, now_ms: i64, input: &Input) -> Decision {
        let default = [Metric::default_cpu()];
        let metrics = if input.metrics.is_empty() { &default } else { input.metrics.as_slice() };
        let scene = Scene {
            current: input.current,
            status_replicas: input.status_replicas.unwrap_or(input.current),
            pods: &input.pods,
            tolerance: self.config.tolerances(),
            cpu_initialization_period_ms: self.config.cpu_initialization_period_ms,
            initial_readiness_delay_ms: self.config.initial_readiness_delay_ms,
        };
        let outlives_pods = metrics.iter().any(|metric| metric.source().outlives_pods());
        let propose = || metrics.iter().map(|metric| metric.propose(&scene)).collect();
        self.decide(now_ms, input.current, outlives_pods, propose)
    }

    /// A sync whose metrics stage is given; it is asked only if the sync comes to it.
    pub(crate) fn decide(
        &mut self,
        now_ms: i64,
        current: i32,
        outlives_pods: bool,
        propose: impl FnOnce() -> Vec<Proposal>,
    ) -> Decision {
        self.memory.begin(now_ms, current);
        let mut decision = Decision::stay(current);
        let mut held = None;
        let Config { min, max, .. } = self.config;
        if current == 0 && !(self.memory.scaled_to_zero && (min != 0 || outlives_pods)) {
            decision.active = Some(Active::ScalingDisabled);
        } else if current != 0 && current > max {
            decision.desired = max;
            decision.reason = Some(Reason::AboveMax);
        } else if current != 0 && current < min {
            decision.desired = min;
            decision.reason = Some(Reason::BelowMin);
        } else {
            decision.proposals = propose();
            if let Some(proposed) = choose(&mut decision) {
                held = Some(self.normalize(now_ms, proposed, &mut decision));
            }
        }
        self.settle(now_ms, outlives_pods, &mut decision);
        decision.why = trace::why(&decision, &self.config, held.as_ref());
        decision
    }

    /// Stabilizes, records and limits a proposal.
    fn normalize(&mut self, now_ms: i64, proposed: i32, decision: &mut Decision) -> Stabilized {
        let current = decision.current;
        let Config { min, max, downscale_stabilization_ms: window_ms, .. } = self.config;
        let bounds = Bounds { min, max };
        let recommendations = &self.memory.recommendations;
        let (held, limited, longest_window_ms) = match &self.rules {
            None => {
                let held = stabilize::plain(recommendations, now_ms, proposed, window_ms);
                (held, limit::plain(current, held.size, bounds), window_ms)
            }
            Some(rules) => {
                let held = stabilize::with_behavior(recommendations, now_ms, current, proposed, rules);
                let limited = limit::with_behavior(&self.memory, now_ms, current, held.size, bounds, rules);
                (held, limited, rules.up.window_ms.max(rules.down.window_ms))
            }
        };
        self.memory.recommend(now_ms, proposed, longest_window_ms);

        decision.reason = Some(match proposed.cmp(&current) {
            std::cmp::Ordering::Greater => Reason::MetricAbove,
            std::cmp::Ordering::Less => Reason::MetricsBelow,
            std::cmp::Ordering::Equal => Reason::None,
        });
        decision.stabilized = Some(held.size);
        decision.stabilization = Some(held.verdict);
        decision.limit = Some(limited.limit);
        decision.limited = Some(limited.size != held.size);
        decision.rate_allows = limited.rate;
        decision.desired = limited.size;
        if current == 0 && limited.size < min && min != 0 {
            decision.desired = min;
            if decision.reason == Some(Reason::None) {
                decision.reason = Some(Reason::BelowMin);
            }
        }
        held
    }

    fn settle(&mut self, now_ms: i64, outlives_pods: bool, decision: &mut Decision) {
        let (from, to) = (decision.current, decision.desired);
        decision.rescale = from != to;
        if !decision.rescale {
            decision.reason = None;
            return;
        }
        if let Some(rules) = &self.rules {
            self.memory.scaled(now_ms, from, to, rules);
        }
        self.memory.scaled_to_zero = from > 0 && to == 0 && self.config.min == 0 && outlives_pods;
    }

    fn rules(config: &Config) -> Option<Filled> {
        config.behavior.as_ref().map(|behavior| behavior.filled(config.downscale_stabilization_ms))
    }
}

/// Picks the proposal that counts and says whether the metrics can be followed. A failed metric blocks the way down,
/// because it might have asked for more, and never the way up. A negative proposal is none at all.
fn choose(decision: &mut Decision) -> Option<i32> {
    let mut best: Option<(usize, i32)> = None;
    for (i, replicas) in decision.proposals.iter().enumerate().filter_map(|(i, p)| Some((i, p.replicas?))) {
        if best.is_none_or(|(_, held)| held == 0 || replicas > held) {
            best = Some((i, replicas));
        }
    }
    let failed = decision.proposals.iter().find(|proposal| proposal.error.is_some());
    match (best, failed) {
        (Some((winner, replicas)), failed) if failed.is_none() || replicas >= decision.current => {
            decision.active = Some(Active::ValidMetricFound);
            decision.winner = Some(winner);
            decision.proposal = Some(replicas);
            Some(replicas.max(0))
        }
        (_, failed) => {
            decision.active = failed.map(|proposal| match proposal.source {
                Source::Resource => Active::FailedGetResourceMetric,
                Source::Pods => Active::FailedGetPodsMetric,
                Source::Object => Active::FailedGetObjectMetric,
                Source::External => Active::FailedGetExternalMetric,
            });
            None
        }
    }
}
