//! A store in this process's memory: for tests and as the floor every other engine is compared with. Nothing survives the process.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lab_core::event::Grade;

use super::{Created, Cursor, Idempotency, Message, NewUser, Page, Settings, Store, Table, User};
use crate::clock::micros;
use crate::{Error, MessageId, Promises, UserId};

const SCAN: &str = "memory store: scan";

/// See the module.
pub struct MemoryStore {
    settings: Settings,
    // Held for a few map operations, never across an await.
    data: Mutex<Data>,
}

#[derive(Default)]
struct Data {
    users: Vec<(String, String)>,
    answers: HashMap<String, ([u8; 16], UserId)>,
    // Oldest first; what makes forgetting cheap.
    answered: VecDeque<(u64, String)>,
    message_ids: HashSet<MessageId>,
    // In the order in which they came; inboxes hold their indices.
    messages: Vec<Message>,
    inboxes: HashMap<UserId, BTreeMap<(u64, MessageId), usize>>,
    closed: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        Self { settings, data: Mutex::default() }
    }

    fn data(&self, operation: &'static str) -> Result<MutexGuard<'_, Data>, Error> {
        let data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if data.closed { Err(Error::Closed { operation }) } else { Ok(data) }
    }
}

impl Data {
    fn forget_before(&mut self, oldest_us: u64) {
        while self.answered.front().is_some_and(|(at, _)| *at < oldest_us) {
            if let Some((_, key)) = self.answered.pop_front() {
                self.answers.remove(&key);
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn promises(&self) -> Promises {
        Promises {
            engine: "memory",
            durability: "none: gone with the process",
            acknowledgement: "after the change in memory",
            replication: "none",
            ordering: "linearizable in one process, not shared",
            batching: "none",
            fidelity: Grade::Embedded,
        }
    }

    async fn create_user(&self, user: NewUser, once: Option<Idempotency>) -> Result<Created, Error> {
        let mut data = self.data("memory store: create user")?;
        let now = self.settings.clock.now_us();
        data.forget_before(now.saturating_sub(micros(self.settings.remember)));
        let key = once.as_ref().map(Idempotency::stored_key);
        if let (Some(once), Some(key)) = (&once, &key)
            && let Some((body_hash, id)) = data.answers.get(key)
        {
            return if *body_hash == once.body_hash {
                Ok(Created { id: *id, fresh: false })
            } else {
                Err(once.reused())
            };
        }
        data.users.push((user.name, user.created_at));
        let id = UserId(data.users.len() as u64);
        if let (Some(once), Some(key)) = (once, key) {
            data.answers.insert(key.clone(), (once.body_hash, id));
            data.answered.push_back((now, key));
        }
        Ok(Created { id, fresh: true })
    }

    async fn get_user(&self, id: UserId) -> Result<Option<User>, Error> {
        let data = self.data("memory store: get user")?;
        let index = id.0.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let found = index.and_then(|index| data.users.get(index));
        Ok(found.map(|(name, created_at)| User { id, name: name.clone(), created_at: created_at.clone() }))
    }

    async fn put_message(&self, message: Message) -> Result<bool, Error> {
        let mut data = self.data("memory store: put message")?;
        let fresh = data.message_ids.insert(message.id);
        if fresh {
            let index = data.messages.len();
            data.inboxes.entry(message.to).or_default().insert((message.sent_at, message.id), index);
            data.messages.push(message);
        }
        Ok(fresh)
    }

    async fn messages_for(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error> {
        let data = self.data("memory store: messages")?;
        let inbox = data.inboxes.get(&user).into_iter().flat_map(|inbox| inbox.values().rev());
        Ok(inbox.take(limit).filter_map(|index| data.messages.get(*index)).cloned().collect())
    }

    async fn scan(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let data = self.data(SCAN)?;
        let (from, limit) = (Cursor::place(after, 0_usize, SCAN)?, limit.max(1));
        let places = from.saturating_add(1)..;
        let rows = match table {
            Table::Users => {
                places.zip(data.users.iter().skip(from).map(|(name, _)| name.clone())).take(limit).collect()
            }
            Table::Messages => {
                places.zip(data.messages.iter().skip(from).map(|m| m.text.clone())).take(limit).collect()
            }
        };
        Ok(Page::of(rows, limit))
    }

    async fn count(&self, table: Table) -> Result<u64, Error> {
        let data = self.data("memory store: count")?;
        Ok(match table {
            Table::Users => data.users.len() as u64,
            Table::Messages => data.message_ids.len() as u64,
        })
    }

    async fn ping(&self) -> Result<(), Error> {
        self.data("memory store: ping").map(drop)
    }

    async fn close(&self) -> Result<(), Error> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}
