//! From what is counted to what the autoscaler is given, as metrics-server and a metrics adapter would do it: CPU as the mean between
//! two scrapes, response time and send lag as a percentile merged over a window, the queue as it stands. Old data is no data.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_core::control::Sample as LoadSample;
use lab_core::event::ReplicaUsage;
use lab_core::histogram::Histogram;
use lab_core::spec::Metric;
use lab_core::unit::{Percent, Span};
use lab_env::ReplicaState;
use lab_hpa::{Metric as Input, Resource, ResourceTarget, Sample, TotalTarget};

/// Shortest window of a percentile: fewer samples would follow noise.
const SHORTEST_WINDOW: Duration = Duration::from_secs(5);
/// Percentile of response time that is followed.
const RESPONSE_QUANTILE: f64 = 0.95;
/// Percentile of send lag that is followed.
const LAG_QUANTILE: f64 = 0.99;

/// A metric with its data, and how old that is.
#[derive(Debug)]
pub struct Read {
    /// What the engine gets.
    pub metric: Input,
    /// Age of the data; None without data.
    pub age: Option<Span>,
}

/// Mean CPU of a replica between its last two scrapes, and its memory at the last.
#[derive(Debug, Clone, Copy)]
struct Usage {
    at: Instant,
    cpu_ns: u64,
    rss_bytes: u64,
    /// Milli-cores and the window they were taken over; None after the first scrape.
    cpu: Option<(i64, Duration)>,
}

/// One second of one generator.
#[derive(Debug)]
struct Second {
    at: Instant,
    response: Histogram,
    send_lag: Histogram,
}

/// What is kept between two syncs.
#[derive(Debug)]
pub struct Pipeline {
    window: Duration,
    usage: BTreeMap<String, Usage>,
    seconds: VecDeque<Arc<Second>>,
}

impl Pipeline {
    /// Nothing seen yet; data older than a few resolutions is not used.
    pub fn new(resolution: Span) -> Self {
        let window = resolution.to_duration().max(SHORTEST_WINDOW);
        Self { window, usage: BTreeMap::new(), seconds: VecDeque::new() }
    }

    /// One scrape of CPU and memory; replicas that are not in it are forgotten.
    pub fn usage(&mut self, at: Instant, replicas: &[ReplicaUsage]) {
        let before = std::mem::take(&mut self.usage);
        for replica in replicas {
            let cpu = before.get(&replica.replica).and_then(|earlier| {
                let window = at.saturating_duration_since(earlier.at);
                let used = replica.cpu_ns.checked_sub(earlier.cpu_ns)?;
                let milli = (u128::from(used) * 1000).checked_div(window.as_nanos())?;
                Some((i64::try_from(milli).ok()?, window))
            });
            let usage = Usage { at, cpu_ns: replica.cpu_ns, rss_bytes: replica.rss_bytes, cpu };
            self.usage.insert(replica.replica.clone(), usage);
        }
    }

    /// One second of one generator. A histogram that cannot be read is a gap.
    pub fn sample(&mut self, sample: &LoadSample) {
        self.sample_at(Instant::now(), sample);
    }

    fn sample_at(&mut self, at: Instant, sample: &LoadSample) {
        let (mut response, mut send_lag) = (Histogram::new(), Histogram::new());
        for phase in &sample.phases {
            for (all, part) in [(&mut response, &phase.response), (&mut send_lag, &phase.send_lag)] {
                if let Ok(part) = Histogram::decode(part) {
                    all.merge(&part);
                }
            }
        }
        self.seconds.push_back(Arc::new(Second { at, response, send_lag }));
        while self.seconds.front().is_some_and(|s| at.saturating_duration_since(s.at) > self.window) {
            self.seconds.pop_front();
        }
    }

