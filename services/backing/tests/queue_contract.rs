//! What every queue must do. A new engine adds a factory to `support/queue_places.rs`, which also says what it cannot do, and one line
//! at the end; faults of an engine are tested in a file of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::queue::{self, Delivery, Depth, Envelope, Receipt, Settings};
use backing::store::{self, Message};
use backing::{Error, MessageId, Queue, UserId};
use futures_util::future::join_all;
use places::{LONG, Place, patient};

#[path = "support/children.rs"]
mod children;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/queue_places.rs"]
mod places;

const NO_WAIT: Duration = Duration::ZERO;

fn envelope(body: impl ToString) -> Envelope {
    Envelope { id: MessageId::fresh(), body: body.to_string().into_bytes() }
}

fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8(delivery.body.clone()).unwrap()).collect()
}

fn receipts(deliveries: &[Delivery]) -> Vec<Receipt> {
    deliveries.iter().map(|delivery| delivery.receipt.clone()).collect()
}

async fn one(queue: &Arc<dyn Queue>) -> Delivery {
    let mut taken = queue.receive(1, LONG).await.unwrap();
    assert_eq!(taken.len(), 1);
    taken.remove(0)
}

async fn what_is_published_arrives_in_order(place: Place) {
    let queue = place.open().await;
    let sent = [envelope("a"), envelope("Zoë 👩‍👩‍👧"), Envelope { id: MessageId::fresh(), body: vec![0, 255, 10] }];
    queue.publish(sent[..2].to_vec()).await.unwrap();
    queue.publish(sent[2..].to_vec()).await.unwrap();
    let taken = place.take(&queue, 10, 3).await;
    for (sent, taken) in sent.iter().zip(&taken) {
        assert_eq!((sent.id, &sent.body, 1), (taken.id, &taken.body, taken.receives));
    }
    assert_eq!(queue.ack(receipts(&taken)).await.unwrap(), 3);
    place.counts(&queue, Depth::default()).await;
}

async fn a_receive_takes_at_most_what_it_asked_for(place: Place) {
    let queue = place.open().await;
    queue.publish((0..10).map(envelope).collect()).await.unwrap();
    let first = place.take(&queue, 4, 4).await;
    assert!(!place.can.keep_order || bodies(&first) == ["0", "1", "2", "3"], "{:?}", bodies(&first));
    assert_eq!(queue.receive(0, NO_WAIT).await.unwrap(), []);
    let rest = place.take(&queue, 100, 6).await;
    let all: HashSet<_> = bodies(&first).into_iter().chain(bodies(&rest)).collect();
    assert_eq!(all.len(), 10);
    place.finds_nothing(&queue, "all are held").await;
}

async fn an_empty_receive_ends_after_its_wait(place: Place) {
    let queue = place.open().await;
    let began = Instant::now();
    assert_eq!(queue.receive(1, Duration::from_millis(60)).await.unwrap(), []);
    assert!(began.elapsed() >= Duration::from_millis(60), "{:?}", began.elapsed());
}

async fn a_waiting_receive_is_woken(place: Place) {
    let queue = place.open().await;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(1, LONG).await }
    });
    queue.publish(vec![envelope("late")]).await.unwrap();
    assert_eq!(bodies(&waiting.await.unwrap().unwrap()), ["late"]);
}

async fn an_unacknowledged_message_comes_back_when_its_time_is_over(place: Place) {
    let queue = place.open().await;
    queue.publish(vec![envelope("a")]).await.unwrap();
    let first = one(&queue).await;
    place.pass(place.visibility - place.grain()).await;
    place.finds_nothing(&queue, "early").await;
    place.pass(place.grain()).await;
    let second = one(&queue).await;
    assert_eq!((second.id, second.receives), (first.id, 2));
    assert_ne!(second.receipt, first.receipt);
}

async fn what_comes_back_goes_first(place: Place) {
    let queue = place.open().await;
    queue.publish((0..6).map(envelope).collect()).await.unwrap();
    place.take(&queue, 2, 2).await;
    place.time_out().await;
    match place.can.return_to_the_front {
        true => assert_eq!(bodies(&place.take(&queue, 4, 4).await), ["0", "1", "2", "3"]),
        false => assert_eq!(place.take(&queue, 6, 6).await.iter().filter(|back| back.receives == 2).count(), 2),
    }
}

