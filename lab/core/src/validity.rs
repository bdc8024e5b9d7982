//! Whether a trial's measurement can be trusted: checks of the generator against itself, each with what was measured, its bounds and
//! a reason. What the target did is judged elsewhere.

mod little;

use serde::{Deserialize, Serialize};

use crate::control::LoadChange;
use crate::distribution::Distribution;
use crate::model::{Model, Phase, Trial, Workload};
use crate::unit::{RunTime, Span};
use crate::words;

/// How far a measurement can be trusted. Ordered: the worst is the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// It can.
    Valid,
    /// Something may have touched it; what, is said.
    Suspect,
    /// It cannot.
    Invalid,
}

impl Validity {
    /// `valid`, `suspect`, `invalid`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suspect => "suspect",
            Self::Invalid => "invalid",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `ledger`, `send lag`, `generator CPU`, `stalls`, `samples`, `offered as planned`, `Little's law`, `sums`, `by hand`, `steal`.
    pub name: &'static str,
    /// The phase or generator it is about; None for the whole trial.
    pub subject: Option<String>,
    /// What was measured.
    pub measured: String,
    /// Where it becomes suspect and invalid.
    pub bounds: &'static str,
    /// The result.
    pub grade: Validity,
    /// What follows from it, or why it cannot be told; without a full stop.
    pub reason: String,
}

/// The worst of all; valid without any.
pub fn overall(checks: &[Check]) -> Validity {
    checks.iter().map(|c| c.grade).max().unwrap_or(Validity::Valid)
}

/// All checks of a trial. Phases that are not measured are left out, except for their ledger.
pub fn checks(model: &Model, trial: &Trial) -> Vec<Check> {
    let mut checks = Vec::new();
    if trial.load_started.is_none() && trial.phases.is_empty() {
        return checks;
    }
    let measured: Vec<(u32, &Phase)> =
        trial.phases.iter().filter(|(i, _)| model.measured(trial, **i)).map(|(i, p)| (*i, p)).collect();
    checks.extend(trial.phases.values().map(ledger));
    checks.extend(trial.phases.values().filter(|p| p.unreadable > 0).map(unreadable));
    checks.push(samples(trial));
    for (index, phase) in &measured {
        checks.push(send_lag(phase));
        checks.push(stalls(trial, phase));
        checks.extend(offered(model, trial, *index, phase));
        checks.push(sums(phase));
        checks.extend(little::law(trial, phase));
    }
    checks.extend(cpu(trial, &measured));
    checks.extend(by_hand(model, trial));
    checks.push(Check {
        name: "steal",
        subject: None,
        measured: "not measured".to_owned(),
        bounds: "",
        grade: Validity::Valid,
        reason: "time taken by other guests of the same machine shows only in send lag and stalls".to_owned(),
    });
    checks
}

fn grade(value: f64, suspect_above: f64, invalid_above: f64) -> Validity {
    match value {
        v if v > invalid_above => Validity::Invalid,
        v if v > suspect_above => Validity::Suspect,
        _ => Validity::Valid,
    }
}

fn ledger(phase: &Phase) -> Check {
    let l = phase.ledger();
    let off = phase.imbalance();
    let measured = format!(
        "{} = {} completed + {} failed + {} dropped + {} unfinished",
        words::count(l.offered),
        words::count(l.completed),
        words::count(l.failed),
        words::count(l.dropped),
        words::count(l.unfinished)
    );
    let (grade, reason) = match off {
        0 => (Validity::Valid, "every request is accounted for".to_owned()),
        _ => (Validity::Invalid, format!("{off} requests are not accounted for")),
    };
    Check { name: "ledger", subject: Some(phase.name.clone()), measured, bounds: "must sum", grade, reason }
}

fn unreadable(phase: &Phase) -> Check {
    Check {
        name: "histograms",
        subject: Some(phase.name.clone()),
        measured: format!("{} unreadable", phase.unreadable),
        bounds: "none",
        grade: Validity::Invalid,
        reason: "the times of some requests are missing".to_owned(),
    }
}

