//! The workloads of a lab that is up, from one watch of its namespace: who is ready is published, what happens is announced, and what is
//! wanted is told to the cluster, replicas off the generators' list first.

mod act;
mod task;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lab_core::control::{Endpoint, Targets};
use lab_core::event::ReplicaUsage;
use lab_core::spec::Spec;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::act::Act;
use self::task::{Stage, Task};
use super::cluster::Cluster;
use super::crew::{Crew, Stuck};
use super::usage::Reader;
use crate::replicas::{LOAD_GENERATOR, target};
use crate::targets::Pusher;
use crate::{EnvError, EventSink, GeneratorAddress, ReplicaState};

/// How long the tasks may take to end.
const END: Duration = Duration::from_secs(5);

/// What is wanted of one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    replicas: u32,
    cause: String,
    /// Rises with each deploy; 0 before the first.
    deploy: u64,
}

/// What others may see of one workload.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The deploy that this follows.
    deploy: u64,
    pub(super) states: Vec<ReplicaState>,
    stuck: Option<Stuck>,
}

impl Snapshot {
    fn ready(&self) -> usize {
        self.states.iter().filter(|state| state.ready == Some(true)).count()
    }
}

/// How a deploy ended, when it ended well or will not.
pub(super) enum Settled {
    /// All are ready.
    Ready,
    /// One will not come up by waiting.
    Stuck(Stuck),
    /// Not in time; the first that is not ready, if there is any.
    Late(Option<String>),
}

/// The way to one workload.
#[derive(Debug)]
struct Handle {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    endpoints: watch::Receiver<Vec<Endpoint>>,
}

