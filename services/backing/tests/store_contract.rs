//! What every store must do. A new engine adds a factory to `support/store_places.rs` and one line at the end; faults of an engine
//! are tested in a file of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::store::{self, Cursor, Idempotency, Message, NewUser, Settings, Table};
use backing::{Error, MessageId, Store, UserId};
use futures_util::future::join_all;
use places::{Place, open};

#[path = "support/children.rs"]
mod children;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/store_places.rs"]
mod places;

fn user(name: &str) -> NewUser {
    NewUser { name: name.to_owned(), created_at: "2026-11-24T10:00:00Z".to_owned() }
}

fn message(to: u64, text: &str, sent_at: u64) -> Message {
    Message { id: MessageId::fresh(), from: UserId(7), to: UserId(to), text: text.to_owned(), sent_at }
}

async fn ids_count_up_from_one(place: Place) {
    let store = place.open().await;
    assert_eq!(store.count(Table::Users).await.unwrap(), 0);
    for expected in 1..=20 {
        let created = store.create_user(user(&format!("user {expected}")), None).await.unwrap();
        assert_eq!((created.id, created.fresh), (UserId(expected), true));
    }
    assert_eq!(store.count(Table::Users).await.unwrap(), 20);
    assert_eq!(store.get_user(UserId(13)).await.unwrap().unwrap().name, "user 13");
}

async fn an_unknown_id_is_none(place: Place) {
    let store = place.open().await;
    store.create_user(user("only"), None).await.unwrap();
    for id in [0, 2, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
        assert_eq!(store.get_user(UserId(id)).await.unwrap(), None, "{id}");
    }
}

async fn text_comes_back_as_it_went_in(place: Place) {
    let store = place.open().await;
    let long = "long ".repeat(3000);
    for name in ["", "Zoë 👩‍👩‍👧 \u{202e}abc", "'; DROP TABLE users; --", "line\nbreak\ttab\0nul", long.as_str()]
    {
        let new = NewUser { name: name.to_owned(), created_at: name.chars().rev().collect() };
        let id = store.create_user(new.clone(), None).await.unwrap().id;
        let found = store.get_user(id).await.unwrap().unwrap();
        assert_eq!((found.id, found.name, found.created_at), (id, new.name, new.created_at));
    }
}

async fn a_key_is_answered_once(place: Place) {
    let store = place.open().await;
    let key = |body: &[u8]| Some(Idempotency::client("key-1", body));
    let first = store.create_user(user("Ada"), key(b"ada")).await.unwrap();
    let again = store.create_user(user("Ada"), key(b"ada")).await.unwrap();
    assert_eq!((first.fresh, again.fresh, again.id), (true, false, first.id));
    let other = store.create_user(user("Eve"), key(b"eve")).await;
    assert!(matches!(&other, Err(Error::KeyReused { key }) if key == "key-1"), "{other:?}");
    assert!(!other.unwrap_err().is_transient());
    let unkeyed = store.create_user(user("Ada"), None).await.unwrap();
    assert_eq!(unkeyed.id, UserId(2), "a refused create takes no id");
    assert_eq!(store.count(Table::Users).await.unwrap(), 2);
}

async fn a_delivery_creates_once(place: Place) {
    let store = place.open().await;
    let id = MessageId::fresh();
    let first = store.create_user(user("Ada"), Some(Idempotency::message(id))).await.unwrap();
    let again = store.create_user(user("Ada"), Some(Idempotency::message(id))).await.unwrap();
    assert_eq!((first.fresh, again.fresh, again.id), (true, false, first.id));
    let client = store.create_user(user("Ada"), Some(Idempotency::client(id.to_string(), b""))).await.unwrap();
    assert!(client.fresh, "a client cannot claim a message's key");
}

async fn one_key_at_once_creates_once(place: Place) {
    let store = place.open().await;
    let creates = (0..32).map(|_| store.create_user(user("Ada"), Some(Idempotency::client("same", b"same"))));
    let created: Vec<_> = join_all(creates).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(created.iter().filter(|created| created.fresh).count(), 1);
    assert!(created.iter().all(|created| created.id == UserId(1)));
    assert_eq!(store.count(Table::Users).await.unwrap(), 1);
}

async fn concurrent_creators_share_no_id(place: Place) {
    const EACH: usize = 25;
    let store = place.open().await;
    let creators = (0..16).map(|creator| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            for number in 0..EACH {
                let name = format!("{creator}/{number}");
                let id = store.create_user(user(&name), None).await.unwrap().id;
                assert_eq!(store.get_user(id).await.unwrap().unwrap().name, name, "a creator reads what it wrote");
                mine.push(id.0);
            }
            assert!(mine.is_sorted());
            mine
        })
    });
    let ids: HashSet<u64> = join_all(creators).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(ids, (1..=16 * EACH as u64).collect());
}

