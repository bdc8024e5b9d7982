//! A whole run: every trial of a plan, one after the other, into one journal.

use std::sync::Arc;

use lab_core::event::{Kind, Outcome, RunInfo};
use lab_core::spec::Spec;
use lab_env::{Environment, EventSink};
use tokio::time::Instant;

use crate::clock::RunClock;
use crate::conductor::{Conductor, Sink};
use crate::error::RunError;
use crate::interrupt::Interrupt;
use crate::run_dir::RunDir;
use crate::trial::{Trial, tell};

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
        let trials =
            Trials { info: self.info, dir: self.dir, make: self.make, interrupt: self.interrupt, clock, events };
        let finished = tokio::select! {
            finished = trials.run() => Some(finished),
            () = conductor.failed() => None,
        };
        announcing.abort();
        conductor.finish().await?;
        finished.ok_or(RunError::ConductorGone)?
    }
}

struct Trials {
    info: RunInfo,
    dir: RunDir,
    make: Maker,
    interrupt: Interrupt,
    clock: RunClock,
    events: EventSink,
}

impl Trials {
    async fn run(self) -> Result<Finished, RunError> {
        tell(&self.events, Kind::RunStarted(Box::new(self.info.clone()))).await?;
        let wall = self.info.spec.budget.wall;
        let deadline = Instant::now() + wall.to_duration();
        let mut finished = Finished { outcome: Outcome::Completed, error: None };
        for info in self.info.order.clone() {
            let trial = self.trial(info);
            let over = watch_budget(deadline, &self.interrupt);
            match tokio::select! { done = trial => done, error = over => Err(error) } {
                Ok(Outcome::Completed) => {}
                Ok(outcome) => finished.outcome = outcome,
                Err(error) => finished = Finished { outcome: Outcome::Failed, error: Some(error) },
            }
            if Instant::now() >= deadline && finished.error.is_none() && self.interrupt.count() > 0 {
                finished = Finished { outcome: Outcome::Failed, error: Some(RunError::OverBudget { wall }) };
            }
            if finished.outcome != Outcome::Completed || self.interrupt.count() > 0 {
                break;
            }
        }
        tell(&self.events, Kind::RunEnded { outcome: finished.outcome }).await?;
        Ok(finished)
    }

    async fn trial(&self, info: lab_core::event::TrialInfo) -> Result<Outcome, RunError> {
        let variant = usize::try_from(info.variant).ok().and_then(|index| self.info.variants.get(index));
        let spec = variant.map_or(&self.info.spec, |v| &v.spec);
        let request = MakerRequest { spec, lab: self.dir.id().to_owned(), run: &self.dir, events: self.events.clone() };
        let environment = (self.make)(request)?;
        let trial = Trial {
            clock: self.clock,
            events: self.events.clone(),
            interrupt: self.interrupt.clone(),
            environment,
            spec: spec.clone(),
            info,
            run: self.dir.id().to_owned(),
        };
        trial.run().await
    }
}

/// Past the deadline it asks the trial to stop as a user would; it never ends by itself, the trial does.
async fn watch_budget(deadline: Instant, interrupt: &Interrupt) -> RunError {
    tokio::time::sleep_until(deadline).await;
    interrupt.raise();
    std::future::pending().await
}
