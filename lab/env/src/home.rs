//! Where `lab` keeps its state: `LAB_HOME` with one directory a lab, and the id of this installation.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::EnvError;
use crate::system::Doing as _;

/// The directory that holds every lab of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// The directory of one lab: `labs/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDir {
    name: String,
    path: PathBuf,
}

impl Home {
    /// A home at `root`; nothing is made before it is needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a lab, made when it is not there.
    ///
    /// # Errors
    /// The name is not 1 to 40 of `a-z 0-9 -`, or the directory cannot be made.
    pub fn lab(&self, name: &str) -> Result<LabDir, EnvError> {
        check_name(name)?;
        let lab = LabDir { name: name.to_owned(), path: self.root.join("labs").join(name) };
        make_private(&lab.path)?;
        Ok(lab)
    }

    /// Every lab that ever was up here and was not deleted by hand, by name.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn labs(&self) -> Result<Vec<LabDir>, EnvError> {
        let folder = self.root.join("labs");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.doing(|| format!("read {}", folder.display()))?,
        };
        let mut labs: Vec<LabDir> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| Some(LabDir { name: entry.file_name().into_string().ok()?, path: entry.path() }))
            .collect();
        labs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(labs)
    }

    /// The id that marks what this installation made: 32 hex digits, the same for ever.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub fn owner(&self) -> Result<String, EnvError> {
        let path = self.root.join("install-id");
        if let Some(id) = read_id(&path).doing(|| format!("read {}", path.display()))? {
            return Ok(id);
        }
        make_private(&self.root)?;
        let fresh = random_hex(16)?;
        let draft = self.root.join(format!("install-id.{fresh}"));
        // A link fails when the name is taken, so of two first calls one wins and both read the winner's id.
        let made = fs::write(&draft, &fresh).and_then(|()| match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
        let removed = fs::remove_file(&draft);
        made.and(removed).doing(|| format!("write {}", path.display()))?;
        let id = read_id(&path).doing(|| format!("read {}", path.display()))?;
        id.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)).doing(|| format!("read {}", path.display()))
    }
}

impl LabDir {
    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file whose kernel lock is the hold on the name.
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Who has the hold; only believed together with the lock.
    pub fn holder(&self) -> PathBuf {
        self.path.join("holder.json")
    }

    /// What was made and not yet removed.
    pub fn ledger(&self) -> PathBuf {
        self.path.join("ledger.ndjson")
    }

    /// Files of embedded backing services.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// What replicas read: tokens, addresses and the default load, each a file that only their user reads.
    pub fn mount(&self) -> PathBuf {
        self.path.join("mount")
    }

    /// What the reaper did.
    pub fn reaper_log(&self) -> PathBuf {
        self.path.join("reaper.log")
    }
}

/// Refuses a lab's name that is not 1 to 40 of `a-z 0-9 -`; it becomes part of paths.
pub(crate) fn check_name(name: &str) -> Result<(), EnvError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= 40 && name.chars().all(good) {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "use 1 to 40 of a-z, 0-9 and -");
    Err(source).doing(|| format!("name a lab `{name}`"))
}

/// Makes a directory and its parents for this user alone.
pub(crate) fn make_private(path: &Path) -> Result<(), EnvError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).doing(|| format!("make {}", path.display()))
}

/// `bytes` bytes of the operating system's randomness as hex.
pub(crate) fn random_hex(bytes: usize) -> Result<String, EnvError> {
    let mut raw = vec![0_u8; bytes];
    getrandom::fill(&mut raw)
        .map_err(|error| io::Error::other(error.to_string()))
        .doing(|| "read random bytes".to_owned())?;
    Ok(raw.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_id(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() == 32 => Ok(Some(text.trim().to_owned())),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not hold 32 hex digits; delete it")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_however_many_ask_first() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        let ids: Vec<String> = std::thread::scope(|scope| {
            let asks: Vec<_> = (0..16).map(|_| scope.spawn(|| home.owner().unwrap())).collect();
            asks.into_iter().map(|ask| ask.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 32), "{ids:?}");
        let files: Vec<_> = fs::read_dir(home.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(files, ["install-id"], "drafts are removed");
    }

    #[test]
    fn names_cannot_leave_the_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        for name in ["", "..", "a/b", "Ä", "a b", &"x".repeat(41)] {
            assert!(home.lab(name).is_err(), "{name}");
        }
        assert_eq!(home.lab("my-lab-2").unwrap().path(), folder.path().join("labs/my-lab-2"));
        assert_eq!(home.labs().unwrap().len(), 1);
    }
}
