//! What each engine says of itself: who it is, and that what stands in for another does not pass for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use backing::{About, cache, queue};
use engine::PASSWORD;
use lab_core::event::Grade;

#[path = "support/engine.rs"]
mod engine;
#[path = "support/queue_places.rs"]
mod queue_places;
#[path = "support/store_places.rs"]
mod store_places;

async fn of_store(place: Option<store_places::Place>) -> Option<About> {
    let store = place?.open().await;
    assert_eq!(store.about().fidelity, store.promises().fidelity);
    Some(store.about())
}

/// The first word, how near it is, and whether it limits its connections.
#[track_caller]
fn is(about: Option<About>, name: &str, fidelity: Grade, limited: bool) {
    let Some(about) = about else { return };
    assert!(about.server.starts_with(name) && !about.server.ends_with(' '), "{about:?}");
    assert_eq!((about.fidelity, about.connections.is_some()), (fidelity, limited), "{about:?}");
    assert!(about.connections.is_none_or(|most| (50..1_000_000).contains(&most)), "{about:?}");
}

/// The images of the testbed; the official ones are what they say.
fn real(kind: &engine::Kind, stands_in: &'static str, itself: &'static str) -> (&'static str, Grade) {
    let variable = format!("LAB_IMAGE_{}", kind.name.to_uppercase());
    match std::env::var(variable) {
        Ok(image) if !image.contains("testbed/") => (itself, Grade::Real),
        _ => (stands_in, Grade::Compatible),
    }
}

#[tokio::test]
async fn embedded_engines_are_named_as_such() {
    is(of_store(store_places::memory().await).await, "memory", Grade::Embedded, false);
    is(of_store(store_places::sqlite().await).await, "SQLite 3.", Grade::Embedded, false);
    let queue = queue_places::sqlite().await.unwrap().open().await;
    is(Some(queue.about()), "SQLite 3.", Grade::Embedded, false);
}

#[tokio::test]
async fn stores_on_a_server_say_which() {
    is(of_store(store_places::postgres().await).await, "PostgreSQL ", Grade::Real, true);
    let (name, grade) = real(&engine::MYSQL, "MariaDB ", "MySQL ");
    is(of_store(store_places::mysql().await).await, name, grade, true);
    let (name, grade) = real(&engine::MONGO, "FerretDB ", "MongoDB ");
    is(of_store(store_places::mongodb().await).await, name, grade, grade == Grade::Real);
    is(of_store(store_places::dynamodb().await).await, "DynamoDB Local", Grade::Compatible, false);
}

#[tokio::test]
async fn a_queue_on_a_server_says_which() {
    let Some(place) = queue_places::rabbitmq().await else { return };
    let queue = queue::open(&place.address, &place.name("about"), queue_places::patient()).await.unwrap();
    is(Some(queue.about()), "RabbitMQ ", Grade::Real, false);
    assert_eq!(queue.promises().fidelity, Grade::Real);
}

#[tokio::test]
async fn a_cache_on_a_server_says_which() {
    let Some(server) = queue_places::shared(&engine::REDIS).await else { return };
    let settings = cache::Settings { deadline: queue_places::LONG, ..cache::Settings::default() };
    let cache = cache::open(&format!("redis://:{PASSWORD}@{}/0", server.address()), settings).await.unwrap();
    is(Some(cache.about()), "Redis ", Grade::Real, true);
}
