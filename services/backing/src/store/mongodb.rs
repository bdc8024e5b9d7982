//! A store in a MongoDB database that any number of processes share. It asks for no transaction, so that a server alone and one that
//! only speaks MongoDB's protocol will do: a create is a row of single-document changes, see `claim`.
//!
//! Identities are strings: servers that stand in for MongoDB find by no other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use lab_core::event::Grade;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, ReturnDocument, WriteConcern};
use mongodb::{Client, Collection, Database, IndexModel};
use tokio::time::timeout;

use super::claim::{self, Answer, Documents};
use super::{ACCEPTED, Created, Cursor, Idempotency, Message, NewUser, Page, Settings, Store, Table, User};
use crate::address::shown;
use crate::clock::micros;
use crate::gate::Gate;
use crate::{About, Error, Promises, UserId};

/// Steps of [`MongodbStore::migrate`].
const VERSION: i64 = 1;

const SCHEMA: &str = "store_schema";
const COUNTERS: &str = "counters";
const USERS: &str = "users";
const ANSWERS: &str = "answers";
const MESSAGES: &str = "messages";

const OPEN: &str = "mongodb store: open";
const CREATE: &str = "mongodb store: create user";
const GET: &str = "mongodb store: get user";
const PUT: &str = "mongodb store: put message";
const LIST: &str = "mongodb store: messages";
const SCAN: &str = "mongodb store: scan";
const COUNT: &str = "mongodb store: count";
const PING: &str = "mongodb store: ping";
const CLOSE: &str = "mongodb store: close";

/// Longest wait until a store is open.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Keyed creates between two rounds of forgetting, and most documents forgotten in one: more than can come.
const FORGET_EVERY: u64 = 256;
const FORGET_AT_MOST: i64 = 1024;

/// What the server says to a document whose `_id` is there already.
const DUPLICATE_KEY: i32 = 11000;

/// See the module.
pub struct MongodbStore {
    settings: Settings,
    /// Without its password.
    address: String,
    gate: Gate,
    client: Client,
    database: Database,
    keyed: AtomicU64,
    server: Server,
}

/// What the server says of itself.
struct Server {
    replica_set: bool,
    about: About,
}

impl Default for Server {
    /// Of a server that was not asked yet.
    fn default() -> Self {
        let about = About { server: "MongoDB".to_owned(), fidelity: Grade::Compatible, connections: None };
        Self { replica_set: false, about }
    }
}

