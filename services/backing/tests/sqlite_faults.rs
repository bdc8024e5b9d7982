//! What only SQLite can do wrong: a lock held by somebody else, a file of another kind or version, openers that race.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use backing::clock::HeldClock;
use backing::queue::sqlite::SqliteQueue;
use backing::queue::{Envelope, Queue};
use backing::store::sqlite::SqliteStore;
use backing::store::{Idempotency, NewUser, Settings, Store, Table};
use backing::{Error, MessageId, queue};
use futures_util::future::{join_all, try_join_all};
use rusqlite::Connection;

fn user() -> NewUser {
    NewUser { name: "Ada".to_owned(), created_at: String::new() }
}

fn hasty(deadline_ms: u64, max_waiting: usize) -> Settings {
    Settings { deadline: Duration::from_millis(deadline_ms), max_waiting, ..Settings::default() }
}

/// Somebody who writes and does not come to an end.
fn hold_write_lock(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[tokio::test]
async fn a_write_behind_a_held_lock_ends_at_its_deadline_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    let store = SqliteStore::open(&path, hasty(150, 64)).unwrap();
    let id = store.create_user(user(), None).await.unwrap().id;
    let held = hold_write_lock(&path);
    let began = Instant::now();
    let late = store.create_user(user(), None).await.unwrap_err();
    assert!(matches!(late, Error::Timeout { .. }) && late.is_transient(), "{late}");
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert!(store.get_user(id).await.unwrap().is_some());
    assert!(matches!(store.ping().await, Err(Error::Timeout { .. })), "cannot write, so not ready");
    held.execute_batch("ROLLBACK").unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = store.create_user(user(), None).await {
        assert!(Instant::now() < until, "{error}");
    }
}

#[tokio::test]
async fn more_writes_than_may_wait_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    let store = SqliteStore::open(&path, hasty(400, 8)).unwrap();
    let held = hold_write_lock(&path);
    let answers = join_all((0..100).map(|_| store.create_user(user(), None))).await;
    held.execute_batch("ROLLBACK").unwrap();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(Error::Overloaded { waiting: 8, .. }))).count();
    assert!(refused >= 80, "{refused} of 100");
    assert!(answers.iter().all(Result::is_err));
}

#[tokio::test]
async fn a_failing_call_does_not_take_its_neighbours_along() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    let store = SqliteStore::open(&path, hasty(20_000, 4096)).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER refuse AFTER INSERT ON users WHEN new.name = 'bad' BEGIN SELECT RAISE(FAIL, 'refused'); END",
        )
        .unwrap();
    let names = (0..60).map(|number| if number % 3 == 0 { "bad" } else { "good" });
    let creates = names.map(|name| store.create_user(NewUser { name: name.to_owned(), ..user() }, None));
    let answers = join_all(creates).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 40);
    assert_eq!(store.count(Table::Users).await.unwrap(), 40, "no trace of the refused, and no gap");
}

#[tokio::test]
async fn keys_are_remembered_for_a_day_and_then_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    let clock = HeldClock::at(1_800_000_000_000_000);
    let settings = Settings { clock: Arc::new(clock.clone()), ..hasty(20_000, 4096) };
    let store = SqliteStore::open(&path, settings).unwrap();
    let create = |number: usize| store.create_user(user(), Some(Idempotency::client(format!("key {number}"), b"")));
    let fresh = async |numbers: Range<usize>| {
        let created = try_join_all(numbers.map(create)).await.unwrap();
        created.iter().filter(|created| created.fresh).count()
    };
    assert_eq!(fresh(0..700).await, 700);
    clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(fresh(0..700).await, 0, "a day is remembered");
    clock.advance(Duration::from_micros(1));
    assert_eq!(fresh(700..1300).await, 600);
    let kept = |connection: &Connection| connection.query_row("SELECT count(*) FROM answers", [], |row| row.get(0));
    assert_eq!(kept(&Connection::open(&path).unwrap()), Ok(600));
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, store) = (dir.path().join("queue.db"), dir.path().join("users.db"));
    SqliteQueue::open(&queue, "messages", queue::Settings::default()).unwrap().close().await.unwrap();
    SqliteStore::open(&store, Settings::default()).unwrap().close().await.unwrap();
    assert!(matches!(SqliteStore::open(&queue, Settings::default()), Err(Error::OtherFile { .. })));
    let refused = SqliteQueue::open(&store, "messages", queue::Settings::default()).err().unwrap();
    assert!(refused.to_string().contains("users.db"), "{refused}");
    std::fs::write(dir.path().join("text"), "not a database, and longer than a header would be".repeat(9)).unwrap();
    assert!(matches!(SqliteStore::open(&dir.path().join("text"), Settings::default()), Err(Error::Engine { .. })));
    assert!(matches!(
        SqliteStore::open(&dir.path().join("no/such/dir"), Settings::default()),
        Err(Error::Engine { .. })
    ));
}

#[test]
fn a_file_of_a_newer_build_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    drop(SqliteStore::open(&path, Settings::default()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = SqliteStore::open(&path, Settings::default()).err().unwrap();
    assert!(matches!(refused, Error::NewerSchema { found: 99, .. }), "{refused}");
}

#[test]
fn openers_that_race_make_one_schema() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let (path, start) = (Arc::new(dir.path().join("queue.db")), Arc::new(Barrier::new(8)));
        let openers: Vec<_> = (0..8)
            .map(|_| {
                let (path, start) = (path.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    SqliteQueue::open(&path, "messages", queue::Settings::default()).map(drop)
                })
            })
            .collect();
        for opener in openers {
            opener.join().unwrap().unwrap();
        }
    }
}

/// Two busy writers on one file: neither may be starved by the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_writers_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    let open = || {
        SqliteQueue::open(
            &path,
            "messages",
            queue::Settings { deadline: Duration::from_secs(20), ..Default::default() },
        )
    };
    let (one, two) = (open().unwrap(), open().unwrap());
    let until = Instant::now() + Duration::from_millis(700);
    let publish = async |queue: &SqliteQueue| {
        let mut published = 0u32;
        while Instant::now() < until {
            let envelope = Envelope { id: MessageId::fresh(), body: Vec::new() };
            queue.publish(vec![envelope]).await.unwrap();
            published += 1;
        }
        published
    };
    let all = async |queue: &SqliteQueue| join_all((0..16).map(|_| publish(queue))).await.iter().sum::<u32>();
    let (one, two) = tokio::join!(all(&one), all(&two));
    assert!(one.min(two) * 4 > one.max(two), "{one} and {two}");
}
