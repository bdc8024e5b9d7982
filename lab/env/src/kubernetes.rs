//! The environment `kubernetes`: services and backing servers are pods in a namespace of their own, on the cluster that a context names. The
//! only room that speaks to clusters.

pub mod adapter_tls;
pub(crate) mod call;
mod check;
pub(crate) mod cluster;
mod crew;
mod forward;
pub(crate) mod render;
pub mod secrets;
mod servers;
mod sight;
pub(crate) mod sweep;
mod usage;
mod watch;
mod why;
mod within;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use lab_core::control::Endpoint;
use lab_core::event::ReplicaUsage;
use lab_core::fault::{FaultTarget, Injury};
use lab_core::spec::{EnvironmentKind, Server, Spec};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::sync::{Mutex, watch as channel};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::cluster::ClusterRef;
pub use self::within::make_secrets;

use self::check::About;
use self::cluster::{Cluster, NamespaceRef, namespace_of};
use self::crew::PORT;
use self::render::{Rendered, Values};
use self::secrets::{ACCESS, BACKING};
use self::servers::Servers;
use self::watch::{Settled, Watched};
use crate::backing::{self, Addresses, Ready};
use crate::docker::engine::Marks;
use crate::hold::{DEFAULT_LOAD_FILE, Ground, Hold};
use crate::home::check_name;
use crate::ledger::Thing;
use crate::local::LocalConfig;
use crate::replicas::{Places, Template, announce};
use crate::system::{Doing as _, blocking, to_its_end};
use crate::{Beside, EnvError, Environment, Finding, GeneratorAddress, Removal, ReplicaState};

/// Who announces.
const SRC: &str = "env.kubernetes";
/// Where services find the token, and the addresses of servers, as the manifests mount them.
const ACCESS_MOUNT: &str = "/run/secrets/lab";
const BACKING_MOUNT: &str = "/run/secrets/backing";
/// Where SQLite files are.
const DATA: &str = "/data";
/// How long pods may take to be scheduled, get their image and answer: longer than a process of this machine.
const READY: Duration = Duration::from_secs(120);
/// Threads of a replica without a limit, on nodes that cannot be seen.
const CORES: u32 = 2;

/// What an environment on a cluster is made of.
#[derive(Debug, Clone)]
pub struct KubernetesConfig {
    /// As for any environment of this machine.
    pub lab: LocalConfig,
    /// The cluster; None: nobody named one, which `check` finds.
    pub cluster: Option<ClusterRef>,
    /// The image of services, as the cluster's nodes know it.
    pub image: Option<String>,
}

/// Pods as replicas. Dropping it without `down` ends them all the same: its reaper sees to that.
#[derive(Debug)]
pub struct KubernetesEnvironment {
    inner: Arc<Inner>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Inner {
    config: KubernetesConfig,
    ground: Ground,
    up: Mutex<Option<Up>>,
    watched: Watched,
    /// Written by `up`, read by `deploy`.
    furnished: channel::Sender<Option<Arc<Furnished>>>,
    /// Written by `up` and `down`.
    beside: channel::Sender<Vec<Beside>>,
}

/// A lab that is up.
#[derive(Debug)]
struct Up {
    hold: Hold,
    servers: Servers,
}

/// What workloads are deployed with.
#[derive(Debug)]
struct Furnished {
    cluster: Cluster,
    rendered: Rendered,
    addresses: Addresses,
    cores: u32,
}

impl KubernetesEnvironment {
    /// An environment that is not up; nothing is made, read or asked yet.
    ///
    /// # Errors
    /// The lab's name is not 1 to 40 of `a-z 0-9 -`.
    pub fn new(config: KubernetesConfig) -> Result<Self, EnvError> {
        check_name(&config.lab.lab_name)?;
        let stop = CancellationToken::new();
        let ground = config.lab.ground(None);
        let watched = Watched::new(SRC, config.lab.events.clone(), stop.clone());
        let (furnished, _) = channel::channel(None);
        let (beside, _) = channel::channel(Vec::new());
        let inner = Inner { config, ground, up: Mutex::new(None), watched, furnished, beside };
        Ok(Self { inner: Arc::new(inner), _stop: stop.drop_guard() })
    }
}

#[async_trait]
impl Environment for KubernetesEnvironment {
    fn kind(&self) -> EnvironmentKind {
        EnvironmentKind::Kubernetes
    }

