//! What only a store on a SQL server can meet: a server that is away, killed, frozen or refuses; openers that race; databases of
//! others. The same for PostgreSQL and MySQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::clock::HeldClock;
use backing::store::{self, Idempotency, Message, NewUser, Settings, Table};
use backing::{Error, MessageId, Store, UserId};
use engine::{Engine, Kind, MYSQL, PASSWORD, POSTGRES};
use futures_util::future::{join_all, try_join_all};
use places::{mysql_at, patient, postgres_at};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};
use tokio::time::timeout;

#[path = "support/engine.rs"]
mod engine;
#[path = "support/store_places.rs"]
mod places;

fn user() -> NewUser {
    NewUser { name: "Ada".to_owned(), created_at: String::new() }
}

fn hasty(deadline_ms: u64) -> Settings {
    Settings { deadline: Duration::from_millis(deadline_ms), ..Settings::default() }
}

/// The address of a new database.
async fn database(server: &Engine, kind: &Kind) -> String {
    if kind.name == POSTGRES.name { postgres_at(server).await } else { mysql_at(server).await }
}

/// Statements of somebody else.
async fn run(address: &str, statements: &str) {
    let statements = AssertSqlSafe(statements.to_owned());
    if address.starts_with("postgres") {
        let mut connection = PgConnection::connect(address).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    } else {
        let mut connection = MySqlConnection::connect(address).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    }
}

/// All that a log or a person would see of an error.
fn said(error: &Error) -> String {
    let mut said = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        said.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    said
}

async fn refused(address: &str) -> Error {
    store::open(address, patient()).await.err().expect("it is refused")
}

