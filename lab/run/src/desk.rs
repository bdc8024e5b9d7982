//! Where a lab is spoken to while it is up: a task of its own that answers every question and passes changes of the load to who drives
//! it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
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
    /// Front doors that are open, by service.
    pub doors: Vec<(&'static str, SocketAddr)>,
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
    /// The lab comes up: nothing of it can be changed yet.
    ComesUp,
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
    /// The run's folder.
    pub folder: PathBuf,
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
        let Helm { stage, load, doors } = self.helm.borrow().clone();
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
            (Ask::Status, Some(stage)) => match self.status(&stage, &doors).await {
                Ok(environment) => return Reply::Status { environment },
                Err(why) => Err(why),
            },
            (_, Some(_)) if matches!(load, Wheel::ComesUp) => Err("the lab is not up yet".to_owned()),
            (Ask::Scale { workload, replicas }, Some(stage)) => {
                let scaled = stage.environment.scale(workload, *replicas, "user").await;
                scaled.map_err(|error| chain(&error.into()))
            }
            (Ask::Kill { replica }, Some(stage)) => {
                steer::kill(&self.events, &stage.environment, &stage.spec, replica).await
            }
            (Ask::SkipPhase, Some(stage)) => self.turn(&stage, load, LoadChange::to_skip()).await,
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
            Wheel::Nobody | Wheel::ComesUp => Err("no load is being driven now".to_owned()),
            Wheel::Driver(driver) => steer::turn(&driver, change).await,
            Wheel::Generators => {
                let generators = stage.environment.generators().borrow().clone();
                steer::change_running(&self.events, &generators, &change).await
            }
        }
    }

    async fn status(&self, stage: &Stage, doors: &[(&str, SocketAddr)]) -> Result<serde_json::Value, String> {
        let up = self.up(stage, doors).await.map_err(|error| chain(&error))?;
        serde_json::to_value(up).map_err(|error| error.to_string())
    }

    /// What is up now, with these front doors by service.
    ///
    /// # Errors
    /// The environment cannot tell.
    pub async fn up(&self, stage: &Stage, doors: &[(&str, SocketAddr)]) -> Result<Up, RunError> {
        Up::now(&self.name, &self.info, &self.folder, (&stage.environment, &stage.spec), doors).await
    }
}

#[cfg(test)]
mod tests {
    use lab_core::fixture::Scenario;
    use lab_env::{LocalConfig, LocalEnvironment, LocalLimits};

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
            folder: home.path().join("runs/run"),
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

    #[tokio::test]
    async fn a_lab_that_comes_up_says_what_is_there_and_changes_nothing() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("labs/lab");
        let (events, _seen) = mpsc::channel(8);
        let info = info();
        let environment = LocalEnvironment::new(LocalConfig {
            exe: "lab".into(),
            lab_name: "lab".to_owned(),
            run_id: info.run.clone(),
            run_dir: home.path().to_owned(),
            home: home.path().to_owned(),
            events: events.clone(),
            default_load: String::new(),
            limits: LocalLimits::default(),
            endpoints: lab_env::Endpoints::default(),
        });
        let environment: Arc<dyn Environment> = Arc::new(environment.expect("an environment"));
        let stage = Stage { environment, spec: Arc::new(info.spec.clone()) };
        let helm = Helm { stage: Some(stage), load: Wheel::ComesUp, doors: Vec::new() };
        let (_helm, helm) = watch::channel(helm);
        let (name, run) = ("lab".to_owned(), Path::new("runs/run").to_owned());
        let desk = Desk { info: Arc::new(info), name, events, interrupt: Interrupt::new(), helm, folder: run.clone() };
        let open = desk.open(&folder).expect("a socket");
        let status = ask(&folder, &Ask::Status).await.expect("an answer");
        let Reply::Status { environment } = status else { panic!("no status: {status:?}") };
        let absolute = std::path::absolute(&run).expect("a path");
        assert_eq!(environment["folder"].as_str(), absolute.to_str(), "whoever asks may be elsewhere");
        let change = LoadChange { rate: Some(1.0), ..LoadChange::default() };
        let kill = Ask::Kill { replica: "user-service-1".to_owned() };
        for question in [Ask::Load { change }, Ask::SkipPhase, kill] {
            let reply = ask(&folder, &question).await.expect("an answer");
            assert!(matches!(&reply, Reply::Refused { why } if why == "the lab is not up yet"), "{reply:?}");
        }
        open.close().await;
    }
}
