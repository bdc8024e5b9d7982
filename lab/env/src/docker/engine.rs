//! Docker as one lab uses it: the connection, the marks on all that is made, the lab's network, its volumes. Containers are `container`'s.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use bollard::{API_DEFAULT_VERSION, Docker};

use super::call::{Asked as _, QUICK, Refusal, SLOW, ask};
use crate::EnvError;
use crate::ledger::{Ledger, Thing};
use crate::system::blocking;

/// The label that carries the installation's id.
pub(crate) const OWNER: &str = "lab.owner";
/// The label that carries the lab's name.
pub(crate) const LAB: &str = "lab.lab";
/// The label that carries the run's id.
pub(crate) const RUN: &str = "lab.run";
/// The label that says what a thing is for.
pub(crate) const ROLE: &str = "lab.role";
/// The label that says until when a thing can be of use, seconds since 1970.
pub(crate) const EXPIRES: &str = "lab.expires";

/// How long a lab's things can be of use at most.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long Docker may take to say which version it is.
const HELLO: Duration = Duration::from_secs(5);
/// The variable that says where Docker listens.
pub(crate) const HOST_VARIABLE: &str = "DOCKER_HOST";
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Of version 20.10, the oldest with statistics that come at once.
const OLDEST_API: (usize, usize) = (1, 41);
/// Seconds after which a call that has no deadline of its own is given up.
const CLIENT_TIMEOUT: u64 = 120;

/// Whose things they are.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    /// The installation.
    pub(crate) owner: String,
    /// The lab.
    pub(crate) lab: String,
    /// The run.
    pub(crate) run: String,
}

/// Docker, for one lab that is up.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: Docker,
    marks: Arc<Marks>,
    expires: u64,
    network: String,
    logs: PathBuf,
    ledger: Arc<Ledger>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("marks", &self.marks).field("logs", &self.logs).finish_non_exhaustive()
    }
}

impl Engine {
    /// Connects to the Docker that `DOCKER_HOST` names, or the one of this machine.
    ///
    /// # Errors
    /// `NoDocker`: it is not there, is too old, may not be used or does not answer; with the remedy.
    pub(crate) async fn connect() -> Result<Docker, EnvError> {
        connect_to(&host()).await
    }

    /// Docker for a lab: what is made from here on carries its marks and stands in its ledger; output of containers goes to `logs`.
    pub(crate) fn new(docker: Docker, marks: Marks, logs: PathBuf, ledger: Arc<Ledger>) -> Self {
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let network = name_of(&marks.owner, &marks.lab, "net");
        Self { docker, marks: Arc::new(marks), expires: now + LIFETIME.as_secs(), network, logs, ledger }
    }

    /// The connection itself.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The lab's ledger.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Where the output of a thing's container is.
    pub(crate) fn log(&self, thing: &str) -> PathBuf {
        self.logs.join(format!("{thing}.log"))
    }

    /// What everything of this lab carries. `role` says what it is for: a workload, `store.postgres`.
    pub(crate) fn labels(&self, role: &str) -> HashMap<String, String> {
        let expires = self.expires.to_string();
        let pairs = [
            (OWNER, self.marks.owner.as_str()),
            (LAB, &self.marks.lab),
            (RUN, &self.marks.run),
            (ROLE, role),
            (EXPIRES, &expires),
        ];
        pairs.map(|(label, value)| (label.to_owned(), value.to_owned())).into()
    }

    /// Docker's name for a thing of this lab.
    pub(crate) fn name(&self, thing: &str) -> String {
        name_of(&self.marks.owner, &self.marks.lab, thing)
    }

    /// The name of the network that all containers of this lab are on.
    pub(crate) fn network(&self) -> &str {
        &self.network
    }

    /// Writes into the ledger what is about to be made.
    ///
    /// # Errors
    /// It could not be written; then nothing may be made.
    pub(crate) async fn intend(&self, kind: Thing, name: &str) -> Result<u64, EnvError> {
        let (ledger, run, name) = (Arc::clone(&self.ledger), self.marks.run.clone(), name.to_owned());
        blocking(move || ledger.intend(&run, kind, &name)).await
    }

    /// Makes the lab's network. Intent first, so that whoever finds the ledger knows to look at Docker.
    ///
    /// # Errors
    /// Docker did not make it.
    pub(crate) async fn make_network(&self) -> Result<(), EnvError> {
        let id = self.intend(Thing::Network, &self.network).await?;
        let request = NetworkCreateRequest {
            name: self.network.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(self.labels("network")),
            ..NetworkCreateRequest::default()
        };
        let made = ask(SLOW, self.docker.create_network(request)).await;
        self.settle(id, &made);
        made.map(drop).asked(|| format!("make network {}", self.network))
    }

    /// The address of this machine on the lab's network, where containers reach what listens here.
    ///
    /// # Errors
    /// Docker does not say.
    pub(crate) async fn gateway(&self) -> Result<String, EnvError> {
        let looking = || format!("say the gateway of network {}", self.network);
        let network = ask(QUICK, self.docker.inspect_network(&self.network, None)).await.asked(looking)?;
        let pools = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let gateway = pools.into_iter().find_map(|pool| pool.gateway);
        gateway.ok_or_else(|| EnvError::Docker {
            doing: looking(),
            source: io::Error::other("it has none; `docker network inspect` shows it").into(),
        })
    }

