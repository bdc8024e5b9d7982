//! Users and messages: the [`Store`] trait, its types and [`open`]. Engines live in `store/`, one file each.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::address::{read, shown};
use crate::clock::{Clock, SystemClock};
use crate::sqlite::opened;
use crate::{About, Error, MessageId, Promises, UserId};

mod claim;
pub mod dynamodb;
pub mod memory;
pub mod mongodb;
pub mod mysql;
pub mod postgres;
mod scan;
pub mod sqlite;

pub use scan::{Cursor, Page};

/// A user to be stored. The store chooses the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// Any text.
    pub name: String,
    /// As the client wrote it; the store does not look inside.
    pub created_at: String,
}

/// A stored user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub id: UserId,
    /// As stored.
    pub name: String,
    /// As stored.
    pub created_at: String,
}

/// A message from one user to another. The store does not check that the users exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Identity; storing it twice has the effect of storing it once.
    pub id: MessageId,
    /// Who wrote it.
    pub from: UserId,
    /// Whose inbox it lands in.
    pub to: UserId,
    /// Any text.
    pub text: String,
    /// When it was sent: microseconds since the Unix epoch.
    pub sent_at: u64,
}

/// Makes a repeated create have one effect: the same key with the same body is answered with the first answer,
/// the same key with another body is [`Error::KeyReused`]. Kept for [`Settings::remember`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub(crate) origin: Origin,
    pub(crate) body_hash: [u8; 16],
}

/// Who chose the key. A client's key never meets a message's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Client(String),
    Message(MessageId),
}

impl Idempotency {
    /// The client's own `Idempotency-Key` with the body it came with.
    pub fn client(key: impl Into<String>, body: &[u8]) -> Self {
        Self { origin: Origin::Client(key.into()), body_hash: Uuid::new_v5(&Uuid::NAMESPACE_OID, body).into_bytes() }
    }

    /// A queue's delivery, which may come more than once with the same id.
    pub fn message(id: MessageId) -> Self {
        Self { origin: Origin::Message(id), body_hash: [0; 16] }
    }

    /// The key as the engine stores it: the two origins cannot collide.
    pub(crate) fn stored_key(&self) -> String {
        match &self.origin {
            Origin::Client(key) => format!("client:{key}"),
            Origin::Message(id) => format!("message:{id}"),
        }
    }

    pub(crate) fn reused(&self) -> Error {
        let key = match &self.origin {
            Origin::Client(key) => key.clone(),
            Origin::Message(id) => id.to_string(),
        };
        Error::KeyReused { key }
    }
}

/// The answer to a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// The user's number.
    pub id: UserId,
    /// False when an earlier call with the same key had already made it.
    pub fresh: bool,
}

/// What [`Store::count`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Users.
    Users,
    /// Messages.
    Messages,
}

impl Table {
    /// `users` or `messages`, as in the metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Messages => "messages",
        }
    }
}

/// What every store engine can be told.
#[derive(Clone)]
pub struct Settings {
    /// Longest wait of one call.
    pub deadline: Duration,
    /// Most writes that wait for the engine at once; more are [`Error::Overloaded`].
    pub max_waiting: usize,
    /// How long idempotency keys are remembered, at least.
    pub remember: Duration,
    /// Most connections at once to an engine that is a server of its own; all replicas together may not want more than it has.
    pub connections: usize,
    /// Where the age of keys is measured.
    pub clock: Arc<dyn Clock>,
}

/// Connections of one replica where nothing else is said.
pub const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(10).unwrap();

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            max_waiting: 4096,
            remember: Duration::from_secs(24 * 60 * 60),
            connections: CONNECTIONS.get(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Where users and messages are kept. Every call ends within [`Settings::deadline`]; a write is answered when the engine's promise holds.
/// Dropping a call's future does not undo a write that was handed over.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What this engine promises.
    fn promises(&self) -> Promises;

    /// What the engine said of itself when it was opened.
    fn about(&self) -> About {
        About::nothing_but(&self.promises())
    }

    /// Stores a user. Ids count up from 1; one client that creates alone sees no gap.
    ///
    /// # Errors
    /// [`Error::KeyReused`] when the key was used with another body, and what every call may return.
    async fn create_user(&self, user: NewUser, once: Option<Idempotency>) -> Result<Created, Error>;

    /// The user with this id; None when there is none. Sees every create answered before, by any process.
    async fn get_user(&self, id: UserId) -> Result<Option<User>, Error>;

    /// Stores a message. True when it is new, false when a message with its id was there already (which stays as it is).
    async fn put_message(&self, message: Message) -> Result<bool, Error>;

    /// The newest messages to `user`, newest first by (`sent_at`, `id`), at most `limit`.
    async fn messages_for(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error>;

    /// The next rows of a table after a place, at most `limit` (at least 1). From None on, page by page until there is no next one, it
    /// gives each row that was there before the first page exactly once; rows that come while it lasts may be given or not.
    ///
    /// # Errors
    /// [`Error::Cursor`] when `after` is not of this table, and what every call may return.
    async fn scan(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error>;

    /// How many rows a table holds.
    async fn count(&self, table: Table) -> Result<u64, Error>;

    /// Ok when the engine answers now.
    async fn ping(&self) -> Result<(), Error>;

    /// Finishes what was handed over, then lets go. Later calls are [`Error::Closed`]; a second close is fine.
    async fn close(&self) -> Result<(), Error>;
}

const ACCEPTED: &str = "`memory:`, `sqlite:PATH`, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, \
    `mysql://USER:PASSWORD@HOST:PORT/DATABASE`, `mongodb://USER:PASSWORD@HOST:PORT/DATABASE`, \
    `dynamodb://HOST:PORT/PREFIX?region=REGION` or `dynamodb:aws:REGION/PREFIX`";

/// Opens the store that `address` names: `memory:`, `sqlite:PATH`, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`,
/// `mysql://…` and `mongodb://…` likewise, `dynamodb://HOST:PORT/PREFIX?region=REGION` for an emulator, or
/// `dynamodb:aws:REGION/PREFIX` for the service itself. Makes its tables where they are missing.
///
/// # Errors
/// [`Error::Address`] when it names no engine; otherwise what the engine says.
pub async fn open(address: &str, settings: Settings) -> Result<Arc<dyn Store>, Error> {
    let address = &*read(address)?;
    match address.split_once(':') {
        // A server's address is a URL.
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
            Ok(Arc::new(postgres::PostgresStore::open(address, settings).await?))
        }
        Some(("mysql", rest)) if rest.starts_with("//") => {
            Ok(Arc::new(mysql::MysqlStore::open(address, settings).await?))
        }
        Some(("mongodb", rest)) if rest.starts_with("//") => {
            Ok(Arc::new(mongodb::MongodbStore::open(address, settings).await?))
        }
        Some(("dynamodb", _)) => Ok(Arc::new(dynamodb::DynamodbStore::open(address, settings).await?)),
        Some(("memory", "")) => Ok(Arc::new(memory::MemoryStore::new(settings))),
        Some(("sqlite", path)) if !path.is_empty() => {
            let path = PathBuf::from(path);
            Ok(Arc::new(opened("sqlite store: open", move || sqlite::SqliteStore::open(&path, settings)).await?))
        }
        _ => Err(Error::Address { address: shown(address), role: "store", accepted: ACCEPTED }),
    }
}
