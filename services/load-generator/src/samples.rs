//! The last samples, numbered so that readers can come back for what they missed. Bounded: a reader that is slower than ten minutes
//! finds a gap in the numbers, not old samples kept for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lab_core::control::Sample;
use tokio::sync::watch;

/// Samples kept.
const KEPT: usize = 600;

/// A sample as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    plan: Arc<str>,
    pub(crate) seq: u64,
    pub(crate) last: bool,
    pub(crate) json: Arc<str>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Kept>,
    /// Position of the first entry in everything that was ever kept.
    first: u64,
    /// The plan that was begun last.
    plan: Option<Arc<str>>,
    /// Position of that plan's first sample.
    plan_first: Option<u64>,
    /// Its last sample has come.
    plan_over: bool,
}

/// The last samples of this generator.
#[derive(Debug)]
pub(crate) struct Samples {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

/// Where a reader is. It reads the samples of one plan, and ends after that plan's last one.
#[derive(Debug)]
pub(crate) struct Reader {
    position: u64,
    /// None: the plan of the next sample that comes.
    plan: Option<Arc<str>>,
    changed: watch::Receiver<()>,
    over: bool,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// A plan begins: readers that ask for its samples get none of an earlier plan.
    pub(crate) fn begin(&self, plan: &str) {
        let mut inner = self.inner();
        inner.plan = Some(plan.into());
        inner.plan_first = None;
        inner.plan_over = false;
    }

    /// Keeps a sample and tells the readers.
    pub(crate) fn push(&self, sample: &Sample) {
        let json = match serde_json::to_string(sample) {
            Ok(json) => json.into(),
            Err(error) => return tracing::error!(%error, seq = sample.seq, "a sample could not be written as JSON"),
        };
        let mut inner = self.inner();
        let plan: Arc<str> = match &inner.plan {
            Some(plan) if **plan == *sample.plan => Arc::clone(plan),
            _ => sample.plan.as_str().into(),
        };
        let position = inner.first + inner.entries.len() as u64;
        if inner.plan.as_ref() == Some(&plan) {
            inner.plan_first.get_or_insert(position);
            inner.plan_over |= sample.last;
        }
        inner.entries.push_back(Kept { plan, seq: sample.seq, last: sample.last, json });
        if inner.entries.len() > KEPT {
            inner.entries.pop_front();
            inner.first += 1;
        }
        drop(inner);
        self.changed.send_replace(());
    }

    /// A reader of the present plan's samples from number `from` on; None: of those that are still to come. When the plan is over and
    /// has none of them, it waits for the next plan.
    pub(crate) fn read(&self, from: Option<u64>) -> Reader {
        let inner = self.inner();
        let end = inner.first + inner.entries.len() as u64;
        let kept = inner.plan_first.unwrap_or(end).max(inner.first);
        let wanted = from.and_then(|from| {
            let entries = inner.entries.iter().skip(usize::try_from(kept - inner.first).unwrap_or(usize::MAX));
            (kept..).zip(entries).find(|(_, entry)| entry.seq >= from).map(|(position, _)| position)
        });
        let plan = inner.plan.clone().filter(|_| wanted.is_some() || !inner.plan_over);
        Reader { position: wanted.unwrap_or(end), plan, changed: self.changed.subscribe(), over: false }
    }

    fn next(&self, reader: &mut Reader) -> Option<Kept> {
        let inner = self.inner();
        reader.position = reader.position.max(inner.first);
        loop {
            let entry = inner.entries.get(usize::try_from(reader.position - inner.first).ok()?)?;
            reader.position += 1;
            if reader.plan.as_ref().is_none_or(|plan| *plan == entry.plan) {
                reader.plan = Some(Arc::clone(&entry.plan));
                reader.over = entry.last;
                return Some(entry.clone());
            }
        }
    }

    /// The next sample of a reader; None after the last one, or when `ended` has been over for a moment.
    pub(crate) async fn wait(&self, reader: &mut Reader, ended: impl Future<Output = ()>) -> Option<Kept> {
        /// In which the last sample of a load that is stopped may still come.
        const MOMENT: Duration = Duration::from_secs(2);
        let ended = async {
            ended.await;
            tokio::time::sleep(MOMENT).await;
        };
        tokio::pin!(ended);
        while !reader.over {
            reader.changed.borrow_and_update();
            if let Some(kept) = self.next(reader) {
                return Some(kept);
            }
            tokio::select! {
                changed = reader.changed.changed() => changed.ok()?,
                () = &mut ended => return None,
            }
        }
        None
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use lab_core::deliveries::Fates;

    use super::*;

    fn sample(plan: &str, seq: u64, last: bool) -> Sample {
        Sample {
            generator: "g".into(),
            plan: plan.into(),
            seq,
            from_ns: 0,
            to_ns: 0,
            phases: vec![],
            in_flight_ns: 0,
            queued: 0,
            longest_queue: 0,
            in_flight: 0,
            cpu_ns: 0,
            longest_turn_ns: 0,
            endpoints: vec![],
            fates: Fates::default(),
            last,
        }
    }

    fn now(samples: &Samples, reader: &mut Reader) -> Vec<u64> {
        std::iter::from_fn(|| {
            samples.wait(reader, std::future::pending()).now_or_never().flatten().map(|kept| kept.seq)
        })
        .collect()
    }

    #[tokio::test]
    async fn a_reader_that_comes_back_misses_nothing() {
        let samples = Samples::new();
        samples.begin("a");
        let mut early = samples.read(Some(1));
        (1..=3).for_each(|seq| samples.push(&sample("a", seq, false)));
        assert_eq!(now(&samples, &mut early), [1, 2, 3]);
        let (mut back, mut live) = (samples.read(Some(3)), samples.read(None));
        samples.push(&sample("a", 4, true));
        assert_eq!(now(&samples, &mut back), [3, 4]);
        assert_eq!(now(&samples, &mut live), [4]);
        assert!(samples.wait(&mut live, std::future::pending()).await.is_none(), "it ends after the last sample");
    }

    #[tokio::test]
    async fn plans_do_not_mix() {
        let samples = Samples::new();
        samples.begin("a");
        samples.push(&sample("a", 1, true));
        assert_eq!(now(&samples, &mut samples.read(Some(1))), [1], "the last plan's, until another begins");
        let mut next = samples.read(Some(2));
        samples.begin("b");
        let mut of_b = samples.read(Some(1));
        assert_eq!(now(&samples, &mut of_b), [0; 0]);
        samples.push(&sample("b", 1, false));
        assert_eq!((now(&samples, &mut of_b), now(&samples, &mut next)), (vec![1], vec![1]));
        samples.begin("b");
        assert_eq!(now(&samples, &mut samples.read(Some(1))), [0; 0], "the same name again is another plan");
    }

    #[tokio::test]
    async fn only_so_many_are_kept_and_the_gap_shows() {
        let samples = Samples::new();
        samples.begin("a");
        let mut slow = samples.read(Some(1));
        (1..=KEPT as u64 + 5).for_each(|seq| samples.push(&sample("a", seq, false)));
        let seen = now(&samples, &mut slow);
        assert_eq!((seen.first(), seen.len()), (Some(&6), KEPT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_ends_lets_go_of_its_readers() {
        let samples = Samples::new();
        let mut reader = samples.read(None);
        assert!(samples.wait(&mut reader, std::future::ready(())).await.is_none());
    }
}
