//! Numbers that belong to a whole workload, read from its replicas' `/metrics`: what all replicas see alike is taken once, what each
//! counts for itself is summed, and a replica that goes keeps what it had counted. What cannot be read is not a number, never zero.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use lab_core::control::Endpoint;
use prometheus_parse::{Scrape, Value};

use crate::http;

/// One replica's page.
const DEADLINE: Duration = Duration::from_millis(800);

/// How replicas' values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// All replicas look at one thing: the largest is the freshest for what grows, and never too small for a backlog.
    Shared,
    /// Each counts its own; what a replica that is gone had counted stays counted.
    Sum,
    /// Each has its own level now; a replica that is not there has none.
    Now,
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
    ("http_requests_in_flight", "in-flight", Merge::Now),
];

/// What was read of one workload's replicas so far.
#[derive(Debug)]
pub struct Gauges {
    client: reqwest::Client,
    /// Replica to its own counters' last values.
    own: BTreeMap<String, BTreeMap<&'static str, f64>>,
}

impl Gauges {
    /// Nothing read yet.
    ///
    /// # Errors
    /// The system's resources for HTTP cannot be had.
    pub fn new() -> reqwest::Result<Self> {
        Ok(Self { client: http::client(DEADLINE)?, own: BTreeMap::new() })
    }

    /// Reads every endpoint; one that does not answer in time keeps its last counters. None when no page could be read.
    pub async fn read(&mut self, endpoints: &[Endpoint]) -> Option<BTreeMap<String, f64>> {
        let pages = join_all(endpoints.iter().map(|e| page(&self.client, e))).await;
        let read = endpoints.iter().zip(pages).filter_map(|(endpoint, page)| Some((endpoint.replica.as_str(), page?)));
        self.merge(read)
    }

    fn merge<'a>(&mut self, pages: impl Iterator<Item = (&'a str, Scrape)>) -> Option<BTreeMap<String, f64>> {
        let mut all: BTreeMap<String, f64> = BTreeMap::new();
        let mut read = false;
        for (replica, page) in pages {
            read = true;
            for (metric, name, merge) in WANTED {
                let Some(value) = total(&page, metric) else { continue };
                match merge {
                    Merge::Shared => {
                        let held = all.entry(name.to_owned()).or_insert(value);
                        *held = held.max(value);
                    }
                    Merge::Now => *all.entry(name.to_owned()).or_default() += value,
                    Merge::Sum => {
                        self.own.entry(replica.to_owned()).or_default().insert(name, value);
                    }
                }
            }
        }
        for (name, value) in self.own.values().flatten() {
            *all.entry((*name).to_owned()).or_default() += value;
        }
        read.then_some(all)
    }
}

async fn page(client: &reqwest::Client, endpoint: &Endpoint) -> Option<Scrape> {
    let url = format!("http://{}/metrics", endpoint.address);
    let answer = client.get(url).send().await.ok()?.error_for_status().ok()?;
    let text = answer.text().await.ok()?;
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).ok()
}

/// A metric's sum over its labels; None when the page does not have it, or when a part of it is not a number: a service that cannot
/// look at its store says so, and a sum without that part would be too small.
fn total(page: &Scrape, metric: &str) -> Option<f64> {
    let values = page.samples.iter().filter(|sample| sample.metric == metric);
    let numbers = values.filter_map(|sample| match sample.value {
        Value::Counter(v) | Value::Gauge(v) | Value::Untyped(v) => Some(v),
        Value::Histogram(_) | Value::Summary(_) => None,
    });
    let sum = numbers.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value));
    sum.filter(|sum| sum.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Scrape {
        Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("a page")
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_no_page_is_nothing() {
        let mut gauges = Gauges::new().expect("a client");
        let page = "# TYPE lab_queue_depth gauge\nlab_queue_depth{queue=\"m\"} NaN\n# TYPE lab_shed_total counter\nlab_shed_total 2\n\
                    # TYPE http_requests_in_flight gauge\nhttp_requests_in_flight 3\n";
        let values = gauges.merge([("a", parsed(page))].into_iter()).expect("values");
        assert_eq!(values, BTreeMap::from([("shed".to_owned(), 2.0), ("in-flight".to_owned(), 3.0)]));
        let other = gauges.merge([("b", parsed("# TYPE lab_shed_total counter\nlab_shed_total 1\n"))].into_iter());
        assert_eq!(other, Some(BTreeMap::from([("shed".to_owned(), 3.0)])), "a level goes with its replica");
        assert_eq!(gauges.merge(std::iter::empty()), None);
    }

    #[test]
    fn a_metric_is_summed_over_its_labels_and_absent_when_it_is_not_there() {
        let text = "# TYPE lab_shed_total counter\nlab_shed_total{route=\"/a\"} 2\nlab_shed_total{route=\"/b\"} 3\n";
        let page = parsed(text);
        assert_eq!(total(&page, "lab_shed_total"), Some(5.0));
        assert_eq!(total(&page, "lab_queue_depth"), None);
    }
}
