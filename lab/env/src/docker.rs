//! The environment `docker`: replicas and backing servers are containers on a network of their own. The only room that speaks to Docker.

pub(crate) mod call;
mod check;
pub(crate) mod container;
pub(crate) mod engine;
pub mod image;
mod monitoring;
mod output;
pub(crate) mod pull;
mod runner;
pub(crate) mod servers;
mod stats;
pub(crate) mod sweep;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use lab_core::control::Endpoint;
use lab_core::event::ReplicaUsage;
use lab_core::fault::{FaultTarget, Injury};
use lab_core::spec::{EnvironmentKind, Spec};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::engine::{Engine, Marks};
use self::monitoring::{Monitoring, Scraped, Starter};
use self::runner::{Containers, DATA, MOUNT, PORT};
use self::servers::Servers;
use crate::backing::{self, Addresses, Ready};
use crate::hold::{DEFAULT_LOAD_FILE, Files, Ground, Hold, TOKEN_FILE};
use crate::home::check_name;
use crate::local::LocalConfig;
use crate::replicas::{Limits, Places, Replicas, Runner, Template, announce};
use crate::system::{blocking, to_its_end};
use crate::{Beside, EnvError, Environment, Finding, GeneratorAddress, Removal, ReplicaState};

/// Who announces.
const SRC: &str = "env.docker";
/// The user of services when lab itself is root, which they must not be: the one that the lab's image names.
const NOBODY: u32 = 65532;
/// The folder of address files within the mount.
const BACKING: &str = "backing";

/// What a Docker environment is made of.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// As for any environment of this machine.
    pub lab: LocalConfig,
    /// The image of services; None: one is packed from the executable.
    pub image: Option<String>,
    /// Prometheus and Grafana stand beside the workloads.
    pub monitoring: bool,
}

/// Containers as replicas. Dropping it without `down` ends them all the same: its reaper sees to that.
#[derive(Debug)]
pub struct DockerEnvironment {
    inner: Arc<Inner>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Inner {
    config: DockerConfig,
    ground: Ground,
    up: Mutex<Option<Up>>,
    replicas: Replicas,
    /// Written by `up`, read by `deploy`.
    addresses: watch::Sender<Addresses>,
    /// Written by `up` and `down`.
    beside: watch::Sender<Vec<Beside>>,
}

/// A lab that is up.
#[derive(Debug)]
struct Up {
    hold: Hold,
    servers: Servers,
    monitoring: Option<Monitoring>,
}

impl DockerEnvironment {
    /// An environment that is not up; nothing is made or read yet.
    ///
    /// # Errors
    /// The lab's name is not 1 to 40 of `a-z 0-9 -`.
    pub fn new(config: DockerConfig) -> Result<Self, EnvError> {
        let lab = &config.lab;
        check_name(&lab.lab_name)?;
        let stop = CancellationToken::new();
        let limits = Limits { ready: lab.limits.ready, drain: lab.limits.drain };
        let ground = lab.ground(rustix::process::getuid().is_root().then_some(NOBODY));
        let replicas = Replicas::new(SRC, lab.events.clone(), limits, stop.clone());
        let (addresses, _) = watch::channel(Addresses::default());
        let (beside, _) = watch::channel(Vec::new());
        let inner = Inner { config, ground, up: Mutex::new(None), replicas, addresses, beside };
        Ok(Self { inner: Arc::new(inner), _stop: stop.drop_guard() })
    }
}

#[async_trait]
impl Environment for DockerEnvironment {
    fn kind(&self) -> EnvironmentKind {
        EnvironmentKind::Docker
    }

    async fn check(&self, spec: &Spec) -> Vec<Finding> {
        let inner = Arc::clone(&self.inner);
        let of_docker = check::check(&engine::host(), spec).await;
        let of_the_machine = blocking(move || Ok(crate::check::of_the_machine(&inner.ground.exe, &inner.ground.home)));
        let mut findings = of_the_machine.await.unwrap_or_else(|error| vec![Finding::of(&error)]);
        findings.extend(of_docker);
        findings.extend(backing::check(spec, &self.inner.config.lab.endpoints, EnvironmentKind::Docker));
        findings
    }

    async fn up(&self, spec: &Spec) -> Result<(), EnvError> {
        to_its_end(Arc::clone(&self.inner).up(spec.clone())).await
    }

