//! Models that were kept on the way, so that an instant can be reached without starting from the first event.

use lab_core::event::Event;
use lab_core::model::Model;
use lab_core::unit::{RunTime, Span};

use super::Place;

/// How far apart keyframes are while there is room for all.
const FIRST_SPACING: Span = Span::from_secs(30);

/// A beginning of a history, folded.
#[derive(Debug, Clone, Default)]
pub(super) struct Folded {
    /// Where the next event is.
    pub place: Place,
    /// The latest arrival of its events.
    pub arrived: RunTime,
    /// The model of its events.
    pub model: Model,
}

impl Folded {
    pub fn fold(&mut self, event: &Event, after: Place) {
        self.model.apply(event);
        self.place = after;
        self.arrived = self.arrived.max(event.arrived());
    }
}

/// Keyframes in order, within a budget. When it is exceeded every second one goes and the spacing doubles.
#[derive(Debug)]
pub(super) struct Keyframes {
    frames: Vec<(Folded, usize)>,
    spacing: Span,
    next: RunTime,
    bytes: usize,
    budget: usize,
}

impl Keyframes {
    pub fn new(budget: usize) -> Self {
        let next = RunTime(FIRST_SPACING.0);
        Self { frames: Vec::new(), spacing: FIRST_SPACING, next, bytes: 0, budget }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a model when the last kept one is long enough ago.
    pub fn offer(&mut self, folded: &Folded) {
        if folded.arrived < self.next {
            return;
        }
        let bytes = size_of::<Folded>() + folded.model.heap_bytes();
        self.frames.push((folded.clone(), bytes));
        self.bytes += bytes;
        while self.bytes > self.budget && !self.frames.is_empty() {
            self.thin();
        }
        self.next = folded.arrived.plus(self.spacing);
    }

    /// The last one that knows of nothing after `t`.
    pub fn before(&self, t: RunTime) -> Option<&Folded> {
        let after = self.frames.partition_point(|(folded, _)| folded.arrived <= t);
        self.frames[..after].last().map(|(folded, _)| folded)
    }

    fn thin(&mut self) {
        let mut index = 0;
        // The newest of each pair stays, so that a single one goes.
        self.frames.retain(|_| {
            index += 1;
            index % 2 == 0
        });
        self.bytes = self.frames.iter().map(|(_, bytes)| bytes).sum();
        self.spacing = Span(self.spacing.0.saturating_mul(2));
    }
}