    async fn check(&self, spec: &Spec) -> Vec<Finding> {
        let inner = Arc::clone(&self.inner);
        let of_the_machine = blocking(move || {
            let (exe, home) = (&inner.ground.exe, &inner.ground.home);
            Ok((crate::check::of_the_machine(exe, home), home.owner()?))
        });
        let (mut findings, owner) = match of_the_machine.await {
            Ok(found) => found,
            Err(error) => return vec![Finding::of(&error)],
        };
        let config = &self.inner.config;
        match self.inner.cluster() {
            Ok(cluster) => {
                let image = config.image.as_deref();
                findings.extend(check::check(cluster, &owner, &config.lab.lab_name, image, spec).await);
            }
            Err(EnvError::NoCluster { problem, remedy }) => findings.extend(crate::check::fatal(problem, &remedy)),
            Err(error) => findings.push(Finding::of(&error)),
        }
        findings.extend(backing::check(spec, &config.lab.endpoints, EnvironmentKind::Kubernetes));
        findings
    }

    async fn up(&self, spec: &Spec) -> Result<(), EnvError> {
        to_its_end(Arc::clone(&self.inner).up(spec.clone())).await
    }

    async fn deploy(&self, spec: &Spec, workload: &str) -> Result<(), EnvError> {
        self.inner.deploy(spec, workload).await
    }

    async fn scale(&self, workload: &str, replicas: u32, cause: &str) -> Result<(), EnvError> {
        self.inner.watched.scale(workload, replicas, cause)
    }

    async fn wanted(&self, workload: &str) -> Result<u32, EnvError> {
        self.inner.watched.wanted(workload)
    }

    async fn replicas(&self, workload: &str) -> Result<Vec<ReplicaState>, EnvError> {
        self.inner.watched.states(workload)
    }

    /// Where this machine reaches them, through the cluster's API. Generators get the pods' own addresses.
    fn endpoints(&self, workload: &str) -> Result<channel::Receiver<Vec<Endpoint>>, EnvError> {
        self.inner.watched.endpoints(workload)
    }

    async fn observe(&self, workload: &str) -> Result<Vec<ReplicaUsage>, EnvError> {
        self.inner.watched.observe(workload).await
    }

    fn generators(&self) -> channel::Receiver<Vec<GeneratorAddress>> {
        self.inner.watched.generators()
    }

    fn beside(&self) -> Vec<Beside> {
        self.inner.beside.borrow().clone()
    }

    async fn fault(&self, target: &FaultTarget, injury: Injury) -> Result<Vec<String>, EnvError> {
        match target {
            FaultTarget::Workload(workload) => self.inner.hit(workload, injury).await,
            FaultTarget::Role(role) => {
                let cluster = self.inner.furnished()?.cluster.clone();
                match &*self.inner.up.lock().await {
                    Some(up) => up.servers.fault(&cluster, *role, injury).await,
                    None => Err(EnvError::NothingToHit(role.name().to_owned())),
                }
            }
        }
    }

    async fn kill(&self, replica: &str) -> Result<(), EnvError> {
        servers::kill(&self.inner.furnished()?.cluster, replica.to_owned()).await
    }

    async fn down(&self) -> Result<Removal, EnvError> {
        to_its_end(Arc::clone(&self.inner).down()).await
    }
}

impl Inner {
    fn cluster(&self) -> Result<&ClusterRef, EnvError> {
        self.config.cluster.as_ref().ok_or_else(|| EnvError::NoCluster {
            problem: "nobody has named a context of a cluster, and the current one is never taken".to_owned(),
            remedy: "name one with --env context:NAME; `kubectl config get-contexts` shows what there is".to_owned(),
        })
    }

