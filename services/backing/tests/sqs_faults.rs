//! What an SQS that is away, frozen, killed and restarted does to its queue, what becomes of what a killed consumer held, and how calls
//! share requests. The service itself is not here: what only it does (losing a server, refusing a part of a batch, taking an old receipt
//! for good) cannot be shown.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::queue::{self, Depth, Envelope, Settings};
use backing::{Error, MessageId, Queue};
use engine::Engine;
use faults::{GRACE, alone, blocking, envelopes, until_it_answers};
use futures_util::future::join_all;
use places::{LONG, fresh_prefix, opened_soon, patient, shared, sqs_at};

#[path = "support/children.rs"]
mod children;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/queue_faults.rs"]
mod faults;
#[path = "support/queue_places.rs"]
mod places;

fn ids(envelopes: &[Envelope]) -> Vec<MessageId> {
    envelopes.iter().map(|envelope| envelope.id).collect()
}

/// Receives and acknowledges until these messages came, each at least once.
async fn consume_all(queue: &Arc<dyn Queue>, mut wanted: HashSet<MessageId>) {
    let until = Instant::now() + LONG * 2;
    while !wanted.is_empty() {
        assert!(Instant::now() < until, "{} lost, {:?}", wanted.len(), queue.depth().await);
        let taken = queue.receive(100, Duration::from_secs(1)).await.unwrap();
        for delivery in &taken {
            wanted.remove(&delivery.id);
        }
        queue.ack(taken.into_iter().map(|delivery| delivery.receipt).collect()).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_named_with_its_remedy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Instant::now();
    let away = queue::open(&format!("sqs://{free}/lab"), "messages", Settings::default()).await.err().unwrap();
    assert!(began.elapsed() < Settings::default().deadline + GRACE, "{:?}", began.elapsed());
    assert!(matches!(away, Error::Unreachable { .. }), "{away:?}");
    assert!(away.to_string().contains(&format!("sqs://{free}/lab")) && away.to_string().contains("start"), "{away}");
    for address in ["sqs://key:secret@host:1/lab", "sqs://host:1", "sqs:aws:eu-west-1", "sqs:lab"] {
        let refused = queue::open(address, "messages", Settings::default()).await.err().unwrap();
        assert!(matches!(refused, Error::Address { .. }), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
    }
    let name = "a name that SQS does not take";
    let refused = queue::open(&format!("sqs://{free}/lab"), name, Settings::default()).await.err().unwrap();
    assert!(std::error::Error::source(&refused).unwrap().to_string().contains(name), "{refused:?}");
}

/// With the emulator's messages on disk, each written before it is answered, as the service itself promises it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_survives_kills_of_a_service_that_keeps_it() {
    let Some(mut server) = alone(&engine::SQS_ON_DISK).await else { return };
    let settings = Settings { visibility: Duration::from_secs(3), max_receives: 100, ..patient() };
    let queue = opened_soon(&sqs_at(&server), "messages", settings).await;
    let mut published = HashSet::new();
    let mut acknowledged = HashSet::new();
    for round in 1..=2 {
        let publishers = (0..4).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut published = Vec::new();
                loop {
                    let batch = envelopes(10);
                    let ids = ids(&batch);
                    match queue.publish(batch).await {
                        Ok(()) => published.extend(ids),
                        Err(error) => return (published, error),
                    }
                }
            })
        });
        let publishers: Vec<_> = publishers.collect();
        let until = Instant::now() + LONG * 2;
        while queue.depth().await.unwrap().visible < 200 * round {
            assert!(Instant::now() < until, "{:?}", queue.depth().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let done = queue.receive(20, LONG).await.unwrap();
        let done_ids: Vec<_> = done.iter().map(|delivery| delivery.id).collect();
        let all = done.len();
        assert_eq!(queue.ack(done.into_iter().map(|delivery| delivery.receipt).collect()).await.unwrap(), all);
        acknowledged.extend(done_ids);
        // In hands when the service dies: it must come again.
        assert!(!queue.receive(20, LONG).await.unwrap().is_empty());
        server = blocking(server, Engine::kill).await;
        for publisher in join_all(publishers).await {
            let (ids, error) = publisher.unwrap();
            assert!(error.is_transient(), "{error:?}");
            published.extend(ids);
        }
        let began = Instant::now();
        assert!(queue.receive(1, LONG).await.is_err());
        assert!(began.elapsed() < LONG / 2, "at once, not after the wait");
        server = blocking(server, Engine::restart).await;
        until_it_answers(&queue).await;
    }
    assert!(published.len() >= 300, "{}", published.len());
    let wanted = published.difference(&acknowledged).copied().collect();
    consume_all(&queue, wanted).await;
    assert_eq!(queue.depth().await.unwrap().dead, 0);
    queue.close().await.unwrap();
}

