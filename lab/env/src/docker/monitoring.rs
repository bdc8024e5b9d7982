//! Monitoring beside a lab: a Prometheus that scrapes every ready replica, and a Grafana over it where that image can be had. What they
//! read is `files`; rules and dashboards themselves stand in `manifests/components/monitoring`.

mod files;

use std::time::Duration;

use lab_core::control::Endpoint;
use lab_core::event::{Grade, Kind};
use lab_core::unit::{Bytes, Millicores};
use reqwest::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::files::Folders;
use super::container::{Container, ContainerPlan};
use super::engine::Engine;
use super::pull;
use crate::hold::{Ground, write_secret};
use crate::home::random_hex;
use crate::ledger::Thing;
use crate::replicas::{announce, tail};
use crate::system::{Doing as _, blocking};
use crate::{Beside, EnvError, EventSink};

const PROMETHEUS: Program = Program {
    thing: "prometheus",
    variable: "LAB_IMAGE_PROMETHEUS",
    image: "prom/prometheus:v3",
    port: 9090,
    ready: "/-/ready",
    patience: Duration::from_secs(30),
};
/// Its first start makes a database of its own.
const GRAFANA: Program = Program {
    thing: "grafana",
    variable: "LAB_IMAGE_GRAFANA",
    image: "grafana/grafana:12",
    port: 3000,
    ready: "/api/health",
    patience: Duration::from_secs(60),
};

/// Half a core each at most: what watches the services runs beside them.
const CPU: Millicores = Millicores(500);
const MEMORY: Bytes = Bytes(512 << 20);
/// Where their files appear.
const FILES: &str = "/etc/lab";
const PASSWORD_FILE: &str = "/etc/lab-admin-password";
/// Length of the password, bytes.
const PASSWORD: usize = 16;
/// One question to one of them, and the time until it is asked again.
const QUESTION: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(100);
/// What is kept at most.
const KEPT: [&str; 2] = ["--storage.tsdb.retention.time=24h", "--storage.tsdb.retention.size=1GB"];

/// One of the two programs.
#[derive(Debug)]
struct Program {
    thing: &'static str,
    variable: &'static str,
    image: &'static str,
    port: u16,
    /// What answers 200 once it is ready.
    ready: &'static str,
    patience: Duration,
}

/// Workloads by name, with their ready replicas as these change.
pub(crate) type Scraped = Vec<(&'static str, watch::Receiver<Vec<Endpoint>>)>;

/// Who starts it.
#[derive(Debug)]
pub(crate) struct Starter<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) ground: &'a Ground,
    pub(crate) events: &'a EventSink,
    pub(crate) src: &'static str,
}

/// Monitoring that is up. Dropped: targets are no longer kept; containers are for the sweep.
#[derive(Debug)]
pub(crate) struct Monitoring {
    beside: Vec<Beside>,
    _containers: Vec<Container>,
    _targets: Vec<AbortOnDropHandle<()>>,
}

impl Monitoring {
    /// Starts Prometheus, and Grafana unless its image cannot be had, and waits until they answer.
    ///
    /// # Errors
    /// Prometheus cannot be had or does not become ready. What was made stands in the ledger.
    pub(crate) async fn start(starter: Starter<'_>, workloads: Scraped) -> Result<Self, EnvError> {
        let folders = Folders::within(starter.ground.lab()?.path());
        starter.engine.intend(Thing::Dir, &folders.root().display().to_string()).await?;
        let writer = folders.clone();
        blocking(move || writer.write()).await?;
        let http = Client::builder().no_proxy().timeout(QUESTION).build();
        let http = http.map_err(|error| api(PROMETHEUS.thing, "get asked", error))?;

        let (prometheus, beside) = starter.prometheus(&folders, &http).await?;
        let (mut containers, mut all) = (vec![prometheus], vec![beside]);
        match starter.grafana(&folders, &http).await {
            Ok((grafana, beside)) => {
                containers.push(grafana);
                all.push(beside);
            }
            Err(error) => starter.warn(format!("the lab is up without Grafana: {}", chain(&error))).await,
        }
        let targets = workloads.into_iter().map(|(workload, endpoints)| {
            AbortOnDropHandle::new(tokio::spawn(keep_targets(folders.clone(), workload, endpoints)))
        });
        Ok(Self { beside: all, _containers: containers, _targets: targets.collect() })
    }

    /// What answers people, and where.
    pub(crate) fn beside(&self) -> &[Beside] {
        &self.beside
    }
}