async fn a_stale_receipt_does_nothing(place: Place) {
    let queue = place.open().await;
    queue.publish(vec![envelope("a")]).await.unwrap();
    let first = one(&queue).await;
    place.time_out().await;
    assert_eq!(queue.ack(vec![first.receipt.clone()]).await.unwrap(), 0, "timed out, nobody has it");
    let second = one(&queue).await;
    assert_eq!(queue.ack(vec![first.receipt.clone()]).await.unwrap(), 0, "another consumer has it");
    assert!(!queue.extend(&first.receipt, LONG).await.unwrap());
    assert!(!queue.release(&first.receipt).await.unwrap());
    place.counts(&queue, Depth { visible: 0, in_flight: 1, dead: 0 }).await;
    assert_eq!(queue.ack(vec![first.receipt, second.receipt.clone()]).await.unwrap(), 1);
    queue.publish(vec![envelope("b")]).await.unwrap();
    let other = one(&queue).await;
    assert_eq!(queue.ack(vec![second.receipt]).await.unwrap(), 0, "acknowledged before, fits no later message");
    assert_eq!(queue.ack(vec![other.receipt]).await.unwrap(), 1);
}

async fn an_extension_counts_from_now(place: Place) {
    let queue = place.open().await;
    queue.publish(vec![envelope("a")]).await.unwrap();
    let held = one(&queue).await;
    for _ in 0..5 {
        place.pass(place.visibility.mul_f64(0.6)).await;
        assert!(queue.extend(&held.receipt, place.visibility).await.unwrap());
        place.finds_nothing(&queue, "extended").await;
    }
    assert_eq!(queue.ack(vec![held.receipt]).await.unwrap(), 1);
}

async fn a_released_message_is_visible_at_once(place: Place) {
    let queue = place.open().await;
    queue.publish(vec![envelope("a")]).await.unwrap();
    let held = one(&queue).await;
    assert!(queue.release(&held.receipt).await.unwrap());
    place.counts(&queue, Depth { visible: 1, in_flight: 0, dead: 0 }).await;
    assert_eq!(one(&queue).await.receives, 2);
    assert!(!queue.release(&held.receipt).await.unwrap());
}

async fn what_came_back_untried_does_not_die_of_it(place: Place) {
    let queue = place.open().await;
    queue.publish(vec![envelope("a")]).await.unwrap();
    let mut seen = HashSet::new();
    if !place.can.uncount {
        let delivery = one(&queue).await;
        assert!(queue.release_untried(&delivery.receipt).await.unwrap());
        assert_eq!(one(&queue).await.receives, 2, "an engine that does not know better counts each");
        return;
    }
    for _ in 0..10 {
        let delivery = one(&queue).await;
        assert_eq!(delivery.receives, 1);
        assert!(queue.release_untried(&delivery.receipt).await.unwrap());
        assert!(!queue.release_untried(&delivery.receipt).await.unwrap());
        assert!(seen.insert(delivery.receipt), "each receipt fits one delivery");
    }
    place.counts(&queue, Depth { visible: 1, in_flight: 0, dead: 0 }).await;
    for receives in 1..=5 {
        let delivery = one(&queue).await;
        assert_eq!(delivery.receives, receives);
        assert!(queue.release(&delivery.receipt).await.unwrap());
    }
    if place.can.bury_unasked {
        place.counts(&queue, Depth { visible: 0, in_flight: 0, dead: 1 }).await;
    }
    place.finds_nothing(&queue, "dead").await;
    place.counts(&queue, Depth { visible: 0, in_flight: 0, dead: 1 }).await;
}

async fn a_poison_message_is_dead_after_exactly_five(place: Place) {
    let queue = place.open().await;
    queue.publish(vec![envelope("poison")]).await.unwrap();
    for receives in 1..=5 {
        let delivery = one(&queue).await;
        assert_eq!(delivery.receives, receives);
        match receives % 2 {
            0 => assert!(queue.release(&delivery.receipt).await.unwrap()),
            _ => place.time_out().await,
        }
    }
    let dead = Depth { visible: 0, in_flight: 0, dead: 1 };
    if place.can.bury_unasked {
        place.counts(&queue, dead).await;
    }
    queue.publish(vec![envelope("sound")]).await.unwrap();
    assert_eq!(bodies(&place.take(&queue, 10, 1).await), ["sound"]);
    place.finds_nothing(&queue, "dead").await;
    place.counts(&queue, Depth { in_flight: 1, ..dead }).await;
}

