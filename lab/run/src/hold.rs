//! `lab up`: services that stay until somebody takes them down, with their autoscalers, front doors and a journal.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lab_core::event::{Kind, Outcome, RunInfo, TrialInfo};
use lab_env::{EnvError, Environment, EventSink, FrontDoor, front_door};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::RunClock;
use crate::conductor::{Conductor, Sink};
use crate::desk::{Desk, Helm, Stage, Wheel};
use crate::down::down;
use crate::error::{RunError, chain};
use crate::interrupt::Interrupt;
use crate::listen::Listener;
use crate::run::{Finished, Maker, MakerRequest};
use crate::run_dir::RunDir;
use crate::supervisor;
use crate::trial::{Attendants, bring_up, deploy, tell};
use crate::up::Up;

/// A lab that is about to come up.
pub struct Hold {
    /// What is brought up.
    pub info: RunInfo,
    /// Where it is written.
    pub dir: RunDir,
    /// The lab's name.
    pub name: String,
    /// The lab's folder, where its socket is.
    pub folder: PathBuf,
    /// Makes the environment.
    pub make: Maker,
    /// The user's wish to stop.
    pub interrupt: Interrupt,
    /// Who is told of events.
    pub sinks: Vec<Box<dyn Sink>>,
}

impl Hold {
    /// Brings the lab up, calls `ready` once, and holds it until it is asked to go down.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn run(self, ready: impl FnOnce(&Up) + Send) -> Result<Finished, RunError> {
        let clock = RunClock::start();
        let conductor = Conductor::start(&self.dir.journal(), clock, self.sinks)?;
        let events = conductor.events.clone();
        let request =
            MakerRequest { spec: &self.info.spec, lab: self.name.clone(), run: &self.dir, events: events.clone() };
        let environment = (self.make)(request)?;
        let announcing = tokio::spawn(self.interrupt.clone().announce(events.clone()));
        let holding = Holding {
            info: self.info,
            name: self.name,
            folder: self.folder,
            run_folder: self.dir.path().to_owned(),
            interrupt: self.interrupt,
            clock,
            events,
            environment,
        };
        let finished = holding.run(ready).await;
        announcing.abort();
        conductor.finish().await?;
        finished
    }
}

struct Holding {
    info: RunInfo,
    name: String,
    /// The lab's.
    folder: PathBuf,
    run_folder: PathBuf,
    interrupt: Interrupt,
    clock: RunClock,
    events: EventSink,
    environment: Arc<dyn Environment>,
}

impl Holding {
    async fn run(self, ready: impl FnOnce(&Up) + Send) -> Result<Finished, RunError> {
        let held = self.begin_and_hold(ready).await;
        let workloads: Vec<&str> = self.info.spec.services.names().collect();
        let down = down(&self.events, &self.interrupt, &self.environment, &workloads, &self.name).await;
        let interrupted_before_ready = matches!(held, Err(RunError::InterruptedEarly));
        let error = held.err().filter(|e| !e.is_interrupt());
        let outcome = match (&error, interrupted_before_ready) {
            (Some(_), _) => Outcome::Failed,
            (None, true) => Outcome::Interrupted,
            (None, false) => Outcome::Completed,
        };
        tell(&self.events, Kind::TrialEnded { outcome, error: error.as_ref().map(chain) }).await?;
        tell(&self.events, Kind::RunEnded { outcome }).await?;
        let error = error.or(down.result.err());
        Ok(Finished { outcome, error, left: down.left, interrupted_before_ready })
    }

    async fn begin_and_hold(&self, ready: impl FnOnce(&Up) + Send) -> Result<(), RunError> {
        tell(&self.events, Kind::RunStarted(Box::new(self.info.clone()))).await?;
        let trial = TrialInfo { trial: 0, variant: 0, block: 0, seed: self.info.spec.seed };
        tell(&self.events, Kind::TrialStarted(trial)).await?;
        tokio::select! {
            biased;
            // Without a journal nothing may go on but the way down.
            () = self.events.closed() => Err(RunError::ConductorGone),
            held = self.hold(ready) => held,
        }
    }

    async fn hold(&self, ready: impl FnOnce(&Up) + Send) -> Result<(), RunError> {
        // Known before anything is up, so said before.
        supervisor::check(&self.folder).map_err(|source| self.no_socket(source))?;
        let bring_up = bring_up(&self.events, &self.environment, &self.info.spec);
        self.interrupt.or(1, bring_up).await.ok_or(RunError::InterruptedEarly)??;
        let stage = Stage { environment: Arc::clone(&self.environment), spec: Arc::new(self.info.spec.clone()) };
        let coming_up = Helm { stage: Some(stage.clone()), load: Wheel::ComesUp, doors: Vec::new() };
        let (steering, helm) = watch::channel(coming_up);
        let desk = Desk {
            info: Arc::new(self.info.clone()),
            name: self.name.clone(),
            events: self.events.clone(),
            interrupt: self.interrupt.clone(),
            helm,
            folder: self.run_folder.clone(),
        };
        // Only who has the lab may take the place of its socket, and has to give it up before others can have the lab.
        let open = desk.clone().open(&self.folder).map_err(|source| self.no_socket(source))?;
        let held = self.deploy_and_hold(&desk, stage, &steering, ready).await;
        open.close().await;
        held
    }

    async fn deploy_and_hold(
        &self,
        desk: &Desk,
        stage: Stage,
        helm: &watch::Sender<Helm>,
        ready: impl FnOnce(&Up) + Send,
    ) -> Result<(), RunError> {
        let deploy = deploy(&self.events, &self.environment, &self.info.spec);
        self.interrupt.or(1, deploy).await.ok_or(RunError::InterruptedEarly)??;
        let doors = self.open_doors().await?;
        let attendants = Attendants::start(&self.environment, &self.info.spec, &self.events)?;
        let stop = CancellationToken::new();
        let listener = Listener {
            clock: self.clock,
            generators: self.environment.generators(),
            events: self.events.clone(),
            samples: attendants.samples.clone(),
            stop: stop.clone(),
        };
        let listening = tokio::spawn(listener.run());
        let addresses: Vec<_> = doors.iter().map(|(name, door)| (*name, door.address())).collect();
        let up = desk.up(&stage, &addresses).await;
        helm.send_replace(Helm { stage: Some(stage), load: Wheel::Generators, doors: addresses });
        if let Ok(up) = &up {
            ready(up);
            self.interrupt.reached(1).await;
        }
        stop.cancel();
        // The listener has no result; a panic in it is already in the log.
        drop(listening.await);
        attendants.stop().await;
        for (_, door) in doors {
            // Who asks a third time does not wait for requests in flight.
            if self.interrupt.or(3, door.close()).await.is_none() {
                tracing::debug!("a front door was left open");
            }
        }
        up.map(drop)
    }

    fn no_socket(&self, source: io::Error) -> EnvError {
        let doing = format!("listen at {}", supervisor::socket_path(&self.folder).display());
        EnvError::System { doing, source }
    }

    async fn open_doors(&self) -> Result<Vec<Door>, RunError> {
        let mut doors = Vec::new();
        for workload in self.info.spec.services.names() {
            if let Some(port) = front_door::usual_port(workload) {
                doors.push((workload, FrontDoor::open(port, self.environment.endpoints(workload)?).await?));
            }
        }
        Ok(doors)
    }
}

type Door = (&'static str, FrontDoor);
