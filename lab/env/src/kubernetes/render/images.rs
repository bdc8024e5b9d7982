//! Images that become others: `lab` is what the manifests call the image of services.

use serde::Deserialize;
use serde_json::Value;

/// One image and what it becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ImageChange {
    /// As the manifests call it, without tag and digest.
    pub(crate) name: String,
    new_name: Option<String>,
    new_tag: Option<String>,
    digest: Option<String>,
}

impl ImageChange {
    /// `name` becomes `image`: `host:5000/a/b:tag`, `a/b@sha256:…`.
    pub(crate) fn to(name: &str, image: &str) -> Self {
        let (new, tag, digest) = parts(image);
        let owned = |text: &str| Some(text.to_owned());
        // Without either, the manifest's own tag would stay, of another image.
        let tag = tag.or(digest.is_none().then_some("latest"));
        Self {
            name: name.to_owned(),
            new_name: owned(new),
            new_tag: tag.and_then(owned),
            digest: digest.and_then(owned),
        }
    }
}

/// Name, tag and digest of an image.
pub(crate) fn parts(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    // A colon before a slash is a registry's port.
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag), digest),
        _ => (rest, None, digest),
    }
}

/// Changes the images of all containers, wherever they stand.
pub(super) fn set(objects: &mut [Value], changes: &[ImageChange]) {
    if !changes.is_empty() {
        objects.iter_mut().for_each(|object| walk(object, changes));
    }
}

fn walk(value: &mut Value, changes: &[ImageChange]) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| walk(one, changes)),
        Value::Object(fields) => {
            for (key, field) in fields {
                if ["containers", "initContainers"].contains(&key.as_str()) {
                    let images = field.as_array_mut().into_iter().flatten().filter_map(|one| one.get_mut("image"));
                    images.for_each(|image| change(image, changes));
                } else {
                    walk(field, changes);
                }
            }
        }
        _ => {}
    }
}

fn change(image: &mut Value, changes: &[ImageChange]) {
    for change in changes {
        let Some(text) = image.as_str() else { return };
        let (name, tag, digest) = parts(text);
        if name != change.name {
            continue;
        }
        let name = change.new_name.as_deref().unwrap_or(name);
        let changed = change.new_tag.is_some() || change.digest.is_some();
        let (tag, digest) = if changed { (change.new_tag.as_deref(), change.digest.as_deref()) } else { (tag, digest) };
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        *image = format!("{name}{tag}{digest}").into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_falls_into_its_parts() {
        assert_eq!(parts("lab"), ("lab", None, None));
        assert_eq!(parts("localhost:5000/a/b"), ("localhost:5000/a/b", None, None));
        assert_eq!(parts("localhost:5000/a/b:1"), ("localhost:5000/a/b", Some("1"), None));
        assert_eq!(parts("a/b:1@sha256:0a"), ("a/b", Some("1"), Some("sha256:0a")));
    }

    #[test]
    fn one_becomes_another_whole() {
        let became = |from: &str, to: &str| {
            let mut image = Value::from(from);
            change(&mut image, &[ImageChange::to("postgres", to)]);
            image.as_str().unwrap().to_owned()
        };
        assert_eq!(became("postgres:17", "testbed/postgres:15"), "testbed/postgres:15");
        assert_eq!(became("postgres:17", "x/postgres"), "x/postgres:latest");
        assert_eq!(became("postgres:17", "x/postgres@sha256:1"), "x/postgres@sha256:1");
        assert_eq!(became("postgresql:17", "x"), "postgresql:17");
    }
}
