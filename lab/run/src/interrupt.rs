//! How often the user asked to stop: 1 drains and reports, 2 tears down, 3 leaves.

use lab_core::event::Kind;
use lab_env::{EventSink, Seen};
use tokio::sync::watch;

/// A counter that every wait can listen to. Clones share it.
#[derive(Debug, Clone)]
pub struct Interrupt {
    count: watch::Sender<u32>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}

impl Interrupt {
    /// Nobody asked yet.
    pub fn new() -> Self {
        Self { count: watch::Sender::new(0) }
    }

    /// One more request to stop; returns how many there are now.
    pub fn raise(&self) -> u32 {
        self.count.send_modify(|count| *count += 1);
        self.count()
    }

    /// How many requests there were.
    pub fn count(&self) -> u32 {
        *self.count.borrow()
    }

    /// Waits until there were at least `level` requests.
    pub async fn reached(&self, level: u32) {
        let mut seen = self.count.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail while we are here.
        if seen.wait_for(|count| *count >= level).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells of every request as it comes. Ends only when nobody takes events any more.
    pub async fn announce(self, events: EventSink) {
        for count in 1.. {
            self.reached(count).await;
            let seen = Seen { src: "user".to_owned(), at: None, kind: Kind::Interrupted { count } };
            if events.send(seen).await.is_err() {
                return;
            }
        }
    }

    /// Runs `work` unless the user asks `level` times first.
    pub async fn or<T>(&self, level: u32, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.reached(level) => None,
            done = work => Some(done),
        }
    }
}
