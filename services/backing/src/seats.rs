//! How many calls of an engine may be under way at once, how long each may take, and when the last has ended after a close.
//! Where calls must take turns for something that is scarce, see [`crate::gate`]. No engine is known here.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::Error;

/// See the module.
pub(crate) struct Seats {
    most: usize,
    limit: Duration,
    taken: AtomicUsize,
    /// Rung when a call ends.
    left: Notify,
    closed: AtomicBool,
}

/// One call that is under way; also a cancelled one gets up.
struct Seat<'a>(&'a Seats);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        self.0.left.notify_waiters();
    }
}

impl Seats {
    /// For at most so many calls at once, each no longer than `limit`.
    pub(crate) fn new(most: usize, limit: Duration) -> Self {
        Self { most, limit, taken: AtomicUsize::new(0), left: Notify::new(), closed: AtomicBool::new(false) }
    }

    /// # Errors
    /// [`Error::Closed`] after [`Self::close`].
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) { Err(Error::Closed { operation }) } else { Ok(()) }
    }

    /// Runs one call: not after close, not with too many others, not beyond the limit.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Overloaded`] and [`Error::Timeout`], and what the call returns.
    pub(crate) async fn within<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let others = self.taken.fetch_add(1, Ordering::SeqCst);
        let _seat = Seat(self);
        self.check_open(operation)?;
        if others >= self.most {
            return Err(Error::Overloaded { operation, waiting: self.most });
        }
        let limit = self.limit;
        timeout(limit, call).await.unwrap_or(Err(Error::Timeout { operation, limit }))
    }

    /// Lets no further call in. False when it was closed before.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// Waits until no call is under way; their limit bounds it.
    pub(crate) async fn empty(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.taken.load(Ordering::SeqCst) == 0 {
                return;
            }
            left.await;
        }
    }
}