/// All workloads of a lab.
#[derive(Debug)]
pub(super) struct Watched {
    src: &'static str,
    events: EventSink,
    stop: CancellationToken,
    wanted: watch::Sender<BTreeMap<&'static str, Wanted>>,
    workloads: RwLock<BTreeMap<&'static str, Handle>>,
    generators: watch::Sender<Vec<GeneratorAddress>>,
    running: RwLock<Option<Running>>,
    usage: Reader,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Watched {
    /// None yet. `src` announces; `stop` ends all of them.
    pub(super) fn new(src: &'static str, events: EventSink, stop: CancellationToken) -> Self {
        let (wanted, _) = watch::channel(BTreeMap::new());
        let (generators, _) = watch::channel(Vec::new());
        let (workloads, running) = (RwLock::default(), RwLock::default());
        Self { src, events, stop, wanted, workloads, generators, running, usage: Reader::default() }
    }

    /// Begins to watch for every workload of the spec. `token` is the generators'; pods' output goes to `logs`.
    pub(super) fn start(&self, spec: &Spec, cluster: &Cluster, token: &SecretString, logs: PathBuf) {
        let stop = self.stop.child_token();
        let (target, mut stages) = (target(spec), BTreeMap::new());
        let mut handles = BTreeMap::new();
        self.wanted.send_replace(spec.services.names().map(|name| (name, Wanted::default())).collect());
        for name in spec.services.names() {
            let (snapshot, snapshot_seen) = watch::channel(Arc::new(Snapshot::default()));
            let (endpoints, endpoints_seen) = watch::channel(Vec::new());
            let (lists, lists_seen) = watch::channel(Targets { version: 0, endpoints: Vec::new() });
            let in_force = (name == target).then(|| self.push(name, lists_seen, &stop));
            let act = Act {
                cluster: cluster.clone(),
                workload: name,
                in_force: in_force.clone(),
                events: self.events.clone(),
                src: self.src,
                stop: stop.clone(),
            };
            let generators = (name == LOAD_GENERATOR).then(|| (self.generators.clone(), token.clone()));
            let stage = Stage {
                crew: Crew::new(name),
                wanted: Wanted::default(),
                forwards: BTreeMap::new(),
                endpoints,
                lists,
                pushed: in_force.is_some(),
                generators,
                snapshot,
                jobs: act.start(),
            };
            stages.insert(name, stage);
            handles.insert(name, Handle { snapshot: snapshot_seen, endpoints: endpoints_seen });
        }
        *self.workloads.write().unwrap_or_else(PoisonError::into_inner) = handles;
        let task = Task {
            cluster: cluster.clone(),
            stages,
            wanted: self.wanted.subscribe(),
            events: self.events.clone(),
            src: self.src,
            logs,
            stop: stop.clone(),
        };
        let running = Running { task: tokio::spawn(task.run()), stop };
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    /// Starts pushing the target's endpoint lists. The pusher ends with the task, which drops its lists.
    fn push(&self, name: &str, lists: watch::Receiver<Targets>, stop: &CancellationToken) -> watch::Receiver<u64> {
        let pusher = Pusher {
            workload: name.to_owned(),
            lists,
            generators: self.generators.subscribe(),
            events: self.events.clone(),
            src: self.src.to_owned(),
            stop: stop.clone(),
        };
        pusher.start()
    }

    /// Ends all tasks. What is in the cluster stays, for the sweep.
    pub(super) async fn end(&self) {
        let running = self.running.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { mut task, stop }) = running {
            stop.cancel();
            if timeout(END, &mut task).await.is_err() {
                tracing::warn!("the watch of the cluster did not end");
                task.abort();
            }
        }
        self.workloads.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.wanted.send_replace(BTreeMap::new());
        self.generators.send_replace(Vec::new());
    }

    /// Sets what a deploy wants, and waits until that is announced, so that what it brings is announced after it. Gives the deploy's number.
    ///
    /// # Errors
    /// There is no such workload.
    pub(super) async fn begin(&self, workload: &str, replicas: u32) -> Result<u64, EnvError> {
        let mut number = None;
        self.wanted.send_if_modified(|all| {
            let Some(wanted) = all.get_mut(workload) else { return false };
            let deploy = wanted.deploy + 1;
            *wanted = Wanted { replicas, cause: "deploy".to_owned(), deploy };
            number = Some(deploy);
            true
        });
        let unknown = || EnvError::NoSuchWorkload(workload.to_owned());
        let number = number.ok_or_else(unknown)?;
        let mut snapshot = self.with(workload, |handle| handle.snapshot.clone())?;
        snapshot.wait_for(|now| now.deploy >= number).await.map_err(|_| unknown())?;
        Ok(number)
    }

    /// Waits until a deploy's replicas are ready, or one will not come up.
    ///
    /// # Errors
    /// It was taken down meanwhile.
    pub(super) async fn settled(&self, workload: &str, replicas: u32, limit: Duration) -> Result<Settled, EnvError> {
        let mut snapshot = self.with(workload, |handle| handle.snapshot.clone())?;
        let settled = |now: &Arc<Snapshot>| now.ready() >= replicas as usize || now.stuck.is_some();
        let reached = timeout(limit, snapshot.wait_for(settled)).await;
        let reached = reached.map(|now| now.map(|now| (now.ready(), now.stuck.clone())).ok());
        match reached {
            Ok(Some((ready, Some(stuck)))) if ready < replicas as usize => Ok(Settled::Stuck(stuck)),
            Ok(Some(_)) => Ok(Settled::Ready),
            Ok(None) => Err(EnvError::NoSuchWorkload(workload.to_owned())),
            Err(_) => {
                let now = snapshot.borrow();
                let slow = now.states.iter().find(|state| state.ready != Some(true));
                Ok(Settled::Late(slow.map(|state| state.replica.clone())))
            }
        }
    }

    /// See [`crate::Environment::scale`].
    pub(super) fn scale(&self, workload: &str, replicas: u32, cause: &str) -> Result<(), EnvError> {
        let mut known = false;
        self.wanted.send_if_modified(|all| {
            let Some(wanted) = all.get_mut(workload).filter(|wanted| wanted.deploy > 0) else { return false };
            known = true;
            (wanted.replicas, wanted.cause) = (replicas, cause.to_owned());
            true
        });
        if known { Ok(()) } else { Err(EnvError::NoSuchWorkload(workload.to_owned())) }
    }

    /// See [`crate::Environment::wanted`].
    pub(super) fn wanted(&self, workload: &str) -> Result<u32, EnvError> {
        let wanted = self.wanted.borrow().get(workload).map(|wanted| wanted.replicas);
        wanted.ok_or_else(|| EnvError::NoSuchWorkload(workload.to_owned()))
    }

    /// See [`crate::Environment::replicas`].
    pub(super) fn states(&self, workload: &str) -> Result<Vec<ReplicaState>, EnvError> {
        self.with(workload, |handle| handle.snapshot.borrow().states.clone())
    }

    /// See [`crate::Environment::endpoints`]: where this machine reaches them.
    pub(super) fn endpoints(&self, workload: &str) -> Result<watch::Receiver<Vec<Endpoint>>, EnvError> {
        self.with(workload, |handle| handle.endpoints.clone())
    }

    /// See [`crate::Environment::generators`].
    pub(super) fn generators(&self) -> watch::Receiver<Vec<GeneratorAddress>> {
        self.generators.subscribe()
    }

    /// See [`crate::Environment::observe`].
    pub(super) async fn observe(&self, workload: &str) -> Result<Vec<ReplicaUsage>, EnvError> {
        let endpoints = self.with(workload, |handle| handle.endpoints.borrow().clone())?;
        Ok(self.usage.read(&endpoints).await)
    }

    fn with<T>(&self, workload: &str, make: impl FnOnce(&Handle) -> T) -> Result<T, EnvError> {
        let workloads = self.workloads.read().unwrap_or_else(PoisonError::into_inner);
        workloads.get(workload).map(make).ok_or_else(|| EnvError::NoSuchWorkload(workload.to_owned()))
    }
}
