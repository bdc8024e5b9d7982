//! What the local environment needs of the machine, and in how far it is what it stands for.

use std::io;

use lab_core::event::{Grade, Kind};
use lab_core::spec::Spec;

use super::LocalConfig;
use super::limit::{Limiter, why_no_group};
use crate::Finding;
use crate::check::{self, fatal};
use crate::home::Home;
use crate::proc::ProcessRef;

/// Every missing thing. Blocks.
pub(super) fn check(config: &LocalConfig, home: &Home, spec: &Spec) -> Vec<Finding> {
    let findings = [
        check::executable(&config.exe),
        process_table(),
        check::writable(home),
        check::space(home),
        groups(home, spec),
        check::enough_cores(spec, crate::host::cores()),
    ];
    findings.into_iter().flatten().collect()
}

fn process_table() -> Option<Finding> {
    let error = ProcessRef::current().err()?;
    fatal(format!("/proc cannot be read: {error}"), "run on Linux with /proc mounted; CPU and memory are read there")
}

fn groups(home: &Home, spec: &Spec) -> Option<Finding> {
    let limited = check::workloads(spec).any(|common| common.resources.cpu.is_some());
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

/// How far everything that a spec asks for is the thing itself.
pub(super) fn fidelity(limiter: &Limiter, spec: &Spec) -> Vec<Kind> {
    let mut all = Vec::new();
    if check::workloads(spec).any(|common| common.resources.cpu.is_some()) {
        let (grade, note) = limiter.fidelity();
        all.push(("cpu-limit".to_owned(), grade, note));
    }
    if check::workloads(spec).any(|common| common.resources.memory.is_some()) {
        let note = "resident memory is observed and reported against the limit, not enforced";
        all.push(("memory-limit".to_owned(), Grade::Embedded, note.to_owned()));
    }
    check::fidelity(all, spec)
}
