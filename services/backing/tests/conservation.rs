//! Conservation: every message that was acknowledged comes out, none comes out that was never put in, while the broker is killed with
//! SIGKILL whenever it has answered for ten seconds; and in a quiet run each comes out exactly once. `LAB_CONSERVE=1000000` asks for more messages than CI does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use backing::queue::{Envelope, Settings};
use backing::{MessageId, Queue};
use engine::{Engine, Kind};
use faults::alone;
use places::{kafka_at, opened_soon, rabbitmq_at, sqs_at};
use tokio::task::JoinSet;

#[path = "support/engine.rs"]
mod engine;
#[path = "support/queue_faults.rs"]
mod faults;
#[path = "support/queue_places.rs"]
mod places;

/// Acknowledged messages of a run with kills.
const MESSAGES: usize = 200_000;
/// The stand-in for SQS keeps little more than a thousand a second when it writes each before it answers, and is long in coming back.
const SQS_MESSAGES: usize = 20_000;
/// Of a quiet run.
const QUIET: usize = 20_000;
/// How long the broker answers before it is killed again.
const KILL_EVERY: Duration = Duration::from_secs(10);
/// Messages of one publish and of one receive.
const BATCH: usize = 100;
const PUBLISHERS: usize = 8;
const CONSUMERS: usize = 4;
/// What is published takes at least so long, so that every broker is killed several times.
const LASTS: Duration = Duration::from_secs(45);
/// One broker at a time: they would only slow each other down.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Longest time in which nothing new is acknowledged or comes out.
const STALL: Duration = Duration::from_secs(90);

/// What became of each message, by its number.
struct Book {
    acknowledged: Vec<AtomicBool>,
    received: Vec<AtomicU8>,
    next: AtomicU32,
    published: AtomicUsize,
    found: AtomicUsize,
    unexpected: AtomicUsize,
    /// Publishers have finished.
    sent: AtomicBool,
    over: AtomicBool,
}

/// How it came out.
#[derive(Debug)]
struct Balance {
    attempted: usize,
    acknowledged: usize,
    lost: usize,
    unexpected: usize,
    /// Deliveries beyond the first of a message.
    duplicated: usize,
    /// Not acknowledged, and there all the same.
    recovered: usize,
}