impl MongodbStore {
    /// Reaches the database, makes its collections when they are missing, and brings older ones up to date.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read or names no database; [`Error::Unreachable`] when the server is away
    /// or refuses; [`Error::NewerSchema`] and [`Error::OtherFile`] when the database is not for this build or not a store's.
    pub async fn open(address: &str, settings: Settings) -> Result<Self, Error> {
        let address_seen = shown(address);
        let unread = || Error::Address { address: shown(address), role: "store", accepted: ACCEPTED };
        let options = ClientOptions::parse(address).await.map_err(|_unread| unread())?;
        let name = options.default_database.clone().ok_or_else(unread)?;
        let client = Client::with_options(tuned(options, &settings)).map_err(|_unread| unread())?;
        let mut store = Self {
            gate: Gate::new(&settings),
            settings,
            address: address_seen,
            database: client.database(&name),
            client,
            keyed: AtomicU64::new(0),
            server: Server::default(),
        };
        let prepare = async {
            store.migrate().await?;
            store.ask_about_itself().await
        };
        let limit = OPEN_WITHIN;
        store.server = timeout(limit, prepare).await.unwrap_or(Err(Error::Timeout { operation: OPEN, limit }))?;
        Ok(store)
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    fn failed(&self, operation: &'static str) -> impl Fn(mongodb::error::Error) -> Error + '_ {
        move |error| match *error.kind {
            ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Authentication { .. } => Error::Unreachable {
                operation,
                address: self.address.clone(),
                remedy: "start the server there, or correct the address: its user needs the right password (and `?authSource=`) \
                         and may make collections in its database",
                source: std::sync::Arc::new(error),
            },
            _ => Error::engine(operation, error),
        }
    }

    /// Inserts a document. False when there is one with its `_id`.
    async fn insert(&self, operation: &'static str, collection: &str, document: Document) -> Result<bool, Error> {
        match self.collection(collection).insert_one(document).await {
            Ok(_inserted) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(self.failed(operation)(error)),
        }
    }

    async fn find(&self, operation: &'static str, collection: &str, id: String) -> Result<Option<Document>, Error> {
        self.collection(collection).find_one(doc! { "_id": id }).await.map_err(self.failed(operation))
    }

    async fn migrate(&self) -> Result<(), Error> {
        let failed = self.failed(OPEN);
        // Before the version is read: another replica writes that first.
        let names = self.database.list_collection_names().await.map_err(&failed)?;
        let schema = self.collection(SCHEMA);
        let found = match schema.find_one(doc! { "_id": "store" }).await.map_err(&failed)? {
            Some(found) => found.get_i64("version").map_err(|error| Error::engine(OPEN, error))?,
            None if names.iter().any(|name| [COUNTERS, USERS, ANSWERS, MESSAGES].contains(&name.as_str())) => {
                return Err(Error::OtherFile { operation: OPEN, path: self.address.clone() });
            }
            None => {
                self.insert(OPEN, SCHEMA, doc! { "_id": "store", "version": 0_i64 }).await?;
                0
            }
        };
        if found > VERSION {
            return Err(Error::NewerSchema { what: self.address.clone(), found, known: VERSION });
        }
        if found < 1 {
            self.first_step().await?;
        }
        if found < VERSION {
            let reached = doc! { "$max": { "version": VERSION } };
            schema.update_one(doc! { "_id": "store" }, reached).await.map_err(&failed)?;
        }
        Ok(())
    }

    /// From nothing to version 1. Like every step it may be done by several replicas at once, and again after a crash.
    async fn first_step(&self) -> Result<(), Error> {
        let failed = self.failed(OPEN);
        self.insert(OPEN, COUNTERS, doc! { "_id": USERS, "drawn": 0_i64 }).await?;
        let by_age = IndexModel::builder().keys(doc! { "at_us": 1 }).build();
        self.collection(ANSWERS).create_index(by_age).await.map_err(&failed)?;
        let inbox = IndexModel::builder().keys(doc! { "to": 1, "sent_us": -1, "_id": -1 }).build();
        self.collection(MESSAGES).create_index(inbox).await.map_err(&failed)?;
        Ok(())
    }

    async fn ask_about_itself(&self) -> Result<Server, Error> {
        let failed = self.failed(OPEN);
        let hello = self.database.run_command(doc! { "hello": 1 }).await.map_err(&failed)?;
        let build = self.database.run_command(doc! { "buildInfo": 1 }).await.map_err(&failed)?;
        let replica_set =
            hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|router| router == "isdbgrid");
        let connections = self.most_connections().await;
        Ok(Server { replica_set, about: About { connections, ..named(&build) } })
    }

    /// None when the server does not tell, for which a user without the right to ask is reason enough.
    async fn most_connections(&self) -> Option<u32> {
        let status = self.database.run_command(doc! { "serverStatus": 1 }).await.ok()?;
        let connections = status.get_document("connections").ok()?;
        let count = |name| connections.get_i32(name).ok().and_then(|count| u32::try_from(count).ok());
        count("current")?.checked_add(count("available")?)
    }

    async fn forget_before(&self, oldest_us: u64) -> Result<(), Error> {
        let failed = self.failed(CREATE);
        let answers = self.collection(ANSWERS);
        let old = answers.find(doc! { "at_us": { "$lt": oldest_us.cast_signed() } }).sort(doc! { "at_us": 1 });
        let old: Vec<Document> = old
            .limit(FORGET_AT_MOST)
            .projection(doc! { "_id": 1 })
            .await
            .map_err(&failed)?
            .try_collect()
            .await
            .map_err(&failed)?;
        let old: Vec<&str> = old.iter().filter_map(|answer| answer.get_str("_id").ok()).collect();
        if !old.is_empty() {
            answers.delete_many(doc! { "_id": { "$in": old } }).await.map_err(&failed)?;
        }
        Ok(())
    }
}

/// The driver, told what the settings say.
fn tuned(mut options: ClientOptions, settings: &Settings) -> ClientOptions {
    // Sooner than the deadline, so that a server that is away is told from one that does not answer.
    let find_server = settings.deadline * 3 / 4;
    options.app_name = Some("lab".to_owned());
    options.max_pool_size = Some(u32::try_from(settings.connections).unwrap_or(u32::MAX).max(1));
    options.server_selection_timeout = Some(find_server);
    options.connect_timeout = Some(find_server);
    let mut durable = WriteConcern::majority();
    durable.journal = Some(true);
    options.write_concern = Some(durable);
    options
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(said)) if said.code == DUPLICATE_KEY)
}

