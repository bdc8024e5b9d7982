//! A replica's process: started, announced, terminated, accounted for in the ledger. Which replicas there should be is the affair of
//! `replicas`.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lab_core::fault::Injury;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::limit::{Limit, Limiter};
use crate::EnvError;
use crate::ledger::{Ledger, Thing};
use crate::proc::{LAB_NAME, LAB_OWNER, LAB_RUN, ProcessRef};
use crate::replicas::{Grip, Runner, Template, Unit, Used};
use crate::sweep::remove_group;
use crate::system::{Doing as _, blocking};

/// Longest announcement that is read.
const ANNOUNCEMENT: u64 = 4096;
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(5);
/// What replicas inherit of the environment; secrets of the user's shell are not among it.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "TZ", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"];

/// What all replicas of a lab share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) exe: PathBuf,
    pub(super) run: String,
    pub(super) owner: String,
    pub(super) lab: String,
    pub(super) logs: PathBuf,
    pub(super) ledger: Arc<Ledger>,
    pub(super) limiter: Limiter,
}

/// Runs replicas as child processes.
#[derive(Debug)]
pub(super) struct Processes(pub(super) Arc<Shared>);

/// A process that runs, with its limit.
#[derive(Debug, Clone)]
struct Running {
    identity: ProcessRef,
    limit: Arc<Limit>,
}

/// A running process with what belongs to it.
#[derive(Debug)]
struct Process {
    running: Running,
    shared: Arc<Shared>,
    child: Child,
    stdout: Option<ChildStdout>,
    entry: u64,
    group: Option<(u64, PathBuf)>,
}

#[derive(Debug, Deserialize)]
struct Announcement {
    listening: std::net::SocketAddr,
}

#[async_trait]
impl Runner for Processes {
    /// Intent, group, process, limit.
    async fn start(&self, template: &Template, replica: &str) -> Result<Box<dyn Unit>, EnvError> {
        let (shared, template, replica) = (Arc::clone(&self.0), template.clone(), replica.to_owned());
        let process = blocking(move || start(&shared, &template, &replica)).await?;
        Ok(Box::new(process))
    }

    fn log(&self, replica: &str) -> PathBuf {
        self.0.logs.join(format!("{replica}.log"))
    }
}

#[async_trait]
impl Unit for Process {
    fn grip(&self) -> Arc<dyn Grip> {
        Arc::new(self.running.clone())
    }

    /// The address on the first line of its stdout. What follows there is read and dropped.
    async fn announced(&mut self, limit: Duration) -> Result<String, String> {
        let Some(stdout) = self.stdout.take() else { return Err("its stdout was read before".to_owned()) };
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        match timeout(limit, (&mut reader).take(ANNOUNCEMENT).read_line(&mut line)).await {
            Err(_) => return Err(format!("it did not say within {limit:?} where it listens")),
            Ok(Err(error)) => return Err(format!("its announcement cannot be read: {error}")),
            Ok(Ok(_)) => {}
        }
        let announcement: Announcement = serde_json::from_str(line.trim())
            .map_err(|_| format!("its first line is no announcement: `{}`", line.trim().escape_default()))?;
        tokio::spawn(async move {
            // Ends with the process; a full pipe would make it wait for us.
            if let Err(error) = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await {
                tracing::debug!(%error, "a replica's stdout broke off");
            }
        });
        Ok(announcement.listening.to_string())
    }

