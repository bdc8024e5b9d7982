//! A consumer's life: receive a batch, take effect, acknowledge; hold what takes long, release what is left at the end.
//! What a message means, and the queue itself, are the service's.

use std::time::Duration;

use ::metrics::Counter;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, interval_at, sleep};

use crate::{Lifecycle, Metrics, chain};

/// Most messages in one consumer's hands.
const BATCH: usize = 32;
/// Wait of one receive; also what the end of the service waits for at most when the queue is empty.
const WAIT: Duration = Duration::from_millis(250);
/// Waits between attempts while the queue or the store is away: from the first, doubling, to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How the effect of a message ended.
#[derive(Debug)]
pub enum Outcome<E> {
    /// It is there, perhaps since an earlier delivery.
    Done,
    /// The message can never take effect. It is given back each time, until the queue declares it dead.
    Poison(String),
    /// It may work later: it is tried again here, so that an outage of the store makes no message dead.
    Later(E),
}

/// Counts what came more than once. For the consumer to count into; what a killed replica had not shown yet is not counted.
#[derive(Clone)]
pub struct Repeats {
    /// Deliveries of a message after its first.
    pub redelivered: Counter,
    /// Deliveries whose effect was there already.
    pub repeated: Counter,
}

impl Repeats {
    /// The counters of a service with one queue.
    pub fn new(metrics: &Metrics) -> Self {
        let [redelivered, repeated] = ["lab_queue_redelivered_total", "lab_queue_repeated_total"];
        metrics.describe(redelivered, "Deliveries of a message after its first");
        metrics.describe(repeated, "Deliveries whose effect was there already and did not happen again");
        Self { redelivered: metrics.counter(redelivered, &[]), repeated: metrics.counter(repeated, &[]) }
    }
}

/// A queue as a consumer sees it, and the effect of its messages.
pub trait Consumer: Send + Sync + 'static {
    /// A message in our hands.
    type Delivery: Send + Sync;
    /// Why the queue or the effect failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Up to `max` messages, as soon as there are any, none after `wait`.
    fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Self::Delivery>, Self::Error>> + Send;
    /// Makes the effect happen once, however often the message is delivered.
    fn take_effect(&self, delivery: &Self::Delivery) -> impl Future<Output = Outcome<Self::Error>> + Send;
    /// Ends deliveries for good.
    fn ack(&self, deliveries: Vec<&Self::Delivery>) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Keeps a message hidden for another visibility timeout.
    fn extend(&self, delivery: &Self::Delivery) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Gives a message back at once.
    fn release(&self, delivery: &Self::Delivery) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// As `release`, of a message that was not tried to the end: this delivery does not count towards its death.
    fn release_untried(&self, delivery: &Self::Delivery) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// The visibility timeout of the queue; messages are held by extending it each third of it.
    fn visibility(&self) -> Duration;
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    TookEffect,
    Poison,
    /// The service ended first.
    Untried,
}

/// Consumes until the service ends. Counts messages that took effect in `consumed`.
pub async fn consume<C: Consumer>(consumer: &C, lifecycle: &Lifecycle, consumed: &Counter) {
    let mut pause = BACKOFF.0;
    while !lifecycle.is_ending() {
        // A receive is never dropped: what it took would be hidden from everybody until its visibility timeout.
        match consumer.receive(BATCH, WAIT).await {
            Ok(batch) => {
                pause = BACKOFF.0;
                work_off(consumer, lifecycle, consumed, &batch).await;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "cannot receive; trying again");
                wait(lifecycle, &mut pause).await;
            }
        }
    }
}

/// Lets all messages of a batch take effect side by side, so that the store can write them together.
async fn work_off<C: Consumer>(consumer: &C, lifecycle: &Lifecycle, consumed: &Counter, batch: &[C::Delivery]) {
    let mut fates = vec![Fate::Untried; batch.len()];
    {
        let mut effects: FuturesUnordered<_> = batch
            .iter()
            .enumerate()
            .map(|(index, delivery)| async move { (index, persist(consumer, lifecycle, delivery).await) })
            .collect();
        let third = consumer.visibility() / 3;
        let mut beat = interval_at(Instant::now() + third, third);
        loop {
            tokio::select! {
                ended = effects.next() => match ended {
                    Some((index, fate)) => fates[index] = fate,
                    None => break,
                },
                _ = beat.tick() => hold(consumer, batch).await,
                () = lifecycle.ending() => break,
            }
        }
    }
    settle(consumer, consumed, batch, &fates).await;
}

/// Tries until the message took effect, is known to be unable to, or the service ends.
async fn persist<C: Consumer>(consumer: &C, lifecycle: &Lifecycle, delivery: &C::Delivery) -> Fate {
    let mut pause = BACKOFF.0;
    loop {
        match consumer.take_effect(delivery).await {
            Outcome::Done => return Fate::TookEffect,
            Outcome::Poison(reason) => {
                tracing::warn!(reason, "a message cannot take effect; giving it back");
                return Fate::Poison;
            }
            Outcome::Later(error) => {
                tracing::warn!(error = chain(&error), "a message could not take effect; trying again");
                wait(lifecycle, &mut pause).await;
                if lifecycle.is_ending() {
                    return Fate::Untried;
                }
            }
        }
    }
}

async fn hold<C: Consumer>(consumer: &C, batch: &[C::Delivery]) {
    for delivery in batch {
        if let Err(error) = consumer.extend(delivery).await {
            tracing::warn!(error = chain(&error), "cannot hold a message; it may be delivered twice");
        }
    }
}

