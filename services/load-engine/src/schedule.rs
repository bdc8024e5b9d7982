//! When each request of the whole run is due, in closed form, and which of them this worker sends.
//!
//! Arrivals live on a *unit clock* that advances by the offered rate: request k falls due when it passes u(k), with u(k) = k for
//! constant arrivals and a sum of seeded unit exponentials for Poisson ones (the time-rescaling theorem makes that exact for any
//! rate function). A change of rate bends the clock and never touches the numbering, so generators that hear of a change at
//! different moments still send each number once. What one moment of the clock looks like is in [`cursor`].

mod cursor;

use std::collections::{BTreeMap, VecDeque};

use lab_core::control::{LoadPlan, Operation, Share};
use lab_core::spec::Arrivals;
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use cursor::Cursor;

/// Most arrivals of others that one call passes over, so that no turn of the send loop stalls in the numbers of a long past: about a
/// millisecond.
const MOST_PASSED: usize = 16_384;

/// One request of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number in the whole schedule, from 0.
    pub k: u64,
    /// Plan time at which it is due.
    pub intended_ns: u64,
    /// Index of the phase that called for it.
    pub phase: u32,
    /// Index of its operation.
    pub operation: u32,
    /// Random bits from which its key is drawn once the known keys are known.
    pub draw: u64,
}

/// What becomes different from a plan time on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) from_ns: u64,
    /// A rate instead of the phases' own; `Some(None)` returns to the phases.
    pub(crate) rate: Option<Option<f64>>,
    pub(crate) pause: Option<bool>,
    pub(crate) share: Option<Share>,
    pub(crate) mix: Option<Mix>,
    /// The phase ends here, and those after it come forward.
    pub(crate) skip: bool,
}

/// Operations by weight: running sums of the weights, the last one is their total.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mix(std::sync::Arc<[f64]>);

impl Mix {
    pub(crate) fn new(weights: impl Iterator<Item = f64>) -> Self {
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self(sums.collect())
    }

    /// The weights of `operations` with those named in `changed` replaced; an operation that is not named has none.
    pub(crate) fn changed(operations: &[Operation], changed: &BTreeMap<String, f64>) -> Self {
        Self::new(operations.iter().map(|o| changed.get(&o.name).copied().unwrap_or(0.0)))
    }

    /// The operation at a point in [0, 1) of the whole.
    fn pick(&self, point: f64) -> u32 {
        let total = self.0.last().copied().unwrap_or(0.0);
        let index = self.0.partition_point(|sum| *sum <= point * total);
        u32::try_from(index.min(self.0.len().saturating_sub(1))).unwrap_or(0)
    }
}

/// A phase on the plan's time axis.
#[derive(Debug, Clone)]
struct Leg {
    start_ns: u64,
    end_ns: u64,
    shape: Form,
}

/// A phase's rate, ready for arithmetic.
#[derive(Debug, Clone)]
enum Form {
    /// `rate + slope × seconds since the phase's start`, requests a second.
    Line { rate: f64, slope: f64 },
    /// Plan times of arrivals, ascending.
    Trace(Vec<u64>),
}

/// The arrivals that one worker sends, in order. Two schedules with equal plans differ only in the share they keep.
#[derive(Debug, Clone)]
pub struct Schedule {
    legs: Vec<Leg>,
    poisson: bool,
    seed: u64,
    /// Numbers from here on are not sent.
    limit: u64,
    /// What is due before this plan time is sent by others.
    joins_at_ns: u64,
    changes: VecDeque<Change>,
    /// Just after the last arrival that was taken.
    taken: Cursor,
    /// When that arrival was due.
    last_ns: u64,
    /// The next arrival, and the cursor just after it.
    next: Option<(Arrival, Cursor)>,
    /// `next` is up to date.
    known: bool,
    /// Where the search for `next` stands when one call did not bring it to its end.
    searched: Option<Cursor>,
}

impl Schedule {
    /// The schedule of a valid plan, restricted to the plan's share and to numbers below `limit`.
    pub fn new(plan: &LoadPlan, limit: Option<u64>) -> Self {
        let mut start_ns = 0_u64;
        let mut legs = Vec::with_capacity(plan.phases.len());
        for phase in &plan.phases {
            let end_ns = start_ns.saturating_add(phase.length.0);
            legs.push(Leg { start_ns, end_ns, shape: Form::of(&phase.rate, start_ns, end_ns) });
            start_ns = end_ns;
        }
        let poisson = plan.arrivals == Arrivals::Poisson;
        let rng = Pcg64Mcg::seed_from_u64(plan.seed);
        let mix = Mix::new(plan.operations.iter().map(|o| o.weight));
        Self {
            taken: Cursor::new(plan.share, mix, rng, poisson),
            legs,
            poisson,
            seed: plan.seed,
            limit: limit.unwrap_or(u64::MAX),
            joins_at_ns: plan.joins_at_ns,
            changes: VecDeque::new(),
            last_ns: 0,
            next: None,
            known: false,
            searched: None,
        }
    }

    /// The next arrival without taking it; None when nothing more will come unless something is changed, or while it
    /// [is searched](Self::is_searching).
    pub fn peek(&mut self) -> Option<Arrival> {
        if !self.known {
            self.look_ahead();
        }
        self.next.as_ref().map(|(arrival, _)| *arrival)
    }

