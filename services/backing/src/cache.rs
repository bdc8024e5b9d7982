//! Copies of answers near the reader: the [`Cache`] trait. Engines live in `cache/`, one file each.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, Promises};

/// A cached value: opaque bytes.
pub type Value = Arc<[u8]>;

/// Keeps values for a while, or does not: nothing may depend on a hit.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// What this engine promises.
    fn promises(&self) -> Promises;

    /// The value, when it is there and its time to live has not ended.
    async fn get(&self, key: &str) -> Result<Option<Value>, Error>;

    /// Keeps the value for at most `ttl`; it may go earlier.
    async fn put(&self, key: &str, value: Value, ttl: Duration) -> Result<(), Error>;

    /// Forgets the value. Fine when there is none.
    async fn remove(&self, key: &str) -> Result<(), Error>;

    /// Ok when the engine answers now.
    async fn ping(&self) -> Result<(), Error>;

    /// Lets go.
    async fn close(&self) -> Result<(), Error>;
}
