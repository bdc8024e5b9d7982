//! The hold on a lab's name: a kernel lock on `lock`, with `holder.json` beside it that says who has it. The lock goes with its
//! process, so a dead holder never blocks; the file alone is never believed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::EnvError;
use crate::home::LabDir;
use crate::proc::ProcessRef;
use crate::system::Doing as _;
use crate::wait::{pause, wait_until};

/// How long a lock may be held by somebody who is not named, as one who looks is not.
const LOOKED_AT: Duration = Duration::from_millis(200);
/// How long a lock without a living holder's name is believed to change hands.
const CHANGING_HANDS: Duration = Duration::from_millis(700);
/// How long somebody who only removes leftovers is waited for.
const CLEANING: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

/// What a holder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Has the lab up.
    Lab,
    /// Removes what a dead holder left.
    Reaper,
    /// Removes leftovers because the user asked.
    Clean,
}

/// Who holds a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessRef,
    /// Since when, RFC 3339.
    pub since: String,
    /// The run; empty for those that only clean.
    pub run: String,
    /// What it does.
    pub role: Role,
}

/// The hold itself. Dropping it lets go.
#[derive(Debug)]
pub struct Lease {
    file: File,
    lab: LabDir,
    holder: Holder,
}

impl Lease {
    /// Takes hold of the lab. Blocks: under a second when somebody has it up, up to 20 s while leftovers are being removed.
    ///
    /// # Errors
    /// `Held` by somebody who lives, or the lock file cannot be made.
    pub fn take(lab: &LabDir, run: &str, role: Role) -> Result<Self, EnvError> {
        let begun = Instant::now();
        loop {
            if let Some(lease) = Self::try_take(lab, run, role)? {
                return Ok(lease);
            }
            let holder = read_holder(lab).filter(|holder| holder.process.is_alive());
            let patience = match &holder {
                Some(holder) if holder.role == Role::Lab => Duration::ZERO,
                Some(_) => CLEANING,
                None => CHANGING_HANDS,
            };
            if begun.elapsed() >= patience {
                return Err(held(lab, holder));
            }
            pause(STEP);
        }
    }

    /// Takes hold if nobody has it; None when somebody does.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn try_take(lab: &LabDir, run: &str, role: Role) -> Result<Option<Self>, EnvError> {
        let path = lab.lock();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.doing(|| format!("open {}", path.display()))?;
        let mut locked = file.try_lock();
        // Who only looks (see `holder`) has the lock for a moment and is not named.
        wait_until(LOOKED_AT, STEP, || {
            let taken = read_holder(lab).is_some_and(|holder| holder.process.is_alive());
            if matches!(locked, Err(TryLockError::WouldBlock)) && !taken {
                locked = file.try_lock();
            }
            taken || !matches!(locked, Err(TryLockError::WouldBlock))
        });
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).doing(|| format!("lock {}", path.display())),
        }
        let holder = Holder {
            process: ProcessRef::current().doing(|| "read this process".to_owned())?,
            since: jiff::Timestamp::now().to_string(),
            run: run.to_owned(),
            role,
        };
        let lease = Self { file, lab: lab.clone(), holder };
        lease.announce().doing(|| format!("write {}", lab.holder().display()))?;
        Ok(Some(lease))
    }

    /// Who has it: this process.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The lab.
    pub fn lab(&self) -> &LabDir {
        &self.lab
    }

    /// Written aside and renamed, so that a reader sees a whole file or the one before.
    fn announce(&self) -> io::Result<()> {
        let draft = self.lab.path().join("holder.json.new");
        fs::write(&draft, serde_json::to_vec(&self.holder)?)?;
        fs::rename(&draft, self.lab.holder())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Unlocked by name, not by closing: a child between fork and exec has the same open file. Neither failure can be mended
        // here, and a holder file without its lock is not believed.
        let removed = fs::remove_file(self.lab.holder());
        let unlocked = self.file.unlock();
        if let Err(error) = removed.and(unlocked) {
            tracing::warn!(%error, lab = self.lab.name(), "the lab's name was not let go of cleanly");
        }
    }
}

/// Who holds the lab now, whatever they do with it; None when its lock is free.
pub fn holder(lab: &LabDir) -> Option<Holder> {
    let file = File::open(lab.lock()).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_holder(lab).filter(|holder| holder.process.is_alive()),
        // Closing gives the shared lock back; a taker that met it tries again.
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn read_holder(lab: &LabDir) -> Option<Holder> {
    serde_json::from_slice(&fs::read(lab.holder()).ok()?).ok()
}

fn held(lab: &LabDir, holder: Option<Holder>) -> EnvError {
    let (pid, since) = holder.map_or((0, "an unknown time".to_owned()), |h| (h.process.pid, h.since));
    EnvError::Held { name: lab.name().to_owned(), pid, since }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    fn lab() -> (tempfile::TempDir, LabDir) {
        let folder = tempfile::tempdir().unwrap();
        let lab = Home::new(folder.path()).lab("race").unwrap();
        (folder, lab)
    }

    #[test]
    fn of_fifty_one_wins_and_the_others_are_told_who_within_a_second() {
        let (_folder, lab) = lab();
        let barrier = std::sync::Barrier::new(50);
        let results: Vec<(Duration, Result<Lease, EnvError>)> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..50)
                .map(|n| {
                    let (lab, barrier) = (&lab, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let begun = Instant::now();
                        let result = Lease::take(lab, &format!("run-{n}"), Role::Lab);
                        (begun.elapsed(), result)
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|(_, result)| result.is_ok()).count(), 1);
        for (took, result) in &results {
            assert!(*took < Duration::from_secs(1), "{took:?}");
            if let Err(error) = result {
                assert!(matches!(error, EnvError::Held { pid, .. } if *pid == std::process::id()), "{error}");
            }
        }
    }

    #[test]
    fn a_stale_holder_is_taken_over_and_a_probe_never_loses_the_race_for_anyone() {
        let (_folder, lab) = lab();
        let gone = Holder {
            process: ProcessRef { pid: std::process::id(), start_ticks: 1 },
            since: "2026-01-01T00:00:00Z".to_owned(),
            run: "old".to_owned(),
            role: Role::Lab,
        };
        fs::write(lab.holder(), serde_json::to_vec(&gone).unwrap()).unwrap();
        assert_eq!(holder(&lab), None, "the file alone is not believed");
        std::thread::scope(|scope| {
            let probing = scope.spawn(|| (0..2000).filter(|_| holder(&lab).is_some()).count());
            for n in 0..20 {
                let lease = Lease::take(&lab, &format!("run-{n}"), Role::Lab).unwrap();
                assert_eq!(holder(&lab).as_ref(), Some(lease.holder()));
            }
            probing.join().unwrap();
        });
        assert_eq!(holder(&lab), None);
        assert!(!lab.holder().exists());
    }
}
