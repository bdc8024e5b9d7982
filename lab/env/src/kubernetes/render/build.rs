//! The order in which a kustomization is read: resources, components over them, what is generated, then its own changes.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{ConfigMapFiles, Kustomization, PatchOf, RenderError, images, labels, namespace};

/// The objects of a kustomization whose paths are relative to `folder`, in the order in which they come.
///
/// # Errors
/// A file is missing or says something that is not known, or a patch does not fit.
pub(crate) fn build(
    files: &[(&str, &str)],
    folder: &str,
    kustomization: &Kustomization,
) -> Result<Vec<Value>, RenderError> {
    let mut objects = Vec::new();
    Builder { files }.add(folder, kustomization, &mut objects)?;
    Ok(objects)
}

struct Builder<'a> {
    files: &'a [(&'a str, &'a str)],
}

impl Builder<'_> {
    fn text(&self, path: &str) -> Result<&str, RenderError> {
        let found = self.files.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| *text).ok_or_else(|| RenderError::Missing(path.to_owned()))
    }

    fn add(&self, folder: &str, kustomization: &Kustomization, objects: &mut Vec<Value>) -> Result<(), RenderError> {
        for resource in &kustomization.resources {
            let path = join(folder, resource);
            if path.ends_with(".yaml") || path.ends_with(".yml") {
                objects.extend(
                    read_all::<Value>(&path, self.text(&path)?)?.into_iter().filter(|object| !object.is_null()),
                );
                continue;
            }
            // What lies below knows nothing of what stands beside it, so its changes are its own.
            let mut below = Vec::new();
            self.add(&path, &self.kustomization(&path)?, &mut below)?;
            objects.append(&mut below);
        }
        for component in &kustomization.components {
            let path = join(folder, component);
            self.add(&path, &self.kustomization(&path)?, objects)?;
        }
        for generator in &kustomization.config_map_generator {
            objects.push(self.config_map(folder, generator)?);
        }
        let place = join(folder, "kustomization.yaml");
        for change in &kustomization.patches {
            patch(&place, change, objects)?;
        }
        if let Some(namespace) = &kustomization.namespace {
            namespace::set(objects, namespace);
        }
        for change in &kustomization.labels {
            labels::set(&place, change, objects)?;
        }
        images::set(objects, &kustomization.images);
        Ok(())
    }

    fn kustomization(&self, folder: &str) -> Result<Kustomization, RenderError> {
        let path = join(folder, "kustomization.yaml");
        let mut all = read_all::<Kustomization>(&path, self.text(&path)?)?;
        match (all.pop(), all.pop()) {
            (Some(one), None) => Ok(one),
            _ => Err(RenderError::Bad { file: path, why: "it is not one document".to_owned() }),
        }
    }

    fn config_map(&self, folder: &str, generator: &ConfigMapFiles) -> Result<Value, RenderError> {
        if !generator.options.disable_name_suffix_hash {
            let why = format!("the name of ConfigMap {} would change with its content", generator.name);
            return Err(RenderError::Bad { file: join(folder, "kustomization.yaml"), why });
        }
        let mut data = Map::new();
        for file in &generator.files {
            let (key, path) = match file.split_once('=') {
                Some((key, path)) => (key, path),
                None => (file.rsplit('/').next().unwrap_or(file), file.as_str()),
            };
            data.insert(key.to_owned(), self.text(&join(folder, path))?.into());
        }
        let mut object =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": generator.name }, "data": data });
        if !generator.options.labels.is_empty() {
            object["metadata"]["labels"] = json!(generator.options.labels);
        }
        Ok(object)
    }
}

/// All documents of a text.
fn read_all<T: DeserializeOwned>(file: &str, text: &str) -> Result<Vec<T>, RenderError> {
    serde_saphyr::from_multiple(text)
        .map_err(|error| RenderError::Bad { file: file.to_owned(), why: error.to_string() })
}

/// A target that is not there is no error, as in kustomize; an operation that does not fit is.
fn patch(place: &str, change: &PatchOf, objects: &mut [Value]) -> Result<(), RenderError> {
    let target = &change.target;
    let bad = |why: String| RenderError::Bad {
        file: place.to_owned(),
        why: format!("its patch of {} {}: {why}", target.kind, target.name),
    };
    let parsed: Vec<Value> = read_all(place, &change.patch)?;
    let [operations] = parsed.as_slice() else { return Err(bad("it is not one list".to_owned())) };
    let operations: json_patch::Patch =
        serde_json::from_value(operations.clone()).map_err(|error| bad(error.to_string()))?;
    for object in objects {
        let id = super::Id::of(object);
        if id.kind == target.kind && id.name == target.name {
            json_patch::patch(object, &operations).map_err(|error| bad(error.to_string()))?;
        }
    }
    Ok(())
}

/// A path below `manifests/`: `..` climbs, `.` stays.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_climb_and_stay() {
        assert_eq!(join("overlays/x", "../../base"), "base");
        assert_eq!(join("", "./base/a.yaml"), "base/a.yaml");
        assert_eq!(join("base", "../../../etc"), "etc", "never above the manifests");
    }
}