    async fn deploy(&self, spec: &Spec, workload: &str) -> Result<(), EnvError> {
        let template = Template::of(spec, workload, &self.inner.places(), crate::host::cores())?;
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

    fn beside(&self) -> Vec<Beside> {
        self.inner.beside.borrow().clone()
    }

    async fn fault(&self, target: &FaultTarget, injury: Injury) -> Result<Vec<String>, EnvError> {
        let FaultTarget::Role(role) = target else {
            return self.inner.replicas.fault(&target.to_string(), injury).await;
        };
        match &*self.inner.up.lock().await {
            Some(up) => up.servers.fault(*role, injury).await,
            None => Err(EnvError::NothingToHit(target.to_string())),
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
        let mut slot = self.up.lock().await;
        if slot.is_some() {
            return Ok(());
        }
        // A Docker that cannot be used is told before anything is made.
        let docker = Engine::connect().await?;
        let taker = Arc::clone(&self);
        let hold = blocking(move || Hold::take(&taker.ground)).await?;
        let marks =
            Marks { owner: hold.owner.clone(), lab: hold.lab().name().to_owned(), run: self.ground.run_id.clone() };
        let engine = Engine::new(docker, marks, self.ground.logs(), Arc::clone(&hold.ledger));
        match self.furnish(&spec, &hold, engine).await {
            Ok((servers, monitoring)) => {
                let monitored = monitoring.iter().flat_map(|monitoring| monitoring.beside().to_vec());
                self.beside.send_replace(servers.beside().chain(monitored).collect());
                *slot = Some(Up { hold, servers, monitoring });
                Ok(())
            }
            Err(error) => {
                self.replicas.end().await;
                hold.abandon().await;
                Err(error)
            }
        }
    }

    /// Image, network and servers, then the workloads' tasks and who watches them.
    async fn furnish(
        &self,
        spec: &Spec,
        hold: &Hold,
        engine: Engine,
    ) -> Result<(Servers, Option<Monitoring>), EnvError> {
        let wanted =
            image::Wanted { exe: self.ground.exe.clone(), owner: hold.owner.clone(), given: self.config.image.clone() };
        engine.make_network().await?;
        let files = Files::of(hold.lab());
        let ready = self.ready(hold, &files);
        let (image, started) = tokio::join!(
            image::ensure(engine.docker(), &wanted),
            Servers::start(&engine, &ready, spec, &self.config.lab.endpoints)
        );
        let (image, (servers, addresses)) = (image?, started?);
        self.addresses.send_replace(addresses);
        for fidelity in check::fidelity(spec) {
            announce(&self.config.lab.events, SRC, fidelity).await;
        }
        let runner: Arc<dyn Runner> = Arc::new(Containers {
            engine: engine.clone(),
            image: image.tag,
            user: self.user(),
            mount: files.mount,
            data: files.data,
        });
        self.replicas.start(spec, &runner, &hold.token)?;
        let monitoring = if self.config.monitoring { Some(self.monitor(spec, &engine).await?) } else { None };
        Ok((servers, monitoring))
    }

    async fn monitor(&self, spec: &Spec, engine: &Engine) -> Result<Monitoring, EnvError> {
        let endpoints = |workload| Ok((workload, self.replicas.endpoints(workload)?));
        let scraped = spec.services.names().map(endpoints).collect::<Result<Scraped, EnvError>>()?;
        let (ground, events) = (&self.ground, &self.config.lab.events);
        Monitoring::start(Starter { engine, ground, events, src: SRC }, scraped).await
    }

    fn ready(&self, hold: &Hold, files: &Files) -> Ready {
        let places = backing::Places {
            files: files.mount.join(BACKING),
            seen: Path::new(MOUNT).join(BACKING),
            owner: self.ground.reader.map(|uid| (uid, uid)),
            own: hold.lab().path().join("own"),
        };
        Ready::new(&self.ground, hold, places, (&self.config.lab.events, SRC))
    }

    /// Who services run as: this user, but never root.
    fn user(&self) -> String {
        match self.ground.reader {
            Some(uid) => format!("{uid}:{uid}"),
            None => format!("{}:{}", rustix::process::getuid(), rustix::process::getgid()),
        }
    }

    /// Where replicas listen and find their files, in their containers.
    fn places(&self) -> Places {
        Places {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
            data: DATA.into(),
            token: Path::new(MOUNT).join(TOKEN_FILE),
            default_load: Path::new(MOUNT).join(DEFAULT_LOAD_FILE),
            addresses: self.addresses.borrow().clone(),
        }
    }

    async fn down(self: Arc<Self>) -> Result<Removal, EnvError> {
        let mut slot = self.up.lock().await;
        self.replicas.end().await;
        if let Some(Up { hold, .. }) = slot.as_ref() {
            self.ready(hold, &Files::of(hold.lab())).leave().await;
        }
        let up = slot.take();
        self.beside.send_replace(Vec::new());
        let hold = up.map(|Up { hold, servers, monitoring }| {
            drop((servers, monitoring));
            hold
        });
        self.ground.let_go(hold, &self.config.lab.events, SRC).await
    }
}