/// An emulator without a disk forgets its queues: calls say so until one opens them again, then the same handle works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_loss_of_everything_an_open_mends_all_handles() {
    let Some(server) = alone(&engine::SQS).await else { return };
    let address = sqs_at(&server);
    let queue = opened_soon(&address, "messages", patient()).await;
    queue.publish(envelopes(3)).await.unwrap();
    let server = blocking(server, Engine::kill).await;
    let away = queue.publish(envelopes(1)).await.err().unwrap();
    assert!(matches!(away, Error::Unreachable { .. }), "{away:?}");
    let _server = blocking(server, Engine::restart).await;
    assert!(matches!(queue.publish(envelopes(1)).await, Err(Error::Engine { .. })));
    drop(opened_soon(&address, "messages", patient()).await);
    let sent = envelopes(1);
    let wanted = ids(&sent).into_iter().collect();
    queue.publish(sent).await.unwrap();
    consume_all(&queue, wanted).await;
    assert_eq!(queue.depth().await.unwrap(), Depth::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_service_costs_one_deadline_and_too_many_callers_nothing() {
    let Some(server) = alone(&engine::SQS).await else { return };
    let address = sqs_at(&server);
    drop(opened_soon(&address, "messages", patient()).await);
    let limit = Duration::from_millis(700);
    let settings = Settings { deadline: limit, max_waiting: 3, ..Settings::default() };
    let queue = opened_soon(&address, "messages", settings.clone()).await;
    let server = blocking(server, Engine::pause).await;
    let began = Instant::now();
    let answers = join_all((0..10).map(|_| queue.publish(envelopes(1)))).await;
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
    let count = |wanted: fn(&Error) -> bool| answers.iter().filter(|answer| answer.as_ref().is_err_and(wanted)).count();
    assert_eq!(count(|error| matches!(error, Error::Overloaded { .. })), 7, "{answers:?}");
    // A call whose connection could not be made in time says that the service is away.
    let late = count(|error| matches!(error, Error::Timeout { .. } | Error::Unreachable { .. }));
    assert_eq!(late, 3, "{answers:?}");
    for call in [queue.receive(1, Duration::ZERO).await.err(), queue.depth().await.err()] {
        assert!(call.is_some_and(|error| error.is_transient()));
    }
    assert!(began.elapsed() < limit * 3 + GRACE, "{:?}", began.elapsed());
    let began = Instant::now();
    let another = queue::open(&address, "messages", settings).await.err().unwrap();
    assert!(matches!(another, Error::Unreachable { .. }), "{another:?}");
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
    let server = blocking(server, Engine::unpause).await;
    until_it_answers(&queue).await;
    let sent = envelopes(1);
    let wanted = ids(&sent).into_iter().collect();
    queue.publish(sent).await.unwrap();
    consume_all(&queue, wanted).await;
    // What is frozen again is closed all the same.
    let _server = blocking(server, Engine::pause).await;
    let late = tokio::spawn({
        let queue = queue.clone();
        async move { queue.publish(envelopes(1)).await }
    });
    while !late.is_finished() && queue.ping().await.is_ok() {}
    let began = Instant::now();
    // It may end as the last call does, in time or not.
    drop(queue.close().await);
    assert!(began.elapsed() < limit + GRACE, "{:?}", began.elapsed());
    assert!(late.await.unwrap().is_err());
    assert!(matches!(queue.ping().await, Err(Error::Closed { .. })));
}

const KILLED: &str = "what_a_killed_consumer_held_comes_back_and_is_dead_after_exactly_its_receives";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_consumer_held_comes_back_and_is_dead_after_exactly_its_receives() {
    const MESSAGES: usize = 25;
    let settings = Settings { visibility: Duration::from_secs(2), max_receives: 3, ..patient() };
    if let Some(part) = children::part() {
        let queue = queue::open(&part[0], &part[1], settings).await.unwrap();
        let mut held = 0;
        // No further: of a poll that waits when its process is killed the service does not know, and gives it what comes next.
        while held < MESSAGES {
            let taken = queue.receive(MESSAGES - held, LONG).await.unwrap();
            held += taken.len();
            for delivery in taken {
                children::report("held", format!("{} {}", delivery.id, delivery.receives));
            }
        }
        tokio::time::sleep(LONG).await;
        return;
    }
    let Some(server) = shared(&engine::SQS).await else { return };
    let (address, name) = (sqs_at(server), fresh_prefix());
    let queue = opened_soon(&address, &name, settings).await;
    queue.publish(envelopes(MESSAGES)).await.unwrap();
    for receives in 1..=3 {
        let mut victim = children::start(KILLED, &[&address, &name]);
        let mut held = HashSet::new();
        while held.len() < MESSAGES {
            let line = victim.next("held").expect("the copy lives");
            let (id, count) = line.split_once(' ').unwrap();
            // What it held may time out before all have come, on a busy machine: then it says so.
            assert_eq!(count, receives.to_string(), "{id}");
            assert!(held.insert(id.to_owned()), "{id} twice");
        }
        drop(victim.kill("held"));
    }
    let until = Instant::now() + LONG;
    while queue.depth().await.unwrap() != (Depth { visible: 0, in_flight: 0, dead: MESSAGES as u64 }) {
        assert!(Instant::now() < until, "{:?}", queue.depth().await);
        assert_eq!(queue.receive(MESSAGES, Duration::from_millis(100)).await.unwrap(), []);
    }
}

/// Counted in part by us: tried, then back untried, then tried to the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_back_untried_is_dead_after_exactly_its_tries() {
    let Some(server) = shared(&engine::SQS).await else { return };
    let queue = opened_soon(&sqs_at(server), &fresh_prefix(), Settings { max_receives: 3, ..patient() }).await;
    let sent = envelopes(1);
    queue.publish(sent.clone()).await.unwrap();
    for (receives, tried) in [(1, true), (2, true), (3, false), (3, false), (3, true)] {
        let delivery = queue.receive(1, LONG).await.unwrap().remove(0);
        assert_eq!((delivery.id, &delivery.body, delivery.receives), (sent[0].id, &sent[0].body, receives));
        match tried {
            true => assert!(queue.release(&delivery.receipt).await.unwrap()),
            false => assert!(queue.release_untried(&delivery.receipt).await.unwrap()),
        }
    }
    assert_eq!(queue.receive(1, Duration::from_millis(500)).await.unwrap(), []);
    let until = Instant::now() + LONG;
    while queue.depth().await.unwrap() != (Depth { visible: 0, in_flight: 0, dead: 1 }) {
        assert!(Instant::now() < until, "{:?}", queue.depth().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_share_the_queue_and_the_last_settings_hold() {
    let Some(server) = shared(&engine::SQS).await else { return };
    let (address, name) = (sqs_at(server), fresh_prefix());
    let queues = join_all((0..8).map(|_| queue::open(&address, &name, patient()))).await;
    let queues: Vec<Arc<dyn Queue>> = queues.into_iter().map(Result::unwrap).collect();
    let sent = join_all(queues.iter().map(async |queue| {
        let sent = envelopes(3);
        queue.publish(sent.clone()).await.unwrap();
        ids(&sent)
    }));
    let wanted = sent.await.into_iter().flatten().collect();
    consume_all(&queues[7], wanted).await;
    let strict = Settings { max_receives: 1, ..patient() };
    let strict = queue::open(&address, &name, strict).await.unwrap();
    strict.publish(envelopes(1)).await.unwrap();
    let only = strict.receive(1, LONG).await.unwrap().remove(0);
    assert!(strict.release(&only.receipt).await.unwrap());
    assert_eq!(strict.receive(1, Duration::from_millis(500)).await.unwrap(), []);
    assert_eq!(strict.depth().await.unwrap().dead, 1);
}

/// What is larger than a request may be goes in several, beside others'.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_and_many_callers_share_requests() {
    let Some(server) = shared(&engine::SQS).await else { return };
    let queue = opened_soon(&sqs_at(server), &fresh_prefix(), patient()).await;
    let large: Vec<_> = envelopes(5).into_iter().map(|e| Envelope { body: vec![b'x'; 120_000], ..e }).collect();
    let small: Vec<_> = (0..100).map(|_| envelopes(1)).collect();
    let mut wanted: HashSet<_> = ids(&large).into_iter().collect();
    wanted.extend(small.iter().flat_map(|batch| ids(batch)));
    let (large, small) = tokio::join!(queue.publish(large), join_all(small.into_iter().map(|one| queue.publish(one))));
    large.unwrap();
    small.into_iter().for_each(|published| published.unwrap());
    consume_all(&queue, wanted).await;
    // More than the emulator takes at all, and nobody else's fault.
    let huge = vec![Envelope { id: MessageId::fresh(), body: vec![b'x'; 2_000_000] }];
    let (huge, other) = tokio::join!(queue.publish(huge), queue.publish(envelopes(1)));
    assert!(matches!(huge, Err(Error::Engine { .. })), "{huge:?}");
    other.unwrap();
}
