//! What the suites of faults in queues share: a server of one's own that is hit from a test, messages to send through it, and waits for
//! what comes of that. Needs `engine` and `places` beside it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::queue::Envelope;
use backing::{MessageId, Queue};

use crate::engine::{self, Engine, Kind};
use crate::places::LONG;

/// How much later than its deadline a call may be on a busy machine.
pub const GRACE: Duration = Duration::from_secs(2);

pub async fn alone(kind: &'static Kind) -> Option<Engine> {
    tokio::task::spawn_blocking(|| engine::alone(kind)).await.unwrap()
}

pub async fn blocking(server: Engine, work: fn(&Engine)) -> Engine {
    let work = move || {
        work(&server);
        server
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub fn envelopes(count: usize) -> Vec<Envelope> {
    (0..count).map(|number| Envelope { id: MessageId::fresh(), body: number.to_string().into() }).collect()
}

pub async fn until_it_answers(queue: &Arc<dyn Queue>) {
    let until = Instant::now() + LONG * 2;
    while let Err(error) = queue.ping().await {
        assert!(Instant::now() < until, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Receives and acknowledges until these messages came, each at least once. Says how many came.
pub async fn consume_all(queue: &Arc<dyn Queue>, mut wanted: HashSet<MessageId>) -> usize {
    let (until, mut received) = (Instant::now() + LONG * 2, 0);
    while !wanted.is_empty() {
        assert!(Instant::now() < until, "{} lost, {:?}", wanted.len(), queue.depth().await);
        let taken = queue.receive(50, Duration::from_millis(200)).await.unwrap();
        received += taken.len();
        for delivery in &taken {
            wanted.remove(&delivery.id);
        }
        queue.ack(taken.into_iter().map(|delivery| delivery.receipt).collect()).await.unwrap();
    }
    received
}
