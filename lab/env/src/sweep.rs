//! Removal of what a lab made: processes by ledger, marks and control group, then what is in Docker and in clusters, then groups, files and
//! directories. Only ours, newest first, as often as wanted. The caller holds the lab's lock.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::Removal;
use crate::backing::disown_blocking;
use crate::docker::sweep as docker;
use crate::home::LabDir;
use crate::kubernetes::sweep as kubernetes;
use crate::ledger::{Ledger, Owned, Thing};
use crate::proc::{self, Marks, ProcessRef};
use crate::wait::wait_until;

const STEP: Duration = Duration::from_millis(20);
/// How long a control group may stay busy after its last process ended.
const GROUP_BUSY: Duration = Duration::from_secs(2);

/// How long processes are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After SIGTERM.
    pub term: Duration,
    /// After SIGKILL.
    pub kill: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { term: Duration::from_secs(5), kill: Duration::from_secs(5) }
    }
}

/// Start of the names of all control groups that this installation makes.
pub(crate) fn group_prefix(owner: &str) -> String {
    format!("lab-{}-", owner.get(..8).unwrap_or(owner))
}

/// Removes everything that the ledger names or that carries the lab's marks. Nothing to remove is success.
pub fn sweep(lab: &LabDir, owner: &str, ledger: &Ledger, patience: Patience) -> Removal {
    let mut left = end_processes(&|| find(lab, owner, ledger), patience);
    let in_docker: Vec<Owned> = ledger.owned().into_iter().filter(docker::is_ours).collect();
    let mut left_in_docker = Vec::new();
    if !in_docker.is_empty() {
        left_in_docker = docker::sweep(owner, lab.name(), &in_docker);
    }
    let out_of_docker = left_in_docker.is_empty();
    left.append(&mut left_in_docker);
    let in_clusters: Vec<Owned> = ledger.owned().into_iter().filter(kubernetes::is_ours).collect();
    let left_in_clusters = kubernetes::sweep(owner, lab.name(), &in_clusters);
    // Of what could not be removed at a server: the file that says where.
    let mut kept: Vec<String> = Vec::new();
    for thing in ledger.owned() {
        let gone = match thing.kind {
            Thing::Dir if kept.iter().any(|file| Path::new(file).starts_with(&thing.name)) => false,
            Thing::Process => thing.process.is_none_or(|process| !process.is_alive()),
            Thing::Cgroup => remove_group(owner, Path::new(&thing.name)),
            Thing::Dir => remove_inside(lab, &thing, |path| fs::remove_dir_all(path)),
            Thing::File => remove_inside(lab, &thing, |path| fs::remove_file(path)),
            Thing::Container | Thing::Volume | Thing::Network => out_of_docker,
            Thing::Namespace => !left_in_clusters.iter().any(|(id, _)| *id == thing.id),
            Thing::Place => leave(&thing, &mut kept),
        };
        if gone {
            ledger.removed(thing.id);
        } else if thing.kind != Thing::Process && !docker::is_ours(&thing) && !kubernetes::is_ours(&thing) {
            left.push(thing.name);
        }
    }
    left.extend(left_in_clusters.into_iter().map(|(_, named)| named));
    Removal { left }
}

/// Removes this run's place at a server that stays.
fn leave(thing: &Owned, kept: &mut Vec<String>) -> bool {
    let left = disown_blocking(Path::new(&thing.name));
    if let Err(error) = &left {
        tracing::warn!(%error, %thing, "what this run made at a server stays there");
        kept.push(thing.name.clone());
    }
    left.is_ok()
}

/// SIGTERM and SIGCONT, so that a stopped one hears it; later SIGKILL, again and again, as a dying one may have forked. Names who is left.
pub(crate) fn end_processes(find: &dyn Fn() -> BTreeSet<ProcessRef>, patience: Patience) -> Vec<String> {
    let told = find();
    for process in &told {
        send(*process, Signal::TERM);
        send(*process, Signal::CONT);
    }
    wait_until(patience.term, STEP, || told.iter().all(|process| !process.is_alive()));
    let mut left = BTreeSet::new();
    wait_until(patience.kill, STEP, || {
        left = find();
        for process in &left {
            send(*process, Signal::KILL);
        }
        left.is_empty()
    });
    left.iter().map(ToString::to_string).collect()
}

