//! Having a lab up: its lock, its ledger, its reaper, its files; and giving all of that back. Blocking code, run off the runtime.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::LocalConfig;
use super::command::Files;
use super::limit::Limiter;
use super::process::Shared;
use crate::home::{Home, LabDir, make_private, random_hex};
use crate::lease::{Lease, Role};
use crate::ledger::{Ledger, Thing};
use crate::reaper::Reaper;
use crate::sweep::{Patience, sweep};
use crate::system::Doing as _;
use crate::{EnvError, Removal};

/// Length of a token, bytes.
const TOKEN: usize = 32;

/// A lab that is up.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) shared: Arc<Shared>,
    pub(super) token: SecretString,
    // Dropped in this order when nobody lets go: the reaper waits for the lock of the dead.
    reaper: Reaper,
    lease: Lease,
}

/// Where a lab's files are.
pub(super) fn files(lab: &LabDir) -> Files {
    let default_load = lab.path().join("default-load.json");
    Files { data: lab.data(), token: lab.tokens().join("load-generator"), default_load }
}

/// Where replicas write.
pub(super) fn logs(config: &LocalConfig) -> PathBuf {
    config.run_dir.join("logs")
}

impl Hold {
    /// Takes the lock, removes what an earlier holder left, makes what every workload needs.
    ///
    /// # Errors
    /// Somebody holds it, something could not be removed or made.
    pub(super) fn take(config: &LocalConfig, home: &Home) -> Result<Self, EnvError> {
        let (lab, owner) = (home.lab(&config.lab_name)?, home.owner()?);
        let lease = Lease::take(&lab, &config.run_id, Role::Lab)?;
        let left = sweep(&lab, &owner, &Ledger::open(&lab.ledger())?, Patience::default()).left;
        if !left.is_empty() {
            let source = io::Error::other(format!("{} cannot be removed", left.join(", ")));
            return Err(source).doing(|| format!("take over lab `{}`", lab.name()));
        }
        // Opened anew: with nothing owned it begins anew.
        let ledger = Ledger::open(&lab.ledger())?;
        let reaper = Reaper::start(&config.exe, home, &lab)?;
        let logs = logs(config);
        fs::create_dir_all(&logs).doing(|| format!("make {}", logs.display()))?;
        let token = make_files(config, &lab, &ledger)?;
        let limiter = Limiter::detect(&owner);
        let (exe, run) = (config.exe.clone(), config.run_id.clone());
        let shared = Shared { exe, run, owner, lab: lab.name().to_owned(), logs, ledger, limiter };
        Ok(Self { shared: Arc::new(shared), token, reaper, lease })
    }

    /// Removes everything and gives the name back; the remark is worth a warning.
    ///
    /// # Errors
    /// None at present: what is left is named.
    pub(super) fn let_go(self) -> Result<(Removal, Option<String>), EnvError> {
        let Self { shared, reaper, lease, .. } = self;
        let removal = sweep(lease.lab(), &shared.owner, &shared.ledger, Patience::default());
        let remark = reaper.dismiss().err().map(|error| error.to_string());
        drop(lease);
        Ok((removal, remark))
    }
}

/// What a lab that is not up here may have left: a `down` after a crash, or a second one.
///
/// # Errors
/// The lab's directory cannot be used.
pub(super) fn remove_leftovers(config: &LocalConfig, home: &Home) -> Result<(Removal, Option<String>), EnvError> {
    let (lab, owner) = (home.lab(&config.lab_name)?, home.owner()?);
    let Some(lease) = Lease::try_take(&lab, "", Role::Clean)? else {
        // What another holder has is not ours to remove.
        return Ok((Removal::default(), None));
    };
    let removal = sweep(&lab, &owner, &Ledger::open(&lab.ledger())?, Patience::default());
    drop(lease);
    Ok((removal, None))
}

/// Data, token and default load, each with its intent first.
fn make_files(config: &LocalConfig, lab: &LabDir, ledger: &Ledger) -> Result<SecretString, EnvError> {
    let files = files(lab);
    let intend = |kind, path: &Path| ledger.intend(&config.run_id, kind, &path.display().to_string());
    intend(Thing::Dir, &lab.data())?;
    make_private(&lab.data())?;
    intend(Thing::Dir, &lab.tokens())?;
    make_private(&lab.tokens())?;
    let token = random_hex(TOKEN)?;
    write_secret(&files.token, &token).doing(|| format!("write {}", files.token.display()))?;
    intend(Thing::File, &files.default_load)?;
    fs::write(&files.default_load, &config.default_load).doing(|| format!("write {}", files.default_load.display()))?;
    Ok(token.into())
}

/// Readable by its user, writable by nobody, never there with other rights.
fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(secret.as_bytes())
}