    /// True when the next arrival lies so far behind others' that further calls are needed to find it.
    pub fn is_searching(&self) -> bool {
        self.searched.is_some()
    }

    /// Takes the next arrival if it is due at or before plan time `now_ns`.
    pub fn take_due(&mut self, now_ns: u64) -> Option<Arrival> {
        self.peek().filter(|arrival| arrival.intended_ns <= now_ns)?;
        self.known = false;
        let (arrival, after) = self.next.take()?;
        self.last_ns = arrival.intended_ns;
        self.taken = after;
        while self.taken.changes_done > 0 {
            self.changes.pop_front();
            self.taken.changes_done -= 1;
        }
        Some(arrival)
    }

    /// Enters a change. One whose time has already been passed holds from the last arrival on: what was sent stays sent.
    pub(crate) fn change(&mut self, mut change: Change) {
        change.from_ns = change.from_ns.max(self.last_ns);
        if change.skip {
            self.skip(change.from_ns);
        }
        let at = self.changes.partition_point(|c| c.from_ns <= change.from_ns);
        self.changes.insert(at, change);
        self.known = false;
        self.next = None;
        self.searched = None;
    }

    /// Ends the phase at a plan time there and brings the later ones forward. No cursor has passed that time: `taken` stands at the
    /// last arrival, and what was looked up beyond it is looked up anew.
    fn skip(&mut self, at_ns: u64) {
        let index = self.legs.partition_point(|leg| leg.end_ns <= at_ns);
        let Some(leg) = self.legs.get_mut(index) else { return };
        let gone_ns = leg.end_ns - at_ns;
        leg.end_before(at_ns);
        for leg in &mut self.legs[index + 1..] {
            leg.come_forward(gone_ns);
        }
    }

    /// Plan time at which the last phase ends.
    pub fn end_ns(&self) -> u64 {
        self.legs.last().map_or(0, |leg| leg.end_ns)
    }

    /// True when the limit of requests has been reached.
    pub(crate) fn exhausted(&mut self) -> bool {
        self.limit != u64::MAX && self.peek().is_none() && self.taken.none_left_below(self.limit)
    }

    /// Index of the phase at a plan time; the last one after the end.
    pub(crate) fn phase_at(&self, plan_ns: u64) -> u32 {
        let index = self.legs.partition_point(|leg| leg.end_ns <= plan_ns);
        u32::try_from(index.min(self.legs.len().saturating_sub(1))).unwrap_or(0)
    }

    /// Offered rate of the whole schedule at a plan time, requests a second, and whether it is paused. A trace has the mean
    /// rate of its phase.
    pub(crate) fn rate_at(&self, plan_ns: u64) -> (f64, bool) {
        let mut rate = self.taken.rate;
        let mut paused = self.taken.paused;
        for change in self.changes.iter().take_while(|c| c.from_ns <= plan_ns) {
            rate = change.rate.unwrap_or(rate);
            paused = change.pause.unwrap_or(paused);
        }
        let leg = self.legs.get(self.phase_at(plan_ns) as usize).filter(|leg| plan_ns < leg.end_ns);
        let rate = match (leg, rate) {
            (None, _) => 0.0,
            (Some(_), _) if paused => 0.0,
            (Some(_), Some(rate)) => rate,
            (Some(leg), None) => leg.rate_at(plan_ns),
        };
        (rate, paused)
    }

    fn look_ahead(&mut self) {
        let mut cursor = self.searched.take().unwrap_or_else(|| self.taken.clone());
        self.next = None;
        for _ in 0..MOST_PASSED {
            let Some((k, intended_ns)) = self.advance(&mut cursor).filter(|(k, _)| *k < self.limit) else {
                self.known = true;
                return;
            };
            if cursor.owns(k) && intended_ns >= self.joins_at_ns {
                self.next = Some((self.arrival(&cursor, k, intended_ns), cursor));
                self.known = true;
                return;
            }
        }
        self.searched = Some(cursor);
    }

    /// The next arrival of the whole schedule, unless this share owns none of what is left.
    fn advance(&self, cursor: &mut Cursor) -> Option<(u64, u64)> {
        let may_own = cursor.owns_any() || self.changes.iter().skip(cursor.changes_done).any(|c| c.share.is_some());
        may_own.then(|| cursor.advance(&self.legs, &self.changes, self.poisson)).flatten()
    }

    /// The request of number `k` when a connection, not the schedule, decides that it is sent at `now_ns`.
    pub(crate) fn arrival_at(&self, k: u64, now_ns: u64) -> Arrival {
        Arrival { phase: self.phase_at(now_ns), ..self.arrival(&self.taken, k, now_ns) }
    }

    /// Operation and key depend on the seed and the number alone, so they are the same whichever worker sends it.
    fn arrival(&self, cursor: &Cursor, k: u64, intended_ns: u64) -> Arrival {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed ^ k.wrapping_add(1).wrapping_mul(GOLDEN));
        let operation = cursor.mix.pick(unit(rng.next_u64()));
        Arrival { k, intended_ns, phase: cursor.phase_index(), operation, draw: rng.next_u64() }
    }
}

/// A number in [0, 1) from 64 random bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
