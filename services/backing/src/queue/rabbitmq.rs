//! A quorum queue of RabbitMQ, through AMQP 0-9-1: pushed to this process ahead of its receives, confirmed to publishers, dead letters
//! in a second queue. The broker knows no visibility timeout: each process ends those of its own deliveries, and the broker those of a
//! process that is gone, at once. A delivery that is held for longer than the broker's `consumer_timeout` (30 minutes) ends the connection.
//!
//! What the table of promises has no room for: a batch that fails may be there in part. What a process held when it died comes back at
//! once, counted as delivered. A queue that was made in the seconds before a crash may come back empty. Depth counts what this process
//! holds, not what others do.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lapin::uri::AMQPUri;
use tokio::sync::Mutex;
use tokio::time::{timeout, timeout_at};
use uuid::Uuid;

use self::link::{Link, Names, Refusal};
use super::{Delivery, Depth, Envelope, Queue, Receipt, Settings};
use crate::address::shown;
use crate::seats::Seats;
use crate::{About, Error, Promises};

mod greeting;
mod hands;
mod link;

const OPEN: &str = "rabbitmq queue: open";
const PUBLISH: &str = "rabbitmq queue: publish";
const RECEIVE: &str = "rabbitmq queue: receive";
const ACK: &str = "rabbitmq queue: ack";
const EXTEND: &str = "rabbitmq queue: extend";
const RELEASE: &str = "rabbitmq queue: release";
const DEPTH: &str = "rabbitmq queue: depth";
const PING: &str = "rabbitmq queue: ping";
const CLOSE: &str = "rabbitmq queue: close";

/// How often the broker and we assure each other that we are there, seconds.
const HEARTBEAT: u16 = 10;

/// See the module.
pub struct RabbitQueue {
    uri: AMQPUri,
    address: String,
    names: Arc<Names>,
    settings: Settings,
    link: Mutex<Option<Arc<Link>>>,
    seats: Seats,
    about: About,
}

impl RabbitQueue {
    /// Connects to `amqp://USER:PASSWORD@HOST:PORT/VHOST` and declares the queue `name` and the one of its dead letters, `name.dead`.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read, [`Error::Unreachable`] when no broker answers there or it does not let us in.
    pub async fn open(address: &str, name: &str, settings: Settings) -> Result<Self, Error> {
        let unreadable = |_| Error::Address { address: shown(address), role: "queue", accepted: super::ACCEPTED };
        let mut uri: AMQPUri = address.parse().map_err(unreadable)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let mut queue = Self {
            uri,
            address: shown(address),
            names: Arc::new(Names { queue: name.into(), dead: format!("{name}.dead").into() }),
            seats: Seats::new(settings.max_waiting, settings.deadline),
            settings,
            link: Mutex::default(),
            about: greeting::named(&[]),
        };
        queue.bounded(OPEN, async |_: Arc<Link>| Ok(())).await.map_err(|error| match error {
            Error::Timeout { operation, .. } => queue.unreachable(operation, error),
            other => other,
        })?;
        queue.about = greeting::about(&queue.uri, queue.settings.deadline).await;
        Ok(queue)
    }

    fn unreachable(&self, operation: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        let remedy = "start a RabbitMQ there, or correct host, port, user, password and virtual host";
        Error::Unreachable { operation, address: self.address.clone(), remedy, source: Arc::new(source) }
    }

    /// The connection, made anew when the last one has ended.
    async fn link(&self, operation: &'static str) -> Result<Arc<Link>, Error> {
        let mut current = self.link.lock().await;
        self.seats.check_open(operation)?;
        if let Some(link) = current.as_ref().filter(|link| link.is_alive()) {
            return Ok(link.clone());
        }
        let made = Link::connect(self.uri.clone(), self.names.clone(), self.settings.clone()).await;
        let link = made.map_err(|error| self.unreachable(operation, error))?;
        *current = Some(link.clone());
        Ok(link)
    }

    /// Runs one call: not after close, not with too many others, not beyond the deadline.
    async fn bounded<T, F>(&self, operation: &'static str, call: impl FnOnce(Arc<Link>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let answer = async { call(self.link(operation).await?).await.map_err(|error| Error::engine(operation, error)) };
        self.seats.within(operation, answer).await
    }

