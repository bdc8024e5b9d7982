//! The workloads of a lab that is up: each has a task that owns its replicas; here they are started, asked and ended together. How one
//! replica runs, a process or a container, is its environment's affair, behind [`Runner`].

mod command;
mod probe;
mod replica;
mod workload;

use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lab_core::control::{Endpoint, Targets};
use lab_core::event::ReplicaUsage;
use lab_core::fault::Injury;
use lab_core::spec::Spec;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::command::{LOAD_GENERATOR, Places, Template};
pub(crate) use self::replica::{LOAD_OVER, OFF_THE_LIST, load_is_over};
pub(crate) use self::workload::{Limits, announce};

use self::command::{MESSAGE_SERVICE, USER_SERVICE};
use self::workload::{Failure, Published, Running, Snapshot, Wanted, Workload};
use crate::system::Doing as _;
use crate::targets::Pusher;
use crate::{EnvError, EventSink, GeneratorAddress, ReplicaState};

/// How long a workload may take to go before its task is given up and what is left of it is swept away.
const GONE: Duration = Duration::from_secs(12);
/// How much of a log is quoted: bytes that are read, lines that are told.
const TAIL: (u64, usize) = (4096, 5);

/// How an environment runs replicas.
#[async_trait]
pub(crate) trait Runner: fmt::Debug + Send + Sync {
    /// Starts one of the template's workload.
    ///
    /// # Errors
    /// It could not be started; nothing of it is left running.
    async fn start(&self, template: &Template, replica: &str) -> Result<Box<dyn Unit>, EnvError>;

    /// Where a replica's own words are.
    fn log(&self, replica: &str) -> PathBuf;
}

/// A replica that runs, in the hands of its task. Waits may be cancelled and begun again.
#[async_trait]
pub(crate) trait Unit: fmt::Debug + Send {
    /// What others may hold of it.
    fn grip(&self) -> Arc<dyn Grip>;

    /// `host:port` of where it listens, or what came instead.
    async fn announced(&mut self, limit: Duration) -> Result<String, String>;

    /// Its end: `exit 0`, `signal 9`.
    async fn ended(&mut self) -> String;

    /// Asks it to end and kills it after the limit.
    async fn terminate(&mut self, limit: Duration) -> String;

    /// Kills it.
    async fn kill(&mut self) -> String;

    /// Removes what belonged to it, once it ended.
    async fn clear(self: Box<Self>);
}

/// What everybody may do with a replica that runs, for as long as it does.
#[async_trait]
pub(crate) trait Grip: fmt::Debug + Send + Sync {
    /// Its process on this machine, where it has one that is ours.
    fn pid(&self) -> Option<u32>;

    /// What it has used; None when it cannot be read now.
    async fn usage(&self) -> Option<Used>;

    /// Does it harm, or undoes it. False: it is gone. None: that cannot be done to a replica here.
    ///
    /// # Errors
    /// It was refused.
    async fn injure(&self, injury: Injury) -> Result<Option<bool>, EnvError>;
}

/// What a replica has used since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// CPU time, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Memory, bytes.
    pub(crate) rss_bytes: u64,
    /// Time it was kept from running by its limit, nanoseconds; None without one.
    pub(crate) throttled_ns: Option<u64>,
}

