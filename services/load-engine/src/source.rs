//! Where requests come from: the schedule at open pace, the connections themselves at closed pace.

use crate::plan::{Pace, Plan};
use crate::schedule::{Arrival, Change, Schedule};

/// Gives requests to a driver.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) schedule: Schedule,
    closed: Option<Closed>,
    /// Told to end: nothing becomes due any more.
    ended: bool,
}

/// Numbering at closed pace.
#[derive(Debug)]
struct Closed {
    next_k: u64,
    stride: u64,
    left: u64,
}

impl Source {
    pub(crate) fn new(plan: &Plan) -> Self {
        let share = plan.wire.share;
        let closed = (plan.pace == Pace::Closed).then(|| Closed {
            next_k: u64::from(share.index),
            stride: u64::from(share.count),
            left: plan.limit.unwrap_or(u64::MAX),
        });
        let limit = plan.limit.filter(|_| closed.is_none());
        Self { schedule: Schedule::new(&plan.wire, limit), closed, ended: false }
    }

    /// Nothing becomes due from now on.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.schedule.change(change);
    }

    /// The next scheduled request that is due by plan time `now_ns`.
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Option<Arrival> {
        if self.ended || self.closed.is_some() { None } else { self.schedule.take_due(now_ns) }
    }

    /// When the next scheduled request is due.
    pub(crate) fn next_due(&mut self) -> Option<u64> {
        if self.ended || self.closed.is_some() { None } else { self.schedule.peek().map(|a| a.intended_ns) }
    }

    /// True when the schedule needs further turns to find its next request.
    pub(crate) fn is_searching(&self) -> bool {
        !self.ended && self.closed.is_none() && self.schedule.is_searching()
    }

    /// At closed pace, how many requests free connections would be given now.
    pub(crate) fn wanted(&self, now_ns: u64) -> usize {
        match &self.closed {
            Some(c) if !self.ended && now_ns < self.schedule.end_ns() && !self.schedule.rate_at(now_ns).1 => {
                usize::try_from(c.left).unwrap_or(usize::MAX)
            }
            _ => 0,
        }
    }

    /// At closed pace, a request for a connection that is free now.
    pub(crate) fn take_now(&mut self, now_ns: u64) -> Option<Arrival> {
        if self.wanted(now_ns) == 0 {
            return None;
        }
        let closed = self.closed.as_mut()?;
        closed.left -= 1;
        let k = closed.next_k;
        closed.next_k += closed.stride;
        Some(self.schedule.arrival_at(k, now_ns))
    }

    /// True when nothing will come any more at or after plan time `now_ns`.
    pub(crate) fn over(&mut self, now_ns: u64) -> bool {
        let exhausted = match &self.closed {
            Some(closed) => closed.left == 0,
            None => self.schedule.exhausted(),
        };
        self.ended || exhausted || now_ns >= self.schedule.end_ns()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }
}
