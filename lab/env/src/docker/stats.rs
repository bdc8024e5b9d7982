//! What a container has used, from Docker's statistics at one instant.

use bollard::Docker;
use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::TryStreamExt as _;

use super::call::{QUICK, ask};
use crate::replicas::Used;

/// Of a running container; None when it runs no more or Docker does not say. `limited`: it has a CPU limit.
pub(super) async fn used(docker: &Docker, id: &str, limited: bool) -> Option<Used> {
    let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
    let mut answers = std::pin::pin!(docker.stats(id, Some(options)));
    match ask(QUICK, answers.try_next()).await {
        Ok(answer) => read(&answer?, limited),
        Err(refusal) => {
            tracing::debug!(%refusal, id, "no statistics");
            None
        }
    }
}

fn read(answer: &ContainerStatsResponse, limited: bool) -> Option<Used> {
    let cpu = answer.cpu_stats.as_ref()?;
    let cpu_ns = cpu.cpu_usage.as_ref()?.total_usage.filter(|used| *used > 0)?;
    let throttled = cpu.throttling_data.as_ref().and_then(|data| data.throttled_time);
    let rss_bytes = answer.memory_stats.as_ref().map_or(0, working_set);
    Some(Used { cpu_ns, rss_bytes, throttled_ns: throttled.filter(|_| limited) })
}

/// Memory that cannot be taken back at once: what is used less the file pages that nobody has touched lately, as Kubernetes counts it.
fn working_set(memory: &ContainerMemoryStats) -> u64 {
    let of = |name: &str| memory.stats.as_ref().and_then(|stats| stats.get(name)).copied();
    let idle = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or(0);
    memory.usage.unwrap_or(0).saturating_sub(idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let text = |idle: &str| {
            format!(
                r#"{{"cpu_stats":{{"cpu_usage":{{"total_usage":7000}},"throttling_data":{{"throttled_time":90}}}},
                "memory_stats":{{"usage":1000,"stats":{{"{idle}":300}}}}}}"#
            )
        };
        for idle in ["total_inactive_file", "inactive_file"] {
            let answer: ContainerStatsResponse = serde_json::from_str(&text(idle)).unwrap();
            let used = Used { cpu_ns: 7000, rss_bytes: 700, throttled_ns: Some(90) };
            assert_eq!(read(&answer, true), Some(used), "{idle}");
            assert_eq!(read(&answer, false), Some(Used { throttled_ns: None, ..used }));
        }
        let ended = r#"{"cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{}}"#;
        assert_eq!(
            read(&serde_json::from_str(ended).unwrap(), true),
            None,
            "an ended one has used nothing that counts"
        );
    }
}
