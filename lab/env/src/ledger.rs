//! The lease ledger: what was made and must be removed. Append-only lines; a name stands here, on disk, before the thing exists.
//! Which of it is removed how is `sweep`'s affair.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::EnvError;
use crate::kubernetes::cluster::NamespaceRef;
use crate::proc::ProcessRef;
use crate::system::Doing as _;

/// Version of the format: the first line is `{"lab-ledger":1}`. A newer one is refused.
pub const LEDGER_VERSION: u32 = 1;

/// Kinds of things that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// A process; its name is the replica's.
    Process,
    /// A directory with all that is in it; its name is the path.
    Dir,
    /// A file; its name is the path.
    File,
    /// A control group; its name is the path.
    Cgroup,
    /// A container of Docker; its name is Docker's.
    Container,
    /// A volume of Docker; its name is Docker's.
    Volume,
    /// A network of Docker; its name is Docker's.
    Network,
    /// A namespace of a cluster, with all that is in it; its name is JSON that names the cluster too.
    Namespace,
    /// What was made for this run at a server that was there before; its name is the file that holds its address.
    Place,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
enum Entry {
    /// It is about to be made.
    Intent { id: u64, run: String, kind: Thing, name: String },
    /// A process was made.
    Made { id: u64, pid: u32, start_ticks: u64, pgid: u32 },
    /// It is gone.
    Removed { id: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    #[serde(rename = "lab-ledger")]
    version: u32,
}

/// Something that was made, or was about to be, and is not known to be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Its number in this ledger.
    pub id: u64,
    /// The run that made it.
    pub run: String,
    /// What it is.
    pub kind: Thing,
    /// Its name or path.
    pub name: String,
    /// The process, once it was made.
    pub process: Option<ProcessRef>,
}

impl fmt::Display for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Thing::Process => write!(f, "process {}", self.name),
            Thing::Container => write!(f, "container {}", self.name),
            Thing::Volume => write!(f, "volume {}", self.name),
            Thing::Network => write!(f, "network {}", self.name),
            Thing::Namespace => match NamespaceRef::of_name(&self.name) {
                Some(place) => place.fmt(f),
                None => write!(f, "namespace {}", self.name),
            },
            Thing::Place => write!(f, "the place at {}", self.name),
            Thing::Dir | Thing::File | Thing::Cgroup => f.write_str(&self.name),
        }
    }
}

/// The open ledger of one lab. Only the holder of the lab's lock may have one.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    owned: BTreeMap<u64, Owned>,
    next: u64,
}

impl Ledger {
    /// Opens or begins a ledger. A torn last line is cut off: its effect never began. A ledger of which everything is gone begins anew.
    ///
    /// # Errors
    /// It cannot be read or written, or is of a newer version.
    pub fn open(path: &Path) -> Result<Self, EnvError> {
        let inner = Inner::open(path).doing(|| format!("open the ledger {}", path.display()))?;
        Ok(Self { path: path.to_owned(), inner: Mutex::new(inner) })
    }

