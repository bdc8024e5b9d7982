//! The consumers: from the queue into the inbox of the user it is for, once per message id.
//!
//! This replica's cached copy of the inbox is dropped when it stores a message for it. Other replicas' copies live on until their time
//! to live ends, so a read there may lag behind by `--cache-ttl`.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Histogram;
use backing::queue::Delivery;
use backing::store::Message;
use backing::{Error, Queue};
use kit::consume::{Consumer, Outcome, Repeats, consume};
use kit::{Builder, Burner};

use crate::Config;
use crate::routes::{State, cache_key, now_us};

/// The queue's name, and the `queue` label of its metrics.
pub const QUEUE: &str = "messages";

/// Keeps the gauges of the queue fresh.
pub(crate) fn observe(builder: Builder, queue: &Arc<dyn Queue>) -> Builder {
    let metrics = builder.metrics();
    metrics.describe("lab_queue_depth", "Messages not yet acknowledged by a consumer, those in work included");
    metrics.describe("lab_queue_dead_letters", "Messages given up after too many deliveries");
    metrics.describe("lab_queue_consumed_total", "Messages that took effect and were acknowledged");
    metrics.describe("lab_message_end_to_end_seconds", "Time from a message's send to its place in the store");
    let depth = metrics.gauge("lab_queue_depth", &[("queue", QUEUE)]);
    let dead = metrics.gauge("lab_queue_dead_letters", &[]);
    let queue = queue.clone();
    builder.on_scrape(move || {
        let (queue, depth, dead) = (queue.clone(), depth.clone(), dead.clone());
        async move {
            // A queue that does not answer makes a gap, not a wrong number.
            let now = queue.depth().await.ok();
            depth.set(now.map_or(f64::NAN, |now| (now.visible + now.in_flight) as f64));
            dead.set(now.map_or(f64::NAN, |now| now.dead as f64));
        }
    })
}

/// Starts the consumers. They stop receiving when the service is told to end, before its requests are finished.
pub(crate) fn start(state: &Arc<State>, config: &Config, visibility: Duration) {
    let consumed = state.service.metrics().counter("lab_queue_consumed_total", &[]);
    let repeats = Repeats::new(state.service.metrics());
    let end_to_end = state.service.metrics().histogram("lab_message_end_to_end_seconds", &[]);
    for _ in 0..config.consumers.get() {
        let inbox = Inbox {
            state: state.clone(),
            work: state.service.burner(&config.work, "consume"),
            end_to_end: end_to_end.clone(),
            repeats: repeats.clone(),
            visibility,
        };
        let (lifecycle, consumed) = (state.service.lifecycle().clone(), consumed.clone());
        let consumer = tokio::spawn(async move { consume(&inbox, &lifecycle, &consumed).await });
        state.service.on_stop("consumer", async move {
            if let Err(error) = consumer.await {
                tracing::error!(%error, "a consumer did not end by itself");
            }
        });
    }
}

struct Inbox {
    state: Arc<State>,
    work: Burner,
    end_to_end: Histogram,
    repeats: Repeats,
    visibility: Duration,
}

impl Consumer for Inbox {
    type Delivery = Delivery;
    type Error = Error;

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let received = self.state.queue.receive(max, wait).await?;
        let again = received.iter().filter(|delivery| delivery.receives > 1).count();
        self.repeats.redelivered.increment(again as u64);
        Ok(received)
    }

    async fn take_effect(&self, delivery: &Delivery) -> Outcome<Error> {
        let message: Message = match serde_json::from_slice(&delivery.body) {
            Ok(message) => message,
            Err(error) => return Outcome::Poison(format!("not a message: {error}")),
        };
        self.work.burn().await;
        let (to, sent_at) = (message.to, message.sent_at);
        match self.state.store.put_message(message).await {
            Ok(fresh) => {
                if fresh {
                    self.end_to_end.record(Duration::from_micros(now_us().saturating_sub(sent_at)));
                } else {
                    self.repeats.repeated.increment(1);
                }
                // Also for a message that was there: the delivery that stored it may have ended before it came to this.
                self.state.reader.remove(&cache_key(to)).await;
                Outcome::Done
            }
            Err(error) if error.is_transient() => Outcome::Later(error),
            Err(error) => Outcome::Poison(kit::chain(&error)),
        }
    }

    async fn ack(&self, deliveries: Vec<&Delivery>) -> Result<(), Error> {
        self.state.queue.ack(deliveries.into_iter().map(|delivery| delivery.receipt.clone()).collect()).await.map(drop)
    }

    async fn extend(&self, delivery: &Delivery) -> Result<(), Error> {
        self.state.queue.extend(&delivery.receipt, self.visibility).await.map(drop)
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), Error> {
        self.state.queue.release(&delivery.receipt).await.map(drop)
    }

    async fn release_untried(&self, delivery: &Delivery) -> Result<(), Error> {
        self.state.queue.release_untried(&delivery.receipt).await.map(drop)
    }

    fn visibility(&self) -> Duration {
        self.visibility
    }
}
