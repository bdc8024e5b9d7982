//! What many callers hand over one by one goes out in batches: whatever waits while the batches before are under way goes together.
//! Nobody waits for others to come. What a batch does is told from outside.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::Instant;

use crate::Error;

/// The service takes so many at once,
const MOST: usize = 10;
/// and so many bytes: 1 MiB of late, this much always and everywhere. What is larger by itself goes alone.
const MOST_BYTES: usize = 256 * 1024;
/// Items that wait; whoever hands over more waits himself.
const ROOM: usize = 1024;
/// Batches under way at once. Few, or batches would never fill.
const UNDER_WAY: usize = 8;

/// One thing handed over.
#[derive(Debug)]
pub(super) struct Item<T, A> {
    pub(super) content: T,
    /// Bytes.
    size: usize,
    /// Nobody waits for the answer after this.
    pub(super) until: Instant,
    answer: oneshot::Sender<Result<A, Error>>,
}

impl<T, A> Item<T, A> {
    pub(super) fn answer(self, answer: Result<A, Error>) {
        // Its caller may have gone; what was done stays done.
        drop(self.answer.send(answer));
    }
}

/// See the module.
pub(super) struct Gatherer<T, A> {
    /// None when closed.
    line: Mutex<Option<mpsc::Sender<Item<T, A>>>>,
    hand: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Send + 'static, A: Send + 'static> Gatherer<T, A> {
    /// Each batch is given to `send`, which answers every item.
    pub(super) fn start<F>(send: impl Fn(Vec<Item<T, A>>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (line, waiting) = mpsc::channel(ROOM);
        let hand = tokio::spawn(gather(waiting, send));
        Self { line: Mutex::new(Some(line)), hand: Mutex::new(Some(hand)) }
    }

    /// Hands over what is given with its size in bytes; the answers, in order.
    pub(super) async fn hand_over(
        &self,
        operation: &'static str,
        contents: impl IntoIterator<Item = (T, usize)>,
        until: Instant,
    ) -> Result<Vec<Result<A, Error>>, Error> {
        let closed = || Error::Closed { operation };
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        let mut answers = Vec::new();
        for (content, size) in contents {
            let (answer, answered) = oneshot::channel();
            line.send(Item { content, size, until, answer }).await.map_err(|_| closed())?;
            answers.push(answered);
        }
        drop(line);
        let mut all = Vec::with_capacity(answers.len());
        for answered in answers {
            all.push(answered.await.unwrap_or_else(|_| Err(closed())));
        }
        Ok(all)
    }

    /// Takes nothing more; ends when everything that was handed over is answered.
    pub(super) async fn close(&self) {
        drop(self.line.lock().unwrap_or_else(PoisonError::into_inner).take());
        let hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hand) = hand
            && let Err(error) = hand.await
        {
            tracing::error!(%error, "the hand that sends batches did not end by itself");
        }
    }
}

async fn gather<T: Send + 'static, A: Send + 'static, F>(
    mut line: mpsc::Receiver<Item<T, A>>,
    send: impl Fn(Vec<Item<T, A>>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(UNDER_WAY));
    let mut under_way = JoinSet::new();
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(item) => Some(item),
            None => line.recv().await,
        };
        let Some(first) = first else { break };
        // The semaphore is never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        // Who is about to hand over does so first.
        yield_now().await;
        let mut size = first.size;
        let mut batch = vec![first];
        while batch.len() < MOST
            && let Ok(item) = line.try_recv()
        {
            if size + item.size > MOST_BYTES {
                left_over = Some(item);
                break;
            }
            size += item.size;
            batch.push(item);
        }
        let now = Instant::now();
        batch.retain(|item| item.until > now);
        if batch.is_empty() {
            continue;
        }
        while under_way.try_join_next().is_some() {}
        let sent = send(batch);
        under_way.spawn(async move {
            sent.await;
            drop(slot);
        });
    }
    while under_way.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    /// Answers each item with the size of its batch, one batch after the other.
    fn counting() -> Gatherer<usize, usize> {
        let turn = Arc::new(Semaphore::new(1));
        Gatherer::start(move |batch: Vec<Item<usize, usize>>| {
            let turn = turn.clone();
            async move {
                let _turn = turn.acquire().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                let together = batch.len();
                batch.into_iter().for_each(|item| item.answer(Ok(together)));
            }
        })
    }

    async fn hand_over(gatherer: &Gatherer<usize, usize>, sizes: &[usize]) -> Vec<usize> {
        let items = sizes.iter().map(|size| (0, *size));
        let until = Instant::now() + Duration::from_secs(10);
        let answers = gatherer.hand_over("test", items, until).await.unwrap();
        answers.into_iter().map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn what_waits_goes_together() {
        let gatherer = counting();
        assert_eq!(hand_over(&gatherer, &[1]).await, [1], "nobody waits for others");
        let batches = join_all((0..100).map(|_| hand_over(&gatherer, &[1]))).await;
        assert!(batches.iter().filter(|batch| **batch == [10]).count() >= 80, "{batches:?}");
        assert_eq!(hand_over(&gatherer, &[1; 10]).await, [10; 10]);
        gatherer.close().await;
        let late = gatherer.hand_over("test", [(0, 1)], Instant::now() + Duration::from_secs(1)).await;
        assert!(matches!(late, Err(Error::Closed { .. })));
    }

    #[tokio::test]
    async fn batches_have_a_size_and_the_large_go_alone() {
        let third = MOST_BYTES / 3;
        assert_eq!(hand_over(&counting(), &[third; 7]).await, [3, 3, 3, 3, 3, 3, 1]);
        assert_eq!(hand_over(&counting(), &[1, MOST_BYTES * 2, 1, 1]).await, [1, 1, 2, 2]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_sent() {
        let gatherer = counting();
        let past = Instant::now();
        let answers = gatherer.hand_over("test", [(0, 1)], past).await.unwrap();
        assert!(matches!(answers[..], [Err(Error::Closed { .. })]), "{answers:?}");
        assert_eq!(hand_over(&gatherer, &[1]).await, [1]);
    }
}