    /// Makes a volume and gives its name. One that is there already is used as it is.
    ///
    /// # Errors
    /// Docker did not make it.
    pub(crate) async fn make_volume(&self, thing: &str, role: &str) -> Result<String, EnvError> {
        let name = self.name(thing);
        let id = self.intend(Thing::Volume, &name).await?;
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(self.labels(role)),
            ..VolumeCreateRequest::default()
        };
        let made = ask(SLOW, self.docker.create_volume(request)).await;
        self.settle(id, &made);
        made.map(|_| name.clone()).asked(|| format!("make volume {name}"))
    }

    /// Strikes an intent from the ledger when Docker said that nothing was made. After silence it may still be made.
    pub(super) fn settle<T>(&self, id: u64, made: &Result<T, Refusal>) {
        if matches!(made, Err(Refusal::Said { .. })) {
            self.ledger.removed(id);
        }
    }
}

/// Docker's name for a thing of a lab.
pub(crate) fn name_of(owner: &str, lab: &str, thing: &str) -> String {
    format!("lab-{}-{lab}-{thing}", owner.get(..8).unwrap_or(owner))
}

/// Where Docker is looked for.
pub(crate) fn host() -> String {
    let named = std::env::var(HOST_VARIABLE).ok().filter(|host| !host.trim().is_empty());
    named.unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

/// Connects to Docker at `unix://PATH` or `tcp://HOST:PORT`, in the newest version of its API that both sides know.
///
/// # Errors
/// As [`Engine::connect`].
pub(crate) async fn connect_to(host: &str) -> Result<Docker, EnvError> {
    let docker = match host.split_once("://") {
        Some(("unix", path)) if !Path::new(path).exists() => return Err(absent(host)),
        Some(("unix", _)) => Docker::connect_with_unix(host, CLIENT_TIMEOUT, API_DEFAULT_VERSION),
        Some(("tcp" | "http", _)) => Docker::connect_with_http(host, CLIENT_TIMEOUT, API_DEFAULT_VERSION),
        _ => return Err(no_docker(format!("{host} is not a place it can be reached at"), USE_A_SOCKET)),
    };
    let hello = async { docker?.negotiate_version().await };
    let docker = ask(HELLO, hello).await.map_err(|refusal| unreachable(host, &refusal))?;
    let version = docker.client_version();
    if (version.major_version, version.minor_version) < OLDEST_API {
        let problem = format!(
            "the one at {host} speaks API {}.{}, {}.{} is needed",
            version.major_version, version.minor_version, OLDEST_API.0, OLDEST_API.1
        );
        return Err(no_docker(problem, "install Docker 20.10 or newer"));
    }
    Ok(docker)
}

const USE_A_SOCKET: &str = "set DOCKER_HOST to unix://PATH or tcp://HOST:PORT, or unset it";

fn no_docker(problem: String, remedy: &str) -> EnvError {
    EnvError::NoDocker { problem, remedy: remedy.to_owned() }
}

fn absent(host: &str) -> EnvError {
    no_docker(
        format!("there is no {}", host.trim_start_matches("unix://")),
        "install Docker and start it (`systemctl start docker`), or set DOCKER_HOST to where it listens",
    )
}

fn unreachable(host: &str, refusal: &Refusal) -> EnvError {
    match (refusal, refusal.io()) {
        (Refusal::Silent(limit), _) => no_docker(
            format!("{host} did not answer within {limit:?}"),
            "see whether `docker version` answers, and restart Docker if it does not",
        ),
        (_, Some(io::ErrorKind::PermissionDenied)) => no_docker(
            format!("{host} may not be used by this user"),
            "join its group (`sudo usermod -aG docker $USER`, then log in again), or run as root",
        ),
        (_, Some(io::ErrorKind::NotFound)) => absent(host),
        (_, Some(io::ErrorKind::ConnectionRefused)) => {
            no_docker(format!("nobody listens at {host}"), "start Docker (`systemctl start docker`)")
        }
        (refusal, _) => {
            let problem = format!("{host} did not say which version it is: {refusal}");
            no_docker(problem, "see whether `docker version` answers")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(host: &str) -> String {
        let begun = std::time::Instant::now();
        let error = connect_to(host).await.unwrap_err();
        assert!(begun.elapsed() < HELLO * 2, "{:?}", begun.elapsed());
        assert!(matches!(&error, EnvError::NoDocker { remedy, .. } if !remedy.is_empty()), "{error:?}");
        error.to_string()
    }

    #[tokio::test]
    async fn a_docker_that_cannot_be_used_is_told_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let socket = |name: &str| format!("unix://{}", folder.path().join(name).display());
        assert!(refused(&socket("nowhere")).await.contains("install Docker"));
        assert!(refused("ssh://there").await.contains("DOCKER_HOST"));
        // Bound and gone: the file stays, nobody listens.
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("left")).unwrap());
        assert!(refused(&socket("left")).await.contains("nobody listens"));
        let silent = std::os::unix::net::UnixListener::bind(folder.path().join("silent")).unwrap();
        assert!(refused(&socket("silent")).await.contains("did not answer within 5s"));
        drop(silent);
    }

    #[tokio::test]
    async fn a_docker_that_is_too_old_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let body = r#"{"Version":"19.3","ApiVersion":"1.40"}"#;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        });
        let told = refused(&format!("unix://{}", path.display())).await;
        assert!(told.contains("API 1.40, 1.41 is needed; install Docker 20.10"), "{told}");
    }
}
