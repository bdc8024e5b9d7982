//! Numbers that belong to a whole workload, read from its replicas' `/metrics`: what all replicas see alike is taken once, what each
//! counts for itself is summed, and a replica that goes keeps what it had counted.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use lab_core::control::Endpoint;
use prometheus_parse::{Scrape, Value};

/// One replica's page.
const DEADLINE: Duration = Duration::from_millis(800);

/// How replicas' values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// All replicas look at one thing: the largest is the freshest for what grows, and never too small for a backlog.
    Shared,
    /// Each counts its own.
    Sum,
}

/// Metric on the page, name in the journal, how it merges.
const WANTED: [(&str, &str, Merge); 8] = [
    ("lab_queue_depth", "queue-depth", Merge::Shared),
    ("lab_queue_dead_letters", "dead-letters", Merge::Shared),
    ("lab_store_rows", "rows", Merge::Shared),
    ("lab_queue_consumed_total", "consumed", Merge::Sum),
    ("lab_cache_hits_total", "cache-hits", Merge::Sum),
    ("lab_cache_misses_total", "cache-misses", Merge::Sum),
    ("lab_shed_total", "shed", Merge::Sum),
    ("http_requests_in_flight", "in-flight", Merge::Sum),
];

/// What was read of one workload's replicas so far.
#[derive(Debug, Default)]
pub struct Gauges {
    client: reqwest::Client,
    /// Replica to its own counters' last values.
    own: BTreeMap<String, BTreeMap<&'static str, f64>>,
}

impl Gauges {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads every endpoint; one that does not answer in time keeps its last counters.
    pub async fn read(&mut self, endpoints: &[Endpoint]) -> BTreeMap<String, f64> {
        let pages = join_all(endpoints.iter().map(|e| page(&self.client, e))).await;
        let mut shared: BTreeMap<&'static str, f64> = BTreeMap::new();
        for (endpoint, page) in endpoints.iter().zip(pages) {
            let Some(page) = page else { continue };
            for (metric, name, merge) in WANTED {
                let Some(value) = total(&page, metric) else { continue };
                match merge {
                    Merge::Shared => {
                        let held = shared.entry(name).or_insert(value);
                        *held = held.max(value);
                    }
                    Merge::Sum => {
                        self.own.entry(endpoint.replica.clone()).or_default().insert(name, value);
                    }
                }
            }
        }
        let mut all: BTreeMap<String, f64> = shared.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for (name, value) in self.own.values().flatten() {
            *all.entry((*name).to_owned()).or_default() += value;
        }
        all
    }
}

async fn page(client: &reqwest::Client, endpoint: &Endpoint) -> Option<Scrape> {
    let url = format!("http://{}/metrics", endpoint.address);
    let answer = client.get(url).timeout(DEADLINE).send().await.ok()?.error_for_status().ok()?;
    let text = answer.text().await.ok()?;
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).ok()
}

/// A metric's sum over its labels; None when the page does not have it.
fn total(page: &Scrape, metric: &str) -> Option<f64> {
    let values = page.samples.iter().filter(|sample| sample.metric == metric);
    let numbers = values.filter_map(|sample| match sample.value {
        Value::Counter(v) | Value::Gauge(v) | Value::Untyped(v) => Some(v),
        Value::Histogram(_) | Value::Summary(_) => None,
    });
    numbers.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_absent_when_it_is_not_there() {
        let text = "# TYPE lab_shed_total counter\nlab_shed_total{route=\"/a\"} 2\nlab_shed_total{route=\"/b\"} 3\n";
        let page = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("a page");
        assert_eq!(total(&page, "lab_shed_total"), Some(5.0));
        assert_eq!(total(&page, "lab_queue_depth"), None);
    }
}
