//! The second net: a process of its own that holds the read end of a pipe. When the pipe ends without a word its lab died, and it
//! removes what the lab left. It is the same executable, asked for by `__reap`.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, PipeWriter, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::EnvError;
use crate::docker::engine::HOST_VARIABLE;
use crate::home::{Home, LabDir};
use crate::lease::{self, Holder, Lease, Role};
use crate::ledger::Ledger;
use crate::sweep::{Patience, sweep};
use crate::system::Doing as _;
use crate::wait::wait_until;

/// The hidden verb that the executable answers with [`reap`].
pub const VERB: &str = "__reap";
/// What a regular `down` writes.
const DISMISSED: u8 = b'.';
/// How long a new holder may take to appear before the reaper acts.
const GRACE: Duration = Duration::from_secs(2);
/// How long the lock of a dead holder may take to come free.
const LOCK: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(25);
/// How long a new reaper may take to be on guard.
const BEGIN: Duration = Duration::from_secs(10);
/// How long a dismissed reaper may take to end.
const END: Duration = Duration::from_secs(2);

/// A running reaper, seen from the lab. Dropping it without [`Reaper::dismiss`] makes it act.
#[derive(Debug)]
pub struct Reaper {
    pipe: PipeWriter,
    child: Child,
}

impl Reaper {
    /// Starts one for a lab that this process holds and waits until it is on guard. Blocks.
    ///
    /// # Errors
    /// It could not be started, or ended before it was on guard.
    pub fn start(exe: &Path, home: &Home, lab: &LabDir) -> Result<Self, EnvError> {
        let starting = || format!("start the reaper {} {VERB}", exe.display());
        // Both ends are closed on exec; only the reaper gets the read end, as its stdin.
        let (reading, pipe) = io::pipe().doing(|| "make a pipe".to_owned())?;
        let log = OpenOptions::new().create(true).append(true).open(lab.reaper_log()).doing(starting)?;
        let mut command = Command::new(exe);
        command.arg(VERB).arg("--home").arg(home.root()).arg("--name").arg(lab.name());
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_needed(name)));
        command.stdin(reading).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().doing(starting)?;
        let word = first_word(child.stdout.take());
        if word != ON_GUARD {
            let source = io::Error::other(format!("it said `{word}`; see {}", lab.reaper_log().display()));
            // It is of no use; whether it had already ended makes no difference.
            drop(child.kill().and_then(|()| child.wait()));
            return Err(source).doing(starting);
        }
        Ok(Self { pipe, child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it that nothing is left to do and waits for its end. Blocks.
    ///
    /// # Errors
    /// It was gone before, or did not end.
    pub fn dismiss(mut self) -> Result<(), EnvError> {
        let told = self.pipe.write_all(&[DISMISSED]);
        let ended = wait_until(END, STEP, || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)));
        if !ended {
            // It holds nothing but its pipe, so killing it loses nothing.
            drop(self.child.kill().and_then(|()| self.child.wait()));
        }
        told.doing(|| "dismiss the reaper; it had ended before".to_owned())
    }
}

/// What the reaper needs to reach Docker and clusters: some are reached through programs that look for their own settings. No mark of a
/// lab, or a sweep would end it as one of its replicas.
fn is_needed(name: &OsStr) -> bool {
    const NEEDED: [&str; 6] = [HOST_VARIABLE, "HOME", "PATH", "KUBECONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    const BEGINNINGS: [&str; 4] = ["AWS_", "CLOUDSDK_", "AZURE_", "XDG_"];
    let name = name.to_string_lossy();
    NEEDED.contains(&name.as_ref()) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// The first line of a reaper's stdout; empty when none came in time. The thread that reads it ends with the reaper.
fn first_word(stdout: Option<ChildStdout>) -> String {
    let Some(stdout) = stdout else { return String::new() };
    let (tell, heard) = sync_channel(1);
    std::thread::spawn(move || {
        let mut word = String::new();
        // What was read before an error is judged like any other word; the other side may have given up by now.
        drop(BufReader::new(stdout).take(64).read_line(&mut word));
        drop(tell.send(word.trim().to_owned()));
    });
    heard.recv_timeout(BEGIN).unwrap_or_default()
}

/// What the reaper says once signals cannot end it any more.
const ON_GUARD: &str = "on guard";

/// The reaper's whole life; stdin is the pipe. Ends when it is dismissed, when a new holder has the lab, or when all is removed.
///
/// # Errors
/// The lab's directory cannot be used, or something could not be removed: named in the error and still in the ledger.
pub fn reap(home: &Path, name: &str) -> Result<(), EnvError> {
    // A session of its own is only there to miss the terminal's signals, so one that cannot be had does not matter.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "the reaper stays in its session");
    }
    ignore_signals();
    let home = Home::new(home);
    let lab = home.lab(name)?;
    let owner = home.owner()?;
    let guarded = lease::holder(&lab);
    let mut stdout = io::stdout().lock();
    let said = writeln!(stdout, "{ON_GUARD}").and_then(|()| stdout.flush());
    said.doing(|| "say that the reaper is on guard".to_owned())?;
    drop(stdout);
    let mut word = [0_u8];
    if matches!(io::stdin().lock().read(&mut word), Ok(1)) {
        return Ok(());
    }
    after_death(&lab, &owner, guarded.as_ref())
}

fn after_death(lab: &LabDir, owner: &str, dead: Option<&Holder>) -> Result<(), EnvError> {
    log(lab, "the lab ended without a word");
    // The dead one may still be seen with its lock while the kernel closes its files.
    let taken_over = || lease::holder(lab).is_some_and(|holder| holder.role == Role::Lab && Some(&holder) != dead);
    if wait_until(GRACE, STEP, taken_over) {
        log(lab, "a new holder has it; nothing to do");
        return Ok(());
    }
    let mut lease = None;
    wait_until(LOCK, STEP, || {
        lease = Lease::try_take(lab, "", Role::Reaper).ok().flatten();
        lease.is_some() || taken_over()
    });
    let Some(lease) = lease else {
        log(lab, "somebody else holds it; nothing to do");
        return Ok(());
    };
    let ledger = Ledger::open(&lab.ledger())?;
    let things = ledger.owned().len();
    let removal = sweep(lab, owner, &ledger, Patience::default());
    drop(lease);
    if removal.left.is_empty() {
        log(lab, &format!("removed what was left ({things} in the ledger)"));
        return Ok(());
    }
    log(lab, &format!("could not remove {}", removal.left.join(", ")));
    Err(io::Error::other(removal.left.join(", "))).doing(|| format!("remove everything of lab `{}`", lab.name()))
}

/// A line in the log; the log is a courtesy, removal goes on without it.
fn log(lab: &LabDir, text: &str) {
    let line = format!("{} {text}\n", jiff::Timestamp::now());
    let written = OpenOptions::new().create(true).append(true).open(lab.reaper_log());
    if let Err(error) = written.and_then(|mut file: File| file.write_all(line.as_bytes())) {
        tracing::warn!(%error, text, "cannot write the reaper's log");
    }
}

fn ignore_signals() {
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
        // SAFETY: ignoring a signal installs no handler and has no other precondition; the numbers are valid.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
