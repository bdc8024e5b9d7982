//! Where a lab is spoken to while it is up: answers every question, passes changes of the load to who drives it. An experiment leaves
//! its desk to a task of its own; `hold` sits at it itself.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lab_core::control::LoadChange;
use lab_core::event::{Kind, RunInfo};
use lab_core::spec::Spec;
use lab_env::{Environment, EventSink};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{RunError, chain};
use crate::interrupt::Interrupt;
use crate::steer::{self, Turn};
use crate::supervisor::{self, Ask, Reply, Socket};
use crate::up::Up;

/// Questions that are answered at the same time; further ones wait.
const AT_ONCE: usize = 8;
/// Longest wait for answers that are under way when the run ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What there is to steer at the moment.
#[derive(Clone, Default)]
pub struct Helm {
    /// The trial under way.
    pub stage: Option<Stage>,
    /// Who takes changes of its load.
    pub load: Wheel,
}

/// Who takes changes of the load.
#[derive(Clone, Default)]
pub enum Wheel {
    /// Nobody: no load is being driven.
    #[default]
    Nobody,
    /// Who drives it.
    Driver(mpsc::Sender<Turn>),
    /// Each generator by itself: whoever likes begins load there.
    Generators,
}

/// A trial under way.
#[derive(Clone)]
pub struct Stage {
    /// Where it runs.
    pub environment: Arc<dyn Environment>,
    /// Its variant's spec.
    pub spec: Arc<Spec>,
}

/// What answering needs.
#[derive(Clone)]
pub struct Desk {
    /// The run.
    pub info: Arc<RunInfo>,
    /// Name of its lab.
    pub name: String,
    /// Where events go.
    pub events: EventSink,
    /// The user's wish to stop.
    pub interrupt: Interrupt,
    /// What there is to steer.
    pub helm: watch::Receiver<Helm>,
    /// Front doors, by service.
    pub doors: Vec<(&'static str, SocketAddr)>,
}

/// A desk that answers until it is closed or dropped.
pub struct Open {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Open {
    /// Takes no more questions; returns when those that were asked are answered, so that nothing comes after it.
    pub async fn close(self) {
        drop(self.stop);
        // A panic of the task is in the log already.
        self.task.await.ok();
    }
}

impl Desk {
    /// Listens in the lab's folder, which is made when it is not there.
    ///
    /// # Errors
    /// Folder or socket cannot be made.
    pub fn open(self, folder: &Path) -> io::Result<Open> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let socket = supervisor::listen(folder)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.answer(socket, stop.clone()));
        Ok(Open { stop: stop.drop_guard(), task })
    }

    async fn answer(self, mut socket: Socket, stop: CancellationToken) {
        let mut answers = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = answers.join_next() => {}
                question = socket.recv(), if answers.len() < AT_ONCE => {
                    let Some(question) = question else { break };
                    let desk = self.clone();
                    answers.spawn(async move {
                        let reply = desk.reply(&question.ask).await;
                        question.reply(&reply).await;
                    });
                }
            }
        }
        drop(socket);
        let rest = async { while answers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ANSWERS, rest).await.is_err() {
            tracing::debug!("a question was left without an answer");
        }
        answers.shutdown().await;
    }

    /// Does what is asked, and answers.
    pub async fn reply(&self, ask: &Ask) -> Reply {
        let Helm { stage, load } = self.helm.borrow().clone();
        let done = match (ask, stage) {
            (Ask::Down | Ask::Stop, _) => {
                self.interrupt.raise_once();
                Ok(())
            }
            (Ask::Note { text }, _) => steer::note(&self.events, text).await,
            (Ask::Still { at, size, files }, _) => {
                let kind = Kind::Still { at: *at, size: *size, files: files.clone() };
                steer::still(&self.events, kind).await
            }
            (_, None) => Err("no trial is under way now".to_owned()),
            (Ask::Status, Some(stage)) => match self.status(&stage).await {
                Ok(environment) => return Reply::Status { environment },
                Err(why) => Err(why),
            },
            (Ask::Scale { workload, replicas }, Some(stage)) => {
                let scaled = stage.environment.scale(workload, *replicas, "user").await;
                scaled.map_err(|error| chain(&error.into()))
            }
            (Ask::Kill { replica }, Some(stage)) => {
                steer::kill(&self.events, &stage.environment, &stage.spec, replica).await
            }
            (Ask::SkipPhase, Some(stage)) => {
                self.turn(&stage, load, LoadChange { skip: Some(true), ..LoadChange::default() }).await
            }
            (Ask::Load { change }, Some(stage)) => self.turn(&stage, load, change.clone()).await,
        };
        match done {
            Ok(()) => Reply::Accepted,
            Err(why) => Reply::Refused { why },
        }
    }

    async fn turn(&self, stage: &Stage, load: Wheel, change: LoadChange) -> steer::Done {
        let change = steer::by_hand(change)?;
        match load {
            Wheel::Nobody => Err("no load is being driven now".to_owned()),
            Wheel::Driver(driver) => steer::turn(&driver, change).await,
            Wheel::Generators => {
                let generators = stage.environment.generators().borrow().clone();
                steer::change_running(&self.events, &generators, &change).await
            }
        }
    }

    async fn status(&self, stage: &Stage) -> Result<serde_json::Value, String> {
        let up = self.up(stage).await.map_err(|error| chain(&error))?;
        serde_json::to_value(up).map_err(|error| error.to_string())
    }

    /// What is up now.
    ///
    /// # Errors
    /// The environment cannot tell.
    pub async fn up(&self, stage: &Stage) -> Result<Up, RunError> {
        Up::now(&self.name, &self.info, (&stage.environment, &stage.spec), &self.doors).await
    }
}

#[cfg(test)]
mod tests {
    use lab_core::fixture::Scenario;

    use super::*;
    use crate::supervisor::{ask, socket_path};

    fn info() -> RunInfo {
        let first = Scenario::autoscale(1).events().into_iter().next().map(|event| event.kind);
        let Some(Kind::RunStarted(info)) = first else { panic!("a run begins with itself") };
        *info
    }

    #[tokio::test]
    async fn between_trials_a_run_takes_remarks_and_stops_once() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("labs/run");
        let (events, mut seen) = mpsc::channel(8);
        let (interrupt, helm) = (Interrupt::new(), watch::Sender::<Helm>::default());
        let desk = Desk {
            info: Arc::new(info()),
            name: "run".to_owned(),
            events,
            interrupt: interrupt.clone(),
            helm: helm.subscribe(),
            doors: Vec::new(),
        };
        let open = desk.open(&folder).expect("a socket");
        let refused = |reply| matches!(reply, Reply::Refused { why } if why == "no trial is under way now");
        let kill = Ask::Kill { replica: "user-service-1".to_owned() };
        for question in [Ask::Status, Ask::SkipPhase, kill] {
            assert!(refused(ask(&folder, &question).await.expect("an answer")), "{question:?}");
        }
        let note = Ask::Note { text: "look".to_owned() };
        assert_eq!(ask(&folder, &note).await.expect("an answer"), Reply::Accepted);
        assert_eq!(seen.recv().await.map(|seen| seen.kind), Some(Kind::Note { text: "look".to_owned() }));
        for question in [Ask::Stop, Ask::Down, Ask::Stop] {
            assert_eq!(ask(&folder, &question).await.expect("an answer"), Reply::Accepted);
        }
        assert_eq!(interrupt.count(), 1);
        open.close().await;
        assert!(!socket_path(&folder).exists() && ask(&folder, &Ask::Stop).await.is_err());
        assert!(seen.recv().await.is_none(), "nobody is left to send");
    }
}
