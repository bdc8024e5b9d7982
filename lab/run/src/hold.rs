//! `lab up`: services that stay until somebody takes them down, with their autoscalers, front doors and a journal.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lab_core::event::{Kind, Outcome, RunInfo, TrialInfo};
use lab_core::spec::{CreateMode, EnvironmentKind, Spec};
use lab_env::{EnvError, Environment, EventSink, FrontDoor, front_door};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::clock::RunClock;
use crate::conductor::{Conductor, Sink};
use crate::down::down;
use crate::error::{RunError, chain};
use crate::interrupt::Interrupt;
use crate::listen::Listener;
use crate::run::{Finished, Maker, MakerRequest};
use crate::run_dir::RunDir;
use crate::supervisor::{self, Ask, Question, Reply};
use crate::trial::{Attendants, bring_up, tell};

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

/// A lab that is up: one entry of `lab status --format json`.
#[derive(Debug, Clone, Serialize)]
pub struct Up {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub kind: EnvironmentKind,
    /// Since when, RFC 3339.
    pub since: String,
    /// The process that holds it.
    pub supervisor_pid: u32,
    /// Its run.
    pub run: String,
    /// Its services.
    pub services: Vec<ServiceUp>,
    /// Their backing services.
    pub backing: Vec<BackingUp>,
}

/// One service.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceUp {
    /// Its name.
    pub name: String,
    /// Its front door; None where the door could not be opened.
    pub url: Option<String>,
    /// Its replicas.
    pub replicas: Replicas,
}

/// Replicas, wanted and there.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Replicas {
    /// Wanted.
    pub desired: u32,
    /// Ready.
    pub ready: u32,
}

/// One backing service.
#[derive(Debug, Clone, Serialize)]
pub struct BackingUp {
    /// `store of user-service`.
    pub name: String,
    /// `sqlite`.
    pub engine: String,
    /// `real`, `compatible`, `embedded`.
    pub fidelity: String,
    /// Where it is, if it can be reached at all.
    pub address: Option<String>,
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
    folder: PathBuf,
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
        let asked = self.answer(&doors, ready).await;
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
        asked
    }

    /// Answers questions until one of them, or the user, ends it.
    async fn answer(&self, doors: &[Door], ready: impl FnOnce(&Up) + Send) -> Result<(), RunError> {
        let mut questions = supervisor::listen(&self.folder).map_err(|source| self.no_socket(source))?;
        ready(&self.up(doors).await?);
        while let Some(Some(question)) = self.interrupt.or(1, questions.recv()).await {
            if question.ask == Ask::Down {
                question.reply(&Reply::Accepted).await;
                return Ok(());
            }
            let reply = self.reply(&question, doors).await;
            question.reply(&reply).await;
        }
        Ok(())
    }

    fn no_socket(&self, source: io::Error) -> EnvError {
        let doing = format!("listen at {}", supervisor::socket_path(&self.folder).display());
        EnvError::System { doing, source }
    }

    async fn reply(&self, question: &Question, doors: &[Door]) -> Reply {
        let done = match &question.ask {
            Ask::Status => match self.up(doors).await {
                Ok(up) => match serde_json::to_value(up) {
                    Ok(environment) => return Reply::Status { environment },
                    Err(error) => Err(error.to_string()),
                },
                Err(error) => Err(chain(&error)),
            },
            Ask::Scale { workload, replicas } => {
                self.environment.scale(workload, *replicas, "user").await.map_err(|e| chain(&e.into()))
            }
            Ask::Down => Ok(()),
        };
        match done {
            Ok(()) => Reply::Accepted,
            Err(why) => Reply::Refused { why },
        }
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

    async fn up(&self, doors: &[Door]) -> Result<Up, RunError> {
        let spec = &self.info.spec;
        let mut services = Vec::new();
        for name in spec.services.names() {
            let desired = self.environment.wanted(name).await?;
            let ready = self.environment.endpoints(name)?.borrow().len();
            let door: Option<SocketAddr> = doors.iter().find(|(n, _)| *n == name).map(|(_, door)| door.address());
            services.push(ServiceUp {
                name: name.to_owned(),
                url: door.map(|address| format!("http://{address}")),
                replicas: Replicas { desired, ready: u32::try_from(ready).unwrap_or(u32::MAX) },
            });
        }
        Ok(Up {
            name: self.name.clone(),
            kind: self.environment.kind(),
            since: self.info.started_at.clone(),
            supervisor_pid: std::process::id(),
            run: self.info.run.clone(),
            services,
            backing: backing(spec),
        })
    }
}

type Door = (&'static str, FrontDoor);

/// The backing services of a spec. Embedded ones have no address.
fn backing(spec: &Spec) -> Vec<BackingUp> {
    let mut all = Vec::new();
    let mut push = |name: &str, engine: &str| {
        let (name, engine, fidelity) = (name.to_owned(), engine.to_owned(), "embedded".to_owned());
        all.push(BackingUp { name, engine, fidelity, address: None });
    };
    if let Some(user) = &spec.services.user_service {
        push("store of user-service", user.store.name());
        if user.create == CreateMode::Queued {
            push("queue of user-service", user.queue.name());
        }
    }
    if let Some(message) = &spec.services.message_service {
        push("store of message-service", message.store.name());
        push("queue of message-service", message.queue.name());
    }
    all
}
