//! One replica's `/metrics`, reduced to what its service's metrics are made of.

use std::collections::BTreeMap;

use prometheus_parse::{HistogramCount, Scrape, Value};

use crate::buckets::Buckets;
use crate::catalogue::{MadeOf, ROUTES_ASIDE, Source};

/// What one replica said once. What it did not say, or could not read itself, is absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Page {
    /// Histograms by name, summed over their labels.
    pub(crate) histograms: BTreeMap<&'static str, Buckets>,
    /// Counters and levels by name, summed over their labels.
    pub(crate) numbers: BTreeMap<&'static str, f64>,
}

impl Page {
    /// Reads the page of one of `source`'s replicas; None when it cannot be read at all.
    pub(crate) fn read(text: &str, source: Source) -> Option<Self> {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).ok()?;
        let mut page = Self::default();
        for metric in source.metrics() {
            match &metric.made_of {
                MadeOf::Level(name) => page.number(&scrape, name),
                MadeOf::Quantile { histogram, busy, .. } => {
                    page.histogram(&scrape, histogram);
                    busy.numbers().for_each(|name| page.number(&scrape, name));
                }
            }
        }
        Some(page)
    }

    fn number(&mut self, scrape: &Scrape, name: &'static str) {
        let values = scrape.samples.iter().filter(|sample| sample.metric == name);
        let numbers = values.filter_map(|sample| match sample.value {
            Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => Some(number),
            Value::Histogram(_) | Value::Summary(_) => None,
        });
        let sum = numbers.fold(None, |sum, number| Some(sum.unwrap_or(0.0) + number));
        // A part that is no number would make the sum too small.
        if let Some(sum) = sum.filter(|sum| sum.is_finite()) {
            self.numbers.insert(name, sum);
        }
    }

    fn histogram(&mut self, scrape: &Scrape, name: &'static str) {
        let mut all = Buckets::default();
        for sample in scrape.samples.iter().filter(|sample| sample.metric == name) {
            let aside = sample.labels.get("route").is_some_and(|route| ROUTES_ASIDE.contains(&route));
            let Value::Histogram(counts) = &sample.value else { continue };
            if aside {
                continue;
            }
            match Buckets::from_cumulative(
                counts.iter().map(|HistogramCount { less_than, count }| (*less_than, *count)),
            ) {
                Some(buckets) => all.add(&buckets),
                None => return,
            }
        }
        self.histograms.insert(name, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registry of a service, as its page is made.
    fn rendered() -> String {
        let metrics = kit::Metrics::new();
        let record = |route: &'static str, seconds: f64, times: usize| {
            let histogram = metrics.histogram("http_request_duration_seconds", &[("route", route)]);
            histogram.record_many(seconds, times);
        };
        record("/send", 0.004, 3);
        record("/messages", 0.0004, 2);
        record("/export", 9.0, 7);
        metrics.gauge("http_requests_in_flight", &[]).set(2.0);
        metrics.counter("lab_shed_total", &[]).increment(5);
        metrics.gauge("lab_queue_depth", &[("queue", "messages")]).set(41.0);
        metrics.gauge("lab_store_rows", &[]).set(1.0);
        metrics.render()
    }

    #[test]
    fn a_services_own_page_is_read() {
        let page = Page::read(&rendered(), Source::MessageService).expect("a page");
        let requests = &page.histograms["http_request_duration_seconds"];
        assert_eq!(requests.total(), 5.0, "of its own routes");
        assert!(requests.quantile(1.0).is_some_and(|longest| longest > 0.003 && longest <= 0.005));
        let numbers = [("http_requests_in_flight", 2.0), ("lab_queue_depth", 41.0), ("lab_shed_total", 5.0)];
        assert_eq!(page.numbers, BTreeMap::from(numbers));
    }

    #[test]
    fn what_is_no_number_is_absent() {
        let text = "# TYPE lab_queue_depth gauge\nlab_queue_depth{queue=\"a\"} 3\nlab_queue_depth{queue=\"b\"} NaN\n";
        let page = Page::read(text, Source::MessageService).expect("a page");
        assert!(page.numbers.is_empty());
        assert_eq!(page.histograms["http_request_duration_seconds"].total(), 0.0);
        let other = Page::read("<html>no metrics</html>", Source::UserService).expect("no metrics");
        assert!(other.numbers.is_empty(), "so that nothing on it means idle");
    }
}
