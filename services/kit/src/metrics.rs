//! One registry of metrics per service, and its Prometheus text. No global recorder, so that services can share a process.

use std::sync::Arc;

use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use rustix::time::{ClockId, clock_gettime};

/// Upper bounds of duration buckets in seconds: 100 µs to 10 s.
const SECONDS: [f64; 16] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const METADATA: Metadata<'static> = Metadata::new("kit", Level::INFO, None);

/// A registry of metrics. Clones are the same registry. Make handles once and keep them: making one takes a lock.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

/// Label names with their values.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry. Histograms whose name ends in `_seconds` have buckets from 100 µs to 10 s.
    #[expect(clippy::expect_used, reason = "the library refuses only an empty list of buckets")]
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .expect("a list with buckets")
            .build_recorder();
        let handle = recorder.handle();
        Self { recorder: Arc::new(recorder), handle }
    }

    /// Says what a metric means, for its `# HELP` line.
    pub fn describe(&self, name: &'static str, help: &'static str) {
        let (key, help) = (KeyName::from_const_str(name), SharedString::const_str(help));
        if name.ends_with("_total") {
            self.recorder.describe_counter(key, None, help);
        } else if name.ends_with("_seconds") {
            self.recorder.describe_histogram(key, Some(Unit::Seconds), help);
        } else {
            self.recorder.describe_gauge(key, None, help);
        }
    }

    /// A counter; by convention its name ends in `_total`.
    pub fn counter(&self, name: &'static str, labels: Labels<'_>) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, labels: Labels<'_>) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    /// A histogram of seconds; its name ends in `_seconds`.
    pub fn histogram(&self, name: &'static str, labels: Labels<'_>) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// Folds recorded values into buckets. They pile up until this or [`Self::render`] runs; `serve` calls it every second.
    pub(crate) fn fold(&self) {
        self.handle.run_upkeep();
    }

    /// Everything in the Prometheus text format, with the process's CPU time and memory.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        text.push_str(&process());
        text
    }
}

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}

/// CPU time is a counter with a fraction, which the recorder's whole-number counters cannot hold.
fn process() -> String {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let cpu = format!(
        "# HELP process_cpu_seconds_total User and system CPU time of the process\n\
         # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {seconds:.6}\n\n"
    );
    let memory = resident_bytes().map(|bytes| {
        format!(
            "# HELP process_resident_memory_bytes Resident memory of the process\n\
             # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {bytes}\n\n"
        )
    });
    cpu + &memory.unwrap_or_default()
}

/// Resident memory by `/proc`; None where there is none.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_buckets_labels_and_the_process() {
        let metrics = Metrics::new();
        metrics.describe("lab_example_total", "Examples");
        metrics.counter("lab_example_total", &[("kind", "a\"b")]).increment(2);
        metrics.gauge("lab_rows", &[]).set(3.0);
        let histogram = metrics.histogram("lab_wait_seconds", &[]);
        histogram.record(0.003);
        metrics.fold();
        let text = metrics.render();
        for line in [
            "# HELP lab_example_total Examples",
            r#"lab_example_total{kind="a\"b"} 2"#,
            "lab_rows 3",
            r#"lab_wait_seconds_bucket{le="0.0025"} 0"#,
            r#"lab_wait_seconds_bucket{le="0.005"} 1"#,
            "lab_wait_seconds_count 1",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "));
    }

    #[test]
    fn registries_are_apart() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.counter("lab_example_total", &[]).increment(1);
        assert!(!other.render().contains("lab_example_total"));
    }
}
