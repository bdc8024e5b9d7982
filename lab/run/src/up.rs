//! What `lab status` tells of one lab: its services with their replicas and addresses, and what stands behind them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lab_core::event::RunInfo;
use lab_core::narrate::grade_text;
use lab_core::spec::{CreateMode, EnvironmentKind, Server, Spec};
use lab_env::{Beside, EnvError, Environment};
use serde::Serialize;

use crate::error::RunError;

/// A lab that is up: one entry of `lab status --format json`.
#[derive(Debug, Clone, Serialize)]
pub struct Up {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub kind: EnvironmentKind,
    /// Since when, RFC 3339.
    pub since: String,
    /// The process that holds it.
    pub supervisor_pid: u32,
    /// Its run.
    pub run: String,
    /// The run's folder, absolute.
    pub folder: PathBuf,
    /// It takes questions that change it, see [`Ask`](crate::Ask).
    pub steerable: bool,
    /// Its services.
    pub services: Vec<ServiceUp>,
    /// Their backing services.
    pub backing: Vec<BackingUp>,
}

/// One service.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceUp {
    /// Its name.
    pub name: String,
    /// Its front door; None where the door could not be opened.
    pub url: Option<String>,
    /// Its replicas.
    pub replicas: Replicas,
}

/// Replicas, wanted and there.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Replicas {
    /// Wanted.
    pub desired: u32,
    /// Ready.
    pub ready: u32,
}

/// One backing service.
#[derive(Debug, Clone, Serialize)]
pub struct BackingUp {
    /// `store of user-service`.
    pub name: String,
    /// `sqlite`.
    pub engine: String,
    /// `real`, `compatible`, `embedded`.
    pub fidelity: String,
    /// Where it is, if it can be reached at all.
    pub address: Option<String>,
}

impl Up {
    /// What is up now. `folder` is the run's; `doors` are the front doors by service; workloads that are not deployed are left out.
    ///
    /// # Errors
    /// The environment cannot tell.
    pub async fn now(
        name: &str,
        info: &RunInfo,
        folder: &Path,
        (environment, spec): (&Arc<dyn Environment>, &Spec),
        doors: &[(&str, SocketAddr)],
    ) -> Result<Self, RunError> {
        let mut services = Vec::new();
        for service in spec.services.names() {
            let desired = match environment.wanted(service).await {
                Err(EnvError::NoSuchWorkload(_)) => continue,
                desired => desired?,
            };
            let ready = environment.endpoints(service)?.borrow().len();
            let door = doors.iter().find(|(of, _)| *of == service);
            services.push(ServiceUp {
                name: service.to_owned(),
                url: door.map(|(_, address)| format!("http://{address}")),
                replicas: Replicas { desired, ready: u32::try_from(ready).unwrap_or(u32::MAX) },
            });
        }
        Ok(Self {
            name: name.to_owned(),
            kind: environment.kind(),
            since: info.started_at.clone(),
            supervisor_pid: std::process::id(),
            run: info.run.clone(),
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
            steerable: true,
            services,
            backing: backing(spec).into_iter().chain(environment.beside().into_iter().map(BackingUp::from)).collect(),
        })
    }
}

impl From<Beside> for BackingUp {
    fn from(beside: Beside) -> Self {
        let Beside { name, engine, fidelity, address } = beside;
        Self { name, engine, fidelity: grade_text(fidelity).to_owned(), address: Some(address) }
    }
}

/// The embedded backing services of a spec, which have no address. Servers are told by the environment.
fn backing(spec: &Spec) -> Vec<BackingUp> {
    let mut all = Vec::new();
    let mut push = |name: &str, engine: &str, is_server: bool| {
        if is_server {
            return;
        }
        let (name, engine, fidelity) = (name.to_owned(), engine.to_owned(), "embedded".to_owned());
        all.push(BackingUp { name, engine, fidelity, address: None });
    };
    if let Some(user) = &spec.services.user_service {
        push("store of user-service", user.store.name(), Server::of_store(user.store).is_some());
        if user.create == CreateMode::Queued {
            push("queue of user-service", user.queue.name(), Server::of_queue(user.queue).is_some());
        }
    }
    if let Some(message) = &spec.services.message_service {
        push("store of message-service", message.store.name(), Server::of_store(message.store).is_some());
        push("queue of message-service", message.queue.name(), Server::of_queue(message.queue).is_some());
    }
    all
}