async fn many_dead_do_not_hide_the_living(place: Place) {
    let queue = place.open().await;
    queue.publish((0..700).map(envelope).collect()).await.unwrap();
    for _ in 0..5 {
        place.take(&queue, 700, 700).await;
        place.time_out().await;
    }
    queue.publish(vec![envelope("living")]).await.unwrap();
    assert_eq!(bodies(&place.take(&queue, 10, 1).await), ["living"]);
    place.counts(&queue, Depth { visible: 0, in_flight: 1, dead: 700 }).await;
}

async fn depth_tells_where_messages_are(place: Place) {
    let queue = place.open().await;
    place.counts(&queue, Depth::default()).await;
    queue.publish((0..7).map(envelope).collect()).await.unwrap();
    let taken = place.take(&queue, 3, 3).await;
    place.counts(&queue, Depth { visible: 4, in_flight: 3, dead: 0 }).await;
    queue.ack(receipts(&taken[..1])).await.unwrap();
    place.counts(&queue, Depth { visible: 4, in_flight: 2, dead: 0 }).await;
    place.time_out().await;
    place.counts(&queue, Depth { visible: 6, in_flight: 0, dead: 0 }).await;
}

async fn queues_of_other_names_do_not_meet(place: Place) {
    let (queue, other) = (place.open_named("one").await, place.open_named("two").await);
    queue.publish(vec![envelope("a")]).await.unwrap();
    place.finds_nothing(&other, "nothing was published there").await;
    place.counts(&other, Depth::default()).await;
    assert_eq!(one(&queue).await.body, b"a");
}

/// While the clock stands no visibility timeout ends, so a message that two consumers get was held by both.
async fn no_two_consumers_hold_one_message(place: Place) {
    const MESSAGES: usize = 400;
    let queues = join_all((0..3).map(|_| place.open())).await;
    let publishers = queues.iter().map(|queue| {
        let queue = queue.clone();
        tokio::spawn(async move {
            for number in 0..MESSAGES / 20 {
                queue.publish((0..10).map(|_| envelope(number)).collect()).await.unwrap();
            }
        })
    });
    let published = join_all(publishers.take(2));
    let consumers = queues.iter().cycle().take(6).map(|queue| {
        let queue = queue.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            while let taken = queue.receive(7, Duration::from_millis(300)).await.unwrap()
                && !taken.is_empty()
            {
                mine.extend(taken.iter().map(|delivery| (delivery.id, delivery.receives)));
                assert_eq!(queue.ack(receipts(&taken)).await.unwrap(), taken.len());
            }
            mine
        })
    });
    let (consumed, published) = tokio::join!(join_all(consumers), published);
    assert!(published.into_iter().all(|publisher| publisher.is_ok()));
    let mut consumed: Vec<_> = consumed.into_iter().flat_map(Result::unwrap).collect();
    // A consumer that gave up too early on a busy machine leaves something for now.
    let until = Instant::now() + LONG;
    while consumed.len() < MESSAGES && Instant::now() < until {
        let late = queues[0].receive(50, Duration::from_millis(50)).await.unwrap();
        consumed.extend(late.iter().map(|delivery| (delivery.id, delivery.receives)));
    }
    place.finds_nothing(&queues[0], "all were consumed").await;
    assert_eq!(consumed.len(), MESSAGES);
    assert!(consumed.iter().all(|(_, receives)| *receives == 1));
    assert_eq!(consumed.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), MESSAGES);
}

