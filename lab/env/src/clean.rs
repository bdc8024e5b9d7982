//! The third net, `lab clean`: every lab that nobody holds and that left something, and every marked process and every labelled thing
//! in Docker whose lab is not up.

use std::collections::{BTreeMap, BTreeSet};

use crate::docker::sweep as docker;
use crate::home::{Home, LabDir};
use crate::lease::{self, Holder, Lease, Role};
use crate::ledger::Ledger;
use crate::proc::{self, ProcessRef};
use crate::sweep::{Patience, end_processes, sweep};
use crate::system::Doing as _;
use crate::{EnvError, Removal};

/// What was done for one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The lab.
    pub lab: String,
    /// How many things were removed.
    pub removed: usize,
    /// What could not be.
    pub removal: Removal,
}

/// What [`clean`] would remove, by lab: each thing by its name. Changes nothing.
///
/// # Errors
/// The home, a ledger or `/proc` cannot be read.
pub fn leftovers(home: &Home) -> Result<Vec<(String, Vec<String>)>, EnvError> {
    let owner = home.owner()?;
    let mut found = Vec::new();
    for lab in home.labs()? {
        if lease::holder(&lab).is_some() {
            continue;
        }
        let owned = Ledger::peek(&lab.ledger())?;
        let known: BTreeSet<ProcessRef> = owned.iter().filter_map(|thing| thing.process).collect();
        let unknown = marked_of(&owner, lab.name())?.into_iter().filter(|process| !known.contains(process));
        let things = owned.iter().map(ToString::to_string).chain(unknown.map(|process| process.to_string()));
        found.push((lab.name().to_owned(), things.collect()));
    }
    for (process, lab) in orphans(home, &owner)? {
        if !found.iter().any(|(name, _)| *name == lab) {
            found.push((lab, vec![process.to_string()]));
        }
    }
    for thing in orphans_in_docker(home, &owner)? {
        let name = thing.to_string();
        match found.iter_mut().find(|(lab, _)| *lab == thing.lab) {
            Some((_, things)) if things.contains(&name) => {}
            Some((_, things)) => things.push(name),
            None => found.push((thing.lab, vec![name])),
        }
    }
    found.retain(|(_, things)| !things.is_empty());
    Ok(found)
}

/// Removes all that no living holder answers for. Blocks. Labs without leftovers are not named.
///
/// # Errors
/// The home or `/proc` cannot be read; a lab that cannot be swept is among the results with what is left.
pub fn clean(home: &Home) -> Result<Vec<Cleaned>, EnvError> {
    let owner = home.owner()?;
    let mut results = Vec::new();
    for lab in home.labs()? {
        results.extend(clean_lab(&lab, &owner)?);
    }
    results.extend(clean_orphans(home, &owner)?);
    results.extend(clean_docker(home, &owner)?);
    Ok(results)
}

/// As [`clean`] for one lab; None when nothing was left of it, or somebody holds it.
///
/// # Errors
/// As [`clean`].
pub fn clean_one(home: &Home, lab: &LabDir) -> Result<Option<Cleaned>, EnvError> {
    clean_lab(lab, &home.owner()?)
}

fn clean_lab(lab: &LabDir, owner: &str) -> Result<Option<Cleaned>, EnvError> {
    let marked = marked_of(owner, lab.name())?;
    if marked.is_empty() && Ledger::peek(&lab.ledger())?.is_empty() {
        return Ok(None);
    }
    let Some(lease) = Lease::try_take(lab, "", Role::Clean)? else { return Ok(None) };
    let ledger = Ledger::open(&lab.ledger())?;
    // A process is in the ledger and marked; it counts once.
    let known: BTreeSet<ProcessRef> = ledger.owned().iter().filter_map(|owned| owned.process).collect();
    let things = ledger.owned().len() + marked.difference(&known).count();
    let removal = sweep(lab, owner, &ledger, Patience::default());
    drop(lease);
    Ok(Some(Cleaned { lab: lab.name().to_owned(), removed: things.saturating_sub(removal.left.len()), removal }))
}

fn clean_orphans(home: &Home, owner: &str) -> Result<Vec<Cleaned>, EnvError> {
    let results = orphans(home, owner)?.into_iter().map(|(process, lab)| {
        let alive = || Some(process).filter(|process| process.is_alive()).into_iter().collect();
        let left = end_processes(&alive, Patience::default());
        Cleaned { lab, removed: usize::from(left.is_empty()), removal: Removal { left } }
    });
    Ok(results.collect())
}

/// Marked processes of a lab whose directory is gone, or of an earlier run of a lab that is up, with the lab's name.
fn orphans(home: &Home, owner: &str) -> Result<Vec<(ProcessRef, String)>, EnvError> {
    let marked =
        proc::marked(|marks| marks.owner.as_deref() == Some(owner)).doing(|| "look for processes".to_owned())?;
    let labs = home.labs()?;
    let mut found = Vec::new();
    for (process, marks) in marked {
        let name = marks.lab.unwrap_or_default();
        // Read after the process was seen: what a living holder starts carries its run.
        let holder = labs.iter().find(|lab| lab.name() == name).and_then(lease::holder);
        if holder.is_some_and(|holder| holder.role != Role::Lab || marks.run.as_deref() == Some(&holder.run)) {
            continue;
        }
        found.push((process, name));
    }
    Ok(found)
}

/// A result for each lab that left something in Docker.
fn clean_docker(home: &Home, owner: &str) -> Result<Vec<Cleaned>, EnvError> {
    let mut of_labs: BTreeMap<String, Vec<docker::Found>> = BTreeMap::new();
    for thing in orphans_in_docker(home, owner)? {
        of_labs.entry(thing.lab.clone()).or_default().push(thing);
    }
    let results = of_labs.into_iter().map(|(lab, things)| {
        let left = docker::remove_these(owner, &things);
        Cleaned { lab, removed: things.len().saturating_sub(left.len()), removal: Removal { left } }
    });
    Ok(results.collect())
}

/// What is in Docker of a lab that nobody has up, or of an earlier run of one that is.
fn orphans_in_docker(home: &Home, owner: &str) -> Result<Vec<docker::Found>, EnvError> {
    let mut found = docker::all(owner);
    if found.is_empty() {
        return Ok(found);
    }
    // Read after the things were seen: what a living holder makes carries its run.
    let holders: BTreeMap<String, Holder> =
        home.labs()?.iter().filter_map(|lab| Some((lab.name().to_owned(), lease::holder(lab)?))).collect();
    found.retain(|thing| {
        let holder = holders.get(&thing.lab);
        holder.is_none_or(|holder| holder.role == Role::Lab && holder.run != thing.run)
    });
    Ok(found)
}

fn marked_of(owner: &str, lab: &str) -> Result<BTreeSet<ProcessRef>, EnvError> {
    let marked = proc::marked(|marks| marks.owner.as_deref() == Some(owner) && marks.lab.as_deref() == Some(lab));
    Ok(marked.doing(|| "look for processes".to_owned())?.into_iter().map(|(process, _)| process).collect())
}
