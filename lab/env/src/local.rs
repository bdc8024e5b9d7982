//! The environment `local`: replicas are child processes of this machine, backing services are embedded in them or were there before.

mod check;
mod limit;
mod process;
mod stop_continue;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lab_core::control::Endpoint;
use lab_core::event::ReplicaUsage;
use lab_core::fault::{FaultTarget, Injury};
use lab_core::spec::{EnvironmentKind, Spec};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::limit::Limiter;
use self::process::{Processes, Shared};
use crate::backing::{self, Addresses, Endpoints, Ready};
use crate::hold::{Files, Ground, Hold};
use crate::home::{Home, check_name};
use crate::replicas::{Limits, Places, Replicas, Runner, Template, announce};
use crate::system::{blocking, to_its_end};
use crate::{EnvError, Environment, EventSink, Finding, GeneratorAddress, Removal, ReplicaState};

/// Who announces.
const SRC: &str = "env.local";

/// What a local environment is made of.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The executable that answers `serve SERVICE …` and [`crate::reaper::VERB`].
    pub exe: PathBuf,
    /// Name of the lab.
    pub lab_name: String,
    /// Id of the run.
    pub run_id: String,
    /// The run's directory; replicas write `logs/<replica>.log` in it.
    pub run_dir: PathBuf,
    /// `LAB_HOME`.
    pub home: PathBuf,
    /// Where everything is announced. Whoever waits for a method here must go on receiving, or it may wait for ever.
    pub events: EventSink,
    /// JSON of the `LoadPlan` that `GET /start` of a load-generator begins.
    pub default_load: String,
    /// Deadlines.
    pub limits: LocalLimits,
    /// Backing servers that are there already.
    pub endpoints: Endpoints,
}

impl LocalConfig {
    /// What its lab is held with; `reader` reads the lab's files when that is not this user.
    pub(crate) fn ground(&self, reader: Option<u32>) -> Ground {
        Ground {
            exe: self.exe.clone(),
            lab_name: self.lab_name.clone(),
            run_id: self.run_id.clone(),
            run_dir: self.run_dir.clone(),
            home: Home::new(&self.home),
            default_load: self.default_load.clone(),
            reader,
        }
    }
}

/// Deadlines of a local environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalLimits {
    /// From a deploy's begin until its replicas are ready.
    pub ready: Duration,
    /// Between SIGTERM and SIGKILL of a replica that is scaled away.
    pub drain: Duration,
}

impl Default for LocalLimits {
    fn default() -> Self {
        Self { ready: Duration::from_secs(30), drain: Duration::from_secs(15) }
    }
}

/// Child processes as replicas. Dropping it without `down` ends them all the same: its reaper sees to that.
#[derive(Debug)]
pub struct LocalEnvironment {
    inner: Arc<Inner>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Inner {
    config: LocalConfig,
    ground: Ground,
    hold: Mutex<Option<Hold>>,
    replicas: Replicas,
    /// Written by `up`, read by `deploy`.
    addresses: watch::Sender<Addresses>,
}

impl LocalEnvironment {
    /// An environment that is not up; nothing is made or read yet.
    ///
    /// # Errors
    /// The lab's name is not 1 to 40 of `a-z 0-9 -`.
    pub fn new(config: LocalConfig) -> Result<Self, EnvError> {
        check_name(&config.lab_name)?;
        let stop = CancellationToken::new();
        let limits = Limits { ready: config.limits.ready, drain: config.limits.drain };
        let ground = config.ground(None);
        let replicas = Replicas::new(SRC, config.events.clone(), limits, stop.clone());
        let (addresses, _) = watch::channel(Addresses::default());
        let inner = Inner { config, ground, hold: Mutex::new(None), replicas, addresses };
        Ok(Self { inner: Arc::new(inner), _stop: stop.drop_guard() })
    }
}

#[async_trait]
impl Environment for LocalEnvironment {
    fn kind(&self) -> EnvironmentKind {
        EnvironmentKind::Local
    }

    async fn check(&self, spec: &Spec) -> Vec<Finding> {
        let (inner, spec) = (Arc::clone(&self.inner), spec.clone());
        let servers = backing::check(&spec, &self.inner.config.endpoints, EnvironmentKind::Local);
        let found = blocking(move || Ok(check::check(&inner.config, &inner.ground.home, &spec))).await;
        let mut found = found.unwrap_or_else(|error| vec![Finding::of(&error)]);
        found.extend(servers);
        found
    }

