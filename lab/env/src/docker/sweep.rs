//! Removal of what labs made in Docker: by label, and by the names of the ledger. Nothing without our owner's label is ever touched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::call::{Asked as _, QUICK, Refusal, SLOW, ask};
use super::engine::{Engine, LAB, OWNER, RUN};
use crate::EnvError;
use crate::ledger::{Owned, Thing};
use crate::system::on_a_runtime;

/// Between two looks.
const STEP: Duration = Duration::from_millis(200);
/// How long something that was intended and is not there may still be in the making.
const IN_THE_MAKING: Duration = Duration::from_secs(2);
/// After which what cannot be removed is given up.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Lists that fail in a row before that is taken for an answer: one may, while others remove what it would name.
const LISTS: u32 = 5;

/// Something in Docker that carries our owner's label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Container, volume or network, in this order of removal.
    pub(crate) kind: Thing,
    /// Docker's name.
    pub(crate) name: String,
    /// Its lab.
    pub(crate) lab: String,
    /// Its run.
    pub(crate) run: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Thing::Container => write!(f, "container {}", self.name),
            Thing::Volume => write!(f, "volume {}", self.name),
            _ => write!(f, "network {}", self.name),
        }
    }
}

/// Whether a ledger's line is about Docker.
pub(crate) fn is_ours(thing: &Owned) -> bool {
    matches!(thing.kind, Thing::Container | Thing::Volume | Thing::Network)
}

/// Removes all that carries the marks of a lab or stands in `named`. Blocks. Gives what is left, with the reason in words.
pub(crate) fn sweep(owner: &str, lab: &str, named: &[Owned]) -> Vec<String> {
    let names: BTreeSet<(Thing, String)> = named.iter().map(|thing| (thing.kind, thing.name.clone())).collect();
    let swept = on_a_runtime("Docker", async {
        let docker = Engine::connect().await?;
        let of_the_lab = |found: &Found| found.lab == lab || names.contains(&(found.kind, found.name.clone()));
        remove(&docker, owner, &of_the_lab, &names).await
    });
    match swept {
        Ok(left) => left,
        Err(error) => named.iter().map(|thing| format!("{thing} ({error})")).collect(),
    }
}

/// Removes these and no others. Blocks. Gives what is left.
pub(crate) fn remove_these(owner: &str, these: &[Found]) -> Vec<String> {
    let swept = on_a_runtime("Docker", async {
        let docker = Engine::connect().await?;
        remove(&docker, owner, &|found| these.contains(found), &BTreeSet::new()).await
    });
    swept.unwrap_or_else(|error| these.iter().map(|thing| format!("{thing} ({error})")).collect())
}

/// Everything of our owner in Docker; nothing where there is no Docker, or where it does not answer. Blocks.
pub(crate) fn all(owner: &str) -> Vec<Found> {
    let found = on_a_runtime("Docker", async { find(&Engine::connect().await?, owner).await });
    found.unwrap_or_else(|error| {
        tracing::debug!(%error, "Docker is not looked at");
        Vec::new()
    })
}