async fn a_dropped_receive_gives_back_what_it_took(place: Place) {
    let queue = place.open().await;
    for round in 0..20u64 {
        queue.publish(vec![envelope(round)]).await.unwrap();
        {
            let receive = queue.receive(1, LONG);
            tokio::pin!(receive);
            // Polled until it waits for something, then dropped: before, while or after the message is taken.
            for _ in 0..=round % 4 {
                if let std::task::Poll::Ready(taken) = futures_util::poll!(receive.as_mut()) {
                    queue.release(&taken.unwrap()[0].receipt).await.unwrap();
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let back = one(&queue).await;
        assert_eq!(back.body, round.to_string().into_bytes());
        assert_eq!(queue.ack(vec![back.receipt]).await.unwrap(), 1);
    }
}

async fn a_closed_queue_says_so(place: Place) {
    let queue = place.open().await;
    queue.ping().await.unwrap();
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(1, LONG).await }
    });
    queue.publish(Vec::new()).await.unwrap();
    queue.close().await.unwrap();
    queue.close().await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed { .. })));
    assert!(matches!(queue.publish(vec![envelope("late")]).await, Err(Error::Closed { .. })));
    assert!(matches!(queue.ping().await, Err(Error::Closed { .. })));
}

async fn reopening_keeps_everything(place: Place) {
    let queue = place.open().await;
    queue.publish((0..3).map(envelope).collect()).await.unwrap();
    let held = one(&queue).await;
    queue.close().await.unwrap();
    let queue = place.open().await;
    if place.can.hold_beyond_close {
        place.counts(&queue, Depth { visible: 2, in_flight: 1, dead: 0 }).await;
        assert_eq!(queue.ack(vec![held.receipt]).await.unwrap(), 1, "a receipt outlives the process");
        let rest = place.take(&queue, 5, 2).await;
        assert!(rest.iter().all(|other| other.id != held.id));
    } else {
        place.counts(&queue, Depth { visible: 3, in_flight: 0, dead: 0 }).await;
        assert_eq!(queue.ack(vec![held.receipt]).await.unwrap(), 0, "its delivery ended with the close");
        let all = place.take(&queue, 5, 3).await;
        for delivery in &all {
            assert_eq!(delivery.receives, if delivery.id == held.id { 2 } else { 1 });
        }
        assert_eq!(all.iter().map(|delivery| delivery.id).collect::<HashSet<_>>().len(), 3);
    }
}

async fn another_opener_sees_a_publish_soon(place: Place) {
    let (producer, consumer) = (place.open().await, place.open().await);
    let mut delays = Vec::new();
    for number in 0..15 {
        let waiting = tokio::spawn({
            let consumer = consumer.clone();
            async move { (consumer.receive(1, LONG).await, Instant::now()) }
        });
        // Long enough for the wait to have become as slow as it gets; what is measured is the time after the publish.
        tokio::time::sleep(Duration::from_millis(40)).await;
        producer.publish(vec![envelope(number)]).await.unwrap();
        let published = Instant::now();
        let (taken, at) = waiting.await.unwrap();
        consumer.ack(receipts(&taken.unwrap())).await.unwrap();
        delays.push(at.saturating_duration_since(published));
    }
    delays.sort();
    assert!(delays[delays.len() / 2] < place.can.wake_others_within, "{delays:?}");
}

/// A producer is killed while it publishes, consumers while they work; then the rest is consumed here.
/// Everything acknowledged to the producer has its effect, and has it once.
async fn kills_lose_nothing_and_repeat_nothing(place: Place, test: &str) {
    let database = format!("sqlite:{}/effects.db", place.dir.path().display());
    let name = place.name("messages");
    let mut producer = children::start(test, &["produce", &place.address, &database, &name]);
    let mut published: Vec<String> = (0..200).map(|_| producer.next("acked").expect("the copy lives")).collect();
    let mut acked = Vec::new();
    for _ in 0..3 {
        let mut consumer = children::start(test, &["consume", &place.address, &database, &name]);
        acked.extend((0..20).map(|_| consumer.next("acked").expect("the copy lives")));
        acked.extend(consumer.kill("acked"));
    }
    published.extend(producer.kill("acked"));

    let effects = store::open(&database, store::Settings { deadline: LONG, ..Default::default() }).await.unwrap();
    let queue = queue::open(&place.address, &name, impatient()).await.unwrap();
    let until = Instant::now() + LONG;
    // Also what the depth does not show: what was held by the killed and is on its way back.
    while !lost(&published, &effects).await.is_empty() || queue.depth().await.unwrap() != Depth::default() {
        let lost = lost(&published, &effects).await.len();
        assert!(Instant::now() < until, "{lost} of {} lost, {:?}", published.len(), queue.depth().await);
        for (id, _) in consume(&queue, &effects).await {
            assert!(!acked.contains(&id.to_string()), "an acknowledged message came again");
        }
    }
    let applied = effects.messages_for(UserId(1), usize::MAX).await.unwrap();
    let mut times: HashMap<MessageId, usize> = HashMap::new();
    applied.iter().for_each(|message| *times.entry(message.id).or_default() += 1);
    assert!(times.values().all(|times| *times == 1));
}