/// Writes targets anew whenever a replica becomes ready or goes.
async fn keep_targets(folders: Folders, workload: &'static str, mut endpoints: watch::Receiver<Vec<Endpoint>>) {
    loop {
        let now = endpoints.borrow_and_update().clone();
        let writer = folders.clone();
        if let Err(error) = blocking(move || writer.write_targets(workload, &now)).await {
            tracing::warn!(error = chain(&error), workload, "its replicas are not scraped");
        }
        if endpoints.changed().await.is_err() {
            return;
        }
    }
}

impl Starter<'_> {
    async fn prometheus(&self, folders: &Folders, http: &Client) -> Result<(Container, Beside), EnvError> {
        let volume = self.engine.make_volume(PROMETHEUS.thing, "monitoring.prometheus").await?;
        let image = self.image(&PROMETHEUS).await?;
        let container = self.engine.start(prometheus(image, folders, volume)).await?;
        let address = self.ready(&PROMETHEUS, &container, http).await?;
        let version = prometheus_version(http, &address).await.unwrap_or_default();
        let engine = format!("Prometheus {version}").trim_end().to_owned();
        let text = format!("{engine} at {address} scrapes every replica and takes up to half a core from them");
        self.warn(text).await;
        Ok((container, Beside { name: "monitoring.prometheus".to_owned(), engine, fidelity: Grade::Real, address }))
    }

    async fn grafana(&self, folders: &Folders, http: &Client) -> Result<(Container, Beside), EnvError> {
        let image = self.image(&GRAFANA).await?;
        let (password, ground) = (folders.password(), self.ground.clone());
        let written = password.clone();
        blocking(move || {
            write_secret(&written, &random_hex(PASSWORD)?).doing(|| format!("write {}", written.display()))?;
            ground.give(&written)
        })
        .await?;
        let user = self.ground.reader.unwrap_or_else(|| rustix::process::getuid().as_raw());
        let container = self.engine.start(grafana(image, folders, user)).await?;
        let address = match self.ready(&GRAFANA, &container, http).await {
            Ok(address) => address,
            Err(error) => {
                container.remove().await?;
                return Err(error);
            }
        };
        let whose = format!("anybody on this machine may look; the password of `admin` is in {}", password.display());
        self.warn(format!("Grafana at {address}: {whose}")).await;
        let (name, engine, fidelity) = ("monitoring.grafana".to_owned(), "Grafana".to_owned(), Grade::Real);
        Ok((container, Beside { name, engine, fidelity, address }))
    }

    /// The program's image, pulled when it is not here.
    async fn image(&self, program: &Program) -> Result<String, EnvError> {
        let named = std::env::var(program.variable).ok().filter(|name| !name.trim().is_empty());
        let image = named.unwrap_or_else(|| program.image.to_owned());
        // A full channel only means that a sentence about progress is left out.
        let tell = |text| {
            drop(self.events.try_send(crate::Seen { src: self.src.to_owned(), at: None, kind: Kind::Warning { text } }))
        };
        pull::ensure(self.engine.docker(), &image, program.variable, tell).await?;
        Ok(image)
    }

    /// Waits until it answers; gives where it does on this machine.
    async fn ready(&self, program: &Program, container: &Container, http: &Client) -> Result<String, EnvError> {
        let Some(port) = container.published.get(&program.port) else {
            return Err(api(program.thing, "get a port on 127.0.0.1", std::io::Error::other("Docker gave it none")));
        };
        let address = format!("http://127.0.0.1:{port}");
        let url = format!("{address}{}", program.ready);
        let (began, log) = (Instant::now(), self.engine.log(program.thing));
        let answers = async {
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                sleep(AGAIN).await;
            }
        };
        tokio::select! {
            answered = timeout(program.patience, answers) => match answered {
                Ok(()) => Ok(address),
                Err(_) => Err(EnvError::NotReady { replica: program.thing.to_owned(), waited: began.elapsed(), log }),
            },
            exit = container.wait() => {
                Err(EnvError::Crashed { replica: program.thing.to_owned(), exit, tail: tail(&log) })
            }
        }
    }

    async fn warn(&self, text: String) {
        announce(self.events, self.src, Kind::Warning { text }).await;
    }
}

