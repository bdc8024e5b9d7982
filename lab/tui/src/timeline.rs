//! A run over time: the newest state, and the state at any instant before, folded from its history. Nothing is kept that the history
//! cannot give again: keyframes only shorten the way to an instant.

mod keyframes;
mod memory;

use std::ops::ControlFlow;

use lab_core::event::Event;
use lab_core::model::Model;
use lab_core::narrate::narrate;
use lab_core::unit::RunTime;

use crate::pane::News;
use keyframes::{Folded, Keyframes};
pub use memory::MemoryHistory;

/// Sentences kept at most.
const MOST_NEWS: usize = 20_000;
/// Sentences that go at once when there are too many, so that not every further one moves all.
const NEWS_THAT_GO: usize = 1_000;
/// What keyframes may take, bytes by [`Model::heap_bytes`].
const BUDGET: usize = 24 << 20;

/// Where the next event of a history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Events before it.
    pub events: u64,
    /// Whatever the history finds it by: an offset in a file, an index.
    pub offset: u64,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the run's events cannot be read")]
pub struct HistoryError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where a run's events come from: a journal on disk, also while it is being written, or memory.
pub trait History: Send {
    /// Passes on the events from `from` on, in order, each with the place after it, until there are no more for now or `each` breaks.
    ///
    /// # Errors
    /// It cannot be read, or what is there is not a journal.
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError>;
}

/// A run as it was known at an instant, beside all that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// All events.
    pub whole: &'a Model,
    /// The events that had arrived.
    pub model: &'a Model,
    /// When the newest of them had.
    pub arrived: RunTime,
    /// What had happened, in order of arrival.
    pub news: &'a [News],
    /// Sentences before those that are no longer kept.
    pub passed: u64,
}

/// A run over time.
pub struct Timeline {
    history: Box<dyn History>,
    newest: Folded,
    /// The model of the instant that was asked for last.
    moving: Option<Folded>,
    keyframes: Keyframes,
    news: Vec<News>,
    passed: u64,
}

impl Timeline {
    /// Of a history of which nothing is read yet.
    pub fn new(history: Box<dyn History>) -> Self {
        Self::within(history, BUDGET)
    }

    /// As [`Self::new`], with keyframes of at most `budget` bytes.
    pub fn within(history: Box<dyn History>, budget: usize) -> Self {
        Self {
            history,
            newest: Folded::default(),
            moving: None,
            keyframes: Keyframes::new(budget),
            news: Vec::new(),
            passed: 0,
        }
    }

    /// Takes in what is new, at most so many events. True when there was any.
    ///
    /// # Errors
    /// See [`History::read`]; what was read before stays.
    pub fn read(&mut self, at_most: usize) -> Result<bool, HistoryError> {
        let before = self.newest.place.events;
        let Self { history, newest, keyframes, news, passed, .. } = self;
        let mut left = at_most;
        if left > 0 {
            history.read(newest.place, &mut |event, place| {
                tell(news, passed, &event);
                newest.fold(&event, place);
                keyframes.offer(newest);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Ok(self.newest.place.events > before)
    }

    /// Events that were read.
    pub fn events(&self) -> u64 {
        self.newest.place.events
    }

    /// When the newest event had arrived; 0 before the first.
    pub fn end(&self) -> RunTime {
        self.newest.arrived
    }

    /// True when the last event of the run was read: no more will come.
    pub fn over(&self) -> bool {
        self.newest.model.ended.is_some()
    }

    /// The model of all events that were read.
    pub fn newest(&self) -> &Model {
        &self.newest.model
    }

    /// The run as it was known at an instant.
    ///
    /// # Errors
    /// See [`History::read`].
    pub fn at(&mut self, t: RunTime) -> Result<Known<'_>, HistoryError> {
        if t < self.newest.arrived {
            self.move_to(t)?;
        }
        let then = self.moving.as_ref().filter(|_| t < self.newest.arrived).unwrap_or(&self.newest);
        let (whole, news) = (&self.newest.model, self.news(t));
        Ok(Known { whole, model: &then.model, arrived: then.arrived, news, passed: self.passed })
    }

    /// What had happened up to an instant, in order of arrival.
    pub fn news(&self, until: RunTime) -> &[News] {
        &self.news[..self.news.partition_point(|news| news.arrived <= until)]
    }

    /// Sentences that are no longer kept, the oldest ones.
    pub fn news_passed(&self) -> u64 {
        self.passed
    }

    /// Bytes that keyframes take, by [`Model::heap_bytes`].
    pub fn keyframe_bytes(&self) -> usize {
        self.keyframes.bytes()
    }

    /// Brings the moving model to an instant before the newest event: from where it is, or from the last keyframe before.
    fn move_to(&mut self, t: RunTime) -> Result<(), HistoryError> {
        let usable = self.moving.take().filter(|moving| moving.arrived <= t);
        let start =
            self.keyframes.before(t).filter(|k| usable.as_ref().is_none_or(|m| m.place.events < k.place.events));
        let mut moving = start.cloned().or(usable).unwrap_or_default();
        let end = self.newest.place.events;
        if moving.place.events < end {
            self.history.read(moving.place, &mut |event, place| {
                if event.arrived() > t || place.events > end {
                    return ControlFlow::Break(());
                }
                moving.fold(&event, place);
                ControlFlow::Continue(())
            })?;
        }
        self.moving = Some(moving);
        Ok(())
    }
}

/// Sentences that were no longer kept when so many had been told.
pub(crate) fn passed_of(told: u64) -> u64 {
    let go = NEWS_THAT_GO as u64;
    told.saturating_sub(MOST_NEWS as u64).div_ceil(go) * go
}

fn tell(news: &mut Vec<News>, passed: &mut u64, event: &Event) {
    let Some(text) = narrate(event) else { return };
    if news.len() >= MOST_NEWS {
        news.drain(..NEWS_THAT_GO);
        *passed += NEWS_THAT_GO as u64;
    }
    // In a journal arrivals never fall; one that contradicts itself is still told in its order.
    let arrived = news.last().map_or(RunTime(0), |n| n.arrived).max(event.arrived());
    news.push(News { at: event.t, arrived, text });
}

#[cfg(test)]
mod tests;
