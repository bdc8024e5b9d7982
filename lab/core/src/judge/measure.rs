//! What a trial measured of each measure, as the interval in which the true value lies. A trial that was cut bounds it from the side
//! that can no longer change.

use crate::deliveries::Conserved;
use crate::distribution::{Distribution, rank};
use crate::episode::{Recovery, STAYING, recovery};
use crate::expect::{Expectation, Measure};
use crate::ledger::Ledger;
use crate::model::{Delivered, Model, Phase, Trial, Workload};
use crate::spec::Spec;
use crate::unit::{RunTime, Span};
use crate::words;

/// Requests that must lie beyond a quantile for it to be printed.
const MOST_EXTREME: f64 = 10.0;
/// How many times the lower end of a bucket its upper end is, at most, on the pages that the way of messages is read from.
const DELIVERY_BUCKET: f64 = 1.25;

/// A measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Lowest value it can have: nanoseconds, share or number.
    pub low: f64,
    /// Highest value it can have.
    pub high: f64,
    /// It, for people.
    pub text: String,
    /// What it rests on, or what is missing.
    pub why: String,
}

impl Measured {
    fn exactly(measure: Measure, value: f64, why: String) -> Self {
        Self { low: value, high: value, text: text(measure, value), why }
    }

    fn unknown(why: impl Into<String>) -> Self {
        Self { low: 0.0, high: f64::INFINITY, text: "not known".to_owned(), why: why.into() }
    }

    fn at_least(measure: Measure, low: f64, why: String) -> Self {
        let text = if low > 0.0 { format!("at least {}", text(measure, low)) } else { "not known".to_owned() };
        Self { low, high: f64::INFINITY, text, why }
    }
}

/// A value of a measure with its unit.
pub fn text(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Response(_) | Measure::Max | Measure::SendLag(_) | Measure::Recovery | Measure::Delivery(_) => {
            words::duration(Span(value as u64))
        }
        Measure::Errors | Measure::Completed | Measure::HitRatio => words::share(value),
        Measure::Lost | Measure::Unexpected | Measure::Duplicates | Measure::Replicas | Measure::Backlog => {
            words::digits(value)
        }
    }
}

/// The phases an expectation is about.
struct Scope<'a> {
    phases: Vec<(u32, &'a Phase)>,
    /// All of them are over and the trial went on to its end.
    complete: bool,
    /// Requests that the phases were to offer, where the spec says so.
    planned: Option<f64>,
    from: RunTime,
    until: RunTime,
}

/// Measures what an expectation asks for.
pub fn measure(model: &Model, trial: &Trial, expectation: &Expectation) -> Measured {
    let asked = expectation.measure;
    if let Measure::Lost | Measure::Unexpected | Measure::Duplicates = asked {
        return deliveries(trial, asked);
    }
    let Some(scope) = scope(model, trial, expectation.phase.as_deref()) else {
        let name = expectation.phase.as_deref().unwrap_or("a measured phase");
        return Measured::unknown(format!("{name} has not begun"));
    };
    match asked {
        Measure::Response(q) => response(asked, &scope, q, expectation),
        Measure::Max => max(asked, &scope),
        Measure::SendLag(q) => send_lag(asked, &scope, q),
        Measure::Errors => share(asked, &scope, |l| l.failed + l.dropped),
        Measure::Completed => share(asked, &scope, |l| l.completed),
        Measure::Recovery => recovered(asked, trial, &scope),
        Measure::Replicas => replicas(asked, model.spec(trial), trial, &scope),
        Measure::Backlog => backlog(asked, trial, &scope),
        Measure::HitRatio => hit_ratio(asked, trial, &scope),
        Measure::Delivery(q) => delivery(asked, trial, &scope, (q, expectation.phase.is_none())),
        Measure::Lost | Measure::Unexpected | Measure::Duplicates => deliveries(trial, asked),
    }
}

fn scope<'a>(model: &Model, trial: &'a Trial, phase: Option<&str>) -> Option<Scope<'a>> {
    let load = model.spec(trial).and_then(|spec| spec.load.as_ref());
    let wanted = |index: u32, name: &str| phase.map_or_else(|| model.measured(trial, index), |wanted| wanted == name);
    let phases: Vec<(u32, &Phase)> =
        trial.phases.iter().filter(|(i, p)| wanted(**i, &p.name)).map(|(i, p)| (*i, p)).collect();
    let planned = load.filter(|_| trial.changes.is_empty()).map(|load| {
        let mine = load.phases.iter().enumerate().filter(|(i, p)| wanted(*i as u32, &p.name));
        mine.map(|(_, p)| p.rate.planned(p.length)).sum()
    });
    let expected = load.map_or(phases.len(), |load| {
        load.phases.iter().enumerate().filter(|(i, p)| wanted(*i as u32, &p.name)).count()
    });
    let from = phases.iter().filter_map(|(_, p)| p.started).min()?;
    let until = phases.iter().filter_map(|(_, p)| p.window(trial.latest)).map(|(_, to)| to).max()?;
    let over = phases.len() >= expected && phases.iter().all(|(_, p)| p.ended.is_some());
    Some(Scope { complete: over && trial.complete(), phases, planned, from, until })
}

