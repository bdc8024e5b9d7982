//! What every cache must do, and what reading through one must do. A new engine adds a factory and one line in the middle; faults of an
//! engine are tested in a file of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backing::cache::memory::MemoryCache;
use backing::cache::none::NoCache;
use backing::cache::{self, ReadThrough, Settings, Stats, Ttl, Value};
use backing::clock::HeldClock;
use backing::{Cache, Error, Promises};
use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore};

#[path = "support/engine.rs"]
mod engine;

const TTL: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(20);

/// A cache of its own for each test.
struct Place {
    address: String,
    /// None: the engine's own clock cannot be held.
    clock: Option<HeldClock>,
}

impl Place {
    async fn open(&self) -> Arc<dyn Cache> {
        // A long deadline: these tests are about results, and the machine may be busy.
        let mut settings = Settings { deadline: LONG, ..Settings::default() };
        if let Some(clock) = &self.clock {
            settings.clock = Arc::new(clock.clone());
        }
        cache::open(&self.address, settings).await.unwrap()
    }
}

async fn memory_place() -> Option<Place> {
    Some(Place { address: "memory:".to_owned(), clock: Some(HeldClock::at(1_800_000_000_000_000)) })
}

/// A database of its own on the server that all tests of the binary share.
async fn redis_place() -> Option<Place> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = tokio::task::spawn_blocking(|| engine::shared(&engine::REDIS)).await.unwrap()?;
    let (password, at) = (engine::PASSWORD, server.address());
    let address = format!("redis://:{password}@{at}/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    Some(Place { address, clock: None })
}

fn value(text: &str) -> Value {
    text.as_bytes().into()
}

