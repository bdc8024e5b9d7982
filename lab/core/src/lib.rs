//! The vocabulary and arithmetic of `lab`: specs, plans, events, histograms, series, the model, statistics, verdicts.
//! Pure: no I/O, no clock, no task; time and randomness are handed in.

pub mod control;
pub mod distribution;
pub mod event;
pub mod expect;
pub mod histogram;
pub mod journal;
pub mod ledger;
pub mod model;
pub mod nearest;
pub mod plan;
pub mod seed;
pub mod series;
pub mod spec;
pub mod templates;
pub mod unit;
