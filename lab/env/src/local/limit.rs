//! The CPU limit of one replica: a control group where one can be made, else the stop/continue limiter. Memory is only observed.

mod cgroup;

use std::io;
use std::path::{Path, PathBuf};

use lab_core::event::Grade;
use lab_core::unit::Millicores;

use self::cgroup::{Cgroups, Group};
use super::stop_continue::{Held, StopContinue};
use crate::proc::ProcessRef;

/// Length of a period, as Kubernetes sets it: a replica that used up its share waits for the next.
pub(super) const PERIOD: std::time::Duration = std::time::Duration::from_millis(100);

/// How this machine limits CPU.
#[derive(Debug)]
pub(super) enum Limiter {
    /// The kernel's CFS quota.
    Cgroup(Cgroups),
    /// Our own.
    StopContinue(StopContinue),
}

/// The limit of one replica.
#[derive(Debug)]
pub(super) enum Limit {
    /// None.
    Unlimited,
    /// By a group of its own.
    Cgroup(Group),
    /// By being stopped.
    StopContinue(Held),
}

impl Limiter {
    /// The best that can be had here. Blocks; makes and removes a group to try.
    pub(super) fn detect(owner: &str) -> Self {
        Cgroups::find(owner).map_or_else(|_| Self::StopContinue(StopContinue::start()), Self::Cgroup)
    }

    /// What it is, in how far it is what Kubernetes does.
    pub(super) fn fidelity(&self) -> (Grade, String) {
        match self {
            Self::Cgroup(groups) => {
                let note = format!("{} quota over 100 ms, as Kubernetes sets it", groups.version());
                (Grade::Real, note)
            }
            Self::StopContinue(_) => {
                let note = "no control group can be made here: the whole process is stopped when it has used its share of 100 ms; \
                            it overshoots by up to a few ms, pays that back in the next period, and cannot answer while stopped";
                (Grade::Compatible, note.to_owned())
            }
        }
    }

    /// The group that a replica will get, for the ledger.
    pub(super) fn group(&self, lab: &str, replica: &str) -> Option<PathBuf> {
        match self {
            Self::Cgroup(groups) => Some(groups.path(lab, replica)),
            Self::StopContinue(_) => None,
        }
    }

    /// Limits a process. Blocks. `group` is what [`Limiter::group`] gave.
    pub(super) fn limit(&self, group: Option<&Path>, process: ProcessRef, limit: Millicores) -> io::Result<Limit> {
        match self {
            Self::Cgroup(groups) => {
                let path = group.ok_or_else(|| io::Error::other("no group was named"))?;
                Ok(Limit::Cgroup(groups.put(path, process, limit)?))
            }
            Self::StopContinue(limiter) => Ok(Limit::StopContinue(limiter.hold(process, limit)?)),
        }
    }
}

impl Limit {
    /// Time it was kept from running, nanoseconds, summed over the cores it was kept from; None where it has no limit.
    pub(super) fn throttled_ns(&self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Cgroup(group) => group.throttled_ns(),
            Self::StopContinue(held) => Some(held.stopped_ns()),
        }
    }
}

impl Limit {
    /// Says that its process is about to be stopped for another reason, or continued.
    pub(super) fn freeze(&self, frozen: bool) {
        if let Self::StopContinue(held) = self {
            held.freeze(frozen);
        }
    }
}

/// Whether a control group can be made here, and why not.
pub(super) fn why_no_group(owner: &str) -> Option<io::Error> {
    Cgroups::find(owner).err()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::wait::pause;

    const OWNER: &str = "0123456789abcdef";

    struct Busy(Child);

    impl Busy {
        fn start() -> (Self, ProcessRef) {
            let child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
            let process = ProcessRef::of(child.id()).unwrap();
            (Self(child), process)
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.kill().and_then(|()| self.0.wait()).unwrap();
        }
    }

    /// Shares of a core over two seconds; the measurement is time itself, so it sleeps.
    fn shares(of: [ProcessRef; 2]) -> [f64; 2] {
        let used = || of.map(|process| process.cpu_ns().unwrap());
        let (begun, before) = (Instant::now(), used());
        pause(Duration::from_secs(2));
        let (after, over) = (used(), begun.elapsed().as_nanos() as f64);
        [0, 1].map(|n| (after[n] - before[n]) as f64 / over)
    }

    /// A limit is never passed. That it is reached as well can only be seen while nobody else fills the cores, which a twin without
    /// a limit tells: what it does not get, the limited one cannot get either.
    fn check(limiter: &Limiter) {
        let ((busy, process), (_free, twin)) = (Busy::start(), Busy::start());
        let group = limiter.group("test", &format!("busy-{}", process.pid));
        let limit = limiter.limit(group.as_deref(), process, Millicores(250)).unwrap();
        for _ in 0..4 {
            let [limited, free] = shares([process, twin]);
            assert!(limited <= 0.3, "{limited} beside {free}");
            assert!(limited >= 0.3 * free.min(0.6), "{limited} beside {free}");
            if free > 0.6 {
                assert!(limited >= 0.2, "{limited} beside {free}");
                assert!(limit.throttled_ns().unwrap() > 500_000_000);
                break;
            }
        }
        drop(busy);
        drop(limit);
        if let Some(group) = group {
            assert!(crate::sweep::remove_group(OWNER, &group));
            assert!(!group.exists());
        }
    }

    #[test]
    fn a_busy_child_gets_its_quarter_by_control_group() {
        match Cgroups::find(OWNER) {
            Ok(groups) => check(&Limiter::Cgroup(groups)),
            Err(error) => eprintln!("SKIPPED: no control group can be made here: {error}"),
        }
    }

    #[test]
    fn a_busy_child_gets_its_quarter_by_stop_and_continue() {
        check(&Limiter::StopContinue(StopContinue::start()));
    }

    #[test]
    fn letting_go_continues_what_was_stopped() {
        let limiter = StopContinue::start();
        let (_busy, process) = Busy::start();
        let held = limiter.hold(process, Millicores(10)).unwrap();
        assert!(crate::wait::wait_until(Duration::from_secs(5), Duration::from_millis(5), || held.stopped_ns() > 0));
        drop(held);
        let before = process.cpu_ns().unwrap();
        let running = || process.cpu_ns().unwrap() > before + 200_000_000;
        assert!(crate::wait::wait_until(Duration::from_secs(10), Duration::from_millis(10), running));
    }
}
