//! A whole run: every trial of a plan, one after the other, into one journal.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use lab_core::event::{Kind, Outcome, RunInfo};
use lab_core::spec::Spec;
use lab_env::{Environment, EventSink};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::RunClock;
use crate::conductor::{Conductor, Sink};
use crate::desk::{self, Desk, Helm, Stage};
use crate::error::RunError;
use crate::interrupt::Interrupt;
use crate::run_dir::RunDir;
use crate::supervisor;
use crate::trial::{Ended, Trial, tell};

/// What an environment is made from.
#[derive(Debug)]
pub struct MakerRequest<'a> {
    /// The variant.
    pub spec: &'a Spec,
    /// Name of the lab: nobody else holds it.
    pub lab: String,
    /// The run.
    pub run: &'a RunDir,
    /// Where it announces what it sees.
    pub events: EventSink,
}

/// Makes the environment of one trial.
pub type Maker = Arc<dyn Fn(MakerRequest<'_>) -> Result<Arc<dyn Environment>, RunError> + Send + Sync>;

/// A run that is about to begin.
pub struct Run {
    /// What is run.
    pub info: RunInfo,
    /// Where it is written.
    pub dir: RunDir,
    /// Its lab's folder, where its socket is; None: it cannot be steered from outside.
    pub folder: Option<PathBuf>,
    /// Makes environments.
    pub make: Maker,
    /// The user's wish to stop.
    pub interrupt: Interrupt,
    /// Who is told of events.
    pub sinks: Vec<Box<dyn Sink>>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// Why, when it failed.
    pub error: Option<RunError>,
    /// What was left running, one name each; `lab clean` removes it.
    pub left: Vec<String>,
    /// True when it was stopped before the services were ready.
    pub interrupted_before_ready: bool,
}

impl Run {
    /// Runs every trial. Errors of trials are in the result, so that the journal can be read all the same.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn run(self) -> Result<Finished, RunError> {
        let clock = RunClock::start();
        let conductor = Conductor::start(&self.dir.journal(), clock, self.sinks)?;
        let events = conductor.events.clone();
        let announcing = tokio::spawn(self.interrupt.clone().announce(events.clone()));
        let trials = Trials {
            info: self.info,
            dir: self.dir,
            folder: self.folder,
            make: self.make,
            interrupt: self.interrupt,
            clock,
            events,
            helm: watch::Sender::default(),
        };
        let finished = trials.run().await;
        announcing.abort();
        conductor.finish().await?;
        finished
    }
}

struct Trials {
    info: RunInfo,
    dir: RunDir,
    folder: Option<PathBuf>,
    make: Maker,
    interrupt: Interrupt,
    clock: RunClock,
    events: EventSink,
    helm: watch::Sender<Helm>,
}

impl Trials {
    async fn run(self) -> Result<Finished, RunError> {
        tell(&self.events, Kind::RunStarted(Box::new(self.info.clone()))).await?;
        let desk = self.open_desk().await?;
        let wall = self.info.spec.budget.wall;
        let deadline = Instant::now() + wall.to_duration();
        let mut finished =
            Finished { outcome: Outcome::Completed, error: None, left: Vec::new(), interrupted_before_ready: false };
        let mut remaining = self.info.order.len();
        for info in self.info.order.clone() {
            let ended = tokio::select! {
                ended = self.trial(info) => ended.unwrap_or_else(Ended::failed),
                never = self.watch_budget(deadline) => match never {},
            };
            remaining -= 1;
            (finished.outcome, finished.error) = (ended.outcome, ended.error);
            finished.left.extend(ended.left);
            finished.interrupted_before_ready |= ended.interrupted_early && self.interrupt.count() > 0;
            if finished.outcome == Outcome::Completed && remaining > 0 && self.interrupt.count() > 0 {
                finished.outcome = Outcome::Interrupted;
            }
            let cut = finished.outcome == Outcome::Interrupted || remaining > 0;
            if self.interrupt.is_over_budget() && self.interrupt.count() == 0 && finished.error.is_none() && cut {
                (finished.outcome, finished.error) = (Outcome::Failed, Some(RunError::OverBudget { wall }));
            }
            if finished.outcome != Outcome::Completed {
                break;
            }
        }
        if let Some(desk) = desk {
            // A remark after the run's end would be the run's last event.
            desk.close().await;
        }
        tell(&self.events, Kind::RunEnded { outcome: finished.outcome }).await?;
        Ok(finished)
    }

