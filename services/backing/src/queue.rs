//! Messages between processes: the [`Queue`] trait, its types and [`open`]. Engines live in `queue/`, one file each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::address::{read, shown};
use crate::clock::{Clock, SystemClock};
use crate::place::prefixed;
use crate::sqlite::opened;
use crate::{About, Error, MessageId, Promises};

pub mod kafka;
pub mod rabbitmq;
pub mod sqlite;
pub mod sqs;

/// What a producer hands over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Travels with the message; consumers use it to make the effect happen once. The queue itself does not compare ids.
    pub id: MessageId,
    /// Opaque to the queue.
    pub body: Vec<u8>,
}

/// Proof of one delivery. It ends with the ack, the release or the visibility timeout of that delivery; used later it does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(pub(crate) String);

/// A message in a consumer's hands, hidden from others until its visibility timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// From its envelope.
    pub id: MessageId,
    /// From its envelope.
    pub body: Vec<u8>,
    /// For ack, extend and release.
    pub receipt: Receipt,
    /// How often it was delivered, this time included and what came back untried left out: 1 at first.
    pub receives: u32,
}

/// How many messages are where. A message that was acknowledged is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// A receive would return them now.
    pub visible: u64,
    /// Delivered, not acknowledged, visibility timeout running.
    pub in_flight: u64,
    /// Given up after [`Settings::max_receives`] deliveries; kept for inspection.
    pub dead: u64,
}

/// What every queue engine can be told.
#[derive(Clone)]
pub struct Settings {
    /// How long a delivery hides its message.
    pub visibility: Duration,
    /// Deliveries after which a message is dead when it is not acknowledged.
    pub max_receives: u32,
    /// Longest wait of one call (for a receive: beyond the wait it was asked for).
    pub deadline: Duration,
    /// Most calls that wait for the engine at once; more are [`Error::Overloaded`].
    pub max_waiting: usize,
    /// Where visibility is measured.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            max_receives: 5,
            deadline: Duration::from_secs(2),
            max_waiting: 4096,
            clock: Arc::new(SystemClock),
        }
    }
}

/// At-least-once delivery between any number of producers and consumers, in any number of processes.
/// A message is delivered again when its visibility timeout ends without an ack, and is dead after [`Settings::max_receives`] deliveries.
/// Dropping a call's future does not undo what was handed over; what a dropped receive took comes back after the visibility timeout.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// What this engine promises.
    fn promises(&self) -> Promises;

    /// What the engine said of itself when it was opened.
    fn about(&self) -> About {
        About::nothing_but(&self.promises())
    }

    /// Hands messages over, all or none. Answered when the durability promise holds for all of them.
    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), Error>;

    /// Up to `max` messages; returns as soon as there is one, or empty after `wait`.
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error>;

    /// Ends these deliveries for good. Returns how many were still held; the others had timed out and were ignored.
    async fn ack(&self, receipts: Vec<Receipt>) -> Result<usize, Error>;

    /// Hides the message for `by` from now on. False when the receipt is stale.
    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<bool, Error>;

    /// Makes the message visible at once (or dead, when this was its last delivery). False when the receipt is stale.
    async fn release(&self, receipt: &Receipt) -> Result<bool, Error>;

    /// As `release`, of a message that nobody tried: this delivery does not count towards its death. False when the receipt is stale.
    async fn release_untried(&self, receipt: &Receipt) -> Result<bool, Error>;

    /// How many messages are where.
    async fn depth(&self) -> Result<Depth, Error>;

    /// Ok when the engine answers now.
    async fn ping(&self) -> Result<(), Error>;

    /// Finishes what was handed over, then lets go. Later calls are [`Error::Closed`]; a second close is fine.
    async fn close(&self) -> Result<(), Error>;
}

const ACCEPTED: &str = "`sqlite:PATH`, `amqp://USER:PASSWORD@HOST:PORT/VHOST`, `kafka://HOST:PORT[,HOST:PORT]`, \
                        `sqs://HOST:PORT/PREFIX?region=REGION` or `sqs:aws:REGION/PREFIX`";

/// Opens the queue called `name` at `address`: `sqlite:PATH`, `amqp://USER:PASSWORD@HOST:PORT/VHOST`,
/// `kafka://HOST:PORT[,HOST:PORT][?partitions=N]`, `sqs://HOST:PORT/PREFIX?region=REGION` (a server that stands in for SQS) or
/// `sqs:aws:REGION/PREFIX`. Queues of other names in the same place do not meet it.
///
/// # Errors
/// [`Error::Address`] when the address names no engine; otherwise what the engine says.
pub async fn open(address: &str, name: &str, settings: Settings) -> Result<Arc<dyn Queue>, Error> {
    let (address, prefix) = prefixed(&read(address)?);
    let name = format!("{prefix}{name}");
    let (address, name) = (address.as_str(), name.as_str());
    match address.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => {
            let (path, name) = (PathBuf::from(path), name.to_owned());
            let open = move || sqlite::SqliteQueue::open(&path, &name, settings);
            Ok(Arc::new(opened("sqlite queue: open", open).await?))
        }
        Some(("kafka", _)) => Ok(Arc::new(kafka::KafkaQueue::open(address, name, settings).await?)),
        Some(("sqs", _)) => Ok(Arc::new(sqs::SqsQueue::open(address, name, settings).await?)),
        Some(("amqp", _)) => Ok(Arc::new(rabbitmq::RabbitQueue::open(address, name, settings).await?)),
        _ => Err(Error::Address { address: shown(address), role: "queue", accepted: ACCEPTED }),
    }
}
