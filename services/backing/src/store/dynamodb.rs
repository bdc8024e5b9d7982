//! A store in DynamoDB tables that any number of processes share. A create is a row of conditional writes, see `claim`;
//! a message is one transaction over its identity and its place in the inbox, so that inboxes are read consistently.
//! The tables and how they come to be are in `dynamodb/tables.rs`.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, Select, TransactWriteItem};
use tokio::time::sleep;
use uuid::Uuid;

use super::claim::{self, Answer, Documents};
use super::{ACCEPTED, Created, Cursor, Idempotency, Message, NewUser, Page, Settings, Store, Table, User};
use crate::aws::{Limits, Place, Wanted};
use crate::clock::micros;
use crate::gate::Gate;
use crate::{About, Error, MessageId, Promises, UserId};

mod scan;
mod tables;

use tables::Tables;

const OPEN: &str = "dynamodb store: open";
const CREATE: &str = "dynamodb store: create user";
const GET: &str = "dynamodb store: get user";
const PUT: &str = "dynamodb store: put message";
const LIST: &str = "dynamodb store: messages";
const SCAN: &str = "dynamodb store: scan";
const COUNT: &str = "dynamodb store: count";
const PING: &str = "dynamodb store: ping";
const CLOSE: &str = "dynamodb store: close";

type Item = HashMap<String, AttributeValue>;

/// See the module.
pub struct DynamodbStore {
    settings: Settings,
    gate: Gate,
    client: Client,
    tables: Tables,
    place: Place,
    /// Of a stand-in: which one.
    stand_in: &'static str,
}

impl DynamodbStore {
    /// Reaches the service and makes the tables that are missing.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read; [`Error::Unreachable`] when the service is away or refuses;
    /// [`Error::NewerSchema`] and [`Error::OtherFile`] when the tables are not for this build or not a store's.
    pub async fn open(address: &str, settings: Settings) -> Result<Self, Error> {
        let place = Place::read(address, Wanted { scheme: "dynamodb", role: "store", accepted: ACCEPTED })?;
        let limits = Limits { deadline: settings.deadline, ends_calls: true, idle: settings.connections };
        let client = Client::new(&place.config(limits).await);
        let tables = Tables::of(place.prefix());
        let gate = Gate::new(&settings);
        let mut store = Self { gate, settings, client, tables, place, stand_in: "" };
        store.prepare().await?;
        if !store.place.is_aws() {
            store.stand_in = store.which_stand_in().await?;
        }
        Ok(store)
    }

    /// For `map_err`: what the service or the way to it said.
    fn failed<E: StdError + Send + Sync + 'static>(
        &self,
        operation: &'static str,
    ) -> impl Fn(SdkError<E, HttpResponse>) -> Error {
        self.place.failed(operation)
    }

    /// Puts an item. False when there is one with its key, whose attribute is named.
    async fn insert(&self, operation: &'static str, table: &str, key: &str, item: Item) -> Result<bool, Error> {
        let put = self.client.put_item().table_name(table).set_item(Some(item));
        let put = put.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", key);
        match put.send().await {
            Ok(_put) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|said| said.is_conditional_check_failed_exception()) => {
                Ok(false)
            }
            Err(error) => Err(self.failed(operation)(error)),
        }
    }

    /// The item with this key, as of all writes answered before.
    async fn get(
        &self,
        operation: &'static str,
        table: &str,
        key: &str,
        value: AttributeValue,
    ) -> Result<Option<Item>, Error> {
        let get = self.client.get_item().table_name(table).key(key, value).consistent_read(true);
        Ok(get.send().await.map_err(self.failed(operation))?.item)
    }

    /// When the answer to a key may be forgotten: whole seconds since the Unix epoch.
    fn expires(&self) -> u64 {
        (self.settings.clock.now_us().saturating_add(micros(self.settings.remember)) / 1_000_000).saturating_add(1)
    }
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An item of ours without what we wrote into it.
#[derive(Debug, thiserror::Error)]
#[error("an item has no readable `{0}`; another program has written into the table")]
struct Unread(&'static str);

/// Reads attributes of an item, for one operation's errors.
struct Fields<'a> {
    operation: &'static str,
    item: &'a Item,
}