    /// Where the run is steered from. It goes on without one.
    async fn open_desk(&self) -> Result<Option<desk::Open>, RunError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let desk = Desk {
            info: Arc::new(self.info.clone()),
            name: folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            events: self.events.clone(),
            interrupt: self.interrupt.clone(),
            helm: self.helm.subscribe(),
            folder: self.dir.path().to_owned(),
        };
        match desk.open(folder) {
            Ok(open) => Ok(Some(open)),
            Err(error) => {
                let at = supervisor::socket_path(folder);
                let text = format!("this run cannot be steered: cannot listen at {}: {error}", at.display());
                tell(&self.events, Kind::Warning { text }).await?;
                Ok(None)
            }
        }
    }

    /// Past the deadline it asks the trial to drain and report; it never ends by itself, the trial does.
    async fn watch_budget(&self, deadline: Instant) -> Infallible {
        tokio::time::sleep_until(deadline).await;
        if !self.interrupt.is_over_budget() {
            let text = format!("the budget of {} is used up: the run drains and ends", self.info.spec.budget.wall);
            if let Err(error) = tell(&self.events, Kind::Warning { text }).await {
                tracing::debug!(%error, "the used up budget is not in the journal");
            }
            self.interrupt.budget_used_up();
        }
        std::future::pending().await
    }

    async fn trial(&self, info: lab_core::event::TrialInfo) -> Result<Ended, RunError> {
        let variant = usize::try_from(info.variant).ok().and_then(|index| self.info.variants.get(index));
        let spec = variant.map_or(&self.info.spec, |v| &v.spec);
        let request = MakerRequest { spec, lab: self.dir.id().to_owned(), run: &self.dir, events: self.events.clone() };
        let environment = (self.make)(request)?;
        let stage = Stage { environment: Arc::clone(&environment), spec: Arc::new(spec.clone()) };
        self.helm.send_replace(Helm { stage: Some(stage), ..Helm::default() });
        let trial = Trial {
            clock: self.clock,
            events: self.events.clone(),
            interrupt: self.interrupt.clone(),
            environment,
            spec: spec.clone(),
            info,
            run: self.dir.id().to_owned(),
            helm: self.helm.clone(),
        };
        let ended = trial.run().await;
        self.helm.send_replace(Helm::default());
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use lab_core::event::{HostInfo, TrialInfo};
    use lab_core::spec;

    use super::*;

    fn run(folder: &std::path::Path, trials: u32) -> Run {
        let text = "question: Does it end?\nservices: {user-service: {}}\n";
        let experiment = spec::parse("t.yaml", text, &[], &|name| Err(name.to_owned())).expect("a spec");
        let dir = RunDir::create(folder, "t", jiff::Timestamp::UNIX_EPOCH).expect("a folder");
        let info = RunInfo {
            run: dir.id().to_owned(),
            version: "0".to_owned(),
            started_at: "1970-01-01T00:00:00Z".to_owned(),
            spec: experiment.spec,
            variants: experiment.variants,
            order: (0..trials).map(|trial| TrialInfo { trial, variant: 0, block: 0, seed: 1 }).collect(),
            host: HostInfo::default(),
        };
        let make: Maker = Arc::new(|_| Err(RunError::NoGenerator));
        Run { info, dir, folder: None, make, interrupt: Interrupt::new(), sinks: Vec::new() }
    }

    #[tokio::test]
    async fn an_environment_that_cannot_be_made_fails_the_run_and_the_journal_has_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = run(folder.path(), 2);
        let journal = run.dir.journal();
        let finished = run.run().await.expect("a result");
        assert_eq!(finished.outcome, Outcome::Failed);
        assert!(matches!(finished.error, Some(RunError::NoGenerator)));
        let text = std::fs::read_to_string(journal).expect("a journal");
        assert!(text.lines().last().is_some_and(|line| line.contains("run-ended")), "{text}");
    }

    #[tokio::test]
    async fn a_run_without_its_socket_says_so_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut run = run(folder.path(), 1);
        run.folder = Some(folder.path().join("x".repeat(120)));
        let journal = run.dir.journal();
        assert!(matches!(run.run().await.expect("a result").error, Some(RunError::NoGenerator)));
        let text = std::fs::read_to_string(journal).expect("a journal");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("run-started") && lines[2].contains("cannot be steered"), "{text}");
        assert!(lines.last().is_some_and(|line| line.contains("run-ended")), "{text}");
    }
}
