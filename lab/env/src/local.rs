//! The environment `local`: replicas are child processes of this machine, backing services are embedded in them. Each workload has a
//! task that owns its replicas; here they are made, asked and removed together.

mod check;
mod command;
mod hold;
mod limit;
mod probe;
mod process;
mod replica;
mod stop_continue;
mod workload;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lab_core::control::{Endpoint, Targets};
use lab_core::event::ReplicaUsage;
use lab_core::spec::{EnvironmentKind, Spec};
use rustix::process::Signal;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::command::{LOAD_GENERATOR, MESSAGE_SERVICE, Template, USER_SERVICE};
use self::hold::Hold;
use self::workload::{Failure, Limits, Published, SRC, Snapshot, Wanted, Workload, announce};
use crate::home::{Home, check_name};
use crate::system::{Doing as _, blocking};
use crate::targets::Pusher;
use crate::{EnvError, Environment, EventSink, Finding, GeneratorAddress, Removal, ReplicaState};

/// How long a workload may take to go before its task is given up and its processes are swept away.
const GONE: Duration = Duration::from_secs(12);

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
    home: Home,
    stop: CancellationToken,
    hold: Mutex<Option<Hold>>,
    /// In the order of the spec: load-generator last.
    workloads: RwLock<Vec<(&'static str, Handle)>>,
    generators: watch::Sender<Vec<GeneratorAddress>>,
}

/// The way to a workload's task.
#[derive(Debug)]
struct Handle {
    wanted: watch::Sender<Wanted>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl LocalEnvironment {
    /// An environment that is not up; nothing is made or read yet.
    ///
    /// # Errors
    /// The lab's name is not 1 to 40 of `a-z 0-9 -`.
    pub fn new(config: LocalConfig) -> Result<Self, EnvError> {
        check_name(&config.lab_name)?;
        let stop = CancellationToken::new();
        let inner = Inner {
            home: Home::new(&config.home),
            config,
            stop: stop.clone(),
            hold: Mutex::new(None),
            workloads: RwLock::default(),
            generators: watch::channel(Vec::new()).0,
        };
        Ok(Self { inner: Arc::new(inner), _stop: stop.drop_guard() })
    }

    /// Makes something of a workload's handle.
    fn with<T>(&self, workload: &str, make: impl FnOnce(&Handle) -> T) -> Result<T, EnvError> {
        let workloads = self.inner.workloads.read().unwrap_or_else(PoisonError::into_inner);
        workloads
            .iter()
            .find(|(name, _)| *name == workload)
            .map(|(_, handle)| make(handle))
            .ok_or_else(|| EnvError::NoSuchWorkload(workload.to_owned()))
    }

    /// The first replica that is not ready, with where to read why.
    fn not_ready(&self, workload: &str, now: &Snapshot) -> EnvError {
        let slow = now.members.iter().find(|(state, _)| state.ready != Some(true));
        let replica = slow.map_or_else(|| workload.to_owned(), |(state, _)| state.replica.clone());
        let log = hold::logs(&self.inner.config).join(format!("{replica}.log"));
        EnvError::NotReady { replica, waited: self.inner.config.limits.ready, log }
    }

    /// Sets what is wanted; gives the deploy that it belongs to. Never waits.
    fn want(&self, workload: &str, replicas: u32, cause: &str, template: Option<Template>) -> Result<u64, EnvError> {
        let set = |handle: &Handle| {
            let mut deploy = None;
            handle.wanted.send_if_modified(|wanted| {
                if let Some(template) = template {
                    wanted.template = Some(Arc::new(template));
                    wanted.deploy += 1;
                }
                deploy = wanted.template.as_ref().map(|_| wanted.deploy);
                (wanted.replicas, wanted.cause) = (replicas, cause.to_owned());
                deploy.is_some()
            });
            deploy
        };
        self.with(workload, set)?.ok_or_else(|| EnvError::NoSuchWorkload(workload.to_owned()))
    }
}

/// `up` and `down` run to their end even when their caller does not wait for it: half of either is of no use to anybody.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, EnvError>> + Send + 'static,
) -> Result<T, EnvError> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(std::io::Error::other(error)).doing(|| "finish a step of the environment".to_owned()),
    }
}