/// Who it is, from its `buildInfo`: others that speak the protocol put a field of their own beside the version that they speak.
fn named(build: &Document) -> About {
    let text = |name: &str| build.get_str(name).ok();
    let spoken = text("version").unwrap_or("of unknown version");
    let ferret = build.keys().find(|key| key.to_lowercase().starts_with("ferretdb"));
    let (server, fidelity) = match ferret {
        None => (format!("MongoDB {spoken}"), Grade::Real),
        Some(key) => {
            let own = text(key).or_else(|| text("ferretdbVersion")).map(|own| own.trim_start_matches('v'));
            let own = own.map(|own| format!(" {own}")).unwrap_or_default();
            (format!("FerretDB{own}, which speaks as MongoDB {spoken}"), Grade::Compatible)
        }
    };
    About { server, fidelity, connections: None }
}

fn claim_id(key: &str) -> String {
    format!("claim:{key}")
}

fn answer_id(key: &str) -> String {
    format!("answer:{key}")
}

#[async_trait]
impl Documents for MongodbStore {
    async fn claim(&self, key: &str) -> Result<bool, Error> {
        let at_us = self.settings.clock.now_us().cast_signed();
        self.insert(CREATE, ANSWERS, doc! { "_id": claim_id(key), "at_us": at_us }).await
    }

    async fn draw(&self) -> Result<UserId, Error> {
        let counters = self.collection(COUNTERS);
        let drawn = counters
            .find_one_and_update(doc! { "_id": USERS }, doc! { "$inc": { "drawn": 1_i64 } })
            .return_document(ReturnDocument::After);
        let counter = drawn.await.map_err(self.failed(CREATE))?.ok_or_else(|| Error::engine(CREATE, NoCounter))?;
        let number = counter.get_i64("drawn").map_err(|error| Error::engine(CREATE, error))?;
        Ok(UserId(number.cast_unsigned()))
    }

    async fn keep_answer(&self, key: &str, answer: Answer) -> Result<bool, Error> {
        let body_hash = Binary { subtype: BinarySubtype::Generic, bytes: answer.body_hash.to_vec() };
        let document = doc! {
            "_id": answer_id(key),
            "at_us": self.settings.clock.now_us().cast_signed(),
            "body_hash": body_hash,
            "user_id": answer.id.0.cast_signed(),
        };
        self.insert(CREATE, ANSWERS, document).await
    }

    async fn answer(&self, key: &str) -> Result<Option<Answer>, Error> {
        let Some(found) = self.find(CREATE, ANSWERS, answer_id(key)).await? else { return Ok(None) };
        let unread = |error| Error::engine(CREATE, error);
        let body_hash = found.get_binary_generic("body_hash").map_err(unread)?;
        let body_hash = body_hash.as_slice().try_into().map_err(|error| Error::engine(CREATE, error))?;
        Ok(Some(Answer { body_hash, id: UserId(found.get_i64("user_id").map_err(unread)?.cast_unsigned()) }))
    }

    async fn put_user(&self, id: UserId, user: &NewUser) -> Result<bool, Error> {
        let document = doc! { "_id": id.to_string(), "name": &user.name, "created_at": &user.created_at };
        self.insert(CREATE, USERS, document).await
    }
}

/// Somebody has removed the counter of users.
#[derive(Debug, thiserror::Error)]
#[error("the document `users` of the collection `counters` is gone; restore the database, or give the store a new one")]
struct NoCounter;

#[async_trait]
impl Store for MongodbStore {
    fn promises(&self) -> Promises {
        let Server { replica_set, about: About { fidelity, .. } } = self.server;
        Promises {
            engine: "mongodb",
            durability: match (fidelity, replica_set) {
                (Grade::Compatible | Grade::Embedded, _) => {
                    "as the database behind the stand-in keeps it (w: majority, j: true are asked for)"
                }
                (Grade::Real, true) => "survives the loss of a minority of the replica set (w: majority, j: true)",
                (Grade::Real, false) => "survives a crash of the server and of its machine (j: true)",
            },
            acknowledgement: if replica_set {
                "after a majority has the write in its journal"
            } else {
                "after the server has the write in its journal"
            },
            replication: if replica_set { "a replica set" } else { "none: one server" },
            ordering: "single documents, read from the primary; a create is a row of them: one that failed or was cut short leaves a gap",
            batching: "none by the store; the server flushes concurrent writes together",
            fidelity,
        }
    }

    fn about(&self) -> About {
        self.server.about.clone()
    }

