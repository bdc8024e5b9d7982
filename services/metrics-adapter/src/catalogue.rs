//! What is served, and what each of it is made of: one table. How values are kept and merged is in `window`.

use std::time::Duration;

use crate::window::Merged;

/// Whose replicas are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    UserService,
    MessageService,
    LoadGenerator,
}

impl Source {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::UserService, Self::MessageService, Self::LoadGenerator];

    /// The service's name, which is the label `service` of its metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UserService => "user-service",
            Self::MessageService => "message-service",
            Self::LoadGenerator => "load-generator",
        }
    }

    /// The metrics that its replicas tell something of.
    pub(crate) fn metrics(self) -> impl Iterator<Item = &'static Metric> {
        METRICS.iter().filter(move |metric| metric.source == self)
    }
}

/// A metric that the autoscaler can follow.
#[derive(Debug)]
pub(crate) struct Metric {
    /// As the autoscaler asks for it.
    pub(crate) name: &'static str,
    /// Whose replicas it is read from.
    pub(crate) source: Source,
    /// What it is made of.
    pub(crate) made_of: MadeOf,
}

/// How the pages of replicas become one number.
#[derive(Debug)]
pub(crate) enum MadeOf {
    /// A quantile of seconds that were measured in the window, in ms.
    Quantile {
        /// On the page.
        histogram: &'static str,
        /// In 0..=1.
        quantile: f64,
        /// What else must be zero before nothing measured means that nothing was asked for: levels now, and counters in the window.
        busy: Busy,
    },
    /// A level that all replicas see alike; the largest is never too small.
    Level(&'static str),
}

/// Signs of work that no histogram shows.
#[derive(Debug)]
pub(crate) struct Busy {
    pub(crate) levels: &'static [&'static str],
    pub(crate) counters: &'static [&'static str],
}

const REQUESTS: &str = "http_request_duration_seconds";
/// What a service is asked by the lab itself, or to make trouble, is not its response time.
pub(crate) const ROUTES_ASIDE: [&str; 4] = ["/export", "/chaos/latency", "/chaos/errors", "unknown"];
const SERVING: Busy = Busy { levels: &["http_requests_in_flight"], counters: &["lab_shed_total"] };
const LOADING: Busy =
    Busy { levels: &["lab_load_in_flight", "lab_load_queued"], counters: &["lab_load_requests_total"] };

/// Everything that is served. A name may have several sources; each gives an item.
pub(crate) static METRICS: [Metric; 6] = [
    Metric {
        name: "user_service_response_time_p95_ms",
        source: Source::UserService,
        made_of: MadeOf::Quantile { histogram: REQUESTS, quantile: 0.95, busy: SERVING },
    },
    Metric {
        name: "message_service_response_time_p95_ms",
        source: Source::MessageService,
        made_of: MadeOf::Quantile { histogram: REQUESTS, quantile: 0.95, busy: SERVING },
    },
    // From the intended time, as in every environment where the lab itself steers.
    Metric {
        name: "load_generator_response_time_p95_ms",
        source: Source::LoadGenerator,
        made_of: MadeOf::Quantile { histogram: "lab_load_response_seconds", quantile: 0.95, busy: LOADING },
    },
    Metric { name: "queue_depth", source: Source::MessageService, made_of: MadeOf::Level("lab_queue_depth") },
    Metric { name: "queue_depth", source: Source::UserService, made_of: MadeOf::Level("lab_queue_depth") },
    Metric {
        name: "send_lag_ms",
        source: Source::LoadGenerator,
        made_of: MadeOf::Quantile { histogram: "lab_load_send_lag_seconds", quantile: 0.99, busy: LOADING },
    },
];

/// The part of a window, one in so many, that must have been seen before a quantile of it is told: less would follow noise.
const SEEN: u32 = 3;

impl Metric {
    /// Its value in thousandths; None when it is not known. A quantile of nothing is zero when nobody asked for anything, so that an idle
    /// service can be scaled in, and unknown while requests wait, were shed or failed: what is stuck is not fast.
    pub(crate) fn value(&self, merged: &Merged, window: Duration) -> Option<i64> {
        match &self.made_of {
            MadeOf::Level(name) => merged.highest(name).map(thousandths),
            MadeOf::Quantile { histogram, quantile, busy } => {
                if merged.covered < window / SEEN {
                    return None;
                }
                let seconds = merged.buckets(histogram).and_then(|buckets| buckets.quantile(*quantile));
                seconds.map(|seconds| thousandths(seconds * 1e3)).or_else(|| busy.is_idle(merged).then_some(0))
            }
        }
    }
}

impl Busy {
    /// A level that no page tells is not known to be zero.
    fn is_idle(&self, merged: &Merged) -> bool {
        self.levels.iter().all(|name| merged.sum(name) == Some(0.0))
            && self.counters.iter().all(|name| merged.counted(name) == 0.0)
    }

    /// Every number that is looked at, levels first.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = &'static str> {
        self.levels.iter().chain(self.counters).copied()
    }
}

fn thousandths(value: f64) -> i64 {
    (value * 1e3).round() as i64
}
