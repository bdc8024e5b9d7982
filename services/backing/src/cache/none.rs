//! No cache: every get misses, every put is forgotten. The other side of each with-and-without comparison.

use std::time::Duration;

use async_trait::async_trait;
use lab_core::event::Grade;

use super::{Cache, Value};
use crate::{Error, Promises};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

#[async_trait]
impl Cache for NoCache {
    fn promises(&self) -> Promises {
        Promises {
            engine: "none",
            durability: "none",
            acknowledgement: "none",
            replication: "none",
            ordering: "every read goes to the store",
            batching: "none",
            fidelity: Grade::Real,
        }
    }

    fn keeps(&self) -> bool {
        false
    }

    async fn get(&self, _key: &str) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    async fn put(&self, _key: &str, _value: Value, _ttl: Duration) -> Result<(), Error> {
        Ok(())
    }

    async fn remove(&self, _key: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
