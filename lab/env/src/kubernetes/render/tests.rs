//! Ours against kubectl's, and the values of a lab in what comes out.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use lab_core::spec::{Server, Spec};
use lab_core::unit::{Bytes, Millicores};

use super::*;
use crate::replicas::Template;

fn spec(services: &str) -> Spec {
    let text = format!("question: q\nenvironment: local\nservices: {services}\n");
    lab_core::spec::parse("t.yaml", &text, &[], &|_| Err(String::new())).unwrap().spec
}

fn kubectl(folder: &str) -> Option<Vec<Value>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests").join(folder);
    let Ok(output) = Command::new("kubectl").arg("kustomize").arg(&root).output() else {
        let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
        assert!(!required.contains("kubectl"), "no kubectl here, and LAB_REQUIRE wants it");
        // Past the test harness, which shows what a passing test prints to nobody.
        std::io::stderr().write_all(b"SKIPPED, NOT TESTED: manifests against kubectl (it is not here)\n").unwrap();
        return None;
    };
    assert!(output.status.success(), "{folder}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(serde_saphyr::from_multiple(&text).unwrap())
}

fn by_id(objects: Vec<Value>) -> BTreeMap<(Id, String), Value> {
    let count = objects.len();
    let place = |object: &Value| object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("").to_owned();
    let all: BTreeMap<_, _> = objects.into_iter().map(|object| ((Id::of(&object), place(&object)), object)).collect();
    assert_eq!(all.len(), count, "no two objects of one name");
    all
}

#[test]
fn every_kustomization_comes_out_as_kubectl_has_it() {
    let folders: Vec<&str> = MANIFESTS
        .iter()
        .filter_map(|(path, text)| {
            path.strip_suffix("/kustomization.yaml").filter(|_| !text.contains("kind: Component"))
        })
        .collect();
    assert!(folders.iter().any(|folder| folder.starts_with("overlays/")), "{folders:?}");
    for folder in folders {
        let Some(theirs) = kubectl(folder) else { return };
        let kustomization = Kustomization { resources: vec![folder.to_owned()], ..Kustomization::default() };
        let ours = by_id(build(MANIFESTS, "", &kustomization).unwrap());
        let theirs = by_id(theirs);
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{folder}");
        for (id, object) in &theirs {
            assert_eq!(&ours[id], object, "{folder}: {id:?}");
        }
    }
}

#[test]
fn every_component_fits_the_base() {
    let components: Vec<&str> = MANIFESTS
        .iter()
        .filter(|(_, text)| text.contains("kind: Component"))
        .filter_map(|(path, _)| path.strip_suffix("/kustomization.yaml"))
        .collect();
    for component in components {
        let kustomization = Kustomization {
            resources: vec!["base".to_owned()],
            components: vec![component.to_owned()],
            ..Kustomization::default()
        };
        let built = build(MANIFESTS, "", &kustomization).unwrap_or_else(|error| panic!("{component}: {error}"));
        assert!(built.len() > 8, "{component}");
    }
}

#[test]
fn a_lab_has_its_values_and_its_marks() {
    let spec = spec("{ user-service: { store: postgres, cache: redis, replicas: 3 } }");
    let labels = BTreeMap::from([("lab.run".to_owned(), "r1".to_owned())]);
    let servers = spec.servers();
    assert_eq!(servers, [Server::Postgres, Server::Redis]);
    let values =
        Values { spec: &spec, namespace: "lab-x", labels: &labels, image: "localhost:5000/lab:1", servers: &servers };
    let rendered = Rendered::of(&values).unwrap();
    let template = Template {
        workload: "user-service".to_owned(),
        args: ["serve", "user-service", "--listen", "0.0.0.0:8080", "--store", "@/x"].map(str::to_owned).into(),
        cpu: Some(Millicores(250)),
        memory: Some(Bytes(64 << 20)),
    };
    let objects = rendered.workload(&template, 3).unwrap();
    let deployment = objects.iter().find(|object| Id::of(object).kind == "Deployment").unwrap();
    assert_eq!((&deployment["spec"]["replicas"], label(deployment, "lab.run")), (&3.into(), Some("r1")));
    assert_eq!(deployment["metadata"]["namespace"], "lab-x");
    assert_eq!(deployment.pointer("/spec/template/metadata/labels/lab.run").unwrap(), "r1");
    let service = deployment.pointer("/spec/template/spec/containers/0").unwrap();
    assert_eq!(service["image"], "localhost:5000/lab:1");
    let args: Vec<&str> = service["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args[..6], template.args[..]);
    assert_eq!(args.last(), Some(&"--name=$(POD_NAME)"));
    assert!(!args[6..].iter().any(|arg| arg.starts_with("--store") || arg.starts_with("--listen")), "{args:?}");
    assert_eq!(service["resources"]["limits"]["cpu"], "250m");
    assert_eq!(service["resources"]["requests"]["memory"], (64 << 20).to_string());
    let names: Vec<String> = rendered.common.iter().map(|object| Id::of(object).name).collect();
    assert!(names.contains(&"store-postgres".to_owned()) && names.contains(&"cache-redis".to_owned()), "{names:?}");
    let kinds: Vec<String> = rendered.common.iter().map(|object| Id::of(object).kind).collect();
    assert!(!kinds.contains(&"ResourceQuota".to_owned()), "{kinds:?}");
    assert_eq!(rendered.workloads.len(), 3);
}
