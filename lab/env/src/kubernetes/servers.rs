//! The backing servers of a lab in a cluster: their Secrets, and waiting until each answers a pod that asks with its own driver. What they are
//! stands in the manifests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, LogParams};
use lab_core::event::ImageSeen;
use lab_core::fault::Injury;
use lab_core::spec::{Role, Server};
use tokio::time::sleep;

use super::call::{Asked as _, QUICK, SLOW, ask};
use super::cluster::Cluster;
use super::forward::Forward;
use super::render::{Values, probe, probe_name};
use super::secrets::host;
use super::sight::Sight;
use super::why::why;
use crate::backing::recipe::recipe;
use crate::backing::{Found, Probed};
use crate::{Beside, EnvError};

/// How long a server may take from its start until it answers: its image may have to come first.
const ANSWERS: Duration = Duration::from_secs(240);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(300);

/// The servers of a lab that is up.
#[derive(Debug, Default)]
pub(super) struct Servers(Vec<Running>);

#[derive(Debug)]
struct Running {
    server: Server,
    beside: Beside,
    _forward: Forward,
}

/// The only pod of a server.
fn pod_of(server: Server) -> String {
    format!("{}-0", host(server))
}

impl Servers {
    /// Waits until all answer; `addresses` are as services reach them.
    ///
    /// # Errors
    /// One does not answer; with what the cluster reported of it.
    pub(super) async fn answer(
        cluster: &Cluster,
        values: &Values<'_>,
        addresses: &BTreeMap<String, String>,
    ) -> Result<(Self, Vec<Found>), EnvError> {
        let all = values.servers.iter().map(|server| async move {
            let (probed, image) = asked(cluster, values, *server).await?;
            let pods = cluster.api();
            let forward = Forward::open(pods, &pod_of(*server), recipe(*server).port).await?;
            let beside = Beside {
                name: server.name(),
                engine: probed.server.clone(),
                fidelity: probed.promises.fidelity,
                address: forward.address().to_string(),
            };
            let address = addresses.get(&server.name()).cloned().unwrap_or_default();
            let found = Found { server: *server, address, probed, image };
            Ok::<_, EnvError>((Running { server: *server, beside, _forward: forward }, found))
        });
        let (running, found) = try_join_all(all).await?.into_iter().unzip();
        Ok((Self(running), found))
    }

    /// Where those that were started answer on this machine.
    pub(super) fn beside(&self) -> impl Iterator<Item = Beside> {
        self.0.iter().map(|running| running.beside.clone())
    }

    /// Kills every server of a role; each is started anew by the cluster, with what it had stored.
    ///
    /// # Errors
    /// There is none, or something else than a kill was asked for.
    pub(super) async fn fault(&self, cluster: &Cluster, role: Role, injury: Injury) -> Result<Vec<String>, EnvError> {
        if injury != Injury::Kill {
            return Err(EnvError::CannotInjure { target: role.name().to_owned(), done: injury.done() });
        }
        let hit: Vec<Server> = self.0.iter().map(|running| running.server).filter(|s| s.role() == role).collect();
        if hit.is_empty() {
            return Err(EnvError::NothingToHit(role.name().to_owned()));
        }
        let killed = join_all(hit.iter().map(|server| kill(cluster, pod_of(*server)))).await;
        killed.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(hit.iter().map(|server| server.name()).collect())
    }
}

/// Removes a pod without giving it time to end.
///
/// # Errors
/// It is not there, or the cluster refuses.
pub(super) async fn kill(cluster: &Cluster, pod: String) -> Result<(), EnvError> {
    let params = DeleteParams::default().grace_period(0);
    ask(QUICK, cluster.api::<Pod>().delete(&pod, &params)).await.map(drop).asked(|| format!("kill {pod}"))
}

/// What a server says of itself, to a pod that stands where services do, and the image that it runs.
async fn asked(
    cluster: &Cluster,
    values: &Values<'_>,
    server: Server,
) -> Result<(Probed, Option<ImageSeen>), EnvError> {
    let (pods, name, serves) = (cluster.api::<Pod>(), probe_name(server), pod_of(server));
    cluster.apply(&probe(values, server, ANSWERS)).await?;
    let until = Instant::now() + ANSWERS;
    loop {
        let looking = || format!("say whether {server} answers");
        let (asking, serving) = tokio::join!(ask(QUICK, pods.get(&name)), ask(QUICK, pods.get_opt(&serves)),);
        let (asking, serving) = (asking.asked(looking)?, serving.asked(looking)?);
        let phase = asking.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        if phase == "Succeeded" {
            let probed = said(cluster, server).await?;
            // It has done its work; the sweep would remove it as well.
            drop(ask(SLOW, pods.delete(&name, &DeleteParams::default().grace_period(0))).await);
            return Ok((probed, serving.as_ref().and_then(image)));
        }
        let hopeless = [Some(&asking), serving.as_ref()].into_iter().flatten().find_map(|pod| {
            let sight = Sight::of(pod)?;
            Some((sight.hopeless()?, sight.name))
        });
        let (stuck, pod) = match hopeless {
            Some((why, pod)) => (why, pod),
            None if phase == "Failed" => (String::new(), name.clone()),
            None if Instant::now() >= until => (format!("no answer within {ANSWERS:?}"), serves),
            None => {
                sleep(LOOK).await;
                continue;
            }
        };
        let more = why(cluster, &pod, Some(&pod)).await;
        let parts = [stuck, more].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        return Err(EnvError::Stuck { what: server.name(), waited: ANSWERS - (until - Instant::now()), why: parts });
    }
}

/// What the pod that asked has printed.
async fn said(cluster: &Cluster, server: Server) -> Result<Probed, EnvError> {
    let name = probe_name(server);
    let text = ask(QUICK, cluster.api::<Pod>().logs(&name, &LogParams::default())).await;
    let text = text.asked(|| format!("tell what {server} is"))?;
    let probed = text.lines().rev().find_map(|line| serde_json::from_str(line.trim()).ok());
    probed.ok_or_else(|| EnvError::Api {
        who: server.name(),
        what: "say what it is".to_owned(),
        source: std::io::Error::other(format!("its probe said: {}", text.trim())).into(),
    })
}

/// The image that a pod's first container runs, with its content where the node knows it.
fn image(pod: &Pod) -> Option<ImageSeen> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let asked = pod.spec.as_ref()?.containers.first()?.image.clone()?;
    let digest = container.image_id.rsplit('@').next().unwrap_or_default();
    Some(ImageSeen { name: asked, digest: digest.to_owned() })
}
