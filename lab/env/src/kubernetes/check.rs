//! What the environment needs of a cluster and of its user there, and in how far it is what it stands for.

use futures_util::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, Resource as _};
use lab_core::event::{Grade, Kind};
use lab_core::spec::Spec;

use super::call::{QUICK, ask};
use super::cluster::{ClusterRef, namespace_of};
use super::render::uses_sqlite;
use crate::check::{self, fatal, most, workloads};
use crate::docker::engine::{LAB, OWNER};
use crate::{EnvError, Finding};

/// The oldest version whose pods can wait before they end.
const OLDEST: (u32, u32) = (1, 30);
/// The annotation of the storage class that claims without one get.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// A pod of the control plane and the like, beside replicas: share of the nodes that limits may come to, percent.
const FULL: u64 = 90;

/// A right: verbs, group, resource with subresource.
type Right = (&'static [&'static str], &'static str, &'static str);

/// In the lab's namespace.
const RIGHTS: [Right; 11] = [
    (&["create", "patch", "delete"], "apps", "deployments"),
    (&["create", "patch", "delete"], "apps", "statefulsets"),
    (&["patch"], "apps", "deployments/scale"),
    (&["get", "list", "watch", "create", "patch", "delete", "deletecollection"], "", "pods"),
    (&["get"], "", "pods/log"),
    (&["create"], "", "pods/portforward"),
    (&["create", "patch"], "", "services"),
    (&["create", "patch"], "", "secrets"),
    (&["create", "patch"], "", "configmaps"),
    (&["create", "patch"], "networking.k8s.io", "networkpolicies"),
    (&["create", "patch"], "policy", "poddisruptionbudgets"),
];
/// Of the cluster as a whole.
const WIDE_RIGHTS: [Right; 1] = [(&["get", "create", "delete"], "", "namespaces")];
/// When something is stored.
const STORAGE_RIGHTS: [Right; 1] = [(&["create", "patch"], "", "persistentvolumeclaims")];

/// What a cluster says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct About {
    /// `v1.37.2`
    pub(super) version: String,
    /// Nodes; None when this user may not see them.
    pub(super) nodes: Option<u32>,
    /// What pods may use of all nodes: millicores, bytes.
    pub(super) room: Option<(u64, u64)>,
    /// Cores of the smallest node.
    pub(super) cores: Option<u32>,
}

/// Every missing thing of a cluster, for one lab.
pub(super) async fn check(
    cluster: &ClusterRef,
    owner: &str,
    lab: &str,
    image: Option<&str>,
    spec: &Spec,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = no_image(image).into_iter().collect();
    let client = match cluster.connect().await {
        Ok(client) => client,
        Err(EnvError::NoCluster { problem, remedy }) => {
            findings.extend(fatal(problem, &remedy));
            return findings;
        }
        Err(error) => {
            findings.push(Finding::of(&error));
            return findings;
        }
    };
    let about = match about(&client).await {
        Ok(about) => about,
        Err(why) => {
            let problem = format!("the cluster of context `{}` does not answer: {why}", cluster.context);
            let remedy = format!("see whether `kubectl --context {} version` answers", cluster.context);
            findings.extend(fatal(problem, &remedy));
            return findings;
        }
    };
    findings.extend(too_old(&about.version));
    let storage = uses_sqlite(spec) || !spec.servers().is_empty();
    let namespace = namespace_of(lab);
    let (rights, taken, class) = tokio::join!(
        missing_rights(&client, &namespace, storage),
        taken(&client, owner, lab),
        no_class(&client, storage)
    );
    findings.extend(rights);
    findings.extend(taken);
    findings.extend(class);
    findings.extend(about.room.and_then(|room| too_small(spec, room)));
    findings
}

fn no_image(image: Option<&str>) -> Option<Finding> {
    let problem = "no image of the services is named that the cluster's nodes can get".to_owned();
    let remedy = "build one with `lab image`, push it to a registry of the cluster's or load it into its nodes, and name it in LAB_IMAGE_LAB";
    image.is_none().then(|| fatal(problem, remedy)).flatten()
}

