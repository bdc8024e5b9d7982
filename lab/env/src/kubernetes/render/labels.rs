//! Labels on all objects and on the pods that they make. Selectors are never touched: they must not change once they are there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Id, RenderError};

/// Labels that are added.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct LabelChange {
    /// Name to value.
    pub(crate) pairs: BTreeMap<String, String>,
    /// On pods as well.
    pub(crate) include_templates: bool,
    include_selectors: bool,
}

impl LabelChange {
    /// On objects and their pods.
    pub(crate) fn everywhere(pairs: BTreeMap<String, String>) -> Self {
        Self { pairs, include_templates: true, include_selectors: false }
    }
}

/// Where the metadata of what an object makes stands.
fn templates(kind: &str) -> &'static [&'static str] {
    match kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" | "Job" => &["/spec/template"],
        "StatefulSet" => &["/spec/template", "/spec/volumeClaimTemplates/*"],
        "CronJob" => &["/spec/jobTemplate", "/spec/jobTemplate/spec/template"],
        _ => &[],
    }
}

pub(super) fn set(place: &str, change: &LabelChange, objects: &mut [Value]) -> Result<(), RenderError> {
    if change.include_selectors {
        let why = "labels in selectors cannot be changed later".to_owned();
        return Err(RenderError::Bad { file: place.to_owned(), why });
    }
    for object in objects {
        add(object, &change.pairs);
        if !change.include_templates {
            continue;
        }
        for template in templates(&Id::of(object).kind) {
            match template.strip_suffix("/*") {
                Some(list) => {
                    let each = object.pointer_mut(list).and_then(Value::as_array_mut);
                    each.into_iter().flatten().for_each(|one| add(one, &change.pairs));
                }
                None => object.pointer_mut(template).into_iter().for_each(|one| add(one, &change.pairs)),
            }
        }
    }
    Ok(())
}

fn add(object: &mut Value, pairs: &BTreeMap<String, String>) {
    let empty = || Value::Object(Map::new());
    let labels = object
        .as_object_mut()
        .and_then(|object| object.entry("metadata").or_insert_with(empty).as_object_mut())
        .and_then(|metadata| metadata.entry("labels").or_insert_with(empty).as_object_mut());
    if let Some(labels) = labels {
        labels.extend(pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    }
}
