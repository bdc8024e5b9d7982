//! A standard queue of Amazon SQS, or of a server that stands in for it, with a second queue for its dead letters. SQS hides, counts and
//! buries messages itself. How messages come in is in `sqs/desk.rs`, how calls share batches in `sqs/gather.rs`, who holds what in
//! `sqs/hold.rs`, what is sent in `sqs/letter.rs`, and the calls themselves in `sqs/service.rs`.
//!
//! What the table of promises has no room for: a batch that fails may be there in part. What was deleted may come again all the same,
//! rarely. What timed out by our clock counts as no longer held. A message that is released untried is replaced by a copy that counts on
//! from before. A process that dies while it waits may take messages along until their visibility timeout, counted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use tokio::time::{Instant, timeout};

use self::desk::Desk;
use self::gather::Gatherer;
use self::letter::{Letter, Written};
use self::service::{Service, seconds};
use super::{ACCEPTED, Delivery, Depth, Envelope, Queue, Receipt, Settings};
use crate::aws::{Limits, Place, Wanted};
use crate::clock::micros;
use crate::{About, Error, Promises};

mod desk;
mod gather;
mod hold;
mod letter;
mod service;

const OPEN: &str = "sqs queue: open";
const PUBLISH: &str = "sqs queue: publish";
const RECEIVE: &str = "sqs queue: receive";
const ACK: &str = "sqs queue: ack";
const EXTEND: &str = "sqs queue: extend";
const RELEASE: &str = "sqs queue: release";
const DEPTH: &str = "sqs queue: depth";
const PING: &str = "sqs queue: ping";
const CLOSE: &str = "sqs queue: close";

/// Connections that are kept while nothing uses them: both gatherers' batches, a few polls and single calls.
const IDLE: usize = 64;

/// See the module.
pub struct SqsQueue {
    desk: Arc<Desk>,
    publishes: Gatherer<Written, ()>,
    acks: Gatherer<String, bool>,
}

impl SqsQueue {
    /// Reaches the service at `sqs://HOST:PORT/PREFIX?region=REGION` or `sqs:aws:REGION/PREFIX` and makes the queues `PREFIX-name` and
    /// `PREFIX-name-dead` where they are missing. Where they are there, these settings hold from now on.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read, [`Error::Unreachable`] when the service is away or does not let us in.
    pub async fn open(address: &str, name: &str, settings: Settings) -> Result<Self, Error> {
        let place = Place::read(address, Wanted { scheme: "sqs", role: "queue", accepted: ACCEPTED })?;
        let limits = Limits { deadline: settings.deadline, ends_calls: false, idle: IDLE };
        let client = Client::new(&place.config(limits).await);
        let service = Service::open(client, place, name, &settings).await?;
        let desk = Arc::new(Desk::new(service, settings));
        let (sends, deletes) = (desk.clone(), desk.clone());
        let publishes = Gatherer::start(move |batch| {
            let desk = sends.clone();
            async move { desk.service.send(batch).await }
        });
        let acks = Gatherer::start(move |batch| {
            let desk = deletes.clone();
            async move { desk.service.delete(batch).await }
        });
        Ok(Self { desk, publishes, acks })
    }

    fn until(&self) -> Instant {
        Instant::now() + self.desk.settings.deadline
    }
}

#[async_trait]
impl Queue for SqsQueue {
    fn promises(&self) -> Promises {
        let place = &self.desk.service.place;
        Promises {
            engine: "sqs",
            durability: if place.is_aws() {
                "published survives the loss of an availability zone; what is older than 14 days is gone, dead or alive"
            } else {
                "as the emulator keeps it: in memory it is gone with its process"
            },
            acknowledgement: "publish: after the service has every message; ack: after it has deleted them",
            replication: if place.is_aws() { "several availability zones" } else { "none: one emulator" },
            ordering: "none",
            batching: "calls that wait at the same time share requests, 10 messages or 256 KiB in each; \
                       depth is approximate, and includes the dead until a receive comes across them",
            fidelity: place.fidelity(),
        }
    }

    fn about(&self) -> About {
        let place = &self.desk.service.place;
        let server = if place.is_aws() { "Amazon SQS" } else { "a stand-in for SQS" };
        About { server: server.to_owned(), fidelity: place.fidelity(), connections: None }
    }

    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), Error> {
        let publish = async {
            let written = batch.into_iter().map(|Envelope { id, body }| {
                let written = Letter { id, body, receives: 0 }.write();
                let size = written.size();
                (written, size)
            });
            let answers = self.publishes.hand_over(PUBLISH, written, self.until()).await?;
            answers.into_iter().collect()
        };
        self.desk.seats.within(PUBLISH, publish).await
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        self.desk.receive(max, wait).await
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<usize, Error> {
        let ack = async {
            let tickets: Vec<_> = receipts.iter().filter_map(|receipt| self.desk.ticket(receipt)).collect();
            let handles: Vec<_> = tickets.iter().map(|ticket| (ticket.handle.clone(), ticket.handle.len())).collect();
            let answers = self.acks.hand_over(ACK, handles, self.until()).await?;
            let mut ended = Ok(0);
            for (ticket, answer) in tickets.iter().zip(answers) {
                match answer {
                    // Also those after a failure: they are gone.
                    Ok(known) => {
                        let held = self.desk.holds.end(ticket) && known;
                        ended = ended.map(|count| count + usize::from(held));
                    }
                    Err(error) => ended = Err(error),
                }
            }
            ended
        };
        self.desk.seats.within(ACK, ack).await
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<bool, Error> {
        let extend = async {
            let Some(ticket) = self.desk.ticket(receipt) else { return Ok(false) };
            let by = seconds(by);
            let until = self.desk.now().saturating_add(micros(Duration::from_secs(by.unsigned_abs().into())));
            let held = self.desk.service.hide(EXTEND, &ticket.handle, by).await?;
            if held {
                self.desk.holds.extend(&ticket, until);
            }
            Ok(held)
        };
        self.desk.seats.within(EXTEND, extend).await
    }

    async fn release(&self, receipt: &Receipt) -> Result<bool, Error> {
        let release = async {
            let Some(ticket) = self.desk.ticket(receipt) else { return Ok(false) };
            let known = self.desk.service.hide(RELEASE, &ticket.handle, 0).await?;
            Ok(self.desk.holds.end(&ticket) && known)
        };
        self.desk.seats.within(RELEASE, release).await
    }

    async fn release_untried(&self, receipt: &Receipt) -> Result<bool, Error> {
        self.desk.seats.within(RELEASE, self.desk.give_back_untried(receipt)).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let count = async {
            let (queue, dead) =
                futures_util::future::try_join(self.desk.service.counts(DEPTH), self.desk.service.dead_counts())
                    .await?;
            Ok(Depth { visible: queue.0, in_flight: queue.1, dead: dead.0 + dead.1 })
        };
        self.desk.seats.within(DEPTH, count).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.desk.seats.within(PING, async { self.desk.service.counts(PING).await.map(drop) }).await
    }

    async fn close(&self) -> Result<(), Error> {
        if !self.desk.close() {
            return Ok(());
        }
        let limit = self.desk.settings.deadline;
        let close = async {
            self.desk.seats.empty().await;
            self.publishes.close().await;
            self.acks.close().await;
            self.desk.give_spare_back().await;
        };
        timeout(limit, close).await.map_err(|_| Error::Timeout { operation: CLOSE, limit })
    }
}
