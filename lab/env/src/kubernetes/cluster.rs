//! A cluster as one lab uses it: named by a context, never the current one; the connection, the lab's namespace, the marks on all that is
//! made. What is made in it stands in the manifests.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Asked as _, Refusal, SLOW, ask};
use super::render::{Id, is_cluster_wide};
use crate::EnvError;
use crate::docker::engine::{EXPIRES, LAB, LIFETIME, Marks, OWNER, RUN};

/// Who owns the fields that lab sets.
pub(crate) const MANAGER: &str = "lab";
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest value of a label.
const LABEL: usize = 63;

/// Which cluster: a context, and the files that define it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterRef {
    /// The context's name.
    pub context: String,
    /// Files that are merged, the first going before the others; None: `~/.kube/config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<Vec<PathBuf>>,
}

/// A namespace of a cluster, as a ledger names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NamespaceRef {
    /// Its name.
    pub(crate) namespace: String,
    /// Where it is.
    #[serde(flatten)]
    pub(crate) cluster: ClusterRef,
}

impl fmt::Display for NamespaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {} of context {}", self.namespace, self.cluster.context)
    }
}

impl NamespaceRef {
    /// As it stands in a ledger.
    pub(crate) fn to_name(&self) -> String {
        // A struct of texts always has a JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From a ledger; None when it cannot be read.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        serde_json::from_str(name).ok()
    }
}

impl ClusterRef {
    /// Of a context and what was typed or the variable KUBECONFIG says: paths behind each other, as `PATH` has them.
    pub fn new(context: impl Into<String>, kubeconfig: Option<&std::ffi::OsStr>) -> Self {
        let files = kubeconfig.map(|text| {
            let paths = std::env::split_paths(text).filter(|path| !path.as_os_str().is_empty());
            paths.map(|path| std::path::absolute(&path).unwrap_or(path)).collect::<Vec<_>>()
        });
        Self { context: context.into(), kubeconfig: files.filter(|files| !files.is_empty()) }
    }

    /// Connects. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// `NoCluster`: the files cannot be read, do not have the context, or say nothing that can be used; with the remedy.
    pub(crate) async fn connect(&self) -> Result<Client, EnvError> {
        let kubeconfig = self.read()?;
        if !kubeconfig.contexts.iter().any(|context| context.name == self.context) {
            return Err(self.unknown(&kubeconfig));
        }
        let options = KubeConfigOptions { context: Some(self.context.clone()), cluster: None, user: None };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(|error| self.unusable(&Refusal::Other(error.into())))?;
        config.connect_timeout = Some(CONNECT);
        Client::try_from(config).map_err(|error| self.unusable(&error.into()))
    }

    fn read(&self) -> Result<Kubeconfig, EnvError> {
        let home = || std::env::home_dir().unwrap_or_default().join(".kube/config");
        let files = self.kubeconfig.clone().unwrap_or_else(|| vec![home()]);
        let mut all = Kubeconfig::default();
        for file in &files {
            let read = Kubeconfig::read_from(file).and_then(|read| all.merge(read));
            all = read.map_err(|error| unreadable(file, &Refusal::Other(error.into())))?;
        }
        Ok(all)
    }

    fn unknown(&self, found: &Kubeconfig) -> EnvError {
        let names: Vec<&str> = found.contexts.iter().map(|context| context.name.as_str()).collect();
        let problem = format!("there is no context `{}`", self.context);
        let remedy = match names.as_slice() {
            [] => "name the file that has it with --kubeconfig, or in KUBECONFIG".to_owned(),
            names => format!("there is {}; or name another file with --kubeconfig", names.join(", ")),
        };
        EnvError::NoCluster { problem, remedy }
    }

    fn unusable(&self, why: &Refusal) -> EnvError {
        let problem = format!("context `{}` cannot be used: {why}", self.context);
        let remedy = format!("see whether `kubectl --context {} version` works", self.context);
        EnvError::NoCluster { problem, remedy }
    }
}

fn unreadable(file: &Path, why: &Refusal) -> EnvError {
    EnvError::NoCluster {
        problem: format!("{} cannot be read: {why}", file.display()),
        remedy: "name a file that has the context with --kubeconfig, or in KUBECONFIG".to_owned(),
    }
}

/// A cluster, for one lab that is up.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
    labels: BTreeMap<String, String>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The namespace of a lab.
pub(crate) fn namespace_of(lab: &str) -> String {
    format!("lab-{lab}")
}