/// To the group if it leads one, so that what it started goes along.
fn send(process: ProcessRef, signal: Signal) {
    let sent = process.signal_group(signal).and_then(|done| if done { Ok(true) } else { process.signal(signal) });
    if let Err(error) = sent {
        tracing::warn!(%error, pid = process.pid, ?signal, "cannot signal an owned process");
    }
}

fn find(lab: &LabDir, owner: &str, ledger: &Ledger) -> BTreeSet<ProcessRef> {
    let ours = |marks: &Marks| marks.owner.as_deref() == Some(owner) && marks.lab.as_deref() == Some(lab.name());
    let mut found: BTreeSet<ProcessRef> = match proc::marked(ours) {
        Ok(marked) => marked.into_iter().map(|(process, _)| process).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot look for marked processes; only those of the ledger are removed");
            BTreeSet::new()
        }
    };
    for thing in ledger.owned() {
        match thing.kind {
            Thing::Process => found.extend(thing.process.filter(|process| process.is_alive())),
            Thing::Cgroup if is_our_group(owner, Path::new(&thing.name)) => {
                found.extend(members(Path::new(&thing.name)))
            }
            _ => {}
        }
    }
    found
}

/// Processes in a control group that only we fill.
fn members(group: &Path) -> Vec<ProcessRef> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|line| line.parse().ok());
    pids.filter_map(|pid| ProcessRef::of(pid).ok()).filter(|process| process.is_alive()).collect()
}

fn is_our_group(owner: &str, path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&group_prefix(owner)))
}

/// A group stays busy for a moment after its last process ended.
pub(crate) fn remove_group(owner: &str, path: &Path) -> bool {
    is_our_group(owner, path) && wait_until(GROUP_BUSY, STEP, || gone(fs::remove_dir(path)))
}

/// A path outside the lab's own directory is never removed, whatever a ledger says.
fn remove_inside(lab: &LabDir, thing: &Owned, remove: impl Fn(&Path) -> io::Result<()>) -> bool {
    let path = Path::new(&thing.name);
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.starts_with(lab.path()) || path == lab.path() || climbs {
        tracing::warn!(path = %path.display(), lab = lab.name(), "the ledger names a path outside the lab; it is left alone");
        return false;
    }
    gone(remove(path))
}

fn gone(result: io::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn files_go_and_what_is_outside_stays() {
        let folder = tempfile::tempdir().unwrap();
        let lab = Home::new(folder.path()).lab("one").unwrap();
        let ledger = Ledger::open(&lab.ledger()).unwrap();
        fs::create_dir_all(lab.data().join("deep")).unwrap();
        fs::write(lab.data().join("deep/file"), "x").unwrap();
        let outside = folder.path().join("precious");
        fs::create_dir(&outside).unwrap();
        let climbing = lab.path().join("../../precious");
        ledger.intend("r", Thing::Dir, &lab.data().display().to_string()).unwrap();
        ledger.intend("r", Thing::File, &lab.path().join("never-made").display().to_string()).unwrap();
        for bad in [&outside, &climbing, &lab.path().to_owned()] {
            ledger.intend("r", Thing::Dir, &bad.display().to_string()).unwrap();
        }
        ledger.intend("r", Thing::Cgroup, &outside.display().to_string()).unwrap();
        let removal = sweep(&lab, "0123456789abcdef", &ledger, Patience::default());
        assert!(!lab.data().exists() && outside.exists() && lab.path().exists());
        assert_eq!(removal.left.len(), 4, "{removal:?}");
        assert_eq!(sweep(&lab, "0123456789abcdef", &ledger, Patience::default()), removal, "again: the same");
    }
}
