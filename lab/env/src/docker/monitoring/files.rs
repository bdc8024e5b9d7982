//! What Prometheus and Grafana read: the files of `manifests/components/monitoring`, which Kubernetes uses too, and which replicas there
//! are. Plain files in the lab's folder, readable by the images' own users; none of them is secret.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lab_core::control::Endpoint;
use serde_json::json;

use crate::EnvError;
use crate::system::Doing as _;

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../../manifests/components/monitoring/", $name)))
    };
}

/// Read by Prometheus.
const PROMETHEUS: [(&str, &str); 3] = [file!("prometheus.yml"), file!("rules.yaml"), file!("alerts.yaml")];
/// Read by Grafana.
const GRAFANA: [(&str, &str); 3] = [
    file!("grafana/provisioning/datasources/lab.yaml"),
    file!("grafana/provisioning/dashboards/lab.yaml"),
    file!("grafana/dashboards/lab.json"),
];
/// Where targets are found, within Prometheus' folder.
const TARGETS: &str = "targets";

/// The folders of one lab.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    root: PathBuf,
}

impl Folders {
    /// Within the folder of a lab.
    pub(super) fn within(lab: &Path) -> Self {
        Self { root: lab.join("monitoring") }
    }

    /// All that is made here.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What Prometheus sees.
    pub(super) fn prometheus(&self) -> PathBuf {
        self.root.join("prometheus")
    }

    /// What Grafana sees.
    pub(super) fn grafana(&self) -> PathBuf {
        self.root.join("grafana")
    }

    /// The password of Grafana's admin.
    pub(super) fn password(&self) -> PathBuf {
        self.root.join("grafana-admin-password")
    }

    /// Writes everything but targets and the password.
    ///
    /// # Errors
    /// A file or folder cannot be made.
    pub(super) fn write(&self) -> Result<(), EnvError> {
        for (name, text) in PROMETHEUS {
            write(&self.prometheus().join(name), text)?;
        }
        for (name, text) in GRAFANA {
            write(&self.root.join(name), text)?;
        }
        make_readable(&self.prometheus().join(TARGETS))
    }

    /// Says which replicas of a workload there are, all at once: a reader sees those of before or these.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write_targets(&self, workload: &str, endpoints: &[Endpoint]) -> Result<(), EnvError> {
        let path = self.prometheus().join(TARGETS).join(format!("{workload}.json"));
        let draft = path.with_extension("new");
        write(&draft, &targets(workload, endpoints))?;
        fs::rename(&draft, &path).doing(|| format!("write {}", path.display()))
    }
}

/// In the form of Prometheus' `file_sd_configs`: a group a replica, since each has a label of its own.
fn targets(workload: &str, endpoints: &[Endpoint]) -> String {
    let group = |endpoint: &Endpoint| json!({ "targets": [endpoint.address], "labels": { "workload": workload, "replica": endpoint.replica } });
    serde_json::Value::from_iter(endpoints.iter().map(group)).to_string()
}

fn write(path: &Path, text: &str) -> Result<(), EnvError> {
    if let Some(folder) = path.parent() {
        make_readable(folder)?;
    }
    let written = fs::write(path, text).and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o644)));
    written.doing(|| format!("write {}", path.display()))
}

/// A folder, with those above it, that everybody may read: what is above all of them nobody else may enter.
fn make_readable(folder: &Path) -> Result<(), EnvError> {
    let make = |folder: &Path| -> io::Result<()> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => Ok(()),
            Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755)),
        }
    };
    match (make(folder), folder.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make_readable(parent)?;
            make(folder)
        }
        (made, _) => made,
    }
    .doing(|| format!("make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(replica: &str, address: &str) -> Endpoint {
        Endpoint { replica: replica.to_owned(), address: address.to_owned() }
    }

    #[test]
    fn others_can_read_all_of_it_whatever_the_umask() {
        let lab = tempfile::tempdir().unwrap();
        let folders = Folders::within(lab.path());
        folders.write().unwrap();
        folders.write_targets("user-service", &[endpoint("user-service-1", "172.18.0.3:8080")]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let targets = folders.prometheus().join("targets");
        assert_eq!((mode(&targets), mode(&targets.join("user-service.json"))), (0o755, 0o644));
        assert_eq!(mode(&folders.grafana().join("provisioning/datasources/lab.yaml")), 0o644);
        assert_eq!((mode(folders.root()), mode(&folders.grafana().join("provisioning"))), (0o755, 0o755));
        let names: Vec<_> = fs::read_dir(targets).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["user-service.json"], "no draft is left");
    }

    #[test]
    fn a_replica_is_a_target_with_its_names() {
        let two = [endpoint("a-1", "10.0.0.1:8080"), endpoint("a-2", "10.0.0.2:8080")];
        let written: serde_json::Value = serde_json::from_str(&targets("a", &two)).unwrap();
        let one = |replica: &str, address: &str| json!({ "targets": [address], "labels": { "workload": "a", "replica": replica } });
        assert_eq!(written, json!([one("a-1", "10.0.0.1:8080"), one("a-2", "10.0.0.2:8080")]));
        assert_eq!(targets("a", &[]), "[]");
    }

    #[test]
    fn every_panel_asks_a_recording_rule_of_the_source_that_is_provisioned() {
        let [(_, _), (_, rules), _] = PROMETHEUS;
        let [(_, source), _, (_, dashboard)] = GRAFANA;
        assert!(source.contains("uid: lab-prometheus"));
        let recorded: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        assert!(panels.len() >= 12);
        for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
            let asked = target["expr"].as_str().unwrap();
            let name = asked.split('{').next().unwrap();
            assert!(recorded.contains(&name), "{asked} is no recording rule");
            assert_eq!(target["datasource"]["uid"], "lab-prometheus");
        }
    }
}
