//! A topic of Kafka as a queue, shared by one consumer group, with a second topic for dead letters. Kafka knows neither visibility nor
//! single acknowledgements: each process keeps them for the partitions it owns, and commits them with its offsets, so that the next owner
//! goes on from there.
//!
//! What the table of promises has no room for: a batch that fails may be there in part. What a process held when it died comes back when
//! its session ends (6 seconds, or the visibility timeout where that is shorter and the broker allows it), counted as delivered unless it
//! died within milliseconds of the delivery; more than 52 deliveries are not counted across owners. A change of owner asks what is in
//! hands back after 2 seconds. A crash between burial and commit buries twice. Depth counts what this process holds, not what others do.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lab_core::event::Grade;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, timeout, timeout_at};
use uuid::Uuid;

use self::hands::Acked;
use self::member::{Callbacks, Consumer, Member};
use self::place::{Place, Trouble};
use self::producer::Producer;
use super::{Delivery, Depth, Envelope, Queue, Receipt, Settings};
use crate::address::shown;
use crate::seats::Seats;
use crate::{About, Error, Promises};

mod census;
mod hands;
mod member;
mod place;
mod producer;
mod window;

const OPEN: &str = "kafka queue: open";
const PUBLISH: &str = "kafka queue: publish";
const RECEIVE: &str = "kafka queue: receive";
const ACK: &str = "kafka queue: ack";
const EXTEND: &str = "kafka queue: extend";
const RELEASE: &str = "kafka queue: release";
const DEPTH: &str = "kafka queue: depth";
const PING: &str = "kafka queue: ping";
const CLOSE: &str = "kafka queue: close";

/// What a window's text may fall short of what the broker lets stand beside an offset, bytes.
const MARGIN: usize = 96;

/// See the module.
pub struct KafkaQueue {
    /// Part of each receipt, so that none fits a delivery of another opener.
    id: Uuid,
    address: String,
    place: Arc<Place>,
    partitions: i32,
    settings: Settings,
    producer: Arc<Producer>,
    consumer: Option<Arc<Consumer>>,
    member: Arc<Member>,
    /// Its drop ends them.
    _tasks: JoinSet<()>,
    seats: Seats,
}

impl Drop for KafkaQueue {
    fn drop(&mut self) {
        self.member.stop();
        // The last of these to go waits for the brokers.
        let last = (self.consumer.take(), self.producer.clone());
        drop(std::thread::Builder::new().name("kafka: drop".into()).spawn(move || drop(last)));
    }
}

