//! What a Redis that is away, frozen or restarted does to its cache: readers go on without it and within the deadline.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::cache::{self, ReadThrough, Settings, Ttl};
use backing::{Cache, Error};
use engine::{Engine, PASSWORD};
use futures_util::future::join_all;

#[path = "support/engine.rs"]
mod engine;

const LONG: Duration = Duration::from_secs(20);
/// How much later than its deadline a call may be on a busy machine.
const GRACE: Duration = Duration::from_secs(1);

async fn alone() -> Option<Engine> {
    tokio::task::spawn_blocking(|| engine::alone(&engine::REDIS)).await.unwrap()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn address(server: &Engine) -> String {
    format!("redis://:{PASSWORD}@{}/0", server.address())
}

/// Everything that an error may be printed as.
fn printed(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}

async fn until_it_answers(cache: &Arc<dyn Cache>) {
    let until = Instant::now() + LONG;
    while let Err(error) = cache.ping().await {
        assert!(Instant::now() < until, "{error:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_or_refuses_is_named_without_its_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut addresses = vec![format!("redis://:{PASSWORD}@{free}/0")];
    let server = alone().await;
    if let Some(server) = &server {
        addresses.push(format!("redis://:{PASSWORD}-wrong@{}/0", server.address()));
    }
    for address in addresses {
        let began = Instant::now();
        let error = cache::open(&address, Settings::default()).await.err().unwrap();
        assert!(began.elapsed() < GRACE, "{:?}", began.elapsed());
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(address.rsplit('@').next().unwrap()), "{error}");
        assert!(!printed(&error).contains(PASSWORD), "{}", printed(&error));
    }
    let unreadable = cache::open(&format!("redis://:{PASSWORD}@host:port/x"), Settings::default()).await.err().unwrap();
    assert!(matches!(unreadable, Error::Address { .. }), "{unreadable:?}");
    assert!(!printed(&unreadable).contains(PASSWORD), "{}", printed(&unreadable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_an_error_at_once_and_used_again_when_it_is_back() {
    let Some(server) = alone().await else { return };
    let cache = cache::open(&address(&server), Settings::default()).await.unwrap();
    until_it_answers(&cache).await;
    let server = blocking(move || {
        server.kill();
        server
    })
    .await;
    let limit = Settings::default().deadline + GRACE;
    for _ in 0..5 {
        let began = Instant::now();
        let error = cache.get("a").await.unwrap_err();
        assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        assert!(error.is_transient() && !printed(&error).contains(PASSWORD), "{}", printed(&error));
    }
    let _server = blocking(move || {
        server.restart();
        server
    })
    .await;
    until_it_answers(&cache).await;
    cache.put("a", b"one"[..].into(), LONG).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&b"one"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_readers_one_deadline_and_overload_nothing() {
    let Some(server) = alone().await else { return };
    let settings = Settings { max_waiting: 3, ..Settings::default() };
    let cache = cache::open(&address(&server), settings).await.unwrap();
    until_it_answers(&cache).await;
    let server = blocking(move || {
        server.pause();
        server
    })
    .await;
    let answers = join_all((0..10).map(|_| cache.get("a"))).await;
    let count = |wanted: fn(&Error) -> bool| answers.iter().filter(|answer| answer.as_ref().is_err_and(wanted)).count();
    assert_eq!(count(|error| matches!(error, Error::Timeout { .. })), 3, "{answers:?}");
    assert_eq!(count(|error| matches!(error, Error::Overloaded { .. })), 7, "{answers:?}");

    let reader = ReadThrough::new(cache.clone(), Ttl::at_most(LONG, 1));
    let began = Instant::now();
    let loaded = reader.get_or_load("a", async { Ok(Some(b"from the store"[..].into())) }).await.unwrap();
    assert_eq!(loaded.as_deref(), Some(&b"from the store"[..]));
    assert!(began.elapsed() < Settings::default().deadline * 2 + GRACE, "{:?}", began.elapsed());
    assert_eq!((reader.stats().misses, reader.stats().failures), (1, 2));

    let _server = blocking(move || {
        server.unpause();
        server
    })
    .await;
    until_it_answers(&cache).await;
    cache.close().await.unwrap();
}
