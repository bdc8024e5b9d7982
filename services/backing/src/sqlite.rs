//! What the SQLite engines share: how a file is opened by several processes at once, its schema, its writer thread and its readers.
//! No table of any engine is known here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab_core::event::Grade;
use rusqlite::{Connection, TransactionBehavior};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::{About, Error};

mod readers;
mod turn;
mod writer;

pub(crate) use readers::Readers;
pub(crate) use turn::Turn;
pub(crate) use writer::{Limits, Reach, Writer};

/// A kind of file: who may open it and how it came to look as it does.
pub(crate) struct Schema {
    /// For errors: `sqlite store: open`.
    pub operation: &'static str,
    /// Written into the file's header, so that a queue's file is not taken for a store's.
    pub application_id: i32,
    /// Step n takes the file from version n to n + 1. Steps are only ever added.
    pub steps: &'static [&'static str],
}

/// Opens on a thread that may block, waiting as long as other processes migrate the same file, up to a bound.
pub(crate) async fn opened<T: Send + 'static>(
    operation: &'static str,
    open: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    const LIMIT: Duration = Duration::from_secs(10);
    match timeout(LIMIT, spawn_blocking(open)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(panicked)) => Err(Error::engine(operation, panicked)),
        Err(_elapsed) => Err(Error::Timeout { operation, limit: LIMIT }),
    }
}

/// Opens a file for writing and brings it to the newest version. Safe when several processes do so at the same moment.
pub(crate) fn open(path: &Path, schema: &Schema) -> Result<(Connection, Turn), Error> {
    let failed = |error| Error::engine(schema.operation, error);
    let turn = Turn::open(path).map_err(|error| Error::engine(schema.operation, error))?;
    let mut connection = connect(path).map_err(failed)?;
    let held = turn.take().map_err(|error| Error::engine(schema.operation, error))?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // Every commit reaches the disk before it is answered.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024).map_err(failed)?;
    migrate(&mut connection, path, schema)?;
    drop(held);
    Ok((connection, turn))
}

/// Opens a file that [`open`] has prepared, for reading.
fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_handler(Some(wait_for_lock))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// SQLite calls this with the number of earlier tries while another process holds a lock that [`Turn`] does not order
/// (recovery after a crash, another program). Its own handler waits up to 100 ms at a time, which is a latency nobody asked for.
#[allow(clippy::disallowed_methods, reason = "there is no state to wait on: SQLite offers only polling")]
fn wait_for_lock(tries: i32) -> bool {
    const STEP: Duration = Duration::from_micros(500);
    const MOST_TRIES: i32 = 2000;
    std::thread::sleep(STEP);
    tries < MOST_TRIES
}

fn migrate(connection: &mut Connection, path: &Path, schema: &Schema) -> Result<(), Error> {
    let failed = |error| Error::engine(schema.operation, error);
    let known = schema.steps.len();
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found: i64 = change.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let owner: i32 = change.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    if found != 0 && owner != schema.application_id {
        return Err(Error::OtherFile { operation: schema.operation, path: path.display().to_string() });
    }
    let done = usize::try_from(found).ok().filter(|done| *done <= known);
    let Some(done) = done else {
        return Err(Error::NewerSchema { what: path.display().to_string(), found, known: known as i64 });
    };
    for step in &schema.steps[done..] {
        change.execute_batch(step).map_err(failed)?;
    }
    if done < known {
        change.pragma_update(None, "application_id", schema.application_id).map_err(failed)?;
        change.pragma_update(None, "user_version", known as i64).map_err(failed)?;
    }
    change.commit().map_err(failed)
}

/// The library that is built in.
pub(crate) fn about() -> About {
    About { server: format!("SQLite {}", rusqlite::version()), fidelity: Grade::Embedded, connections: None }
}

/// `PATH` with a suffix: `users.db` and `-turn` make `users.db-turn`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
