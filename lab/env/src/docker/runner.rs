//! Replicas as containers: one of the lab's image each, with the spec's limits and no right that it does not need.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lab_core::fault::Injury;

use super::container::{Container, ContainerPlan};
use super::engine::Engine;
use super::stats;
use crate::EnvError;
use crate::replicas::{Grip, Runner, Template, Unit, Used};

/// The port that every service listens on in its container.
pub(super) const PORT: u16 = 8080;
/// Where the lab's files appear.
pub(super) const MOUNT: &str = "/lab";
/// Where SQLite files are.
pub(super) const DATA: &str = "/data";
/// Memory for files that a service may write beside its data.
const SCRATCH: (&str, &str) = ("/tmp", "size=64m");

/// Runs replicas as containers.
#[derive(Debug)]
pub(super) struct Containers {
    pub(super) engine: Engine,
    /// The lab's image.
    pub(super) image: String,
    /// `uid:gid` that services run as.
    pub(super) user: String,
    /// This machine's folder of what replicas only read.
    pub(super) mount: PathBuf,
    /// This machine's folder of SQLite files.
    pub(super) data: PathBuf,
}

#[async_trait]
impl Runner for Containers {
    async fn start(&self, template: &Template, replica: &str) -> Result<Box<dyn Unit>, EnvError> {
        let plan = self.plan(template, replica);
        let container = Arc::new(self.engine.start(plan).await?);
        Ok(Box::new(Replica { container, limited: template.cpu.is_some() }))
    }

    fn log(&self, replica: &str) -> PathBuf {
        self.engine.log(replica)
    }
}

impl Containers {
    fn plan(&self, template: &Template, replica: &str) -> ContainerPlan {
        ContainerPlan {
            thing: replica.to_owned(),
            role: template.workload.clone(),
            image: self.image.clone(),
            args: template.args_of(replica).map(str::to_owned).collect(),
            binds: vec![(self.mount.clone(), MOUNT.to_owned(), true), (self.data.clone(), DATA.to_owned(), false)],
            tmpfs: vec![(SCRATCH.0.to_owned(), SCRATCH.1.to_owned())],
            cpu: template.cpu,
            memory: template.memory,
            user: Some(self.user.clone()),
            read_only: true,
            cap_drop_all: true,
            ..ContainerPlan::default()
        }
    }
}

/// A container that is a replica.
#[derive(Debug, Clone)]
struct Replica {
    container: Arc<Container>,
    limited: bool,
}

#[async_trait]
impl Unit for Replica {
    fn grip(&self) -> Arc<dyn Grip> {
        Arc::new(self.clone())
    }

    /// Known from the start: whether anybody listens there its probe tells.
    async fn announced(&mut self, _limit: Duration) -> Result<String, String> {
        Ok(std::net::SocketAddr::from((self.container.ip, PORT)).to_string())
    }

    async fn ended(&mut self) -> String {
        self.container.wait().await
    }

    async fn terminate(&mut self, limit: Duration) -> String {
        self.container.terminate(limit).await
    }

    async fn kill(&mut self) -> String {
        self.container.end().await
    }

    async fn clear(self: Box<Self>) {
        self.container.read_to_end().await;
        if let Err(error) = self.container.remove().await {
            tracing::warn!(%error, thing = self.container.thing, "a container that ended stays for `down`");
        }
    }
}

#[async_trait]
impl Grip for Replica {
    /// On another machine, or in another process's sight, it would not be ours to signal.
    fn pid(&self) -> Option<u32> {
        None
    }

    async fn usage(&self) -> Option<Used> {
        stats::used(self.container.docker(), &self.container.id, self.limited).await
    }

    async fn injure(&self, injury: Injury) -> Result<Option<bool>, EnvError> {
        match injury {
            Injury::Kill => self.container.kill().await.map(Some),
            Injury::Pause => self.container.pause().await.map(Some),
            Injury::Resume => self.container.unpause().await.map(Some),
            // A replica that comes back has another address, so it could not be told from a new one.
            Injury::Disconnect | Injury::Connect | Injury::Slow(_) => Ok(None),
        }
    }
}
