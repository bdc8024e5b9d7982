//! The last scrapes of one service's replicas, and what they say together of the window before the newest of them. Pure: time is handed in.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::buckets::Buckets;
use crate::page::Page;

/// The scrapes that are kept.
#[derive(Debug)]
pub(crate) struct Window {
    length: Duration,
    replicas: BTreeMap<SocketAddr, VecDeque<Scrape>>,
}

#[derive(Debug)]
struct Scrape {
    at: Instant,
    page: Page,
}

/// What all replicas together did in the window, and how they are at its end.
#[derive(Debug, PartialEq)]
pub(crate) struct Merged {
    /// The newest scrape.
    pub(crate) at: Instant,
    /// How much of the time before it the scrapes tell of.
    pub(crate) covered: Duration,
    histograms: BTreeMap<&'static str, Buckets>,
    counted: BTreeMap<&'static str, f64>,
    levels: BTreeMap<&'static str, Level>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Level {
    sum: f64,
    highest: f64,
}

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, replicas: BTreeMap::new() }
    }

    /// Forgets replicas that are gone.
    pub(crate) fn keep(&mut self, present: &[SocketAddr]) {
        self.replicas.retain(|replica, _| present.contains(replica));
    }

    /// Adds a scrape, newer than those of this replica before.
    pub(crate) fn push(&mut self, replica: SocketAddr, at: Instant, page: Page) {
        let scrapes = self.replicas.entry(replica).or_default();
        scrapes.push_back(Scrape { at, page });
        // The last one before the window stays: the first count within is told from it.
        while scrapes.get(1).is_some_and(|second| at.saturating_duration_since(second.at) >= self.length) {
            scrapes.pop_front();
        }
    }

    /// The window that ends with the newest scrape; None before the first. A replica that did not answer in it says nothing.
    pub(crate) fn merged(&self) -> Option<Merged> {
        let at = self.replicas.values().filter_map(|scrapes| scrapes.back()).map(|newest| newest.at).max()?;
        let mut merged = Merged::at(at);
        let age = |scrape: &Scrape| at.saturating_duration_since(scrape.at);
        for scrapes in self.replicas.values() {
            let pairs = scrapes.iter().zip(scrapes.iter().skip(1));
            // What came in a gap of two windows may be as old as the gap is long.
            for (earlier, later) in
                pairs.filter(|(earlier, later)| age(later) < self.length && age(earlier) < 2 * self.length)
            {
                merged.covered = merged.covered.max(age(earlier));
                merged.count(&earlier.page, &later.page);
            }
            if let Some(newest) = scrapes.back().filter(|newest| age(newest) < self.length) {
                merged.level(&newest.page);
            }
        }
        Some(merged)
    }
}

impl Merged {
    fn at(at: Instant) -> Self {
        let (histograms, counted, levels) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { at, covered: Duration::ZERO, histograms, counted, levels }
    }

    fn count(&mut self, earlier: &Page, later: &Page) {
        let nothing = Buckets::default();
        for (&name, buckets) in &later.histograms {
            let before = earlier.histograms.get(name).unwrap_or(&nothing);
            self.histograms.entry(name).or_default().add(&buckets.since(before));
        }
        for (&name, number) in &later.numbers {
            let before = earlier.numbers.get(name).copied().unwrap_or(0.0);
            // As with buckets: what fell began anew.
            let new = if *number < before { *number } else { number - before };
            *self.counted.entry(name).or_default() += new;
        }
    }

    fn level(&mut self, page: &Page) {
        for (&name, number) in &page.numbers {
            let level = self.levels.entry(name).or_insert(Level { sum: 0.0, highest: f64::NEG_INFINITY });
            level.sum += number;
            level.highest = level.highest.max(*number);
        }
    }

    /// What was measured in the window; None when no replica measures it.
    pub(crate) fn buckets(&self, name: &str) -> Option<&Buckets> {
        self.histograms.get(name)
    }

    /// How much a counter rose in the window, over all replicas.
    pub(crate) fn counted(&self, name: &str) -> f64 {
        self.counted.get(name).copied().unwrap_or(0.0)
    }

    /// The sum of the replicas' levels at the end; None when none has one.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        self.levels.get(name).map(|level| level.sum)
    }

    /// The highest level of any replica at the end; None when none has one.
    pub(crate) fn highest(&self, name: &str) -> Option<f64> {
        self.levels.get(name).map(|level| level.highest)
    }
}

#[cfg(test)]
mod tests;
