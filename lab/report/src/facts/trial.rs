//! What the report shows of one trial.

use serde::Serialize;

use lab_core::episode::{self, Episode};
use lab_core::event::Outcome;
use lab_core::judge;
use lab_core::model::{Decision, Model, Phase, Trial, Workload};
use lab_core::narrate;
use lab_core::summary::Quantiles;
use lab_core::unit::{RunTime, Span};
use lab_core::validity::{self, Validity};
use lab_core::words;

#[derive(Serialize)]
pub(crate) struct Facts {
    heading: String,
    state: String,
    picture: Option<String>,
    alt: String,
    expectations: Vec<(String, String, &'static str)>,
    episodes: Vec<EpisodeFacts>,
    phases: Vec<PhaseFacts>,
    causes: Vec<String>,
    decisions: Vec<DecisionFacts>,
    replicas: Vec<ReplicaFacts>,
    deliveries: Vec<super::deliveries::DeliveryFacts>,
    delivered: Vec<String>,
    faults: super::faults::Facts,
    validity: &'static str,
    checks: Vec<CheckFacts>,
}

#[derive(Serialize)]
struct EpisodeFacts {
    heading: String,
    sentence: String,
    marks: Vec<(String, String, &'static str, String)>,
}

#[derive(Serialize)]
struct PhaseFacts {
    name: String,
    measured: bool,
    seconds: String,
    offered: String,
    completed: String,
    failed: String,
    dropped: String,
    unfinished: String,
    sums: bool,
    quantiles: Vec<String>,
    service_p99: String,
    lag_p99: String,
}

#[derive(Serialize)]
struct DecisionFacts {
    at: String,
    workload: String,
    text: String,
}

#[derive(Serialize)]
struct ReplicaFacts {
    replica: String,
    ready: String,
    completed: String,
    share: String,
    failed: String,
    cpu: String,
    memory: String,
    end: String,
}

#[derive(Serialize)]
struct CheckFacts {
    name: String,
    measured: String,
    bounds: &'static str,
    grade: &'static str,
    reason: String,
}

/// Name of a trial's picture.
pub(crate) fn picture_name(trial: &Trial) -> Option<String> {
    Some(format!("trial-{}.svg", trial.info?.trial + 1))
}

/// All trials that belong to the run's plan.
pub(crate) fn facts(model: &Model) -> Vec<Facts> {
    model.trials.iter().filter(|t| t.info.is_some()).map(|t| Facts::of(model, t)).collect()
}

impl Facts {
    fn of(model: &Model, trial: &Trial) -> Self {
        let checks = validity::checks(model, trial);
        let zero = trial.load_started.unwrap_or(trial.started);
        let picture = crate::picture(model, trial).and_then(|_| picture_name(trial));
        let judged = judge::trial(model, trial);
        Self {
            heading: heading(model, trial),
            state: state(trial),
            alt: format!("Load, latency, replicas and what the autoscaler saw in {}", heading(model, trial)),
            picture,
            expectations: judged
                .into_iter()
                .map(|j| (j.expectation.to_string(), j.measured, j.verdict.text()))
                .collect(),
            episodes: episode::episodes(model, trial).iter().map(|e| EpisodeFacts::of(e, zero)).collect(),
            phases: trial.phases.iter().map(|(i, p)| PhaseFacts::of(p, model.measured(trial, *i))).collect(),
            causes: causes(trial),
            decisions: trial.workloads.iter().flat_map(|(name, w)| decisions(name, w, zero)).collect(),
            replicas: trial.workloads.values().flat_map(|w| replicas(w, zero)).collect(),
            deliveries: super::deliveries::deliveries(trial),
            delivered: delivered(trial),
            faults: super::faults::Facts::of(trial, zero),
            validity: validity::overall(&checks).text(),
            checks: checks.into_iter().map(CheckFacts::of).collect(),
        }
    }
}

fn heading(model: &Model, trial: &Trial) -> String {
    let Some(info) = trial.info else { return "load outside of a trial".to_owned() };
    let label = model.variant(trial).map(|v| format!(": {}", v.label)).unwrap_or_default();
    let block = if model.planned_trials() > 1 { format!(", block {}", info.block + 1) } else { String::new() };
    format!("Trial {}{label}{block}", info.trial + 1)
}

fn state(trial: &Trial) -> String {
    match &trial.ended {
        None => "INCOMPLETE: it has no end".to_owned(),
        Some(end) => {
            let error = end.error.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
            match end.outcome {
                Outcome::Completed => String::new(),
                Outcome::Interrupted => format!("INCOMPLETE: it was interrupted{error}"),
                Outcome::Failed => format!("INCOMPLETE: the environment failed{error}"),
            }
        }
    }
}

impl EpisodeFacts {
    fn of(episode: &Episode, zero: RunTime) -> Self {
        let replica = episode.replica.as_ref().map(|r| format!(", by way of {r}")).unwrap_or_default();
        let heading = format!("{} {} → {}{replica}", episode.workload, episode.from, episode.to);
        let marks = episode.marks.iter().map(|mark| {
            let point = serde_json::to_value(mark.point).ok().and_then(|v| v.as_str().map(|s| s.replace('-', " ")));
            let precision = if mark.precision == Span::ZERO {
                String::new()
            } else {
                format!("up to {} earlier", words::duration(mark.precision))
            };
            (point.unwrap_or_default(), words::clock(mark.at, zero), mark.source, precision)
        });
        Self { heading, sentence: episode.sentence(), marks: marks.collect() }
    }
}

impl PhaseFacts {
    fn of(phase: &Phase, measured: bool) -> Self {
        let ledger = phase.ledger();
        let shown = |ns: Option<u64>| ns.map_or_else(|| "–".to_owned(), |ns| words::duration(Span(ns)));
        let r = Quantiles::of(&phase.response);
        Self {
            name: phase.name.clone(),
            measured,
            seconds: phase.length().map_or_else(|| "open".to_owned(), words::duration),
            offered: words::count(ledger.offered),
            completed: words::count(ledger.completed),
            failed: words::count(ledger.failed),
            dropped: words::count(ledger.dropped),
            unfinished: words::count(ledger.unfinished),
            sums: phase.imbalance() == 0,
            quantiles: [r.p50_ns, r.p90_ns, r.p99_ns, r.p999_ns, r.max_ns].into_iter().map(shown).collect(),
            service_p99: shown(Quantiles::of(&phase.service).p99_ns),
            lag_p99: shown(Quantiles::of(&phase.send_lag).p99_ns),
        }
    }
}

/// Failed requests by cause, most frequent first.
fn causes(trial: &Trial) -> Vec<String> {
    let of_phase = |phase: &Phase| {
        let mut causes: Vec<(&String, &u64)> = phase.failures_by_cause.iter().collect();
        causes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let texts: Vec<String> =
            causes.into_iter().map(|(cause, n)| format!("{} × {cause}", words::count(*n))).collect();
        (!texts.is_empty()).then(|| format!("{}: {}", phase.name, words::list(&texts)))
    };
    trial.phases.values().filter_map(of_phase).collect()
}

/// Every change with its reason; holds in a row as one line.
fn decisions(name: &str, workload: &Workload, zero: RunTime) -> Vec<DecisionFacts> {
    let mut rows = Vec::new();
    let mut rest = workload.decisions.as_slice();
    while let Some(first) = rest.first() {
        let same = |d: &&Decision| d.current == d.desired && (d.current, d.desired) == (first.current, first.desired);
        let run = rest.iter().take_while(same).count().max(1);
        let (held, after) = rest.split_at(run);
        rest = after;
        let last = held.last().unwrap_or(first);
        let at = |d: &Decision| words::clock(d.at, zero);
        let (at, text) = if run == 1 {
            (at(first), first.why.clone())
        } else {
            let (a, b) = (narrate::reason(&first.why), narrate::reason(&last.why));
            let reasons = if a == b { a.to_owned() } else { format!("{a}; at the end {b}") };
            (
                format!("{} to {}", at(first), at(last)),
                format!("holds {} for {}: {reasons}", first.desired, words::plural(run as u64, "sync")),
            )
        };
        rows.push(DecisionFacts { at, workload: name.to_owned(), text });
    }
    rows
}

/// Who answered what. Replicas of workloads that nobody called are left out.
fn replicas(workload: &Workload, zero: RunTime) -> Vec<ReplicaFacts> {
    let total: u64 = workload.replicas.values().fold(0, |sum, r| sum.saturating_add(r.completed));
    if total == 0 {
        return Vec::new();
    }
    let rows = workload.replicas.iter().map(|(name, r)| ReplicaFacts {
        replica: name.clone(),
        ready: r.ready.map_or_else(|| "never".to_owned(), |at| words::clock(at, zero)),
        completed: words::count(r.completed),
        share: words::share(r.completed as f64 / total as f64),
        failed: words::count(r.failed),
        cpu: words::duration(Span(r.cpu_ns)),
        memory: if r.peak_rss_bytes > 0 { words::bytes(r.peak_rss_bytes) } else { "–".to_owned() },
        end: match (&r.exit, r.died) {
            (None, _) => "still there".to_owned(),
            (Some(exit), true) => format!("died: {exit}"),
            (Some(exit), false) => exit.clone(),
        },
    });
    rows.collect()
}

/// Of journals that have counts only.
fn delivered(trial: &Trial) -> Vec<String> {
    let all = trial.workloads.iter().flat_map(|(name, w)| w.delivered.iter().map(move |d| (name, d)));
    let texts = all.map(|(name, d)| {
        format!(
            "{name}: {} {} acknowledged, {} of unknown fate, {} applied",
            words::count(d.acknowledged),
            d.what,
            words::count(d.indeterminate),
            words::count(d.applied)
        )
    });
    texts.collect()
}

impl CheckFacts {
    fn of(check: validity::Check) -> Self {
        let subject = check.subject.map(|s| format!(" ({s})")).unwrap_or_default();
        Self {
            name: format!("{}{subject}", check.name),
            measured: check.measured,
            bounds: check.bounds,
            grade: match check.grade {
                Validity::Valid => "valid",
                Validity::Suspect => "SUSPECT",
                Validity::Invalid => "INVALID",
            },
            reason: check.reason,
        }
    }
}