async fn get(cache: &Arc<dyn Cache>, key: &str) -> Option<String> {
    cache.get(key).await.unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

async fn keeps_the_last_value_until_removed(place: Place) {
    let cache = place.open().await;
    assert_eq!(get(&cache, "a").await, None);
    cache.put("a", value("one"), TTL).await.unwrap();
    cache.put("a", value("two"), TTL).await.unwrap();
    cache.put("ключ 🔑", value(""), TTL).await.unwrap();
    assert_eq!(get(&cache, "a").await.as_deref(), Some("two"));
    assert_eq!(get(&cache, "ключ 🔑").await.as_deref(), Some(""));
    cache.remove("a").await.unwrap();
    cache.remove("a").await.unwrap();
    assert_eq!(get(&cache, "a").await, None);
}

async fn forgets_when_the_time_to_live_ends(place: Place) {
    let cache = place.open().await;
    if let Some(clock) = &place.clock {
        cache.put("a", value("one"), TTL).await.unwrap();
        clock.advance(TTL - Duration::from_micros(1));
        assert!(get(&cache, "a").await.is_some());
        clock.advance(Duration::from_micros(1));
        assert_eq!(get(&cache, "a").await, None);
    } else {
        let (began, ttl) = (Instant::now(), Duration::from_secs(1));
        cache.put("a", value("one"), ttl).await.unwrap();
        while get(&cache, "a").await.is_some() {
            assert!(began.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(began.elapsed() >= ttl, "{:?}", began.elapsed());
    }
    cache.put("a", value("two"), TTL).await.unwrap();
    assert!(get(&cache, "a").await.is_some());
    cache.put("a", value("three"), Duration::ZERO).await.unwrap();
    assert_eq!(get(&cache, "a").await, None);
}

/// Bytes of any kind and of a size that no buffer holds at once.
async fn values_come_back_as_they_went_in(place: Place) {
    let cache = place.open().await;
    let bytes: Value = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    cache.put("big", bytes.clone(), TTL).await.unwrap();
    assert!(cache.get("big").await.unwrap() == Some(bytes));
}

async fn many_at_once_each_get_their_own(place: Place) {
    let cache = place.open().await;
    let own = async |number: u32| {
        let (key, text) = (format!("key {number}"), format!("value {number}"));
        cache.put(&key, value(&text), TTL).await.unwrap();
        assert_eq!(get(&cache, &key).await, Some(text));
    };
    join_all((0..300).map(own)).await;
}

async fn a_closed_cache_says_so(place: Place) {
    let cache = place.open().await;
    cache.ping().await.unwrap();
    cache.close().await.unwrap();
    cache.close().await.unwrap();
    assert!(matches!(cache.get("a").await, Err(Error::Closed { .. })));
    assert!(matches!(cache.ping().await, Err(Error::Closed { .. })));
}

macro_rules! every_cache {
    ($engine:ident, $factory:ident) => {
        mod $engine {
            every_cache! { $factory;
                keeps_the_last_value_until_removed forgets_when_the_time_to_live_ends values_come_back_as_they_went_in
                many_at_once_each_get_their_own a_closed_cache_says_so
            }
        }
    };
    ($factory:ident; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                if let Some(place) = crate::$factory().await {
                    crate::$case(place).await;
                }
            }
        )*
    };
}

every_cache!(memory, memory_place);
every_cache!(redis, redis_place);

#[tokio::test]
async fn no_cache_keeps_nothing() {
    let cache = cache::open("none", Settings::default()).await.unwrap();
    cache.put("a", value("one"), TTL).await.unwrap();
    assert_eq!(get(&cache, "a").await, None);
    assert!(!cache.keeps());
    assert!(cache::open("redis", Settings::default()).await.is_err());
}

#[tokio::test]
async fn memory_stays_within_its_entries_and_drops_the_least_used() {
    let cache = MemoryCache::new(Settings { max_entries: 3, ..Settings::default() });
    for key in ["a", "b", "c"] {
        cache.put(key, value(key), TTL).await.unwrap();
    }
    cache.get("a").await.unwrap();
    cache.put("d", value("d"), TTL).await.unwrap();
    assert_eq!(cache.size().0, 3);
    assert!(cache.get("b").await.unwrap().is_none(), "b was used least recently");
    for key in ["a", "c", "d"] {
        assert!(cache.get(key).await.unwrap().is_some(), "{key}");
    }
}

#[tokio::test]
async fn memory_stays_within_its_bytes() {
    const MOST: usize = 64 * 1024;
    let cache = MemoryCache::new(Settings { max_bytes: MOST, ..Settings::default() });
    for number in 0..5000usize {
        cache.put(&format!("key {}", number % 700), vec![1; number * 37 % 3000].into(), TTL).await.unwrap();
        assert!(cache.size().1 <= MOST);
    }
    assert!(cache.size().1 > MOST / 2);
    let before = cache.size();
    cache.put("giant", vec![1; MOST].into(), TTL).await.unwrap();
    assert!(cache.get("giant").await.unwrap().is_none());
    assert_eq!(cache.size(), before, "a value too big for the cache pushes nothing out");
    for number in 0..700 {
        cache.remove(&format!("key {number}")).await.unwrap();
    }
    assert_eq!(cache.size(), (0, 0));
}

/// A cache that records each put's time to live, waits before a get when told to, and fails when told to.
#[derive(Default)]
struct Odd {
    ttls: Mutex<Vec<Duration>>,
    fails: bool,
    kept: Mutex<Option<Value>>,
}

#[async_trait]
impl Cache for Odd {
    fn promises(&self) -> Promises {
        NoCache.promises()
    }

    async fn get(&self, _key: &str) -> Result<Option<Value>, Error> {
        if self.fails {
            Err(Error::Closed { operation: "odd cache: get" })
        } else {
            Ok(self.kept.lock().unwrap().clone())
        }
    }

    async fn put(&self, _key: &str, value: Value, ttl: Duration) -> Result<(), Error> {
        self.ttls.lock().unwrap().push(ttl);
        if self.fails {
            return Err(Error::Closed { operation: "odd cache: put" });
        }
        *self.kept.lock().unwrap() = Some(value);
        Ok(())
    }

    async fn remove(&self, _key: &str) -> Result<(), Error> {
        *self.kept.lock().unwrap() = None;
        Ok(())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn reader(cache: impl Cache) -> Arc<ReadThrough> {
    Arc::new(ReadThrough::new(Arc::new(cache), Ttl::at_most(TTL, 1)))
}

fn memory() -> MemoryCache {
    MemoryCache::new(Settings::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_misses_at_once_load_once() {
    let reader = reader(memory());
    let (loads, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let callers = (0..50).map(|_| {
        let (reader, loads, gate) = (reader.clone(), loads.clone(), gate.clone());
        tokio::spawn(async move {
            let load = async {
                loads.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                Ok(Some(value("loaded")))
            };
            reader.get_or_load("a", load).await.unwrap()
        })
    });
    let callers: Vec<_> = callers.collect();
    gate.add_permits(1);
    for caller in join_all(callers).await {
        assert_eq!(caller.unwrap(), Some(value("loaded")));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    let stats = reader.stats();
    assert_eq!((stats.hits + stats.misses, stats.misses - stats.shared), (50, 1));
}

#[tokio::test]
async fn a_failed_load_is_shared_and_not_kept() {
    let reader = reader(memory());
    let refused = || async { Err(Error::Overloaded { operation: "test: load", waiting: 1 }) };
    for answer in join_all((0..3).map(|_| reader.get_or_load("a", refused()))).await {
        assert!(matches!(answer, Err(Error::Overloaded { .. })));
    }
    let loaded = reader.get_or_load("a", async { Ok(Some(value("now"))) }).await.unwrap();
    assert_eq!(loaded, Some(value("now")));
}

#[tokio::test]
async fn absence_is_not_kept() {
    let reader = reader(memory());
    assert_eq!(reader.get_or_load("a", async { Ok(None) }).await.unwrap(), None);
    assert_eq!(reader.get_or_load("a", async { Ok(Some(value("made"))) }).await.unwrap(), Some(value("made")));
    assert_eq!(reader.get_or_load("a", async { Ok(None) }).await.unwrap(), Some(value("made")));
    assert_eq!(reader.stats(), Stats { hits: 1, misses: 2, ..Stats::default() });
}

#[tokio::test]
async fn when_the_loading_caller_goes_away_the_next_one_loads() {
    let reader = reader(memory());
    let began = Arc::new(Notify::new());
    let first = tokio::spawn({
        let (reader, began) = (reader.clone(), began.clone());
        async move {
            let stuck = async {
                began.notify_one();
                std::future::pending().await
            };
            reader.get_or_load("a", stuck).await
        }
    });
    began.notified().await;
    let second = reader.get_or_load("a", async { Ok(Some(value("second"))) });
    tokio::pin!(second);
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    first.abort();
    assert_eq!(second.await.unwrap(), Some(value("second")));
}

#[tokio::test]
async fn a_remove_during_a_load_is_not_undone_by_it() {
    let reader = reader(memory());
    let gate = Semaphore::new(0);
    let slow = reader.get_or_load("a", async {
        gate.acquire().await.unwrap().forget();
        Ok(Some(value("before the write")))
    });
    tokio::pin!(slow);
    assert!(futures_util::poll!(slow.as_mut()).is_pending());
    reader.remove("a").await;
    let fresh = reader.get_or_load("a", async { Ok(Some(value("after the write"))) }).await.unwrap();
    assert_eq!(fresh, Some(value("after the write")));
    gate.add_permits(1);
    slow.await.unwrap();
    let now = reader.get_or_load("a", async { Ok(None) }).await.unwrap();
    assert_eq!(now, Some(value("after the write")));
}

#[tokio::test]
async fn a_failing_cache_is_a_cache_that_misses() {
    let reader = reader(Odd { fails: true, ..Odd::default() });
    for _ in 0..3 {
        let loaded = reader.get_or_load("a", async { Ok(Some(value("from the store"))) }).await.unwrap();
        assert_eq!(loaded, Some(value("from the store")));
    }
    assert_eq!(reader.stats(), Stats { misses: 3, failures: 6, ..Stats::default() });
}

#[tokio::test]
async fn without_a_cache_every_read_loads_and_nothing_is_counted() {
    let reader = reader(NoCache);
    let loads = AtomicU64::new(0);
    let load = || async {
        loads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(Some(value("loaded")))
    };
    join_all((0..10).map(|_| reader.get_or_load("a", load()))).await;
    assert_eq!(loads.load(Ordering::SeqCst), 10);
    assert_eq!(reader.stats(), Stats::default());
}

#[tokio::test]
async fn times_to_live_are_spread_below_the_longest_and_repeat_with_the_seed() {
    let ttls_of = async |seed| {
        let odd = Arc::new(Odd::default());
        let reader = ReadThrough::new(odd.clone(), Ttl::at_most(TTL, seed));
        for _ in 0..200 {
            reader.get_or_load("a", async { Ok(Some(value("x"))) }).await.unwrap();
            reader.remove("a").await;
        }
        std::mem::take(&mut *odd.ttls.lock().unwrap())
    };
    let ttls = ttls_of(1).await;
    assert_eq!(ttls.len(), 200);
    let (shortest, longest) = (ttls.iter().min().unwrap(), ttls.iter().max().unwrap());
    assert!(*longest <= TTL && *shortest >= TTL.mul_f64(0.9), "{shortest:?} {longest:?}");
    assert!(*longest > TTL.mul_f64(0.99) && *shortest < TTL.mul_f64(0.91), "{shortest:?} {longest:?}");
    assert_eq!(ttls, ttls_of(1).await);
    assert_ne!(ttls, ttls_of(2).await);
}
