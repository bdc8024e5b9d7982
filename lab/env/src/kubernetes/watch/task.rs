//! The task that owns what is known of a lab's pods: it hears the watch and what is wanted, publishes and announces.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use lab_core::control::{Endpoint, Targets};
use lab_core::event::Kind;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

use super::act::Job;
use super::{Snapshot, Wanted};
use crate::kubernetes::cluster::Cluster;
use crate::kubernetes::crew::{Crew, PORT};
use crate::kubernetes::forward::Forward;
use crate::kubernetes::render::PART_OF;
use crate::kubernetes::sight::{CONTAINER, Sight};
use crate::replicas::announce;
use crate::{EventSink, GeneratorAddress};

/// A cluster that cannot be watched for so long is worth a warning.
const STALE: Duration = Duration::from_secs(8);
/// First and longest pause before a watch that broke begins again: what is shown is old meanwhile.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// One workload, in the task's hands.
pub(super) struct Stage {
    pub(super) crew: Crew,
    /// What was last seen of what is wanted.
    pub(super) wanted: Wanted,
    /// The way from this machine to each replica that runs.
    pub(super) forwards: BTreeMap<String, Forward>,
    pub(super) endpoints: watch::Sender<Vec<Endpoint>>,
    pub(super) lists: watch::Sender<Targets>,
    /// Lists are pushed to generators, and announced by whoever pushes.
    pub(super) pushed: bool,
    pub(super) generators: Option<(watch::Sender<Vec<GeneratorAddress>>, SecretString)>,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) jobs: mpsc::Sender<Job>,
}

/// The task.
pub(super) struct Task {
    pub(super) cluster: Cluster,
    pub(super) stages: BTreeMap<&'static str, Stage>,
    pub(super) wanted: watch::Receiver<BTreeMap<&'static str, Wanted>>,
    pub(super) events: EventSink,
    pub(super) src: &'static str,
    /// Where the output of pods goes.
    pub(super) logs: PathBuf,
    pub(super) stop: CancellationToken,
}

const STALE_VIEW: &str = "the cluster's API does not answer; what is shown of replicas is as it was before";

/// Whether the view is as the cluster is.
#[derive(Debug, Default)]
struct Health {
    /// Since when it cannot be watched.
    since: Option<Instant>,
    warned: bool,
}

