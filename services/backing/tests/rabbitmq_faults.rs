//! What a RabbitMQ that is away, frozen, killed and restarted does to its queue, and what a broker's own limits do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use backing::Error;
use backing::queue::{self, Depth, Settings};
use engine::{Engine, PASSWORD};
use faults::{GRACE, alone, blocking, consume_all, envelopes, until_it_answers};
use futures_util::future::join_all;
use places::{LONG, opened_soon, patient, rabbitmq_at};

#[path = "support/engine.rs"]
mod engine;
#[path = "support/queue_faults.rs"]
mod faults;
#[path = "support/queue_places.rs"]
mod places;

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

#[tokio::test]
async fn a_broker_that_is_away_or_refuses_is_named_without_its_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut addresses = vec![format!("amqp://lab:{PASSWORD}@{free}/%2f")];
    let server = alone(&engine::RABBITMQ).await;
    if let Some(server) = &server {
        drop(opened_soon(&rabbitmq_at(server), "warm-up", patient()).await);
        addresses.push(format!("amqp://lab:{PASSWORD}-wrong@{}/%2f", server.address()));
        addresses.push(format!("amqp://lab:{PASSWORD}@{}/nowhere", server.address()));
    }
    for address in addresses {
        let began = Instant::now();
        let error = queue::open(&address, "messages", Settings::default()).await.err().unwrap();
        assert!(began.elapsed() < Settings::default().deadline + GRACE, "{:?}", began.elapsed());
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(address.rsplit('@').next().unwrap()), "{error}");
        assert!(!printed(&error).contains(PASSWORD), "{}", printed(&error));
    }
    let unreadable = queue::open(&format!("amqp://lab:{PASSWORD}@host:port/x"), "messages", Settings::default()).await;
    let unreadable = unreadable.err().unwrap();
    assert!(matches!(unreadable, Error::Address { .. }), "{unreadable:?}");
    assert!(!printed(&unreadable).contains(PASSWORD), "{}", printed(&unreadable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_kills_of_the_broker() {
    let Some(mut server) = alone(&engine::RABBITMQ).await else { return };
    let settings = Settings { max_receives: 100, ..patient() };
    let queue = opened_soon(&rabbitmq_at(&server), "messages", settings).await;
    // RabbitMQ 3.10 forgets a quorum queue when it is killed too soon after it said that it made it, and shows nowhere when that is over.
    // See the promises.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut confirmed = HashSet::new();
    for _ in 0..2 {
        let publishers = (0..4).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut confirmed = Vec::new();
                loop {
                    let batch = envelopes(10);
                    let ids: Vec<_> = batch.iter().map(|envelope| envelope.id).collect();
                    match queue.publish(batch).await {
                        Ok(()) => confirmed.extend(ids),
                        Err(error) => return (confirmed, error),
                    }
                }
            })
        });
        let publishers: Vec<_> = publishers.collect();
        let until = Instant::now() + LONG;
        while queue.depth().await.unwrap().visible < 200 {
            assert!(Instant::now() < until, "{:?}, {} confirmed", queue.depth().await, confirmed.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // In hands when the broker dies: it must come again, and the receipt must fit nothing.
        let held = queue.receive(20, LONG).await.unwrap();
        server = blocking(server, Engine::kill).await;
        for publisher in join_all(publishers).await {
            let (ids, error) = publisher.unwrap();
            assert!(error.is_transient(), "{error:?}");
            confirmed.extend(ids);
        }
        let began = Instant::now();
        assert!(queue.receive(1, LONG).await.is_err());
        assert!(began.elapsed() < LONG / 2, "at once, not after the wait");
        server = blocking(server, Engine::restart).await;
        until_it_answers(&queue).await;
        let stale = held.into_iter().map(|delivery| delivery.receipt).collect();
        assert_eq!(queue.ack(stale).await.unwrap(), 0);
    }
    let count = confirmed.len();
    assert!(count >= 200, "{count}");
    consume_all(&queue, confirmed).await;
    assert_eq!(queue.depth().await.unwrap().dead, 0);
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_costs_one_deadline_and_too_many_callers_nothing() {
    let Some(server) = alone(&engine::RABBITMQ).await else { return };
    let address = rabbitmq_at(&server);
    drop(opened_soon(&address, "messages", patient()).await);
    let limit = Duration::from_millis(500);
    let settings = Settings { deadline: limit, max_waiting: 3, ..Settings::default() };
    let queue = opened_soon(&address, "messages", settings).await;
    let server = blocking(server, Engine::pause).await;
    let began = Instant::now();
    let answers = join_all((0..10).map(|_| queue.publish(envelopes(1)))).await;
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
    let count = |wanted: fn(&Error) -> bool| answers.iter().filter(|answer| answer.as_ref().is_err_and(wanted)).count();
    assert_eq!(count(|error| matches!(error, Error::Timeout { .. })), 3, "{answers:?}");
    assert_eq!(count(|error| matches!(error, Error::Overloaded { .. })), 7, "{answers:?}");
    let began = Instant::now();
    assert!(queue.receive(1, Duration::ZERO).await.is_err());
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
    let server = blocking(server, Engine::unpause).await;
    until_it_answers(&queue).await;
    let sent = envelopes(1);
    let wanted = sent.iter().map(|envelope| envelope.id).collect();
    queue.publish(sent).await.unwrap();
    consume_all(&queue, wanted).await;
    // What is frozen again cannot be closed politely.
    let _server = blocking(server, Engine::pause).await;
    let began = Instant::now();
    assert!(matches!(queue.close().await, Err(Error::Timeout { .. })));
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_idle_process_was_pushed_goes_to_one_that_asks_and_is_not_counted() {
    let Some(server) = alone(&engine::RABBITMQ).await else { return };
    let address = rabbitmq_at(&server);
    let idle = opened_soon(&address, "messages", patient()).await;
    let asks = opened_soon(&address, "messages", patient()).await;
    idle.publish(envelopes(40)).await.unwrap();
    let held = idle.receive(1, LONG).await.unwrap().remove(0);
    let mut seen = HashSet::new();
    let until = Instant::now() + LONG;
    while seen.len() < 39 {
        assert!(Instant::now() < until, "{}", seen.len());
        for delivery in asks.receive(50, Duration::from_millis(100)).await.unwrap() {
            assert_eq!(delivery.receives, 1);
            assert!(seen.insert(delivery.id) && delivery.id != held.id);
        }
    }
    assert_eq!(idle.ack(vec![held.receipt]).await.unwrap(), 1);
    // A process that ends without a word: all that it held comes back, counted.
    drop(asks);
    let mut again = HashSet::new();
    while again.len() < 39 {
        assert!(Instant::now() < until, "{}", again.len());
        for delivery in idle.receive(50, Duration::from_millis(100)).await.unwrap() {
            assert_eq!(delivery.receives, 2);
            assert!(seen.contains(&delivery.id) && again.insert(delivery.id));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_ends_its_consumers_is_dead_after_exactly_its_receives() {
    let Some(server) = alone(&engine::RABBITMQ).await else { return };
    let address = rabbitmq_at(&server);
    let settings = Settings { max_receives: 3, ..patient() };
    let queue = opened_soon(&address, "messages", settings.clone()).await;
    queue.publish(envelopes(1)).await.unwrap();
    for receives in 1..=3 {
        let victim = queue::open(&address, "messages", settings.clone()).await.unwrap();
        assert_eq!(victim.receive(1, LONG).await.unwrap()[0].receives, receives);
        // No close: as a crash, the connection ends with the delivery in hands.
        drop(victim);
    }
    let until = Instant::now() + LONG;
    while queue.depth().await.unwrap() != (Depth { visible: 0, in_flight: 0, dead: 1 }) {
        assert!(Instant::now() < until, "{:?}", queue.depth().await);
        assert_eq!(queue.receive(1, Duration::from_millis(20)).await.unwrap(), []);
    }
    // Other settings for the same queue: said, not refused.
    let other = queue::open(&address, "messages", patient()).await.unwrap();
    other.publish(envelopes(1)).await.unwrap();
    assert_eq!(other.receive(1, LONG).await.unwrap().len(), 1);
    other.close().await.unwrap();
}
