//! What the MongoDB store does when its server is away, silent, full, new again or not its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::clock::HeldClock;
use backing::store::{self, Idempotency, NewUser, Settings};
use backing::{Error, Store, UserId};
use engine::{MONGO, MONGO_REFUSING, PASSWORD};
use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};

#[path = "support/engine.rs"]
mod engine;
#[path = "support/store_places.rs"]
mod places;

fn user(name: &str) -> NewUser {
    NewUser { name: name.to_owned(), created_at: "2026-11-24T10:00:00Z".to_owned() }
}

fn within(deadline: Duration) -> Settings {
    Settings { deadline, ..Settings::default() }
}

/// All that an error says, to whomever.
fn all_of(error: &Error) -> String {
    let mut said = format!("{error:?} {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        said += &format!(" {cause}");
        source = cause.source();
    }
    said
}

async fn until_it_works<T>(call: impl AsyncFn() -> Result<T, Error>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_transient() && Instant::now() < until, "{error:?}"),
        }
    }
}

async fn database(address: &str) -> Database {
    Client::with_uri_str(address).await.unwrap().default_database().unwrap()
}

#[tokio::test]
async fn a_server_that_is_away_is_named_with_its_remedy() {
    let address = format!("mongodb://lab:{PASSWORD}@127.0.0.1:1/lab?authSource=admin");
    let began = Instant::now();
    let away = store::open(&address, within(Duration::from_secs(1))).await.err().unwrap();
    assert!(matches!(away, Error::Unreachable { .. }), "{away:?}");
    assert!(
        away.to_string().contains("mongodb://lab:…@127.0.0.1:1/lab") && away.to_string().contains("start"),
        "{away}"
    );
    assert!(!all_of(&away).contains(PASSWORD), "{}", all_of(&away));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn addresses_that_cannot_be_read_are_refused_without_their_password() {
    for address in [
        "mongodb://lab:{}@127.0.0.1:1",
        "mongodb://lab:{}@127.0.0.1:x/lab",
        "mongodb://lab:{}@127.0.0.1:1/lab?what=ever",
    ] {
        let refused = store::open(&address.replace("{}", PASSWORD), Settings::default()).await.err().unwrap();
        assert!(matches!(refused, Error::Address { .. }), "{refused:?}");
        assert!(!all_of(&refused).contains(PASSWORD), "{}", all_of(&refused));
    }
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_shown() {
    let Some(server) = engine::alone(&MONGO_REFUSING) else { return };
    for password in [PASSWORD, "guessed-wrong"] {
        let address = format!("mongodb://lab:{password}@{}/lab?authSource=admin", server.address());
        let refused = store::open(&address, places::patient()).await.err().unwrap();
        assert!(matches!(refused, Error::Unreachable { .. }), "{refused:?}");
        assert!(!all_of(&refused).contains(password), "{}", all_of(&refused));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_of_the_server_calls_work_again_and_nothing_answered_is_missing() {
    let Some(server) = engine::alone(&MONGO) else { return };
    let address = places::mongodb_at(&server);
    let store = store::open(&address, within(Duration::from_secs(2))).await.unwrap();
    let mut answered = Vec::new();
    for round in 0..2 {
        for number in 0..20 {
            let name = format!("{round}/{number}");
            let once = Idempotency::client(name.clone(), name.as_bytes());
            let created = until_it_works(async || store.create_user(user(&name), Some(once.clone())).await).await;
            answered.push((created.id, name));
        }
        server.kill();
        for away in [
            store.get_user(UserId(1)).await.err(),
            store.create_user(user("away"), None).await.err(),
            store.ping().await.err(),
        ] {
            let away = away.unwrap();
            assert!(away.is_transient() && !all_of(&away).contains(PASSWORD), "{}", all_of(&away));
        }
        server.restart();
        until_it_works(|| store.ping()).await;
    }
    for (id, name) in answered {
        assert_eq!(store.get_user(id).await.unwrap().unwrap().name, name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_costs_the_deadline_and_a_repeat_settles_what_happened() {
    let Some(server) = engine::alone(&MONGO) else { return };
    let deadline = Duration::from_millis(700);
    let settings = Settings { connections: 2, max_waiting: 3, ..within(deadline) };
    let address = places::mongodb_at(&server);
    let store = store::open(&address, settings).await.unwrap();
    until_it_works(async || store.create_user(user("first"), None).await).await;
    server.pause();
    let key = || Some(Idempotency::client("key", b"body"));
    let began = Instant::now();
    let ends = join_all((0..10).map(|_| store.create_user(user("silent"), key()))).await;
    assert!(began.elapsed() < deadline * 3, "{:?}", began.elapsed());
    let full = ends.iter().filter(|end| matches!(end, Err(Error::Overloaded { waiting: 3, .. }))).count();
    assert_eq!(full, 5, "two at the server, three wait: {ends:?}");
    assert!(ends.iter().all(|end| end.as_ref().is_err_and(Error::is_transient)), "{ends:?}");
    let began = Instant::now();
    let another = store::open(&address, within(deadline)).await.err();
    assert!(matches!(another, Some(Error::Unreachable { .. })), "{another:?}");
    assert!(began.elapsed() < deadline * 4, "{:?}", began.elapsed());
    server.unpause();
    let settled = until_it_works(async || store.create_user(user("silent"), key()).await).await;
    let again = until_it_works(async || store.create_user(user("silent"), key()).await).await;
    assert_eq!((again.id, again.fresh), (settled.id, false));
    assert_eq!(store.count(store::Table::Users).await.unwrap(), 2);
}

#[tokio::test]
async fn a_database_of_a_newer_build_is_refused() {
    let Some(server) = engine::shared(&MONGO) else { return };
    let address = places::mongodb_at(server);
    store::open(&address, places::patient()).await.unwrap().close().await.unwrap();
    let schema = database(&address).await.collection::<Document>("store_schema");
    schema.update_one(doc! { "_id": "store" }, doc! { "$set": { "version": 99_i64 } }).await.unwrap();
    let refused = store::open(&address, places::patient()).await.err().unwrap();
    assert!(matches!(refused, Error::NewerSchema { found: 99, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_somebody_else_is_left_alone() {
    let Some(server) = engine::shared(&MONGO) else { return };
    let address = places::mongodb_at(server);
    let theirs = database(&address).await;
    theirs.collection::<Document>("users").insert_one(doc! { "_id": 1, "theirs": true }).await.unwrap();
    let refused = store::open(&address, places::patient()).await.err().unwrap();
    assert!(matches!(refused, Error::OtherFile { .. }), "{refused:?}");
    assert_eq!(theirs.list_collection_names().await.unwrap(), ["users"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_share_one_database() {
    let Some(server) = engine::shared(&MONGO) else { return };
    let address = places::mongodb_at(server);
    let stores = join_all((0..8).map(|_| store::open(&address, places::patient()))).await;
    let stores: Vec<Arc<dyn Store>> = stores.into_iter().map(Result::unwrap).collect();
    let created = join_all(stores.iter().map(|store| store.create_user(user("one"), None))).await;
    let mut ids: Vec<u64> = created.into_iter().map(|created| created.unwrap().id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_forgotten_after_their_time() {
    let Some(server) = engine::shared(&MONGO) else { return };
    let clock = HeldClock::at(1_700_000_000_000_000);
    let remember = Duration::from_secs(3600);
    let settings = Settings { remember, clock: Arc::new(clock.clone()), ..places::patient() };
    let store = store::open(&places::mongodb_at(server), settings).await.unwrap();
    let create =
        |key: String, body: &'static [u8]| store.create_user(user("Ada"), Some(Idempotency::client(key, body)));
    create("old".to_owned(), b"a").await.unwrap();
    clock.advance(remember - Duration::from_secs(1));
    assert!(matches!(create("old".to_owned(), b"b").await, Err(Error::KeyReused { .. })));
    clock.advance(Duration::from_secs(2));
    join_all((0..256).map(|number| create(number.to_string(), b"")))
        .await
        .into_iter()
        .for_each(|end| assert!(end.unwrap().fresh));
    assert!(create("old".to_owned(), b"b").await.unwrap().fresh);
    assert!(!create("7".to_owned(), b"").await.unwrap().fresh, "younger ones are remembered");
}
