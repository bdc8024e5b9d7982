//! A replica's process: started, announced, terminated, accounted for in the ledger. Which replicas there should be is `workload`'s
//! affair.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::command::Template;
use super::limit::{Limit, Limiter};
use crate::EnvError;
use crate::ledger::{Ledger, Thing};
use crate::proc::{LAB_NAME, LAB_OWNER, LAB_RUN, ProcessRef};
use crate::sweep::remove_group;
use crate::system::{Doing as _, blocking};

/// Longest announcement that is read.
const ANNOUNCEMENT: u64 = 4096;
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(5);
/// How much of a log is quoted.
const TAIL: (u64, usize) = (4096, 5);
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
    pub(super) ledger: Ledger,
    pub(super) limiter: Limiter,
}

/// A running process with what belongs to it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) identity: ProcessRef,
    pub(super) limit: Arc<Limit>,
    child: Child,
    stdout: Option<ChildStdout>,
    entry: u64,
    group: Option<(u64, PathBuf)>,
}

#[derive(Debug, Deserialize)]
struct Announcement {
    listening: std::net::SocketAddr,
}

impl Shared {
    /// Where a replica's own words are.
    pub(super) fn log(&self, replica: &str) -> PathBuf {
        self.logs.join(format!("{replica}.log"))
    }
}

impl Process {
    /// Starts a replica: intent, group, process, limit.
    ///
    /// # Errors
    /// One of them was refused; nothing is left running.
    pub(super) async fn start(shared: &Arc<Shared>, template: &Arc<Template>, replica: &str) -> Result<Self, EnvError> {
        let (shared, template, replica) = (Arc::clone(shared), Arc::clone(template), replica.to_owned());
        blocking(move || start(&shared, &template, &replica)).await
    }

    /// The address on the first line of its stdout. What follows there is read and dropped.
    ///
    /// # Errors
    /// What came instead.
    pub(super) async fn announced(&mut self, limit: Duration) -> Result<String, String> {
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

    /// Its end. May be cancelled and called again.
    pub(super) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("unknown: {error}"),
        }
    }

    /// SIGTERM, and SIGCONT so that a stopped one hears it; SIGKILL for the whole group after the limit.
    pub(super) async fn terminate(&mut self, limit: Duration) -> String {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        match timeout(limit, self.ended()).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    /// SIGKILL for the whole group.
    pub(super) async fn kill(&mut self) -> String {
        self.signal(Signal::KILL);
        timeout(KILLED, self.ended()).await.unwrap_or_else(|_| format!("not gone {KILLED:?} after signal 9"))
    }

    fn signal(&self, signal: Signal) {
        // Until it is waited for its pid cannot be another's, so this is exact.
        if let Err(error) = self.identity.signal_group(signal) {
            tracing::warn!(%error, pid = self.identity.pid, ?signal, "cannot signal a replica");
        }
    }

    /// Removes what belonged to an ended process and strikes it from the ledger.
    pub(super) async fn clear(self, shared: &Arc<Shared>) {
        let Self { limit, entry, group, identity, .. } = self;
        drop(limit);
        let shared = Arc::clone(shared);
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

fn start(shared: &Shared, template: &Template, replica: &str) -> Result<Process, EnvError> {
    let path = shared.log(replica);
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
    Ok(Process { identity, limit: Arc::new(limit), child, stdout, entry, group })
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

/// The last lines of a log, in one line.
pub(super) fn tail(log: &Path) -> String {
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