fn samples(trial: &Trial) -> Check {
    let lost = trial.lost_samples();
    let received = trial.generators.values().fold(0_u64, |sum, g| sum.saturating_add(g.received.count()));
    let all = lost.saturating_add(received);
    let expected = trial.shares.iter().flat_map(|s| &s.generators);
    let silent: Vec<&String> = expected.filter(|name| !trial.generators.contains_key(*name)).collect();
    let open: Vec<&String> = trial.generators.iter().filter(|(_, g)| !g.finished).map(|(name, _)| name).collect();
    let part = lost as f64 / (all as f64).max(1.0);
    let (grade, reason) = if received == 0 {
        (Validity::Invalid, "no sample came".to_owned())
    } else if let Some(name) = silent.first() {
        (Validity::Invalid, format!("{} sent no sample at all", words::visible(name)))
    } else if lost > 0 {
        (grade(part, 0.0, 0.01), "the counts and times of these seconds are missing".to_owned())
    } else if trial.ended.is_some() && !open.is_empty() {
        (Validity::Suspect, format!("the last sample of {} did not come", words::visible(open[0])))
    } else {
        (Validity::Valid, "no second is missing".to_owned())
    };
    Check {
        name: "samples",
        subject: None,
        measured: format!("{} of {} lost", words::count(lost), words::count(all)),
        bounds: "suspect above 0, invalid above 1 %",
        grade,
        reason,
    }
}

const LAG_SHARE: [f64; 2] = [0.05, 0.20];
const LAG_NS: [f64; 2] = [2e6, 10e6];

/// Lag counts only against the generator: where requests waited for a connection because the target was slow, that wait is part of
/// the response time and says nothing about the generator. A lag that is small against the response p99 cannot change it much.
fn send_lag(phase: &Phase) -> Check {
    let bounds = "suspect above 2 ms and 5 % of the response p99, invalid above 10 ms and 20 %";
    let lag = phase.own_lag.quantile(0.99);
    let response = phase.response.quantile(0.99);
    let subject = Some(phase.name.clone());
    let Some(lag) = lag else {
        let reason = if phase.send_lag.is_empty() {
            "nothing was sent".to_owned()
        } else {
            "requests waited for a connection throughout, so the generator's own part cannot be told apart".to_owned()
        };
        return Check {
            name: "send lag",
            subject,
            measured: "not known".to_owned(),
            bounds,
            grade: Validity::Valid,
            reason,
        };
    };
    let part = response.map_or(f64::INFINITY, |r| lag.0 as f64 / (r.0 as f64).max(1.0));
    let beyond = |i: usize| lag.0 as f64 > LAG_NS[i] && part > LAG_SHARE[i];
    let (grade, reason) = match (beyond(1), beyond(0)) {
        (true, _) => (Validity::Invalid, "the generator was late, and its lateness is in the response times"),
        (_, true) => (Validity::Suspect, "the generator was late enough to be seen in the response times"),
        _ => (Validity::Valid, "requests left when they were due"),
    };
    let against = response.map_or(String::new(), |r| format!(" against a response p99 of {}", words::duration(r)));
    let part = "in seconds without a queue for connections";
    let measured = format!("p99 {} {part}{against}", words::duration(lag));
    Check { name: "send lag", subject, measured, bounds, grade, reason: reason.to_owned() }
}

/// A turn of a generator's send loop above this is a stall.
pub const STALL: Span = Span::from_millis(50);
/// A single turn from which a stall counts alone.
pub const LONG_STALL: Span = Span::from_millis(250);
/// Stalls below this in all do not make a phase invalid, however short it is.
const MUCH_STALLED: Span = Span::from_millis(500);

