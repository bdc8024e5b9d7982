//! `lab experiment NAME`: all trials of an experiment; ends with the verdict and the report's path.

use std::path::Path;
use std::sync::Arc;

use lab_core::event::{Outcome, RunInfo};
use lab_core::plan::Plan;
use lab_core::spec::{EnvironmentKind, Experiment, Spec};
use lab_core::templates;
use lab_core::words;
use lab_env::{EnvError, Environment, EventSink, LocalConfig, LocalEnvironment, LocalLimits};
use lab_run::{Finished, Interrupt, Maker, Run, RunDir};

use crate::args::Experiment as ExperimentArgs;
use crate::cmd::report::Written;
use crate::cmd::spec;
use crate::error::{Code, LabError};
use crate::out;
use crate::plain::Plain;
use crate::settings::Settings;
use crate::signals;

/// Runs it.
pub async fn run(args: ExperimentArgs, settings: Settings) -> Result<Code, LabError> {
    let experiment = spec::read(&args.spec)?;
    let plan = Plan::of(&experiment);
    let dir = new_run(&settings, &experiment.spec.name)?;
    out::talk(&format!("{}: {}", experiment.spec.name, experiment.spec.question));
    let trials = words::plural(plan.order.len() as u64, "trial");
    out::talk(&format!("{trials}, about {}; journal in {}", plan.wall, dir.path().display()));
    let info = run_info(&dir, &experiment, &plan);
    dir.write_info(&info).map_err(|e| LabError::failed("cannot write the run", e))?;

    let interrupt = Interrupt::new();
    signals::listen(&interrupt)?;
    let run = Run {
        info,
        dir: dir.clone(),
        make: maker(&settings),
        interrupt: interrupt.clone(),
        sinks: vec![Box::new(Plain::new())],
    };
    let finished = run.run().await.map_err(|e| LabError::failed("the run stopped", e))?;
    let written = Written::of(&dir)?;
    written.print(args.format)?;
    conclude(finished, &written)
}

/// The exit code, by what weighs most: failed, left behind, interrupted, then what the report says.
fn conclude(finished: Finished, written: &Written) -> Result<Code, LabError> {
    if let Some(error) = finished.error {
        return Err(
            LabError::failed("the run failed", error).hint("the report above holds what was measured until then")
        );
    }
    if written.left_behind() {
        out::talk("something was left running; remove it with: lab clean");
        return Ok(Code::LeftRunning);
    }
    if finished.outcome == Outcome::Interrupted {
        return Ok(Code::Interrupted);
    }
    Ok(written.code())
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
        started_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
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
        let environment =
            local(&settings, request.spec, &request.lab, request.run.id(), request.run.path(), request.events)?;
        Ok(environment)
    })
}

/// The environment of a spec.
///
/// # Errors
/// The lab's name or home cannot be used.
pub fn local(
    settings: &Settings,
    spec: &Spec,
    lab: &str,
    run: &str,
    run_dir: &Path,
    events: EventSink,
) -> Result<Arc<dyn Environment>, EnvError> {
    let target = spec.load.as_ref().map_or(lab_core::spec::Target::UserService, |load| load.target);
    let default_load = serde_json::to_string(&templates::default_plan(target, run)).unwrap_or_default();
    match spec.environment {
        EnvironmentKind::Local => Ok(Arc::new(LocalEnvironment::new(LocalConfig {
            exe: settings.exe.clone(),
            lab_name: lab.to_owned(),
            run_id: run.to_owned(),
            run_dir: run_dir.to_owned(),
            home: settings.home.clone(),
            events,
            default_load,
            limits: LocalLimits::default(),
        })?)),
    }
}