    async fn create_user(&self, user: NewUser, once: Option<Idempotency>) -> Result<Created, Error> {
        let call = async {
            let patience = claim::patience(self.settings.deadline);
            let created = claim::create(self, &user, once.as_ref(), patience).await?;
            if once.is_some() && self.keyed.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
                let now = self.settings.clock.now_us();
                self.forget_before(now.saturating_sub(micros(self.settings.remember))).await?;
            }
            Ok(created)
        };
        self.gate.within(CREATE, call).await
    }

    async fn get_user(&self, id: UserId) -> Result<Option<User>, Error> {
        let call = async {
            let Some(found) = self.find(GET, USERS, id.to_string()).await? else { return Ok(None) };
            let text = |field| found.get_str(field).map(str::to_owned).map_err(|error| Error::engine(GET, error));
            Ok(Some(User { id, name: text("name")?, created_at: text("created_at")? }))
        };
        self.gate.within(GET, call).await
    }

    async fn put_message(&self, message: Message) -> Result<bool, Error> {
        let document = doc! {
            "_id": message.id.to_string(),
            "from": message.from.0.cast_signed(),
            "to": message.to.0.cast_signed(),
            "text": message.text,
            "sent_us": i64::try_from(message.sent_at).unwrap_or(i64::MAX),
        };
        self.gate.within(PUT, self.insert(PUT, MESSAGES, document)).await
    }

    async fn messages_for(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error> {
        let call = async {
            // To the server 0 means all.
            if limit == 0 {
                return Ok(Vec::new());
            }
            let failed = self.failed(LIST);
            let messages = self.collection(MESSAGES);
            let newest = messages.find(doc! { "to": user.0.cast_signed() }).sort(doc! { "sent_us": -1, "_id": -1 });
            let newest = newest.limit(i64::try_from(limit).unwrap_or(i64::MAX)).await.map_err(&failed)?;
            let newest: Vec<Document> = newest.try_collect().await.map_err(&failed)?;
            newest.iter().map(message_from).collect()
        };
        self.gate.within(LIST, call).await
    }

    async fn scan(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let (collection, field) = match table {
            Table::Users => (USERS, "name"),
            Table::Messages => (MESSAGES, "text"),
        };
        let limit = limit.max(1);
        let call = async {
            let failed = self.failed(SCAN);
            // Every identity comes after the empty text.
            let after = Cursor::place(after, String::new(), SCAN)?;
            let collection = self.collection(collection);
            let rows = collection.find(doc! { "_id": { "$gt": after } }).sort(doc! { "_id": 1 });
            let rows = rows.limit(i64::try_from(limit).unwrap_or(i64::MAX)).projection(doc! { field: 1 });
            let rows: Vec<Document> = rows.await.map_err(&failed)?.try_collect().await.map_err(&failed)?;
            let text = |row: &Document, field| {
                row.get_str(field).map(str::to_owned).map_err(|error| Error::engine(SCAN, error))
            };
            let rows = rows.iter().map(|row| Ok((text(row, "_id")?, text(row, field)?)));
            Ok(Page::of(rows.collect::<Result<Vec<_>, Error>>()?, limit))
        };
        self.gate.within(SCAN, call).await
    }

    async fn count(&self, table: Table) -> Result<u64, Error> {
        let call = async { self.collection(table.name()).count_documents(doc! {}).await.map_err(self.failed(COUNT)) };
        self.gate.within(COUNT, call).await
    }

    async fn ping(&self) -> Result<(), Error> {
        // The driver asks the primary, and has none while no server takes writes.
        let call = async { self.database.run_command(doc! { "ping": 1 }).await.map_err(self.failed(PING)).map(drop) };
        self.gate.within(PING, call).await
    }

    async fn close(&self) -> Result<(), Error> {
        let drained = self.gate.close(CLOSE).await;
        // A server that has gone needs no farewell.
        drop(timeout(self.settings.deadline, self.client.clone().shutdown().immediate(true)).await);
        drained
    }
}

fn message_from(found: &Document) -> Result<Message, Error> {
    let unread = |error| Error::engine(LIST, error);
    let number = |field| found.get_i64(field).map(i64::cast_unsigned).map_err(unread);
    let id = found.get_str("_id").map_err(unread)?.parse().map_err(|error| Error::engine(LIST, error))?;
    Ok(Message {
        id,
        from: UserId(number("from")?),
        to: UserId(number("to")?),
        text: found.get_str("text").map_err(unread)?.to_owned(),
        sent_at: number("sent_us")?,
    })
}