/// All workloads of a lab.
#[derive(Debug)]
pub(crate) struct Replicas {
    src: &'static str,
    events: EventSink,
    limits: Limits,
    stop: CancellationToken,
    /// In the order of the spec: load-generator last.
    workloads: RwLock<Vec<(&'static str, Handle)>>,
    generators: watch::Sender<Vec<GeneratorAddress>>,
    /// Replicas that stand still because somebody wanted it, by workload.
    paused: Mutex<Vec<(String, String)>>,
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

impl Replicas {
    /// None yet. `src` announces; `stop` ends all of them.
    pub(crate) fn new(src: &'static str, events: EventSink, limits: Limits, stop: CancellationToken) -> Self {
        let (generators, _) = watch::channel(Vec::new());
        Self { src, events, limits, stop, workloads: RwLock::default(), generators, paused: Mutex::default() }
    }

    /// Starts a task for each workload of the spec; replicas come with `deploy`. `token` is the generators'.
    ///
    /// # Errors
    /// The system's resources for HTTP cannot be had.
    pub(crate) fn start(&self, spec: &Spec, runner: &Arc<dyn Runner>, token: &SecretString) -> Result<(), EnvError> {
        let http = probe::client().map_err(io::Error::other).doing(|| "get a client for probes".to_owned())?;
        let target = target(spec);
        let mut workloads = self.workloads.write().unwrap_or_else(PoisonError::into_inner);
        for name in spec.services.names() {
            let (wanted, wanted_seen) = watch::channel(Wanted::default());
            let (snapshot, snapshot_seen) = watch::channel(Arc::new(Snapshot::default()));
            let (endpoints, endpoints_seen) = watch::channel(Vec::new());
            let (lists, lists_seen) = watch::channel(Targets { version: 0, endpoints: Vec::new() });
            let stop = self.stop.child_token();
            let in_force = (name == target).then(|| self.push(name, lists_seen, &stop));
            let generators = (name == LOAD_GENERATOR).then(|| (self.generators.clone(), token.clone()));
            let workload = Workload {
                name,
                src: self.src,
                runner: Arc::clone(runner),
                limits: self.limits,
                http: http.clone(),
                wanted: wanted_seen,
                published: Published { endpoints, lists, generators, in_force },
                snapshot,
                events: self.events.clone(),
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
            events: self.events.clone(),
            src: self.src.to_owned(),
            stop: stop.clone(),
        };
        pusher.start()
    }

    /// Ends all replicas and the tasks, load-generators first.
    pub(crate) async fn end(&self) {
        let workloads = std::mem::take(&mut *self.workloads.write().unwrap_or_else(PoisonError::into_inner));
        for (name, Handle { stop, mut task, .. }) in workloads.into_iter().rev() {
            stop.cancel();
            if timeout(GONE, &mut task).await.is_err() {
                tracing::warn!(workload = name, "its task did not end; what is left of it is swept away");
                task.abort();
            }
        }
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.generators.send_replace(Vec::new());
    }

    /// Makes something of a workload's handle.
    fn with<T>(&self, workload: &str, make: impl FnOnce(&Handle) -> T) -> Result<T, EnvError> {
        let workloads = self.workloads.read().unwrap_or_else(PoisonError::into_inner);
        workloads
            .iter()
            .find(|(name, _)| *name == workload)
            .map(|(_, handle)| make(handle))
            .ok_or_else(|| EnvError::NoSuchWorkload(workload.to_owned()))
    }

    /// Starts replicas of the template and waits until they are ready; see [`crate::Environment::deploy`]. `logs` is where they write.
    pub(crate) async fn deploy(&self, spec: &Spec, template: Template, logs: &Path) -> Result<(), EnvError> {
        let workload = template.workload.clone();
        let replicas = spec.services.workload(&workload).map_or(0, |common| common.replicas);
        let deploy = self.want(&workload, replicas, "deploy", Some(template))?;
        let mut snapshot = self.with(&workload, |handle| handle.snapshot.clone())?;
        let settled =
            |now: &Arc<Snapshot>| now.deploy == deploy && (now.failure.is_some() || now.ready() >= replicas as usize);
        let reached = timeout(self.limits.ready, snapshot.wait_for(settled)).await;
        let error = match reached.map(|now| now.map(|now| now.failure.clone())) {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(Failure { replica, exit, tail }))) => EnvError::Crashed { replica, exit, tail },
            // It was taken down meanwhile.
            Ok(Err(_)) => return Err(EnvError::NoSuchWorkload(workload)),
            Err(_) => self.not_ready(&workload, &snapshot.borrow(), logs),
        };
        self.want(&workload, 0, "deploy failed", None)?;
        Err(error)
    }

    /// The first replica that is not ready, with where to read why.
    fn not_ready(&self, workload: &str, now: &Snapshot, logs: &Path) -> EnvError {
        let slow = now.members.iter().find(|(state, _)| state.ready != Some(true));
        let replica = slow.map_or_else(|| workload.to_owned(), |(state, _)| state.replica.clone());
        let log = logs.join(format!("{replica}.log"));
        EnvError::NotReady { replica, waited: self.limits.ready, log }
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

    /// See [`crate::Environment::scale`].
    pub(crate) fn scale(&self, workload: &str, replicas: u32, cause: &str) -> Result<(), EnvError> {
        self.want(workload, replicas, cause, None).map(drop)
    }

    /// See [`crate::Environment::wanted`].
    pub(crate) fn wanted(&self, workload: &str) -> Result<u32, EnvError> {
        self.with(workload, |handle| handle.wanted.borrow().replicas)
    }

    /// See [`crate::Environment::replicas`].
    pub(crate) fn states(&self, workload: &str) -> Result<Vec<ReplicaState>, EnvError> {
        Ok(self.snapshot(workload)?.members.iter().map(|(state, _)| state.clone()).collect())
    }

    fn snapshot(&self, workload: &str) -> Result<Arc<Snapshot>, EnvError> {
        self.with(workload, |handle| handle.snapshot.borrow().clone())
    }

    /// See [`crate::Environment::endpoints`].
    pub(crate) fn endpoints(&self, workload: &str) -> Result<watch::Receiver<Vec<Endpoint>>, EnvError> {
        self.with(workload, |handle| handle.endpoints.clone())
    }

    /// See [`crate::Environment::generators`].
    pub(crate) fn generators(&self) -> watch::Receiver<Vec<GeneratorAddress>> {
        self.generators.subscribe()
    }

    /// See [`crate::Environment::observe`]. All replicas at the same time.
    pub(crate) async fn observe(&self, workload: &str) -> Result<Vec<ReplicaUsage>, EnvError> {
        let snapshot = self.snapshot(workload)?;
        let usages = snapshot.members.iter().map(|(state, running)| async move {
            let Used { cpu_ns, rss_bytes, throttled_ns } = running.as_ref()?.grip.usage().await?;
            Some(ReplicaUsage { replica: state.replica.clone(), cpu_ns, rss_bytes, throttled_ns })
        });
        Ok(futures_util::future::join_all(usages).await.into_iter().flatten().collect())
    }

    /// See [`crate::Environment::kill`].
    pub(crate) async fn kill(&self, replica: &str) -> Result<(), EnvError> {
        let workload = replica.rsplit_once('-').map_or(replica, |(workload, _)| workload);
        match self.injure(workload, replica, Injury::Kill).await? {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()).doing(|| format!("kill {replica}")),
        }
    }

    /// Hits the newest ready replica of a workload, or undoes what was done to its replicas; gives the names of what was hit.
    ///
    /// # Errors
    /// There is none, or it cannot be done here.
    pub(crate) async fn fault(&self, workload: &str, injury: Injury) -> Result<Vec<String>, EnvError> {
        if injury == Injury::Resume {
            return self.resume(workload).await;
        }
        let states = self.states(workload)?;
        let newest = states.into_iter().rev().find(|state| {
            state.ready == Some(true) && !self.paused().iter().any(|(_, replica)| *replica == state.replica)
        });
        let Some(ReplicaState { replica, .. }) = newest else {
            return Err(EnvError::NothingToHit(workload.to_owned()));
        };
        if !self.injure(workload, &replica, injury).await? {
            return Err(EnvError::NothingToHit(workload.to_owned()));
        }
        if injury == Injury::Pause {
            self.paused().push((workload.to_owned(), replica.clone()));
        }
        Ok(vec![replica])
    }

    /// All of a workload that stand still go on; one that died meanwhile is not named.
    async fn resume(&self, workload: &str) -> Result<Vec<String>, EnvError> {
        let mut resumed = Vec::new();
        let standing: Vec<String> = {
            let mut paused = self.paused();
            let (ours, others) = std::mem::take(&mut *paused).into_iter().partition(|(of, _)| of == workload);
            *paused = others;
            let ours: Vec<(String, String)> = ours;
            ours.into_iter().map(|(_, replica)| replica).collect()
        };
        for replica in standing {
            if self.injure(workload, &replica, Injury::Resume).await? {
                resumed.push(replica);
            }
        }
        Ok(resumed)
    }

    fn paused(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False: it is not there.
    async fn injure(&self, workload: &str, replica: &str, injury: Injury) -> Result<bool, EnvError> {
        let snapshot = self.snapshot(workload)?;
        let member = snapshot.members.iter().find(|(state, _)| state.replica == replica);
        let Some(Running { grip, .. }) = member.and_then(|(_, running)| running.as_ref()) else { return Ok(false) };
        let cannot = || EnvError::CannotInjure { target: replica.to_owned(), done: injury.done() };
        grip.injure(injury).await?.ok_or_else(cannot)
    }
}

/// The workload whose endpoints generators get.
pub(crate) fn target(spec: &Spec) -> &'static str {
    match &spec.load {
        Some(load) => load.target.name(),
        None if spec.services.user_service.is_some() => USER_SERVICE,
        None => MESSAGE_SERVICE,
    }
}

/// The last lines of a log, in one line.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL.0)))?;
        let mut bytes = Vec::new();
        file.take(TAIL.0).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() { "(nothing)".to_owned() } else { lines[lines.len().saturating_sub(TAIL.1)..].join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(tail(file.path()), "(nothing)");
        let text: String = (0..2000).map(|n| format!("line {n}\n\n")).collect();
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(tail(file.path()), "line 1995 | line 1996 | line 1997 | line 1998 | line 1999");
        assert_eq!(tail(Path::new("/nowhere")), "(nothing)");
    }
}
