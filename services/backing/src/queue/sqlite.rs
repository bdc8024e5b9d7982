//! A queue in one SQLite file that several processes share. A receipt is the message's number and its count of deliveries:
//! a later delivery has another count, so an old receipt fits nothing.

use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lab_core::event::Grade;
use rusqlite::{Connection, Row, params};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Delivery, Depth, Envelope, Queue, Receipt, Settings};
use crate::clock::micros;
use crate::sqlite::{self, Limits, Reach, Readers, Schema, Writer};
use crate::{About, Error, MessageId, Promises};

const SCHEMA: Schema = Schema {
    operation: "sqlite queue: open",
    application_id: 0x6c61_6271,
    // AUTOINCREMENT: a number is never used again, so the receipt of a deleted message fits no later one.
    // receives never falls, so that each receipt is new; of them, untried do not count towards a message's death.
    // visible_us is 0 until the first delivery: a step of the wall clock cannot hide what is new.
    steps: &[
        "
        CREATE TABLE queues (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            queue INTEGER NOT NULL,
            id BLOB NOT NULL,
            body BLOB NOT NULL,
            visible_us INTEGER NOT NULL DEFAULT 0,
            receives INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX messages_by_visibility ON messages (queue, visible_us, number, receives);
        CREATE TABLE dead (
            number INTEGER PRIMARY KEY,
            queue INTEGER NOT NULL,
            id BLOB NOT NULL,
            body BLOB NOT NULL,
            receives INTEGER NOT NULL,
            died_us INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX dead_by_queue ON dead (queue);
    ",
        "
        ALTER TABLE messages ADD COLUMN untried INTEGER NOT NULL DEFAULT 0;
        DROP INDEX messages_by_visibility;
        CREATE INDEX messages_by_visibility ON messages (queue, visible_us, number, receives, untried);
    ",
    ],
};

const PUBLISH: &str = "sqlite queue: publish";
const RECEIVE: &str = "sqlite queue: receive";
const ACK: &str = "sqlite queue: ack";
const EXTEND: &str = "sqlite queue: extend";
const RELEASE: &str = "sqlite queue: release";
const DEPTH: &str = "sqlite queue: depth";
const PING: &str = "sqlite queue: ping";
const CLOSE: &str = "sqlite queue: close";

/// How often a waiting receive looks for what other processes published and what timed out: soon at first, then so rarely
/// that waiting costs about 0.5 % of a core. The price is latency: such a message waits up to 25 ms, half of it on average.
/// Publishes of this process wake it at once.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(25);

/// Most messages that one receive gives up, which keeps its commit short.
const MOST_BURIED: usize = 256;

/// See the module. Clones share one handle.
#[derive(Clone)]
pub struct SqliteQueue(Arc<Inner>);

struct Inner {
    number: i64,
    settings: Settings,
    writer: Writer,
    readers: Readers,
    published: Notify,
}

/// Whether a delivery counts towards a message's death.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Yes,
    No,
}

impl SqliteQueue {
    /// Opens the file and the queue in it; makes what is missing and brings an older file up to date.
    ///
    /// # Errors
    /// What SQLite says; [`Error::NewerSchema`] and [`Error::OtherFile`] when the file is not for this build or not a queue's.
    pub fn open(path: &Path, name: &str, settings: Settings) -> Result<Self, Error> {
        let failed = |error| Error::engine(SCHEMA.operation, error);
        let (connection, turn) = sqlite::open(path, &SCHEMA)?;
        let number = queue_number(&connection, name).map_err(failed)?;
        let readers = Readers::open(path, available_parallelism().map_or(1, usize::from)).map_err(failed)?;
        let limits = Limits { deadline: settings.deadline, max_waiting: settings.max_waiting };
        let writer = Writer::start("queue-writer", connection, turn, limits)
            .map_err(|error| Error::engine(SCHEMA.operation, error))?;
        Ok(Self(Arc::new(Inner { number, settings, writer, readers, published: Notify::new() })))
    }
}

impl Inner {
    fn now(&self) -> i64 {
        // 0 means "never delivered", so time starts at 1.
        time(self.settings.clock.now_us().max(1))
    }

    fn something_visible(&self) -> Result<bool, Error> {
        let (queue, now) = (self.number, self.now());
        self.readers.read(RECEIVE, |connection| {
            let mut query = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM messages WHERE queue = ?1 AND visible_us <= ?2)")?;
            query.query_row([queue, now], |row| row.get(0))
        })
    }

    /// Takes what is visible now. When the caller has gone meanwhile, gives it back at once instead of hiding it for
    /// the whole visibility timeout.
    async fn take(self: &Arc<Self>, max: usize) -> Result<Vec<Delivery>, Error> {
        let (reply, taken) = oneshot::channel();
        let inner = self.clone();
        tokio::spawn(async move {
            let (queue, now, most) = (inner.number, inner.now(), inner.settings.max_receives);
            // At least a moment, or one receive would take the same message again and again.
            let until = now.saturating_add(time(micros(inner.settings.visibility).max(1)));
            let work = move |connection: &Connection| {
                take_visible(connection, Take { queue, now, until, most, max })
                    .map_err(|error| Error::engine(RECEIVE, error))
            };
            if let Err(Ok(unwanted)) = reply.send(inner.writer.call(RECEIVE, Reach::Memory, work).await) {
                inner.give_back(unwanted).await;
            }
        });
        taken.await.unwrap_or(Err(Error::Closed { operation: RECEIVE }))
    }

    async fn give_back(&self, unwanted: Vec<Delivery>) {
        for delivery in unwanted {
            if let Err(error) = self.show_at(RELEASE, &delivery.receipt, self.now(), Tried::No).await {
                tracing::debug!(%error, "a dropped receive's message comes back after its visibility timeout");
            }
        }
        self.published.notify_waiters();
    }

    async fn release(&self, receipt: &Receipt, tried: Tried) -> Result<bool, Error> {
        let released = self.show_at(RELEASE, receipt, self.now(), tried).await?;
        self.published.notify_waiters();
        Ok(released)
    }

    async fn show_at(
        &self,
        operation: &'static str,
        receipt: &Receipt,
        visible: i64,
        tried: Tried,
    ) -> Result<bool, Error> {
        let Some((number, receives)) = parts(receipt) else { return Ok(false) };
        let now = self.now();
        let work = move |connection: &Connection| {
            let update = || {
                connection
                    .prepare_cached(
                        "UPDATE messages SET visible_us = ?4, untried = untried + ?5 \
                         WHERE number = ?1 AND receives = ?2 AND visible_us > ?3",
                    )?
                    .execute(params![number, receives, now, visible, tried == Tried::No])
            };
            update().map(|changed| changed == 1).map_err(|error| Error::engine(operation, error))
        };
        self.writer.call(operation, Reach::Memory, work).await
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    fn promises(&self) -> Promises {
        Promises {
            engine: "sqlite",
            durability: "published and acknowledged survive a crash of the process and of the machine; \
                         a power cut may forget who held a message, which then comes again",
            acknowledgement: "publish and ack: after the commit's fsync; receive: after a commit without fsync",
            replication: "none: one file on one machine",
            ordering: "first published, first delivered; what comes back goes first; no order between consumers",
            batching: "calls that wait at the same time share one commit",
            fidelity: Grade::Embedded,
        }
    }

    fn about(&self) -> About {
        sqlite::about()
    }

    async fn publish(&self, batch: Vec<Envelope>) -> Result<(), Error> {
        let queue = self.0.number;
        let work = move |connection: &Connection| {
            insert_all(connection, queue, &batch).map_err(|error| Error::engine(PUBLISH, error))
        };
        self.0.writer.call(PUBLISH, Reach::Disk, work).await?;
        self.0.published.notify_waiters();
        Ok(())
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + wait;
        let mut look = FIRST_LOOK;
        loop {
            let published = self.0.published.notified();
            tokio::pin!(published);
            // From here on no publish of this process goes unnoticed.
            published.as_mut().enable();
            if self.0.something_visible()? {
                let taken = self.0.take(max).await?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || max == 0 {
                return Ok(Vec::new());
            }
            // Elapsed or woken: either way the next look tells.
            drop(timeout(look.min(left), published).await);
            look = (look * 2).min(LONGEST_LOOK);
        }
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<usize, Error> {
        let now = self.0.now();
        let work = move |connection: &Connection| {
            delete_held(connection, &receipts, now).map_err(|error| Error::engine(ACK, error))
        };
        self.0.writer.call(ACK, Reach::Disk, work).await
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<bool, Error> {
        let visible = self.0.now().saturating_add(time(micros(by)));
        self.0.show_at(EXTEND, receipt, visible, Tried::Yes).await
    }

    async fn release(&self, receipt: &Receipt) -> Result<bool, Error> {
        self.0.release(receipt, Tried::Yes).await
    }

    async fn release_untried(&self, receipt: &Receipt) -> Result<bool, Error> {
        self.0.release(receipt, Tried::No).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let (queue, now, most) = (self.0.number, self.0.now(), self.0.settings.max_receives);
        self.0.readers.read(DEPTH, |connection| count_all(connection, queue, now, most))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.0.something_visible()?;
        // Through the writer too: a queue that cannot take its turn is not ready.
        self.0.writer.call(PING, Reach::Memory, |_| Ok(())).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.readers.close();
        self.0.published.notify_waiters();
        self.0.writer.close(CLOSE).await
    }
}

/// One receive.
#[derive(Clone, Copy)]
struct Take {
    queue: i64,
    now: i64,
    until: i64,
    most: u32,
    max: usize,
}

fn queue_number(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.execute("INSERT INTO queues (name) VALUES (?1) ON CONFLICT (name) DO NOTHING", [name])?;
    connection.query_row("SELECT number FROM queues WHERE name = ?1", [name], |row| row.get(0))
}

fn insert_all(connection: &Connection, queue: i64, batch: &[Envelope]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO messages (queue, id, body) VALUES (?1, ?2, ?3)")?;
    for envelope in batch {
        insert.execute(params![queue, envelope.id.0.as_bytes(), envelope.body])?;
    }
    Ok(())
}

/// In this order: what came back, oldest first; then what is new, as it was published.
fn take_visible(connection: &Connection, take: Take) -> rusqlite::Result<Vec<Delivery>> {
    let mut taken = Vec::new();
    let mut buried = 0;
    for (from, to) in [(1, take.now), (0, 0)] {
        while taken.len() < take.max && buried < MOST_BURIED {
            let visible = visible_between(connection, take.queue, (from, to), take.max - taken.len())?;
            if visible.is_empty() {
                break;
            }
            for (number, receives) in visible {
                if receives < take.most {
                    taken.push(deliver(connection, number, take.until)?);
                } else {
                    bury(connection, number, take.now)?;
                    buried += 1;
                }
            }
        }
    }
    if buried > 0 {
        tracing::warn!(
            messages = buried,
            deliveries = take.most,
            "gave messages up: they are with the dead letters now"
        );
    }
    Ok(taken)
}

fn visible_between(
    connection: &Connection,
    queue: i64,
    (from, to): (i64, i64),
    limit: usize,
) -> rusqlite::Result<Vec<(i64, u32)>> {
    let mut query = connection.prepare_cached(
        "SELECT number, receives - untried FROM messages WHERE queue = ?1 AND visible_us BETWEEN ?2 AND ?3 \
         ORDER BY visible_us, number LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    query.query_map([queue, from, to, limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn deliver(connection: &Connection, number: i64, until: i64) -> rusqlite::Result<Delivery> {
    let mut update = connection.prepare_cached(
        "UPDATE messages SET receives = receives + 1, visible_us = ?2 WHERE number = ?1 \
         RETURNING number, id, body, receives, receives - untried",
    )?;
    update.query_row([number, until], delivery_from)
}

fn bury(connection: &Connection, number: i64, now: i64) -> rusqlite::Result<()> {
    let mut copy = connection.prepare_cached(
        "INSERT INTO dead (number, queue, id, body, receives, died_us) \
         SELECT number, queue, id, body, receives - untried, ?2 FROM messages WHERE number = ?1",
    )?;
    copy.execute([number, now])?;
    connection.prepare_cached("DELETE FROM messages WHERE number = ?1")?.execute([number])?;
    Ok(())
}

fn delivery_from(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let (number, delivery): (i64, u32) = (row.get(0)?, row.get(3)?);
    Ok(Delivery {
        id: MessageId(Uuid::from_bytes(row.get(1)?)),
        body: row.get(2)?,
        receipt: Receipt(format!("{number}.{delivery}")),
        receives: row.get(4)?,
    })
}

fn delete_held(connection: &Connection, receipts: &[Receipt], now: i64) -> rusqlite::Result<usize> {
    let mut delete =
        connection.prepare_cached("DELETE FROM messages WHERE number = ?1 AND receives = ?2 AND visible_us > ?3")?;
    let mut held = 0;
    for (number, receives) in receipts.iter().filter_map(parts) {
        held += delete.execute(params![number, receives, now])?;
    }
    Ok(held)
}

/// The never delivered, of whom there may be very many, are counted apart: a bare count of an index range takes a fifth
/// of the time of one that looks at each row.
fn count_all(connection: &Connection, queue: i64, now: i64, most: u32) -> rusqlite::Result<Depth> {
    let mut query = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE visible_us <= ?2 AND receives - untried < ?3), count(*) FILTER (WHERE visible_us > ?2), \
         count(*) FILTER (WHERE visible_us <= ?2 AND receives - untried >= ?3), \
         (SELECT count(*) FROM messages WHERE queue = ?1 AND visible_us = 0), \
         (SELECT count(*) FROM dead WHERE queue = ?1) \
         FROM messages WHERE queue = ?1 AND visible_us > 0",
    )?;
    query.query_row(params![queue, now, most], |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(Depth { visible: count(0)? + count(3)?, in_flight: count(1)?, dead: count(2)? + count(4)? })
    })
}

/// A message's number and the count of the delivery; None for a receipt of another engine.
fn parts(receipt: &Receipt) -> Option<(i64, u32)> {
    let (number, receives) = receipt.0.split_once('.')?;
    Some((number.parse().ok()?, receives.parse().ok()?))
}

/// Microseconds as SQLite keeps them.
fn time(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}
