//! A store in a PostgreSQL database that any number of processes share. A create is one statement and one round trip, with a key or without.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use lab_core::event::Grade;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use uuid::Uuid;

use super::{ACCEPTED, Created, Cursor, Idempotency, Message, NewUser, Page, Settings, Store, Table, User};
use crate::address::shown;
use crate::clock::micros;
use crate::sql::{Connections, Failed, opened, reached};
use crate::{About, Error, MessageId, Promises, UserId};

/// Step n takes the database from version n to n + 1. Steps are only ever added.
///
/// A key is claimed in `answers` before the user is made, so that a create that finds its key taken uses up no id;
/// `answered_with` is a table of its own because one statement cannot change a row that it has made.
const STEPS: &[&str] = &["
    CREATE TABLE users (
        id BIGINT GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
        name TEXT NOT NULL,
        created_at TEXT NOT NULL
    );
    CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        body_hash BYTEA NOT NULL,
        answered_us BIGINT NOT NULL
    );
    CREATE INDEX answers_by_age ON answers (answered_us);
    CREATE TABLE answered_with (
        key TEXT PRIMARY KEY,
        user_id BIGINT NOT NULL
    );
    CREATE TABLE messages (
        id UUID PRIMARY KEY,
        from_user BIGINT NOT NULL,
        to_user BIGINT NOT NULL,
        text TEXT NOT NULL,
        sent_us BIGINT NOT NULL
    );
    CREATE INDEX inbox ON messages (to_user, sent_us, id);
"];

/// One replica at a time changes the tables of a database.
const MIGRATION: i64 = 0x6c61_6273;

const OPEN: &str = "postgres store: open";
const CREATE: &str = "postgres store: create user";
const GET: &str = "postgres store: get user";
const PUT: &str = "postgres store: put message";
const MESSAGES: &str = "postgres store: messages";
const SCAN: &str = "postgres store: scan";
const COUNT: &str = "postgres store: count";
const PING: &str = "postgres store: ping";
const CLOSE: &str = "postgres store: close";

/// Keyed creates between two rounds of forgetting. A round forgets more than come in between.
const FORGET_EVERY: u64 = 256;

/// See the module.
pub struct PostgresStore {
    settings: Settings,
    connections: Connections<PgConnection>,
    keyed: AtomicU64,
    server: Server,
}

/// What the server says of itself.
struct Server {
    durable: bool,
    about: About,
}