    async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("unknown: {error}"),
        }
    }

    /// SIGTERM, and SIGCONT so that a stopped one hears it; SIGKILL for the whole group after the limit.
    async fn terminate(&mut self, limit: Duration) -> String {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        match timeout(limit, self.ended()).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    /// SIGKILL for the whole group.
    async fn kill(&mut self) -> String {
        self.signal(Signal::KILL);
        timeout(KILLED, self.ended()).await.unwrap_or_else(|_| format!("not gone {KILLED:?} after signal 9"))
    }

    /// Also strikes it from the ledger.
    async fn clear(self: Box<Self>) {
        let Self { running: Running { identity, limit }, shared, entry, group, .. } = *self;
        drop(limit);
        let cleared = blocking(move || {
            if !identity.is_alive() {
                shared.ledger.removed(entry);
            }
            if let Some((entry, path)) = group
                && remove_group(&shared.owner, &path)
            {
                shared.ledger.removed(entry);
            }
            Ok(())
        });
        if let Err(error) = cleared.await {
            tracing::warn!(%error, "a replica's leftovers stay for `down`");
        }
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        // Until it is waited for its pid cannot be another's, so this is exact.
        let identity = self.running.identity;
        if let Err(error) = identity.signal_group(signal) {
            tracing::warn!(%error, pid = identity.pid, ?signal, "cannot signal a replica");
        }
    }
}

#[async_trait]
impl Grip for Running {
    fn pid(&self) -> Option<u32> {
        Some(self.identity.pid)
    }

    async fn usage(&self) -> Option<Used> {
        let running = self.clone();
        let read = blocking(move || {
            let usage = running.identity.usage().doing(|| format!("read {}", running.identity))?;
            let throttled_ns = running.limit.throttled_ns();
            Ok(Used { cpu_ns: usage.cpu_ns, rss_bytes: usage.rss_bytes, throttled_ns })
        });
        read.await.ok()
    }

    async fn injure(&self, injury: Injury) -> Result<Option<bool>, EnvError> {
        let signal = match injury {
            Injury::Kill => Signal::KILL,
            Injury::Pause => Signal::STOP,
            Injury::Resume => Signal::CONT,
            Injury::Disconnect | Injury::Connect | Injury::Slow(_) => return Ok(None),
        };
        self.limit.freeze(injury == Injury::Pause);
        let sent = self.identity.signal_group(signal);
        sent.map(Some).doing(|| format!("send {signal:?} to {}", self.identity))
    }
}

fn start(shared: &Arc<Shared>, template: &Template, replica: &str) -> Result<Process, EnvError> {
    let path = shared.logs.join(format!("{replica}.log"));
    let log = OpenOptions::new().create(true).append(true).open(&path).doing(|| format!("write {}", path.display()))?;
    let group = template.cpu.and_then(|_| shared.limiter.group(&shared.lab, replica));
    let group = match group {
        Some(path) => Some((shared.ledger.intend(&shared.run, Thing::Cgroup, &path.display().to_string())?, path)),
        None => None,
    };
    let entry = shared.ledger.intend(&shared.run, Thing::Process, replica)?;
    let starting = || format!("start {replica} as {} serve", shared.exe.display());
    let mut child = command(shared, template, replica, log).spawn().doing(starting)?;
    let pid = child.id().ok_or_else(|| io::Error::other("it has no process id")).doing(starting)?;
    let identity = ProcessRef::of(pid).doing(|| format!("read process {pid}"))?;
    shared.ledger.made(entry, identity, pid);
    let limit = match template.cpu {
        None => Limit::Unlimited,
        // On an error the child is dropped, and killed by that.
        Some(cpu) => {
            let limited = shared.limiter.limit(group.as_ref().map(|(_, path)| path.as_path()), identity, cpu);
            limited.doing(|| format!("limit {replica} to {cpu} of CPU"))?
        }
    };
    let stdout = child.stdout.take();
    let running = Running { identity, limit: Arc::new(limit) };
    Ok(Process { running, shared: Arc::clone(shared), child, stdout, entry, group })
}

fn command(shared: &Shared, template: &Template, replica: &str, log: std::fs::File) -> Command {
    let mut command = Command::new(&shared.exe);
    command.args(template.args_of(replica)).env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env(LAB_RUN, &shared.run).env(LAB_OWNER, &shared.owner).env(LAB_NAME, &shared.lab);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0).kill_on_drop(true);
    command
}

/// `exit 0`, `signal 9`.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