    fn furnished(&self) -> Result<Arc<Furnished>, EnvError> {
        let furnished = self.furnished.borrow().clone();
        furnished.ok_or_else(|| EnvError::NoCluster {
            problem: format!("lab `{}` is not up", self.config.lab.lab_name),
            remedy: "bring it up first".to_owned(),
        })
    }

    async fn up(self: Arc<Self>, spec: Spec) -> Result<(), EnvError> {
        let mut slot = self.up.lock().await;
        if slot.is_some() {
            return Ok(());
        }
        // A cluster that cannot be used is told before anything is made.
        let place =
            NamespaceRef { namespace: namespace_of(&self.config.lab.lab_name), cluster: self.cluster()?.clone() };
        let client = place.cluster.connect().await?;
        let about = check::about(&client).await.map_err(|why| EnvError::NoCluster {
            problem: format!("the cluster of context `{}` does not answer: {why}", place.cluster.context),
            remedy: format!("see whether `kubectl --context {} version` answers", place.cluster.context),
        })?;
        let taker = Arc::clone(&self);
        let hold = blocking(move || Hold::take(&taker.ground)).await?;
        let marks =
            Marks { owner: hold.owner.clone(), lab: hold.lab().name().to_owned(), run: self.ground.run_id.clone() };
        let cluster = Cluster::new(client, &marks);
        match self.furnish(&spec, &hold, (cluster, &place, &about)).await {
            Ok(servers) => {
                self.beside.send_replace(servers.beside().collect());
                *slot = Some(Up { hold, servers });
                Ok(())
            }
            Err(error) => {
                self.watched.end().await;
                self.furnished.send_replace(None);
                hold.abandon().await;
                Err(error)
            }
        }
    }

    /// Namespace, Secrets and servers, then the watch of the workloads.
    async fn furnish(
        &self,
        spec: &Spec,
        hold: &Hold,
        (cluster, place, about): (Cluster, &NamespaceRef, &About),
    ) -> Result<Servers, EnvError> {
        self.make_namespace(&cluster, hold, place).await?;
        let ready = self.ready(hold);
        ready.prepare().await?;
        let endpoints = &self.config.lab.endpoints;
        let ((), given) = tokio::try_join!(ready.embedded(spec), ready.given(spec, endpoints))?;
        let own: Vec<Server> = spec.servers().into_iter().filter(|server| endpoints.get(*server).is_none()).collect();
        let mut secrets = secrets::of_servers(&own)?;
        let load = self.ground.default_load.clone();
        let token = hold.token.expose_secret().to_owned();
        secrets.insert(
            ACCESS.0.to_owned(),
            BTreeMap::from([(ACCESS.1.to_owned(), token), (DEFAULT_LOAD_FILE.to_owned(), load)]),
        );
        if let Some(backing) = secrets.get_mut(BACKING) {
            backing.extend(given.iter().map(|found| (found.server.name(), found.address.clone())));
        }
        try_join_all(secrets.iter().map(|(name, values)| cluster.make_secret(name, values))).await?;
        let image = self.config.image.as_deref().ok_or_else(no_image)?;
        let (namespace, labels) = (cluster.namespace().to_owned(), cluster.labels().clone());
        let values = Values { spec, namespace: &namespace, labels: &labels, image, servers: &own };
        let rendered = Rendered::of(&values).map_err(std::io::Error::other);
        let rendered = rendered.doing(|| "render the manifests".to_owned())?;
        apply_all(&cluster, &rendered.common).await?;
        let addresses = secrets.remove(BACKING).unwrap_or_default();
        let (servers, mut found) = Servers::answer(&cluster, &values, &addresses).await?;
        found.extend(given);
        found.sort_by_key(|found| found.server);
        let addresses = ready.tell(spec, found).await?;
        for fidelity in check::fidelity(&place.cluster.context, about, spec) {
            announce(&self.config.lab.events, SRC, fidelity).await;
        }
        self.watched.start(spec, &cluster, &hold.token, self.ground.logs());
        let cores = about.cores.unwrap_or(CORES);
        self.furnished.send_replace(Some(Arc::new(Furnished { cluster, rendered, addresses, cores })));
        Ok(servers)
    }

