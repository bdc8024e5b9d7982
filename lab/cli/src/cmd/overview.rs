//! `lab` alone: what can be done from here.

use lab_run::list_runs;

use crate::catalogue::BUNDLED;
use crate::cmd::spec;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

const VERBS: &str = "  lab experiment NAME     run all trials of an experiment and write its report
  lab plan NAME           what that would create, for how long
  lab up / down / status  services to try by hand, and their removal
  lab watch [NAME]        the dashboard over what another process has up
  lab load URL            the load engine alone
  lab runs / report RUN   what was run; a report anew from its journal
  lab replay RUN          a run again on the dashboard; try: lab replay demo
  lab frame RUN --at T    what the dashboard showed at an instant
  lab doctor / clean      what is missing; what was left behind
  lab help                everything";

/// Lists experiments, the newest runs and the verbs.
pub fn run(settings: &Settings) -> Result<Code, LabError> {
    let mut text = String::from("experiments\n");
    for bundled in BUNDLED {
        let question = spec::question(bundled.text).unwrap_or_default();
        text.push_str(&format!("  {:<24}{question}\n", bundled.name));
    }
    let runs = list_runs(&settings.runs).map_err(|e| LabError::failed("cannot list runs", e))?;
    let reports = runs.iter().rev().map(|run| run.path().join("report.md")).filter(|report| report.is_file());
    let newest: Vec<_> = reports.take(3).map(|report| format!("  {}\n", report.display())).collect();
    if !newest.is_empty() {
        text.push_str(&format!("\nnewest reports\n{}", newest.concat()));
    }
    text.push_str(&format!("\nverbs\n{VERBS}\n"));
    out::data(&text)?;
    Ok(Code::Ok)
}