#[async_trait]
impl Environment for LocalEnvironment {
    fn kind(&self) -> EnvironmentKind {
        EnvironmentKind::Local
    }

    async fn check(&self, spec: &Spec) -> Vec<Finding> {
        let (inner, spec) = (Arc::clone(&self.inner), spec.clone());
        let found = blocking(move || Ok(check::check(&inner.config, &inner.home, &spec))).await;
        found.unwrap_or_else(|error| {
            vec![Finding { problem: error.to_string(), remedy: "try again".to_owned(), fatal: true }]
        })
    }

    async fn up(&self, spec: &Spec) -> Result<(), EnvError> {
        to_its_end(Arc::clone(&self.inner).up(spec.clone())).await
    }

    async fn deploy(&self, spec: &Spec, workload: &str) -> Result<(), EnvError> {
        let lab = self.inner.home.lab(&self.inner.config.lab_name)?;
        let template = Template::of(spec, workload, &hold::files(&lab), crate::host::cores())?;
        let replicas = spec.services.workload(workload).map_or(0, |common| common.replicas);
        let deploy = self.want(workload, replicas, "deploy", Some(template))?;
        let mut snapshot = self.with(workload, |handle| handle.snapshot.clone())?;
        let limit = self.inner.config.limits.ready;
        let settled =
            |now: &Arc<Snapshot>| now.deploy == deploy && (now.failure.is_some() || now.ready() >= replicas as usize);
        let reached = timeout(limit, snapshot.wait_for(settled)).await.map(|now| now.map(|now| now.failure.clone()));
        let error = match reached {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(Failure { replica, exit, tail }))) => EnvError::Crashed { replica, exit, tail },
            // It was taken down meanwhile.
            Ok(Err(_)) => return Err(EnvError::NoSuchWorkload(workload.to_owned())),
            Err(_) => self.not_ready(workload, &snapshot.borrow()),
        };
        self.want(workload, 0, "deploy failed", None)?;
        Err(error)
    }

    async fn scale(&self, workload: &str, replicas: u32, cause: &str) -> Result<(), EnvError> {
        self.want(workload, replicas, cause, None).map(drop)
    }

    async fn wanted(&self, workload: &str) -> Result<u32, EnvError> {
        self.with(workload, |handle| handle.wanted.borrow().replicas)
    }

    async fn replicas(&self, workload: &str) -> Result<Vec<ReplicaState>, EnvError> {
        let snapshot = self.with(workload, |handle| handle.snapshot.borrow().clone())?;
        Ok(snapshot.members.iter().map(|(state, _)| state.clone()).collect())
    }

    fn endpoints(&self, workload: &str) -> Result<watch::Receiver<Vec<Endpoint>>, EnvError> {
        self.with(workload, |handle| handle.endpoints.clone())
    }

    async fn observe(&self, workload: &str) -> Result<Vec<ReplicaUsage>, EnvError> {
        let snapshot = self.with(workload, |handle| handle.snapshot.borrow().clone())?;
        blocking(move || Ok(snapshot.members.iter().filter_map(usage).collect())).await
    }

    fn generators(&self) -> watch::Receiver<Vec<GeneratorAddress>> {
        self.inner.generators.subscribe()
    }

    async fn kill(&self, replica: &str) -> Result<(), EnvError> {
        let workload = replica.rsplit_once('-').map_or(replica, |(workload, _)| workload);
        let snapshot = self.with(workload, |handle| handle.snapshot.borrow().clone())?;
        let member = snapshot.members.iter().find(|(state, _)| state.replica == replica);
        let killed = match member.and_then(|(_, running)| running.as_ref()) {
            Some(running) => running.process.signal_group(Signal::KILL),
            None => Ok(false),
        };
        let killed = killed.and_then(|hit| if hit { Ok(()) } else { Err(std::io::ErrorKind::NotFound.into()) });
        killed.doing(|| format!("kill {replica}"))
    }

    async fn down(&self) -> Result<Removal, EnvError> {
        to_its_end(Arc::clone(&self.inner).down()).await
    }
}