/// Looks and removes until nothing is found twice in a row, and for a while longer when something of `expected` never showed itself.
async fn remove(
    docker: &Docker,
    owner: &str,
    wanted: &(dyn Fn(&Found) -> bool + Sync),
    expected: &BTreeSet<(Thing, String)>,
) -> Result<Vec<String>, EnvError> {
    let begun = Instant::now();
    let (mut quiet, mut failed, mut seen) = (0, 0, BTreeSet::new());
    let mut reasons: BTreeMap<Found, String>;
    loop {
        let mut found = match find(docker, owner).await {
            Ok(found) => found,
            Err(error) => {
                failed += 1;
                if failed >= LISTS {
                    return Err(error);
                }
                tracing::debug!(%error, "listed again");
                sleep(STEP).await;
                continue;
            }
        };
        failed = 0;
        found.retain(wanted);
        found.sort();
        reasons = BTreeMap::new();
        for kind in [Thing::Container, Thing::Volume, Thing::Network] {
            let step = found.iter().filter(|found| found.kind == kind);
            let removed = join_all(step.map(|found| async move { (found, remove_one(docker, found).await) })).await;
            for (found, removed) in removed {
                seen.insert((found.kind, found.name.clone()));
                if let Err(refusal) = removed {
                    reasons.insert(found.clone(), refusal.to_string());
                }
            }
        }
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        let all_seen = expected.is_subset(&seen) || begun.elapsed() >= IN_THE_MAKING;
        if (quiet >= 2 && all_seen) || begun.elapsed() >= GIVE_UP {
            return Ok(reasons.into_iter().map(|(found, reason)| format!("{found} ({reason})")).collect());
        }
        sleep(STEP).await;
    }
}

async fn find(docker: &Docker, owner: &str) -> Result<Vec<Found>, EnvError> {
    let filters = HashMap::from([("label", vec![format!("{OWNER}={owner}")])]);
    let looking = |what: &str| format!("list the {what} of this installation");
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let (containers, volumes, networks) = tokio::join!(
        ask(QUICK, docker.list_containers(Some(containers))),
        ask(QUICK, docker.list_volumes(Some(volumes))),
        ask(QUICK, docker.list_networks(Some(networks))),
    );
    let containers = containers.asked(|| looking("containers"))?.into_iter().filter_map(|container| {
        let name = container.names?.first()?.trim_start_matches('/').to_owned();
        Some((Thing::Container, name, container.labels?))
    });
    let volumes = volumes.asked(|| looking("volumes"))?.volumes.unwrap_or_default().into_iter();
    let volumes = volumes.map(|volume| (Thing::Volume, volume.name, volume.labels));
    let networks = networks.asked(|| looking("networks"))?.into_iter();
    let networks = networks.filter_map(|network| Some((Thing::Network, network.name?, network.labels?)));
    let all = containers.chain(volumes).chain(networks);
    Ok(all.filter_map(|(kind, name, labels)| marked(owner, kind, name, &labels)).collect())
}

/// The filter is Docker's; that it is exact is checked here.
fn marked(owner: &str, kind: Thing, name: String, labels: &HashMap<String, String>) -> Option<Found> {
    let label = |name: &str| labels.get(name).cloned();
    (label(OWNER)? == owner).then(|| Found {
        kind,
        name,
        lab: label(LAB).unwrap_or_default(),
        run: label(RUN).unwrap_or_default(),
    })
}

async fn remove_one(docker: &Docker, found: &Found) -> Result<(), Refusal> {
    let name = &found.name;
    let removed = match found.kind {
        Thing::Container => {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            ask(SLOW, docker.remove_container(name, Some(options))).await
        }
        Thing::Volume => {
            let options = RemoveVolumeOptionsBuilder::new().force(true).build();
            ask(SLOW, docker.remove_volume(name, Some(options))).await
        }
        _ => ask(SLOW, docker.remove_network(name)).await,
    };
    match removed {
        Err(refusal) if refusal.is_gone() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_exact_owner_counts() {
        let labels =
            |owner: &str| HashMap::from([(OWNER.to_owned(), owner.to_owned()), (LAB.to_owned(), "x".to_owned())]);
        let found = marked("abc", Thing::Volume, "v".to_owned(), &labels("abc")).unwrap();
        assert_eq!((found.lab.as_str(), found.to_string().as_str()), ("x", "volume v"));
        assert_eq!(marked("abc", Thing::Volume, "v".to_owned(), &labels("abcd")), None);
        assert_eq!(marked("abc", Thing::Volume, "v".to_owned(), &HashMap::new()), None);
        assert!(Thing::Container < Thing::Volume && Thing::Volume < Thing::Network, "the order of removal");
    }
}
