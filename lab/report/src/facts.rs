//! What the template shows, in the order of the report: plain texts, made from the model. Nothing here is Markdown.

mod cache;
mod comparison;
mod curve;
mod deliveries;
mod environment;
mod faults;
mod limits;
mod notes;
mod trial;

pub(crate) use curve::PICTURE as CURVE;
pub(crate) use trial::picture_name;

use serde::Serialize;

use lab_core::compare;
use lab_core::curve::curves;
use lab_core::judge::{self, Conclusion, Verdict};
use lab_core::model::Model;
use lab_core::parity::{Footnotes, Parity};
use lab_core::validity::Validity;
use lab_core::words;

/// The whole report.
#[derive(Serialize)]
pub(crate) struct Facts {
    experiment: String,
    question: String,
    answer: String,
    alerts: Vec<Alert>,
    verdict: &'static str,
    validity: &'static str,
    run: String,
    started_at: String,
    version: String,
    trials_text: String,
    several: bool,
    expectations: Vec<Expectation>,
    comparison: comparison::Facts,
    confidence: String,
    curve: curve::Facts,
    cache: Vec<cache::Effect>,
    trials: Vec<trial::Facts>,
    environment: environment::Facts,
    warnings: Vec<Remark>,
    notes: Vec<notes::Note>,
    left_behind: Vec<LeftBehind>,
    limits: Vec<String>,
    change: Vec<(String, String, String)>,
    spec: String,
}

/// Something that must be seen before anything else.
#[derive(Serialize)]
struct Alert {
    word: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Expectation {
    variant: String,
    text: String,
    measured: String,
    verdict: &'static str,
    why: String,
}

#[derive(Serialize)]
struct Remark {
    at: String,
    text: String,
}

#[derive(Serialize)]
struct LeftBehind {
    things: String,
    remedy: String,
}

impl Facts {
    pub(crate) fn of(model: &Model) -> Self {
        let conclusion = judge::conclude(model);
        let run = model.run.as_deref();
        let several = run.is_some_and(|r| r.variants.len() > 1);
        let others = run.map_or(0, |r| r.variants.len()).saturating_sub(1);
        let confidence = compare::confidence(others);
        let parity = Parity::of(model);
        let mut footnotes = Footnotes::default();
        let curve = curve::Facts::of(model, &curves(model), &mut footnotes);
        Self {
            experiment: run.map_or_else(|| "A run without a beginning".to_owned(), |r| r.spec.name.clone()),
            question: run.map(|r| r.spec.question.clone()).unwrap_or_default(),
            answer: lab_core::answer::answer(model),
            alerts: alerts(model, &conclusion),
            verdict: loud(conclusion.verdict),
            validity: conclusion.validity.text(),
            run: run.map(|r| r.run.clone()).unwrap_or_default(),
            started_at: run.map(|r| r.started_at.clone()).unwrap_or_default(),
            version: run.map(|r| r.version.clone()).unwrap_or_default(),
            trials_text: trials_text(model),
            several,
            expectations: expectations(model),
            comparison: comparison::Facts::of(model, &parity, footnotes),
            confidence: words::share(confidence),
            curve,
            cache: cache::effects(model),
            trials: trial::facts(model),
            environment: environment::Facts::of(model),
            warnings: remarks(&model.warnings),
            notes: notes::notes(model),
            left_behind: left_behind(model),
            limits: limits::limits(model),
            change: limits::what_would_change(model),
            spec: environment::spec(model),
        }
    }
}

fn loud(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::CannotTell => "CANNOT TELL",
    }
}

fn trials_text(model: &Model) -> String {
    let (finished, planned) = (model.finished_trials(), model.planned_trials());
    if finished == planned { words::plural(planned as u64, "trial") } else { format!("{finished} of {planned} trials") }
}

fn alerts(model: &Model, conclusion: &Conclusion) -> Vec<Alert> {
    let mut alerts = Vec::new();
    if !conclusion.complete {
        alerts.push(Alert { word: "INCOMPLETE", text: incomplete(model) });
    }
    if conclusion.validity != Validity::Valid {
        let word = if conclusion.validity == Validity::Invalid { "INVALID" } else { "SUSPECT" };
        let bad = model.trials.iter().flat_map(|trial| {
            let number = trial.info.map_or(0, |i| i.trial + 1);
            let checks = lab_core::validity::checks(model, trial);
            let bad = checks.into_iter().filter(|c| c.grade != Validity::Valid);
            bad.map(move |c| {
                let subject = c.subject.map(|s| format!(" ({s})")).unwrap_or_default();
                format!("trial {number}, {}{subject}: {}", c.name, c.reason)
            })
        });
        let bad: Vec<String> = bad.collect();
        let more = bad.len().saturating_sub(3);
        let rest = if more > 0 { format!("; and {more} more below") } else { String::new() };
        alerts.push(Alert {
            word,
            text: format!("{}{rest}.", bad.iter().take(3).cloned().collect::<Vec<_>>().join("; ")),
        });
    }
    if !model.left_behind.is_empty() {
        let things: Vec<&String> = model.left_behind.iter().flat_map(|l| &l.things).collect();
        alerts.push(Alert {
            word: "LEFT RUNNING",
            text: format!("{}; see below for what removes them.", words::list(&things)),
        });
    }
    alerts
}

/// What is known of a cut run, in exact counts.
fn incomplete(model: &Model) -> String {
    let events = words::plural(model.events.count(), "event");
    let end = match model.ended {
        None => "the journal has no end".to_owned(),
        Some((_, outcome)) => format!("the run ended as {}", format!("{outcome:?}").to_lowercase()),
    };
    let missing = match model.missing_events() {
        0 => String::new(),
        n => format!(", {} missing before the last", words::plural(n, "event")),
    };
    let (finished, planned) = (model.finished_trials(), model.planned_trials());
    format!(
        "{finished} of {} ran to the end; {events} were read{missing}; {end}.",
        words::plural(planned as u64, "trial")
    )
}

fn expectations(model: &Model) -> Vec<Expectation> {
    let rows = judge::variants(model).into_iter().flat_map(|v| {
        let variant = model.label(v.variant);
        v.expectations.into_iter().map(move |j| Expectation {
            variant: variant.clone(),
            text: j.expectation.to_string(),
            measured: j.measured,
            verdict: j.verdict.text(),
            why: j.why,
        })
    });
    rows.collect()
}

fn remarks(remarks: &[lab_core::model::Remark]) -> Vec<Remark> {
    let zero = lab_core::unit::RunTime(0);
    remarks.iter().map(|r| Remark { at: words::clock(r.at, zero), text: r.text.clone() }).collect()
}

fn left_behind(model: &Model) -> Vec<LeftBehind> {
    let rows =
        model.left_behind.iter().map(|l| LeftBehind { things: words::list(&l.things), remedy: l.remedy.clone() });
    rows.collect()
}
