//! A place of its own for tests of the environment `local`: home, runs, and an executable that can be told to misbehave.

use std::path::PathBuf;
use std::sync::Arc;

use lab_env::home::Home;
use lab_env::{LocalConfig, LocalEnvironment, proc};

use crate::bench::{Bench, Events, assert_nothing_left, lab};

/// Gone when dropped.
pub struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lab-env-fake"), folder.path().join("lab")).unwrap();
        Self { folder }
    }

    /// As [`Ground::new`]: child processes can be had everywhere.
    #[allow(dead_code, reason = "not every test binary that has this file needs it")]
    pub async fn here() -> Option<Self> {
        Some(Self::new())
    }

    /// The executable; replicas of SERVICE do wrong what stands in `<exe>.SERVICE`.
    pub fn exe(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    pub fn home(&self) -> Home {
        Home::new(self.folder.path().join("home"))
    }

    pub fn runs(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Makes replicas of a service misbehave from their next start on.
    #[allow(dead_code, reason = "not every test binary that has this file needs it")]
    pub fn misbehave(&self, service: &str, how: &str) {
        std::fs::write(format!("{}.{service}", self.exe().display()), how).unwrap();
    }

    pub fn config(&self, name: &str) -> (LocalConfig, Events) {
        lab(name, self.exe(), self.home().root(), self.runs())
    }

    pub fn bench(&self, name: &str) -> Bench {
        let (config, events) = self.config(name);
        Bench { environment: Arc::new(LocalEnvironment::new(config).unwrap()), events }
    }

    /// Processes that carry this home's mark, found without asking `lab`'s own records.
    pub fn survivors(&self) -> Vec<u32> {
        let owner = self.home().owner().unwrap();
        let marked = proc::marked(|marks| marks.owner.as_deref() == Some(&owner)).unwrap();
        marked.into_iter().map(|(process, _)| process.pid).collect()
    }

    /// Nothing runs, no data, no token, no control group is left.
    pub fn assert_clean(&self) {
        assert_eq!(self.survivors(), [0; 0]);
        assert_nothing_left(&self.home(), &[]);
        let prefix = format!("lab-{}-", &self.home().owner().unwrap()[..8]);
        let groups = std::fs::read_dir("/sys/fs/cgroup/cpu").into_iter().flatten();
        let ours = groups.filter_map(Result::ok).filter(|e| e.file_name().to_string_lossy().starts_with(&prefix));
        assert_eq!(ours.count(), 0);
    }
}
