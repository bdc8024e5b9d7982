//! Numbers that belong to a whole workload, read from its replicas' `/metrics`: what all replicas see alike is taken once, what each
//! counts for itself is summed, and a replica that goes keeps what it had counted. What cannot be read is not a number, never zero.
//! Histograms are told apart reading by reading and merged bucket by bucket before a quantile is taken.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use lab_core::control::Endpoint;
use lab_core::histogram::Histogram;
use lab_core::unit::Span;
use prometheus_parse::{HistogramCount, Scrape, Value};

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
const WANTED: [(&str, &str, Merge); 10] = [
    ("lab_queue_depth", "queue-depth", Merge::Shared),
    ("lab_queue_dead_letters", "dead-letters", Merge::Shared),
    ("lab_store_rows", "rows", Merge::Shared),
    ("lab_queue_consumed_total", "consumed", Merge::Sum),
    ("lab_queue_redelivered_total", "redelivered", Merge::Sum),
    ("lab_queue_repeated_total", "repeated", Merge::Sum),
    ("lab_cache_hits_total", "cache-hits", Merge::Sum),
    ("lab_cache_misses_total", "cache-misses", Merge::Sum),
    ("lab_shed_total", "shed", Merge::Sum),
    ("http_requests_in_flight", "in-flight", Merge::Now),
];

/// The way of messages, from their send to their place in the store.
const END_TO_END: &str = "lab_message_end_to_end_seconds";
/// Its quantiles in the journal, of what came to its place since the reading before.
const QUANTILES: [(f64, &str); 2] = [(0.5, "end-to-end-p50-ms"), (0.99, "end-to-end-p99-ms")];
/// What is beyond the last bucket.
const BEYOND: Span = Span::from_secs(3_600);

/// What was read of one workload's replicas so far.
#[derive(Debug)]
pub struct Gauges {
    client: reqwest::Client,
    /// Replica to its own counters' last values.
    own: BTreeMap<String, BTreeMap<&'static str, f64>>,
    /// Replica to the buckets of its messages' ways, as last read.
    ways: BTreeMap<String, Buckets>,
}

/// Upper bound in seconds and how many are at or below it, ascending.
type Buckets = Vec<(f64, f64)>;

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Name to value.
    pub values: BTreeMap<String, f64>,
    /// How long the messages took that came to their place since the reading before; empty when none did.
    pub end_to_end: Histogram,
}

impl Gauges {
    /// Nothing read yet.
    ///
    /// # Errors
    /// The system's resources for HTTP cannot be had.
    pub fn new() -> reqwest::Result<Self> {
        Ok(Self { client: http::client(DEADLINE)?, own: BTreeMap::new(), ways: BTreeMap::new() })
    }

    /// Reads every endpoint; one that does not answer in time keeps its last counters. None when no page could be read.
    pub async fn read(&mut self, endpoints: &[Endpoint]) -> Option<Reading> {
        let pages = join_all(endpoints.iter().map(|e| page(&self.client, e))).await;
        let read = endpoints.iter().zip(pages).filter_map(|(endpoint, page)| Some((endpoint.replica.as_str(), page?)));
        self.merge(read)
    }

