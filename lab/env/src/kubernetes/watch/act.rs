//! What is wanted, told to the cluster: one order of a workload after the other, so that none overtakes the list that has to come first.

use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use lab_core::event::Kind;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::call::{QUICK, Refusal, ask};
use crate::kubernetes::cluster::{Cluster, MANAGER};
use crate::replicas::{LOAD_OVER, OFF_THE_LIST, announce, load_is_over};
use crate::{EventSink, GeneratorAddress};

/// Orders that may wait.
const ORDERS: usize = 64;
/// Between two tries, and how many there are: an API server that restarts is away for about as long.
const AGAIN: (Duration, u32) = (Duration::from_secs(2), 30);

/// An order.
#[derive(Debug)]
pub(super) struct Job {
    /// So many shall there be.
    pub(super) replicas: u32,
    /// Who shall go, the first first.
    pub(super) going: Vec<String>,
    /// The first list of endpoints without them.
    pub(super) version: u64,
    /// Of those that go: generators that may still drive load.
    pub(super) driving: Vec<GeneratorAddress>,
}

/// Who acts for one workload.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) cluster: Cluster,
    pub(super) workload: &'static str,
    /// Which list the generators have; None: nobody pushes this workload's.
    pub(super) in_force: Option<watch::Receiver<u64>>,
    pub(super) events: EventSink,
    pub(super) src: &'static str,
    pub(super) stop: CancellationToken,
}

impl Act {
    /// Starts acting, until nobody orders any more.
    pub(super) fn start(self) -> mpsc::Sender<Job> {
        let (orders, mut jobs) = mpsc::channel(ORDERS);
        tokio::spawn(async move {
            let stop = self.stop.clone();
            while let Some(Some(job)) = stop.run_until_cancelled(jobs.recv()).await {
                if stop.run_until_cancelled(self.act(job)).await.is_none() {
                    return;
                }
            }
        });
        orders
    }

    async fn act(&self, job: Job) {
        if !job.going.is_empty() {
            if let Some(mut in_force) = self.in_force.clone() {
                // Late or not, they go now; the pusher warns of a late list.
                drop(timeout(OFF_THE_LIST, in_force.wait_for(|in_force| *in_force >= job.version)).await);
            }
            let driving = join_all(job.driving.iter().map(load_is_over));
            // Whoever drives them has had its time; what they still send ends with them.
            drop(timeout(LOAD_OVER, driving).await);
            join_all(job.going.iter().enumerate().map(|(place, pod)| self.choose(pod, place))).await;
        }
        let mut tries = 0;
        while let Err(refusal) = self.scale(job.replicas).await {
            tries += 1;
            if tries >= AGAIN.1 || refusal.is_forbidden() || refusal.is_gone() {
                let text = format!("{} cannot be scaled to {}: {refusal}", self.workload, job.replicas);
                return announce(&self.events, self.src, Kind::Warning { text }).await;
            }
            tracing::debug!(%refusal, workload = self.workload, "not scaled; trying again");
            sleep(AGAIN.0).await;
        }
    }

    /// Makes the cluster take this one before others. It may take another all the same, which is seen.
    async fn choose(&self, pod: &str, place: usize) {
        let cost = i64::try_from(place).unwrap_or(0) - 1000;
        let patch = json!({ "metadata": { "annotations": { "controller.kubernetes.io/pod-deletion-cost": cost.to_string() } } });
        let pods = self.cluster.api::<Pod>();
        let chosen = ask(QUICK, pods.patch(pod, &PatchParams::default(), &Patch::Merge(&patch))).await;
        if let Err(refusal) = chosen {
            tracing::debug!(%refusal, pod, "not marked as the first to go");
        }
    }

    async fn scale(&self, replicas: u32) -> Result<(), Refusal> {
        let patch = json!({ "spec": { "replicas": replicas } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let deployments = self.cluster.api::<Deployment>();
        ask(QUICK, deployments.patch_scale(self.workload, &params, &Patch::Merge(&patch))).await.map(drop)
    }
}
