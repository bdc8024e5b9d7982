//! `lab experiment NAME`: all trials of an experiment; ends with the verdict and the report's path.

use std::path::Path;
use std::sync::Arc;

use lab_core::event::{Outcome, RunInfo};
use lab_core::plan::Plan;
use lab_core::spec::{EnvironmentKind, Experiment, Spec};
use lab_core::templates;
use lab_core::words;
use lab_env::{
    DockerConfig, DockerEnvironment, EnvError, Environment, EventSink, KubernetesConfig, KubernetesEnvironment,
    LocalConfig, LocalEnvironment, LocalLimits,
};
use lab_run::{Finished, Interrupt, Maker, Run, RunDir};
use lab_tui::app::Source;

use crate::args::{Experiment as ExperimentArgs, Format};
use crate::cmd::report::Written;
use crate::cmd::spec;
use crate::error::{Code, LabError};
use crate::out;
use crate::plain::Plain;
use crate::screen::{self, LiveScreen, Telling};
use crate::settings::Settings;
use crate::signals;

/// Runs it.
pub async fn run(args: ExperimentArgs, settings: Settings) -> Result<Code, LabError> {
    let experiment = spec::read(&args.spec)?;
    let settings = settings.on(args.spec.environment.as_ref(), args.spec.kubeconfig.as_deref());
    let settings = settings.with_endpoints(&args.spec.endpoints)?.with(&args.with, experiment.spec.environment)?;
    let plan = Plan::of(&experiment);
    let live = screen::wanted(args.plain || args.format == Format::Json);
    // Settings that cannot be used are bad input: they are refused before anything is made.
    let live = live.then(|| screen::settings(&args.look, Source::Conducted)).transpose()?;
    let dir = new_run(&settings, &experiment.spec.name)?;
    out::talk(&format!("{}: {}", experiment.spec.name, experiment.spec.question));
    let trials = words::plural(plan.order.len() as u64, "trial");
    out::talk(&format!("{trials}, about {}; journal in {}", plan.wall, dir.path().display()));
    let info = run_info(&dir, &experiment, &plan);
    dir.write_info(&info).map_err(|e| LabError::failed("cannot write the run", e))?;

    let interrupt = Interrupt::new();
    signals::listen(&interrupt).await?;
    let folder = settings.lab(&lab_name(dir.id()));
    let live = live.map(|dash| LiveScreen::over_run(&dir, folder.clone(), dash)).transpose()?;
    let telling = Telling::new(live.is_none());
    let run = Run {
        info,
        dir: dir.clone(),
        folder: Some(folder),
        make: maker(&settings),
        interrupt: interrupt.clone(),
        sinks: vec![Box::new(Plain::new(&telling))],
    };
    let (finished, live) = screen::beside(live, (&telling, &interrupt), "the run", || {}, run.run()).await;
    let finished = finished.map_err(|e| LabError::failed("the run stopped", e));
    forget(&settings, &dir);
    let written = Written::of(&dir);
    screen::over(live, last_words(&finished, &written)).await;
    let (finished, written) = (finished?, written?);
    let printed = written.print(args.format);
    match (conclude(finished, &written), printed) {
        (Ok(Code::Ok), Err(error)) => Err(error),
        // How it ended weighs more than that nobody can be told, as on a terminal that is gone.
        (ended, Err(error)) => {
            out::error(&error);
            ended
        }
        (ended, Ok(())) => ended,
    }
}

/// What the live screen says when all is over.
fn last_words(finished: &Result<Finished, LabError>, written: &Result<Written, LabError>) -> String {
    let problem = finished.as_ref().err().or(written.as_ref().err());
    match (problem, written) {
        (None, Ok(written)) => written.words(),
        (problem, _) => problem.map(ToString::to_string).unwrap_or_default(),
    }
}

/// The exit code, by what weighs most: failed, left behind, interrupted, then what the report says.
fn conclude(finished: Finished, written: &Written) -> Result<Code, LabError> {
    if let Some(error) = finished.error {
        return Err(
            LabError::failed("the run failed", error).hint("the report above holds what was measured until then")
        );
    }
    if !finished.left.is_empty() {
        return Ok(left_running(&finished.left));
    }
    if finished.outcome == Outcome::Interrupted {
        return Ok(Code::Interrupted);
    }
    Ok(written.code())
}

