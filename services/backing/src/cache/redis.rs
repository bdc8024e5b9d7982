//! A cache in Redis or Valkey that all replicas share. The server evicts and expires; nothing is kept in this process.
//! One connection carries all calls and is made again behind them; a call never waits longer than the deadline, whatever the server does.

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use lab_core::event::Grade;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, RedisResult};

use super::{Cache, Settings, Value};
use crate::address::shown;
use crate::place::prefixed;
use crate::seats::Seats;
use crate::{About, Error, Promises};

const OPEN: &str = "redis cache: open";
const GET: &str = "redis cache: get";
const PUT: &str = "redis cache: put";
const REMOVE: &str = "redis cache: remove";
const PING: &str = "redis cache: ping";

/// Longest making of a connection. Calls do not wait for it beyond their own deadline.
const CONNECT: Duration = Duration::from_millis(200);

/// See the module.
pub struct RedisCache {
    connection: ConnectionManager,
    settings: Settings,
    seats: Seats,
    about: About,
    /// Before each key; empty where the database is this lab's alone.
    prefix: String,
}

impl RedisCache {
    /// Connects to `redis://[USER]:PASSWORD@HOST:PORT/DATABASE`.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be read, [`Error::Unreachable`] when no server answers there or it does not let us in.
    pub async fn open(address: &str, settings: Settings) -> Result<Self, Error> {
        let unreadable = |_| Error::Address { address: shown(address), role: "cache", accepted: super::ACCEPTED };
        let (plain, prefix) = prefixed(address);
        let client = Client::open(plain).map_err(unreadable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(settings.deadline))
            // Retries belong to one layer, which is not this one: the next call connects anew.
            .set_number_of_retries(0);
        let mut connection = client.get_connection_manager_with_config(config).await.map_err(|error| {
            let remedy = "start a Redis there, or correct host, port and password";
            Error::Unreachable { operation: OPEN, address: shown(address), remedy, source: std::sync::Arc::new(error) }
        })?;
        let about = ask_about_itself(&mut connection).await;
        Ok(Self { connection, seats: Seats::new(settings.max_waiting, settings.deadline), settings, about, prefix })
    }

    fn key<'a>(&self, key: &'a str) -> Cow<'a, str> {
        if self.prefix.is_empty() { Cow::Borrowed(key) } else { Cow::Owned(format!("{}{key}", self.prefix)) }
    }

    async fn call<T: FromRedisValue>(&self, operation: &'static str, command: &redis::Cmd) -> Result<T, Error> {
        let mut connection = self.connection.clone();
        self.bounded(operation, async move { command.query_async(&mut connection).await }).await
    }

    /// Also bounds what the driver does not: the wait for a connection that another call is making.
    async fn bounded<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, Error> {
        let limit = self.settings.deadline;
        let refused = |error: redis::RedisError| {
            if error.is_timeout() { Error::Timeout { operation, limit } } else { Error::engine(operation, error) }
        };
        self.seats.within(operation, async { call.await.map_err(refused) }).await
    }
}

/// A server that may not be asked, or is too slow to tell, can be used all the same: it is then only as good as compatible.
async fn ask_about_itself(connection: &mut ConnectionManager) -> About {
    let info: RedisResult<String> = redis::cmd("INFO").query_async(connection).await;
    info.map_or_else(|_untold| named(""), |info| named(&info))
}

/// Who it is, from its `INFO`. Others that speak the protocol put fields of their own beside the version that they speak.
fn named(info: &str) -> About {
    let field = |name: &str| info.lines().find_map(|line| line.split_once(':').filter(|(key, _)| *key == name));
    let text = |name: &str| field(name).map(|(_, value)| value.trim());
    const OTHERS: [(&str, &str); 3] =
        [("valkey_version", "Valkey"), ("dragonfly_version", "Dragonfly"), ("garnet_version", "Garnet")];
    let other = OTHERS.into_iter().find_map(|(key, name)| Some((name, text(key)?)));
    let (server, fidelity) = match (other, text("redis_version")) {
        (Some((name, version)), _) => (format!("{name} {version}"), Grade::Compatible),
        (None, Some(version)) => (format!("Redis {version}"), Grade::Real),
        (None, None) => ("a server that does not say what it is".to_owned(), Grade::Compatible),
    };
    About { server, fidelity, connections: text("maxclients").and_then(|most| most.parse().ok()) }
}

#[async_trait]
impl Cache for RedisCache {
    fn promises(&self) -> Promises {
        Promises {
            engine: "redis",
            durability: "as the server is set up; by default a crash of the server loses what changed since its last snapshot",
            acknowledgement: "after the change in the server's memory",
            replication: "as the server is set up; answers do not wait for replicas of it",
            ordering: "all replicas see one order, removals included",
            batching: "calls that wait at the same time share one connection, pipelined",
            fidelity: self.about.fidelity,
        }
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    async fn get(&self, key: &str) -> Result<Option<Value>, Error> {
        let value: Option<Vec<u8>> = self.call(GET, redis::cmd("GET").arg(self.key(key).as_ref())).await?;
        Ok(value.map(Value::from))
    }

    async fn put(&self, key: &str, value: Value, ttl: Duration) -> Result<(), Error> {
        // The server refuses 0. Rounded down: a value may go earlier, not later.
        let Some(ttl) = u64::try_from(ttl.as_millis()).ok().filter(|ttl| *ttl > 0) else {
            return self.remove(key).await;
        };
        self.call(PUT, redis::cmd("SET").arg(self.key(key).as_ref()).arg(&value[..]).arg("PX").arg(ttl)).await
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        self.call(REMOVE, redis::cmd("DEL").arg(self.key(key).as_ref())).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.call(PING, &redis::cmd("PING")).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.seats.close();
        Ok(())
    }
}
