//! Having a lab up: its lock, its ledger, its reaper, its files; and giving all of that back. What blocks is run off the runtime.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lab_core::event::Kind;
use secrecy::SecretString;

use crate::home::{Home, LabDir, make_private, random_hex};
use crate::lease::{Lease, Role};
use crate::ledger::{Ledger, Thing};
use crate::reaper::Reaper;
use crate::replicas::announce;
use crate::sweep::{Patience, sweep};
use crate::system::{Doing as _, blocking};
use crate::{EnvError, EventSink, Removal};

/// Length of a token, bytes.
const TOKEN: usize = 32;

/// What a lab is held with.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The executable that answers [`crate::reaper::VERB`].
    pub(crate) exe: PathBuf,
    /// Name of the lab.
    pub(crate) lab_name: String,
    /// Id of the run.
    pub(crate) run_id: String,
    /// The run's directory.
    pub(crate) run_dir: PathBuf,
    /// Where labs are kept.
    pub(crate) home: Home,
    /// JSON of the load that `GET /start` begins.
    pub(crate) default_load: String,
    /// Who reads the lab's files, when that is not this user.
    pub(crate) reader: Option<u32>,
}

/// A lab that is up.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) owner: String,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) token: SecretString,
    // Dropped in this order when nobody lets go: the reaper waits for the lock of the dead.
    reaper: Reaper,
    lease: Lease,
}

/// Where a lab's files are on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// SQLite files; replicas write there.
    pub(crate) data: PathBuf,
    /// All that replicas only read.
    pub(crate) mount: PathBuf,
    /// The control API's token.
    pub(crate) token: PathBuf,
    /// The load begun by `GET /start`.
    pub(crate) default_load: PathBuf,
}

impl Files {
    /// Of a lab.
    pub(crate) fn of(lab: &LabDir) -> Self {
        let mount = lab.mount();
        let (token, default_load) = (mount.join(TOKEN_FILE), mount.join(DEFAULT_LOAD_FILE));
        Self { data: lab.data(), mount, token, default_load }
    }
}

/// The token's file within the mount.
pub(crate) const TOKEN_FILE: &str = "load-generator.token";
/// The default load's file within the mount.
pub(crate) const DEFAULT_LOAD_FILE: &str = "default-load.json";

impl Ground {
    /// Where replicas write.
    pub(crate) fn logs(&self) -> PathBuf {
        self.run_dir.join("logs")
    }

    /// The lab's directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn lab(&self) -> Result<LabDir, EnvError> {
        self.home.lab(&self.lab_name)
    }

    /// What a lab that is not up here may have left: a `down` after a crash, or a second one.
    ///
    /// # Errors
    /// The lab's directory cannot be used.
    fn remove_leftovers(&self) -> Result<(Removal, Option<String>), EnvError> {
        let (lab, owner) = (self.lab()?, self.home.owner()?);
        let Some(lease) = Lease::try_take(&lab, "", Role::Clean)? else {
            // What another holder has is not ours to remove.
            return Ok((Removal::default(), None));
        };
        let removal = sweep(&lab, &owner, &Ledger::open(&lab.ledger())?, Patience::default());
        drop(lease);
        Ok((removal, None))
    }

    /// Gives up what is held, or what an earlier holder left, and warns of what is worth it.
    ///
    /// # Errors
    /// The lab's directory cannot be used.
    pub(crate) async fn let_go(&self, hold: Option<Hold>, events: &EventSink, src: &str) -> Result<Removal, EnvError> {
        let ground = self.clone();
        let removal = blocking(move || match hold {
            Some(hold) => hold.let_go(),
            None => ground.remove_leftovers(),
        });
        let (removal, remark) = removal.await?;
        if let Some(text) = remark {
            announce(events, src, Kind::Warning { text }).await;
        }
        Ok(removal)
    }

    /// Data, token and default load, each with its intent first.
    fn make_files(&self, lab: &LabDir, ledger: &Ledger) -> Result<SecretString, EnvError> {
        let files = Files::of(lab);
        for folder in [&files.data, &files.mount] {
            ledger.intend(&self.run_id, Thing::Dir, &folder.display().to_string())?;
            make_private(folder)?;
            self.give(folder)?;
        }
        let token = random_hex(TOKEN)?;
        write_secret(&files.token, &token).doing(|| format!("write {}", files.token.display()))?;
        let load = &files.default_load;
        fs::write(load, &self.default_load).doing(|| format!("write {}", load.display()))?;
        self.give(&files.token)?;
        self.give(load)?;
        Ok(token.into())
    }

    /// Gives a file to whoever reads it.
    pub(crate) fn give(&self, path: &Path) -> Result<(), EnvError> {
        match self.reader {
            Some(uid) => chown(path, Some(uid), Some(uid)).doing(|| format!("give {} to uid {uid}", path.display())),
            None => Ok(()),
        }
    }
}

impl Hold {
    /// Takes the lock, removes what an earlier holder left, makes what every workload needs.
    ///
    /// # Errors
    /// Somebody holds it, something could not be removed or made.
    pub(crate) fn take(ground: &Ground) -> Result<Self, EnvError> {
        let (lab, owner) = (ground.lab()?, ground.home.owner()?);
        let lease = Lease::take(&lab, &ground.run_id, Role::Lab)?;
        let left = sweep(&lab, &owner, &Ledger::open(&lab.ledger())?, Patience::default()).left;
        if !left.is_empty() {
            let source = io::Error::other(format!("{} cannot be removed", left.join(", ")));
            return Err(source).doing(|| format!("take over lab `{}`", lab.name()));
        }
        // Opened anew: with nothing owned it begins anew.
        let ledger = Ledger::open(&lab.ledger())?;
        let reaper = Reaper::start(&ground.exe, &ground.home, &lab)?;
        let logs = ground.logs();
        fs::create_dir_all(&logs).doing(|| format!("make {}", logs.display()))?;
        let token = ground.make_files(&lab, &ledger)?;
        Ok(Self { owner, ledger: Arc::new(ledger), token, reaper, lease })
    }

    /// The lab.
    pub(crate) fn lab(&self) -> &LabDir {
        self.lease.lab()
    }

    /// Gives up a lab that did not come up; who asked for it hears of the cause.
    pub(crate) async fn abandon(self) {
        let left = blocking(move || self.let_go()).await;
        if let Ok((removal, _)) = left.as_ref()
            && !removal.left.is_empty()
        {
            tracing::warn!(left = removal.left.join(", "), "not all of a lab that did not come up is gone");
        }
    }

    /// Removes everything and gives the name back; the remark is worth a warning.
    ///
    /// # Errors
    /// None at present: what is left is named.
    fn let_go(self) -> Result<(Removal, Option<String>), EnvError> {
        let Self { owner, ledger, reaper, lease, .. } = self;
        let removal = sweep(lease.lab(), &owner, &ledger, Patience::default());
        let remark = reaper.dismiss().err().map(|error| error.to_string());
        drop(lease);
        Ok((removal, remark))
    }
}

/// Readable by its user, writable by nobody, never there with other rights.
pub(crate) fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(secret.as_bytes())
}
