//! One moment of the unit clock: where it stands in phases and changes, and how it moves to the next arrival.

use std::collections::VecDeque;

use lab_core::control::Share;
use lab_core::spec::Shape;
use rand_core::RngCore;
use rand_pcg::Pcg64Mcg;

use super::{Change, Form, Leg, Mix, unit};

const SECOND: f64 = 1e9;

/// Position in the schedule. Cheap to clone: looking ahead is done on a copy, so a change can still come before what was seen.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    leg: usize,
    /// Plan time from which the present stretch of one rate function counts, and the unit clock there.
    anchor_ns: u64,
    anchor_unit: f64,
    /// Unit clock of the next arrival that is not from a trace.
    next_unit: f64,
    next_k: u64,
    /// Next line of the present phase's trace.
    trace_line: usize,
    /// Changes passed since the cursor was last taken.
    pub(super) changes_done: usize,
    pub(super) rate: Option<f64>,
    pub(super) paused: bool,
    share: Share,
    pub(super) mix: Mix,
    rng: Pcg64Mcg,
}

impl Form {
    pub(super) fn of(shape: &Shape, start_ns: u64, end_ns: u64) -> Self {
        match shape {
            Shape::Constant(rate) => Self::Line { rate: rate.0, slope: 0.0 },
            Shape::Ramp { from, to } => {
                let seconds = (end_ns - start_ns) as f64 / SECOND;
                Self::Line { rate: from.0, slope: if seconds > 0.0 { (to.0 - from.0) / seconds } else { 0.0 } }
            }
            Shape::Trace { offsets, .. } => {
                Self::Trace(offsets.iter().map(|o| start_ns.saturating_add(o.0)).take_while(|t| *t < end_ns).collect())
            }
        }
    }
}

impl Leg {
    /// Cuts it off at a plan time within it; its rate until then stays as it was.
    pub(super) fn end_before(&mut self, at_ns: u64) {
        self.end_ns = at_ns;
        if let Form::Trace(times) = &mut self.shape {
            times.truncate(times.partition_point(|t| *t < at_ns));
        }
    }

    /// Moves all of it to an earlier time.
    pub(super) fn come_forward(&mut self, by_ns: u64) {
        self.start_ns -= by_ns;
        self.end_ns -= by_ns;
        if let Form::Trace(times) = &mut self.shape {
            times.iter_mut().for_each(|t| *t -= by_ns);
        }
    }

    pub(super) fn rate_at(&self, plan_ns: u64) -> f64 {
        match &self.shape {
            Form::Line { rate, slope } => rate + slope * plan_ns.saturating_sub(self.start_ns) as f64 / SECOND,
            Form::Trace(times) => times.len() as f64 * SECOND / (self.end_ns - self.start_ns).max(1) as f64,
        }
    }
}

/// How arrivals come in a stretch without boundaries.
enum Stretch<'a> {
    /// From the unit clock: rate at the anchor and its slope a second.
    Clock {
        rate: f64,
        slope: f64,
    },
    Trace(&'a [u64]),
}

impl Cursor {
    pub(super) fn new(share: Share, mix: Mix, mut rng: Pcg64Mcg, poisson: bool) -> Self {
        Self {
            leg: 0,
            anchor_ns: 0,
            anchor_unit: 0.0,
            next_unit: if poisson { exponential(&mut rng) } else { 0.0 },
            next_k: 0,
            trace_line: 0,
            changes_done: 0,
            rate: None,
            paused: false,
            share,
            mix,
            rng,
        }
    }

    pub(super) fn owns(&self, k: u64) -> bool {
        k % u64::from(self.share.count) == u64::from(self.share.index)
    }

    pub(super) fn owns_any(&self) -> bool {
        self.share.index < self.share.count
    }

    pub(super) fn phase_index(&self) -> u32 {
        u32::try_from(self.leg).unwrap_or(u32::MAX)
    }

    /// True when no number below `limit` that this share owns is left.
    pub(super) fn none_left_below(&self, limit: u64) -> bool {
        (self.next_k..limit).take(self.share.count as usize).all(|k| !self.owns(k))
    }

