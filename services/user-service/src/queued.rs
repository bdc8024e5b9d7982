//! The queued way of a create: published with its answer, stored once by a consumer of this service.

use std::sync::Arc;
use std::time::Duration;

use backing::queue::{Delivery, Envelope, Settings};
use backing::store::{Idempotency, NewUser};
use backing::{Error, MessageId, Queue, Store};
use kit::consume::{Consumer, Outcome, Repeats, consume};
use kit::{ApiError, Builder, Service};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::refuse::refuse;

/// The queue's name, and the `queue` label of its metrics.
pub const NAME: &str = "creates";

/// Sets ids made of clients' keys apart from other ids made of text.
const KEYS: Uuid = Uuid::from_u128(0x6c61_622d_7573_6572_2d63_7265_6174_6573);

/// A create in the queue.
#[derive(Debug, Serialize, Deserialize)]
struct Queued {
    #[serde(flatten)]
    user: NewUser,
    /// The client's key with the body it came with, so that the store recognises both as it does for direct creates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<(String, String)>,
}

/// Hands a create to the queue; returns once the queue holds it for good. The same key gives the same id.
pub(crate) async fn publish(
    queue: &dyn Queue,
    user: NewUser,
    key: Option<&str>,
    body: &[u8],
) -> Result<MessageId, ApiError> {
    let id = key.map_or_else(MessageId::fresh, |key| MessageId(Uuid::new_v5(&KEYS, key.as_bytes())));
    let key = key.map(|key| (key.to_owned(), String::from_utf8_lossy(body).into_owned()));
    let body = serde_json::to_vec(&Queued { user, key }).map_err(|error| {
        tracing::error!(%error, "a create could not be written as JSON");
        ApiError::internal()
    })?;
    queue.publish(vec![Envelope { id, body }]).await.map_err(|error| refuse(&error))?;
    Ok(id)
}

/// Makes the queue a dependency and keeps its gauges fresh.
pub(crate) fn observe(builder: Builder, queue: &Arc<dyn Queue>) -> Builder {
    let metrics = builder.metrics();
    metrics.describe("lab_queue_depth", "Messages not yet acknowledged by a consumer, those in work included");
    metrics.describe("lab_queue_dead_letters", "Messages given up after too many deliveries");
    metrics.describe("lab_queue_consumed_total", "Messages that took effect and were acknowledged");
    let depth = metrics.gauge("lab_queue_depth", &[("queue", NAME)]);
    let dead = metrics.gauge("lab_queue_dead_letters", &[]);
    let (asked, scraped) = (queue.clone(), queue.clone());
    builder
        .dependency("queue", move || {
            let queue = asked.clone();
            async move { queue.ping().await }
        })
        .on_scrape(move || {
            let (queue, depth, dead) = (scraped.clone(), depth.clone(), dead.clone());
            async move {
                // A queue that does not answer makes a gap, not a wrong number.
                let now = queue.depth().await.ok();
                depth.set(now.map_or(f64::NAN, |now| (now.visible + now.in_flight) as f64));
                dead.set(now.map_or(f64::NAN, |now| now.dead as f64));
            }
        })
}

/// Starts the consumer. It stops receiving when the service is told to end.
pub(crate) fn start(service: &Service, queue: &Arc<dyn Queue>, store: &Arc<dyn Store>) {
    let creator = Creator {
        queue: queue.clone(),
        store: store.clone(),
        repeats: Repeats::new(service.metrics()),
        visibility: Settings::default().visibility,
    };
    let consumed = service.metrics().counter("lab_queue_consumed_total", &[]);
    let lifecycle = service.lifecycle().clone();
    let consumer = tokio::spawn(async move { consume(&creator, &lifecycle, &consumed).await });
    service.on_stop("consumer", async move {
        if let Err(error) = consumer.await {
            tracing::error!(%error, "the consumer did not end by itself");
        }
    });
}

struct Creator {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    repeats: Repeats,
    visibility: Duration,
}

impl Consumer for Creator {
    type Delivery = Delivery;
    type Error = Error;

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let received = self.queue.receive(max, wait).await?;
        let again = received.iter().filter(|delivery| delivery.receives > 1).count();
        self.repeats.redelivered.increment(again as u64);
        Ok(received)
    }

    async fn take_effect(&self, delivery: &Delivery) -> Outcome<Error> {
        let Queued { user, key } = match serde_json::from_slice(&delivery.body) {
            Ok(queued) => queued,
            Err(error) => return Outcome::Poison(format!("not a create: {error}")),
        };
        let once = match key {
            Some((key, body)) => Idempotency::client(key, body.as_bytes()),
            None => Idempotency::message(delivery.id),
        };
        match self.store.create_user(user, Some(once)).await {
            Ok(created) => {
                if !created.fresh {
                    self.repeats.repeated.increment(1);
                }
                Outcome::Done
            }
            Err(error @ Error::KeyReused { .. }) => {
                // The client was told 202 by a replica that had not seen the key; the first create stands, as with direct creates.
                tracing::warn!(error = kit::chain(&error), "a queued create was dropped");
                Outcome::Done
            }
            Err(error) if error.is_transient() => Outcome::Later(error),
            Err(error) => Outcome::Poison(kit::chain(&error)),
        }
    }

    async fn ack(&self, deliveries: Vec<&Delivery>) -> Result<(), Error> {
        self.queue.ack(deliveries.into_iter().map(|delivery| delivery.receipt.clone()).collect()).await.map(drop)
    }

    async fn extend(&self, delivery: &Delivery) -> Result<(), Error> {
        self.queue.extend(&delivery.receipt, self.visibility).await.map(drop)
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), Error> {
        self.queue.release(&delivery.receipt).await.map(drop)
    }

    async fn release_untried(&self, delivery: &Delivery) -> Result<(), Error> {
        self.queue.release_untried(&delivery.receipt).await.map(drop)
    }

    fn visibility(&self) -> Duration {
        self.visibility
    }
}
