//! Little's law as an alarm on the measurement itself: two counts of the same thing that reach us on different ways.
//!
//! The generator integrates the number of requests *in flight* (first byte written, not yet over) over time. Seen from the requests,
//! the same integral is the sum of their times in flight. For a stretch of whole seconds of one phase:
//!
//! ```text
//! ∫ in flight dt  =  Σ service times of the requests completed in it
//!                  + Σ times in flight of those failed in it
//!                  − what those in flight at its beginning had behind them
//!                  + what those in flight at its end have behind them
//! ```
//!
//! Response times do not enter: they count from the intended time and hold the wait for a connection (`queued` in a sample), which
//! is outside the integral. Of a failed request only the time from *intended* to failure is known, so its time in flight lies
//! between 0 and that. The two terms at the edges are not known either: each of the n requests in flight at an edge has behind it, on
//! average, E[S²]/2E[S] (the age seen at a random instant). Twice that is allowed for each, and for their scatter √n times the
//! longest time, over this phase and the one before, which called for what is in flight at the first edge: a single slow request at an edge weighs much in a phase that has few.

use super::{Check, Validity, residual};
use crate::distribution::Distribution;
use crate::model::{Cell, Phase, Trial};
use crate::series::Stretch;
use crate::unit::Span;
use crate::words;

const SUSPECT: f64 = 0.03;
const INVALID: f64 = 0.10;

/// Checks the law over a phase; None when no second of it is whole.
pub(super) fn law(trial: &Trial, phase: &Phase) -> Option<Check> {
    let (from, to) = phase.window(trial.latest)?;
    let seconds = trial.cells.between(from, to);
    let whole: Vec<&Stretch<Cell>> =
        seconds.iter().filter(|s| s.value.complete() && s.to <= to.plus(Span::from_millis(1))).collect();
    let first = whole.first()?;
    let integral: f64 = whole.iter().map(|s| s.value.in_flight_ns as f64).sum();
    let service: f64 = whole.iter().map(|s| s.value.service_ns).sum();
    let failures: f64 = whole.iter().map(|s| s.value.failure_ns).sum();
    let before = trial.cells.before(crate::unit::RunTime(first.from.0.saturating_sub(1)));
    let cut = edges(&whole, before);
    let edges = cut * residual_before(trial, phase) + cut.sqrt() * longest_before(trial, phase);
    let scale = integral.max(service).max(1.0);
    let off = if integral < service { service - integral } else { (integral - service - failures).max(0.0) };
    let beyond = (off - edges).max(0.0) / scale;
    let grade = match beyond {
        b if b > INVALID => Validity::Invalid,
        b if b > SUSPECT => Validity::Suspect,
        _ => Validity::Valid,
    };
    let reason = match grade {
        Validity::Valid => "requests in flight and their times agree",
        _ => "requests in flight and their times contradict each other: some requests were not timed, or not counted",
    };
    let mean = |sum: f64| words::digits(sum / whole.iter().map(|s| s.to.since(s.from).0 as f64).sum::<f64>().max(1.0));
    Some(Check {
        name: "Little's law",
        subject: Some(phase.name.clone()),
        measured: format!(
            "{} in flight on average, {} by service times, {} apart beyond what edges explain",
            mean(integral),
            mean(service),
            words::share(beyond)
        ),
        bounds: "suspect above 3 %, invalid above 10 %",
        grade,
        reason: reason.to_owned(),
    })
}

/// This phase and the one before it: what is in flight at the first edge was called for by that one.
fn around<'a>(trial: &'a Trial, phase: &'a Phase) -> impl Iterator<Item = &'a Phase> {
    let earlier = trial.phases.values().filter(|p| p.started < phase.started);
    [phase].into_iter().chain(earlier.max_by_key(|p| p.started))
}

/// Times of requests that may be in flight at an edge. Those that go on to fail are not among the service times, and a target that
/// hangs has little else in flight.
fn times<'a>(trial: &'a Trial, phase: &'a Phase) -> impl Iterator<Item = &'a Distribution> {
    around(trial, phase).flat_map(|p| [&p.service, &p.failures])
}

fn residual_before(trial: &Trial, phase: &Phase) -> f64 {
    times(trial, phase).map(residual).fold(0.0, f64::max)
}

fn longest_before(trial: &Trial, phase: &Phase) -> f64 {
    times(trial, phase).filter_map(Distribution::max).map(|longest| longest.0 as f64).fold(0.0, f64::max)
}

/// Requests in flight at the edges of every unbroken row of seconds.
fn edges(whole: &[&Stretch<Cell>], before: Option<&Stretch<Cell>>) -> f64 {
    let mean = |s: &Stretch<Cell>| s.value.in_flight_ns as f64 / (s.to.since(s.from).0 as f64).max(1.0);
    let mut sum = 0.0;
    let mut previous = before;
    for (i, second) in whole.iter().enumerate() {
        let joined = previous.filter(|p| second.from.since(p.to) < Span::from_millis(100));
        // What was in flight at an unknown beginning is taken as the mean of the second.
        match (joined, previous) {
            (Some(before), _) if i == 0 => sum += before.value.in_flight as f64,
            (None, Some(row)) if i > 0 => sum += row.value.in_flight as f64 + mean(second),
            (None, _) => sum += mean(second),
            (Some(_), _) => {}
        }
        previous = Some(second);
    }
    sum + whole.last().map_or(0.0, |s| s.value.in_flight as f64)
}