/// What the cluster is; nodes only where this user may see them.
///
/// # Errors
/// It does not answer, in its client's words.
pub(super) async fn about(client: &Client) -> Result<About, String> {
    let version = ask(QUICK, client.apiserver_version()).await.map_err(|refusal| refusal.to_string())?;
    let nodes: Api<Node> = Api::all(client.clone());
    let mut about = About { version: version.git_version, ..About::default() };
    match ask(QUICK, nodes.list(&ListParams::default())).await {
        Ok(nodes) => {
            let room = |node: &Node| {
                let room = node.status.as_ref()?.allocatable.as_ref()?;
                Some((millicores(&room.get("cpu")?.0)?, bytes(&room.get("memory")?.0)?))
            };
            let rooms: Vec<(u64, u64)> = nodes.items.iter().filter_map(room).collect();
            about.nodes = u32::try_from(nodes.items.len()).ok();
            about.cores = rooms.iter().map(|(cpu, _)| u32::try_from(cpu / 1000).unwrap_or(1).max(1)).min();
            about.room = Some(rooms.iter().fold((0, 0), |sum, room| (sum.0 + room.0, sum.1 + room.1)));
        }
        Err(refusal) => tracing::debug!(%refusal, "nodes are not looked at"),
    }
    Ok(about)
}