impl PostgresStore {
    /// Reaches the database, makes its tables when they are missing, and brings older ones up to date.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read; [`Error::Unreachable`] when the server is away or refuses;
    /// [`Error::NewerSchema`] and [`Error::OtherFile`] when the database is not for this build or not a store's.
    pub async fn open(address: &str, settings: Settings) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(address).map_err(|_unread| Error::Address {
            address: shown(address),
            role: "store",
            accepted: ACCEPTED,
        })?;
        let options = options
            .application_name("lab")
            .options([
                ("synchronous_commit", "on"),
                ("default_transaction_isolation", "read committed"),
                // What nobody waits for any more does not keep a connection of the server.
                ("statement_timeout", &settings.deadline.as_millis().max(1).to_string()),
            ])
            .disable_statement_logging();
        let first = opened(OPEN, address, async {
            let mut first = reached(settings.deadline, options.connect()).await?;
            migrate(&mut first, address).await?;
            let server = ask_about_itself(&mut first).await?;
            Ok((first, server))
        });
        let (first, server) = first.await?;
        let connect = move || {
            let options = options.clone();
            Box::pin(async move { options.connect().await }) as _
        };
        let connections = Connections::new(first, &settings, Box::new(connect));
        Ok(Self { settings, connections, keyed: AtomicU64::new(0), server })
    }

    async fn create_once(
        &self,
        connection: &mut PgConnection,
        user: &NewUser,
        once: &Idempotency,
    ) -> Result<Created, Failed> {
        let now = self.settings.clock.now_us();
        let key = once.stored_key();
        loop {
            if let Some(id) = claim_and_create(connection, user, once, &key, now).await? {
                if self.keyed.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
                    let oldest = now.saturating_sub(micros(self.settings.remember));
                    forget_before(connection, oldest).await?;
                }
                return Ok(Created { id, fresh: true });
            }
            match first_answer(connection, &key).await? {
                Some((body_hash, id)) if body_hash == once.body_hash => return Ok(Created { id, fresh: false }),
                Some(_) => return Err(once.reused().into()),
                // Forgotten in between: the key is free again.
                None => {}
            }
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn promises(&self) -> Promises {
        Promises {
            engine: "postgres",
            durability: if self.server.durable {
                "survives a crash of the server and of its machine (fsync on, synchronous_commit=on)"
            } else {
                "none beyond a crash of the process: the server runs with fsync off"
            },
            acknowledgement: "after the commit's WAL is flushed",
            replication: "as the server is set up: a commit waits for its synchronous standbys, if it has any",
            ordering: "read committed, one server; ids from a sequence: a create that failed, or a crash of the server, leaves a gap",
            batching: "none by the store; the server flushes concurrent commits together",
            fidelity: self.server.about.fidelity,
        }
    }

    fn about(&self) -> About {
        self.server.about.clone()
    }

    async fn create_user(&self, user: NewUser, once: Option<Idempotency>) -> Result<Created, Error> {
        let call = async {
            let mut connection = self.connections.take(CREATE).await?;
            let created = match &once {
                Some(once) => self.create_once(&mut connection.connection, &user, once).await,
                None => create(&mut connection.connection, &user).await.map(|id| Created { id, fresh: true }),
            };
            match created {
                Err(Failed::Sql(error)) => Err(error.into()),
                said => connection.done(said),
            }
        };
        self.connections.within(CREATE, call).await
    }

    async fn get_user(&self, id: UserId) -> Result<Option<User>, Error> {
        let Ok(number) = i64::try_from(id.0) else { return Ok(None) };
        let call = async {
            let mut connection = self.connections.take(GET).await?;
            let query = sqlx::query("SELECT name, created_at FROM users WHERE id = $1").bind(number);
            let row = query.fetch_optional(&mut connection.connection).await?;
            let user =
                row.map(|row| Ok(User { id, name: original(row.try_get(0)?), created_at: original(row.try_get(1)?) }));
            Ok(connection.done(user.transpose().map_err(Failed::Sql)?))
        };
        self.connections.within(GET, call).await
    }

    async fn put_message(&self, message: Message) -> Result<bool, Error> {
        let call = async {
            let mut connection = self.connections.take(PUT).await?;
            let Message { id, from, to, text, sent_at } = &message;
            let insert = sqlx::query(
                "INSERT INTO messages (id, from_user, to_user, text, sent_us) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (id) DO NOTHING",
            );
            let insert = insert
                .bind(id.0)
                .bind(from.0.cast_signed())
                .bind(to.0.cast_signed())
                .bind(storable(text))
                .bind(i64::try_from(*sent_at).unwrap_or(i64::MAX));
            let inserted = insert.execute(&mut connection.connection).await?;
            Ok(connection.done(inserted.rows_affected() == 1))
        };
        self.connections.within(PUT, call).await
    }

    async fn messages_for(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error> {
        let call = async {
            let mut connection = self.connections.take(MESSAGES).await?;
            let query = sqlx::query(
                "SELECT id, from_user, to_user, text, sent_us FROM messages WHERE to_user = $1 \
                 ORDER BY sent_us DESC, id DESC LIMIT $2",
            );
            let query = query.bind(user.0.cast_signed()).bind(i64::try_from(limit).unwrap_or(i64::MAX));
            let rows = query.fetch_all(&mut connection.connection).await?;
            let messages = rows.iter().map(message_from).collect::<sqlx::Result<_>>()?;
            Ok(connection.done(messages))
        };
        self.connections.within(MESSAGES, call).await
    }

    async fn scan(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let limit = limit.max(1);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let call = async {
            let query = match table {
                Table::Users => {
                    let query =
                        sqlx::query("SELECT id::text, name FROM users WHERE id > $1 ORDER BY users.id LIMIT $2");
                    query.bind(Cursor::place(after, 0_i64, SCAN)?)
                }
                Table::Messages => {
                    let query =
                        sqlx::query("SELECT id::text, text FROM messages WHERE id > $1 ORDER BY messages.id LIMIT $2");
                    query.bind(Cursor::place(after, Uuid::nil(), SCAN)?)
                }
            };
            let mut connection = self.connections.take(SCAN).await?;
            let rows = query.bind(most).fetch_all(&mut connection.connection).await?;
            let place = |row: &PgRow| Ok((row.try_get::<String, _>(0)?, original(row.try_get(1)?)));
            let rows = rows.iter().map(place).collect::<sqlx::Result<Vec<_>>>()?;
            Ok(connection.done(Page::of(rows, limit)))
        };
        self.connections.within(SCAN, call).await
    }

    async fn count(&self, table: Table) -> Result<u64, Error> {
        let query = match table {
            Table::Users => "SELECT count(*) FROM users",
            Table::Messages => "SELECT count(*) FROM messages",
        };
        let call = async {
            let mut connection = self.connections.take(COUNT).await?;
            let rows: i64 = sqlx::query_scalar(query).fetch_one(&mut connection.connection).await?;
            Ok(connection.done(rows.cast_unsigned()))
        };
        self.connections.within(COUNT, call).await
    }

    async fn ping(&self) -> Result<(), Error> {
        let call = async {
            let mut connection = self.connections.take(PING).await?;
            // A standby, or a database that was made read-only, answers but cannot create.
            let read_only: bool = sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'on'")
                .fetch_one(&mut connection.connection)
                .await?;
            let ready = if read_only { Err(Error::engine(PING, ReadOnly).into()) } else { Ok(()) };
            connection.done(ready)
        };
        self.connections.within(PING, call).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.connections.close(CLOSE).await
    }
}

/// The server answers reads only.
#[derive(Debug, thiserror::Error)]
#[error("the server takes no writes; name the primary")]
struct ReadOnly;

async fn create(connection: &mut PgConnection, user: &NewUser) -> Result<UserId, Failed> {
    let insert = sqlx::query_scalar("INSERT INTO users (name, created_at) VALUES ($1, $2) RETURNING id");
    let insert = insert.bind(storable(&user.name)).bind(storable(&user.created_at));
    let id: i64 = insert.fetch_one(connection).await?;
    Ok(UserId(id.cast_unsigned()))
}

/// None when the key was taken before; then nothing has changed. Waits for a create with the same key that is under way.
async fn claim_and_create(
    connection: &mut PgConnection,
    user: &NewUser,
    once: &Idempotency,
    key: &str,
    now_us: u64,
) -> Result<Option<UserId>, Failed> {
    let insert = sqlx::query_scalar(
        "WITH claimed AS ( \
             INSERT INTO answers (key, body_hash, answered_us) VALUES ($1, $2, $3) \
             ON CONFLICT (key) DO NOTHING RETURNING key), \
         created AS (INSERT INTO users (name, created_at) SELECT $4, $5 FROM claimed RETURNING id) \
         INSERT INTO answered_with (key, user_id) SELECT claimed.key, created.id FROM claimed, created RETURNING user_id",
    );
    let insert = insert
        .bind(storable(key))
        .bind(once.body_hash.as_slice())
        .bind(now_us.cast_signed())
        .bind(storable(&user.name))
        .bind(storable(&user.created_at));
    let id: Option<i64> = insert.fetch_optional(connection).await?;
    Ok(id.map(|id| UserId(id.cast_unsigned())))
}

async fn first_answer(connection: &mut PgConnection, key: &str) -> Result<Option<(Vec<u8>, UserId)>, Failed> {
    let query = sqlx::query("SELECT body_hash, user_id FROM answers JOIN answered_with USING (key) WHERE key = $1");
    let Some(row) = query.bind(storable(key)).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some((row.try_get(0)?, UserId(row.try_get::<i64, _>(1)?.cast_unsigned()))))
}