async fn a_message_is_stored_once(place: Place) {
    let store = place.open().await;
    let first = message(1, "hello", 5);
    assert!(store.put_message(first.clone()).await.unwrap());
    assert!(!store.put_message(Message { text: "changed".to_owned(), ..first.clone() }).await.unwrap());
    let same_time = (0..8).map(|_| store.put_message(first.clone()));
    assert!(join_all(same_time).await.into_iter().all(|fresh| !fresh.unwrap()));
    assert_eq!(store.messages_for(UserId(1), 10).await.unwrap(), [first]);
    assert!(store.put_message(message(1, "next", 6)).await.unwrap());
    assert_eq!(store.count(Table::Messages).await.unwrap(), 2);
}

async fn messages_come_newest_first_and_bounded(place: Place) {
    let store = place.open().await;
    let mut sent: Vec<_> = (0..30).map(|number| message(1, &format!("text {number}"), 1000 + number / 3)).collect();
    join_all(sent.iter().rev().map(|message| store.put_message(message.clone()))).await;
    store.put_message(message(2, "somebody else's", 9999)).await.unwrap();
    sent.sort_by_key(|message| std::cmp::Reverse((message.sent_at, message.id)));
    assert_eq!(store.messages_for(UserId(1), 10).await.unwrap(), sent[..10]);
    assert_eq!(store.messages_for(UserId(1), usize::MAX).await.unwrap(), sent);
    assert_eq!(store.messages_for(UserId(1), 0).await.unwrap(), []);
    assert_eq!(store.messages_for(UserId(3), 10).await.unwrap(), []);
}

/// Reads a table to its end in pages of `limit`.
async fn scanned(store: &Arc<dyn Store>, table: Table, limit: usize) -> Vec<String> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan(table, after.as_ref(), limit).await.unwrap();
        assert!(page.rows.len() <= limit);
        rows.extend(page.rows);
        after = page.next.map(|cursor| Cursor::from(cursor.to_string()));
        if after.is_none() {
            rows.sort();
            return rows;
        }
    }
}

async fn a_scan_gives_each_row_once(place: Place) {
    let store = place.open().await;
    for table in [Table::Users, Table::Messages] {
        assert_eq!(scanned(&store, table, 10).await, Vec::<String>::new());
    }
    let names: Vec<String> = (0..25).map(|number| format!("a \"line\"\nof {number:02} 👩‍👧")).collect();
    join_all(names.iter().map(|name| store.create_user(user(name), None))).await;
    // To three inboxes, in no order of time.
    let messages = names.iter().zip(0..).map(|(text, number)| message(1 + number % 3, text, 1000 - number));
    join_all(messages.map(|message| store.put_message(message))).await;
    for limit in [1, 7, 25, 26, 10_000] {
        assert_eq!(scanned(&store, Table::Users, limit).await, names, "users by {limit}");
        assert_eq!(scanned(&store, Table::Messages, limit).await, names, "messages by {limit}");
    }
    let nowhere = Cursor::from("no such place, ever?".to_owned());
    match store.scan(Table::Messages, Some(&nowhere), 10).await {
        Err(Error::Cursor { .. }) => {}
        // To some engines any text is a place.
        Ok(page) => assert!(page.rows.len() <= 10),
        Err(other) => panic!("{other:?}"),
    }
}

async fn a_closed_store_says_so(place: Place) {
    let store = place.open().await;
    store.ping().await.unwrap();
    store.create_user(user("last"), None).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.create_user(user("late"), None).await, Err(Error::Closed { .. })));
    assert!(matches!(store.get_user(UserId(1)).await, Err(Error::Closed { .. })));
    assert!(matches!(store.ping().await, Err(Error::Closed { .. })));
}

async fn close_finishes_what_was_handed_over(place: Place) {
    let store = place.open().await;
    let creates: Vec<_> = (0..50)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.create_user(user(&number.to_string()), None).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    for create in creates {
        let answer = create.await.unwrap();
        assert!(matches!(answer, Ok(_) | Err(Error::Closed { .. })), "{answer:?}");
    }
}

async fn promises_are_said(place: Place) {
    let promises = place.open().await.promises();
    assert!(place.address.starts_with(promises.engine));
    for phrase in [promises.durability, promises.acknowledgement, promises.replication, promises.ordering] {
        assert!(!phrase.is_empty() && !phrase.ends_with('.'), "{phrase}");
    }
}

async fn reopening_keeps_everything(place: Place) {
    let store = place.open().await;
    let key = || Some(Idempotency::client("kept", b"body"));
    let id = store.create_user(user("Ada"), key()).await.unwrap().id;
    let sent = message(1, "hello", 5);
    store.put_message(sent.clone()).await.unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.get_user(id).await.unwrap().unwrap().name, "Ada");
    assert_eq!(store.create_user(user("Ada"), key()).await.unwrap().id, id);
    assert_eq!(store.messages_for(UserId(1), 10).await.unwrap(), std::slice::from_ref(&sent));
    assert!(!store.put_message(sent).await.unwrap());
    assert_eq!(store.create_user(user("Eve"), None).await.unwrap().id, UserId(2));
}

