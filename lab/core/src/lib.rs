//! The vocabulary and arithmetic of `lab`: specs, plans, events, histograms, series, the model, statistics, verdicts.
//! Pure: no I/O, no clock, no task; time and randomness are handed in.

pub mod control;
pub mod event;
pub mod expect;
pub mod histogram;
pub mod ledger;
pub mod spec;
pub mod unit;
