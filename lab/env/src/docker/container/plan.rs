//! What a container is made from, and what Docker is asked for it. Pure.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount, MountType, NetworkingConfig,
    PortBinding,
};
use lab_core::unit::{Bytes, Millicores};

/// How much of a container's output Docker keeps; ours is in the run's folder.
const KEPT_OUTPUT: [(&str, &str); 2] = [("max-size", "16m"), ("max-file", "2")];

/// What a container is made from. Start with `ContainerPlan { thing, role, image, ..Default::default() }`.
#[derive(Clone, Default)]
pub(crate) struct ContainerPlan {
    /// Its name within the lab: a replica's, or a server's.
    pub(crate) thing: String,
    /// What it is for, as its label says: a workload, `store.postgres`.
    pub(crate) role: String,
    /// The image, by tag, digest or id.
    pub(crate) image: String,
    /// Instead of the image's own entry point.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Arguments; empty: the image's own.
    pub(crate) args: Vec<String>,
    /// Variables. Values may be secret, so they are never shown.
    pub(crate) env: Vec<(String, String)>,
    /// Its own host name; None: Docker's choice, another each time.
    pub(crate) hostname: Option<String>,
    /// Paths of this machine, where they appear, and whether they are read-only there.
    pub(crate) binds: Vec<(PathBuf, String, bool)>,
    /// Volumes by their whole name ([`Engine::make_volume`]) and where they appear.
    pub(crate) volumes: Vec<(String, String)>,
    /// Where memory is mounted, with its options: `size=64m`.
    pub(crate) tmpfs: Vec<(String, String)>,
    /// CPU limit; None: unlimited.
    pub(crate) cpu: Option<Millicores>,
    /// Memory limit, without swap; None: unlimited.
    pub(crate) memory: Option<Bytes>,
    /// `uid:gid`; None: the image's.
    pub(crate) user: Option<String>,
    /// Its root cannot be written.
    pub(crate) read_only: bool,
    /// No capability at all.
    pub(crate) cap_drop_all: bool,
    /// Its ports that answer on 127.0.0.1 too, each at a port of choice or, when None, at a free one.
    pub(crate) publish: Vec<(u16, Option<u16>)>,
    /// Further names on the lab's network.
    pub(crate) aliases: Vec<String>,
    /// What asks it to end, instead of SIGTERM or the image's own.
    pub(crate) stop_signal: Option<String>,
}

impl fmt::Debug for ContainerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ContainerPlan")
            .field("thing", &self.thing)
            .field("image", &self.image)
            .field("args", &self.args)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

impl ContainerPlan {
    /// What Docker is asked to make, on this network.
    pub(super) fn body(&self, labels: HashMap<String, String>, network: &str) -> ContainerCreateBody {
        let endpoint = EndpointSettings { aliases: Some(self.aliases.clone()), ..EndpointSettings::default() };
        let exposed: Vec<String> = self.publish.iter().map(|(port, _)| format!("{port}/tcp")).collect();
        ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: self.entrypoint.clone(),
            cmd: (!self.args.is_empty()).then(|| self.args.clone()),
            env: Some(self.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            hostname: self.hostname.clone(),
            user: self.user.clone(),
            labels: Some(labels),
            stop_signal: self.stop_signal.clone(),
            exposed_ports: (!exposed.is_empty()).then_some(exposed),
            host_config: Some(self.host_config(network)),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// Limits, mounts and rights. A container has no swap: what Kubernetes would kill for its memory is killed here too.
    fn host_config(&self, network: &str) -> HostConfig {
        let memory = self.memory.map(|memory| i64::try_from(memory.0).unwrap_or(i64::MAX));
        let mount = |typ, source: String, target: &str, read_only| Mount {
            typ: Some(typ),
            source: Some(source),
            target: Some(target.to_owned()),
            read_only: Some(read_only),
            ..Mount::default()
        };
        let binds = self
            .binds
            .iter()
            .map(|(path, target, read_only)| mount(MountType::BIND, path.display().to_string(), target, *read_only));
        let volumes = self.volumes.iter().map(|(name, target)| mount(MountType::VOLUME, name.clone(), target, false));
        let ports = self.publish.iter().map(|(port, fixed)| {
            let binding = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(fixed.map(|port| port.to_string()).unwrap_or_default()),
            };
            (format!("{port}/tcp"), Some(vec![binding]))
        });
        let kept = KEPT_OUTPUT.map(|(option, value)| (option.to_owned(), value.to_owned()));
        HostConfig {
            nano_cpus: self.cpu.map(|cpu| i64::try_from(cpu.0).unwrap_or(i64::MAX).saturating_mul(1_000_000)),
            memory,
            memory_swap: memory,
            network_mode: Some(network.to_owned()),
            mounts: Some(binds.chain(volumes).collect()),
            tmpfs: Some(self.tmpfs.iter().cloned().collect()),
            port_bindings: Some(ports.collect()),
            readonly_rootfs: Some(self.read_only),
            cap_drop: self.cap_drop_all.then(|| vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(kept.into()) }),
            ..HostConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_shows_no_secret_and_limits_are_exact() {
        let plan = ContainerPlan {
            env: vec![("PASSWORD".to_owned(), "hush".to_owned())],
            cpu: Some(Millicores(250)),
            memory: Some(Bytes(64 << 20)),
            cap_drop_all: true,
            publish: vec![(5432, None), (9092, Some(19092))],
            ..ContainerPlan::default()
        };
        let shown = format!("{plan:?}");
        assert!(shown.contains("PASSWORD") && !shown.contains("hush"), "{shown}");
        let config = plan.host_config("net");
        assert_eq!((config.nano_cpus, config.memory), (Some(250_000_000), Some(64 << 20)));
        assert_eq!(config.memory, config.memory_swap, "no swap");
        let ports = config.port_bindings.unwrap();
        let outside = |port: &str| ports[port].as_ref().unwrap()[0].host_port.clone().unwrap();
        assert_eq!((outside("5432/tcp").as_str(), outside("9092/tcp").as_str()), ("", "19092"));
    }
}