    /// What one metric says now.
    pub fn read(&self, metric: &Metric, replicas: &[ReplicaState], gauges: Gauges<'_>, now: Instant) -> Read {
        match *metric {
            Metric::Cpu(target) => self.resource(Resource::Cpu, target, replicas, now),
            Metric::Memory(target) => self.resource(Resource::Memory, target, replicas, now),
            Metric::ResponseTime(limit) => {
                let value = self.percentile(now, RESPONSE_QUANTILE, |s| &s.response);
                external(metric, TotalTarget::Value(milli_ms(limit)), value)
            }
            Metric::SendLag(limit) => {
                let value = self.percentile(now, LAG_QUANTILE, |s| &s.send_lag);
                external(metric, TotalTarget::Value(milli_ms(limit)), value)
            }
            Metric::QueueDepth(depth) => {
                let target = i64::try_from(depth.saturating_mul(1000)).unwrap_or(i64::MAX);
                external(metric, TotalTarget::AverageValue(target), self.depth(gauges, now))
            }
        }
    }

    fn resource(&self, resource: Resource, target: Percent, replicas: &[ReplicaState], now: Instant) -> Read {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let sample = |replica: &ReplicaState| {
            let usage = self.usage.get(&replica.replica)?;
            let age_ms = ms(now.saturating_duration_since(usage.at));
            match resource {
                Resource::Cpu => usage.cpu.map(|(value, window)| Sample { value, age_ms, window_ms: ms(window) }),
                Resource::Memory => {
                    let value = i64::try_from(usage.rss_bytes).ok()?.checked_mul(1000)?;
                    Some(Sample { value, age_ms, window_ms: 0 })
                }
            }
        };
        let samples: Vec<_> = replicas.iter().map(sample).collect();
        let age = samples.iter().flatten().map(|s| s.age_ms).max();
        let percent = (target.0 * 100.0).round().clamp(0.0, f64::from(i32::MAX)) as i32;
        Read {
            metric: Input::Resource {
                resource,
                target: ResourceTarget::Utilization(percent),
                samples,
                orphans: Vec::new(),
            },
            age: age.and_then(|ms| u64::try_from(ms).ok()).map(Span::from_millis),
        }
    }

    /// A percentile in thousandths of a millisecond, merged over the window, and the age of its newest second.
    fn percentile(&self, now: Instant, quantile: f64, of: fn(&Second) -> &Histogram) -> Option<(i64, Span)> {
        let mut merged = Histogram::new();
        let fresh = self.seconds.iter().filter(|s| now.saturating_duration_since(s.at) <= self.window);
        let mut newest = None;
        for second in fresh {
            merged.merge(of(second));
            newest = newest.max(Some(second.at));
        }
        let value = merged.quantile(quantile)?;
        Some((milli_ms(value), age(now, newest?)))
    }

    fn depth(&self, gauges: Gauges<'_>, now: Instant) -> Option<(i64, Span)> {
        let (at, values) = gauges?;
        let depth = values.get("queue-depth").filter(|depth| depth.is_finite())?;
        let fresh = now.saturating_duration_since(*at) <= self.window;
        fresh.then(|| ((depth * 1000.0).round() as i64, age(now, *at)))
    }
}

/// The newest gauges and when they were read.
type Gauges<'a> = Option<&'a (Instant, BTreeMap<String, f64>)>;

fn external(metric: &Metric, target: TotalTarget, value: Option<(i64, Span)>) -> Read {
    let values = value.iter().map(|(value, _)| *value).collect();
    let unit = if matches!(metric, Metric::QueueDepth(_)) { "" } else { " (ms)" };
    Read {
        metric: Input::External { name: Some(format!("{}{unit}", metric.name())), target, values },
        age: value.map(|(_, age)| age),
    }
}

fn milli_ms(span: Span) -> i64 {
    i64::try_from(span.0 / 1000).unwrap_or(i64::MAX)
}

