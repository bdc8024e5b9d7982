//! The values of a lab put into the manifests: which servers, which services, their arguments, replicas and resources.

use std::collections::BTreeMap;

use lab_core::spec::{CreateMode, QueueEngine, Server, Spec, StoreEngine};
use serde_json::{Map, Value, json};

use super::{Id, ImageChange, Kustomization, LabelChange, MANIFESTS, RenderError, build, images, label};
use crate::backing::recipe::recipe;
use crate::kubernetes::secrets::component;
use crate::replicas::Template;

/// The label that says what an object belongs to.
pub(crate) const NAME: &str = "app.kubernetes.io/name";
/// The label of what belongs to a lab.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";
/// The label that says what kind of part it is: `service`, `store`.
const COMPONENT: &str = "app.kubernetes.io/component";
/// What the manifests call the image of services.
const IMAGE: &str = "lab";
/// Bounds are the spec's own, a namespace is what `lab` makes first, and rights are those of whoever runs it.
const LEFT_OUT: [&str; 4] = ["Namespace", "ResourceQuota", "LimitRange", "Role"];
/// What lab tells the generators itself.
const NOT_KEPT: [&str; 2] = ["--target", "--name"];
const WORKLOADS: [&str; 3] = ["user-service", "message-service", "load-generator"];

/// What is put into the manifests.
#[derive(Debug, Clone)]
pub(crate) struct Values<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) namespace: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// The image of services.
    pub(crate) image: &'a str,
    /// Servers that are started, in the order of the spec.
    pub(crate) servers: &'a [Server],
}

/// A lab's objects, by when they are made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rendered {
    /// Of the lab as a whole, and of its servers.
    pub(crate) common: Vec<Value>,
    /// Of each workload.
    pub(crate) workloads: BTreeMap<String, Vec<Value>>,
}

impl Rendered {
    /// Of the manifests that are part of the program.
    ///
    /// # Errors
    /// They do not fit what is known here: an error of this program's.
    pub(crate) fn of(values: &Values<'_>) -> Result<Self, RenderError> {
        let shared = uses_sqlite(values.spec).then(|| "components/store-sqlite".to_owned());
        let kustomization = Kustomization {
            resources: vec!["base".to_owned()],
            components: values.servers.iter().map(|server| component(*server)).chain(shared).collect(),
            namespace: Some(values.namespace.to_owned()),
            labels: vec![LabelChange::everywhere(values.labels.clone())],
            images: images(values),
            ..Kustomization::default()
        };
        let mut rendered = Self::default();
        for object in build(MANIFESTS, "", &kustomization)? {
            let name = label(&object, NAME).unwrap_or_default();
            if LEFT_OUT.contains(&Id::of(&object).kind.as_str()) {
                continue;
            }
            if WORKLOADS.contains(&name) {
                rendered.workloads.entry(name.to_owned()).or_default().push(object);
            } else {
                rendered.common.push(object);
            }
        }
        Ok(rendered)
    }

    /// The objects of one workload with the spec's replicas and arguments; None when the manifests do not have it.
    pub(crate) fn workload(&self, template: &Template, replicas: u32) -> Option<Vec<Value>> {
        let mut objects = self.workloads.get(&template.workload)?.clone();
        for object in objects.iter_mut().filter(|object| Id::of(object).kind == "Deployment") {
            object["spec"]["replicas"] = replicas.into();
            let containers = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
            let service = containers.into_iter().flatten().find(|container| container["name"] == "service");
            if let Some(service) = service {
                fit(service, template);
            }
        }
        Some(objects)
    }
}

/// The images of services and of the servers for which a variable names another than the manifests do.
fn images(values: &Values<'_>) -> Vec<ImageChange> {
    let mut all = vec![ImageChange::to(IMAGE, values.image)];
    for server in values.servers {
        let recipe = recipe(*server);
        if let Some(named) = std::env::var(recipe.variable).ok().filter(|image| !image.is_empty()) {
            all.push(ImageChange::to(images::parts(recipe.image).0, &named));
        }
    }
    all
}

