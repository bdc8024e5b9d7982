//! The namespace of all objects, also where one names another's.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Id, is_cluster_wide};

/// Puts all of them into a namespace. Service accounts that are among them are named with it, others keep theirs.
pub(super) fn set(objects: &mut [Value], namespace: &str) {
    let accounts: BTreeSet<String> =
        objects.iter().map(Id::of).filter(|id| id.kind == "ServiceAccount").map(|id| id.name).collect();
    for object in objects {
        let kind = Id::of(object).kind;
        match kind.as_str() {
            "Namespace" => put(object, "metadata", "name", namespace),
            "APIService" if object.pointer("/spec/service").is_some() => {
                if let Some(service) = object.pointer_mut("/spec/service").and_then(Value::as_object_mut) {
                    service.insert("namespace".to_owned(), namespace.into());
                }
            }
            "RoleBinding" | "ClusterRoleBinding" => subjects(object, namespace, &accounts),
            _ => {}
        }
        if !is_cluster_wide(&kind) {
            // One that stands elsewhere on purpose says so, and kustomize moves it all the same.
            put(object, "metadata", "namespace", namespace);
        }
    }
}

fn put(object: &mut Value, part: &str, key: &str, value: &str) {
    let Some(object) = object.as_object_mut() else { return };
    let part = object.entry(part).or_insert_with(|| Value::Object(Map::new()));
    if let Some(part) = part.as_object_mut() {
        part.insert(key.to_owned(), value.into());
    }
}

fn subjects(binding: &mut Value, namespace: &str, accounts: &BTreeSet<String>) {
    let Some(subjects) = binding.get_mut("subjects").and_then(Value::as_array_mut) else { return };
    for subject in subjects.iter_mut().filter_map(Value::as_object_mut) {
        let name = subject.get("name").and_then(Value::as_str).unwrap_or_default();
        let is_account = subject.get("kind").and_then(Value::as_str) == Some("ServiceAccount");
        if is_account && (name == "default" || accounts.contains(name)) {
            subject.insert("namespace".to_owned(), namespace.into());
        }
    }
}
