//! What a Kafka that is away, frozen, killed and restarted does to its queue, and what consumers that come, go and die do to each other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use backing::queue::{self, Depth, Envelope, Settings};
use backing::{Error, MessageId, Queue};
use engine::{Engine, PASSWORD};
use faults::{GRACE, alone, blocking, consume_all, envelopes, until_it_answers};
use futures_util::future::join_all;
use places::{LONG, kafka_at, opened_soon, patient};

#[path = "support/engine.rs"]
mod engine;
#[path = "support/queue_faults.rs"]
mod faults;
#[path = "support/queue_places.rs"]
mod places;

fn ids(envelopes: &[Envelope]) -> HashSet<MessageId> {
    envelopes.iter().map(|envelope| envelope.id).collect()
}

/// Publishes until it is confirmed: on a busy machine with a short deadline, the first connection may take longer.
async fn publish_soon(queue: &Arc<dyn Queue>, batch: Vec<Envelope>) {
    let until = Instant::now() + LONG;
    while let Err(error) = queue.publish(batch.clone()).await {
        assert!(Instant::now() < until, "{error:?}");
    }
}

async fn counts(queue: &Arc<dyn Queue>, wanted: Depth) {
    let until = Instant::now() + LONG;
    loop {
        let depth = queue.depth().await.unwrap();
        if depth == wanted {
            return;
        }
        assert!(Instant::now() < until, "{depth:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_away_is_named_and_no_password_is_taken() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Instant::now();
    let error = queue::open(&format!("kafka://{free}"), "messages", Settings::default()).await.err().unwrap();
    assert!(began.elapsed() < Settings::default().deadline + GRACE, "{:?}", began.elapsed());
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("kafka://{free}")), "{error}");
    assert!(error.to_string().contains("start a Kafka there"), "{error}");
    let address = format!("kafka://lab:{PASSWORD}@{free}");
    let error = queue::open(&address, "messages", Settings::default()).await.err().unwrap();
    assert!(matches!(error, Error::Address { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error:?}");
}

/// Publishers and a consumer go on while the broker is killed and restarted, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kills_of_the_broker() {
    let Some(mut server) = alone(&engine::KAFKA).await else { return };
    drop(opened_soon(&kafka_at(&server), "messages", patient()).await);
    let settings = Settings { max_receives: 100, deadline: Duration::from_secs(5), ..Settings::default() };
    let queue = opened_soon(&kafka_at(&server), "messages", settings).await;
    let (stop, sent, done) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let publishers = (0..4).map(|_| {
        let (queue, stop, sent) = (queue.clone(), stop.clone(), sent.clone());
        tokio::spawn(async move {
            let mut confirmed = HashSet::new();
            while !stop.load(Ordering::Relaxed) {
                let batch = envelopes(10);
                match queue.publish(batch.clone()).await {
                    Ok(()) => {
                        confirmed.extend(ids(&batch));
                        sent.fetch_add(batch.len(), Ordering::Relaxed);
                    }
                    Err(error) => assert!(error.is_transient(), "{error:?}"),
                }
            }
            confirmed
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let consumer = tokio::spawn({
        let (queue, stop, done) = (queue.clone(), stop.clone(), done.clone());
        async move {
            let (mut acked, mut unsure) = (HashSet::new(), HashSet::new());
            while !stop.load(Ordering::Relaxed) {
                // Errors while the broker is away: it is asked again.
                let taken = queue.receive(20, Duration::from_millis(100)).await.unwrap_or_default();
                let acks = taken.into_iter().map(async |delivery| {
                    assert!(!acked.contains(&delivery.id), "an acknowledged message came again");
                    (delivery.id, queue.ack(vec![delivery.receipt]).await)
                });
                for (id, held) in join_all(acks).await {
                    match held {
                        Ok(1) => drop(acked.insert(id)),
                        // Given to another owner: it comes again.
                        Ok(_) => {}
                        Err(_) => drop(unsure.insert(id)),
                    }
                }
                done.store(acked.len(), Ordering::Relaxed);
            }
            (acked, unsure)
        }
    });
    for _ in 0..2 {
        let progress = || (sent.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
        let (before, until) = (progress(), Instant::now() + LONG * 2);
        while progress().0 < before.0 + 2000 || progress().1 < before.1 + 50 {
            assert!(Instant::now() < until, "{:?} after {before:?}, {:?}", progress(), queue.depth().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server = blocking(server, Engine::kill).await;
        assert!(queue.ping().await.is_err());
        server = blocking(server, Engine::restart).await;
        until_it_answers(&queue).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut confirmed = HashSet::new();
    for publisher in publishers {
        confirmed.extend(publisher.await.unwrap());
    }
    let (acked, unsure) = consumer.await.unwrap();
    let rest: HashSet<_> = confirmed.iter().filter(|id| !acked.contains(id) && !unsure.contains(id)).copied().collect();
    println!("{} published, {} acknowledged meanwhile, {} perhaps", confirmed.len(), acked.len(), unsure.len());
    assert!(confirmed.len() >= 4000 && acked.len() >= 100 && unsure.len() <= 100);
    consume_all(&queue, rest).await;
    assert_eq!(queue.depth().await.unwrap().dead, 0);
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_costs_one_deadline_and_too_many_callers_nothing() {
    let Some(server) = alone(&engine::KAFKA).await else { return };
    let address = kafka_at(&server);
    drop(opened_soon(&address, "messages", patient()).await);
    let limit = Duration::from_millis(500);
    let settings = Settings { deadline: limit, max_waiting: 3, ..Settings::default() };
    let queue = opened_soon(&address, "messages", settings).await;
    publish_soon(&queue, envelopes(1)).await;
    let held = queue.receive(1, LONG).await.unwrap().remove(0);
    let server = blocking(server, Engine::pause).await;
    let began = Instant::now();
    let answers = join_all((0..10).map(|_| queue.publish(envelopes(1)))).await;
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
    let count = |wanted: fn(&Error) -> bool| answers.iter().filter(|answer| answer.as_ref().is_err_and(wanted)).count();
    assert_eq!(count(|error| matches!(error, Error::Timeout { .. })), 3, "{answers:?}");
    assert_eq!(count(|error| matches!(error, Error::Overloaded { .. })), 7, "{answers:?}");
    for answer in [queue.ping().await, queue.depth().await.map(drop), queue.ack(vec![held.receipt]).await.map(drop)] {
        assert!(answer.as_ref().is_err_and(Error::is_transient), "{answer:?}");
    }
    assert!(began.elapsed() < limit * 4 + GRACE, "{:?}", began.elapsed());
    let server = blocking(server, Engine::unpause).await;
    until_it_answers(&queue).await;
    let sent = envelopes(1);
    publish_soon(&queue, sent.clone()).await;
    consume_all(&queue, ids(&sent)).await;
    publish_soon(&queue, envelopes(1)).await;
    let held = queue.receive(1, LONG).await.unwrap().remove(0);
    // What is frozen again cannot be told what is new.
    let _server = blocking(server, Engine::pause).await;
    assert!(queue.release_untried(&held.receipt).await.unwrap());
    let began = Instant::now();
    assert!(matches!(queue.close().await, Err(Error::Timeout { .. })));
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_come_and_go_share_the_work_and_repeat_nothing() {
    const MESSAGES: usize = 3000;
    let Some(server) = alone(&engine::KAFKA).await else { return };
    let address = kafka_at(&server);
    let producer = opened_soon(&address, "messages", patient()).await;
    let seen = Arc::new(std::sync::Mutex::new(HashSet::new()));
    let work = |queue: Arc<dyn Queue>, messages: usize| {
        let seen = seen.clone();
        tokio::spawn(async move {
            let (until, mut mine) = (Instant::now() + LONG * 2, 0);
            while mine < messages && seen.lock().unwrap().len() < MESSAGES {
                assert!(Instant::now() < until, "{mine} of {messages}, {} in all", seen.lock().unwrap().len());
                let taken = queue.receive(10, Duration::from_millis(50)).await.unwrap();
                mine += taken.len();
                for delivery in &taken {
                    assert_eq!(delivery.receives, 1);
                    assert!(seen.lock().unwrap().insert(delivery.id), "it came twice");
                }
                let count = taken.len();
                let receipts = taken.into_iter().map(|delivery| delivery.receipt).collect();
                assert_eq!(queue.ack(receipts).await.unwrap(), count);
            }
            queue.close().await.unwrap();
            mine
        })
    };
    let first = work(opened_soon(&address, "messages", patient()).await, 500);
    let second = work(opened_soon(&address, "messages", patient()).await, MESSAGES);
    let third = work(opened_soon(&address, "messages", patient()).await, 500);
    for _ in 0..MESSAGES / 20 {
        producer.publish(envelopes(20)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let shares = [first.await.unwrap(), second.await.unwrap(), third.await.unwrap()];
    assert_eq!(shares.iter().sum::<usize>(), MESSAGES);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    assert_eq!(producer.depth().await.unwrap(), Depth::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_consumer_left_or_does_not_ask_for_goes_to_others() {
    let Some(server) = alone(&engine::KAFKA).await else { return };
    let address = kafka_at(&server);
    let idle = opened_soon(&address, "messages", patient()).await;
    let sent = envelopes(40);
    idle.publish(sent.clone()).await.unwrap();
    let taken = idle.receive(1, LONG).await.unwrap();
    assert_eq!(idle.ack(vec![taken[0].receipt.clone()]).await.unwrap(), 1);
    // It asks no more, and holds nothing: all of it goes to who asks.
    let asks = opened_soon(&address, "messages", patient()).await;
    let (until, mut seen) = (Instant::now() + LONG, HashSet::new());
    while seen.len() < 39 {
        assert!(Instant::now() < until, "{}", seen.len());
        for delivery in asks.receive(50, Duration::from_millis(100)).await.unwrap() {
            assert_eq!(delivery.receives, 1);
            assert!(seen.insert(delivery.id) && delivery.id != taken[0].id);
        }
    }
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
    counts(&idle, Depth { visible: 0, in_flight: 39, dead: 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_ends_its_consumers_is_dead_after_exactly_its_receives() {
    let Some(server) = alone(&engine::KAFKA).await else { return };
    let address = kafka_at(&server);
    let settings = Settings { max_receives: 3, ..patient() };
    let queue = opened_soon(&address, "messages", settings.clone()).await;
    queue.publish(envelopes(1)).await.unwrap();
    for receives in 1..=3 {
        let victim = queue::open(&address, "messages", settings.clone()).await.unwrap();
        assert_eq!(victim.receive(1, LONG).await.unwrap()[0].receives, receives);
        // No close: it ends with the delivery in hands.
        drop(victim);
    }
    let until = Instant::now() + LONG;
    while queue.depth().await.unwrap() != (Depth { visible: 0, in_flight: 0, dead: 1 }) {
        assert!(Instant::now() < until, "{:?}", queue.depth().await);
        assert_eq!(queue.receive(1, Duration::from_millis(20)).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_that_open_at_once_make_one_queue() {
    let Some(server) = alone(&engine::KAFKA).await else { return };
    let address = format!("{}/?partitions=3", kafka_at(&server));
    drop(opened_soon(&kafka_at(&server), "warm-up", patient()).await);
    let queues = join_all((0..6).map(|_| queue::open(&address, "messages", patient()))).await;
    let queues: Vec<_> = queues.into_iter().map(Result::unwrap).collect();
    let sent = envelopes(60);
    for (queue, batch) in queues.iter().zip(sent.chunks(10)) {
        queue.publish(batch.to_vec()).await.unwrap();
    }
    counts(&queues[5], Depth { visible: 60, in_flight: 0, dead: 0 }).await;
    assert_eq!(consume_all(&queues[0], ids(&sent)).await, 60);
    counts(&queues[5], Depth::default()).await;
}