/// Several replicas may forget at once: each takes rows that no other has taken.
async fn forget_before(connection: &mut PgConnection, oldest_us: u64) -> Result<(), Failed> {
    let delete = sqlx::query(
        "WITH old AS (SELECT key FROM answers WHERE answered_us < $1 \
             ORDER BY answered_us LIMIT 1024 FOR UPDATE SKIP LOCKED), \
         forgotten AS (DELETE FROM answers USING old WHERE answers.key = old.key RETURNING answers.key) \
         DELETE FROM answered_with USING forgotten WHERE answered_with.key = forgotten.key",
    );
    delete.bind(oldest_us.cast_signed()).execute(connection).await?;
    Ok(())
}

fn message_from(row: &PgRow) -> sqlx::Result<Message> {
    Ok(Message {
        id: MessageId(row.try_get::<Uuid, _>(0)?),
        from: UserId(row.try_get::<i64, _>(1)?.cast_unsigned()),
        to: UserId(row.try_get::<i64, _>(2)?.cast_unsigned()),
        text: original(row.try_get(3)?),
        sent_at: row.try_get::<i64, _>(4)?.cast_unsigned(),
    })
}

/// PostgreSQL keeps any text but one with a NUL. SUB and a digit stand for it, SUB twice for SUB itself; other text stays as it is.
const SUB: char = '\u{1a}';