/// Whether a service keeps something in a file of SQLite, which all its replicas share.
pub(crate) fn uses_sqlite(spec: &Spec) -> bool {
    let users = spec.services.user_service.as_ref();
    let messages = spec.services.message_service.as_ref();
    let store = users.map(|s| s.store).into_iter().chain(messages.map(|s| s.store)).any(|s| s == StoreEngine::Sqlite);
    let queued = users.filter(|users| users.create == CreateMode::Queued).map(|users| users.queue);
    store || queued.into_iter().chain(messages.map(|s| s.queue)).any(|queue| queue == QueueEngine::Sqlite)
}

/// The arguments and limits of one container.
fn fit(service: &mut Value, template: &Template) {
    let named = |arg: &str| arg.split_once('=').map_or(arg, |(name, _)| name).to_owned();
    let kept = service["args"].as_array().into_iter().flatten().filter_map(Value::as_str).filter(|arg| {
        let flag = named(arg);
        flag.starts_with("--") && !NOT_KEPT.contains(&flag.as_str()) && !template.args.contains(&flag)
    });
    let kept: Vec<String> = kept.map(str::to_owned).collect();
    let args = template.args.iter().cloned().chain(kept).chain(["--name=$(POD_NAME)".to_owned()]);
    service["args"] = args.collect::<Vec<String>>().into();
    resources(&mut service["resources"], template);
}

/// As Kubernetes schedules and limits it, so the request is what a share of CPU is counted of. A limit of CPU that the spec does not have
/// would throttle what it measures; memory stays bounded as the manifests say.
fn resources(resources: &mut Value, template: &Template) {
    let mut set = |part: &str, what: &str, value: Option<String>| {
        let part = &mut resources[part];
        if part.is_null() {
            *part = Value::Object(Map::new());
        }
        match (part.as_object_mut(), value) {
            (Some(part), Some(value)) => drop(part.insert(what.to_owned(), value.into())),
            (Some(part), None) => drop(part.remove(what)),
            (None, _) => {}
        }
    };
    let cpu = template.cpu.map(|cpu| format!("{}m", cpu.0));
    set("limits", "cpu", cpu.clone());
    if cpu.is_some() {
        set("requests", "cpu", cpu);
    }
    if let Some(memory) = template.memory {
        set("limits", "memory", Some(memory.0.to_string()));
        set("requests", "memory", Some(memory.0.to_string()));
    }
}

/// A pod that asks a server with its own driver whether it answers, and says what it is: `__backing probe`, where services stand.
pub(crate) fn probe(values: &Values<'_>, server: Server, wait: std::time::Duration) -> Value {
    let mut labels = values.labels.clone();
    let own = [(NAME, "probe"), (PART_OF, "lab"), (COMPONENT, "probe")];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let address = format!("@/run/secrets/backing/{server}");
    let wait = format!("{}ms", wait.as_millis());
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": probe_name(server), "namespace": values.namespace, "labels": labels },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "probe",
                "image": values.image,
                "imagePullPolicy": "IfNotPresent",
                "args": ["__backing", "probe", "--role", server.role().name(), "--address", address, "--wait", wait],
                "resources": { "requests": { "cpu": "50m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
                "volumeMounts": [
                    { "name": "backing", "mountPath": "/run/secrets/backing", "readOnly": true },
                    { "name": "tmp", "mountPath": "/tmp" },
                ],
            }],
            "volumes": [
                { "name": "backing", "secret": { "secretName": "backing", "defaultMode": 0o440 } },
                { "name": "tmp", "emptyDir": { "sizeLimit": "16Mi" } },
            ],
        },
    })
}

/// `probe-store-postgres`
pub(crate) fn probe_name(server: Server) -> String {
    format!("probe-{}", crate::kubernetes::secrets::host(server))
}