    fn merge<'a>(&mut self, pages: impl Iterator<Item = (&'a str, Scrape)>) -> Option<Reading> {
        let mut all: BTreeMap<String, f64> = BTreeMap::new();
        let mut end_to_end = Histogram::new();
        let mut read = false;
        for (replica, page) in pages {
            read = true;
            if let Some(now) = buckets(&page, END_TO_END) {
                let before = self.ways.insert(replica.to_owned(), now.clone());
                record_new(&mut end_to_end, before.as_ref(), &now);
            }
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
        for (quantile, name) in QUANTILES {
            if let Some(way) = end_to_end.quantile(quantile) {
                all.insert(name.to_owned(), way.as_secs_f64() * 1e3);
            }
        }
        read.then_some(Reading { values: all, end_to_end })
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

/// The buckets of a metric that has no labels but `le`; None when the page does not have it.
fn buckets(page: &Scrape, metric: &str) -> Option<Buckets> {
    page.samples.iter().filter(|sample| sample.metric == metric).find_map(|sample| match &sample.value {
        Value::Histogram(counts) => {
            Some(counts.iter().map(|HistogramCount { less_than, count }| (*less_than, *count)).collect())
        }
        _ => None,
    })
}

/// Records what came between two readings, each value as the upper end of its bucket. Counts that fell are those of a replica that was
/// started anew: all of them are new.
fn record_new(into: &mut Histogram, before: Option<&Buckets>, now: &Buckets) {
    let all = |buckets: &Buckets| buckets.last().map_or(0.0, |(_, count)| *count);
    let before = before.filter(|before| before.len() == now.len() && all(before) <= all(now));
    let mut below = 0.0;
    for (at, (bound, count)) in now.iter().enumerate() {
        let new = count - before.map_or(0.0, |before| before[at].1);
        let end = if bound.is_finite() { Span((bound * 1e9).round() as u64) } else { BEYOND };
        into.record_n(end, (new - below).max(0.0) as u64);
        below = new;
    }
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
        let values = gauges.merge([("a", parsed(page))].into_iter()).expect("values").values;
        assert_eq!(values, BTreeMap::from([("shed".to_owned(), 2.0), ("in-flight".to_owned(), 3.0)]));
        let other = gauges.merge([("b", parsed("# TYPE lab_shed_total counter\nlab_shed_total 1\n"))].into_iter());
        let other = other.map(|other| other.values);
        assert_eq!(other, Some(BTreeMap::from([("shed".to_owned(), 3.0)])), "a level goes with its replica");
        assert_eq!(gauges.merge(std::iter::empty()), None);
    }

    /// A page of one who saw so many messages within 10 ms, within 100 ms, and in all.
    fn ways(counts: [u64; 3]) -> Scrape {
        let name = END_TO_END;
        let bucket = |(le, count)| format!("{name}_bucket{{le=\"{le}\"}} {count}\n");
        let lines: String = ["0.01", "0.1", "+Inf"].into_iter().zip(counts).map(bucket).collect();
        parsed(&format!("# TYPE {name} histogram\n{lines}{name}_sum 1\n{name}_count {}\n", counts[2]))
    }

    #[test]
    fn ways_of_messages_are_merged_by_bucket_and_told_reading_by_reading() {
        let mut gauges = Gauges::new().expect("a client");
        let mut read = |pages: &[(&'static str, [u64; 3])]| {
            let reading = gauges.merge(pages.iter().map(|(name, counts)| (*name, ways(*counts)))).expect("a reading");
            let told = QUANTILES.map(|(_, name)| reading.values.get(name).map(|ms| ms.round()));
            (reading.end_to_end.count(), told)
        };
        assert_eq!(read(&[("a", [0, 0, 0])]), (0, [None, None]), "nothing came, so nothing is told");
        assert_eq!(read(&[("a", [90, 90, 90]), ("b", [0, 10, 10])]), (100, [Some(10.0), Some(100.0)]));
        assert_eq!(read(&[("a", [90, 90, 90]), ("b", [0, 14, 14])]), (4, [Some(100.0), Some(100.0)]));
        // Started anew, its counts are smaller; a replica that is gone adds nothing.
        assert_eq!(read(&[("a", [2, 2, 2])]), (2, [Some(10.0), Some(10.0)]));
        let (one, [_, beyond]) = read(&[("a", [2, 2, 3])]);
        assert!(one == 1 && beyond >= Some(3.6e6), "beyond the last bucket: {beyond:?}");
    }

    #[test]
    fn a_metric_is_summed_over_its_labels_and_absent_when_it_is_not_there() {
        let text = "# TYPE lab_shed_total counter\nlab_shed_total{route=\"/a\"} 2\nlab_shed_total{route=\"/b\"} 3\n";
        let page = parsed(text);
        assert_eq!(total(&page, "lab_shed_total"), Some(5.0));
        assert_eq!(total(&page, "lab_queue_depth"), None);
    }
}
