//! Every field of a spec: its kind, its default and what it says. Unknown names are told apart by these tables, paths of
//! `--set` and `matrix` are found in them, and the reference for users is written from them.

use super::catalogue::{CacheEngine, EnvironmentKind, QueueEngine, StoreEngine};

/// One field of a mapping.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What holds when it is left out; empty: it must be given.
    pub default: &'static str,
    /// What it says, one line.
    pub about: &'static str,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A scalar, described in one or two words.
    Scalar(&'static str),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A mapping with these keys.
    Map(&'static [Field]),
    /// A list of equal things.
    List(&'static Kind),
    /// A scalar or a mapping with these keys.
    ScalarOrMap(&'static str, &'static [Field]),
    /// A mapping whose keys are paths to other fields.
    Paths,
}

impl Kind {
    /// The keys it may have; None when it is no mapping of known keys.
    pub fn fields(self) -> Option<&'static [Field]> {
        match self {
            Self::Map(fields) | Self::ScalarOrMap(_, fields) => Some(fields),
            _ => None,
        }
    }

    /// In a word or two.
    fn name(self) -> String {
        match self {
            Self::Scalar(what) => what.to_owned(),
            Self::OneOf(words) => words.join(" · "),
            Self::Map(_) => "mapping".to_owned(),
            Self::List(kind) => format!("list of {}", kind.name()),
            Self::ScalarOrMap(what, _) => format!("{what}, or a mapping"),
            Self::Paths => "mapping of paths".to_owned(),
        }
    }
}

const fn field(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Field {
    Field { name, kind, default, about }
}

const TEXT: Kind = Kind::Scalar("text");
const WHOLE: Kind = Kind::Scalar("whole number");
const NUMBER: Kind = Kind::Scalar("number");
const FLAG: Kind = Kind::OneOf(&["true", "false"]);
const DURATION: Kind = Kind::Scalar("duration");
const PERCENT: Kind = Kind::Scalar("percentage");
const RATE: Kind = Kind::Scalar("rate");

/// The spec itself.
pub const SPEC: &[Field] = &[
    field("name", TEXT, "the file's name", "name of the experiment, in runs and reports"),
    field("question", TEXT, "", "the question that the report answers"),
    field("environment", Kind::OneOf(EnvironmentKind::NAMES), "local", "where it runs"),
    field("services", Kind::Map(SERVICES), "", "what is deployed; a service that is not named is not"),
    field("autoscaler", Kind::Map(AUTOSCALER), "those of Kubernetes", "the controller's settings, named as its flags"),
    field("load", Kind::Map(LOAD), "none", "the load that is driven"),
    field(
        "expect",
        Kind::List(&Kind::Scalar("expectation")),
        "[]",
        "what must hold: `p99(step) < 250ms`, `errors < 0.1%`",
    ),
    field("repeats", WHOLE, "1", "how often each variant is run, once in each block"),
    field("seed", WHOLE, "1", "seed of arrivals, keys and the order inside blocks"),
    field("budget", Kind::Map(BUDGET), "30m, 0 USD", "bounds on what a run may cost; checked before it begins"),
    field(
        "matrix",
        Kind::Paths,
        "one variant",
        "path of a field to the list of its values; every combination is a variant",
    ),
    field("exclude", Kind::List(&Kind::Paths), "[]", "combinations that are left out"),
];

/// `services`.
pub const SERVICES: &[Field] = &[
    field("user-service", Kind::Map(USER_SERVICE), "not deployed", "creates and reads users"),
    field("message-service", Kind::Map(MESSAGE_SERVICE), "not deployed", "queues messages, consumes them, lists them"),
    field("load-generator", Kind::Map(LOAD_GENERATOR), "one replica", "drives the load; always deployed"),
];

const REPLICAS: Field = field("replicas", WHOLE, "1, or `autoscale.min`", "replicas at the start");
const RESOURCES_FIELD: Field = field("resources", Kind::Map(RESOURCES), "unlimited", "limits of one replica");
const AUTOSCALE_FIELD: Field = field("autoscale", Kind::Map(AUTOSCALE), "none", "follow metrics between two sizes");
const STORE: Field = field("store", Kind::OneOf(StoreEngine::NAMES), "sqlite", "database");
const CACHE: Field = field("cache", Kind::OneOf(CacheEngine::NAMES), "none", "cache in front of reads");
const CACHE_TTL: Field = field("cache-ttl", DURATION, "60s", "how long a cached answer lives");
const QUEUE: Field = field("queue", Kind::OneOf(QueueEngine::NAMES), "sqlite", "queue between request and store");

/// `services.user-service`.
pub const USER_SERVICE: &[Field] = &[
    STORE,
    CACHE,
    CACHE_TTL,
    QUEUE,
    field(
        "create",
        Kind::OneOf(&["direct", "queued"]),
        "direct",
        "store before the answer, or from the queue after it",
    ),
    field("work", Kind::Map(USER_WORK), "0s each", "CPU burnt per request"),
    REPLICAS,
    RESOURCES_FIELD,
    AUTOSCALE_FIELD,
];

/// `services.message-service`.
pub const MESSAGE_SERVICE: &[Field] = &[
    STORE,
    CACHE,
    CACHE_TTL,
    QUEUE,
    field("consumers", WHOLE, "1", "consumers in each replica"),
    field("work", Kind::Map(MESSAGE_WORK), "0s each", "CPU burnt per request or message"),
    REPLICAS,
    RESOURCES_FIELD,
    AUTOSCALE_FIELD,
];

/// `services.load-generator`.
pub const LOAD_GENERATOR: &[Field] = &[REPLICAS, RESOURCES_FIELD, AUTOSCALE_FIELD];

/// `services.user-service.work`.
pub const USER_WORK: &[Field] =
    &[field("create", DURATION, "0s", "for each create"), field("get", DURATION, "0s", "for each get")];

/// `services.message-service.work`.
pub const MESSAGE_WORK: &[Field] = &[
    field("send", DURATION, "0s", "for each send"),
    field("messages", DURATION, "0s", "for each messages"),
    field("consume", DURATION, "0s", "for each message that a consumer takes"),
];

/// `resources`.
pub const RESOURCES: &[Field] = &[
    field("cpu", Kind::Scalar("amount of CPU"), "unlimited", "limit, and the request that utilization is a share of"),
    field(
        "memory",
        Kind::Scalar("amount of memory"),
        "unlimited",
        "limit, and the request that utilization is a share of",
    ),
];

/// `autoscale`.
pub const AUTOSCALE: &[Field] = &[
    field("min", WHOLE, "1", "fewest replicas; 0 needs a metric that exists without replicas"),
    field("max", WHOLE, "", "most replicas"),
    field("metrics", Kind::List(&Kind::Map(METRIC)), "", "what it follows; the metric that asks for most counts"),
    field("behavior", Kind::Map(BEHAVIOR), "that of Kubernetes", "`behavior` as autoscaling/v2 writes it"),
];

/// One entry of `autoscale.metrics`: exactly one of these.
pub const METRIC: &[Field] = &[
    field("cpu", PERCENT, "", "share of the requested CPU, mean over replicas"),
    field("memory", PERCENT, "", "share of the requested memory, mean over replicas"),
    field("response-time", DURATION, "", "p95 response time of the load's target in the last window"),
    field("queue-depth", WHOLE, "", "messages waiting for each replica"),
    field("send-lag", DURATION, "", "p99 send lag of the load generators in the last window"),
];

/// `autoscale.behavior`.
pub const BEHAVIOR: &[Field] = &[
    field("scaleUp", Kind::Map(SCALING_RULES), "no window; 4 pods or 100 % in 15 s", "rules for the way up"),
    field("scaleDown", Kind::Map(SCALING_RULES), "`downscale-stabilization`; 100 % in 15 s", "rules for the way down"),
];

/// `scaleUp` and `scaleDown`.
pub const SCALING_RULES: &[Field] = &[
    field(
        "stabilizationWindowSeconds",
        WHOLE,
        "0 up, 300 down",
        "seconds of recommendations to look back on, 0 to 3600",
    ),
    field("selectPolicy", Kind::OneOf(&["Max", "Min", "Disabled"]), "Max", "which policy counts when several speak"),
    field("policies", Kind::List(&Kind::Map(SCALING_POLICY)), "those of Kubernetes", "rates of change"),
    field("tolerance", NUMBER, "`autoscaler.tolerance`", "ratio around 1 in which nothing is done, on this side"),
];

/// One entry of `policies`.
pub const SCALING_POLICY: &[Field] = &[
    field("type", Kind::OneOf(&["Pods", "Percent"]), "", "what `value` counts"),
    field("value", WHOLE, "", "most that may change in the period, above 0"),
    field("periodSeconds", WHOLE, "", "1 to 1800"),
];

/// `autoscaler`.
pub const AUTOSCALER: &[Field] = &[
    field("sync-period", DURATION, "15s", "time between two syncs"),
    field("metric-resolution", DURATION, "15s", "time between two scrapes, and the window of a CPU sample"),
    field("tolerance", NUMBER, "0.1", "ratio around 1 in which nothing is done"),
    field("downscale-stabilization", DURATION, "5m", "how long the highest recommendation holds the size up"),
    field(
        "cpu-initialization-period",
        DURATION,
        "5m",
        "how long after its start a replica's CPU counts only once it is ready",
    ),
    field("initial-readiness-delay", DURATION, "30s", "how long after its start readiness may still come late"),
];

/// `load`.
pub const LOAD: &[Field] = &[
    field("target", Kind::OneOf(&["user-service", "message-service"]), "", "the service that is called"),
    field(
        "mix",
        Kind::Map(MIX),
        "create 20%, get 80%; send 50%, messages 50%",
        "shares of operations; they sum to 100%",
    ),
    field("arrivals", Kind::OneOf(&["poisson", "constant"]), "poisson", "independent users, or a metronome"),
    field("connections", WHOLE, "64", "connections of each generator"),
    field("timeout", DURATION, "5s", "when a request without an answer has failed"),
    field("prepare", WHOLE, "100", "rows created before the first phase, so that reads find something"),
    field("phases", Kind::List(&Kind::Map(PHASE)), "", "stretches of load, in order"),
];

/// `load.mix`: the operations of every target.
pub const MIX: &[Field] = &[
    field("create", PERCENT, "0%", "user-service: POST /create"),
    field("get", PERCENT, "0%", "user-service: GET /get"),
    field("send", PERCENT, "0%", "message-service: POST /send"),
    field("messages", PERCENT, "0%", "message-service: GET /messages"),
];

/// One entry of `load.phases`.
pub const PHASE: &[Field] = &[
    field("name", TEXT, "", "unique; expectations name it"),
    field("rate", Kind::ScalarOrMap("rate", SHAPE), "", "what is offered: `100/s`, `{ from, to }` or `{ trace }`"),
    field("pause", FLAG, "false", "true: nothing is offered; instead of a rate"),
    field("for", DURATION, "", "how long it lasts"),
    field("measure", FLAG, "true", "false: kept in the journal, left out of expectations"),
    field(
        "replicas",
        Kind::Map(REPLICAS_OF),
        "as before",
        "how many replicas workloads without an autoscaler have from its start on",
    ),
    field("faults", Kind::List(&Kind::Map(FAULT)), "[]", "what is broken on purpose while it lasts"),
];

/// `replicas` of a phase.
pub const REPLICAS_OF: &[Field] = &[
    field("user-service", WHOLE, "as before", "at most its `replicas`"),
    field("message-service", WHOLE, "as before", "at most its `replicas`"),
    field("load-generator", WHOLE, "as before", "at most its `replicas`"),
];

const HIT: Kind = Kind::OneOf(&["store", "queue", "cache", "user-service", "message-service", "load-generator"]);

/// One entry of `faults`: exactly one of the first four.
pub const FAULT: &[Field] = &[
    field("kill", HIT, "one of these four", "SIGKILL; a server is started again at once, a replica is replaced"),
    field("pause", HIT, "one of these four", "it stands still; connections stay"),
    field("disconnect", HIT, "one of these four", "nobody reaches it"),
    field("slow", HIT, "one of these four", "what goes to it and comes from it takes longer"),
    field("at", DURATION, "0s", "when, from the phase's start"),
    field("every", DURATION, "only once", "again and again until the phase ends"),
    field("for", DURATION, "needed, but for `kill`", "how long it lasts"),
    field("by", DURATION, "needed by `slow`", "how much slower each way is"),
];

/// `rate` as a mapping.
pub const SHAPE: &[Field] = &[
    field("from", RATE, "", "rate at the start of a ramp"),
    field("to", RATE, "", "rate at its end"),
    field("trace", TEXT, "", "file with the offset of one arrival a line, in seconds from the phase's start"),
    field(
        "offsets",
        Kind::List(&DURATION),
        "read from the file",
        "the arrivals themselves, as a resolved spec has them",
    ),
];

/// `budget`.
pub const BUDGET: &[Field] = &[
    field("wall", DURATION, "30m", "longest time from start to end"),
    field("usd", NUMBER, "0", "most money, in US dollars"),
];

/// The reference of a spec as a Markdown table, one row a field.
pub fn markdown() -> String {
    let mut out = String::from("| field | value | default | |\n|---|---|---|---|\n");
    rows("", SPEC, &mut out);
    out
}

fn rows(prefix: &str, fields: &[Field], out: &mut String) {
    for field in fields {
        let path = format!("{prefix}{}", field.name);
        let default = if field.default.is_empty() { "*required*" } else { field.default };
        out.push_str(&format!("| `{path}` | {} | {default} | {} |\n", field.kind.name(), field.about));
        let inside = match field.kind {
            Kind::List(item) => item.fields().map(|fields| (format!("{path}[]."), fields)),
            kind => kind.fields().map(|fields| (format!("{path}."), fields)),
        };
        if let Some((prefix, fields)) = inside {
            rows(&prefix, fields, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_every_level() {
        let text = markdown();
        for path in ["`services.user-service.store`", "`load.phases[].rate.from`", "`budget.usd`"] {
            assert!(text.contains(path), "{path}");
        }
        assert!(text.contains(
            "| `services.user-service.autoscale.behavior.scaleUp.policies[].periodSeconds` | whole number | *required* |"
        ));
    }

    #[test]
    fn names_are_unique_within_a_mapping() {
        fn check(fields: &[Field]) {
            let mut names: Vec<_> = fields.iter().map(|field| field.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), fields.len(), "{fields:?}");
            fields.iter().filter_map(|field| field.kind.fields()).for_each(check);
        }
        check(SPEC);
    }
}
