//! The run's one monotonic clock. Everything in a journal is stamped by it.

use std::time::{Duration, Instant};

use lab_core::unit::RunTime;

/// Nanoseconds since the run began.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    origin: Instant,
}

impl RunClock {
    /// A run that begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> RunTime {
        self.at(Instant::now())
    }

    /// A moment of this process on the run's clock; what was before the run began is its beginning.
    pub fn at(&self, instant: Instant) -> RunTime {
        let since = instant.saturating_duration_since(self.origin);
        RunTime(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// A run time as a moment of this process.
    pub fn instant(&self, time: RunTime) -> Instant {
        self.origin + Duration::from_nanos(time.0)
    }

    /// Waits until a run time.
    pub async fn sleep_until(&self, time: RunTime) {
        tokio::time::sleep_until(self.instant(time).into()).await;
    }
}