    async fn up(&self, spec: &Spec) -> Result<(), EnvError> {
        to_its_end(Arc::clone(&self.inner).up(spec.clone())).await
    }

    async fn deploy(&self, spec: &Spec, workload: &str) -> Result<(), EnvError> {
        let template = Template::of(spec, workload, &self.inner.places()?, crate::host::cores())?;
        self.inner.replicas.deploy(spec, template, &self.inner.ground.logs()).await
    }

    async fn scale(&self, workload: &str, replicas: u32, cause: &str) -> Result<(), EnvError> {
        self.inner.replicas.scale(workload, replicas, cause)
    }

    async fn wanted(&self, workload: &str) -> Result<u32, EnvError> {
        self.inner.replicas.wanted(workload)
    }

    async fn replicas(&self, workload: &str) -> Result<Vec<ReplicaState>, EnvError> {
        self.inner.replicas.states(workload)
    }

    fn endpoints(&self, workload: &str) -> Result<watch::Receiver<Vec<Endpoint>>, EnvError> {
        self.inner.replicas.endpoints(workload)
    }

    async fn observe(&self, workload: &str) -> Result<Vec<ReplicaUsage>, EnvError> {
        self.inner.replicas.observe(workload).await
    }

    fn generators(&self) -> watch::Receiver<Vec<GeneratorAddress>> {
        self.inner.replicas.generators()
    }

    async fn fault(&self, target: &FaultTarget, injury: Injury) -> Result<Vec<String>, EnvError> {
        match target {
            FaultTarget::Workload(workload) => self.inner.replicas.fault(workload, injury).await,
            // Servers that were there before belong to somebody else, and embedded ones are part of their service.
            FaultTarget::Role(role) => {
                Err(EnvError::CannotInjure { target: role.name().to_owned(), done: injury.done() })
            }
        }
    }

    async fn kill(&self, replica: &str) -> Result<(), EnvError> {
        self.inner.replicas.kill(replica).await
    }

    async fn down(&self) -> Result<Removal, EnvError> {
        to_its_end(Arc::clone(&self.inner).down()).await
    }
}

impl Inner {
    async fn up(self: Arc<Self>, spec: Spec) -> Result<(), EnvError> {
        let mut slot = self.hold.lock().await;
        if slot.is_some() {
            return Ok(());
        }
        let taker = Arc::clone(&self);
        let (hold, shared) = blocking(move || {
            let hold = Hold::take(&taker.ground)?;
            let shared = taker.shared(&hold);
            Ok((hold, shared))
        })
        .await?;
        let addresses = match backing::local(&self.ready(&hold), &spec, &self.config.endpoints).await {
            Ok(addresses) => addresses,
            Err(error) => {
                hold.abandon().await;
                return Err(error);
            }
        };
        self.addresses.send_replace(addresses);
        for fidelity in check::fidelity(&shared.limiter, &spec) {
            announce(&self.config.events, SRC, fidelity).await;
        }
        let runner: Arc<dyn Runner> = Arc::new(Processes(Arc::new(shared)));
        self.replicas.start(&spec, &runner, &hold.token)?;
        *slot = Some(hold);
        Ok(())
    }

    fn ready(&self, hold: &Hold) -> Ready {
        let folder = hold.lab().path().join("backing");
        let places =
            backing::Places { files: folder.clone(), seen: folder, owner: None, own: hold.lab().path().join("own") };
        Ready::new(&self.ground, hold, places, (&self.config.events, SRC))
    }

    fn shared(&self, hold: &Hold) -> Shared {
        Shared {
            exe: self.config.exe.clone(),
            run: self.config.run_id.clone(),
            owner: hold.owner.clone(),
            lab: hold.lab().name().to_owned(),
            logs: self.ground.logs(),
            ledger: Arc::clone(&hold.ledger),
            limiter: Limiter::detect(&hold.owner),
        }
    }

    /// Where replicas listen and find their files.
    fn places(&self) -> Result<Places, EnvError> {
        let Files { data, token, default_load, .. } = Files::of(&self.ground.lab()?);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Places { listen, data, token, default_load, addresses: self.addresses.borrow().clone() })
    }

    async fn down(self: Arc<Self>) -> Result<Removal, EnvError> {
        let mut slot = self.hold.lock().await;
        self.replicas.end().await;
        if let Some(hold) = slot.as_ref() {
            self.ready(hold).leave().await;
        }
        let hold = slot.take();
        self.ground.let_go(hold, &self.config.events, SRC).await
    }
}
