//! How many calls of a store may be under way at once, how long each may take, and how they end when the store is closed.
//! For what is scarce: connections, or a driver that bounds nothing itself. No engine is known here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::timeout;

use crate::Error;
use crate::store::Settings;

/// See the module.
pub(crate) struct Gate {
    deadline: Duration,
    most: usize,
    most_waiting: usize,
    // One permit a call that may be at the engine.
    slots: Semaphore,
    waiting: Semaphore,
    closing: AtomicBool,
}

impl Gate {
    /// As many calls at once as [`Settings::connections`], and [`Settings::max_waiting`] that wait for one of them to end.
    pub(crate) fn new(settings: &Settings) -> Self {
        let bounded = |number: usize| number.clamp(1, u32::MAX as usize >> 3);
        let (most, most_waiting) = (bounded(settings.connections), bounded(settings.max_waiting));
        Self {
            deadline: settings.deadline,
            most,
            most_waiting,
            slots: Semaphore::new(most),
            waiting: Semaphore::new(most_waiting),
            closing: AtomicBool::new(false),
        }
    }

    /// Runs a call to its end or its deadline, the wait for a slot included.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and [`Error::Closed`] before the call has begun, [`Error::Timeout`], and what the call returns.
    pub(crate) async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = self.deadline;
        let admitted = async {
            let _slot = self.slot(operation).await?;
            call.await
        };
        timeout(limit, admitted).await.unwrap_or(Err(Error::Timeout { operation, limit }))
    }

    /// Waits for a slot, when there is room to wait.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and [`Error::Closed`].
    pub(crate) async fn slot(&self, operation: &'static str) -> Result<SemaphorePermit<'_>, Error> {
        let closed = || Error::Closed { operation };
        if self.closing.load(Ordering::Acquire) {
            return Err(closed());
        }
        match self.slots.try_acquire() {
            Ok(slot) => return Ok(slot),
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let waits = self.waiting.try_acquire();
        let _waits = waits.map_err(|_full| Error::Overloaded { operation, waiting: self.most_waiting })?;
        self.slots.acquire().await.map_err(|_closed| closed())
    }

    /// Lets no further call in and waits until those that were let in have ended.
    ///
    /// # Errors
    /// [`Error::Timeout`] when some have not; they end by their own deadline.
    pub(crate) async fn close(&self, operation: &'static str) -> Result<(), Error> {
        self.closing.store(true, Ordering::Release);
        let limit = self.deadline;
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // Behind those who wait already; an error means that another close was first.
        let drained = timeout(limit, self.slots.acquire_many(all)).await;
        self.slots.close();
        drained.map(drop).map_err(|_elapsed| Error::Timeout { operation, limit })
    }
}
