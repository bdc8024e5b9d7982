//! `lab runs`: every run, newest last.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use lab_core::event::{Event, Kind, RunInfo};
use lab_run::{RunDir, list_runs};
use serde::Serialize;

use crate::args::{Format, Runs};
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// One run in a list.
#[derive(Debug, Serialize)]
struct Row {
    run: String,
    experiment: Option<String>,
    started_at: Option<String>,
    trials: usize,
    verdict: Option<String>,
    question: Option<String>,
    folder: String,
}

/// Lists them.
pub fn run(args: &Runs, settings: &Settings) -> Result<Code, LabError> {
    let runs = list_runs(&settings.runs).map_err(|e| LabError::failed("cannot list runs", e))?;
    let rows: Vec<Row> = runs.iter().map(row).collect();
    if args.format == Format::Json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "runs": rows }));
        out::line(&text.map_err(|e| LabError::failed("cannot write the list", e))?)?;
        return Ok(Code::Ok);
    }
    if rows.is_empty() {
        out::talk(&format!("no runs in {}; begin with: lab experiment autoscale-users", settings.runs.display()));
    }
    for row in rows {
        let verdict = row.verdict.as_deref().unwrap_or("no report");
        out::line(&format!("{:<48} {verdict:<12} {}", row.run, row.question.unwrap_or_default()))?;
    }
    Ok(Code::Ok)
}

fn row(run: &RunDir) -> Row {
    let info = info(run);
    Row {
        run: run.id().to_owned(),
        experiment: info.as_ref().map(|i| i.spec.name.clone()),
        started_at: info.as_ref().map(|i| i.started_at.clone()),
        trials: info.as_ref().map_or(0, |i| i.order.len()),
        verdict: verdict(run),
        question: info.map(|i| i.spec.question),
        folder: run.path().display().to_string(),
    }
}

/// The journal's first event; None when it is not there yet or not readable.
pub fn info(run: &RunDir) -> Option<RunInfo> {
    let mut lines = BufReader::new(File::open(run.journal()).ok()?).lines();
    let first = lines.nth(1)?.ok()?;
    match serde_json::from_str::<Event>(&first).ok()?.kind {
        Kind::RunStarted(info) => Some(*info),
        _ => None,
    }
}

/// What the summary says; None without one.
fn verdict(run: &RunDir) -> Option<String> {
    summary(run)?.get("verdict")?.as_str().map(str::to_owned)
}

/// `summary.json`; None without one.
pub fn summary(run: &RunDir) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(run.path().join("summary.json")).ok()?;
    serde_json::from_str(&text).ok()
}
