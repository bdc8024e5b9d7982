//! The request ledger: where every request of an open-loop schedule ended up. It must always sum.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of requests by fate. `offered` is what the schedule called for in the stretch that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Requests whose intended time came.
    pub offered: u64,
    /// Requests whose first byte was written.
    pub started: u64,
    /// Requests answered with a good status.
    pub completed: u64,
    /// Requests answered with a bad status, timed out, or cut by a connection error.
    pub failed: u64,
    /// Requests given up before they were started, because the bounded queue was full.
    pub dropped: u64,
    /// Requests that were queued or in flight when counting ended. In a running phase: so far.
    pub unfinished: u64,
}

impl Ledger {
    /// True when offered = completed + failed + dropped + unfinished.
    pub fn sums(&self) -> bool {
        u128::from(self.offered)
            == [self.completed, self.failed, self.dropped, self.unfinished].into_iter().map(u128::from).sum::<u128>()
    }

    /// Failed and dropped over offered, 0 when nothing was offered.
    pub fn error_share(&self) -> f64 {
        if self.offered == 0 { 0.0 } else { (self.failed + self.dropped) as f64 / self.offered as f64 }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.offered += other.offered;
        self.started += other.started;
        self.completed += other.completed;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.unfinished += other.unfinished;
    }
}
