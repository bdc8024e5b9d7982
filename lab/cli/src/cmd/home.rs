//! `lab` on a terminal: the home screen, and what is chosen on it, one after the other until the user leaves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lab_core::judge::Verdict;
use lab_core::unit::Span;
use lab_core::validity::Validity;
use lab_env::home::Home;
use lab_env::status::{LabStatus, status};
use lab_run::{RunDir, list_runs, socket_path};
use lab_tui::app::Source;
use lab_tui::dashboard::{HomeLeft, HomeSettings, home_loop};
use lab_tui::home::{ExperimentRow, FindingRow, HomeAction, HomeData, LabRow, LastRun, RunRow};

use super::{block_on, doctor, down, experiment, replay, runs, watch};
use crate::args::{Down, Experiment, Format, LookArgs, Replay, SpecArgs};
use crate::catalogue::BUNDLED;
use crate::cmd::spec;
use crate::console::page;
use crate::error::{Code, LabError};
use crate::out;
use crate::screen;
use crate::settings::Settings;
use crate::signals::BetweenScreens;

/// Runs that are listed.
const MOST_RUNS: usize = 200;

/// Shows it until the user leaves.
pub fn run(settings: &Settings) -> Result<Code, LabError> {
    let look = LookArgs::default();
    let signals = BetweenScreens::listen()?;
    let findings = block_on(doctor::findings(settings))??;
    let mut message = None;
    loop {
        let dash = screen::settings(&look, Source::Recorded)?;
        let (look_on, keymap, marks) = (dash.look, dash.keymap, dash.marks);
        let mut looker = Looker { settings: settings.clone(), findings: findings.clone(), known: BTreeMap::new() };
        let home = HomeSettings { look: look_on, keymap, marks, message: message.take() };
        let left = home_loop(Box::new(move || looker.look()), home);
        let action = match left.map_err(|e| LabError::failed("the home screen ended", e))? {
            HomeLeft::Action(HomeAction::Quit) => return Ok(say_what_stays(settings)),
            HomeLeft::Action(action) => action,
            HomeLeft::Signal(_) => return Ok(Code::Interrupted),
            HomeLeft::Panicked => return Ok(Code::EnvironmentFailed),
        };
        message = match act(action, &look, settings, &signals) {
            Ok(Next::End(code)) => return Ok(code),
            Ok(Next::Home(words)) => words,
            Err(error) => {
                out::error(&error);
                Some(error.to_string())
            }
        };
        if signals.asked_to_end() {
            return Ok(Code::Interrupted);
        }
    }
}

/// What comes after what was chosen.
enum Next {
    /// The home screen, with some words in its last row.
    Home(Option<String>),
    /// The end: a screen was ended by a signal.
    End(Code),
}

impl Next {
    fn after(screen: Code) -> Self {
        if screen == Code::Interrupted { Self::End(screen) } else { Self::Home(None) }
    }
}

/// Does what was chosen.
fn act(action: HomeAction, look: &LookArgs, settings: &Settings, signals: &BetweenScreens) -> Result<Next, LabError> {
    let words = match action {
        HomeAction::Start(name) => Some(start(name, look, settings)?),
        HomeAction::Attach(name) => {
            let labs = status(&Home::new(&settings.home)).map_err(|e| LabError::failed("cannot see what is up", e))?;
            match labs.iter().find(|lab| lab.name == name) {
                Some(lab) => return watch::attach(lab, look, settings).map(Next::after),
                None => Some(format!("lab {name} is not up any more")),
            }
        }
        HomeAction::TakeDown(name) => {
            let down = down::run(Down { name: name.clone(), all: false }, settings.clone());
            let code = signals.ending(|| block_on(down))??;
            let how = if code == Code::Ok { "is down" } else { "left something running; try: lab clean" };
            Some(format!("lab {name} {how}"))
        }
        HomeAction::Replay(run) => {
            let args = Replay { run, at: None, speed: None, look: look.clone(), plain: false };
            return replay::run(&args, settings).map(Next::after);
        }
        HomeAction::Report(run) => {
            let run = RunDir::find(&settings.runs, &run).map_err(|e| LabError::refused("cannot find the run", e))?;
            signals.lending(|| page(&run.path().join("report.md"))).err()
        }
        HomeAction::Refresh | HomeAction::Suspend | HomeAction::Quit => None,
    };
    Ok(Next::Home(words))
}

