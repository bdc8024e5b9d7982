//! The vocabulary and arithmetic of `lab`: specs, plans, events, histograms, series, the model, statistics, verdicts.
//! Pure: no I/O, no clock, no task; time and randomness are handed in.

pub mod aftermath;
pub mod answer;
pub mod around;
pub mod cache;
pub mod compare;
pub mod control;
pub mod curve;
pub mod deliveries;
pub mod distribution;
pub mod episode;
pub mod event;
pub mod expect;
pub mod fault;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod histogram;
pub mod journal;
pub mod judge;
pub mod ledger;
pub mod model;
pub mod narrate;
pub mod nearest;
pub mod numbers;
pub mod parity;
pub mod plan;
pub mod progress;
pub mod seed;
pub mod series;
pub mod spec;
pub mod stats;
pub mod summary;
pub mod templates;
pub mod unit;
pub mod validity;
pub mod words;
