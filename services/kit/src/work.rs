//! CPU work: burns a given CPU time per operation, so that a replica has a limit worth scaling for.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use lab_core::unit::{Span, UnitError};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;

use crate::ServeError;

/// Longest stretch of work without letting sockets be served: what a probe waits at most for a busy replica.
const SLICE: Duration = Duration::from_micros(250);

/// CPU time by operation, as `--work create=2ms,get=200us` gives it. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work(BTreeMap<String, Span>);

/// A `--work` text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// A part has no `=`.
    #[error("`{0}` is not CPU work; write it like `create=2ms,get=200us`")]
    Shape(String),
    /// A part has a wrong duration.
    #[error(transparent)]
    Span(#[from] UnitError),
    /// An operation is given more than once.
    #[error("`{0}` is given more than once; give it once")]
    Twice(String),
}

impl FromStr for Work {
    type Err = WorkError;

    fn from_str(text: &str) -> Result<Self, WorkError> {
        let mut work = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, span) = part.split_once('=').ok_or_else(|| WorkError::Shape(part.to_owned()))?;
            if work.insert(name.trim().to_owned(), span.parse()?).is_some() {
                return Err(WorkError::Twice(name.trim().to_owned()));
            }
        }
        Ok(Self(work))
    }
}

impl Work {
    /// Checks that only these operations are named.
    ///
    /// # Errors
    /// [`ServeError::Config`] naming the unknown operation and the known ones.
    pub fn only(&self, operations: &[&str]) -> Result<(), ServeError> {
        match self.0.keys().find(|name| !operations.contains(&name.as_str())) {
            Some(name) => Err(ServeError::Config(format!(
                "--work names `{name}`, which is no operation of this service; it has {}",
                operations.join(", ")
            ))),
            None => Ok(()),
        }
    }

    /// The CPU time of an operation; zero when it is not named.
    pub fn of(&self, operation: &str) -> Duration {
        self.0.get(operation).map_or(Duration::ZERO, |span| span.to_duration())
    }
}

/// Whose turn it is to burn: as many at once as there are threads, first come first served. Without turns, requests that burn
/// together would all end late, and later the more there are.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads)))
    }
}

/// Burns the CPU time of one operation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Burner {
    cpu: Duration,
    turns: Turns,
}

impl Burner {
    pub(crate) fn new(cpu: Duration, turns: Turns) -> Self {
        Self { cpu, turns }
    }

    /// Burns the operation's CPU time by the thread's CPU clock, so that neither a stopped process nor a busy machine shortens it.
    /// Sockets are served between slices of 250 µs.
    pub async fn burn(&self) {
        if self.cpu.is_zero() {
            return;
        }
        // The semaphore is never closed; an error would mean no work, which is the harmless side.
        let Ok(_turn) = self.turns.0.acquire().await else { return };
        let mut left = self.cpu;
        while !left.is_zero() {
            tokio::task::yield_now().await;
            left = left.saturating_sub(spin(left.min(SLICE)));
        }
    }
}

/// Computes until the thread has used `cpu`; returns what it used, a few microseconds more at most.
fn spin(cpu: Duration) -> Duration {
    let begun = thread_cpu();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        for _ in 0..500 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        black_box(state);
        let used = thread_cpu().saturating_sub(begun);
        if used >= cpu {
            return used;
        }
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", &[])]
    #[case("create=2ms, get=200us", &[("create", 2_000_000), ("get", 200_000)])]
    fn work_is_read(#[case] text: &str, #[case] expected: &[(&str, u64)]) {
        let work: Work = text.parse().expect("valid work");
        assert_eq!(work, Work(expected.iter().map(|(name, ns)| ((*name).to_owned(), Span(*ns))).collect()));
    }

    #[rstest]
    #[case("create", "`create` is not CPU work; write it like `create=2ms,get=200us`")]
    #[case("create=fast", "`fast` is not a duration; write it like `250ms`, `20s` or `5m`")]
    #[case("a=1ms,a=2ms", "`a` is given more than once; give it once")]
    fn wrong_work_says_what_to_write(#[case] text: &str, #[case] message: &str) {
        assert_eq!(text.parse::<Work>().expect_err("wrong work").to_string(), message);
    }

    #[test]
    fn unknown_operations_are_named() {
        let work: Work = "create=1ms,gte=1ms".parse().expect("valid work");
        let error = work.only(&["create", "get"]).expect_err("`gte` is unknown");
        assert!(error.to_string().contains("`gte`") && error.to_string().contains("create, get"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            // Neither a panic nor a loop; what is read is within the bounds of durations.
            prop_assert!(text.parse::<Work>().map_or(true, |work| work.0.values().all(|span| span.0 < 1 << 63)));
        }
    }

    #[tokio::test]
    async fn the_thread_uses_the_time_that_was_asked_for() {
        let burner = Burner::new(Duration::from_millis(3), Turns::new(1));
        let before = thread_cpu();
        for _ in 0..10 {
            burner.burn().await;
        }
        let used = thread_cpu() - before;
        assert!(used >= Duration::from_millis(30), "{used:?}");
        assert!(used < Duration::from_millis(36), "{used:?}");
    }

    #[tokio::test]
    async fn others_run_between_slices_and_turns_are_kept() {
        let burner = Burner::new(Duration::from_millis(20), Turns::new(1));
        let first = tokio::spawn({
            let burner = burner.clone();
            async move { burner.burn().await }
        });
        let second = tokio::spawn(async move { burner.burn().await });
        let mut seen = 0;
        while !second.is_finished() {
            seen += 1;
            if !first.is_finished() {
                assert!(!second.is_finished());
            }
            tokio::task::yield_now().await;
        }
        assert!(seen > 40, "{seen} turns of another task in 160 slices");
    }
}