    /// The connection when the receipt is one of its deliveries, with the number of that.
    fn ours(link: &Link, receipt: &Receipt) -> Option<u64> {
        let (id, tag) = receipt.0.split_once('.')?;
        (id.parse::<Uuid>().ok()? == link.id).then(|| tag.parse().ok())?
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    fn promises(&self) -> Promises {
        Promises {
            engine: "rabbitmq",
            durability: "a crash of the broker and, on a majority of its nodes, of machines; an ack taken just before a crash may be forgotten",
            acknowledgement: "publish: after the confirm, on disk on a majority; ack: after the broker has read it",
            replication: "as many nodes as the broker has, at most 5, a majority before the confirm",
            ordering: "first published, first delivered to one consumer; what comes back goes ahead of what no process was pushed yet, \
                       what comes back untried goes to the end",
            batching: "messages are pushed ahead, 64 at a time; publishes that wait at the same time share the broker's fsync",
            fidelity: self.about.fidelity,
        }
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), Error> {
        let publish = async |link: Arc<Link>| {
            link.publish(batch.iter().map(|envelope| (envelope.id, &envelope.body[..], 0))).await
        };
        self.bounded(PUBLISH, publish).await
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + wait;
        let link = self.bounded(RECEIVE, async |link| Ok(link)).await?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let _receiving = link.receiving();
        let mut looked = false;
        loop {
            let arrived = link.arrived.notified();
            tokio::pin!(arrived);
            // From here on nothing arrives unnoticed.
            arrived.as_mut().enable();
            self.seats.check_open(RECEIVE)?;
            if !link.is_alive() {
                return Err(Error::engine(RECEIVE, Refusal::Ended));
            }
            let visible_again = link.hidden_until(self.settings.visibility.max(Duration::from_micros(1)));
            let taken = link.hands().take(max, visible_again);
            if !taken.is_empty() {
                let receipt = |tag: u64| Receipt(format!("{}.{tag}", link.id));
                let delivery = |message: hands::Held| Delivery {
                    receipt: receipt(message.tag),
                    id: message.id,
                    body: message.body,
                    receives: message.receives,
                };
                return Ok(taken.into_iter().map(delivery).collect());
            }
            if looked && Instant::now() >= until {
                return Ok(Vec::new());
            }
            let subscribe = async |link: Arc<Link>| {
                link.expire().await?;
                link.subscribe().await?;
                // What is on its way to us arrives before the answer.
                if looked { Ok(()) } else { link.flush().await }
            };
            self.bounded(RECEIVE, subscribe).await?;
            looked = true;
            // Ended by the wait or by an arrival; either is looked at above.
            drop(timeout_at(until.into(), arrived).await);
        }
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<usize, Error> {
        let ack = async |link: Arc<Link>| {
            link.expire().await?;
            let mut held = 0;
            for tag in receipts.iter().filter_map(|receipt| Self::ours(&link, receipt)) {
                held += usize::from(link.ack(tag).await?);
            }
            link.flush().await?;
            Ok(held)
        };
        self.bounded(ACK, ack).await
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<bool, Error> {
        let extend = async |link: Arc<Link>| {
            link.expire().await?;
            let until = link.hidden_until(by);
            Ok(Self::ours(&link, receipt).is_some_and(|tag| link.hands().extend(tag, until)))
        };
        self.bounded(EXTEND, extend).await
    }

    async fn release(&self, receipt: &Receipt) -> Result<bool, Error> {
        let release = async |link: Arc<Link>| {
            link.expire().await?;
            let Some(tag) = Self::ours(&link, receipt) else { return Ok(false) };
            let held = link.give_back(tag).await?;
            link.flush().await?;
            Ok(held)
        };
        self.bounded(RELEASE, release).await
    }

    async fn release_untried(&self, receipt: &Receipt) -> Result<bool, Error> {
        let release = async |link: Arc<Link>| {
            link.expire().await?;
            let Some(tag) = Self::ours(&link, receipt) else { return Ok(false) };
            let Some(message) = link.hands().get(tag).cloned() else { return Ok(false) };
            // First the copy: whatever fails between the two leaves two messages, never none.
            link.put_back(&[message]).await?;
            let held = link.ack(tag).await?;
            link.flush().await?;
            Ok(held)
        };
        self.bounded(RELEASE, release).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let count = async |link: Arc<Link>| {
            link.expire().await?;
            let (ready, dead) = link.counts().await?;
            let (buffered, held) = link.hands().counts();
            Ok(Depth { visible: ready + buffered as u64, in_flight: held as u64, dead })
        };
        self.bounded(DEPTH, count).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.bounded(PING, async |link: Arc<Link>| link.counts().await.map(drop)).await
    }

    async fn close(&self) -> Result<(), Error> {
        if !self.seats.close() {
            return Ok(());
        }
        let limit = self.settings.deadline;
        let close = async {
            let link = self.link.lock().await.take();
            let Some(link) = link.filter(|link| link.is_alive()) else { return Ok(()) };
            link.arrived.notify_waiters();
            self.seats.empty().await;
            link.unsubscribe().await?;
            link.close().await
        };
        match timeout(limit, close).await {
            Ok(closed) => closed.map_err(|error| Error::engine(CLOSE, error)),
            Err(_) => Err(Error::Timeout { operation: CLOSE, limit }),
        }
    }
}