impl Scope<'_> {
    fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        self.phases.iter().for_each(|(_, p)| sum += p.ledger());
        sum
    }

    fn merged(&self, which: impl Fn(&Phase) -> &Distribution) -> Distribution {
        let mut sum = Distribution::default();
        self.phases.iter().for_each(|(_, p)| sum.merge(which(p)));
        sum
    }

    /// Requests in all, once it is over.
    fn total(&self) -> f64 {
        let offered = self.ledger().offered as f64;
        if self.complete { offered } else { offered.max(self.planned.unwrap_or(f64::INFINITY)) }
    }
}

const CUT: &str = "the trial has not come to its end";

/// A request without a good answer took longer than any that has one: otherwise a target that fails its slow requests would look fast.
fn response(asked: Measure, scope: &Scope, q: f64, expectation: &Expectation) -> Measured {
    let ledger = scope.ledger();
    let response = scope.merged(|p| &p.response);
    if !scope.complete {
        let beyond = match expectation.bound {
            crate::expect::Bound::Time(bound) => {
                ledger.completed.saturating_sub(response.count_at_or_below(bound)) + ledger.failed + ledger.dropped
            }
            _ => 0,
        };
        return match expectation.bound {
            crate::expect::Bound::Time(bound) if beyond as f64 > (1.0 - q) * scope.total() => Measured::at_least(
                asked,
                bound.0 as f64 + 1.0,
                format!("{} requests beyond it already", words::count(beyond)),
            ),
            _ => Measured::unknown(CUT),
        };
    }
    let n = ledger.offered;
    if n as f64 * (1.0 - q) < MOST_EXTREME {
        let needed = (MOST_EXTREME / (1.0 - q) - 1e-6).ceil() as u64;
        return Measured::unknown(format!(
            "{} are too few, it takes {}",
            words::plural(n, "request"),
            words::count(needed)
        ));
    }
    let bad = n.saturating_sub(ledger.completed);
    match response.at_rank(rank(q, n)) {
        Some(value) if rank(q, n) <= response.count() => {
            let without = if bad > 0 {
                format!(", {} without a good answer counted as slowest", words::count(bad))
            } else {
                String::new()
            };
            Measured::exactly(asked, value.0 as f64, format!("of {}{without}", words::plural(n, "request")))
        }
        _ => Measured {
            low: f64::INFINITY,
            high: f64::INFINITY,
            text: "no such time".to_owned(),
            why: format!(
                "{} of {} had no good answer",
                words::share(bad as f64 / n as f64),
                words::plural(n, "request")
            ),
        },
    }
}

fn max(asked: Measure, scope: &Scope) -> Measured {
    let mut all = scope.merged(|p| &p.response);
    all.merge(&scope.merged(|p| &p.failures));
    let ledger = scope.ledger();
    let largest = all.max().map_or(0.0, |m| m.0 as f64);
    if scope.complete && ledger.dropped + ledger.unfinished == 0 && !all.is_empty() {
        return Measured::exactly(asked, largest, format!("of {}", words::plural(all.count(), "request")));
    }
    let never = ledger.dropped + ledger.unfinished;
    let why = if scope.complete {
        format!("{} never got an answer", words::plural(never, "request"))
    } else {
        CUT.to_owned()
    };
    Measured::at_least(asked, largest, why)
}

fn send_lag(asked: Measure, scope: &Scope, q: f64) -> Measured {
    let lag = scope.merged(|p| &p.send_lag);
    let n = lag.count();
    match lag.quantile(q) {
        _ if !scope.complete => Measured::unknown(CUT),
        Some(value) if n as f64 * (1.0 - q) >= MOST_EXTREME => {
            Measured::exactly(asked, value.0 as f64, format!("of {}", words::plural(n, "started request")))
        }
        _ => Measured::unknown(format!("{} are too few", words::plural(n, "started request"))),
    }
}

