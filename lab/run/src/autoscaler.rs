//! The autoscaler's loop for environments without one of their own: scrape, sync, scale. What it decides is `lab-hpa`'s affair;
//! how it gets its numbers is in the file below.

mod pipeline;

use std::sync::Arc;
use std::time::Instant;

use lab_core::control::Sample;
use lab_core::event::{Decided, Kind, SeenMetric};
use lab_core::spec::{Autoscale, AutoscalerSettings, Metric, Resources};
use lab_core::unit::Span;
use lab_env::{EnvError, Environment, EventSink, ReplicaPhase, ReplicaState, Seen};
use lab_hpa::{Autoscaler, Config, Decision, Input, Phase, Pod, Readiness, Requests};
use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::pipeline::Pipeline;
use crate::observe::Latest;

/// The loop of one workload.
pub struct Loop {
    /// Where it runs.
    pub environment: Arc<dyn Environment>,
    /// The workload.
    pub workload: String,
    /// What it follows, between which sizes.
    pub autoscale: Autoscale,
    /// The controller's settings.
    pub settings: AutoscalerSettings,
    /// A replica's requests.
    pub resources: Resources,
    /// Where decisions go.
    pub events: EventSink,
    /// What the generators measured.
    pub samples: broadcast::Receiver<Arc<Sample>>,
    /// What the workload's replicas count.
    pub gauges: watch::Receiver<Latest>,
    /// When to stop.
    pub stop: CancellationToken,
}

impl Loop {
    /// Syncs until stopped.
    pub async fn run(mut self) {
        let mut engine = Autoscaler::new(config(&self.autoscale, &self.settings));
        let mut pipeline = Pipeline::new(self.settings.metric_resolution);
        let began = Instant::now();
        let mut scrape = interval(self.settings.metric_resolution.to_duration());
        let mut sync = interval(self.settings.sync_period.to_duration());
        for timer in [&mut scrape, &mut sync] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                sample = self.samples.recv() => match sample {
                    Ok(sample) => pipeline.sample(&sample),
                    // Missed samples are missing data, which the window shows by itself.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = scrape.tick() => self.scrape(&mut pipeline).await,
                _ = sync.tick() => {
                    let now_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
                    if let Err(error) = self.sync(&mut engine, &pipeline, now_ms).await {
                        tracing::warn!(workload = self.workload, %error, "sync failed");
                    }
                }
            }
        }
    }

    async fn scrape(&self, pipeline: &mut Pipeline) {
        match self.environment.observe(&self.workload).await {
            Ok(usage) => pipeline.usage(Instant::now(), &usage),
            Err(error) => tracing::debug!(workload = self.workload, %error, "scrape failed"),
        }
    }

    async fn sync(&self, engine: &mut Autoscaler, pipeline: &Pipeline, now_ms: i64) -> Result<(), EnvError> {
        let now = Instant::now();
        let replicas = self.environment.replicas(&self.workload).await?;
        let current = i32::try_from(self.environment.wanted(&self.workload).await?).unwrap_or(i32::MAX);
        let gauges = self.gauges.borrow().clone();
        let read: Vec<_> =
            self.autoscale.metrics.iter().map(|m| pipeline.read(m, &replicas, gauges.as_ref(), now)).collect();
        let status = replicas.iter().filter(|r| r.phase != ReplicaPhase::Terminating).count();
        let input = Input {
            current,
            status_replicas: i32::try_from(status).ok(),
            pods: replicas.iter().map(|r| pod(r, &self.resources, now)).collect(),
            metrics: read.iter().map(|r| r.metric.clone()).collect(),
        };
        let decision = engine.sync(now_ms, &input);
        let (rescale, desired) = (decision.rescale, decision.desired);
        let seen = seen(&self.autoscale.metrics, &decision, read.iter().map(|r| r.age));
        let decided = Decided { workload: self.workload.clone(), decision, seen };
        let kind = Kind::Decided(Box::new(decided));
        if self.events.send(Seen { src: "autoscaler".to_owned(), at: Some(now), kind }).await.is_err() {
            tracing::debug!("the conductor is gone");
        }
        if rescale {
            self.environment.scale(&self.workload, u32::try_from(desired).unwrap_or(0), "autoscaler").await?;
        }
        Ok(())
    }
}

fn config(autoscale: &Autoscale, settings: &AutoscalerSettings) -> Config {
    let ms = |span: Span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let size = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    Config {
        behavior: autoscale.behavior.clone(),
        sync_period_ms: ms(settings.sync_period),
        downscale_stabilization_ms: ms(settings.downscale_stabilization),
        tolerance: settings.tolerance,
        cpu_initialization_period_ms: ms(settings.cpu_initialization_period),
        initial_readiness_delay_ms: ms(settings.initial_readiness_delay),
        ..Config::new(size(autoscale.min), size(autoscale.max))
    }
}

fn pod(replica: &ReplicaState, resources: &Resources, now: Instant) -> Pod {
    let age = |since: Instant| i64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(i64::MAX);
    Pod {
        phase: match replica.phase {
            ReplicaPhase::Pending => Phase::Pending,
            ReplicaPhase::Running | ReplicaPhase::Terminating => Phase::Running,
            ReplicaPhase::Failed => Phase::Failed,
        },
        ready: match replica.ready {
            None => Readiness::Absent,
            Some(true) => Readiness::True,
            Some(false) => Readiness::False,
        },
        ready_age_ms: replica.ready_since.map(age),
        start_age_ms: replica.started.map(age),
        deleted: replica.phase == ReplicaPhase::Terminating,
        request: Requests {
            cpu: resources.cpu.and_then(|cpu| i64::try_from(cpu.0).ok()),
            memory: resources.memory.and_then(|memory| i64::try_from(memory.0).ok()?.checked_mul(1000)),
        },
    }
}

/// What the engine was given, in the units of the spec.
fn seen(metrics: &[Metric], decision: &Decision, ages: impl Iterator<Item = Option<Span>>) -> Vec<SeenMetric> {
    let shown = |(index, (metric, age)): (usize, (&Metric, Option<Span>))| {
        let proposal = decision.proposals.get(index);
        let percent = proposal.and_then(|p| p.utilization).map(|p| p as f64);
        let usage = proposal.and_then(|p| p.usage).map(|u| u as f64 / 1000.0);
        let (value, target) = match metric {
            Metric::Cpu(share) | Metric::Memory(share) => (percent, share.0 * 100.0),
            Metric::ResponseTime(limit) | Metric::SendLag(limit) => (usage, limit.0 as f64 / 1e6),
            Metric::QueueDepth(depth) => (usage, *depth as f64),
        };
        SeenMetric { metric: metric.name().to_owned(), value, target, age }
    };
    metrics.iter().zip(ages).enumerate().map(shown).collect()
}