impl Book {
    /// Room for more than is wanted: a publish that fails uses numbers up.
    fn of(wanted: usize) -> Arc<Self> {
        let room = wanted * 3 + 100_000;
        Arc::new(Self {
            acknowledged: (0..room).map(|_| AtomicBool::new(false)).collect(),
            received: (0..room).map(|_| AtomicU8::new(0)).collect(),
            next: AtomicU32::new(0),
            published: AtomicUsize::new(0),
            found: AtomicUsize::new(0),
            unexpected: AtomicUsize::new(0),
            sent: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    async fn publish(self: Arc<Self>, queue: Arc<dyn Queue>, wanted: usize, lasts: Duration) {
        let mut pace =
            tokio::time::interval(lasts.div_f64((wanted / BATCH / PUBLISHERS) as f64).max(Duration::from_micros(1)));
        while self.published.load(Ordering::Relaxed) < wanted {
            pace.tick().await;
            let first = self.next.fetch_add(BATCH as u32, Ordering::Relaxed);
            let numbers = first..first + BATCH as u32;
            assert!((numbers.end as usize) < self.received.len(), "too many publishes failed");
            let envelope = |number: u32| Envelope { id: MessageId::fresh(), body: number.to_string().into_bytes() };
            match queue.publish(numbers.clone().map(envelope).collect()).await {
                Ok(()) => {
                    numbers.for_each(|number| self.acknowledged[number as usize].store(true, Ordering::Relaxed));
                    self.published.fetch_add(BATCH, Ordering::Relaxed);
                }
                // Of unknown fate: these numbers are used up. A broker that is away refuses at once.
                Err(_) => answers(&queue).await,
            }
        }
    }

    async fn consume(self: Arc<Self>, queue: Arc<dyn Queue>) {
        while !self.over.load(Ordering::Relaxed) {
            let Ok(taken) = queue.receive(BATCH, Duration::from_millis(500)).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            for delivery in &taken {
                let number = std::str::from_utf8(&delivery.body).ok().and_then(|text| text.parse::<usize>().ok());
                match number.and_then(|number| self.received.get(number)) {
                    Some(count) if count.fetch_add(1, Ordering::Relaxed) == 0 => {
                        self.found.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(_) => {}
                    None => drop(self.unexpected.fetch_add(1, Ordering::Relaxed)),
                }
            }
            // An ack that fails is a delivery that comes again.
            queue.ack(taken.into_iter().map(|delivery| delivery.receipt).collect()).await.ok();
        }
    }

    /// Whether all that was acknowledged came out.
    fn is_settled(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
            && self.found.load(Ordering::Relaxed) >= self.published.load(Ordering::Relaxed)
            && self.balance().lost == 0
    }

    fn balance(&self) -> Balance {
        let attempted = self.next.load(Ordering::Relaxed) as usize;
        let mut balance = Balance {
            attempted,
            acknowledged: 0,
            lost: 0,
            unexpected: self.unexpected.load(Ordering::Relaxed),
            duplicated: 0,
            recovered: 0,
        };
        for (number, (acknowledged, received)) in self.acknowledged.iter().zip(&self.received).enumerate() {
            let (acknowledged, received) = (acknowledged.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
            balance.acknowledged += usize::from(acknowledged);
            balance.lost += usize::from(acknowledged && received == 0);
            balance.unexpected += usize::from(received > 0 && number >= attempted);
            balance.duplicated += usize::from(received.saturating_sub(1));
            balance.recovered += usize::from(!acknowledged && received > 0);
        }
        balance
    }
}

/// Waits until the broker is there again.
async fn answers(queue: &Arc<dyn Queue>) {
    let until = Instant::now() + STALL;
    while queue.ping().await.is_err() {
        assert!(Instant::now() < until, "the broker does not come back");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Waits until all has come out, for as long as something still comes.
async fn until_settled(book: &Book) {
    let (mut best, mut since) = (0, Instant::now());
    while !book.is_settled() {
        let now = book.found.load(Ordering::Relaxed) + book.published.load(Ordering::Relaxed);
        if now > best {
            (best, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < STALL, "nothing moves any more: {:?}", book.balance());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Kills the broker and starts it again until the publishers have finished. Says how often.
async fn kill_again_and_again(server: Engine, book: Arc<Book>) -> (Engine, u32) {
    let mut kills = 0;
    loop {
        tokio::time::sleep(KILL_EVERY).await;
        if book.sent.load(Ordering::Relaxed) {
            return (server, kills);
        }
        kills += 1;
        server.kill();
        server.restart();
    }
}

async fn run(queue: Arc<dyn Queue>, wanted: usize, lasts: Duration, server: Option<Engine>) -> (Balance, u32) {
    let book = Book::of(wanted);
    let mut publishers = JoinSet::new();
    let mut consumers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        publishers.spawn(Arc::clone(&book).publish(Arc::clone(&queue), wanted, lasts));
    }
    for _ in 0..CONSUMERS {
        consumers.spawn(Arc::clone(&book).consume(Arc::clone(&queue)));
    }
    let nemesis = server.map(|server| {
        let (book, runtime) = (Arc::clone(&book), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(kill_again_and_again(server, book)))
    });
    publishers.join_all().await;
    book.sent.store(true, Ordering::Relaxed);
    let kills = match nemesis {
        // The server stays until everything has come out.
        Some(nemesis) => Some(nemesis.await.unwrap()),
        None => None,
    };
    until_settled(&book).await;
    book.over.store(true, Ordering::Relaxed);
    consumers.join_all().await;
    (book.balance(), kills.map_or(0, |(_, kills)| kills))
}

fn wanted(default: usize) -> usize {
    std::env::var("LAB_CONSERVE").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn conserved(kind: &'static Kind, address: fn(&Engine) -> String, messages: usize) {
    let _turn = TURN.lock().await;
    let settings = |visibility, deadline| Settings {
        visibility: Duration::from_secs(visibility),
        deadline: Duration::from_secs(deadline),
        max_receives: 1_000,
        ..Settings::default()
    };
    let Some(server) = alone(kind).await else { return };
    let at = address(&server);

    let queue = opened_soon(&at, "quiet", settings(120, 30)).await;
    let (balance, _) = run(Arc::clone(&queue), QUIET, Duration::ZERO, None).await;
    println!("{}, quiet: {balance:?}", kind.name);
    assert_eq!((balance.lost, balance.unexpected, balance.duplicated), (0, 0, 0), "{balance:?}");
    queue.close().await.unwrap();

    let queue = opened_soon(&at, "killed", settings(10, 5)).await;
    // A quorum queue that is younger than a second may be forgotten by a broker that is killed: it is used before.
    until_used(&queue).await;
    let began = Instant::now();
    let (balance, kills) = run(Arc::clone(&queue), wanted(messages), LASTS, Some(server)).await;
    println!("{}, {kills} kills in {:.0?}: {balance:?}", kind.name, began.elapsed());
    assert!(kills > 0 && balance.acknowledged >= wanted(messages), "{kills} kills: {balance:?}");
    assert_eq!((balance.lost, balance.unexpected), (0, 0), "{balance:?}");
    assert!(balance.recovered <= balance.attempted - balance.acknowledged, "{balance:?}");
    queue.close().await.ok();
}

async fn until_used(queue: &Arc<dyn Queue>) {
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        queue.publish(vec![Envelope { id: MessageId::fresh(), body: b"0".to_vec() }]).await.unwrap();
        let taken = queue.receive(10, Duration::from_secs(1)).await.unwrap();
        queue.ack(taken.into_iter().map(|delivery| delivery.receipt).collect()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq() {
    conserved(&engine::RABBITMQ, rabbitmq_at, MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka() {
    conserved(&engine::KAFKA, kafka_at, MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqs() {
    conserved(&engine::SQS_ON_DISK, sqs_at, SQS_MESSAGES).await;
}
