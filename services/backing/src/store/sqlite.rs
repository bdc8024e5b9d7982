//! A store in one SQLite file that several processes share: each has one writer thread and reads on the caller's thread.
//! Rows are never deleted, so the highest row number is the number of rows.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;

use async_trait::async_trait;
use lab_core::event::Grade;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Created, Cursor, Idempotency, Message, NewUser, Page, Settings, Store, Table, User};
use crate::clock::micros;
use crate::sqlite::{self, Limits, Reach, Readers, Schema, Writer};
use crate::{About, Error, MessageId, Promises, UserId};

const SCHEMA: Schema = Schema {
    operation: "sqlite store: open",
    application_id: 0x6c61_6273,
    steps: &["
        CREATE TABLE users (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT;
        CREATE TABLE answers (
            key TEXT PRIMARY KEY,
            body_hash BLOB NOT NULL,
            user_id INTEGER NOT NULL,
            answered_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX answers_by_age ON answers (answered_us);
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            from_user INTEGER NOT NULL,
            to_user INTEGER NOT NULL,
            text TEXT NOT NULL,
            sent_us INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX inbox ON messages (to_user, sent_us, id);
    "],
};

const CREATE: &str = "sqlite store: create user";
const GET: &str = "sqlite store: get user";
const PUT: &str = "sqlite store: put message";
const MESSAGES: &str = "sqlite store: messages";
const SCAN: &str = "sqlite store: scan";
const COUNT: &str = "sqlite store: count";
const PING: &str = "sqlite store: ping";
const CLOSE: &str = "sqlite store: close";

/// Keyed creates between two rounds of forgetting, and most keys forgotten in one: more are forgotten than can come.
const FORGET_EVERY: u64 = 256;
const FORGET_AT_MOST: u64 = 1024;

/// See the module.
pub struct SqliteStore {
    settings: Settings,
    writer: Writer,
    readers: Readers,
    keyed: Arc<AtomicU64>,
}

impl SqliteStore {
    /// Opens the file, makes it when it is missing, and brings an older one up to date.
    ///
    /// # Errors
    /// What SQLite says; [`Error::NewerSchema`] and [`Error::OtherFile`] when the file is not for this build or not a store's.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, Error> {
        let failed = |error| Error::engine(SCHEMA.operation, error);
        let (connection, turn) = sqlite::open(path, &SCHEMA)?;
        let readers = Readers::open(path, available_parallelism().map_or(1, usize::from)).map_err(failed)?;
        let limits = Limits { deadline: settings.deadline, max_waiting: settings.max_waiting };
        let writer = Writer::start("store-writer", connection, turn, limits)
            .map_err(|error| Error::engine(SCHEMA.operation, error))?;
        Ok(Self { settings, writer, readers, keyed: Arc::default() })
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn promises(&self) -> Promises {
        Promises {
            engine: "sqlite",
            durability: "survives a crash of the process and of the machine (WAL, synchronous=FULL)",
            acknowledgement: "after the commit's fsync",
            replication: "none: one file on one machine",
            ordering: "serializable writes; a read sees every write answered before, by any process",
            batching: "writes that wait at the same time share one commit",
            fidelity: Grade::Embedded,
        }
    }

    fn about(&self) -> About {
        sqlite::about()
    }

    async fn create_user(&self, user: NewUser, once: Option<Idempotency>) -> Result<Created, Error> {
        let now = self.settings.clock.now_us();
        let oldest = now.saturating_sub(micros(self.settings.remember));
        let forget = once.is_some() && self.keyed.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1;
        let work = move |connection: &Connection| {
            if forget {
                forget_before(connection, oldest).map_err(|error| Error::engine(CREATE, error))?;
            }
            match once {
                Some(once) => create_once(connection, &user, &once, now),
                None => insert_user(connection, &user)
                    .map(|id| Created { id, fresh: true })
                    .map_err(|error| Error::engine(CREATE, error)),
            }
        };
        self.writer.call(CREATE, Reach::Disk, work).await
    }

    async fn get_user(&self, id: UserId) -> Result<Option<User>, Error> {
        let Ok(number) = i64::try_from(id.0) else { return Ok(None) };
        self.readers.read(GET, |connection| {
            let mut query = connection.prepare_cached("SELECT name, created_at FROM users WHERE id = ?1")?;
            query.query_row([number], |row| Ok(User { id, name: row.get(0)?, created_at: row.get(1)? })).optional()
        })
    }

    async fn put_message(&self, message: Message) -> Result<bool, Error> {
        let work = move |connection: &Connection| {
            insert_message(connection, &message).map_err(|error| Error::engine(PUT, error))
        };
        self.writer.call(PUT, Reach::Disk, work).await
    }

    async fn messages_for(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers.read(MESSAGES, |connection| {
            let mut query = connection.prepare_cached(
                "SELECT id, from_user, to_user, text, sent_us FROM messages WHERE to_user = ?1 \
                 ORDER BY sent_us DESC, id DESC LIMIT ?2",
            )?;
            query.query_map(params![user.0.cast_signed(), limit], message_from)?.collect()
        })
    }

    async fn scan(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let (after, limit) = (Cursor::place(after, 0_i64, SCAN)?, limit.max(1));
        let query = match table {
            Table::Users => "SELECT id, name FROM users WHERE id > ?1 ORDER BY id LIMIT ?2",
            Table::Messages => "SELECT number, text FROM messages WHERE number > ?1 ORDER BY number LIMIT ?2",
        };
        self.readers.read(SCAN, |connection| {
            let most = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut query = connection.prepare_cached(query)?;
            let rows = query.query_map(params![after, most], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
            Ok(Page::of(rows.collect::<rusqlite::Result<Vec<_>>>()?, limit))
        })
    }

    async fn count(&self, table: Table) -> Result<u64, Error> {
        let query = match table {
            Table::Users => "SELECT coalesce(max(id), 0) FROM users",
            Table::Messages => "SELECT coalesce(max(number), 0) FROM messages",
        };
        self.readers.read(COUNT, |connection| {
            let rows: i64 = connection.prepare_cached(query)?.query_row([], |row| row.get(0))?;
            Ok(rows.cast_unsigned())
        })
    }

    async fn ping(&self) -> Result<(), Error> {
        // Through the writer too: a store that cannot take its turn is not ready.
        self.readers.read(PING, |connection| connection.prepare_cached("SELECT 1")?.query_row([], |_| Ok(())))?;
        self.writer.call(PING, Reach::Memory, |_| Ok(())).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.readers.close();
        self.writer.close(CLOSE).await
    }
}

fn insert_user(connection: &Connection, user: &NewUser) -> rusqlite::Result<UserId> {
    let mut insert = connection.prepare_cached("INSERT INTO users (name, created_at) VALUES (?1, ?2)")?;
    insert.execute(params![user.name, user.created_at])?;
    Ok(UserId(connection.last_insert_rowid().cast_unsigned()))
}

fn create_once(connection: &Connection, user: &NewUser, once: &Idempotency, now: u64) -> Result<Created, Error> {
    let failed = |error| Error::engine(CREATE, error);
    let key = once.stored_key();
    if let Some((body_hash, id)) = first_answer(connection, &key).map_err(failed)? {
        return if body_hash == once.body_hash { Ok(Created { id, fresh: false }) } else { Err(once.reused()) };
    }
    let id = insert_user(connection, user).map_err(failed)?;
    let remember = || {
        let mut insert = connection
            .prepare_cached("INSERT INTO answers (key, body_hash, user_id, answered_us) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![key, once.body_hash, id.0.cast_signed(), now.cast_signed()])
    };
    remember().map_err(failed)?;
    Ok(Created { id, fresh: true })
}

fn first_answer(connection: &Connection, key: &str) -> rusqlite::Result<Option<([u8; 16], UserId)>> {
    let mut query = connection.prepare_cached("SELECT body_hash, user_id FROM answers WHERE key = ?1")?;
    query.query_row([key], |row| Ok((row.get(0)?, UserId(row.get::<_, i64>(1)?.cast_unsigned())))).optional()
}

fn forget_before(connection: &Connection, oldest_us: u64) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM answers WHERE key IN \
         (SELECT key FROM answers WHERE answered_us < ?1 ORDER BY answered_us LIMIT ?2)",
    )?;
    delete.execute(params![oldest_us.cast_signed(), FORGET_AT_MOST.cast_signed()])?;
    Ok(())
}

fn insert_message(connection: &Connection, message: &Message) -> rusqlite::Result<bool> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages (id, from_user, to_user, text, sent_us) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (id) DO NOTHING",
    )?;
    let Message { id, from, to, text, sent_at } = message;
    let inserted = insert.execute(params![
        id.0.as_bytes(),
        from.0.cast_signed(),
        to.0.cast_signed(),
        text,
        i64::try_from(*sent_at).unwrap_or(i64::MAX),
    ])?;
    Ok(inserted == 1)
}

fn message_from(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: MessageId(Uuid::from_bytes(row.get(0)?)),
        from: UserId(row.get::<_, i64>(1)?.cast_unsigned()),
        to: UserId(row.get::<_, i64>(2)?.cast_unsigned()),
        text: row.get(3)?,
        sent_at: row.get::<_, i64>(4)?.cast_unsigned(),
    })
}
