//! Expectations: `p99(step) < 250ms`, `errors < 0.1%`, `recovery(step) < 60s`, `lost = 0`. Their text and their parsed form;
//! judging them against a model is in `judge`.

use crate::unit::{Percent, Span};

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// What is measured.
    pub measure: Measure,
    /// The phase it is measured in; None: all measured phases together.
    pub phase: Option<String>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub bound: Bound,
}

/// What an expectation measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// A quantile of the response time (from the intended time), 0..1: `p50`, `p99`, `p99.9`.
    Response(f64),
    /// The largest response time: `max`.
    Max,
    /// A quantile of the send lag, 0..1: `send-lag` is its p99.
    SendLag(f64),
    /// Failed and dropped over offered: `errors`.
    Errors,
    /// Completed over offered: `completed`.
    Completed,
    /// Time from the phase's start until the latency limit holds again and goes on to hold: `recovery`.
    Recovery,
    /// Acknowledged and not applied: `lost`.
    Lost,
    /// Most ready replicas of the autoscaled workload (the target unless only another is autoscaled): `replicas`.
    Replicas,
    /// Most messages waiting: `backlog`.
    Backlog,
    /// Cache hits over look-ups: `hit-ratio`.
    HitRatio,
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
}

/// What a measure is compared with; which kind fits is settled by the measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// For response time, send lag and recovery.
    Time(Span),
    /// For errors, completed and hit ratio.
    Share(Percent),
    /// For lost, replicas and backlog.
    Count(u64),
}
