//! A cache in this process's memory, bounded in entries and in bytes; the least recently used value goes first.
//! Each replica has its own, so a value removed in one lives on in the others until its time to live ends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lab_core::event::Grade;
use lru::LruCache;

use super::{Cache, Settings, Value};
use crate::clock::micros;
use crate::{Error, Promises};

/// Bookkeeping that an entry costs beside its key and value: list links, hash slot, expiry.
const ENTRY_BYTES: usize = 96;

/// See the module.
pub struct MemoryCache {
    settings: Settings,
    // Held for one look-up or one eviction, never across an await.
    kept: Mutex<Kept>,
}

struct Kept {
    entries: LruCache<Box<str>, Entry>,
    bytes: usize,
    closed: bool,
}

struct Entry {
    value: Value,
    expires_us: u64,
}

impl MemoryCache {
    /// An empty cache.
    pub fn new(settings: Settings) -> Self {
        let kept = Kept { entries: LruCache::unbounded(), bytes: 0, closed: false };
        Self { settings, kept: Mutex::new(kept) }
    }

    /// Entries and bytes held now, expired ones not yet evicted included.
    pub fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.entries.len(), kept.bytes)
    }

    fn kept(&self, operation: &'static str) -> Result<MutexGuard<'_, Kept>, Error> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.closed { Err(Error::Closed { operation }) } else { Ok(kept) }
    }
}

fn cost(key: &str, value: &Value) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}

impl Kept {
    fn remove(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.pop_entry(key) {
            self.bytes -= cost(&key, &entry.value);
        }
    }

    fn evict_to(&mut self, max_entries: usize, max_bytes: usize) {
        while self.entries.len() > max_entries || self.bytes > max_bytes {
            let Some((key, entry)) = self.entries.pop_lru() else { return };
            self.bytes -= cost(&key, &entry.value);
        }
    }
}

#[async_trait]
impl Cache for MemoryCache {
    fn promises(&self) -> Promises {
        Promises {
            engine: "memory",
            durability: "none: gone with the process",
            acknowledgement: "after the change in memory",
            replication: "none: each replica has its own copies",
            ordering: "a replica sees its own removals; others' until the time to live ends",
            batching: "none",
            fidelity: Grade::Embedded,
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Value>, Error> {
        let mut kept = self.kept("memory cache: get")?;
        let Some(entry) = kept.entries.get(key) else { return Ok(None) };
        if self.settings.clock.now_us() < entry.expires_us {
            return Ok(Some(entry.value.clone()));
        }
        kept.remove(key);
        Ok(None)
    }

    async fn put(&self, key: &str, value: Value, ttl: Duration) -> Result<(), Error> {
        let expires_us = self.settings.clock.now_us().saturating_add(micros(ttl));
        let mut kept = self.kept("memory cache: put")?;
        kept.remove(key);
        // One that would push out everything else and still not fit is not worth keeping.
        if cost(key, &value) <= self.settings.max_bytes {
            kept.bytes += cost(key, &value);
            kept.entries.put(key.into(), Entry { value, expires_us });
            kept.evict_to(self.settings.max_entries, self.settings.max_bytes);
        }
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        self.kept("memory cache: remove")?.remove(key);
        Ok(())
    }

    async fn ping(&self) -> Result<(), Error> {
        self.kept("memory cache: ping").map(drop)
    }

    async fn close(&self) -> Result<(), Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.closed = true;
        kept.entries.clear();
        kept.bytes = 0;
        Ok(())
    }
}