fn age(now: Instant, then: Instant) -> Span {
    Span(u64::try_from(now.saturating_duration_since(then).as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use lab_core::control::PhaseSample;
    use lab_env::ReplicaPhase;

    use super::*;

    fn usage(replica: &str, cpu_ms: u64) -> ReplicaUsage {
        let cpu_ns = cpu_ms * 1_000_000;
        ReplicaUsage { replica: replica.to_owned(), cpu_ns, rss_bytes: 1 << 20, throttled_ns: None }
    }

    fn state(replica: &str) -> ReplicaState {
        let replica = replica.to_owned();
        ReplicaState { replica, phase: ReplicaPhase::Running, ready: Some(true), ready_since: None, started: None }
    }

    fn second(values_ms: &[u64]) -> LoadSample {
        let mut response = Histogram::new();
        for ms in values_ms {
            response.record(Span::from_millis(*ms));
        }
        let phase = PhaseSample { response: response.encode(), ..PhaseSample::default() };
        LoadSample {
            generator: "g".to_owned(),
            plan: "p".to_owned(),
            seq: 1,
            from_ns: 0,
            to_ns: 0,
            phases: vec![phase],
            in_flight_ns: 0,
            queued: 0,
            longest_queue: 0,
            in_flight: 0,
            cpu_ns: 0,
            longest_turn_ns: 0,
            endpoints: Vec::new(),
            fates: Default::default(),
            last: false,
        }
    }

    #[test]
    fn cpu_is_the_mean_between_two_scrapes_and_missing_after_the_first() {
        let start = Instant::now();
        let mut pipeline = Pipeline::new(Span::from_secs(5));
        let replicas = [state("a"), state("b")];
        let samples =
            |pipeline: &Pipeline, at| match pipeline.read(&Metric::Cpu(Percent(0.7)), &replicas, None, at).metric {
                Input::Resource { samples, .. } => samples,
                other => panic!("{other:?}"),
            };
        pipeline.usage(start, &[usage("a", 100)]);
        assert_eq!(samples(&pipeline, start), vec![None, None]);
        let later = start + Duration::from_secs(5);
        pipeline.usage(later, &[usage("a", 1100), usage("b", 50)]);
        let seen = samples(&pipeline, later + Duration::from_secs(2));
        assert_eq!(seen, vec![Some(Sample { value: 200, age_ms: 2000, window_ms: 5000 }), None]);
    }

    #[test]
    fn a_restarted_counter_is_a_gap_not_a_negative_number() {
        let start = Instant::now();
        let mut pipeline = Pipeline::new(Span::from_secs(5));
        pipeline.usage(start, &[usage("a", 500)]);
        pipeline.usage(start + Duration::from_secs(5), &[usage("a", 10)]);
        assert!(pipeline.usage["a"].cpu.is_none());
    }

    #[test]
    fn percentiles_are_merged_over_the_window_and_old_data_is_no_data() {
        let start = Instant::now();
        let mut pipeline = Pipeline::new(Span::from_secs(5));
        pipeline.sample_at(start, &second(&[10; 90]));
        pipeline.sample_at(start + Duration::from_secs(1), &second(&[200; 10]));
        let metric = Metric::ResponseTime(Span::from_millis(100));
        let value = |at| match pipeline.read(&metric, &[], None, at).metric {
            Input::External { values, .. } => values.first().map(|v| v / 1000),
            other => panic!("{other:?}"),
        };
        assert_eq!(value(start + Duration::from_secs(2)), Some(200));
        assert_eq!(value(start + Duration::from_secs(60)), None);
    }

    #[test]
    fn queue_depth_comes_from_fresh_gauges_only() {
        let start = Instant::now();
        let pipeline = Pipeline::new(Span::from_secs(5));
        let gauges = (start, BTreeMap::from([("queue-depth".to_owned(), 42.0)]));
        let read = |at| pipeline.read(&Metric::QueueDepth(10), &[], Some(&gauges), at);
        assert!(matches!(read(start).metric, Input::External { values, .. } if values == [42_000]));
        assert!(read(start + Duration::from_secs(30)).age.is_none());
        let unknown = (start, BTreeMap::from([("queue-depth".to_owned(), f64::NAN)]));
        assert!(pipeline.read(&Metric::QueueDepth(10), &[], Some(&unknown), start).age.is_none());
    }
}
