//! What the environment `docker` needs of the machine and of its Docker, and in how far it is what it stands for.

use std::path::Path;

use bollard::Docker;
use bollard::models::SystemInfo;
use lab_core::event::{Grade, Kind};
use lab_core::spec::Spec;

use super::call::{Asked as _, QUICK, ask};
use super::engine::{HOST_VARIABLE, connect_to};
use crate::check::{self, fatal};
use crate::{EnvError, Finding};

/// Space for containers, their output and what servers store.
const DISK: u64 = 1 << 30;
/// How far below the whole memory limits may add up.
const SPARE_MEMORY: u64 = 512 << 20;

/// Every missing thing of Docker at `host`.
pub(super) async fn check(host: &str, spec: &Spec) -> Vec<Finding> {
    if let Some(finding) = elsewhere(host) {
        return vec![finding];
    }
    match look(host).await {
        Ok(info) => findings(&info, spec),
        Err(EnvError::NoDocker { problem, remedy }) => fatal(problem, &remedy).into_iter().collect(),
        Err(error) => vec![Finding::of(&error)],
    }
}

async fn look(host: &str) -> Result<SystemInfo, EnvError> {
    let docker: Docker = connect_to(host).await?;
    ask(QUICK, docker.info()).await.asked(|| "say what machine it runs on".to_owned())
}

/// Replicas are reached by their containers' addresses, and read files of this machine: both need a Docker of this machine.
fn elsewhere(host: &str) -> Option<Finding> {
    let at_home = host.starts_with("unix://");
    let problem = format!("the Docker at {host} is not this machine's: its containers cannot be reached by address");
    let remedy = format!("unset {HOST_VARIABLE}, or run lab where Docker runs");
    if !at_home {
        return fatal(problem, &remedy);
    }
    let here = cfg!(target_os = "linux");
    (!here).then(|| behind("Docker runs in a virtual machine here")).flatten()
}

fn behind(why: &str) -> Option<Finding> {
    fatal(
        format!("{why}: this machine cannot reach containers by address"),
        "run lab on Linux with Docker Engine, or use `--env local`",
    )
}

fn findings(info: &SystemInfo, spec: &Spec) -> Vec<Finding> {
    let options = info.security_options.clone().unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option.contains(name));
    let system = info.operating_system.as_deref().unwrap_or_default();
    let cores = info.ncpu.and_then(|cores| u32::try_from(cores).ok()).unwrap_or(1);
    let findings = [
        system.contains("Docker Desktop").then(|| behind("Docker Desktop runs in a virtual machine")).flatten(),
        has("rootless").then(|| behind("Docker runs rootless, on a network of its own")).flatten(),
        has("userns").then(other_users).flatten(),
        no_limits(info, spec),
        info.docker_root_dir.as_deref().and_then(|root| space(Path::new(root))),
        check::enough_cores(spec, cores),
        enough_memory(spec, info.mem_total.and_then(|total| u64::try_from(total).ok()).unwrap_or(u64::MAX)),
    ];
    findings.into_iter().flatten().collect()
}

fn other_users() -> Option<Finding> {
    fatal(
        "Docker maps users of containers to others (userns-remap), so that services cannot read the lab's files"
            .to_owned(),
        "run the daemon without userns-remap, or use `--env local`",
    )
}

fn no_limits(info: &SystemInfo, spec: &Spec) -> Option<Finding> {
    let limited =
        |of: fn(&lab_core::spec::Resources) -> bool| check::workloads(spec).any(|common| of(&common.resources));
    let mut missing = Vec::new();
    if info.cpu_cfs_quota == Some(false) && limited(|resources| resources.cpu.is_some()) {
        missing.push("CPU");
    }
    if info.memory_limit == Some(false) && limited(|resources| resources.memory.is_some()) {
        missing.push("memory");
    }
    (!missing.is_empty()).then(|| Finding {
        problem: format!("this kernel does not let Docker limit {}", missing.join(" and ")),
        remedy: "boot a kernel with these controllers (`docker info` shows what is missing)".to_owned(),
        fatal: false,
    })
}

fn space(root: &Path) -> Option<Finding> {
    let stat = rustix::fs::statvfs(root).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let problem =
        format!("{} MiB are free where Docker stores ({}), {} are needed", free >> 20, root.display(), DISK >> 20);
    (free < DISK).then(|| fatal(problem, "free some space: `docker system df` says where it went")).flatten()
}

fn enough_memory(spec: &Spec, total: u64) -> Option<Finding> {
    let wanted: u64 =
        check::workloads(spec).filter_map(|common| Some(common.resources.memory?.0 * check::most(common))).sum();
    (wanted.saturating_add(SPARE_MEMORY) > total).then(|| Finding {
        problem: format!("replicas may use up to {} MiB together and this machine has {}", wanted >> 20, total >> 20),
        remedy: "lower `resources.memory` or `autoscale.max`, or run on a larger machine".to_owned(),
        fatal: false,
    })
}

/// How far everything that a spec asks for is the thing itself.
pub(super) fn fidelity(spec: &Spec) -> Vec<Kind> {
    let mut all = Vec::new();
    if check::workloads(spec).any(|common| common.resources.cpu.is_some()) {
        let note = "Docker's quota over 100 ms, as Kubernetes sets it";
        all.push(("cpu-limit".to_owned(), Grade::Real, note.to_owned()));
    }
    if check::workloads(spec).any(|common| common.resources.memory.is_some()) {
        let note = "enforced by the kernel, without swap, as Kubernetes does";
        all.push(("memory-limit".to_owned(), Grade::Real, note.to_owned()));
    }
    check::fidelity(all, spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "question: Is it enough?\nenvironment: docker\nservices:\n  \
        user-service: { store: sqlite, replicas: 3, resources: { cpu: 1, memory: 1Gi } }\n";

    #[tokio::test]
    async fn what_docker_lacks_is_found_with_its_remedy() {
        let spec = lab_core::spec::parse("x.yaml", SPEC, &[], &|_| Err(String::new())).unwrap().spec;
        for (host, words) in
            [("tcp://elsewhere:2375", "is not this machine's"), ("unix:///nowhere/docker.sock", "there is no")]
        {
            let found = check(host, &spec).await;
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].fatal && found[0].problem.contains(words) && !found[0].remedy.is_empty(), "{found:?}");
        }
        let info = SystemInfo {
            operating_system: Some("Docker Desktop".to_owned()),
            security_options: Some(vec!["name=seccomp,profile=default".to_owned(), "name=rootless".to_owned()]),
            cpu_cfs_quota: Some(false),
            memory_limit: Some(true),
            ncpu: Some(2),
            mem_total: Some(2 << 30),
            ..SystemInfo::default()
        };
        let found = findings(&info, &spec);
        let fatal: Vec<&str> = found.iter().filter(|f| f.fatal).map(|f| f.problem.as_str()).collect();
        assert_eq!(fatal.len(), 2, "{found:?}");
        let mild: Vec<&str> = found.iter().filter(|f| !f.fatal).map(|f| f.problem.as_str()).collect();
        assert!(mild.len() == 3 && mild[0].contains("limit CPU") && mild[1].contains("3 cores"), "{mild:?}");
        assert!(mild[2].contains("3072 MiB"), "{mild:?}");
    }
}
