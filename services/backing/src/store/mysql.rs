//! A store in a MySQL or MariaDB database that any number of processes share.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use lab_core::event::Grade;
use sqlx::mysql::{MySqlConnectOptions, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, Row};
use uuid::Uuid;

use super::{ACCEPTED, Created, Cursor, Idempotency, Message, NewUser, Page, Settings, Store, Table, User};
use crate::address::shown;
use crate::clock::micros;
use crate::sql::{Connections, Failed, opened, reached};
use crate::{About, Error, MessageId, Promises, UserId};

/// Step n takes the database from version n to n + 1. Steps are only ever added. The server commits each at once, so a
/// step is one statement that may be repeated.
const STEPS: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS users (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        name MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        created_at MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS answers (
        answer_key VARBINARY(1024) NOT NULL PRIMARY KEY,
        body_hash BINARY(16) NOT NULL,
        user_id BIGINT UNSIGNED NOT NULL,
        answered_us BIGINT UNSIGNED NOT NULL,
        INDEX answers_by_age (answered_us)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS messages (
        id BINARY(16) NOT NULL PRIMARY KEY,
        from_user BIGINT UNSIGNED NOT NULL,
        to_user BIGINT UNSIGNED NOT NULL,
        text MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        sent_us BIGINT UNSIGNED NOT NULL,
        INDEX inbox (to_user, sent_us, id)
    ) ENGINE=InnoDB",
];

const OPEN: &str = "mysql store: open";
const CREATE: &str = "mysql store: create user";
const GET: &str = "mysql store: get user";
const PUT: &str = "mysql store: put message";
const MESSAGES: &str = "mysql store: messages";
const SCAN: &str = "mysql store: scan";
const COUNT: &str = "mysql store: count";
const PING: &str = "mysql store: ping";
const CLOSE: &str = "mysql store: close";

/// Keyed creates between two rounds of forgetting. A round forgets more than come in between.
const FORGET_EVERY: u64 = 256;

/// See the module.
pub struct MysqlStore {
    settings: Settings,
    connections: Connections<MySqlConnection>,
    keyed: AtomicU64,
    server: Server,
}

/// What the server says of itself.
struct Server {
    /// `innodb_flush_log_at_trx_commit`.
    flush: i64,
    about: About,
}

impl MysqlStore {
    /// Reaches the database, makes its tables when they are missing, and brings older ones up to date.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read or names no database; [`Error::Unreachable`] when the server is away
    /// or refuses; [`Error::NewerSchema`] and [`Error::OtherFile`] when the database is not for this build or not a store's.
    pub async fn open(address: &str, settings: Settings) -> Result<Self, Error> {
        let options = MySqlConnectOptions::from_str(address).ok().filter(|options| options.get_database().is_some());
        let unread = || Error::Address { address: shown(address), role: "store", accepted: ACCEPTED };
        let options = options.ok_or_else(unread)?.pipes_as_concat(false).no_engine_substitution(false);
        let options = options.disable_statement_logging();
        let lock_wait = settings.deadline.as_secs().max(1);
        let first = opened(OPEN, address, async {
            let mut first = reached(settings.deadline, connect(&options, lock_wait)).await?;
            migrate(&mut first, address).await?;
            let server = ask_about_itself(&mut first).await?;
            Ok((first, server))
        });
        let (first, server) = first.await?;
        let connect = move || {
            let options = options.clone();
            Box::pin(async move { connect(&options, lock_wait).await }) as _
        };
        let connections = Connections::new(first, &settings, Box::new(connect));
        Ok(Self { settings, connections, keyed: AtomicU64::new(0), server })
    }

    async fn create_once(
        &self,
        connection: &mut MySqlConnection,
        user: &NewUser,
        once: &Idempotency,
    ) -> Result<Created, Failed> {
        let now = self.settings.clock.now_us();
        let key = once.stored_key();
        loop {
            if let Some(id) = claim_and_create(connection, user, once, &key, now).await? {
                if self.keyed.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
                    forget_before(connection, now.saturating_sub(micros(self.settings.remember))).await?;
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

/// A connection on which every statement means the same whatever the server's defaults are. Waits for locks end about when calls do.
async fn connect(options: &MySqlConnectOptions, lock_wait_s: u64) -> sqlx::Result<MySqlConnection> {
    let mut connection = options.connect().await?;
    let session = format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO', \
         innodb_lock_wait_timeout = {lock_wait_s}; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    );
    // A number, so nothing of outside is in it.
    sqlx::raw_sql(AssertSqlSafe(session)).execute(&mut connection).await?;
    Ok(connection)
}

#[async_trait]
impl Store for MysqlStore {
    fn promises(&self) -> Promises {
        Promises {
            engine: "mysql",
            durability: match self.server.flush {
                1 => "survives a crash of the server and of its machine (innodb_flush_log_at_trx_commit=1)",
                2 => "survives a crash of the server, not of its machine (innodb_flush_log_at_trx_commit=2)",
                _ => "a crash of the server loses the last second (innodb_flush_log_at_trx_commit=0)",
            },
            acknowledgement: match self.server.flush {
                1 => "after the commit's redo log is flushed",
                2 => "after the commit's redo log is handed to the operating system",
                _ => "after the commit in the server's memory",
            },
            replication: "as the server is set up: asynchronous unless it replicates semi-synchronously or as a group",
            ordering: "read committed, one server; ids by AUTO_INCREMENT: a create that failed leaves a gap",
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
        let call = async {
            let mut connection = self.connections.take(GET).await?;
            let query = sqlx::query("SELECT name, created_at FROM users WHERE id = ?").bind(id.0);
            let row = query.fetch_optional(&mut connection.connection).await?;
            let user = row.map(|row| Ok(User { id, name: row.try_get(0)?, created_at: row.try_get(1)? }));
            Ok(connection.done(user.transpose().map_err(Failed::Sql)?))
        };
        self.connections.within(GET, call).await
    }

    async fn put_message(&self, message: Message) -> Result<bool, Error> {
        let call = async {
            let mut connection = self.connections.take(PUT).await?;
            let Message { id, from, to, text, sent_at } = &message;
            let insert =
                sqlx::query("INSERT INTO messages (id, from_user, to_user, text, sent_us) VALUES (?, ?, ?, ?, ?)");
            let insert = insert.bind(id.0).bind(from.0).bind(to.0).bind(text).bind(sent_at);
            let fresh = inserted(insert.execute(&mut connection.connection).await)?.is_some();
            Ok(connection.done(fresh))
        };
        self.connections.within(PUT, call).await
    }

    async fn messages_for(&self, user: UserId, limit: usize) -> Result<Vec<Message>, Error> {
        let call = async {
            let mut connection = self.connections.take(MESSAGES).await?;
            let query = sqlx::query(
                "SELECT id, from_user, to_user, text, sent_us FROM messages WHERE to_user = ? \
                 ORDER BY sent_us DESC, id DESC LIMIT ?",
            );
            let rows = query.bind(user.0).bind(limit as u64).fetch_all(&mut connection.connection).await?;
            let messages = rows.iter().map(message_from).collect::<sqlx::Result<_>>()?;
            Ok(connection.done(messages))
        };
        self.connections.within(MESSAGES, call).await
    }

    async fn scan(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let limit = limit.max(1);
        let call = async {
            let mut connection = self.connections.take(SCAN).await?;
            let rows = match table {
                Table::Users => {
                    let query = sqlx::query("SELECT id, name FROM users WHERE id > ? ORDER BY id LIMIT ?");
                    let query = query.bind(Cursor::place(after, 0_u64, SCAN)?).bind(limit as u64);
                    let rows = query.fetch_all(&mut connection.connection).await?;
                    let row = |row: &MySqlRow| Ok((row.try_get::<u64, _>(0)?.to_string(), row.try_get(1)?));
                    rows.iter().map(row).collect::<sqlx::Result<Vec<_>>>()?
                }
                Table::Messages => {
                    let query = sqlx::query("SELECT id, text FROM messages WHERE id > ? ORDER BY id LIMIT ?");
                    let query = query.bind(Cursor::place(after, Uuid::nil(), SCAN)?).bind(limit as u64);
                    let rows = query.fetch_all(&mut connection.connection).await?;
                    let row = |row: &MySqlRow| Ok((row.try_get::<Uuid, _>(0)?.to_string(), row.try_get(1)?));
                    rows.iter().map(row).collect::<sqlx::Result<Vec<_>>>()?
                }
            };
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
            let read_only: i64 = sqlx::query_scalar("SELECT CAST(@@global.read_only AS SIGNED)")
                .fetch_one(&mut connection.connection)
                .await?;
            let ready = if read_only == 0 { Ok(()) } else { Err(Error::engine(PING, ReadOnly).into()) };
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
#[error("the server is read-only; name the primary")]
struct ReadOnly;

/// None when the row's key is there already.
///
/// `INSERT IGNORE` would also cut what is too long, and the driver asks for found rows, so that the count of changed ones says nothing.
fn inserted(result: sqlx::Result<sqlx::mysql::MySqlQueryResult>) -> sqlx::Result<Option<UserId>> {
    match result {
        Ok(inserted) => Ok(Some(UserId(inserted.last_insert_id()))),
        Err(sqlx::Error::Database(said)) if said.is_unique_violation() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn create(connection: &mut MySqlConnection, user: &NewUser) -> Result<UserId, Failed> {
    let insert = sqlx::query("INSERT INTO users (name, created_at) VALUES (?, ?)");
    let created = insert.bind(&user.name).bind(&user.created_at).execute(connection).await?;
    Ok(UserId(created.last_insert_id()))
}

/// None when the key was taken before; then nothing has changed. Waits for a create with the same key that is under way.
/// The key is claimed before the user is made, so that a create that finds its key taken uses up no id.
async fn claim_and_create(
    connection: &mut MySqlConnection,
    user: &NewUser,
    once: &Idempotency,
    key: &str,
    now_us: u64,
) -> Result<Option<UserId>, Failed> {
    let mut change = connection.begin().await?;
    let claim = sqlx::query("INSERT INTO answers (answer_key, body_hash, user_id, answered_us) VALUES (?, ?, 0, ?)");
    let claim = claim.bind(key.as_bytes()).bind(once.body_hash.as_slice()).bind(now_us);
    if inserted(claim.execute(&mut *change).await)?.is_none() {
        change.rollback().await?;
        return Ok(None);
    }
    let id = create(&mut change, user).await?;
    let keep = sqlx::query("UPDATE answers SET user_id = ? WHERE answer_key = ?");
    keep.bind(id.0).bind(key.as_bytes()).execute(&mut *change).await?;
    change.commit().await?;
    Ok(Some(id))
}

async fn first_answer(connection: &mut MySqlConnection, key: &str) -> Result<Option<(Vec<u8>, UserId)>, Failed> {
    let query = sqlx::query("SELECT body_hash, user_id FROM answers WHERE answer_key = ?").bind(key.as_bytes());
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some((row.try_get(0)?, UserId(row.try_get(1)?))))
}

async fn forget_before(connection: &mut MySqlConnection, oldest_us: u64) -> Result<(), Failed> {
    let delete = sqlx::query("DELETE FROM answers WHERE answered_us < ? ORDER BY answered_us LIMIT 1024");
    delete.bind(oldest_us).execute(connection).await?;
    Ok(())
}

fn message_from(row: &MySqlRow) -> sqlx::Result<Message> {
    Ok(Message {
        id: MessageId(row.try_get::<Uuid, _>(0)?),
        from: UserId(row.try_get(1)?),
        to: UserId(row.try_get(2)?),
        text: row.try_get(3)?,
        sent_at: row.try_get(4)?,
    })
}

async fn ask_about_itself(connection: &mut MySqlConnection) -> Result<Server, Failed> {
    let query = "SELECT version(), @@version_comment, CAST(@@global.innodb_flush_log_at_trx_commit AS SIGNED), \
                 CAST(@@global.max_connections AS SIGNED)";
    let row = sqlx::query(query).fetch_one(connection).await?;
    let (version, comment): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let most: i64 = row.try_get(3)?;
    Ok(Server {
        flush: row.try_get(2)?,
        about: About { connections: u32::try_from(most).ok(), ..named(&version, &comment) },
    })
}

/// Who it is, from `version()` and `@@version_comment`.
fn named(version: &str, comment: &str) -> About {
    const OTHERS: [&str; 4] = ["MariaDB", "TiDB", "Vitess", "OceanBase"];
    let other = OTHERS.into_iter().find(|other| version.contains(other) || comment.contains(other));
    // `8.0.11-TiDB-v7.5.1` speaks as an 8.0.11; `10.11.18-MariaDB-0+deb12u1` is one.
    let number = version.split('-').next().unwrap_or(version);
    let fidelity = if other.is_some() { Grade::Compatible } else { Grade::Real };
    About { server: format!("{} {number}", other.unwrap_or("MySQL")), fidelity, connections: None }
}

/// One replica at a time; the server lets the lock go when the connection ends, however it ends.
async fn migrate(connection: &mut MySqlConnection, address: &str) -> Result<(), Failed> {
    let lock = "SELECT CAST(coalesce(get_lock(concat('lab store ', left(database(), 50)), 10), 0) AS SIGNED)";
    let held: i64 = sqlx::query_scalar(lock).fetch_one(&mut *connection).await?;
    if held != 1 {
        return Err(Error::engine(OPEN, LockedOut).into());
    }
    let known = STEPS.len();
    let found = version_of(connection, address).await?;
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= known) else {
        return Err(Error::NewerSchema { what: shown(address), found, known: known as i64 }.into());
    };
    for (step, version) in STEPS.iter().zip(1i64..).skip(done) {
        sqlx::raw_sql(*step).execute(&mut *connection).await?;
        sqlx::query("UPDATE store_schema SET version = ?").bind(version).execute(&mut *connection).await?;
    }
    let release = "SELECT CAST(release_lock(concat('lab store ', left(database(), 50))) AS SIGNED)";
    sqlx::query(release).execute(connection).await?;
    Ok(())
}

/// Somebody has held the migration's lock for very long.
#[derive(Debug, thiserror::Error)]
#[error("another replica has been changing the tables for 10 s")]
struct LockedOut;

/// The version of the tables; 0 for a database that has none yet.
async fn version_of(connection: &mut MySqlConnection, address: &str) -> Result<i64, Failed> {
    let query = "SELECT table_name FROM information_schema.tables WHERE table_schema = database() \
                 AND table_name IN ('store_schema', 'users', 'answers', 'messages')";
    let rows = sqlx::query(query).fetch_all(&mut *connection).await?;
    let tables = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<Vec<String>>>()?;
    if tables.iter().all(|name| name != "store_schema") {
        if !tables.is_empty() {
            return Err(Error::OtherFile { operation: OPEN, path: shown(address) }.into());
        }
        let make = "CREATE TABLE store_schema (version BIGINT NOT NULL) ENGINE=InnoDB";
        sqlx::raw_sql(make).execute(&mut *connection).await?;
    }
    let version = sqlx::query_scalar("SELECT version FROM store_schema").fetch_optional(&mut *connection).await?;
    if let Some(version) = version {
        return Ok(version);
    }
    // New, or its maker ended before it wrote the row.
    sqlx::raw_sql("INSERT INTO store_schema VALUES (0)").execute(connection).await?;
    Ok(0)
}
