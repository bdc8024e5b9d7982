//! Removal of what labs made in clusters: the APIService first, as a dead one would hold up the end of every namespace, then the namespace with
//! all that is in it. Nothing without our owner's label is ever touched.

use std::io;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use kube::{Client, Resource};
use tokio::time::{Instant, sleep};

use super::call::{Asked as _, QUICK, Refusal, SLOW, ask};
use super::cluster::NamespaceRef;
use crate::EnvError;
use crate::docker::engine::{LAB, OWNER};
use crate::ledger::{Owned, Thing};
use crate::system::on_a_runtime;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long a namespace that was intended and is not there may still be in the making.
const IN_THE_MAKING: Duration = Duration::from_secs(1);
/// After which a namespace that does not go is given up; the cluster goes on all the same.
const GIVE_UP: Duration = Duration::from_secs(50);
/// What replicas get to end when the whole lab goes: nobody sends requests any more.
const GRACE: u32 = 1;

/// Whether a ledger's line is about a cluster.
pub(crate) fn is_ours(thing: &Owned) -> bool {
    thing.kind == Thing::Namespace
}

/// Removes these namespaces of a lab. Blocks. Gives those that are left, each by its line's number, with the reason in words.
pub(crate) fn sweep(owner: &str, lab: &str, named: &[Owned]) -> Vec<(u64, String)> {
    let mut left = Vec::new();
    for thing in named {
        let Some(place) = NamespaceRef::of_name(&thing.name) else {
            left.push((thing.id, format!("{thing} (its line in the ledger cannot be read)")));
            continue;
        };
        let removed = on_a_runtime("the cluster", async {
            let client = place.cluster.connect().await?;
            remove(&client, owner, lab, &place.namespace).await
        });
        if let Err(error) = removed {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            left.push((thing.id, format!("{place} ({error}{cause})")));
        }
    }
    left
}

/// Removes the namespace of a lab and waits until it is gone. One that is not ours is left alone, and that is no error: ours is gone.
///
/// # Errors
/// It cannot be removed, or does not go in time.
pub(super) async fn remove(client: &Client, owner: &str, lab: &str, namespace: &str) -> Result<(), EnvError> {
    let begun = Instant::now();
    let api: Api<Namespace> = Api::all(client.clone());
    remove_api_services(client, owner, lab).await;
    let mut told = false;
    loop {
        let found = ask(QUICK, api.get_opt(namespace)).await.asked(|| format!("look for namespace {namespace}"))?;
        let ours = found.as_ref().is_some_and(|found| is_marked(found.meta().labels.as_ref(), owner, lab));
        match found.filter(|_| ours) {
            None if told || begun.elapsed() >= IN_THE_MAKING => return Ok(()),
            None => {}
            Some(found) if !told => {
                hurry(client, namespace).await;
                // This very namespace, and none that somebody made under its name since.
                let same = Preconditions { uid: found.metadata.uid, resource_version: None };
                let params = DeleteParams::background().preconditions(same);
                let deleted = ask(SLOW, api.delete(namespace, &params)).await;
                match deleted {
                    Err(refusal) if refusal.is_gone() || refusal.is_conflict() => {}
                    other => drop(other.asked(|| format!("remove namespace {namespace}"))?),
                }
                told = true;
            }
            Some(found) if begun.elapsed() >= GIVE_UP => return Err(lingering(namespace, &found)),
            Some(_) => {}
        }
        sleep(LOOK).await;
    }
}

fn is_marked(labels: Option<&std::collections::BTreeMap<String, String>>, owner: &str, lab: &str) -> bool {
    let is = |name: &str, value: &str| labels.and_then(|labels| labels.get(name)).is_some_and(|found| found == value);
    is(OWNER, owner) && is(LAB, lab)
}

/// Why it stays, in the cluster's words.
fn lingering(namespace: &str, found: &Namespace) -> EnvError {
    let conditions = found.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let why: Vec<&str> =
        conditions.iter().filter(|c| c.status == "True").filter_map(|c| c.message.as_deref()).collect();
    let why = if why.is_empty() { "it is being removed and is not gone yet".to_owned() } else { why.join("; ") };
    EnvError::Cluster {
        doing: format!("remove namespace {namespace} within {GIVE_UP:?}"),
        source: io::Error::other(why).into(),
    }
}

/// Those of this lab; who may not see any has made none.
async fn remove_api_services(client: &Client, owner: &str, lab: &str) {
    let api: Api<APIService> = Api::all(client.clone());
    let params = ListParams::default().labels(&format!("{OWNER}={owner},{LAB}={lab}"));
    let found = match ask(QUICK, api.list(&params)).await {
        Ok(found) => found,
        Err(refusal) => return tracing::debug!(%refusal, "APIServices are not looked at"),
    };
    for service in found.items.iter().filter(|found| is_marked(found.metadata.labels.as_ref(), owner, lab)) {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let removed = ask(SLOW, api.delete(name, &DeleteParams::default())).await;
        if let Err(refusal) = removed
            && !refusal.is_gone()
        {
            tracing::warn!(%refusal, name, "an APIService of this lab stays; namespaces may not end while it is dead");
        }
    }
}

/// Ends the pods of a namespace of ours in a moment instead of letting each drain. Only for speed: the namespace's removal ends them too.
async fn hurry(client: &Client, namespace: &str) {
    let (deployments, sets): (Api<Deployment>, Api<StatefulSet>) =
        (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (all, background) = (ListParams::default(), DeleteParams::background());
    let makers = tokio::join!(
        ask(SLOW, deployments.delete_collection(&background, &all)),
        ask(SLOW, sets.delete_collection(&background, &all)),
    );
    let grace = DeleteParams::default().grace_period(GRACE);
    let pods = ask(SLOW, pods.delete_collection(&grace, &all)).await;
    let refused = [makers.0.err(), makers.1.err(), pods.err()];
    for refusal in refused.into_iter().flatten().filter(|refusal: &Refusal| !refusal.is_gone()) {
        tracing::debug!(%refusal, namespace, "its pods end in their own time");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_our_lab_of_our_owner_counts() {
        let labels = |owner: &str, lab: &str| {
            BTreeMap::from([(OWNER.to_owned(), owner.to_owned()), (LAB.to_owned(), lab.to_owned())])
        };
        assert!(is_marked(Some(&labels("abc", "x")), "abc", "x"));
        for other in [labels("abcd", "x"), labels("abc", "y"), BTreeMap::new()] {
            assert!(!is_marked(Some(&other), "abc", "x"), "{other:?}");
        }
        assert!(!is_marked(None, "abc", "x"));
    }
}