fn storable(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', SUB]) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(SUB, "\u{1a}\u{1a}").replace('\0', "\u{1a}0"))
}

fn original(stored: String) -> String {
    if !stored.contains(SUB) {
        return stored;
    }
    let mut signs = stored.chars();
    let mut text = String::with_capacity(stored.len());
    while let Some(sign) = signs.next() {
        text.push(match sign {
            SUB if signs.as_str().starts_with('0') => '\0',
            other => other,
        });
        if sign == SUB {
            signs.next();
        }
    }
    text
}

async fn ask_about_itself(connection: &mut PgConnection) -> Result<Server, Failed> {
    let query = "SELECT version(), current_setting('fsync'), current_setting('max_connections')";
    let row = sqlx::query(query).fetch_one(connection).await?;
    let (version, fsync, most): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // Others that speak its protocol put their own name first, or a mark behind the number.
    let itself = version.starts_with("PostgreSQL ") && !version.contains("-YB-");
    // Behind the name and the number it tells how it was built.
    let name: Vec<&str> = version.split([' ', ',']).take(2).collect();
    let about = About {
        server: name.join(" "),
        fidelity: if itself { Grade::Real } else { Grade::Compatible },
        connections: most.parse().ok(),
    };
    Ok(Server { durable: fsync == "on", about })
}

async fn migrate(connection: &mut PgConnection, address: &str) -> Result<(), Failed> {
    let mut change = connection.begin().await?;
    // Another replica may take longer than a call.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(&mut *change).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION).execute(&mut *change).await?;
    let known = STEPS.len();
    let found = version_of(&mut change, address).await?;
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= known) else {
        return Err(Error::NewerSchema { what: shown(address), found, known: known as i64 }.into());
    };
    for step in &STEPS[done..] {
        sqlx::raw_sql(*step).execute(&mut *change).await?;
    }
    if done < known {
        sqlx::query("UPDATE store_schema SET version = $1").bind(known as i64).execute(&mut *change).await?;
    }
    Ok(change.commit().await?)
}

/// The version of the tables; 0 for a database that has none yet.
async fn version_of(change: &mut PgConnection, address: &str) -> Result<i64, Failed> {
    let row = sqlx::query(
        "SELECT to_regclass('store_schema') IS NOT NULL, \
         coalesce(to_regclass('users'), to_regclass('answers'), to_regclass('messages')) IS NOT NULL",
    );
    let row = row.fetch_one(&mut *change).await?;
    let (ours, somebodys): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if ours {
        return Ok(sqlx::query_scalar("SELECT version FROM store_schema").fetch_one(change).await?);
    }
    if somebodys {
        return Err(Error::OtherFile { operation: OPEN, path: shown(address) }.into());
    }
    sqlx::raw_sql("CREATE TABLE store_schema (version BIGINT NOT NULL); INSERT INTO store_schema VALUES (0)")
        .execute(change)
        .await?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::{original, storable};

    #[test]
    fn any_text_can_be_stored() {
        for text in ["", "plain", "\0", "\u{1a}", "\u{1a}0", "0\0\u{1a}\u{1a}0\0\0", "é\0👩"] {
            let stored = storable(text).into_owned();
            assert!(!stored.contains('\0'));
            assert_eq!(original(stored), text);
        }
    }
}
