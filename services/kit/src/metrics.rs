//! One registry of metrics per service, and its Prometheus text. No global recorder, so that services can share a process.

use std::sync::Arc;

use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use rustix::time::{ClockId, clock_gettime};

/// Tenths of a decade at which the buckets of a request's duration end: each is at most half again as long as the one before.
const REQUEST_STEPS: [u32; 6] = [10, 15, 20, 30, 50, 70];
/// The same for what a lab itself measures by such buckets, the way of messages above all: a quarter longer at most.
const LAB_STEPS: [u32; 12] = [10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82];
/// From 100 µs to 10 s, and to 1000 s, as what waits in a queue may wait long.
const DECADES: (u32, u32) = (5, 7);

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
    /// An empty registry. Histograms have buckets from 100 µs on: to 10 s when their name begins with `http_`, to 1000 s and finer
    /// when it begins with `lab_`.
    #[expect(clippy::expect_used, reason = "the library refuses only an empty list of buckets")]
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Prefix("http_".to_owned()), &bounds(&REQUEST_STEPS, DECADES.0))
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Prefix("lab_".to_owned()), &bounds(&LAB_STEPS, DECADES.1))
            })
            .expect("lists with buckets")
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

    /// A histogram of seconds; its name begins with `http_` or `lab_` and ends in `_seconds`.
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

/// Upper bounds of buckets in seconds, 100 µs times so many decades of steps, and the end of the last. Whole numbers are divided once,
/// so that each is the nearest number to its text.
fn bounds(steps: &[u32], decades: u32) -> Vec<f64> {
    let all = (0..decades).flat_map(|decade| steps.iter().map(move |step| step * 10_u32.pow(decade)));
    all.chain([10_u32.pow(decades + 1)]).map(|tenths| f64::from(tenths) / 1e5).collect()
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
            r#"lab_wait_seconds_bucket{le="0.0027"} 0"#,
            r#"lab_wait_seconds_bucket{le="0.0033"} 1"#,
            "lab_wait_seconds_count 1",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "));
    }

    #[test]
    fn buckets_end_at_short_numbers_and_are_narrow() {
        for (steps, decades, widest, last) in [(&REQUEST_STEPS[..], 5, 1.67, 10.0), (&LAB_STEPS[..], 7, 1.26, 1000.0)] {
            let bounds = bounds(steps, decades);
            assert_eq!((bounds[0], bounds.last()), (0.0001, Some(&last)));
            assert!(bounds.windows(2).all(|two| two[0] < two[1] && two[1] / two[0] < widest), "{bounds:?}");
            assert!(bounds.iter().all(|bound| bound.to_string().len() <= 7), "{bounds:?}");
        }
    }

    #[test]
    fn registries_are_apart() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.counter("lab_example_total", &[]).increment(1);
        assert!(!other.render().contains("lab_example_total"));
    }
}
