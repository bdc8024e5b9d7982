//! The dead-man's switch: load that a conductor began is stopped when the conductor has not been heard of for too long.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When the conductor was last heard of, and whether the present load hangs on it.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    heard: Instant,
    held: bool,
}

impl Lease {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, inner: Mutex::new(Inner { heard: Instant::now(), held: false }) }
    }

    /// An authenticated call came.
    pub(crate) fn renew(&self) {
        self.inner().heard = Instant::now();
    }

    /// The load from now on hangs on the conductor, or not.
    pub(crate) fn hold(&self, held: bool) {
        let mut inner = self.inner();
        inner.held = held;
        inner.heard = Instant::now();
    }

    /// Returns when a held lease has run out, which also lets go of it.
    pub(crate) async fn expired(&self) {
        loop {
            let until = {
                let mut inner = self.inner();
                // One that is taken from now on cannot end earlier than its length from now.
                let from = if inner.held { inner.heard } else { Instant::now() };
                let until = from + self.length;
                if inner.held && Instant::now() >= until {
                    inner.held = false;
                    return;
                }
                until
            };
            tokio::time::sleep_until(until).await;
        }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_held_lease_ends_after_its_length_of_silence() {
        let lease = Lease::new(Duration::from_secs(30));
        lease.hold(true);
        tokio::time::sleep(Duration::from_secs(20)).await;
        lease.renew();
        let began = Instant::now();
        lease.expired().await;
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(31), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_held_never_ends() {
        let lease = Lease::new(Duration::from_secs(1));
        lease.hold(false);
        let hour = tokio::time::timeout(Duration::from_secs(3600), lease.expired()).await;
        assert!(hour.is_err());
    }
}
