//! Asking a server with its own driver: the verb `__backing` of the executable, as a child process. It gets addresses on its stdin, which no
//! other process sees.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use lab_core::parity::Promises;
use lab_core::spec::Role;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::EnvError;
use crate::proc::{LAB_NAME, LAB_OWNER, LAB_RUN};

/// The verb's name.
const VERB: &str = "__backing";

/// How long the child may take beyond what it was told to wait.
const GRACE: Duration = Duration::from_secs(15);
/// How long it may take to make or remove a place.
const PLACE: Duration = Duration::from_secs(90);
/// Between two looks at a child of a thread that may block.
const STEP: Duration = Duration::from_millis(20);

/// What the verb says of a server that answers, one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Name and version: `PostgreSQL 15.18`.
    pub server: String,
    /// Its address without a password.
    pub address: String,
    /// Most connections, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// What it promises.
    pub promises: Promises,
}

/// Runs the verb for one lab.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    /// The executable.
    pub(crate) exe: PathBuf,
    /// `LAB_OWNER`, `LAB_NAME`, `LAB_RUN`: what sweeps find the child by.
    pub(crate) owner: String,
    pub(crate) lab: String,
    pub(crate) run: String,
}

impl Prober {
    /// Waits until a server answers, and says what it is. `name` is for errors.
    ///
    /// # Errors
    /// It does not within `wait`, or refuses; with its driver's words.
    pub(crate) async fn probe(
        &self,
        name: &str,
        role: Role,
        address: &str,
        wait: Duration,
    ) -> Result<Probed, EnvError> {
        let args = ["probe", "--role", role.name(), "--address", "-", "--wait", &format!("{}ms", wait.as_millis())];
        let said = self.run(&args, address, wait + GRACE).await;
        let probed = said.and_then(|said| serde_json::from_str(said.trim()).map_err(io::Error::other));
        failed(name, || format!("answer within {wait:?}"), probed)
    }

    /// Makes a place of this run's own at a server that is there already. The file gets the place's address before it is made.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) async fn own(
        &self,
        name: &str,
        role: Role,
        address: &str,
        place: &str,
        file: &Path,
    ) -> Result<(), EnvError> {
        let file = file.display().to_string();
        let args = ["own", "--role", role.name(), "--address", "-", "--place", place, "--into", &file];
        failed(name, || "give this run a place of its own".to_owned(), self.run(&args, address, PLACE).await).map(drop)
    }

    /// Removes the place whose address stands in the file, with all that is in it.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) async fn disown(&self, name: &str, role: Role, file: &Path) -> Result<(), EnvError> {
        let file = format!("@{}", file.display());
        let args = ["disown", "--role", role.name(), "--address", &file];
        failed(name, || "let go of this run's place".to_owned(), self.run(&args, "", PLACE).await).map(drop)
    }

    async fn run(&self, args: &[&str], input: &str, limit: Duration) -> io::Result<String> {
        let mut command = Command::new(&self.exe);
        command.arg(VERB).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env(LAB_RUN, &self.run).env(LAB_OWNER, &self.owner).env(LAB_NAME, &self.lab).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("its stdin is closed"))?;
        let whole = async {
            match stdin.write_all(input.as_bytes()).await {
                // It ended without reading; what it said, or how it ended, tells more.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
            drop(stdin);
            child.wait_with_output().await
        };
        let output = timeout(limit, whole).await;
        said(output.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no word within {limit:?}")))??)
    }
}

/// As [`Prober::disown`], for a sweep: by whichever `lab` sweeps, on a thread that may block. A file that is not there names nothing.
///
/// # Errors
/// The server refuses, or does not answer.
pub(crate) fn disown_blocking(file: &Path) -> io::Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let role = name.split_once('.').map_or(name, |(role, _)| role);
    let address = format!("@{}", file.display());
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args([VERB, "disown", "--role", role, "--address", &address]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut ended = false;
    let looked = crate::wait::wait_until(PLACE, STEP, || {
        ended = child.try_wait().is_ok_and(|status| status.is_some());
        ended
    });
    if !looked {
        child.kill()?;
    }
    said(child.wait_with_output()?).map(drop)
}

/// What a child that did well printed; else why not, in its words.
fn said(output: Output) -> io::Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = words.lines().map(|line| line.trim().trim_start_matches("error: ")).collect();
    let words = if words.is_empty() { output.status.to_string() } else { words.join("; ") };
    Err(io::Error::other(words))
}

fn failed<T>(name: &str, what: impl FnOnce() -> String, done: io::Result<T>) -> Result<T, EnvError> {
    done.map_err(|source| EnvError::Api { who: name.to_owned(), what: what(), source: source.into() })
}

/// An executable of one script, for tests.
#[cfg(test)]
pub(crate) fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("lab");
    // Written by a process of its own: while this one has it open to write, a child that another test forks would keep it busy.
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let written = std::process::Command::new("sh").args(["-c", write]).arg(&path).arg(text).status();
    assert!(written.unwrap().success());
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prober(folder: &Path, text: &str) -> Prober {
        Prober { exe: script(folder, text), owner: "o".to_owned(), lab: "l".to_owned(), run: "r".to_owned() }
    }

    #[tokio::test]
    async fn a_server_is_told_as_its_driver_found_it() {
        let folder = tempfile::tempdir().unwrap();
        let answer = r#"{"server":"PostgreSQL 15.18","address":"postgres://lab:…@db/x","connections":100,"promises":{"engine":"postgres",
            "durability":"d","acknowledgement":"a","replication":"r","ordering":"o","batching":"b","fidelity":"real"}}"#
            .replace('\n', "");
        let text = format!("read -r address; [ \"$address\" = postgres://lab:hush@db/x ] || exit 9; echo '{answer}'");
        let prober = prober(folder.path(), &text);
        let probed =
            prober.probe("store.postgres", Role::Store, "postgres://lab:hush@db/x", Duration::from_secs(5)).await;
        let probed = probed.unwrap();
        assert_eq!((probed.server.as_str(), probed.connections), ("PostgreSQL 15.18", Some(100)));
        assert_eq!(probed.promises.engine, "postgres");
    }

    #[tokio::test]
    async fn a_refusal_comes_in_the_drivers_words() {
        let folder = tempfile::tempdir().unwrap();
        let prober =
            prober(folder.path(), "echo 'error: no password is right' >&2; echo 'hint: try again' >&2; exit 3");
        let refused = prober.probe("store.mysql", Role::Store, "", Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(refused.to_string(), "store.mysql did not answer within 2s");
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert_eq!(cause, "no password is right; hint: try again");
    }
}