fn too_old(version: &str) -> Option<Finding> {
    let mut parts = version.trim_start_matches('v').split(['.', '+', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = (parts.next()?, parts.next()?);
    let problem = format!("the cluster is Kubernetes {version}, {}.{} is needed", OLDEST.0, OLDEST.1);
    (found < OLDEST).then(|| fatal(problem, "use a cluster that is newer")).flatten()
}

/// What this user may not, in one finding: whoever mends it mends all of it.
async fn missing_rights(client: &Client, namespace: &str, storage: bool) -> Option<Finding> {
    let stored = STORAGE_RIGHTS.iter().filter(|_| storage);
    let inside = RIGHTS.iter().chain(stored).map(|right| (right, Some(namespace)));
    let all = inside.chain(WIDE_RIGHTS.iter().map(|right| (right, None)));
    let all = all
        .flat_map(|((verbs, group, resource), place)| verbs.iter().map(move |verb| (*verb, *group, *resource, place)));
    let asked = join_all(all.map(|(verb, group, resource, place)| async move {
        let allowed = may(client, verb, (group, resource), place).await;
        (!allowed).then(|| format!("{verb} {resource}"))
    }));
    let missing: Vec<String> = asked.await.into_iter().flatten().collect();
    let problem = format!("this user may not do all that is needed in namespace {namespace}: {}", missing.join(", "));
    let remedy = "ask for these rights: the Role in manifests/base/rbac.yaml has those within a namespace; or name another context";
    (!missing.is_empty()).then(|| fatal(problem, remedy)).flatten()
}

/// A question that is not answered counts as a yes: what it was asked for tells more when it is refused.
async fn may(client: &Client, verb: &str, (group, resource): (&str, &str), namespace: Option<&str>) -> bool {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        namespace: namespace.map(str::to_owned),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    match ask(QUICK, api.create(&PostParams::default(), &review)).await {
        Ok(review) => review.status.is_none_or(|status| status.allowed),
        Err(refusal) => {
            tracing::debug!(%refusal, verb, resource, "a right is not known");
            true
        }
    }
}

/// Whether somebody else has the namespace.
async fn taken(client: &Client, owner: &str, lab: &str) -> Option<Finding> {
    let name = namespace_of(lab);
    let api: Api<Namespace> = Api::all(client.clone());
    let found = ask(QUICK, api.get_opt(&name)).await.ok()??;
    let label = |key: &str| found.meta().labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let ours = label(OWNER) == Some(owner) && label(LAB) == Some(lab);
    let problem = format!("namespace {name} is there already, and no lab of this installation made it");
    (!ours).then(|| fatal(problem, "give the lab another name, or remove that namespace")).flatten()
}

/// Claims that name no class wait for ever where no class is the default.
async fn no_class(client: &Client, storage: bool) -> Option<Finding> {
    if !storage {
        return None;
    }
    let api: Api<StorageClass> = Api::all(client.clone());
    let classes = ask(QUICK, api.list(&ListParams::default())).await.ok()?;
    let is_default = |class: &StorageClass| {
        class.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
    };
    let none = !classes.items.iter().any(is_default);
    let problem = "the cluster has no default storage class, so nothing that is stored would get a volume".to_owned();
    none.then(|| fatal(problem, "mark one as the default: `kubectl get storageclass` shows what there is")).flatten()
}

fn too_small(spec: &Spec, (cpu, memory): (u64, u64)) -> Option<Finding> {
    let sum = |of: fn(&lab_core::spec::Resources) -> Option<u64>| -> u64 {
        workloads(spec).filter_map(|common| Some(of(&common.resources)? * most(common))).sum()
    };
    let (cores, bytes) = (sum(|resources| Some(resources.cpu?.0)), sum(|resources| Some(resources.memory?.0)));
    let full = cores > cpu * FULL / 100 || bytes > memory / 100 * FULL;
    full.then(|| Finding {
        problem: format!(
            "replicas may ask for {:.1} cores and {} MiB together, and the nodes have {:.1} and {}: some would not be scheduled",
            cores as f64 / 1000.0,
            bytes >> 20,
            cpu as f64 / 1000.0,
            memory >> 20
        ),
        remedy: "lower `resources` or `autoscale.max`, or use a larger cluster".to_owned(),
        fatal: false,
    })
}

/// `2`, `1500m`
fn millicores(quantity: &str) -> Option<u64> {
    match quantity.strip_suffix('m') {
        Some(milli) => milli.parse().ok(),
        None => quantity.parse::<f64>().ok().filter(|cores| *cores >= 0.0).map(|cores| (cores * 1000.0) as u64),
    }
}

/// `16Gi`, `1000k`, `12345`
fn bytes(quantity: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((quantity.strip_suffix(unit)?, *factor)));
    let (number, factor) = unit.unwrap_or((quantity, 1));
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// How far everything that a spec asks for is the thing itself.
pub(super) fn fidelity(context: &str, about: &About, spec: &Spec) -> Vec<Kind> {
    let nodes = about.nodes.map(|nodes| format!(", {nodes} {}", if nodes == 1 { "node" } else { "nodes" }));
    let note = format!("Kubernetes {}, context {context}{}", about.version, nodes.unwrap_or_default());
    let mut all = vec![("cluster".to_owned(), Grade::Real, note)];
    if workloads(spec).any(|common| common.resources.cpu.is_some()) {
        let note = "the kubelet's quota over 100 ms; requests are as high as limits";
        all.push(("cpu-limit".to_owned(), Grade::Real, note.to_owned()));
    }
    if workloads(spec).any(|common| common.resources.memory.is_some()) {
        all.push(("memory-limit".to_owned(), Grade::Real, "enforced by the kernel for the kubelet".to_owned()));
    }
    check::fidelity(all, spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        assert_eq!(["2", "1500m", "0.5", "x"].map(millicores), [Some(2000), Some(1500), Some(500), None]);
        assert_eq!(["16Gi", "1000k", "12345", "-1"].map(bytes), [Some(16 << 30), Some(1_000_000), Some(12345), None]);
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(too_old("v1.29.9").is_some_and(|found| found.fatal && found.problem.contains("1.30 is needed")));
        for fine in ["v1.30.0", "v1.37.2-eks-1", "2.0", "unknown"] {
            assert_eq!(too_old(fine), None);
        }
    }

    #[test]
    fn a_cluster_that_is_too_small_is_told_so_before() {
        let text = "question: q\nservices:\n  user-service: { replicas: 3, resources: { cpu: 1, memory: 1Gi } }\n";
        let spec = lab_core::spec::parse("t.yaml", text, &[], &|_| Err(String::new())).unwrap().spec;
        let found = too_small(&spec, (2000, 16 << 30)).unwrap();
        assert!(!found.fatal && found.problem.contains("3.0 cores and 3072 MiB"), "{found:?}");
        assert_eq!(too_small(&spec, (8000, 16 << 30)), None);
    }

    #[tokio::test]
    async fn what_is_missing_before_a_cluster_can_be_asked_is_all_told() {
        let cluster = ClusterRef::new("nowhere", Some("/nowhere/config".as_ref()));
        let text = "question: q\nservices: { user-service: {} }\n";
        let spec = lab_core::spec::parse("t.yaml", text, &[], &|_| Err(String::new())).unwrap().spec;
        let found = check(&cluster, "o", "x", None, &spec).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|found| found.fatal && !found.remedy.is_empty()));
        assert!(found[0].remedy.contains("LAB_IMAGE_LAB") && found[1].problem.contains("/nowhere/config"), "{found:?}");
    }
}