/// Names what runs on and what removes it.
pub fn left_running(left: &[String]) -> Code {
    out::talk(&format!("left running: {}; remove it with: lab clean", left.join(", ")));
    Code::LeftRunning
}

/// The lab of a run is nobody else's: once nothing is left of it, its folder goes too.
fn forget(settings: &Settings, dir: &RunDir) {
    let folder = settings.lab(&lab_name(dir.id()));
    let nothing_left = lab_env::ledger::Ledger::peek(&folder.join("ledger.ndjson")).is_ok_and(|owned| owned.is_empty());
    if nothing_left && let Err(error) = std::fs::remove_dir_all(&folder) {
        tracing::debug!(%error, folder = %folder.display(), "kept");
    }
}

/// A new run's folder.
///
/// # Errors
/// It cannot be made.
pub fn new_run(settings: &Settings, name: &str) -> Result<RunDir, LabError> {
    RunDir::create(&settings.runs, name, jiff::Timestamp::now())
        .map_err(|e| LabError::failed("cannot begin a run", e).hint("set LAB_RUNS to a folder that can be written"))
}

/// What a journal begins with.
pub fn run_info(dir: &RunDir, experiment: &Experiment, plan: &Plan) -> RunInfo {
    RunInfo {
        run: dir.id().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        spec: experiment.spec.clone(),
        variants: experiment.variants.clone(),
        order: plan.order.clone(),
        host: lab_env::host::host(),
    }
}

/// Makes environments by what the spec names.
pub fn maker(settings: &Settings) -> Maker {
    let settings = settings.clone();
    Arc::new(move |request| {
        let lab = lab_name(&request.lab);
        Ok(environment(&settings, request.spec, &lab, request.run.id(), request.run.path(), request.events)?)
    })
}

/// A lab's name for a run: at most 40 of `a-z 0-9 -`, and as unique as the run's id, whose end stays.
pub fn lab_name(run: &str) -> String {
    const MOST: usize = 40;
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = run.chars().map(clean).collect();
    match name.len().checked_sub(MOST) {
        None | Some(0) => name,
        Some(_) => format!("{}{}", &name[..MOST - 4], &name[name.len() - 4..]),
    }
}

/// The environment of a spec.
///
/// # Errors
/// The lab's name or home cannot be used.
pub fn environment(
    settings: &Settings,
    spec: &Spec,
    lab: &str,
    run: &str,
    run_dir: &Path,
    events: EventSink,
) -> Result<Arc<dyn Environment>, EnvError> {
    let target = spec.load.as_ref().map_or(lab_core::spec::Target::UserService, |load| load.target);
    let default_load = serde_json::to_string(&templates::default_plan(target, run)).unwrap_or_default();
    let config = LocalConfig {
        exe: settings.exe.clone(),
        lab_name: lab.to_owned(),
        run_id: run.to_owned(),
        run_dir: run_dir.to_owned(),
        home: settings.home.clone(),
        events,
        default_load,
        limits: LocalLimits::default(),
        endpoints: settings.endpoints.clone(),
    };
    Ok(match spec.environment {
        EnvironmentKind::Local => Arc::new(LocalEnvironment::new(config)?),
        EnvironmentKind::Docker => Arc::new(DockerEnvironment::new(DockerConfig {
            lab: config,
            image: settings.image.clone(),
            monitoring: settings.monitoring,
        })?),
        EnvironmentKind::Kubernetes => Arc::new(KubernetesEnvironment::new(KubernetesConfig {
            lab: config,
            cluster: settings.cluster.clone(),
            image: settings.image.clone(),
        })?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::BUNDLED;

    #[test]
    fn every_run_has_a_lab_of_a_good_name() {
        let names = BUNDLED.iter().map(|b| b.name).chain(["A_name.with-much-in-it-that-goes-on-and-on-and-on"]);
        for name in names {
            let (one, two) =
                (lab_name(&format!("2026-11-24-1530-{name}-k3f")), lab_name(&format!("2026-11-24-1530-{name}-k3g")));
            assert!(one.len() <= 40 && one != two, "{one}");
            assert!(one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{one}");
        }
    }
}
