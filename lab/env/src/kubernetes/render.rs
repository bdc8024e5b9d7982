//! `manifests/`, which `kubectl apply -k` takes alone, rendered without kubectl: the part of kustomize that they use, and no more. What is
//! not known is an error. A test renders them both ways and compares.

mod build;
mod images;
mod labels;
mod namespace;
mod values;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub(crate) use self::build::build;
pub(crate) use self::images::ImageChange;
pub(crate) use self::labels::LabelChange;
pub(crate) use self::values::{NAME, PART_OF, Rendered, Values, probe, probe_name, uses_sqlite};

/// The manifests that are part of the program: path within `manifests/` and text.
pub(crate) const MANIFESTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/manifests.rs"));

/// Why manifests cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// A file is named and not there.
    #[error("there is no {0} among the manifests")]
    Missing(String),
    /// A file says something that is not known here.
    #[error("{file} cannot be used: {why}")]
    Bad {
        /// The file.
        file: String,
        /// Why not.
        why: String,
    },
}

/// One kustomization, or what stands for one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Kustomization {
    api_version: String,
    kind: String,
    /// Files and folders that it begins with.
    pub(crate) resources: Vec<String>,
    /// Folders that add to all of it and change it, one after the other.
    pub(crate) components: Vec<String>,
    config_map_generator: Vec<ConfigMapFiles>,
    patches: Vec<PatchOf>,
    /// The namespace of all of it.
    pub(crate) namespace: Option<String>,
    /// Labels on all of it.
    pub(crate) labels: Vec<LabelChange>,
    /// Images that become others.
    pub(crate) images: Vec<ImageChange>,
}

/// A ConfigMap made of files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigMapFiles {
    name: String,
    files: Vec<String>,
    options: ConfigMapOptions,
}

/// Names are never changed, so that nothing has to follow them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigMapOptions {
    disable_name_suffix_hash: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// A change of one object: JSON 6902.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchOf {
    target: Target,
    patch: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: String,
}

/// Which object it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Id {
    /// Of an object; parts that it does not have are empty.
    pub(crate) fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        Self { group: group.to_owned(), version: version.to_owned(), kind: text("/kind"), name: text("/metadata/name") }
    }
}

/// Whether objects of a kind have no namespace.
pub(crate) fn is_cluster_wide(kind: &str) -> bool {
    const WIDE: [&str; 10] = [
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "IngressClass",
        "Namespace",
        "PersistentVolume",
        "PriorityClass",
        "RuntimeClass",
        "StorageClass",
    ];
    WIDE.contains(&kind)
}

/// A label of an object.
pub(crate) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests;