impl KafkaQueue {
    /// Connects to `kafka://HOST:PORT[,HOST:PORT][?partitions=N]` and makes the topics `name` and `name.dead` where they are missing,
    /// the first with `N` partitions (12 unless said): no more consumers can work at the same time.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read, [`Error::Unreachable`] when no broker answers there.
    pub async fn open(address: &str, name: &str, settings: Settings) -> Result<Self, Error> {
        let unreadable = || Error::Address { address: shown(address), role: "queue", accepted: super::ACCEPTED };
        let place = Arc::new(Place::read(address, name).ok_or_else(unreadable)?);
        let limit = settings.deadline;
        let prepared = spawn_blocking({
            let (place, runtime) = (place.clone(), tokio::runtime::Handle::current());
            move || place.prepare(limit, &runtime)
        });
        let late = || Trouble::Away(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
        let prepared = match timeout(limit, prepared).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(panicked)) => return Err(Error::engine(OPEN, panicked)),
            Err(_) => Err(late()),
        };
        let facts = prepared.map_err(|trouble| match trouble {
            Trouble::Away(error) => away(OPEN, &shown(address), error),
            Trouble::Refused(error) => refusal(OPEN, &shown(address), limit, error),
        })?;
        let member =
            Member::new(place.topic.clone(), settings.clone(), facts.metadata_bytes.saturating_sub(MARGIN).max(1));
        let make = || -> Result<_, KafkaError> {
            let config = place.consumer(&settings, &facts);
            let consumer = Consumer::from_config_and_context(&config, Callbacks(member.clone()))?;
            Ok((Arc::new(Producer::new(place.producer(&settings))?), Arc::new(consumer)))
        };
        let (producer, consumer) = make().map_err(|error| Error::engine(OPEN, error))?;
        let tasks = Self::tend(&member, &consumer, &producer, &place.dead).map_err(|e| Error::engine(OPEN, e))?;
        Ok(Self {
            id: Uuid::now_v7(),
            address: shown(address),
            partitions: facts.partitions,
            place,
            seats: Seats::new(settings.max_waiting, settings.deadline),
            settings,
            producer,
            consumer: Some(consumer),
            member,
            _tasks: tasks,
        })
    }

    /// Starts all that goes on beside calls.
    fn tend(
        member: &Arc<Member>,
        consumer: &Arc<Consumer>,
        producer: &Arc<Producer>,
        dead: &str,
    ) -> Result<JoinSet<()>, std::io::Error> {
        let (polled, saved) = ((member.clone(), consumer.clone()), (member.clone(), consumer.clone()));
        std::thread::Builder::new().name("kafka: poll".into()).spawn(move || polled.0.run(&polled.1))?;
        std::thread::Builder::new().name("kafka: commit".into()).spawn(move || saved.0.keep_saved(&saved.1))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_time(member.clone()));
        tasks.spawn(keep_buried(member.clone(), producer.clone(), dead.to_owned()));
        Ok(tasks)
    }

    /// Runs one call: not after close, not with too many others, not beyond the deadline.
    async fn bounded<T, F>(&self, operation: &'static str, call: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, KafkaError>>,
    {
        let refused = |error| refusal(operation, &self.address, self.settings.deadline, error);
        self.seats.within(operation, async { call.await.map_err(refused) }).await
    }

    /// Asks the brokers something, in a thread that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Consumer, &Member, &Place, Duration) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let (member, place, limit) = (self.member.clone(), self.place.clone(), self.settings.deadline);
        let Some(consumer) = self.consumer.clone() else { return Err(KafkaError::Canceled) };
        let answer = spawn_blocking(move || question(&consumer, &member, &place, limit));
        let answer = answer.await.unwrap_or(Err(KafkaError::Canceled));
        if answer.is_ok() {
            self.member.is_well();
        }
        answer
    }

    async fn look_around(&self, operation: &'static str) -> Result<(), Error> {
        self.bounded(operation, self.ask(|consumer, _, place, limit| census::ping(consumer, place, limit))).await
    }

    /// The number of the delivery when the receipt is one of ours.
    fn ours(&self, receipt: &Receipt) -> Option<u64> {
        let (id, delivery) = receipt.0.split_once('.')?;
        (id.parse::<Uuid>().ok()? == self.id).then(|| delivery.parse().ok())?
    }

    fn deliveries(&self, max: usize) -> Vec<Delivery> {
        let member = &self.member;
        let visible_again = member.hidden_until(self.settings.visibility.max(Duration::from_micros(1)));
        let taken = member.hands().take(max, visible_again);
        if !taken.is_empty() {
            member.to_be_saved();
        }
        let delivery = |(number, message): (u64, hands::Message)| Delivery {
            receipt: Receipt(format!("{}.{number}", self.id)),
            id: message.id,
            body: message.body,
            receives: message.receives,
        };
        taken.into_iter().map(delivery).collect()
    }

    async fn given_back(
        &self,
        receipt: &Receipt,
        give_back: impl FnOnce(&mut hands::Hands, u64) -> bool,
    ) -> Result<bool, Error> {
        let give_back = async {
            self.member.expire();
            let held = self.ours(receipt).is_some_and(|delivery| give_back(&mut self.member.hands(), delivery));
            self.member.changed();
            Ok(held)
        };
        self.bounded(RELEASE, give_back).await
    }
}

fn away(operation: &'static str, address: &str, error: KafkaError) -> Error {
    let remedy =
        "start a Kafka there that advertises an address which can be reached from here, or correct host and port";
    Error::Unreachable { operation, address: address.to_owned(), remedy, source: Arc::new(error) }
}

fn refusal(operation: &'static str, address: &str, limit: Duration, error: KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve,
        ) => away(operation, address, error),
        Some(RDKafkaErrorCode::QueueFull) => Error::Overloaded { operation, waiting: place::PRODUCER_MOST },
        Some(
            RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut,
        ) => Error::Timeout { operation, limit },
        _ => Error::engine(operation, error),
    }
}

/// How many of these acknowledgements were committed; the others were given to another owner meanwhile.
async fn committed(acked: Vec<Acked>) -> Result<usize, KafkaError> {
    let mut held = 0;
    for Acked { count, change, mut progress } in acked {
        let refused = |progress: &hands::Progress| progress.refused.as_ref().is_some_and(|(upto, _)| *upto >= change);
        let Ok(progress) = progress.wait_for(|now| now.committed >= change || refused(now)).await else { continue };
        if progress.committed >= change {
            held += count;
        } else if let Some((_, error)) = &progress.refused {
            return Err(error.clone());
        }
    }
    Ok(held)
}

