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

/// A plan whose last sample has not come yet.
struct Following {
    plan: String,
    /// Number of the sample that is wanted next.
    next: u64,
}

/// How a stream of samples ended.
enum Ending {
    /// With the last sample.
    Last,
    /// Before it.
    Broken,
    /// Nobody takes events any more.
    NobodyListens,
}

impl One {
    /// Ends when nobody takes events any more, or the generator has not answered for a minute.
    async fn run(self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut followed, mut following, mut unanswered) = (None, None::<Following>, 0);
        while unanswered < 120 {
            look.tick().await;
            let Ok(status) = self.client.status().await else {
                unanswered += 1;
                continue;
            };
            unanswered = 0;
            if following.as_ref().is_some_and(|f| status.plan.as_ref() != Some(&f.plan))
                && !self.gave_up(following.take()).await
            {
                return;
            }
            let running = matches!(status.state, LoadState::Running | LoadState::Paused | LoadState::Draining);
            // A plan that ended while its stream was broken still has samples to give.
            let Some(plan) = status.plan.filter(|_| running || following.is_some()) else { continue };
            if followed.as_ref() == Some(&plan) {
                continue;
            }
            if following.is_none() {
                let at = RunTime(self.clock.now().0.saturating_sub(status.plan_ns.unwrap_or(0)));
                if !self.tell("run", Kind::LoadStarted { at }).await {
                    return;
                }
            }
            let current = following.get_or_insert(Following { plan, next: 1 });
            match self.stream(current).await {
                Ending::Last => followed = following.take().map(|f| f.plan),
                Ending::Broken => {}
                Ending::NobodyListens => return,
            }
        }
        self.gave_up(following).await;
    }

    /// The rest of a plan will not come. False when nobody takes events any more.
    async fn gave_up(&self, following: Option<Following>) -> bool {
        match following {
            Some(following) => self.lost(following.next, 1).await,
            None => true,
        }
    }

    async fn lost(&self, from_seq: u64, count: u64) -> bool {
        self.tell("run", Kind::SampleLost { generator: self.client.replica().to_owned(), from_seq, count }).await
    }

    async fn stream(&self, following: &mut Following) -> Ending {
        let mut samples = std::pin::pin!(self.client.samples(following.next));
        while let Some(Ok(sample)) = samples.next().await {
            if sample.plan != following.plan {
                // The next look finds the new plan.
                return Ending::Broken;
            }
            let missing = sample.seq.saturating_sub(following.next);
            if missing > 0 && !self.lost(following.next, missing).await {
                return Ending::NobodyListens;
            }
            following.next = sample.seq + 1;
            let last = sample.last;
            let sample = Arc::new(sample);
            if self.samples.send(Arc::clone(&sample)).is_err() {
                tracing::trace!("no autoscaler listens to samples");
            }
            if !self.tell(&self.src, Kind::Sample(Box::new(Sample::clone(&sample)))).await {
                return Ending::NobodyListens;
            }
            if last {
                return Ending::Last;
            }
        }
        Ending::Broken
    }

    async fn tell(&self, src: &str, kind: Kind) -> bool {
        self.events.send(Seen { src: src.to_owned(), at: None, kind }).await.is_ok()
    }
}