/// Only the longest turn of each second is known, so a stall here is a second with a turn above [`STALL`].
fn stalls(trial: &Trial, phase: &Phase) -> Check {
    let bounds = "turns above 50 ms: suspect when 2 or more are above 0.5 % of the time or one is above 250 ms, \
                  invalid above 2 % and 500 ms in all";
    let subject = Some(phase.name.clone());
    let Some((from, to)) = phase.window(trial.latest) else {
        let (measured, reason) = ("not known".to_owned(), "the phase has no instants".to_owned());
        return Check { name: "stalls", subject, measured, bounds, grade: Validity::Valid, reason };
    };
    let turns: Vec<Span> = trial.cells.between(from, to).iter().map(|s| s.value.longest_turn).collect();
    let longest = turns.iter().max().copied().unwrap_or_default();
    let stalls: Vec<f64> = turns.iter().filter(|t| **t > STALL).map(|t| t.as_secs_f64()).collect();
    let stalled: f64 = stalls.iter().sum();
    let part = stalled / to.since(from).as_secs_f64().max(1e-9);
    let grade = match part {
        p if p > 0.02 && stalled > MUCH_STALLED.as_secs_f64() => Validity::Invalid,
        p if (p > 0.005 && stalls.len() >= 2) || longest > LONG_STALL => Validity::Suspect,
        _ => Validity::Valid,
    };
    let reason = match grade {
        Validity::Valid => "the generator was not held up for long".to_owned(),
        _ => "the generator itself stood still; requests due then count as slow".to_owned(),
    };
    let measured = format!("longest turn {}, stalled {} of the time", words::duration(longest), words::share(part));
    Check { name: "stalls", subject, measured, bounds, grade, reason }
}

/// Offered against the shape of the phase. Poisson arrivals scatter by the root of their number.
fn offered(model: &Model, trial: &Trial, index: u32, phase: &Phase) -> Option<Check> {
    let load = model.spec(trial)?.load.as_ref()?;
    let spec = load.phases.get(index as usize)?;
    if phase.ended.is_none() || !trial.changes.is_empty() {
        return None;
    }
    let planned = spec.rate.planned(spec.length);
    let offered = phase.ledger().offered as f64;
    let off = (offered - planned).abs();
    let scatter = if load.arrivals == crate::spec::Arrivals::Poisson { 4.0 * planned.sqrt() } else { 1.0 };
    let (suspect, invalid) = (scatter + 0.01 * planned, scatter + 0.05 * planned);
    let grade = grade(off, suspect, invalid);
    let reason = match grade {
        Validity::Valid => "the schedule was kept".to_owned(),
        _ => format!(
            "{} requests differ from the schedule, scatter explains {}",
            words::digits(off.round()),
            words::digits(scatter.round())
        ),
    };
    Some(Check {
        name: "offered as planned",
        subject: Some(phase.name.clone()),
        measured: format!("{} offered, {} planned", words::count(offered as u64), words::digits(planned.round())),
        bounds: "suspect above 1 % and scatter, invalid above 5 % and scatter",
        grade,
        reason,
    })
}

/// The generators add latencies up beside their histograms; the two must agree, or some times were not recorded.
fn sums(phase: &Phase) -> Check {
    let recorded = phase.response.sum_ns() + phase.failures.sum_ns();
    let added = phase.latency_sum_ns as f64;
    let off = (recorded - added).abs() / added.max(recorded).max(1.0);
    // A bucket is 0.1 % wide, but at least 0.5 µs.
    let coarse = 512.0 * (phase.response.count() + phase.failures.count()) as f64 / added.max(recorded).max(1.0);
    let grade = grade(off, 0.002 + coarse, 0.02 + coarse);
    let reason = match grade {
        Validity::Valid => "histograms hold every request's time".to_owned(),
        _ => "histograms and sums tell different stories: times are missing or counted twice".to_owned(),
    };
    Check {
        name: "sums",
        subject: Some(phase.name.clone()),
        measured: format!("histograms and sum of latencies differ by {}", words::share(off)),
        bounds: "suspect above 0.2 %, invalid above 2 %",
        grade,
        reason,
    }
}