/// Ends visibility timeouts, and has done again what failed.
async fn keep_time(member: Arc<Member>) {
    let pause = (member.settings.visibility / 4).clamp(Duration::from_millis(10), Duration::from_millis(250));
    let mut tick = interval(pause);
    loop {
        tick.tick().await;
        member.expire();
        member.doomed.notify_one();
    }
}

async fn keep_buried(member: Arc<Member>, producer: Arc<Producer>, dead: String) {
    loop {
        member.doomed.notified().await;
        let dying = member.hands().dying();
        let burials = dying.iter().map(async |(delivery, message)| match producer.bury(&dead, message).await {
            Ok(()) => {
                member.hands().buried(*delivery);
                let (id, deliveries) = (message.id, message.receives);
                tracing::warn!(%id, deliveries, "gave a message up: it is with the dead letters now");
            }
            Err(error) => tracing::debug!(%error, id = %message.id, "kafka: a dead letter has to wait"),
        });
        futures_util::future::join_all(burials).await;
        if !dying.is_empty() {
            member.changed();
        }
    }
}

#[async_trait]
impl Queue for KafkaQueue {
    fn promises(&self) -> Promises {
        Promises {
            engine: "kafka",
            durability: "a crash of brokers while one in-sync replica lives; not the power loss of all machines at once: disks are written later",
            acknowledgement: "publish: after all in-sync replicas have it; ack: after the commit",
            replication: "as many brokers as there are, at most 3; of 3, 2 before the answer, else 1",
            ordering: "messages are spread over partitions by id; in each, first published, first delivered, \
                       what comes back ahead of the rest",
            batching: "publishes within 2 ms share a request for each partition; what is acknowledged while a commit is under way \
                       shares the next one",
            fidelity: Grade::Real,
        }
    }

    /// Brokers tell their clients what they can do, not which version they are.
    fn about(&self) -> About {
        About { server: "Apache Kafka".to_owned(), fidelity: Grade::Real, connections: None }
    }

    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), Error> {
        self.bounded(PUBLISH, self.producer.publish(&self.place.topic, &batch)).await
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + wait;
        self.seats.check_open(RECEIVE)?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let _receiving = self.member.receiving();
        let mut looked = false;
        loop {
            let arrived = self.member.arrived.notified();
            tokio::pin!(arrived);
            // From here on nothing arrives unnoticed.
            arrived.as_mut().enable();
            self.seats.check_open(RECEIVE)?;
            self.member.expire();
            let taken = self.deliveries(max);
            if !taken.is_empty() {
                return Ok(taken);
            }
            if self.member.is_in_trouble() {
                self.look_around(RECEIVE).await?;
            }
            if looked && Instant::now() >= until {
                return Ok(Vec::new());
            }
            looked = true;
            // Ended by the wait or by an arrival; either is looked at above.
            drop(timeout_at(until.into(), arrived).await);
        }
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<usize, Error> {
        let ack = async {
            self.member.expire();
            let acked = self.member.hands().ack(receipts.iter().filter_map(|receipt| self.ours(receipt)));
            self.member.changed();
            committed(acked).await
        };
        self.bounded(ACK, ack).await
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<bool, Error> {
        let extend = async {
            self.member.expire();
            let until = self.member.hidden_until(by);
            Ok(self.ours(receipt).is_some_and(|delivery| self.member.hands().extend(delivery, until)))
        };
        self.bounded(EXTEND, extend).await
    }

    async fn release(&self, receipt: &Receipt) -> Result<bool, Error> {
        self.given_back(receipt, hands::Hands::release).await
    }

    async fn release_untried(&self, receipt: &Receipt) -> Result<bool, Error> {
        self.given_back(receipt, hands::Hands::release_untried).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.member.expire();
        let partitions = self.partitions;
        let count =
            self.ask(move |consumer, member, place, limit| census::count(consumer, member, place, partitions, limit));
        self.bounded(DEPTH, count).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.look_around(PING).await
    }

    async fn close(&self) -> Result<(), Error> {
        if !self.seats.close() {
            return Ok(());
        }
        self.member.arrived.notify_waiters();
        let limit = self.settings.deadline;
        let close = async {
            self.seats.empty().await;
            self.member.stop();
            self.member.ended().await;
        };
        timeout(limit, close).await.map_err(|_| Error::Timeout { operation: CLOSE, limit })
    }
}