fn usage((state, running): &(ReplicaState, Option<workload::Running>)) -> Option<ReplicaUsage> {
    let running = running.as_ref()?;
    let usage = running.process.usage().ok()?;
    let throttled_ns = running.limit.throttled_ns();
    Some(ReplicaUsage {
        replica: state.replica.clone(),
        cpu_ns: usage.cpu_ns,
        rss_bytes: usage.rss_bytes,
        throttled_ns,
    })
}

impl Inner {
    async fn up(self: Arc<Self>, spec: Spec) -> Result<(), EnvError> {
        let mut slot = self.hold.lock().await;
        if slot.is_some() {
            return Ok(());
        }
        let taker = Arc::clone(&self);
        let hold = blocking(move || Hold::take(&taker.config, &taker.home)).await?;
        for fidelity in check::fidelity(&hold.shared.limiter, &spec) {
            announce(&self.config.events, fidelity).await;
        }
        self.start_workloads(&spec, &hold)?;
        *slot = Some(hold);
        Ok(())
    }

    fn start_workloads(&self, spec: &Spec, hold: &Hold) -> Result<(), EnvError> {
        let http = probe::client().map_err(std::io::Error::other).doing(|| "get a client for probes".to_owned())?;
        let target = target(spec);
        let mut workloads = self.workloads.write().unwrap_or_else(PoisonError::into_inner);
        for name in spec.services.names() {
            let (wanted, wanted_seen) = watch::channel(Wanted::default());
            let (snapshot, snapshot_seen) = watch::channel(Arc::new(Snapshot::default()));
            let (endpoints, endpoints_seen) = watch::channel(Vec::new());
            let (lists, lists_seen) = watch::channel(Targets { version: 0, endpoints: Vec::new() });
            let stop = self.stop.child_token();
            let in_force = (name == target).then(|| self.push(name, lists_seen, &stop));
            let generators = (name == LOAD_GENERATOR).then(|| (self.generators.clone(), hold.token.clone()));
            let limits = Limits { announce: self.config.limits.ready, drain: self.config.limits.drain };
            let workload = Workload {
                name,
                shared: Arc::clone(&hold.shared),
                limits,
                http: http.clone(),
                wanted: wanted_seen,
                published: Published { endpoints, lists, generators, in_force },
                snapshot,
                events: self.config.events.clone(),
                stop: stop.clone(),
            };
            let task = tokio::spawn(workload.run());
            let handle = Handle { wanted, snapshot: snapshot_seen, endpoints: endpoints_seen, stop, task };
            workloads.push((name, handle));
        }
        Ok(())
    }

    /// Starts pushing the target's endpoint lists. The pusher ends with the workload, which drops its lists.
    fn push(&self, name: &str, lists: watch::Receiver<Targets>, stop: &CancellationToken) -> watch::Receiver<u64> {
        let pusher = Pusher {
            workload: name.to_owned(),
            lists,
            generators: self.generators.subscribe(),
            events: self.config.events.clone(),
            src: SRC.to_owned(),
            stop: stop.clone(),
        };
        pusher.start()
    }

    async fn down(self: Arc<Self>) -> Result<Removal, EnvError> {
        let mut slot = self.hold.lock().await;
        let workloads = std::mem::take(&mut *self.workloads.write().unwrap_or_else(PoisonError::into_inner));
        for (name, Handle { stop, mut task, .. }) in workloads.into_iter().rev() {
            stop.cancel();
            if timeout(GONE, &mut task).await.is_err() {
                tracing::warn!(workload = name, "its task did not end; its processes are swept away");
                task.abort();
            }
        }
        self.generators.send_replace(Vec::new());
        let (hold, inner) = (slot.take(), Arc::clone(&self));
        let removal = blocking(move || match hold {
            Some(hold) => hold.let_go(),
            None => hold::remove_leftovers(&inner.config, &inner.home),
        });
        let (removal, remark) = removal.await?;
        if let Some(text) = remark {
            announce(&self.config.events, lab_core::event::Kind::Warning { text }).await;
        }
        Ok(removal)
    }
}

/// The workload whose endpoints generators get.
fn target(spec: &Spec) -> &'static str {
    match &spec.load {
        Some(load) => load.target.name(),
        None if spec.services.user_service.is_some() => USER_SERVICE,
        None => MESSAGE_SERVICE,
    }
}
