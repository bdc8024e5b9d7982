//! Why something does not come up: what the cluster reported of it, and its own last words.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, LogParams};

use super::call::{QUICK, ask};
use super::cluster::Cluster;

/// Most reports that are told.
const EVENTS: usize = 4;
/// Most lines of a log that are told.
const LINES: i64 = 5;
/// Most reports that are looked through; a namespace is one lab's.
const LOOKED_AT: u32 = 500;

/// Warnings of the cluster about whatever begins with `name`, and the end of a pod's log, in one line. Empty when there is nothing.
pub(super) async fn why(cluster: &Cluster, name: &str, pod: Option<&str>) -> String {
    let mut parts = warnings(cluster, name).await;
    if let Some(pod) = pod {
        let words = last_words(cluster, pod).await;
        if !words.is_empty() {
            parts.push(format!("its log ends: {words}"));
        }
    }
    parts.join("; ")
}

async fn warnings(cluster: &Cluster, name: &str) -> Vec<String> {
    let params = ListParams::default().fields("type=Warning").limit(LOOKED_AT);
    let listed = match ask(QUICK, cluster.api::<Event>().list(&params)).await {
        Ok(listed) => listed,
        Err(refusal) => {
            tracing::debug!(%refusal, "what the cluster reported is not known");
            return Vec::new();
        }
    };
    let mut events: Vec<Event> = listed.items;
    events.retain(|event| event.involved_object.name.as_deref().is_some_and(|object| object.starts_with(name)));
    events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    let mut told: Vec<String> = Vec::new();
    for event in events.iter().rev() {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let line = format!("{}: {}", text(&event.reason), text(&event.message).trim());
        if told.len() < EVENTS && !told.contains(&line) {
            told.push(line);
        }
    }
    told.reverse();
    told
}

/// The last lines of a pod's log; of its life before this one when this one has said nothing.
pub(super) async fn last_words(cluster: &Cluster, pod: &str) -> String {
    for previous in [false, true] {
        let params = LogParams { tail_lines: Some(LINES), previous, ..LogParams::default() };
        if let Ok(text) = ask(QUICK, cluster.api::<Pod>().logs(pod, &params)).await
            && !text.trim().is_empty()
        {
            return text.trim().lines().collect::<Vec<_>>().join(" | ");
        }
    }
    String::new()
}