impl<'a> Fields<'a> {
    fn read<T>(&self, name: &'static str, as_it_is: impl Fn(&'a AttributeValue) -> Option<T>) -> Result<T, Error> {
        self.item.get(name).and_then(as_it_is).ok_or_else(|| Error::engine(self.operation, Unread(name)))
    }

    fn number(&self, name: &'static str) -> Result<u64, Error> {
        self.read(name, |value| value.as_n().ok()?.parse().ok())
    }

    fn text(&self, name: &'static str) -> Result<String, Error> {
        self.read(name, |value| value.as_s().ok().cloned())
    }

    fn bytes<const N: usize>(&self, name: &'static str) -> Result<[u8; N], Error> {
        self.read(name, |value| value.as_b().ok()?.as_ref().try_into().ok())
    }
}

#[async_trait]
impl Documents for DynamodbStore {
    async fn claim(&self, key: &str) -> Result<bool, Error> {
        let claim = item([("id", text(format!("claim:{key}"))), ("expires", number(self.expires()))]);
        self.insert(CREATE, &self.tables.answers, "id", claim).await
    }

    async fn draw(&self) -> Result<UserId, Error> {
        let draw = self.client.update_item().table_name(&self.tables.counters).key("name", text("users"));
        let draw = draw.update_expression("ADD drawn :one").expression_attribute_values(":one", number(1));
        let drawn = draw.return_values(ReturnValue::UpdatedNew).send().await.map_err(self.failed(CREATE))?;
        let item = drawn.attributes.unwrap_or_default();
        Ok(UserId(Fields { operation: CREATE, item: &item }.number("drawn")?))
    }

    async fn keep_answer(&self, key: &str, answer: Answer) -> Result<bool, Error> {
        let kept = item([
            ("id", text(format!("answer:{key}"))),
            ("expires", number(self.expires())),
            ("body_hash", bytes(answer.body_hash)),
            ("user_id", number(answer.id.0)),
        ]);
        self.insert(CREATE, &self.tables.answers, "id", kept).await
    }

    async fn answer(&self, key: &str) -> Result<Option<Answer>, Error> {
        let found = self.get(CREATE, &self.tables.answers, "id", text(format!("answer:{key}"))).await?;
        let Some(item) = found else { return Ok(None) };
        let fields = Fields { operation: CREATE, item: &item };
        Ok(Some(Answer { body_hash: fields.bytes("body_hash")?, id: UserId(fields.number("user_id")?) }))
    }

    async fn put_user(&self, id: UserId, user: &NewUser) -> Result<bool, Error> {
        let user = item([("id", number(id.0)), ("name", text(&user.name)), ("created_at", text(&user.created_at))]);
        self.insert(CREATE, &self.tables.users, "id", user).await
    }
}

#[async_trait]
impl Store for DynamodbStore {
    fn promises(&self) -> Promises {
        let real = self.place.is_aws();
        Promises {
            engine: "dynamodb",
            durability: if real {
                "survives the loss of an availability zone"
            } else {
                "as the emulator keeps it: in memory it is gone with its process"
            },
            acknowledgement: if real {
                "after two of three copies have the write"
            } else {
                "after the emulator has the write"
            },
            replication: if real { "three copies in three availability zones" } else { "none: one emulator" },
            ordering: "single items, read consistently; a create is a row of them: one that failed or was cut short leaves a gap",
            batching: "none",
            fidelity: self.place.fidelity(),
        }
    }

    fn about(&self) -> About {
        let server = if self.place.is_aws() { "Amazon DynamoDB" } else { self.stand_in };
        About { server: server.to_owned(), fidelity: self.place.fidelity(), connections: None }
    }

    async fn create_user(&self, user: NewUser, once: Option<Idempotency>) -> Result<Created, Error> {
        let patience = claim::patience(self.settings.deadline);
        self.gate.within(CREATE, claim::create(self, &user, once.as_ref(), patience)).await
    }

    async fn get_user(&self, id: UserId) -> Result<Option<User>, Error> {
        let call = async {
            let Some(item) = self.get(GET, &self.tables.users, "id", number(id.0)).await? else { return Ok(None) };
            let fields = Fields { operation: GET, item: &item };
            Ok(Some(User { id, name: fields.text("name")?, created_at: fields.text("created_at")? }))
        };
        self.gate.within(GET, call).await
    }

