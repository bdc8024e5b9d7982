//! Reads through a cache: concurrent misses of one key load once, times to live are spread, and a cache that fails is
//! a cache that misses. Only values that exist are kept, so that a create is seen by the next read.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::OnceCell;

use super::{Cache, Value};
use crate::Error;

/// How long values are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ttl {
    /// The longest time to live.
    pub at_most: Duration,
    /// The share of it, 0.0 to 1.0, by which a time to live may be shorter, so that values put together do not expire together.
    pub jitter: f64,
    /// Makes the jitter repeatable.
    pub seed: u64,
}

impl Ttl {
    /// At most this long, up to a tenth shorter.
    pub fn at_most(longest: Duration, seed: u64) -> Self {
        Self { at_most: longest, jitter: 0.1, seed }
    }
}

/// What happened to look-ups so far. A cache that keeps nothing counts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Answered from the cache.
    pub hits: u64,
    /// Not in the cache.
    pub misses: u64,
    /// Misses that waited for another caller's load instead of loading.
    pub shared: u64,
    /// Cache calls that failed and were treated as misses or ignored.
    pub failures: u64,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    shared: AtomicU64,
    failures: AtomicU64,
}

/// What one flight came back with, for all who were on it.
#[derive(Debug, Clone)]
struct Found {
    hit: bool,
    answer: Result<Option<Value>, Error>,
}

type Flight = Arc<OnceCell<Found>>;

/// See the module.
pub struct ReadThrough {
    cache: Arc<dyn Cache>,
    ttl: Ttl,
    jitter: Mutex<Pcg64Mcg>,
    // One entry for each key that is being looked up now.
    flights: Mutex<HashMap<String, Flight>>,
    counters: Counters,
}

impl ReadThrough {
    /// Reads through `cache`.
    pub fn new(cache: Arc<dyn Cache>, ttl: Ttl) -> Self {
        let jitter = Mutex::new(Pcg64Mcg::seed_from_u64(ttl.seed));
        Self { cache, ttl, jitter, flights: Mutex::default(), counters: Counters::default() }
    }

    /// The cache behind it.
    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.cache
    }

    /// Counts so far.
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { hits, misses, shared, failures } = &self.counters;
        Stats { hits: read(hits), misses: read(misses), shared: read(shared), failures: read(failures) }
    }

    /// The value from the cache, else from `load`, which is polled by one caller at a time for each key.
    /// When the loading caller goes away, the next one loads.
    ///
    /// # Errors
    /// Only what `load` returns; callers that shared the load share its error.
    pub async fn get_or_load<F>(&self, key: &str, load: F) -> Result<Option<Value>, Error>
    where
        F: Future<Output = Result<Option<Value>, Error>> + Send,
    {
        if !self.cache.keeps() {
            return load.await;
        }
        let boarded = Boarded::new(self, key);
        let mut leads = false;
        let look_up = || async {
            leads = true;
            self.look_up(key, load, &boarded.flight).await
        };
        let found = boarded.flight.get_or_init(look_up).await.clone();
        match found.hit {
            true => self.counters.hits.fetch_add(1, Ordering::Relaxed),
            false => self.counters.misses.fetch_add(1, Ordering::Relaxed),
        };
        if !leads && !found.hit {
            self.counters.shared.fetch_add(1, Ordering::Relaxed);
        }
        found.answer
    }

    // The cache is asked inside the flight: a caller who comes just after a load has ended then finds what it put.
    async fn look_up<F>(&self, key: &str, load: F, flight: &Flight) -> Found
    where
        F: Future<Output = Result<Option<Value>, Error>> + Send,
    {
        if let Some(value) = self.usable(self.cache.get(key).await).flatten() {
            return Found { hit: true, answer: Ok(Some(value)) };
        }
        let answer = load.await;
        if let Ok(Some(value)) = &answer {
            self.keep(key, value, flight).await;
        }
        Found { hit: false, answer }
    }

    /// Forgets the value, also one that is being loaded now. Call it after the write that changed it.
    pub async fn remove(&self, key: &str) {
        if self.cache.keeps() {
            self.flights().remove(key);
            self.usable(self.cache.remove(key).await);
        }
    }

    /// Puts what was loaded, unless a remove came since: what was loaded may then be older than the write.
    async fn keep(&self, key: &str, value: &Value, flight: &Flight) {
        if !self.still_flying(key, flight) {
            return;
        }
        self.usable(self.cache.put(key, value.clone(), self.next_ttl()).await);
        if !self.still_flying(key, flight) {
            self.usable(self.cache.remove(key).await);
        }
    }

    fn still_flying(&self, key: &str, flight: &Flight) -> bool {
        self.flights().get(key).is_some_and(|current| Arc::ptr_eq(current, flight))
    }

    fn next_ttl(&self) -> Duration {
        let random = self.jitter.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        // 53 bits fill a float's mantissa: evenly spread over [0, 1).
        let share = (random >> 11) as f64 / (1u64 << 53) as f64;
        self.ttl.at_most.mul_f64(1.0 - self.ttl.jitter.clamp(0.0, 1.0) * share)
    }

    fn usable<T>(&self, answer: Result<T, Error>) -> Option<T> {
        let failed = |error| {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "cache failed, going on without it");
        };
        answer.map_err(failed).ok()
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller's seat on a flight. The last to leave, also by cancellation, ends the flight.
struct Boarded<'a> {
    reader: &'a ReadThrough,
    key: &'a str,
    flight: Flight,
}

impl<'a> Boarded<'a> {
    fn new(reader: &'a ReadThrough, key: &'a str) -> Self {
        let flight = reader.flights().entry(key.to_owned()).or_default().clone();
        Self { reader, key, flight }
    }
}

impl Drop for Boarded<'_> {
    fn drop(&mut self) {
        let mut flights = self.reader.flights();
        let current = flights.get(self.key).is_some_and(|current| Arc::ptr_eq(current, &self.flight));
        // A finished flight must not serve callers who come later: its value may be out of date by then.
        if current && (self.flight.initialized() || Arc::strong_count(&self.flight) == 2) {
            flights.remove(self.key);
        }
    }
}