    /// Moves to just after the next arrival of the whole schedule: its number and plan time. None at the end of the last phase.
    pub(super) fn advance(&mut self, legs: &[Leg], changes: &VecDeque<Change>, poisson: bool) -> Option<(u64, u64)> {
        loop {
            let leg = legs.get(self.leg)?;
            let change = changes.get(self.changes_done);
            let boundary = change.map_or(leg.end_ns, |c| c.from_ns.min(leg.end_ns)).max(self.anchor_ns);
            let stretch = self.stretch(leg);
            let due = match &stretch {
                Stretch::Clock { rate, slope } => self.clock_due(*rate, *slope),
                Stretch::Trace(times) => self.trace_due(times),
            };
            if let Some(due) = due.filter(|due| *due < boundary) {
                return Some(self.pass(&stretch, due, poisson));
            }
            self.cross(&stretch, boundary, change.filter(|c| c.from_ns <= boundary), leg.end_ns);
        }
    }

    fn stretch<'a>(&self, leg: &'a Leg) -> Stretch<'a> {
        match (self.paused, self.rate, &leg.shape) {
            (true, ..) => Stretch::Clock { rate: 0.0, slope: 0.0 },
            (false, Some(rate), _) => Stretch::Clock { rate, slope: 0.0 },
            (false, None, Form::Line { slope, .. }) => {
                Stretch::Clock { rate: leg.rate_at(self.anchor_ns), slope: *slope }
            }
            (false, None, Form::Trace(times)) => Stretch::Trace(times),
        }
    }

    /// Plan time at which the unit clock reaches the next arrival; None when this rate never brings it there.
    fn clock_due(&self, rate: f64, slope: f64) -> Option<u64> {
        let missing = self.next_unit - self.anchor_unit;
        if missing <= 0.0 {
            return (rate > 0.0 || slope > 0.0).then_some(self.anchor_ns);
        }
        let root = rate.mul_add(rate, 2.0 * slope * missing);
        // The stable form of the quadratic's smaller root: no cancellation when the slope is small.
        let divisor = rate + root.max(0.0).sqrt();
        let seconds = 2.0 * missing / divisor;
        (root >= 0.0 && divisor > 0.0 && seconds < 1e9)
            .then(|| self.anchor_ns.saturating_add((seconds * SECOND).round() as u64))
    }

    fn trace_due(&mut self, times: &[u64]) -> Option<u64> {
        // Lines that fell into a pause or under another rate are over.
        while times.get(self.trace_line).is_some_and(|t| *t < self.anchor_ns) {
            self.trace_line += 1;
        }
        times.get(self.trace_line).copied()
    }

    fn pass(&mut self, stretch: &Stretch<'_>, due: u64, poisson: bool) -> (u64, u64) {
        match stretch {
            Stretch::Clock { .. } => self.next_unit += if poisson { exponential(&mut self.rng) } else { 1.0 },
            Stretch::Trace(_) => self.trace_line += 1,
        }
        self.next_k += 1;
        (self.next_k - 1, due)
    }

    /// Moves the anchor to a boundary and takes what changes there.
    fn cross(&mut self, stretch: &Stretch<'_>, boundary: u64, change: Option<&Change>, leg_end: u64) {
        if let Stretch::Clock { rate, slope } = stretch {
            let seconds = (boundary - self.anchor_ns) as f64 / SECOND;
            self.anchor_unit += (rate + slope * seconds / 2.0) * seconds;
        }
        self.anchor_ns = boundary;
        if let Some(change) = change {
            self.changes_done += 1;
            self.rate = change.rate.unwrap_or(self.rate);
            self.paused = change.pause.unwrap_or(self.paused);
            self.share = change.share.unwrap_or(self.share);
            if let Some(mix) = &change.mix {
                self.mix = mix.clone();
            }
        } else if boundary >= leg_end {
            self.leg += 1;
            self.trace_line = 0;
        }
    }
}

fn exponential(rng: &mut Pcg64Mcg) -> f64 {
    -(1.0 - unit(rng.next_u64())).ln()
}