/// A share of what was offered: exact at the end; before it, what is counted cannot become less.
fn share(asked: Measure, scope: &Scope, counted: impl Fn(&Ledger) -> u64) -> Measured {
    let ledger = scope.ledger();
    let counted = counted(&ledger);
    let of = format!("{} of {} requests", words::count(counted), words::count(ledger.offered));
    if scope.complete {
        if ledger.offered == 0 {
            return Measured::unknown("nothing was offered");
        }
        return Measured::exactly(asked, counted as f64 / ledger.offered as f64, of);
    }
    let low = counted as f64 / scope.total().max(1.0);
    let others = if asked == Measure::Completed { ledger.failed + ledger.dropped } else { ledger.completed };
    let high = 1.0 - others as f64 / scope.total().max(1.0);
    let text = format!("{} so far", text(asked, counted as f64 / (ledger.offered as f64).max(1.0)));
    Measured { low, high: high.max(low), text, why: format!("{of}; {CUT}") }
}

fn recovered(asked: Measure, trial: &Trial, scope: &Scope) -> Measured {
    let limit = scope.phases.first().and_then(|(index, _)| trial.limit(*index));
    let Some((q, limit)) = limit else {
        return Measured::unknown("no expectation limits the response time, so there is nothing to recover to");
    };
    let limit = words::duration(limit);
    let staying = format!("{limit} met for {STAYING} s in a row");
    match recovery(trial, scope.from, RunTime(u64::MAX), q) {
        Recovery::At(at) => Measured {
            why: format!("{staying}, known to a second"),
            ..Measured::exactly(asked, at.since(scope.from).0 as f64, String::new())
        },
        Recovery::Held if scope.complete => Measured::exactly(asked, 0.0, format!("{limit} held throughout")),
        Recovery::Held => Measured::unknown(CUT),
        Recovery::NotBefore(at) => Measured::at_least(
            asked,
            at.since(scope.from).0 as f64,
            format!("{limit} not met for {STAYING} s in a row by the end"),
        ),
        Recovery::Unknown => Measured::unknown("no samples"),
    }
}

fn replicas(asked: Measure, spec: Option<&Spec>, trial: &Trial, scope: &Scope) -> Measured {
    let Some(name) = spec.and_then(followed) else { return Measured::unknown("no workload is loaded or autoscaled") };
    let most = trial.workloads.get(name).and_then(|w| w.most_ready(scope.from, scope.until));
    match most {
        Some(most) if scope.complete => {
            Measured::exactly(asked, f64::from(most), format!("most ready replicas of {name}"))
        }
        Some(most) => Measured::at_least(asked, f64::from(most), CUT.to_owned()),
        None => Measured::unknown(format!("no replica of {name} was seen")),
    }
}

/// The autoscaled workload: the target, unless only another is autoscaled.
pub fn followed(spec: &Spec) -> Option<&'static str> {
    let is_scaled = |name: &&str| spec.services.is_scaled(name);
    let target = spec.load.as_ref().map(|load| load.target.name());
    target.filter(is_scaled).or_else(|| spec.services.names().find(is_scaled)).or(target)
}

fn backlog(asked: Measure, trial: &Trial, scope: &Scope) -> Measured {
    let peaks = trial.workloads.values().filter_map(|w| {
        let gauge = w.gauges.get("queue-depth")?;
        let start = gauge.before(scope.from).map(|s| s.value.0);
        start.into_iter().chain(gauge.between(scope.from, scope.until).iter().map(|s| s.value.0)).reduce(f64::max)
    });
    match peaks.reduce(f64::max) {
        Some(peak) if scope.complete => Measured::exactly(asked, peak, "largest queue depth that was read".to_owned()),
        Some(peak) => Measured::at_least(asked, peak, CUT.to_owned()),
        None => Measured::unknown("no queue depth was read"),
    }
}

fn hit_ratio(asked: Measure, trial: &Trial, scope: &Scope) -> Measured {
    let grown = |workload: &Workload, name: &str| {
        let gauge = workload.gauges.get(name)?;
        let start = gauge.before(scope.from).or_else(|| gauge.stretches().first())?.value.0;
        Some(gauge.before(scope.until)?.value.0 - start)
    };
    let mut counts = (0.0, 0.0);
    for workload in trial.workloads.values() {
        if let (Some(hits), Some(misses)) = (grown(workload, "cache-hits"), grown(workload, "cache-misses")) {
            if hits < 0.0 || misses < 0.0 {
                return Measured::unknown("a counter fell, because a replica with its cache went away");
            }
            counts = (counts.0 + hits, counts.1 + misses);
        }
    }
    let lookups = counts.0 + counts.1;
    match lookups {
        _ if !scope.complete => Measured::unknown(CUT),
        0.0 => Measured::unknown("no cache look-up was counted"),
        _ => Measured::exactly(asked, counts.0 / lookups, format!("of {} look-ups", words::digits(lookups))),
    }
}

