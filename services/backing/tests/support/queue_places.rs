//! Where queue engines keep their messages in tests: one factory an engine, with what the engine cannot do. A new engine adds a function
//! here, which gives each call a place that no other test sees, and None (after saying so) when its server cannot be had:
//! see [`super::engine`]. What an engine cannot do is in its `Promises` too.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use backing::clock::{Clock, HeldClock, SystemClock};
use backing::queue::{self, Delivery, Depth, Settings};
use backing::{Error, Queue};
use tempfile::TempDir;

use crate::engine::{self, Engine, PASSWORD};

pub const LONG: Duration = Duration::from_secs(20);

/// Where engines differ. The suite demands of each what it says it can, and of those that cannot the next best thing.
#[derive(Debug, Clone, Copy)]
pub struct Can {
    /// Visibility is measured by the clock in the settings. Otherwise it is short and passes by itself.
    pub hold_the_clock: bool,
    /// One receive returns all that is visible, up to its max. Otherwise several do.
    pub fill_a_receive: bool,
    /// Depth is true at once. Otherwise it becomes true.
    pub count_at_once: bool,
    /// One consumer gets messages in the order of their publishing.
    pub keep_order: bool,
    /// What comes back is delivered before what was never delivered.
    pub return_to_the_front: bool,
    /// What is held when its queue is closed stays held, and its receipt is good for the next opener.
    pub hold_beyond_close: bool,
    /// A release untried does not count as a delivery.
    pub uncount: bool,
    /// Whatever is dead is counted as dead before another receive comes across it.
    pub bury_unasked: bool,
    /// Half of the publishes reach a waiting receive of another opener within this.
    pub wake_others_within: Duration,
}

/// All of it.
pub const EVERYTHING: Can = Can {
    hold_the_clock: true,
    fill_a_receive: true,
    count_at_once: true,
    keep_order: true,
    return_to_the_front: true,
    hold_beyond_close: true,
    uncount: true,
    bury_unasked: true,
    wake_others_within: Duration::from_millis(50),
};

/// Somewhere an engine keeps its messages.
pub struct Place {
    /// For `queue::open`.
    pub address: String,
    /// Sets this place's queues apart from those of other tests on the same server.
    pub prefix: String,
    pub can: Can,
    pub visibility: Duration,
    pub clock: HeldClock,
    /// For what a test keeps beside the queue.
    pub dir: TempDir,
}