/// What was published and had no effect yet.
async fn lost<'a>(published: &'a [String], effects: &Arc<dyn backing::Store>) -> Vec<&'a String> {
    let applied = effects.messages_for(UserId(1), usize::MAX).await.unwrap();
    let applied: HashSet<String> = applied.iter().map(|message| message.id.to_string()).collect();
    published.iter().filter(|id| !applied.contains(*id)).collect()
}

/// Short visibility, so that what a killed consumer held comes back soon; no limit to how often.
fn impatient() -> Settings {
    Settings { visibility: Duration::from_millis(700), max_receives: 1000, ..patient() }
}

/// One round of a careful consumer: the effect first, then the ack. Says of each message whether the ack counted.
async fn consume(queue: &Arc<dyn Queue>, effects: &Arc<dyn backing::Store>) -> Vec<(MessageId, bool)> {
    let taken = queue.receive(5, Duration::from_millis(50)).await.unwrap();
    let mut done = Vec::new();
    for Delivery { id, receipt, .. } in taken {
        let message = Message { id, from: UserId(2), to: UserId(1), text: String::new(), sent_at: 0 };
        effects.put_message(message).await.unwrap();
        done.push((id, queue.ack(vec![receipt]).await.unwrap() == 1));
    }
    done
}

async fn work_until_killed(part: &[String]) {
    let queue = queue::open(&part[1], &part[3], impatient()).await.unwrap();
    let effects = store::open(&part[2], store::Settings { deadline: LONG, ..Default::default() }).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        if part[0] == "consume" {
            for (id, acked) in consume(&queue, &effects).await {
                if acked {
                    children::report("acked", id);
                }
            }
        } else {
            let batch: Vec<_> = (0..5).map(envelope).collect();
            let ids: Vec<_> = batch.iter().map(|envelope| envelope.id).collect();
            queue.publish(batch).await.unwrap();
            ids.iter().for_each(|id| children::report("acked", id));
            // Slower than the consumers, or the backlog would make the end of the test long.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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

macro_rules! every_queue {
    ($factory:ident) => {
        mod $factory {
            cases! { $factory;
                what_is_published_arrives_in_order a_receive_takes_at_most_what_it_asked_for
                an_empty_receive_ends_after_its_wait a_waiting_receive_is_woken
                an_unacknowledged_message_comes_back_when_its_time_is_over what_comes_back_goes_first
                a_stale_receipt_does_nothing an_extension_counts_from_now a_released_message_is_visible_at_once
                what_came_back_untried_does_not_die_of_it
                a_poison_message_is_dead_after_exactly_five many_dead_do_not_hide_the_living
                depth_tells_where_messages_are queues_of_other_names_do_not_meet no_two_consumers_hold_one_message
                a_dropped_receive_gives_back_what_it_took a_closed_queue_says_so
                reopening_keeps_everything another_opener_sees_a_publish_soon
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn kills_lose_nothing_and_repeat_nothing() {
                let name = concat!(stringify!($factory), "::kills_lose_nothing_and_repeat_nothing");
                if let Some(part) = crate::children::part() {
                    crate::work_until_killed(&part).await;
                } else if let Some(place) = crate::places::$factory().await {
                    crate::kills_lose_nothing_and_repeat_nothing(place, name).await;
                }
            }
        }
    };
}

// One line an engine, by its factory in `support/queue_places.rs`.
every_queue!(sqlite);
every_queue!(rabbitmq);
every_queue!(kafka);
every_queue!(sqs);

#[tokio::test]
async fn an_unknown_address_names_what_is_accepted() {
    for address in ["", "memory:", "sqlite", "sqlite:", "nats:x", "amqp://h:port/v"] {
        let refused = queue::open(address, "messages", Settings::default()).await.err().unwrap();
        assert!(refused.to_string().contains("sqlite:PATH"), "{refused}");
    }
}