/// Of the messages that came to their place while the phases lasted; of whole trials, also of those that came later.
fn delivery(asked: Measure, trial: &Trial, scope: &Scope, (q, whole): (f64, bool)) -> Measured {
    let until = if whole { RunTime(u64::MAX) } else { scope.until };
    let mut ways = Distribution::default();
    let stretches = trial.workloads.values().flat_map(|w| w.end_to_end.between(scope.from, until));
    stretches.for_each(|stretch| ways.merge(&stretch.value));
    let n = ways.count();
    let value = ways.quantile(q).filter(|_| n as f64 * (1.0 - q) >= MOST_EXTREME - 1e-6);
    match value {
        _ if !scope.complete => Measured::unknown(CUT),
        Some(value) => {
            let high = value.0 as f64;
            let why = format!("of {} that came to their place, by buckets", words::plural(n, "message"));
            Measured { low: high / DELIVERY_BUCKET, ..Measured::exactly(asked, high, why) }
        }
        None => Measured::unknown(format!("{} are too few", words::plural(n, "delivered message"))),
    }
}

/// From the delivery ledger, number by number.
fn deliveries(trial: &Trial, asked: Measure) -> Measured {
    let ledgers: Vec<&Conserved> = trial.workloads.values().flat_map(|w| &w.conserved).collect();
    if ledgers.is_empty() {
        return counted(trial, asked);
    }
    let mut low = 0_u64;
    let mut high = Some(0_u64);
    for ledger in &ledgers {
        let (least, most) = match asked {
            Measure::Lost => ledger.lost(),
            Measure::Unexpected => (ledger.unexpected().0, Some(ledger.unexpected().1)),
            _ => (ledger.compared.duplicated.count, Some(ledger.compared.duplicated.count)),
        };
        low = low.saturating_add(least);
        high = high.zip(most).map(|(sum, most)| sum.saturating_add(most));
    }
    let sum = |of: fn(&Conserved) -> u64| words::count(ledgers.iter().map(|l| of(l)).fold(0, u64::saturating_add));
    let mut why = format!(
        "{} acknowledged, {} of unknown fate, {} found",
        sum(|l| l.acknowledged),
        sum(|l| l.indeterminate),
        sum(|l| l.compared.found)
    );
    if ledgers.iter().any(|l| !l.drained) {
        why.push_str("; the queue was not seen empty");
    }
    if ledgers.iter().any(|l| l.untold > 0) {
        why.push_str("; fates are missing with the samples that did not come");
    }
    let dead = ledgers.iter().filter_map(|l| l.dead).fold(0, u64::saturating_add);
    if dead > 0 && asked == Measure::Lost {
        why.push_str(&format!("; {} dead letters", words::count(dead)));
    }
    match high {
        None => Measured { why, ..Measured::at_least(asked, low as f64, String::new()) },
        Some(high) if high == low => Measured::exactly(asked, low as f64, why),
        Some(high) => {
            let text = format!("{} to {}", words::count(low), words::count(high));
            Measured { low: low as f64, high: high as f64, text, why }
        }
    }
}

/// From counts alone, as older journals have them: acknowledged and not applied. Requests of unknown fate may be among the applied
/// ones, so they widen the interval.
fn counted(trial: &Trial, asked: Measure) -> Measured {
    let deliveries: Vec<&Delivered> = trial.workloads.values().flat_map(|w| &w.delivered).collect();
    if deliveries.is_empty() {
        let why = if trial.complete() { "there is no delivery ledger" } else { CUT };
        return Measured::unknown(why);
    }
    if asked != Measure::Lost {
        return Measured::unknown("rows were counted, not told apart");
    }
    let sum = |of: fn(&Delivered) -> u64| deliveries.iter().map(|d| of(d)).fold(0_u64, u64::saturating_add);
    let (acknowledged, indeterminate, applied) =
        (sum(|d| d.acknowledged), sum(|d| d.indeterminate), sum(|d| d.applied));
    let (mut low, mut high) = (0_u64, 0_u64);
    for d in &deliveries {
        low = low.saturating_add(d.acknowledged.saturating_sub(d.applied));
        let surely_ours = d.applied.saturating_sub(d.indeterminate).min(d.acknowledged);
        high = high.saturating_add(d.acknowledged - surely_ours);
    }
    let text = if low == high { low.to_string() } else { format!("{low} to {high}") };
    let counts = [acknowledged, indeterminate, applied].map(words::count);
    let why = format!("{} acknowledged, {} of unknown fate, {} applied", counts[0], counts[1], counts[2]);
    Measured { low: low as f64, high: high as f64, text, why }
}