/// Share of what a generator may use of CPU above which it is suspect.
pub const CPU_SUSPECT: f64 = 0.85;
/// Share of what a generator may use of CPU above which nothing it measured counts.
pub const CPU_INVALID: f64 = 0.98;

/// CPU of the busiest generator in the measured phases, as a share of its limit or of one core.
fn cpu(trial: &Trial, measured: &[(u32, &Phase)]) -> Option<Check> {
    let windows: Vec<(RunTime, RunTime)> = measured.iter().filter_map(|(_, p)| p.window(trial.latest)).collect();
    let cells = windows.iter().flat_map(|(from, to)| trial.cells.between(*from, *to));
    let shares: Vec<f64> = cells.filter(|s| s.value.samples > 0).map(|s| s.value.generator_cpu).collect();
    if shares.is_empty() {
        return None;
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let peak = shares.iter().copied().fold(0.0, f64::max);
    let grade = grade(mean, CPU_SUSPECT, CPU_INVALID);
    let reason = match grade {
        Validity::Valid if peak > CPU_SUSPECT => "busy in some seconds; see send lag and stalls",
        Validity::Valid => "the generator had time to spare",
        _ => "the generator itself was at its limit",
    };
    Some(Check {
        name: "generator CPU",
        subject: None,
        measured: format!("mean {}, highest second {}", words::share(mean), words::share(peak)),
        bounds: "mean suspect above 85 % of the limit or of one core, invalid above 98 %",
        grade,
        reason: reason.to_owned(),
    })
}

/// Interventions that a reason names; the others are counted.
const MOST_NAMED: usize = 4;

/// What somebody did by hand while the trial ran. Load that no spec describes has nothing to differ from.
fn by_hand(model: &Model, trial: &Trial) -> Option<Check> {
    model.spec(trial)?.load.as_ref()?;
    let load = changed(trial);
    let load = (!load.is_empty()).then(|| format!("the load was changed ({})", load.join(", ")));
    // What a phase breaks is what the spec asks for.
    let faults = trial
        .faults
        .iter()
        .filter(|fault| fault.by == "user")
        .map(|fault| format!("{} was {}", fault.replica, fault.what));
    let by_user = |w: &Workload| w.scalings.iter().any(|scaling| scaling.cause == "user");
    let scaled = trial.workloads.iter().filter(|(_, w)| by_user(w)).map(|(name, _)| format!("{name} was scaled"));
    let done: Vec<String> = load.into_iter().chain(faults).chain(scaled).collect();
    if done.is_empty() {
        return None;
    }
    let measured = words::plural(done.len() as u64, "intervention");
    let mut named: Vec<String> = done.iter().take(MOST_NAMED).cloned().collect();
    if done.len() > MOST_NAMED {
        named.push(format!("{} more", done.len() - MOST_NAMED));
    }
    let reason = format!("{} by hand, so this is no longer the trial of the spec", words::list(&named));
    let (bounds, grade, reason) = ("none", Validity::Suspect, words::visible(&reason));
    Some(Check { name: "by hand", subject: None, measured, bounds, grade, reason })
}

/// What of the load was changed, each once.
fn changed(trial: &Trial) -> Vec<&'static str> {
    let is = |what: fn(&LoadChange) -> bool| trial.changes.iter().any(|(_, change, _)| what(change));
    let all = [
        ("rate", is(|c| c.rate.is_some())),
        ("mix", is(|c| c.mix.is_some())),
        ("connections", is(|c| c.connections.is_some())),
        ("pause", is(|c| c.pause.is_some())),
        ("skipped phase", is(|c| c.skip == Some(true))),
    ];
    all.into_iter().filter(|(_, is)| *is).map(|(what, _)| what).collect()
}

/// Mean age of what is under way at a random instant: half of the mean of squares over the mean, and twice that to be safe.
fn residual(service: &Distribution) -> f64 {
    let sum = service.sum_ns();
    if sum > 0.0 { service.sum_of_squares() / sum } else { 0.0 }
}