/// As the image's own user, who may read its files and write its volume, and no more.
fn prometheus(image: String, folders: &Folders, volume: String) -> ContainerPlan {
    let flags = [format!("--config.file={FILES}/prometheus.yml"), "--storage.tsdb.path=/prometheus".to_owned()];
    ContainerPlan {
        thing: PROMETHEUS.thing.to_owned(),
        role: "monitoring.prometheus".to_owned(),
        image,
        args: flags.into_iter().chain(KEPT.map(ToOwned::to_owned)).collect(),
        binds: vec![(folders.prometheus(), FILES.to_owned(), true)],
        volumes: vec![(volume, "/prometheus".to_owned())],
        cpu: Some(CPU),
        memory: Some(MEMORY),
        read_only: true,
        cap_drop_all: true,
        publish: vec![(PROMETHEUS.port, None)],
        aliases: vec![PROMETHEUS.thing.to_owned()],
        ..ContainerPlan::default()
    }
}

/// As the user who owns the password's file. It keeps nothing: dashboards and sources are files, and nothing is asked of the network.
fn grafana(image: String, folders: &Folders, user: u32) -> ContainerPlan {
    let env = [
        ("PROMETHEUS_URL", format!("http://{}:{}", PROMETHEUS.thing, PROMETHEUS.port)),
        ("GF_PATHS_PROVISIONING", format!("{FILES}/provisioning")),
        ("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", format!("{FILES}/dashboards/lab.json")),
        ("GF_SECURITY_ADMIN_PASSWORD__FILE", PASSWORD_FILE.to_owned()),
        ("GF_AUTH_ANONYMOUS_ENABLED", "true".to_owned()),
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer".to_owned()),
        ("GF_USERS_ALLOW_SIGN_UP", "false".to_owned()),
        ("GF_LOG_MODE", "console".to_owned()),
        ("GF_ANALYTICS_ENABLED", "false".to_owned()),
        ("GF_ANALYTICS_REPORTING_ENABLED", "false".to_owned()),
        ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false".to_owned()),
        ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false".to_owned()),
        ("GF_PLUGINS_PREINSTALL_DISABLED", "true".to_owned()),
        ("GF_NEWS_NEWS_FEED_ENABLED", "false".to_owned()),
    ];
    ContainerPlan {
        thing: GRAFANA.thing.to_owned(),
        role: "monitoring.grafana".to_owned(),
        image,
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        binds: vec![(folders.grafana(), FILES.to_owned(), true), (folders.password(), PASSWORD_FILE.to_owned(), true)],
        tmpfs: ["/var/lib/grafana", "/tmp"].map(|path| (path.to_owned(), "size=128m,mode=1777".to_owned())).into(),
        cpu: Some(CPU),
        memory: Some(MEMORY),
        // Group 0 is whom the image lets in for any user.
        user: Some(format!("{user}:0")),
        read_only: true,
        cap_drop_all: true,
        publish: vec![(GRAFANA.port, None)],
        ..ContainerPlan::default()
    }
}

async fn prometheus_version(http: &Client, address: &str) -> Option<String> {
    let answer = http.get(format!("{address}/api/v1/status/buildinfo")).send().await.ok()?;
    let text = answer.text().await.ok()?;
    let said: serde_json::Value = serde_json::from_str(&text).ok()?;
    said["data"]["version"].as_str().map(ToOwned::to_owned)
}

fn api(who: &str, what: &str, source: impl std::error::Error + Send + Sync + 'static) -> EnvError {
    EnvError::Api { who: who.to_owned(), what: what.to_owned(), source: source.into() }
}

/// An error with its causes, for a sentence.
fn chain(error: &EnvError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_no_more_rights_than_they_need_and_no_secret_in_sight() {
        let folders = Folders::within(std::path::Path::new("/labs/x"));
        let (one, two) =
            (prometheus("p".to_owned(), &folders, "v".to_owned()), grafana("g".to_owned(), &folders, 65532));
        for plan in [&one, &two] {
            assert!(plan.read_only && plan.cap_drop_all && plan.cpu.is_some() && plan.memory.is_some(), "{plan:?}");
            assert!(plan.binds.iter().all(|(_, _, read_only)| *read_only));
            assert!(plan.publish.iter().all(|(_, fixed)| fixed.is_none()));
        }
        assert!(one.env.is_empty() && one.args.iter().all(|arg| !arg.contains("lifecycle") && !arg.contains("admin")));
        assert_eq!(two.user.as_deref(), Some("65532:0"));
        let passwords: Vec<_> = two.env.iter().filter(|(name, _)| name.contains("PASSWORD")).collect();
        assert_eq!(passwords, [&("GF_SECURITY_ADMIN_PASSWORD__FILE".to_owned(), PASSWORD_FILE.to_owned())]);
    }
}
