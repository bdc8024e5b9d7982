//! What environments need of the machine alike, and in how far what is inside the services is what it stands for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lab_core::event::{Grade, Kind};
use lab_core::spec::{CacheEngine, CreateMode, Server, Spec, Workload};

use crate::Finding;
use crate::home::{Home, make_private};
use crate::system::Doing as _;

/// Space for SQLite files and logs.
const DISK: u64 = 200 << 20;

/// All workloads of a spec.
pub(crate) fn workloads(spec: &Spec) -> impl Iterator<Item = &Workload> {
    spec.services.names().filter_map(|name| spec.services.workload(name))
}

/// The most replicas that a workload may come to.
pub(crate) fn most(common: &Workload) -> u64 {
    u64::from(common.autoscale.as_ref().map_or(common.replicas, |autoscale| autoscale.max.max(common.replicas)))
}

/// A finding that keeps an environment from working.
pub(crate) fn fatal(problem: String, remedy: &str) -> Option<Finding> {
    Some(Finding { problem, remedy: remedy.to_owned(), fatal: true })
}

/// Whether what replicas and the reaper are can be run.
pub(crate) fn executable(exe: &Path) -> Option<Finding> {
    let remedy = "build it, or name the right one";
    match fs::metadata(exe) {
        Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => None,
        Ok(_) => fatal(format!("{} is not an executable file", exe.display()), remedy),
        Err(error) => fatal(format!("{} cannot be found: {error}", exe.display()), remedy),
    }
}

/// Whether the home can be written.
pub(crate) fn writable(home: &Home) -> Option<Finding> {
    let probe = home.root().join(format!("probe-{}", std::process::id()));
    let tried = make_private(home.root()).and_then(|()| {
        let written = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
        written.doing(|| format!("write in {}", home.root().display()))
    });
    let error = tried.err()?;
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    fatal(format!("{error}: {cause}"), "set LAB_HOME to a directory that you may write")
}

/// Whether the home's disk has room.
pub(crate) fn space(home: &Home) -> Option<Finding> {
    let stat = rustix::fs::statvfs(home.root()).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let problem = format!("{} MiB are free in {}, {} are needed", free >> 20, home.root().display(), DISK >> 20);
    (free < DISK).then(|| fatal(problem, "free some space, or set LAB_HOME to another disk")).flatten()
}

/// What every environment needs of this machine.
pub(crate) fn of_the_machine(exe: &Path, home: &Home) -> Vec<Finding> {
    [executable(exe), writable(home), space(home)].into_iter().flatten().collect()
}

/// Whether all CPU limits together fit the machine.
pub(crate) fn enough_cores(spec: &Spec, cores: u32) -> Option<Finding> {
    let wanted: u64 = workloads(spec).filter_map(|common| Some(common.resources.cpu?.0 * most(common))).sum();
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

/// How far everything that a spec asks for is the thing itself: what the environment says of its own, and the engines that are part of
/// the services. Servers say themselves what they are.
pub(crate) fn fidelity(mut all: Vec<(String, Grade, String)>, spec: &Spec) -> Vec<Kind> {
    let users = spec.services.user_service.as_ref();
    let messages = spec.services.message_service.as_ref();
    let stores = users.map(|s| s.store).into_iter().chain(messages.map(|s| s.store));
    for store in stores.filter(|store| Server::of_store(*store).is_none()) {
        all.push((format!("store {store}"), store.grade(), note(store.about())));
    }
    let caches = users.map(|s| s.cache).into_iter().chain(messages.map(|s| s.cache));
    for cache in caches.filter(|cache| *cache != CacheEngine::None && Server::of_cache(*cache).is_none()) {
        all.push((format!("cache {cache}"), cache.grade(), note(cache.about())));
    }
    let queued = users.filter(|users| users.create == CreateMode::Queued).map(|users| users.queue);
    let queues = queued.into_iter().chain(messages.map(|s| s.queue));
    for queue in queues.filter(|queue| Server::of_queue(*queue).is_none()) {
        all.push((format!("queue {queue}"), queue.grade(), note(queue.about())));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup();
    all.into_iter().map(|(subject, grade, note)| Kind::Fidelity { subject, grade, note }).collect()
}