impl Place {
    fn new(address: impl FnOnce(&str) -> String, prefix: String, can: Can) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = address(dir.path().to_str().unwrap());
        let visibility = if can.hold_the_clock { Duration::from_secs(30) } else { Duration::from_secs(2) };
        Self { address, prefix, can, visibility, clock: HeldClock::at(1_800_000_000_000_000), dir }
    }

    /// The queue's name as `queue::open` gets it.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub async fn open(&self) -> Arc<dyn Queue> {
        self.open_named("messages").await
    }

    pub async fn open_named(&self, name: &str) -> Arc<dyn Queue> {
        let clock: Arc<dyn Clock> =
            if self.can.hold_the_clock { Arc::new(self.clock.clone()) } else { Arc::new(SystemClock) };
        let settings = Settings { clock, visibility: self.visibility, ..patient() };
        queue::open(&self.address, &self.name(name), settings).await.unwrap()
    }

    /// Lets time pass on the queue's clock.
    pub async fn pass(&self, by: Duration) {
        if self.can.hold_the_clock {
            self.clock.advance(by);
        } else {
            // The engine's own time is the point, and it offers nothing to wait on. A little more: its clock is not ours.
            tokio::time::sleep(by + Duration::from_millis(100)).await;
        }
    }

    /// Ends the visibility timeout of everything that is held.
    pub async fn time_out(&self) {
        self.pass(self.visibility).await;
    }

    /// How near to a moment it can be told whether it has come.
    pub fn grain(&self) -> Duration {
        if self.can.hold_the_clock { Duration::from_micros(1) } else { self.visibility / 2 }
    }

    /// How long a receive waits to be sure that nothing is there.
    pub fn look(&self) -> Duration {
        if self.can.count_at_once { Duration::ZERO } else { Duration::from_millis(200) }
    }

    /// Asserts that a receive finds nothing.
    pub async fn finds_nothing(&self, queue: &Arc<dyn Queue>, why: &str) {
        assert_eq!(queue.receive(10, self.look()).await.unwrap(), [], "{why}");
    }

    /// Receives with this max until there are so many; in one receive when the engine can, in the order of publishing when it cannot.
    pub async fn take(&self, queue: &Arc<dyn Queue>, max: usize, wanted: usize) -> Vec<Delivery> {
        let mut taken: Vec<Delivery> = Vec::new();
        let until = Instant::now() + LONG;
        while taken.len() < wanted {
            let asked = max - taken.len();
            let more = queue.receive(asked, LONG).await.unwrap();
            assert!(more.len() <= asked, "{} of {asked}", more.len());
            taken.extend(more);
            assert!(!self.can.fill_a_receive || taken.len() >= wanted, "{} of {wanted}", taken.len());
            assert!(Instant::now() < until, "{} of {wanted}", taken.len());
        }
        assert_eq!(taken.len(), wanted);
        if !self.can.keep_order {
            taken.sort_by_key(|delivery| delivery.id);
        }
        taken
    }

    /// Asserts this depth: now when the engine can, else soon.
    pub async fn counts(&self, queue: &Arc<dyn Queue>, wanted: Depth) {
        let until = Instant::now() + if self.can.count_at_once { Duration::ZERO } else { LONG };
        loop {
            let depth = queue.depth().await.unwrap();
            if depth == wanted {
                return;
            }
            assert!(Instant::now() < until, "{depth:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A long deadline: these tests are about results, and the machine may be busy.
pub fn patient() -> Settings {
    Settings { deadline: LONG, ..Settings::default() }
}

/// Opens until the engine, which was just started again, lets us.
pub async fn opened_soon(address: &str, name: &str, settings: Settings) -> Arc<dyn Queue> {
    let until = Instant::now() + LONG;
    loop {
        match queue::open(address, name, settings.clone()).await {
            Ok(queue) => return queue,
            Err(Error::Unreachable { .. }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub async fn sqlite() -> Option<Place> {
    Some(Place::new(|dir| format!("sqlite:{dir}/queue.db"), String::new(), EVERYTHING))
}

/// Queues of its own on the server that all tests of the binary share.
pub async fn rabbitmq() -> Option<Place> {
    let can = Can {
        fill_a_receive: false,
        count_at_once: false,
        return_to_the_front: false,
        hold_beyond_close: false,
        ..EVERYTHING
    };
    let address = rabbitmq_at(shared(&engine::RABBITMQ).await?);
    drop(opened_soon(&address, "warm-up", patient()).await);
    Some(Place::new(|_| address, fresh_prefix(), can))
}

/// As [`rabbitmq`].
pub async fn kafka() -> Option<Place> {
    let can = Can {
        fill_a_receive: false,
        count_at_once: false,
        keep_order: false,
        return_to_the_front: false,
        hold_beyond_close: false,
        ..EVERYTHING
    };
    let address = kafka_at(shared(&engine::KAFKA).await?);
    Some(Place::new(|_| address, fresh_prefix(), can))
}

/// This server.
pub fn kafka_at(server: &Engine) -> String {
    format!("kafka://{}", server.address())
}

/// The virtual host `/` of this server.
pub fn rabbitmq_at(server: &Engine) -> String {
    format!("amqp://lab:{PASSWORD}@{}/%2f", server.address())
}

/// Queues of its own on the emulator that all tests of the binary share.
pub async fn sqs() -> Option<Place> {
    let can = Can {
        fill_a_receive: false,
        count_at_once: false,
        keep_order: false,
        return_to_the_front: false,
        bury_unasked: false,
        hold_the_clock: false,
        ..EVERYTHING
    };
    let address = sqs_at(shared(&engine::SQS).await?);
    Some(Place::new(|_| address, fresh_prefix(), can))
}

/// The queues of the prefix `lab` on this emulator.
pub fn sqs_at(server: &Engine) -> String {
    format!("sqs://{}/lab?region=eu-west-1", server.address())
}

/// As [`engine::shared`], for tests that run on a runtime: its start blocks.
pub async fn shared(kind: &'static engine::Kind) -> Option<&'static Engine> {
    tokio::task::spawn_blocking(move || engine::shared(kind)).await.unwrap()
}

/// What no other test of this binary begins its names with.
pub fn fresh_prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    format!("test-{}-", NUMBER.fetch_add(1, Ordering::Relaxed))
}