fn start(name: String, look: &LookArgs, settings: &Settings) -> Result<String, LabError> {
    let spec = SpecArgs {
        experiment: name.clone(),
        environment: None,
        kubeconfig: None,
        sets: Vec::new(),
        endpoints: Vec::new(),
    };
    let args = Experiment { spec, with: Vec::new(), plain: false, look: look.clone(), format: Format::Text };
    let code = block_on(experiment::run(args, settings.clone()))??;
    Ok(match code {
        Code::Ok => format!("{name}: all that was expected holds"),
        Code::ExpectationFailed => format!("{name}: an expectation does not hold"),
        Code::Interrupted => format!("{name} was interrupted; its report holds what was measured"),
        Code::LeftRunning => format!("{name} left something running; remove it with: lab clean"),
        _ => format!("{name}: the measurement decides nothing"),
    })
}

/// The last line that stays on the terminal.
fn say_what_stays(settings: &Settings) -> Code {
    for lab in status(&Home::new(&settings.home)).unwrap_or_default() {
        out::talk(&format!("lab {} stays up; remove it with: lab down --name {0}", lab.name));
    }
    Code::Ok
}

/// Looks at everything that is listed, and remembers what cannot change.
struct Looker {
    settings: Settings,
    findings: Vec<FindingRow>,
    /// Runs whose summary was read, by id.
    known: BTreeMap<String, RunRow>,
}

impl Looker {
    fn look(&mut self) -> HomeData {
        let runs = self.runs();
        let experiments = BUNDLED.iter().map(|bundled| experiment_row(bundled.name, bundled.text, &runs)).collect();
        let labs = status(&Home::new(&self.settings.home)).unwrap_or_default();
        let labs = labs.iter().map(|lab| self.lab_row(lab)).collect();
        HomeData { experiments, labs, runs, findings: self.findings.clone() }
    }

    fn runs(&mut self) -> Vec<RunRow> {
        let runs = list_runs(&self.settings.runs).unwrap_or_default();
        runs.iter().rev().take(MOST_RUNS).map(|run| self.run_row(run)).collect()
    }

    fn run_row(&mut self, run: &RunDir) -> RunRow {
        if let Some(known) = self.known.get(run.id()) {
            return known.clone();
        }
        let summary = runs::summary(run);
        let word = |key: &str| Some(summary.as_ref()?.get(key)?.as_str()?.to_owned());
        let info = runs::info(run);
        let row = RunRow {
            id: run.id().to_owned(),
            experiment: info.as_ref().map(|i| i.spec.name.clone()).unwrap_or_default(),
            when: info.map(|i| when(&i.started_at)).unwrap_or_default(),
            verdict: word("verdict").and_then(|v| verdict(&v)),
            validity: word("validity").and_then(|v| validity(&v)),
            complete: summary.as_ref().and_then(|s| s.get("complete")?.as_bool()).unwrap_or(false),
        };
        if summary.is_some() {
            self.known.insert(run.id().to_owned(), row.clone());
        }
        row
    }

    fn lab_row(&self, lab: &LabStatus) -> LabRow {
        let since: Option<Timestamp> = lab.since.parse().ok();
        let age = since.map_or(0, |since| Timestamp::now().as_second().saturating_sub(since.as_second()));
        LabRow {
            name: lab.name.clone(),
            kind: "local".to_owned(),
            since: when(&lab.since),
            age: Span::from_secs(u64::try_from(age).unwrap_or(0)),
            cost: "costs nothing".to_owned(),
            what: lab.run.clone(),
            steerable: socket_path(&self.settings.lab(&lab.name)).exists(),
        }
    }
}

fn experiment_row(name: &str, text: &str, runs: &[RunRow]) -> ExperimentRow {
    let last = runs
        .iter()
        .filter(|run| run.experiment == name)
        .find_map(|run| Some(LastRun { verdict: run.verdict?, when: run.when.clone(), run: run.id.clone() }));
    ExperimentRow { name: name.to_owned(), question: spec::question(text).unwrap_or_default(), last }
}

/// `Nov 24 15:30`, in the user's time zone.
fn when(stamp: &str) -> String {
    let stamp: Option<Timestamp> = stamp.parse().ok();
    stamp.map(|t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%b %d %H:%M").to_string()).unwrap_or_default()
}

fn verdict(word: &str) -> Option<Verdict> {
    [Verdict::Pass, Verdict::Fail, Verdict::CannotTell].into_iter().find(|v| v.text().replace(' ', "-") == word)
}

fn validity(word: &str) -> Option<Validity> {
    [Validity::Valid, Validity::Suspect, Validity::Invalid].into_iter().find(|v| v.text() == word)
}