/// Until a call succeeds again; every failure on the way is one that may be tried again, and shows no password.
async fn until_it_answers(store: &Arc<dyn Store>) -> UserId {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match store.create_user(user(), None).await {
            Ok(created) => return created.id,
            Err(error) => {
                assert!(error.is_transient() && !said(&error).contains(PASSWORD), "{error:?}");
                assert!(Instant::now() < until, "{error:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn an_open_that_cannot_be_says_where_and_what_to_do(kind: &'static Kind) {
    let Some(server) = engine::shared(kind) else { return };
    let good = database(server, kind).await;
    let began = Instant::now();
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let nobody = good.replacen(&format!(":{port}/"), ":1/", 1);
    let no_database = good.replacen("/test_", "/absent_", 1);
    let no_password = good.replacen(PASSWORD, "wrong-secret", 1);
    for (address, place) in [(&nobody, "127.0.0.1:1/test_"), (&no_database, "/absent_"), (&no_password, ":…@127.0.0.1")]
    {
        let error = refused(address).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(place) && error.to_string().contains("start the server"), "{error}");
        assert!(!said(&error).contains(PASSWORD) && !said(&error).contains("wrong-secret"), "{}", said(&error));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

async fn openers_that_race_make_one_set_of_tables(kind: &'static Kind) {
    let Some(server) = engine::shared(kind) else { return };
    let address = database(server, kind).await;
    let stores = try_join_all((0..8).map(|_| store::open(&address, patient()))).await.unwrap();
    let created = try_join_all(stores.iter().map(|store| store.create_user(user(), None))).await.unwrap();
    assert_eq!(created.iter().map(|created| created.id.0).max(), Some(8));
    try_join_all(stores.iter().map(|store| store.close())).await.unwrap();
}

async fn databases_of_others_are_left_alone(kind: &'static Kind) {
    let Some(server) = engine::shared(kind) else { return };
    let address = database(server, kind).await;
    run(&address, "CREATE TABLE users (email VARCHAR(9)); INSERT INTO users VALUES ('a@b')").await;
    let error = refused(&address).await;
    assert!(matches!(error, Error::OtherFile { .. }) && !said(&error).contains(PASSWORD), "{error:?}");
    run(&address, "INSERT INTO users VALUES ('c@d')").await;

    let address = database(server, kind).await;
    store::open(&address, patient()).await.unwrap().close().await.unwrap();
    run(&address, "UPDATE store_schema SET version = 99").await;
    let error = refused(&address).await;
    assert!(matches!(error, Error::NewerSchema { found: 99, .. }) && !said(&error).contains(PASSWORD), "{error:?}");
}

async fn keys_are_remembered_for_a_day_and_then_forgotten(kind: &'static Kind) {
    let Some(server) = engine::shared(kind) else { return };
    let address = database(server, kind).await;
    let clock = HeldClock::at(1_800_000_000_000_000);
    let settings = Settings { clock: Arc::new(clock.clone()), ..patient() };
    let store = store::open(&address, settings).await.unwrap();
    let create = |number: usize| store.create_user(user(), Some(Idempotency::client(format!("key {number}"), b"")));
    let fresh = async |numbers: std::ops::Range<usize>| {
        let created = try_join_all(numbers.map(create)).await.unwrap();
        created.iter().filter(|created| created.fresh).count()
    };
    assert_eq!(fresh(0..300).await, 300);
    clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(fresh(0..300).await, 0, "a day is remembered");
    clock.advance(Duration::from_micros(1));
    assert_eq!(fresh(300..600).await, 300);
    assert_eq!(fresh(0..300).await, 300, "forgotten, so the keys are new again");
    assert_eq!(store.count(Table::Users).await.unwrap(), 900);
}

async fn what_cannot_be_stored_is_an_error_and_leaves_nothing(kind: &'static Kind) {
    let Some(server) = engine::shared(kind) else { return };
    let address = database(server, kind).await;
    let store = store::open(&address, patient()).await.unwrap();
    let failing = if kind.name == POSTGRES.name {
        "ALTER TABLE users ADD CONSTRAINT refuse CHECK (name <> 'bad')"
    } else {
        "CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW \
         BEGIN IF NEW.name = 'bad' THEN SIGNAL SQLSTATE '45000'; END IF; END"
    };
    run(&address, failing).await;
    let bad = NewUser { name: "bad".to_owned(), ..user() };
    let once = || Some(Idempotency::client("key", b"body"));
    for once in [None, once()] {
        let error = store.create_user(bad.clone(), once).await.unwrap_err();
        assert!(matches!(error, Error::Engine { .. }), "{error:?}");
    }
    let created = store.create_user(user(), once()).await.unwrap();
    assert!(created.fresh, "the key of a create that failed is free");
    assert_eq!(store.count(Table::Users).await.unwrap(), 1);
}

async fn a_server_that_takes_no_writes_is_not_ready(kind: &'static Kind) {
    let Some(server) = engine::alone(kind) else { return };
    let address = database(&server, kind).await;
    let store = store::open(&address, patient()).await.unwrap();
    store.ping().await.unwrap();
    store.close().await.unwrap();
    let read_only = if kind.name == POSTGRES.name {
        let name = address.rsplit_once('/').unwrap().1;
        format!("ALTER DATABASE {name} SET default_transaction_read_only = on")
    } else {
        "SET GLOBAL read_only = 1".to_owned()
    };
    run(&address, &read_only).await;
    let store = store::open(&address, patient()).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(error.is_transient() && said(&error).contains("name the primary"), "{error:?}");
}

/// The server is killed under load and comes back: nothing answered is lost, nothing is there twice, nobody opens anew.
async fn a_killed_server_loses_nothing_and_calls_work_when_it_is_back(kind: &'static Kind) {
    let Some(server) = engine::alone(kind) else { return };
    let address = database(&server, kind).await;
    let store = store::open(&address, Settings { deadline: Duration::from_secs(2), ..patient() }).await.unwrap();
    let creator = |creator: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut answered = Vec::new();
            for number in 0.. {
                let key = format!("{creator}/{number}");
                let new = NewUser { name: key.clone(), ..user() };
                match store.create_user(new, Some(Idempotency::client(&key, b""))).await {
                    Ok(created) => answered.push((key, created.id)),
                    Err(error) => {
                        assert!(error.is_transient() && !said(&error).contains(PASSWORD), "{error:?}");
                        return (answered, key);
                    }
                }
            }
            unreachable!()
        })
    };
    let creators: Vec<_> = (0..16).map(creator).collect();
    while store.count(Table::Users).await.unwrap() < 100 {}
    server.kill();
    let ended = try_join_all(creators).await.unwrap();
    assert!(matches!(store.ping().await, Err(error) if error.is_transient()));
    server.restart();
    until_it_answers(&store).await;
    let mut users = store.count(Table::Users).await.unwrap();
    for (answered, unanswered) in ended {
        for (name, id) in answered {
            assert_eq!(store.get_user(id).await.unwrap().expect("an answered create is there").name, name);
        }
        let new = NewUser { name: unanswered.clone(), ..user() };
        let settled = store.create_user(new, Some(Idempotency::client(&unanswered, b""))).await.unwrap();
        users += u64::from(settled.fresh);
    }
    assert_eq!(store.count(Table::Users).await.unwrap(), users);

    // Nobody calls while it is away: the first call after that meets connections that ended long ago.
    try_join_all((0..10).map(|_| store.ping())).await.unwrap();
    server.kill();
    server.restart();
    tokio::time::sleep(Duration::from_millis(600)).await;
    store.create_user(user(), None).await.unwrap();
    store.close().await.unwrap();
}

async fn a_frozen_server_is_waited_for_until_the_deadline(kind: &'static Kind) {
    let Some(server) = engine::alone(kind) else { return };
    let address = database(&server, kind).await;
    let settings = Settings { max_waiting: 8, connections: 4, ..hasty(700) };
    let store = store::open(&address, settings).await.unwrap();
    try_join_all((0..4).map(|_| store.create_user(user(), None))).await.unwrap();
    server.pause();
    let began = Instant::now();
    let answers = join_all((0..40).map(|_| store.create_user(user(), None))).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let count = |wanted: fn(&Error) -> bool| answers.iter().filter(|answer| answer.as_ref().is_err_and(wanted)).count();
    assert_eq!(count(|error| matches!(error, Error::Overloaded { waiting: 8, .. })), 28);
    assert_eq!(count(|error| matches!(error, Error::Timeout { .. })), 12);
    let began = Instant::now();
    assert!(matches!(store.get_user(UserId(1)).await, Err(Error::Timeout { .. })));
    assert!(matches!(store.ping().await, Err(Error::Timeout { .. })));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let began = Instant::now();
    assert!(matches!(store::open(&address, hasty(700)).await, Err(Error::Unreachable { .. })));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    server.unpause();
    until_it_answers(&store).await;
    store.close().await.unwrap();
}

/// A caller that goes away in the middle of a call does not leave its answer to the next one.
async fn a_dropped_call_spoils_no_other(kind: &'static Kind) {
    let Some(server) = engine::shared(kind) else { return };
    let address = database(server, kind).await;
    let store = store::open(&address, Settings { connections: 2, ..patient() }).await.unwrap();
    let ids = try_join_all((0..20).map(|number| {
        let new = NewUser { name: number.to_string(), ..user() };
        store.create_user(new, None)
    }));
    let ids: Vec<_> = ids.await.unwrap().into_iter().map(|created| created.id).collect();
    let names: Vec<_> = try_join_all(ids.iter().map(|id| store.get_user(*id))).await.unwrap();
    for round in 0..200u64 {
        let message =
            Message { id: MessageId::fresh(), from: UserId(1), to: UserId(2), text: "text".to_owned(), sent_at: round };
        // Cut after another number of steps each time.
        drop(timeout(Duration::from_micros(round * 10), store.put_message(message)).await);
        drop(timeout(Duration::from_micros(round * 10), store.get_user(ids[0])).await);
        let which = (round % 20) as usize;
        assert_eq!(store.get_user(ids[which]).await.unwrap(), names[which]);
    }
    let inbox = store.messages_for(UserId(2), usize::MAX).await.unwrap();
    assert_eq!(store.count(Table::Messages).await.unwrap(), inbox.len() as u64);
}

macro_rules! on {
    ($engine:ident $kind:ident: $($case:ident)*) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$case(&crate::$kind).await;
                }
            )*
        }
    };
}

macro_rules! both {
    ($($case:ident)*) => {
        on!(postgres POSTGRES: $($case)*);
        on!(mysql MYSQL: $($case)*);
    };
}

both! {
    an_open_that_cannot_be_says_where_and_what_to_do
    openers_that_race_make_one_set_of_tables
    databases_of_others_are_left_alone
    keys_are_remembered_for_a_day_and_then_forgotten
    what_cannot_be_stored_is_an_error_and_leaves_nothing
    a_killed_server_loses_nothing_and_calls_work_when_it_is_back
    a_frozen_server_is_waited_for_until_the_deadline
    a_server_that_takes_no_writes_is_not_ready
    a_dropped_call_spoils_no_other
}