async fn settle<C: Consumer>(consumer: &C, consumed: &Counter, batch: &[C::Delivery], fates: &[Fate]) {
    let (took, left): (Vec<_>, Vec<_>) = batch.iter().zip(fates).partition(|(_, fate)| **fate == Fate::TookEffect);
    let took: Vec<_> = took.into_iter().map(|(delivery, _)| delivery).collect();
    let count = took.len() as u64;
    if count > 0 {
        match consumer.ack(took).await {
            Ok(()) => consumed.increment(count),
            Err(error) => {
                tracing::warn!(error = chain(&error), count, "cannot acknowledge; the messages will come again")
            }
        }
    }
    for (delivery, fate) in left {
        let released = match fate {
            Fate::Untried => consumer.release_untried(delivery).await,
            Fate::Poison | Fate::TookEffect => consumer.release(delivery).await,
        };
        if let Err(error) = released {
            tracing::warn!(
                error = chain(&error),
                "cannot give a message back; it comes back by its visibility timeout"
            );
        }
    }
}

/// Waits, longer each time, or until the service ends.
async fn wait(lifecycle: &Lifecycle, pause: &mut Duration) {
    tokio::select! {
        () = sleep(*pause) => {}
        () = lifecycle.ending() => {}
    }
    *pause = (*pause * 2).min(BACKOFF.1);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::Stage;

    /// A queue in memory whose messages say how they end.
    #[derive(Default)]
    struct Script {
        waiting: Mutex<Vec<&'static str>>,
        log: Mutex<Vec<String>>,
        store_is_away: Mutex<u32>,
    }

    impl Script {
        fn note(&self, verb: &str, delivery: &str) {
            self.log.lock().expect("no panic").push(format!("{verb} {delivery}"));
        }

        fn noted(&self, line: &str) -> usize {
            self.log.lock().expect("no panic").iter().filter(|found| *found == line).count()
        }
    }

    impl Consumer for Script {
        type Delivery = &'static str;
        type Error = std::io::Error;

        async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<&'static str>, std::io::Error> {
            let mut batch = std::mem::take(&mut *self.waiting.lock().expect("no panic"));
            batch.truncate(max);
            if batch.is_empty() {
                sleep(wait).await;
            }
            Ok(batch)
        }

        async fn take_effect(&self, delivery: &&'static str) -> Outcome<std::io::Error> {
            match *delivery {
                "poison" => return Outcome::Poison("not a message".to_owned()),
                "slow" => sleep(Duration::from_secs(25)).await,
                "endless" => std::future::pending().await,
                _ => {}
            }
            let mut away = self.store_is_away.lock().expect("no panic");
            if *away > 0 {
                *away -= 1;
                return Outcome::Later(std::io::Error::other("the store is away"));
            }
            Outcome::Done
        }

        async fn ack(&self, deliveries: Vec<&&'static str>) -> Result<(), std::io::Error> {
            deliveries.iter().for_each(|delivery| self.note("ack", delivery));
            Ok(())
        }

        async fn extend(&self, delivery: &&'static str) -> Result<(), std::io::Error> {
            self.note("extend", delivery);
            Ok(())
        }

        async fn release(&self, delivery: &&'static str) -> Result<(), std::io::Error> {
            self.note("release", delivery);
            Ok(())
        }

        async fn release_untried(&self, delivery: &&'static str) -> Result<(), std::io::Error> {
            self.note("untried", delivery);
            Ok(())
        }

        fn visibility(&self) -> Duration {
            Duration::from_secs(30)
        }
    }

    /// Consumes `messages` for so long, then ends; returns what was done.
    async fn consumed(messages: &[&'static str], away: u32, length: Duration) -> (Arc<Script>, String) {
        let script = Arc::new(Script::default());
        script.waiting.lock().expect("no panic").extend(messages);
        *script.store_is_away.lock().expect("no panic") = away;
        let (lifecycle, metrics) = (Lifecycle::default(), Metrics::new());
        let task = tokio::spawn({
            let (script, lifecycle) = (script.clone(), lifecycle.clone());
            let counter = metrics.counter("lab_queue_consumed_total", &[]);
            async move { consume(&*script, &lifecycle, &counter).await }
        });
        sleep(length).await;
        lifecycle.advance(Stage::Unready);
        task.await.expect("the consumer ends");
        (script, metrics.render())
    }

    #[tokio::test(start_paused = true)]
    async fn what_took_effect_is_acknowledged_and_poison_is_given_back() {
        let (script, metrics) = consumed(&["a", "poison", "b"], 0, Duration::from_secs(1)).await;
        assert_eq!((script.noted("ack a"), script.noted("ack b"), script.noted("release poison")), (1, 1, 1));
        assert!(metrics.contains("lab_queue_consumed_total 2"), "{metrics}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_work_is_held_at_each_third_of_the_visibility() {
        let (script, _) = consumed(&["slow"], 0, Duration::from_secs(60)).await;
        assert_eq!((script.noted("extend slow"), script.noted("ack slow"), script.noted("release slow")), (2, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_the_store_gives_nothing_back() {
        let (script, _) = consumed(&["a"], 20, Duration::from_secs(60)).await;
        assert_eq!((script.noted("ack a"), script.noted("release a")), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_does_not_wait_for_an_absent_store() {
        let (script, _) = consumed(&["a"], u32::MAX, Duration::from_secs(5)).await;
        assert_eq!((script.noted("ack a"), script.noted("untried a")), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_releases_what_is_not_done() {
        let (script, _) = consumed(&["a", "endless"], 0, Duration::from_secs(5)).await;
        assert_eq!((script.noted("ack a"), script.noted("untried endless")), (1, 1));
    }
}