impl Task {
    /// Until `stop`.
    pub(super) async fn run(mut self) {
        let (stop, mut wanted) = (self.stop.clone(), self.wanted.clone());
        let config = watcher::Config::default().labels(&format!("{PART_OF}=lab"));
        let mut pods = pin!(watcher::watcher(self.cluster.api::<Pod>(), config).backoff(Pause(AGAIN.0)));
        let (mut health, mut listed) = (Health::default(), BTreeSet::new());
        // What is wanted may have come before this task.
        wanted.mark_changed();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = wanted.changed() => {
                    let all = wanted.borrow_and_update().clone();
                    self.take(&all).await;
                }
                event = pods.next() => match event {
                    Some(Ok(event)) => {
                        self.well(&mut health).await;
                        self.hear(event, &mut listed).await;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the watch of pods broke; it goes on");
                        health.since.get_or_insert_with(Instant::now);
                    }
                    None => return,
                },
                () = sleep_until(health.due().into()), if health.is_unnoticed() => {
                    health.warned = true;
                    self.tell(vec![Kind::Warning { text: STALE_VIEW.to_owned() }]).await;
                }
            }
        }
    }

    async fn take(&mut self, all: &BTreeMap<&'static str, Wanted>) {
        let names: Vec<&'static str> = self.stages.keys().copied().collect();
        for name in names {
            let Some(wanted) = all.get(name) else { continue };
            let Some(stage) = self.stages.get_mut(name).filter(|stage| stage.wanted != *wanted) else { continue };
            // A deploy tells the cluster itself.
            let is_deploy = stage.wanted.deploy != wanted.deploy;
            let changed = stage.crew.wanted() != wanted.replicas;
            stage.wanted = wanted.clone();
            let driving = stage.generators.as_ref().map(|(generators, _)| generators.borrow().clone());
            let (told, going) = stage.crew.want(wanted.replicas, &wanted.cause);
            self.tell(told).await;
            let version = self.publish(name).await;
            if !is_deploy
                && changed
                && let Some(stage) = self.stages.get(name)
            {
                let driving =
                    driving.into_iter().flatten().filter(|address| going.contains(&address.replica)).collect();
                let job = Job { replicas: wanted.replicas, going, version, driving };
                if let Err(error) = stage.jobs.try_send(job) {
                    tracing::warn!(%error, workload = name, "an order to scale is lost");
                }
            }
        }
    }

    async fn hear(&mut self, event: Event<Pod>, listed: &mut BTreeSet<String>) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(pod) => {
                listed.extend(pod.metadata.name.clone());
                self.see(&pod).await;
            }
            Event::InitDone => {
                let all = self.stages.iter();
                let known = all.flat_map(|(name, stage)| stage.crew.names().map(move |pod| (*name, pod.to_owned())));
                let missing: Vec<_> = known.filter(|(_, pod)| !listed.contains(pod)).collect();
                for (name, pod) in missing {
                    self.gone(name, &pod, None).await;
                }
            }
            Event::Apply(pod) => self.see(&pod).await,
            Event::Delete(pod) => {
                let Some(sight) = Sight::of(&pod) else { return };
                let name = self.stages.keys().copied().find(|name| *name == sight.workload);
                if let Some(name) = name {
                    self.gone(name, &sight.name.clone(), Some(&sight)).await;
                }
            }
        }
    }

    async fn see(&mut self, pod: &Pod) {
        let Some(sight) = Sight::of(pod) else { return };
        let Some(name) = self.stages.keys().copied().find(|name| *name == sight.workload) else { return };
        let Some(stage) = self.stages.get_mut(name) else { return };
        let told = stage.crew.see(&sight, Instant::now());
        let starts = told.iter().any(|kind| matches!(kind, Kind::ReplicaStarted { .. }));
        if starts {
            match Forward::open(self.cluster.api(), &sight.name, PORT).await {
                Ok(forward) => drop(stage.forwards.insert(sight.name.clone(), forward)),
                Err(error) => tracing::warn!(%error, "this machine does not reach a replica"),
            }
            let (pods, path) = (self.cluster.api(), self.logs.join(format!("{}.log", sight.name)));
            let (stop, pod) = (self.stop.clone(), sight.name.clone());
            tokio::spawn(async move { stop.run_until_cancelled(follow(pods, &pod, &path)).await });
        }
        self.tell(told).await;
        self.publish(name).await;
    }

    async fn gone(&mut self, name: &'static str, pod: &str, last: Option<&Sight>) {
        let Some(stage) = self.stages.get_mut(name) else { return };
        let told = stage.crew.gone(pod, last, Instant::now());
        // Off every list before it is told to be gone.
        self.publish(name).await;
        if let Some(stage) = self.stages.get_mut(name) {
            stage.forwards.remove(pod);
        }
        self.tell(told).await;
        self.publish(name).await;
    }

    /// Publishes what is known of a workload; endpoints first: who learns from the snapshot that a replica is ready finds it there. Gives
    /// the version of the list that holds now.
    async fn publish(&self, name: &'static str) -> u64 {
        let Some(stage) = self.stages.get(name) else { return 0 };
        let endpoints = stage.crew.endpoints();
        let mut version = stage.lists.borrow().version;
        if stage.lists.borrow().endpoints != endpoints {
            version += 1;
            stage.lists.send_replace(Targets { version, endpoints: endpoints.clone() });
            let here: Vec<Endpoint> = endpoints.iter().filter_map(|endpoint| stage.here(endpoint)).collect();
            if let Some((generators, token)) = &stage.generators {
                generators.send_replace(here.iter().map(|endpoint| generator(endpoint, token)).collect());
            }
            stage.endpoints.send_replace(here);
            if !stage.pushed {
                let kind = Kind::EndpointsChanged { workload: name.to_owned(), version, endpoints };
                announce(&self.events, self.src, kind).await;
            }
        }
        let (deploy, states, stuck) = (stage.wanted.deploy, stage.crew.states(), stage.crew.stuck());
        stage.snapshot.send_replace(Arc::new(Snapshot { deploy, states, stuck }));
        version
    }

    async fn tell(&self, told: Vec<Kind>) {
        for kind in told {
            announce(&self.events, self.src, kind).await;
        }
    }

    async fn well(&self, health: &mut Health) {
        let Health { since, warned } = std::mem::take(health);
        if let (Some(since), true) = (since, warned) {
            let away = since.elapsed().as_secs();
            let text = format!("the cluster's API answers again after {away} s; what is shown of replicas is current");
            announce(&self.events, self.src, Kind::Warning { text }).await;
        }
    }
}

/// Longer each time, until something was heard.
struct Pause(Duration);

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = AGAIN.1.min(self.0 * 2);
        Some(std::mem::replace(&mut self.0, next))
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.0 = AGAIN.0;
    }
}

impl Health {
    /// When it is worth a warning.
    fn due(&self) -> Instant {
        self.since.unwrap_or_else(Instant::now) + STALE
    }

    fn is_unnoticed(&self) -> bool {
        self.since.is_some() && !self.warned
    }
}

impl Stage {
    /// The same replica, where this machine reaches it.
    fn here(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        let forward = self.forwards.get(&endpoint.replica)?;
        Some(Endpoint { replica: endpoint.replica.clone(), address: forward.address().to_string() })
    }
}

fn generator(endpoint: &Endpoint, token: &SecretString) -> GeneratorAddress {
    let url = format!("http://{}", endpoint.address);
    GeneratorAddress { replica: endpoint.replica.clone(), url, token: token.clone() }
}

/// Writes what a pod says into a file, for as long as it says anything: its own log goes with it.
async fn follow(pods: Api<Pod>, pod: &str, path: &Path) {
    let params = LogParams { follow: true, container: Some(CONTAINER.to_owned()), ..LogParams::default() };
    let written = async {
        let stream = pods.log_stream(pod, &params).await.map_err(std::io::Error::other)?;
        let mut file = tokio::fs::File::create(path).await?;
        tokio::io::copy(&mut stream.compat(), &mut file).await
    };
    if let Err(error) = written.await {
        tracing::debug!(%error, pod, "its log is not written on");
    }
}
