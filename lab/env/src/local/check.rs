//! What the local environment needs of the machine, and in how far it is what it stands for.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lab_core::event::{Grade, Kind};
use lab_core::spec::{CacheEngine, CreateMode, Spec, Workload};

use super::LocalConfig;
use super::limit::{Limiter, why_no_group};
use crate::Finding;
use crate::home::{Home, make_private};
use crate::proc::ProcessRef;
use crate::system::Doing as _;

/// Space for SQLite files and logs.
const DISK: u64 = 200 << 20;

/// Every missing thing. Blocks.
pub(super) fn check(config: &LocalConfig, home: &Home, spec: &Spec) -> Vec<Finding> {
    let findings = [
        executable(&config.exe),
        process_table(),
        writable(home),
        space(home),
        groups(home, spec),
        enough_cores(spec, crate::host::cores()),
    ];
    findings.into_iter().flatten().collect()
}

fn workloads(spec: &Spec) -> impl Iterator<Item = &Workload> {
    spec.services.names().filter_map(|name| spec.services.workload(name))
}

fn fatal(problem: String, remedy: &str) -> Option<Finding> {
    Some(Finding { problem, remedy: remedy.to_owned(), fatal: true })
}

fn executable(exe: &Path) -> Option<Finding> {
    let remedy = "build it, or name the right one";
    match fs::metadata(exe) {
        Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => None,
        Ok(_) => fatal(format!("{} is not an executable file", exe.display()), remedy),
        Err(error) => fatal(format!("{} cannot be found: {error}", exe.display()), remedy),
    }
}

fn process_table() -> Option<Finding> {
    let error = ProcessRef::current().err()?;
    fatal(format!("/proc cannot be read: {error}"), "run on Linux with /proc mounted; CPU and memory are read there")
}

fn writable(home: &Home) -> Option<Finding> {
    let probe = home.root().join(format!("probe-{}", std::process::id()));
    let tried = make_private(home.root()).and_then(|()| {
        let written = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
        written.doing(|| format!("write in {}", home.root().display()))
    });
    let error = tried.err()?;
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    fatal(format!("{error}: {cause}"), "set LAB_HOME to a directory that you may write")
}

fn space(home: &Home) -> Option<Finding> {
    let stat = rustix::fs::statvfs(home.root()).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let problem = format!("{} MiB are free in {}, {} are needed", free >> 20, home.root().display(), DISK >> 20);
    (free < DISK).then(|| fatal(problem, "free some space, or set LAB_HOME to another disk")).flatten()
}

fn groups(home: &Home, spec: &Spec) -> Option<Finding> {
    let limited = workloads(spec).any(|common| common.resources.cpu.is_some());
    // An owner that cannot be had is `writable`'s finding.
    let error = home.owner().ok().filter(|_| limited).and_then(|owner| why_no_group(&owner))?;
    Some(Finding {
        problem: format!("CPU limits are less exact, as no control group can be made here: {}", reason(&error)),
        remedy: "run as root, or in a session with a delegated CPU controller (`systemd-run --user --scope -p Delegate=yes`)"
            .to_owned(),
        fatal: false,
    })
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the hierarchy is mounted read-only".to_owned(),
        _ => error.to_string(),
    }
}

fn enough_cores(spec: &Spec, cores: u32) -> Option<Finding> {
    let most = |common: &Workload| {
        let replicas =
            common.autoscale.as_ref().map_or(common.replicas, |autoscale| autoscale.max.max(common.replicas));
        Some(common.resources.cpu?.0 * u64::from(replicas))
    };
    let wanted: u64 = workloads(spec).filter_map(most).sum();
    (wanted > u64::from(cores) * 1000).then(|| Finding {
        problem: format!(
            "replicas may use up to {} cores together and this machine has {cores}: at that point they slow each other down",
            wanted as f64 / 1000.0
        ),
        remedy: "lower `resources.cpu` or `autoscale.max`, or run on more cores".to_owned(),
        fatal: false,
    })
}

/// The catalogue writes sentences; a note is a phrase.
fn note(about: &str) -> String {
    about.trim_end_matches('.').to_owned()
}

/// How far everything that a spec asks for is the thing itself.
pub(super) fn fidelity(limiter: &Limiter, spec: &Spec) -> Vec<Kind> {
    let mut all: Vec<(String, Grade, String)> = Vec::new();
    if workloads(spec).any(|common| common.resources.cpu.is_some()) {
        let (grade, note) = limiter.fidelity();
        all.push(("cpu-limit".to_owned(), grade, note));
    }
    if workloads(spec).any(|common| common.resources.memory.is_some()) {
        let note = "resident memory is observed and reported against the limit, not enforced";
        all.push(("memory-limit".to_owned(), Grade::Embedded, note.to_owned()));
    }
    let users = spec.services.user_service.as_ref();
    let messages = spec.services.message_service.as_ref();
    for store in users.map(|s| s.store).into_iter().chain(messages.map(|s| s.store)) {
        all.push((format!("store {store}"), store.grade(), note(store.about())));
    }
    for cache in users.map(|s| s.cache).into_iter().chain(messages.map(|s| s.cache)).filter(|c| *c != CacheEngine::None)
    {
        all.push((format!("cache {cache}"), cache.grade(), note(cache.about())));
    }
    let queued = users.filter(|users| users.create == CreateMode::Queued).map(|users| users.queue);
    for queue in queued.into_iter().chain(messages.map(|s| s.queue)) {
        all.push((format!("queue {queue}"), queue.grade(), note(queue.about())));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup();
    all.into_iter().map(|(subject, grade, note)| Kind::Fidelity { subject, grade, note }).collect()
}
