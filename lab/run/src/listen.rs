//! Follows load that others began (`lab up`, then `GET /start`): samples of every ready generator into the journal and to the autoscaler.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lab_core::control::{LoadState, Sample};
use lab_core::event::Kind;
use lab_core::unit::RunTime;
use lab_env::{EventSink, GeneratorAddress, GeneratorClient, Seen};
use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::RunClock;

/// Time between two looks at a generator that is idle.
const LOOK: Duration = Duration::from_millis(500);

/// Listens to every generator until stopped.
pub struct Listener {
    /// The run's clock.
    pub clock: RunClock,
    /// The ready generators.
    pub generators: watch::Receiver<Vec<GeneratorAddress>>,
    /// Where events go.
    pub events: EventSink,
    /// Where the autoscaler listens.
    pub samples: broadcast::Sender<Arc<Sample>>,
    /// When to stop.
    pub stop: CancellationToken,
}

impl Listener {
    /// Starts a listener for each generator that appears.
    pub async fn run(mut self) {
        let mut known = BTreeSet::new();
        loop {
            let ready = self.generators.borrow_and_update().clone();
            for address in ready {
                if known.insert(address.replica.clone()) {
                    self.follow(&address);
                }
            }
            match self.stop.run_until_cancelled(self.generators.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    fn follow(&self, address: &GeneratorAddress) {
        let client = match GeneratorClient::new(address) {
            Ok(client) => client,
            Err(error) => return tracing::warn!(generator = address.replica, %error, "not followed"),
        };
        let one = One {
            client,
            clock: self.clock,
            events: self.events.clone(),
            samples: self.samples.clone(),
            src: format!("generator.{}", address.replica),
        };
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(one.run()).await });
    }
}

struct One {
    client: GeneratorClient,
    clock: RunClock,
    events: EventSink,
    samples: broadcast::Sender<Arc<Sample>>,
    src: String,
}

impl One {
    /// Ends when nobody takes events any more, or the generator has not answered for a minute.
    async fn run(self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut followed, mut unanswered) = (None, 0);
        while unanswered < 120 {
            look.tick().await;
            let Ok(status) = self.client.status().await else {
                unanswered += 1;
                continue;
            };
            unanswered = 0;
            let running = matches!(status.state, LoadState::Running | LoadState::Paused | LoadState::Draining);
            if running && status.plan != followed {
                let since = status.plan_ns.unwrap_or(0);
                let at = RunTime(self.clock.now().0.saturating_sub(since));
                if !self.tell("run", Kind::LoadStarted { at }).await || !self.stream().await {
                    return;
                }
                followed = status.plan;
            }
        }
    }

    /// False when nobody takes events any more.
    async fn stream(&self) -> bool {
        let mut samples = std::pin::pin!(self.client.samples(1));
        while let Some(Ok(sample)) = samples.next().await {
            let last = sample.last;
            let sample = Arc::new(sample);
            if self.samples.send(Arc::clone(&sample)).is_err() {
                tracing::trace!("no autoscaler listens to samples");
            }
            if !self.tell(&self.src, Kind::Sample(Box::new(Sample::clone(&sample)))).await {
                return false;
            }
            if last {
                break;
            }
        }
        true
    }

    async fn tell(&self, src: &str, kind: Kind) -> bool {
        self.events.send(Seen { src: src.to_owned(), at: None, kind }).await.is_ok()
    }
}
