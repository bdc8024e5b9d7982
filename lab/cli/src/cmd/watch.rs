//! `lab watch`: the dashboard over a lab or a run that another process has up. It follows the journal and steers over the lab's socket;
//! leaving it changes nothing.

use lab_env::home::Home;
use lab_env::status::{LabStatus, status};
use lab_run::{Ask, Reply, RunDir, ask};
use lab_tui::app::Source;
use lab_tui::dashboard::{Dashboard, Left};
use lab_tui::timeline::Timeline;

use crate::args::{LookArgs, Watch};
use crate::cmd::block_on;
use crate::console::Console;
use crate::error::{Code, LabError};
use crate::follow::JournalHistory;
use crate::out;
use crate::screen;
use crate::settings::Settings;

/// Shows it.
pub fn run(args: &Watch, settings: &Settings) -> Result<Code, LabError> {
    let labs = status(&Home::new(&settings.home)).map_err(|e| LabError::failed("cannot see what is up", e))?;
    let lab = chosen(&labs, args.name.as_deref())?;
    if !screen::wanted(false) {
        return Err(LabError::input("there is no terminal to show it on")
            .hint(format!("what happened so far, in sentences: lab replay {} --plain", lab.run)));
    }
    attach(lab, &args.look, settings)
}

fn chosen<'a>(labs: &'a [LabStatus], name: Option<&str>) -> Result<&'a LabStatus, LabError> {
    let names = || labs.iter().map(|lab| lab.name.as_str()).collect::<Vec<_>>().join(", ");
    match (labs, name) {
        ([], _) => Err(LabError::input("nothing is up").hint("begin with: lab up, or: lab experiment autoscale-users")),
        ([only], None) => Ok(only),
        (_, None) => Err(LabError::input("more than one lab is up").hint(format!("name one of: {}", names()))),
        (labs, Some(name)) => labs
            .iter()
            .find(|lab| lab.name == name || lab.run == name)
            .ok_or_else(|| LabError::input(format!("lab `{name}` is not up")).hint(format!("what is up: {}", names()))),
    }
}

/// Shows one lab until it is left.
///
/// # Errors
/// Its run is not found, or the terminal is lost.
pub fn attach(lab: &LabStatus, look: &LookArgs, settings: &Settings) -> Result<Code, LabError> {
    let folder = settings.lab(&lab.name);
    let dir = run_of(lab, settings)?;
    let dash = screen::settings(look, Source::Attached(lab.name.clone()))?;
    let mut console = Console::new(Some(dir.clone()), Some(folder));
    let unheard = console.unheard();
    let timeline = Timeline::new(Box::new(JournalHistory::new(dir.journal())));
    let left = Dashboard { timeline, outside: Box::new(console), settings: dash }.run();
    unheard.try_iter().for_each(|answer| out::talk(&answer));
    let left = left.map_err(|e| LabError::failed(format!("cannot go on showing lab `{}`", lab.name), e))?;
    if left == Left::GoOn {
        out::talk(&format!("lab {} stays up; remove it with: lab down --name {0}", lab.name));
    }
    Ok(match left {
        Left::Signal(_) => Code::Interrupted,
        Left::Panicked => Code::EnvironmentFailed,
        _ => Code::Ok,
    })
}

/// The folder of a lab's run: its supervisor knows; else it is among the runs.
fn run_of(lab: &LabStatus, settings: &Settings) -> Result<RunDir, LabError> {
    let asked = block_on(ask(&settings.lab(&lab.name), &Ask::Status))?;
    let told = match &asked {
        Ok(Reply::Status { environment }) => environment.get("folder").and_then(|folder| folder.as_str()),
        _ => None,
    };
    let found = RunDir::find(&settings.runs, told.unwrap_or(&lab.run));
    found.map_err(|e| {
        LabError::refused(format!("cannot find the run of lab `{}`", lab.name), e)
            .hint("set LAB_RUNS to the folder that was current when it was brought up, or go there")
    })
}
