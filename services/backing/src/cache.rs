//! Copies of answers near the reader: the [`Cache`] trait and [`open`]. Engines live in `cache/`, one file each;
//! [`ReadThrough`] is what a service uses: single flight, jitter, fail-open.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::address::{read, shown};
use crate::clock::{Clock, SystemClock};
use crate::{About, Error, Promises};

pub mod memory;
pub mod none;
mod read_through;
pub mod redis;

pub use read_through::{ReadThrough, Stats, Ttl};

/// A cached value: opaque bytes.
pub type Value = Arc<[u8]>;

/// What every cache engine can be told.
#[derive(Clone)]
pub struct Settings {
    /// Most values kept in this process.
    pub max_entries: usize,
    /// Most memory for keys and values in this process, bytes.
    pub max_bytes: usize,
    /// Longest wait of one call: short, because the source can answer too.
    pub deadline: Duration,
    /// Most calls that wait for a server at once; more are [`Error::Overloaded`].
    pub max_waiting: usize,
    /// Where the time to live is measured.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            max_bytes: 32 * 1024 * 1024,
            deadline: Duration::from_millis(50),
            max_waiting: 4096,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Keeps values for a while, or does not: nothing may depend on a hit. Every call ends within [`Settings::deadline`].
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// What this engine promises.
    fn promises(&self) -> Promises;

    /// What the engine said of itself when it was opened.
    fn about(&self) -> About {
        About::nothing_but(&self.promises())
    }

    /// False when every get misses by design, so that readers need not ask.
    fn keeps(&self) -> bool {
        true
    }

    /// The value, when it is there and its time to live has not ended.
    async fn get(&self, key: &str) -> Result<Option<Value>, Error>;

    /// Keeps the value for at most `ttl`; it may go earlier.
    async fn put(&self, key: &str, value: Value, ttl: Duration) -> Result<(), Error>;

    /// Forgets the value. Fine when there is none.
    async fn remove(&self, key: &str) -> Result<(), Error>;

    /// Ok when the engine answers now.
    async fn ping(&self) -> Result<(), Error>;

    /// Lets go. A second close is fine.
    async fn close(&self) -> Result<(), Error>;
}

const ACCEPTED: &str = "`none`, `memory:` or `redis://:PASSWORD@HOST:PORT/DATABASE`";

/// Opens the cache that `address` names: `none`, `memory:` or `redis://:PASSWORD@HOST:PORT/DATABASE`.
///
/// # Errors
/// [`Error::Address`] when it names no engine; otherwise what the engine says.
pub async fn open(address: &str, settings: Settings) -> Result<Arc<dyn Cache>, Error> {
    let address = &*read(address)?;
    match address {
        "none" => Ok(Arc::new(none::NoCache)),
        "memory:" => Ok(Arc::new(memory::MemoryCache::new(settings))),
        _ if address.starts_with("redis://") => Ok(Arc::new(redis::RedisCache::open(address, settings).await?)),
        _ => Err(Error::Address { address: shown(address), role: "cache", accepted: ACCEPTED }),
    }
}