    /// Intent first, so that whoever finds the ledger knows where to look. One of ours of which the ledger did not know goes before.
    async fn make_namespace(&self, cluster: &Cluster, hold: &Hold, place: &NamespaceRef) -> Result<(), EnvError> {
        let (ledger, run, name) = (Arc::clone(&hold.ledger), self.ground.run_id.clone(), place.to_name());
        blocking(move || ledger.intend(&run, Thing::Namespace, &name)).await?;
        sweep::remove(cluster.client(), &hold.owner, hold.lab().name(), &place.namespace).await?;
        cluster.make_namespace().await
    }

    fn ready(&self, hold: &Hold) -> Ready {
        let places = backing::Places {
            files: hold.lab().path().join("backing"),
            seen: BACKING_MOUNT.into(),
            owner: None,
            own: hold.lab().path().join("own"),
        };
        Ready::new(&self.ground, hold, places, (&self.config.lab.events, SRC))
    }

    async fn deploy(&self, spec: &Spec, workload: &str) -> Result<(), EnvError> {
        let furnished = self.furnished()?;
        let places = Places {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
            data: DATA.into(),
            token: Path::new(ACCESS_MOUNT).join(ACCESS.1),
            default_load: Path::new(ACCESS_MOUNT).join(DEFAULT_LOAD_FILE),
            addresses: furnished.addresses.clone(),
        };
        let template = Template::of(spec, workload, &places, furnished.cores)?;
        let replicas = spec.services.workload(workload).map_or(0, |common| common.replicas);
        let unknown = || EnvError::NoSuchWorkload(workload.to_owned());
        let objects = furnished.rendered.workload(&template, replicas).ok_or_else(unknown)?;
        let begun = Instant::now();
        self.watched.begin(workload, replicas).await?;
        apply_all(&furnished.cluster, &objects).await?;
        let limit = self.config.lab.limits.ready.max(READY);
        let (what, why) = match self.watched.settled(workload, replicas, limit).await? {
            Settled::Ready => return Ok(()),
            Settled::Stuck(stuck) => (stuck.replica, stuck.why),
            Settled::Late(slow) => (slow.unwrap_or_else(|| workload.to_owned()), String::new()),
        };
        let pod = (what != workload).then_some(what.as_str());
        let reported = why::why(&furnished.cluster, workload, pod).await;
        let why = [why, reported].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        let waited = begun.elapsed();
        self.watched.scale(workload, 0, "deploy failed")?;
        Err(EnvError::Stuck { what, waited, why })
    }

    /// Hits the newest ready replica of a workload; gives its name.
    async fn hit(&self, workload: &str, injury: Injury) -> Result<Vec<String>, EnvError> {
        if injury != Injury::Kill {
            return Err(EnvError::CannotInjure { target: workload.to_owned(), done: injury.done() });
        }
        let states = self.watched.states(workload)?;
        let newest = states.into_iter().rev().find(|state| state.ready == Some(true));
        let Some(ReplicaState { replica, .. }) = newest else {
            return Err(EnvError::NothingToHit(workload.to_owned()));
        };
        servers::kill(&self.furnished()?.cluster, replica.clone()).await?;
        Ok(vec![replica])
    }

    async fn down(self: Arc<Self>) -> Result<Removal, EnvError> {
        let mut slot = self.up.lock().await;
        self.watched.end().await;
        self.furnished.send_replace(None);
        self.beside.send_replace(Vec::new());
        if let Some(Up { hold, .. }) = slot.as_ref() {
            self.ready(hold).leave().await;
        }
        let hold = slot.take().map(|up| up.hold);
        self.ground.let_go(hold, &self.config.lab.events, SRC).await
    }
}

fn no_image() -> EnvError {
    EnvError::NoCluster {
        problem: "no image of the services is named that the cluster's nodes can get".to_owned(),
        remedy: "name one in LAB_IMAGE_LAB".to_owned(),
    }
}

/// Makes objects, all at once: none needs another to be there before it.
async fn apply_all(cluster: &Cluster, objects: &[Value]) -> Result<(), EnvError> {
    join_all(objects.iter().map(|object| cluster.apply(object))).await.into_iter().collect()
}
