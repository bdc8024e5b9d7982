//! Admission: at most so many requests in work at once, per service; further ones are turned away at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests in work.
#[derive(Debug)]
pub(crate) struct Admission {
    limit: usize,
    in_flight: AtomicUsize,
}

/// A place among the requests in work; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a AtomicUsize);

impl Admission {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, in_flight: AtomicUsize::new(0) }
    }

    /// A place, or None when all are taken. Never waits.
    pub(crate) fn enter(&self) -> Option<Place<'_>> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.in_flight);
        (before < self.limit).then_some(place)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed).min(self.limit)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = Admission::new(2);
        let (first, second) = (admission.enter(), admission.enter());
        assert!(first.is_some() && second.is_some() && admission.enter().is_none());
        assert_eq!(admission.in_flight(), 2);
        drop(first);
        assert!(admission.enter().is_some());
        drop(second);
        assert_eq!(admission.in_flight(), 0);
    }
}