    /// What is not known to be gone, as written in a ledger that somebody else may hold.
    ///
    /// # Errors
    /// It cannot be read, or is of a newer version. A missing one is empty.
    pub fn peek(path: &Path) -> Result<Vec<Owned>, EnvError> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.doing(|| format!("read the ledger {}", path.display()))?,
        };
        let (owned, _, _) = replay(&text).doing(|| format!("read the ledger {}", path.display()))?;
        Ok(owned.into_values().rev().collect())
    }

    /// Writes that something is about to be made, and waits until that is on disk.
    ///
    /// # Errors
    /// It could not be written; then nothing may be made.
    pub fn intend(&self, run: &str, kind: Thing, name: &str) -> Result<u64, EnvError> {
        let mut inner = self.lock();
        let id = inner.next;
        let entry = Entry::Intent { id, run: run.to_owned(), kind, name: name.to_owned() };
        let written = inner.append(&entry).and_then(|()| inner.file.sync_data());
        written.doing(|| format!("write {name} into the ledger {}", self.path.display()))?;
        inner.next += 1;
        inner.owned.insert(id, Owned { id, run: run.to_owned(), kind, name: name.to_owned(), process: None });
        Ok(id)
    }

    /// Writes which process an intent became. Its marks would find it too, so a failure is only reported.
    pub fn made(&self, id: u64, process: ProcessRef, pgid: u32) {
        let mut inner = self.lock();
        let entry = Entry::Made { id, pid: process.pid, start_ticks: process.start_ticks, pgid };
        if let Err(error) = inner.append(&entry) {
            tracing::warn!(%error, ledger = %self.path.display(), pid = process.pid, "cannot note a process in the ledger");
        }
        if let Some(owned) = inner.owned.get_mut(&id) {
            owned.process = Some(process);
        }
    }

    /// Writes that something is gone. When that fails the next sweep finds nothing to remove, so it is only reported.
    pub fn removed(&self, id: u64) {
        let mut inner = self.lock();
        if inner.owned.remove(&id).is_none() {
            return;
        }
        if let Err(error) = inner.append(&Entry::Removed { id }) {
            tracing::warn!(%error, ledger = %self.path.display(), id, "cannot note a removal in the ledger");
        }
    }

    /// What is not known to be gone, newest first.
    pub fn owned(&self) -> Vec<Owned> {
        self.lock().owned.values().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let (owned, next, whole) = replay(&text)?;
        if owned.is_empty() {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", serde_json::to_string(&Header { version: LEDGER_VERSION })?)?;
            file.sync_data()?;
        } else {
            file.set_len(whole as u64)?;
        }
        Ok(Self { file, owned, next })
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// What is owned after all whole lines, the next number, and how many bytes of whole lines there are.
fn replay(text: &[u8]) -> io::Result<(BTreeMap<u64, Owned>, u64, usize)> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    if let Some(first) = lines.next() {
        let header: Header = serde_json::from_slice(first)?;
        if header.version > LEDGER_VERSION {
            let text =
                format!("it is of version {}, this `lab` knows {LEDGER_VERSION}; use a newer `lab`", header.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    let (mut owned, mut next) = (BTreeMap::new(), 1);
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(Entry::Intent { id, run, kind, name }) => {
                next = next.max(id + 1);
                owned.insert(id, Owned { id, run, kind, name, process: None });
            }
            Ok(Entry::Made { id, pid, start_ticks, .. }) => {
                if let Some(thing) = owned.get_mut(&id) {
                    thing.process = Some(ProcessRef { pid, start_ticks });
                }
            }
            Ok(Entry::Removed { id }) => {
                owned.remove(&id);
            }
            // Processes are found by their marks as well; refusing to go on would leave everything else behind.
            Err(error) => tracing::warn!(%error, "a line of the ledger cannot be read and is left out"),
        }
    }
    Ok((owned, next, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.ndjson");
        (folder, path)
    }

    #[test]
    fn what_was_intended_and_not_removed_is_owned() {
        let (_folder, path) = ledger();
        let first = Ledger::open(&path).unwrap();
        let dir = first.intend("r1", Thing::Dir, "/x/data").unwrap();
        let gone = first.intend("r1", Thing::Cgroup, "/sys/x").unwrap();
        let process = first.intend("r1", Thing::Process, "user-service-1").unwrap();
        first.made(process, ProcessRef { pid: 7, start_ticks: 99 }, 7);
        first.removed(gone);
        first.removed(gone);
        let owned = first.owned();
        drop(first);
        assert_eq!(owned.iter().map(|o| o.id).collect::<Vec<_>>(), [process, dir], "newest first");
        assert_eq!(owned[0].process, Some(ProcessRef { pid: 7, start_ticks: 99 }));
        let second = Ledger::open(&path).unwrap();
        assert_eq!(second.owned(), owned);
        assert_eq!(Ledger::peek(&path).unwrap(), owned);
        assert!(second.intend("r2", Thing::File, "/y").unwrap() > process, "numbers are not reused");
    }

    #[test]
    fn cut_anywhere_it_opens_and_goes_on() {
        let (_folder, path) = ledger();
        let whole = Ledger::open(&path).unwrap();
        for n in 0..3 {
            let id = whole.intend("r", Thing::Dir, &format!("/d{n}")).unwrap();
            whole.made(id, ProcessRef { pid: n, start_ticks: 1 }, n);
        }
        whole.removed(1);
        drop(whole);
        let text = std::fs::read(&path).unwrap();
        for cut in 0..=text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let before = Ledger::peek(&path).unwrap();
            let cut_one = Ledger::open(&path).unwrap();
            let id = cut_one.intend("r", Thing::File, "/after").unwrap();
            drop(cut_one);
            let after = Ledger::peek(&path).unwrap();
            assert_eq!(after[0].id, id, "cut at {cut}");
            assert_eq!(after[1..], before[..], "cut at {cut}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_and_an_empty_one_begins_anew() {
        let (_folder, path) = ledger();
        std::fs::write(&path, "{\"lab-ledger\":2}\n").unwrap();
        let error = Ledger::open(&path).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("version 2"), "{source}");
        std::fs::write(&path, "{\"lab-ledger\":1}\n").unwrap();
        let ledger = Ledger::open(&path).unwrap();
        let id = ledger.intend("r", Thing::Dir, "/d").unwrap();
        ledger.removed(id);
        drop(Ledger::open(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"lab-ledger\":1}\n");
    }
}
