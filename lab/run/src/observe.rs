//! Looks at the replicas, at what they count, and at `lab` itself, once a second, and announces what it sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_core::event::Kind;
use lab_core::unit::Span;
use lab_env::{Environment, EventSink, Seen, proc};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::gauges::{Gauges, Reading};

const EVERY: Duration = Duration::from_secs(1);
const COST_EVERY: Duration = Duration::from_secs(10);

/// The newest gauges of a workload, and when they were read.
pub type Latest = Option<(Instant, BTreeMap<String, f64>)>;

/// Watches one workload until stopped.
pub struct Watcher {
    /// Where it runs.
    pub environment: Arc<dyn Environment>,
    /// The workload.
    pub workload: String,
    /// Where events go.
    pub events: EventSink,
    /// Where the autoscaler and the drain look for gauges.
    pub gauges: watch::Sender<Latest>,
    /// When to stop.
    pub stop: CancellationToken,
}

impl Watcher {
    /// Looks once a second.
    pub async fn run(self) {
        let mut reader = match Gauges::new() {
            Ok(reader) => reader,
            Err(error) => return tracing::warn!(workload = self.workload, %error, "not watched"),
        };
        let mut read_before = None;
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.stop.run_until_cancelled(tick.tick()).await.is_some() {
            if !self.usage().await || !self.counts(&mut reader, &mut read_before).await {
                return;
            }
        }
    }

    /// False when nobody listens any more.
    async fn usage(&self) -> bool {
        match self.environment.observe(&self.workload).await {
            Ok(replicas) => self.tell(Kind::Observed { workload: self.workload.clone(), replicas }).await,
            Err(error) => {
                tracing::debug!(workload = self.workload, %error, "not observed");
                true
            }
        }
    }

    async fn counts(&self, reader: &mut Gauges, read_before: &mut Option<Instant>) -> bool {
        let Ok(endpoints) = self.environment.endpoints(&self.workload) else { return true };
        let endpoints = endpoints.borrow().clone();
        if endpoints.is_empty() {
            return true;
        }
        let Some(Reading { values, end_to_end }) = reader.read(&endpoints).await else { return true };
        let (now, workload) = (Instant::now(), self.workload.clone());
        let over = now.duration_since(read_before.replace(now).unwrap_or(now));
        self.gauges.send_replace(Some((now, values.clone())));
        let told = end_to_end.is_empty() || {
            let over = Span(u64::try_from(over.as_nanos()).unwrap_or(u64::MAX));
            self.tell(Kind::EndToEnd { workload: workload.clone(), over, delays: end_to_end.encode() }).await
        };
        told && self.tell(Kind::Gauges { workload, values }).await
    }

    async fn tell(&self, kind: Kind) -> bool {
        self.events.send(Seen { src: "observer".to_owned(), at: None, kind }).await.is_ok()
    }
}

/// Announces what `lab` itself costs, until stopped, and once more then.
pub async fn own_cost(events: EventSink, stop: CancellationToken) {
    let own = std::process::id();
    let (mut since, mut before) = (Instant::now(), proc::usage(own).ok());
    let mut tick = interval(COST_EVERY);
    tick.tick().await;
    loop {
        let going_on = stop.run_until_cancelled(tick.tick()).await.is_some();
        let now = proc::usage(own).ok();
        if let (Some(before), Some(now)) = (&before, &now) {
            let over = Span(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
            let cpu_ns = now.cpu_ns.saturating_sub(before.cpu_ns);
            let kind = Kind::ObserverCost { cpu_ns, over, rss_bytes: now.rss_bytes };
            if events.send(Seen { src: "observer".to_owned(), at: None, kind }).await.is_err() {
                return;
            }
        }
        if !going_on {
            return;
        }
        (since, before) = (Instant::now(), now);
    }
}