    async fn put_message(&self, message: Message) -> Result<bool, Error> {
        self.gate.within(PUT, self.put_once(&message)).await
    }

    async fn messages_for(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error> {
        self.gate.within(LIST, self.newest(user, limit)).await
    }

    async fn scan(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.gate.within(SCAN, self.scanned(table, after, limit)).await
    }

    async fn count(&self, table: Table) -> Result<u64, Error> {
        let table = match table {
            Table::Users => &self.tables.users,
            Table::Messages => &self.tables.messages,
        };
        self.gate.within(COUNT, self.counted(table)).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.gate.within(PING, async { self.version(PING).await.map(drop) }).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.gate.close(CLOSE).await
    }
}

impl DynamodbStore {
    async fn put_once(&self, message: &Message) -> Result<bool, Error> {
        const LONGEST_WAIT: Duration = Duration::from_millis(100);
        let mut wait = Duration::from_millis(2);
        loop {
            let identity = item([("id", bytes(*message.id.0.as_bytes()))]);
            let puts = [(&self.tables.messages, "id", identity), (&self.tables.inboxes, "to", inbox_item(message))];
            let mut write = self.client.transact_write_items();
            for (table, key, item) in puts {
                let put = Put::builder().table_name(table).set_item(Some(item));
                let put =
                    put.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", key);
                let put = put.build().map_err(|error| Error::engine(PUT, error))?;
                write = write.transact_items(TransactWriteItem::builder().put(put).build());
            }
            let Err(error) = write.send().await else { return Ok(true) };
            let reasons = cancelled_because(&error);
            if reasons.iter().any(|reason| reason == "ConditionalCheckFailed") {
                return Ok(false);
            }
            // Another write of the same message is under way, and the service does not wait for it.
            if !reasons.iter().any(|reason| reason == "TransactionConflict") {
                return Err(self.failed(PUT)(error));
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn newest(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error> {
        let mut messages = Vec::new();
        let mut from = None;
        while messages.len() < limit {
            let rest = i32::try_from(limit - messages.len()).unwrap_or(i32::MAX);
            let query = self.client.query().table_name(&self.tables.inboxes).key_condition_expression("#to = :user");
            let query = query.expression_attribute_names("#to", "to");
            let query = query.expression_attribute_values(":user", number(user.0));
            let query = query.scan_index_forward(false).consistent_read(true).limit(rest).set_exclusive_start_key(from);
            let page = query.send().await.map_err(self.failed(LIST))?;
            for item in page.items() {
                messages.push(message_from(user, item)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok(messages)
    }

    async fn counted(&self, table: &str) -> Result<u64, Error> {
        let mut rows = 0;
        let mut from = None;
        loop {
            let scan = self.client.scan().table_name(table).select(Select::Count).consistent_read(true);
            let page = scan.set_exclusive_start_key(from).send().await.map_err(self.failed(COUNT))?;
            rows += u64::try_from(page.count).unwrap_or_default();
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(rows);
            }
        }
    }
}

/// Why a transaction was cancelled, by item; nothing when that is not what the error says.
fn cancelled_because(
    error: &SdkError<aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError, HttpResponse>,
) -> Vec<String> {
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code().map(str::to_owned)).collect()
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => vec!["TransactionConflict".to_owned()],
        _ => Vec::new(),
    }
}

/// In an inbox messages lie by time and identity; bytes are compared one by one, so the number has its highest byte first.
fn inbox_item(message: &Message) -> Item {
    let place = [message.sent_at.to_be_bytes().as_slice(), message.id.0.as_bytes()].concat();
    item([
        ("to", number(message.to.0)),
        ("place", bytes(place)),
        ("from", number(message.from.0)),
        ("text", text(&message.text)),
    ])
}

fn message_from(to: UserId, item: &Item) -> Result<Message, Error> {
    let fields = Fields { operation: LIST, item };
    let [t0, t1, t2, t3, t4, t5, t6, t7, id @ ..]: [u8; 24] = fields.bytes("place")?;
    Ok(Message {
        id: MessageId(Uuid::from_bytes(id)),
        from: UserId(fields.number("from")?),
        to,
        text: fields.text("text")?,
        sent_at: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
    })
}
