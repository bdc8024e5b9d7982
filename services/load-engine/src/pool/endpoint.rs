//! One endpoint as the pool sees it: how many connections it has and should have, and when it may be tried again.

use super::ConnId;
use crate::target::Target;

const FIRST_BACKOFF_NS: u64 = 10_000_000;
const LONGEST_BACKOFF_NS: u64 = 200_000_000;

#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) target: Target,
    pub(super) listed: bool,
    /// Connections it should have at most.
    pub(super) part: u32,
    /// Connections it has, in any state.
    pub(super) open: u32,
    pub(super) connecting: u32,
    pub(super) retiring: u32,
    pub(super) idle: Vec<ConnId>,
    pub(super) backoff: Backoff,
}

/// Waits between failed attempts, doubling up to a bound.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    next_ns: u64,
    until_ns: u64,
}

impl EndpointState {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            listed: true,
            part: 1,
            open: 0,
            connecting: 0,
            retiring: 0,
            idle: Vec::new(),
            backoff: Backoff::default(),
        }
    }

    /// It is in the new list or not. A replica that comes back to the list is worth trying at once.
    pub(super) fn relist(&mut self, listed: bool) {
        if listed && !self.listed {
            self.backoff.clear();
        }
        self.listed = listed;
    }

    pub(super) fn may_open(&self, now_ns: u64) -> bool {
        self.open - self.retiring < self.part && now_ns >= self.backoff.until_ns
    }

    pub(super) fn surplus(&self) -> u32 {
        (self.open - self.retiring).saturating_sub(self.part)
    }
}

impl Backoff {
    pub(super) fn failed(&mut self, now_ns: u64) {
        self.next_ns = (self.next_ns * 2).clamp(FIRST_BACKOFF_NS, LONGEST_BACKOFF_NS);
        self.until_ns = now_ns + self.next_ns;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