/// At most 63 characters of those that a label takes, beginning and ending with a letter or a digit; the end of a long one stays.
pub(crate) fn label_value(text: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let clean: Vec<char> = text.chars().map(clean).collect();
    let end: String = clean[clean.len().saturating_sub(LABEL)..].iter().collect();
    end.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

impl Cluster {
    /// Of a lab: what is made from here on carries its marks.
    pub(crate) fn new(client: Client, marks: &Marks) -> Self {
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let labels = [
            (OWNER, marks.owner.clone()),
            (LAB, marks.lab.clone()),
            (RUN, label_value(&marks.run)),
            (EXPIRES, (now + LIFETIME.as_secs()).to_string()),
            ("app.kubernetes.io/managed-by", MANAGER.to_owned()),
        ];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { client, namespace: namespace_of(&marks.lab), labels }
    }

    /// The connection itself.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The lab's namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What everything of this lab carries.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Objects of one kind in the lab's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes the lab's namespace; pods in it must meet what Pod Security calls restricted.
    ///
    /// # Errors
    /// It is there already and not ours to use, or the cluster refuses.
    pub(crate) async fn make_namespace(&self) -> Result<(), EnvError> {
        let mut labels = self.labels.clone();
        for mode in ["enforce", "audit", "warn"] {
            labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
        }
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(self.namespace.clone());
        namespace.metadata.labels = Some(labels);
        let api: Api<Namespace> = Api::all(self.client.clone());
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match ask(SLOW, api.create(&params, &namespace)).await {
            Err(refusal) if refusal.is_conflict() => Err(EnvError::NoCluster {
                problem: format!("namespace {} is there already, and this lab did not make it", self.namespace),
                remedy: "give the lab another name, or remove that namespace".to_owned(),
            }),
            made => made.map(drop).asked(|| format!("make namespace {}", self.namespace)),
        }
    }

    /// Makes a Secret, or gives one that is there these values.
    ///
    /// # Errors
    /// The cluster refuses.
    pub(crate) async fn make_secret(&self, name: &str, values: &BTreeMap<String, String>) -> Result<(), EnvError> {
        let mut labels = self.labels.clone();
        labels.insert("app.kubernetes.io/part-of".to_owned(), "lab".to_owned());
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": name, "namespace": self.namespace, "labels": labels },
            "stringData": values,
        });
        self.apply(&object).await
    }

    /// Makes an object, or brings one that is there to what is said here: server-side apply.
    ///
    /// # Errors
    /// The cluster refuses.
    pub(crate) async fn apply(&self, object: &Value) -> Result<(), EnvError> {
        let id = Id::of(object);
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(&id.group, &id.version, &id.kind));
        let api: Api<DynamicObject> = match is_cluster_wide(&id.kind) {
            true => Api::all_with(self.client.clone(), &kind),
            false => Api::namespaced_with(self.client.clone(), &self.namespace, &kind),
        };
        let params = PatchParams::apply(MANAGER).force();
        let applied = ask(SLOW, api.patch(&id.name, &params, &Patch::Apply(object))).await;
        applied.map(drop).asked(|| format!("take {} {}", id.kind, id.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_take_any_run() {
        assert_eq!(label_value("2026-11-24-1530-users-k3f"), "2026-11-24-1530-users-k3f");
        let long = label_value(&format!("-{}-", "ü.x".repeat(40)));
        assert!(long.len() <= 63 && long.starts_with(char::is_alphanumeric) && long.ends_with('x'), "{long}");
    }

    #[test]
    fn a_ledger_names_a_namespace_with_its_cluster() {
        let cluster = ClusterRef::new("admin@testbed", Some("/a/config:/b/config".as_ref()));
        let named = NamespaceRef { namespace: "lab-x".to_owned(), cluster };
        assert_eq!(NamespaceRef::of_name(&named.to_name()), Some(named.clone()));
        assert_eq!(named.to_string(), "namespace lab-x of context admin@testbed");
        assert_eq!(NamespaceRef::of_name("lab-x"), None);
        assert_eq!(ClusterRef::new("x", Some("".as_ref())).kubeconfig, None);
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_is_told_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let text = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
                    contexts: [{name: here, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\ncurrent-context: here\n";
        std::fs::write(&file, text).unwrap();
        let told = |context: &str, file: &Path| {
            let cluster = ClusterRef::new(context, Some(file.as_os_str()));
            async move { cluster.connect().await.map(drop).unwrap_err().to_string() }
        };
        let unknown = told("there", &file).await;
        assert!(unknown.contains("no context `there`") && unknown.contains("there is here"), "{unknown}");
        assert!(told("there", &folder.path().join("none")).await.contains("cannot be read"));
    }
}
