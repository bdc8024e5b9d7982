//! What the stores on a SQL server share: a bounded set of connections, the deadline of a call, and what its end means.
//! No table and no dialect is known here.
//!
//! sqlx's own pool asks the server once more after every use of a connection, which doubles the round trips of a read.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::Connection;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::Error;
use crate::address::shown;
use crate::gate::Gate;
use crate::store::Settings;

/// Longest wait until a store is open: reaching the server, and the change of tables that another replica makes.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// A connection that lay longer than this is asked whether it still lives before it is used: its server may have been started anew.
const TRUSTED_FOR: Duration = Duration::from_millis(500);

/// A connection of this age is replaced, so that a server behind a changed name is found.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Why a call ended without its answer.
pub(crate) enum Failed {
    /// What the driver or the server said.
    Sql(sqlx::Error),
    /// What this crate says.
    Said(Error),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

/// Reaches a server and prepares its tables, within a bound.
pub(crate) async fn opened<T>(
    operation: &'static str,
    address: &str,
    open: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Error> {
    let source: Arc<dyn StdError + Send + Sync> = match timeout(OPEN_WITHIN, open).await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err(Failed::Said(error))) => return Err(error),
        Ok(Err(Failed::Sql(error))) => Arc::new(error),
        Err(elapsed) => Arc::new(elapsed),
    };
    let remedy = "start the server there, or correct the address: its user needs the right password and may make tables in its database";
    Err(Error::Unreachable { operation, address: shown(address), remedy, source })
}

/// A connection, as soon as the server answers and not later than a call may take.
pub(crate) async fn reached<C>(limit: Duration, connect: impl Future<Output = sqlx::Result<C>>) -> sqlx::Result<C> {
    let late = |elapsed| sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, elapsed));
    timeout(limit, connect).await.map_err(late)?
}

/// How a connection is made and made ready.
pub(crate) type Connect<C> = Box<dyn Fn() -> BoxFuture<'static, sqlx::Result<C>> + Send + Sync>;

/// The connections of one store.
pub(crate) struct Connections<C: Connection> {
    connect: Connect<C>,
    deadline: Duration,
    // One slot a connection that may be in use.
    gate: Gate,
    // The last one used is used next: the fewer are in use, the longer the others lie and the server may forget them.
    idle: Mutex<Vec<Idle<C>>>,
}

struct Idle<C> {
    connection: C,
    born: Instant,
    since: Instant,
}

impl<C: Connection> Connections<C> {
    /// Holds `first`, and makes more by `connect` when they are needed.
    pub(crate) fn new(first: C, settings: &Settings, connect: Connect<C>) -> Self {
        let now = Instant::now();
        Self {
            connect,
            deadline: settings.deadline,
            gate: Gate::new(settings),
            idle: Mutex::new(vec![Idle { connection: first, born: now, since: now }]),
        }
    }

    /// Runs a call to its end or its deadline.
    pub(crate) async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Error> {
        let limit = self.deadline;
        match timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Failed::Said(error))) => Err(error),
            Ok(Err(Failed::Sql(error))) => {
                if tells_of_the_server(&error) {
                    self.idle().clear();
                }
                Err(Error::engine(operation, error))
            }
            Err(_elapsed) => Err(Error::Timeout { operation, limit }),
        }
    }

    /// A connection for one call, as soon as one is free.
    pub(crate) async fn take(&self, operation: &'static str) -> Result<Taken<'_, C>, Failed> {
        let slot = self.gate.slot(operation).await?;
        while let Some(mut idle) = self.pop_idle() {
            if idle.since.elapsed() < TRUSTED_FOR || idle.connection.ping().await.is_ok() {
                return Ok(self.taken(idle.connection, idle.born, slot));
            }
            // What ended this one has most likely ended all that lay as long.
            self.idle().clear();
        }
        let connection = (self.connect)().await?;
        Ok(self.taken(connection, Instant::now(), slot))
    }

    fn taken<'a>(&'a self, connection: C, born: Instant, slot: SemaphorePermit<'a>) -> Taken<'a, C> {
        Taken { connection, born, of: self, _slot: slot }
    }

    fn pop_idle(&self) -> Option<Idle<C>> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more calls, waits until those handed over are done, and takes leave of the server.
    pub(crate) async fn close(&self, operation: &'static str) -> Result<(), Error> {
        let drained = self.gate.close(operation).await;
        let idle = std::mem::take(&mut *self.idle());
        let leave = async {
            for Idle { connection, .. } in idle {
                // A server that has gone needs no farewell.
                drop(connection.close().await);
            }
        };
        drop(timeout(self.deadline, leave).await);
        drained
    }
}

/// A connection in use. Dropped without [`Taken::done`] it is cut off: its call has no end, so neither may it serve another.
pub(crate) struct Taken<'a, C: Connection> {
    /// To run statements on.
    pub connection: C,
    born: Instant,
    of: &'a Connections<C>,
    _slot: SemaphorePermit<'a>,
}

impl<C: Connection> Taken<'_, C> {
    /// Gives the connection back, in the state it was taken in, and passes on the answer.
    pub(crate) fn done<T>(self, answer: T) -> T {
        let Self { connection, born, of, _slot } = self;
        if born.elapsed() < LIFETIME {
            of.idle().push(Idle { connection, born, since: Instant::now() });
        }
        answer
    }
}

/// True when the error says something about more than its own connection.
fn tells_of_the_server(error: &sqlx::Error) -> bool {
    match error {
        // PostgreSQL: shut down, crashed, starting.
        sqlx::Error::Database(said) => said.code().is_some_and(|code| code.starts_with("57P")),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        _ => false,
    }
}
