//! What a watch says of one pod, as far as a lab needs it. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use super::render::NAME;

/// The container of a service in its pod.
pub(super) const CONTAINER: &str = "service";

/// One pod at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sight {
    /// The pod, which is the replica.
    pub(super) name: String,
    /// Its workload.
    pub(super) workload: String,
    /// When it was made, seconds since 1970.
    pub(super) created: i64,
    /// Its address in the cluster.
    pub(super) ip: Option<String>,
    /// Its container runs.
    pub(super) running: bool,
    /// Whether its readiness probe answers; None before the kubelet has said anything.
    pub(super) ready: Option<bool>,
    /// Why it is not ready, in the kubelet's words.
    pub(super) reason: String,
    /// Somebody told it to end.
    pub(super) terminating: bool,
    /// It was given no time to end.
    pub(super) killed: bool,
    /// How often its container was started anew.
    pub(super) restarts: i32,
    /// How its container ended last: `exit 1`, `signal 9`.
    pub(super) exit: Option<String>,
    /// Why its container does not start: `ImagePullBackOff` and the kubelet's words.
    pub(super) waiting: Option<(String, String)>,
    /// It ended for good: its node is gone, it was evicted.
    pub(super) failed: bool,
}

impl Sight {
    /// None of a pod without a name or a workload.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let workload = metadata.labels.as_ref()?.get(NAME)?.clone();
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let container = containers.iter().find(|container| container.name == CONTAINER).or(containers.first());
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let (running, exit, waiting) = container.map(state).unwrap_or_default();
        Some(Self {
            name: metadata.name.clone()?,
            workload,
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            ip: status.and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
            running,
            ready: ready.map(|condition| condition.status == "True"),
            reason: ready.map(words).unwrap_or_default(),
            terminating: metadata.deletion_timestamp.is_some(),
            killed: metadata.deletion_grace_period_seconds == Some(0),
            restarts: container.map_or(0, |container| container.restart_count),
            exit,
            waiting: waiting.or_else(|| unscheduled(conditions)),
            failed: status.and_then(|status| status.phase.as_deref()) == Some("Failed"),
        })
    }

    /// What keeps it from starting, beyond the usual steps of a start: reason and words.
    pub(super) fn obstacle(&self) -> Option<&(String, String)> {
        const USUAL: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];
        self.waiting.as_ref().filter(|(reason, _)| !USUAL.contains(&reason.as_str()))
    }

    /// Why it will not come up by waiting.
    pub(super) fn hopeless(&self) -> Option<String> {
        const HOPELESS: [&str; 6] = [
            "CrashLoopBackOff",
            "CreateContainerConfigError",
            "ErrImageNeverPull",
            "ImagePullBackOff",
            "InvalidImageName",
            "RunContainerError",
        ];
        let (reason, words) = self.waiting.as_ref()?;
        HOPELESS.contains(&reason.as_str()).then(|| format!("{reason}: {words}"))
    }
}

/// Whether it runs, how it ended, why it waits.
fn state(container: &ContainerStatus) -> (bool, Option<String>, Option<(String, String)>) {
    let (now, before) = (container.state.as_ref(), container.last_state.as_ref());
    let ended = now.and_then(|now| now.terminated.as_ref());
    let ended = ended.or_else(|| before.and_then(|before| before.terminated.as_ref()));
    let exit = ended.map(|ended| match ended.signal.filter(|signal| *signal != 0) {
        Some(signal) => format!("signal {signal}"),
        None if ended.reason.as_deref() == Some("OOMKilled") => "signal 9 (out of memory)".to_owned(),
        None => format!("exit {}", ended.exit_code),
    });
    let waiting = now
        .and_then(|now| now.waiting.as_ref())
        .map(|waiting| (waiting.reason.clone().unwrap_or_default(), waiting.message.clone().unwrap_or_default()));
    (now.is_some_and(|now| now.running.is_some()), exit, waiting)
}

fn unscheduled(conditions: &[PodCondition]) -> Option<(String, String)> {
    let scheduled =
        conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some((scheduled.reason.clone().unwrap_or_default(), scheduled.message.clone().unwrap_or_default()))
}

fn words(condition: &PodCondition) -> String {
    let text = condition.message.as_ref().or(condition.reason.as_ref());
    text.cloned().unwrap_or_else(|| "its readiness probe does not answer".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_read_as_the_kubelet_tells_of_it() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "user-service-7c-x", "labels": { "app.kubernetes.io/name": "user-service" },
                "creationTimestamp": "2026-11-24T16:00:00Z" },
            "status": {
                "phase": "Running", "podIP": "10.0.0.7",
                "conditions": [{ "type": "Ready", "status": "False", "message": "containers with unready status: [service]" }],
                "containerStatuses": [{ "name": "service", "image": "lab", "imageID": "", "ready": false, "restartCount": 2,
                    "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 20s" } },
                    "lastState": { "terminated": { "exitCode": 3 } } }],
            },
        }))
        .unwrap();
        let sight = Sight::of(&pod).unwrap();
        assert_eq!((sight.workload.as_str(), sight.created), ("user-service", 1_795_536_000));
        assert_eq!((sight.ip.as_deref(), sight.running, sight.ready), (Some("10.0.0.7"), false, Some(false)));
        assert_eq!((sight.restarts, sight.exit.as_deref()), (2, Some("exit 3")));
        assert_eq!(sight.hopeless().as_deref(), Some("CrashLoopBackOff: back-off 20s"));
        assert_eq!(Sight::of(&Pod::default()), None);
    }
}
