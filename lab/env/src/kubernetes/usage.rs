//! CPU and memory of replicas as each counts them itself, on its `/metrics`. The cluster's own metrics are means over many seconds, which
//! neither a picture by the second nor an autoscaler with another resolution can be made of.

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::join_all;
use lab_core::control::Endpoint;
use lab_core::event::ReplicaUsage;
use reqwest::Client;

/// One replica's page.
const DEADLINE: Duration = Duration::from_millis(800);
/// An idle connection is given up before a replica that drains would wait for it.
const IDLE: Duration = Duration::from_secs(3);

/// Reads pages; its connections are kept between two looks, as each is a way through the cluster's API.
#[derive(Debug, Default)]
pub(super) struct Reader {
    client: OnceLock<Option<Client>>,
}

impl Reader {
    /// Of every replica that answers.
    pub(super) async fn read(&self, endpoints: &[Endpoint]) -> Vec<ReplicaUsage> {
        let client = self.client.get_or_init(|| {
            let built = Client::builder()
                .no_proxy()
                .pool_max_idle_per_host(1)
                .pool_idle_timeout(IDLE)
                .timeout(DEADLINE)
                .build();
            built.inspect_err(|error| tracing::warn!(%error, "replicas are not observed")).ok()
        });
        let Some(client) = client else { return Vec::new() };
        join_all(endpoints.iter().map(|endpoint| one(client, endpoint))).await.into_iter().flatten().collect()
    }
}

async fn one(client: &Client, endpoint: &Endpoint) -> Option<ReplicaUsage> {
    let answer = client.get(format!("http://{}/metrics", endpoint.address)).send().await.ok()?;
    let page = answer.error_for_status().ok()?.text().await.ok()?;
    usage(&endpoint.replica, &page)
}

fn usage(replica: &str, page: &str) -> Option<ReplicaUsage> {
    let value = |name: &str| -> Option<f64> {
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    let cpu = value("process_cpu_seconds_total").filter(|cpu| *cpu >= 0.0)?;
    let memory = value("process_resident_memory_bytes").filter(|memory| *memory >= 0.0)?;
    let (cpu_ns, rss_bytes) = ((cpu * 1e9) as u64, memory as u64);
    Some(ReplicaUsage { replica: replica.to_owned(), cpu_ns, rss_bytes, throttled_ns: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_both_or_nothing() {
        let page = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.250000\n\
                    process_resident_memory_bytes 1048576\nprocess_cpu_seconds_total_x 9\n";
        let read = usage("a", page).unwrap();
        assert_eq!((read.cpu_ns, read.rss_bytes, read.throttled_ns), (1_250_000_000, 1 << 20, None));
        assert_eq!(usage("a", "process_cpu_seconds_total 1.25\n"), None);
    }
}