async fn several_openers_see_each_other(place: Place) {
    let stores = join_all((0..4).map(|_| place.open())).await;
    for round in 0..5 {
        let created = join_all(stores.iter().map(|store| store.create_user(user(&round.to_string()), None))).await;
        for created in created {
            let id = created.unwrap().id;
            let seen = join_all(stores.iter().map(|store| store.get_user(id))).await;
            assert!(seen.into_iter().all(|found| found.unwrap().is_some()), "an answered create is seen by all");
        }
    }
    assert_eq!(stores[0].count(Table::Users).await.unwrap(), 20);
}

/// One process creates, keyed, and is killed at it three times; another creates beside it. Nothing answered is missing,
/// nothing is there twice.
async fn a_killed_creator_loses_nothing(place: Place, test: &str) {
    let store = place.open().await;
    let mut next = 0;
    for kill in 0..3 {
        let mut copy = children::start(test, &[&place.address, &next.to_string()]);
        let mut acked: Vec<String> = (0..60).map(|_| copy.next("acked").expect("the copy lives")).collect();
        store.create_user(user("beside"), None).await.unwrap();
        acked.extend(copy.kill("acked"));
        for line in &acked {
            let (number, id) = line.split_once(' ').unwrap();
            let found = store.get_user(id.parse().unwrap()).await.unwrap().expect("an answered create is there");
            assert_eq!(found.name, number);
            next = next.max(number.parse::<usize>().unwrap() + 1);
        }
        // Sent, never answered: they may be there or not, and a repeat settles it.
        next += 64;
        let repeats = (0..next).map(|number| create_numbered(&store, number));
        let ids: HashSet<UserId> = join_all(repeats).await.into_iter().collect();
        assert_eq!(ids.len(), next);
        let users = store.count(Table::Users).await.unwrap();
        assert_eq!(users, next as u64 + kill + 1, "each key one user, and one beside for each kill");
    }
}

async fn create_numbered(store: &Arc<dyn Store>, number: usize) -> UserId {
    let name = number.to_string();
    let once = Idempotency::client(format!("key {number}"), name.as_bytes());
    store.create_user(user(&name), Some(once)).await.unwrap().id
}

/// The killed creator: 32 creates at a time, each reported once answered, until killed.
async fn create_until_killed(part: &[String]) {
    let store = open(&part[0]).await;
    let (mut next, until) = (part[1].parse::<usize>().unwrap(), Instant::now() + Duration::from_secs(30));
    while Instant::now() < until {
        let answered = (next..next + 32).map(|number| {
            let store = store.clone();
            async move {
                let id = create_numbered(&store, number).await;
                children::report("acked", format_args!("{number} {id}"));
            }
        });
        join_all(answered).await;
        next += 32;
    }
}

macro_rules! cases {
    ($factory:ident; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(place) = crate::places::$factory().await {
                    crate::$case(place).await;
                }
            }
        )*
    };
}

macro_rules! what_every_store_does {
    ($factory:ident) => {
        cases! { $factory;
            ids_count_up_from_one an_unknown_id_is_none text_comes_back_as_it_went_in a_key_is_answered_once
            a_delivery_creates_once one_key_at_once_creates_once concurrent_creators_share_no_id
            a_message_is_stored_once messages_come_newest_first_and_bounded a_scan_gives_each_row_once a_closed_store_says_so
            close_finishes_what_was_handed_over promises_are_said
        }
    };
}

macro_rules! store {
    ($factory:ident) => {
        mod $factory {
            what_every_store_does!($factory);
        }
    };
}

macro_rules! durable_store {
    ($factory:ident) => {
        mod $factory {
            what_every_store_does!($factory);
            cases! { $factory; reopening_keeps_everything several_openers_see_each_other }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_killed_creator_loses_nothing() {
                let name = concat!(stringify!($factory), "::a_killed_creator_loses_nothing");
                if let Some(part) = crate::children::part() {
                    crate::create_until_killed(&part).await;
                } else if let Some(place) = crate::places::$factory().await {
                    crate::a_killed_creator_loses_nothing(place, name).await;
                }
            }
        }
    };
}

// One line an engine, by the name of its factory in `support/store_places.rs`.
store!(memory);
durable_store!(sqlite);
durable_store!(postgres);
durable_store!(mysql);
durable_store!(mongodb);
durable_store!(dynamodb);

#[tokio::test]
async fn an_unknown_address_names_what_is_accepted() {
    for address in ["", "memory", "sqlite", "sqlite:", "mysql:x", "mysql://h/", "postgres://h:port/d", "oracle:x"] {
        let refused = store::open(address, Settings::default()).await.err().unwrap();
        assert!(refused.to_string().contains("sqlite:PATH"), "{refused}");
    }
}
