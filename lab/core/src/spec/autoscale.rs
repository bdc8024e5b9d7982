//! Reads `autoscale` of a workload and `autoscaler` of the spec.

use lab_hpa::{Behavior, PolicyType, ScalingPolicy, ScalingRules, SelectPolicy};

use super::node::{At, Node};
use super::reader::{Map, Reading, Wrong, duration, number, one_of, parsed, whole, whole32};
use super::{Autoscale, AutoscalerSettings, Metric, Resources, reference};
use crate::unit::{Percent, Span};

/// More replicas than one experiment of this lab can mean.
pub(super) const MAX_REPLICAS: u32 = 100;
const HOUR: Span = Span::from_secs(3600);
const MS: Span = Span::from_millis(1);

/// What there is to be followed at one workload.
pub(super) struct Followable {
    /// The workload.
    pub workload: &'static str,
    /// Its limits; utilization is a share of them.
    pub resources: Resources,
    /// It takes messages from a queue.
    pub queue: bool,
    /// It is what the load calls.
    pub target: bool,
}

/// Reads `autoscale`. None when what is written cannot be followed.
pub(super) fn autoscale(r: &mut Reading<'_>, node: &Node, to: &Followable) -> Option<Autoscale> {
    let map = r.map(node, "`autoscale`", reference::AUTOSCALE);
    if map.wrong {
        return None;
    }
    let min = map.read(r, "min", &whole32(0..=MAX_REPLICAS)).unwrap_or(1);
    let max = map.require(r, "max", "`autoscale`", &whole32(1..=MAX_REPLICAS));
    let metrics = metrics(r, &map, to);
    let behavior = map.get("behavior").map(|node| behavior(r, node));
    if let Some(max) = max
        && min > max
    {
        r.error(&map.at("min"), format!("`min` {min} is above `max` {max}"));
    }
    let outlives = metrics.iter().any(|metric| !matches!(metric, Metric::Cpu(_) | Metric::Memory(_)));
    if min == 0 && to.workload == "load-generator" {
        r.error_with(&map.at("min"), "nothing would drive the load with `min: 0`", "set `min: 1`");
    } else if min == 0 && !metrics.is_empty() && !outlives {
        let help = "cpu and memory are not measured without replicas; follow queue-depth or response-time too, or set `min: 1`";
        r.error_with(&map.at("min"), "`min: 0` cannot be left again", help);
    }
    Some(Autoscale { min, max: max?, metrics, behavior })
}

fn metrics(r: &mut Reading<'_>, map: &Map<'_>, to: &Followable) -> Vec<Metric> {
    let Some(node) = map.get("metrics") else {
        r.error_with(&map.at, "`autoscale` needs `metrics`", "for instance `metrics: [ { cpu: 70% } ]`");
        return Vec::new();
    };
    let before = r.found.len();
    let items = r.list(node, "`metrics`");
    if items.is_empty() && r.found.len() == before {
        r.error_with(&node.at, "`metrics` is empty", "for instance `metrics: [ { cpu: 70% } ]`");
    }
    let mut metrics: Vec<Metric> = Vec::new();
    for item in items {
        let Some(metric) = metric(r, item, to) else { continue };
        if metrics.iter().any(|earlier| earlier.name() == metric.name()) {
            r.error(&item.at, format!("{} is followed twice", metric.name()));
        }
        metrics.push(metric);
    }
    metrics
}

fn metric(r: &mut Reading<'_>, node: &Node, to: &Followable) -> Option<Metric> {
    let map = r.map(node, "a metric", reference::METRIC);
    if map.wrong {
        return None;
    }
    let [entry] = node.entries() else {
        r.error_with(&node.at, "an entry of `metrics` names exactly one metric", "write `- { cpu: 70% }`");
        return None;
    };
    let utilization = |text: &str| -> Result<Percent, Wrong> {
        let percent: Percent = parsed(text)?;
        let whole = (percent.0 * 100.0).round();
        if (1.0..=1000.0).contains(&whole) && (percent.0 * 100.0 - whole).abs() < 1e-9 {
            return Ok(percent);
        }
        Err(Wrong(format!("`{text}` is not a whole percentage from 1% to 1000%"), None))
    };
    let metric = match entry.key.as_str() {
        "cpu" => Metric::Cpu(map.read(r, "cpu", &utilization)?),
        "memory" => Metric::Memory(map.read(r, "memory", &utilization)?),
        "response-time" => Metric::ResponseTime(map.read(r, "response-time", &duration(MS..=HOUR))?),
        "queue-depth" => Metric::QueueDepth(map.read(r, "queue-depth", &whole(1..=1_000_000_000))?),
        "send-lag" => Metric::SendLag(map.read(r, "send-lag", &duration(Span(1_000)..=HOUR))?),
        _ => return None,
    };
    if let Some((message, help)) = cannot_follow(metric, to) {
        r.error_with(&entry.at, message, help);
    }
    Some(metric)
}

/// Why this workload cannot follow the metric, and what to do.
fn cannot_follow(metric: Metric, to: &Followable) -> Option<(String, &'static str)> {
    let (workload, name) = (to.workload, metric.name());
    let generator = workload == "load-generator";
    let (possible, why, help) = match metric {
        Metric::Cpu(_) => (
            to.resources.cpu.is_some(),
            "its utilization is a share of `resources.cpu`, which is not given",
            "set `resources: { cpu: 250m }` or the like",
        ),
        Metric::Memory(_) => (
            to.resources.memory.is_some(),
            "its utilization is a share of `resources.memory`, which is not given",
            "set `resources: { memory: 128Mi }` or the like",
        ),
        Metric::ResponseTime(_) => (
            to.target,
            "response time is that of the load's target",
            "follow it at `load.target`; elsewhere follow cpu",
        ),
        Metric::QueueDepth(_) => {
            (to.queue, "it takes nothing from a queue", "message-service does, and user-service with `create: queued`")
        }
        Metric::SendLag(_) => (generator, "send lag is that of the load-generator", "follow it at load-generator"),
    };
    (!possible).then(|| (format!("{workload} cannot follow {name}: {why}"), help))
}

fn behavior(r: &mut Reading<'_>, node: &Node) -> Behavior {
    let map = r.map(node, "`behavior`", reference::BEHAVIOR);
    let behavior = Behavior {
        scale_up: map.get("scaleUp").map(|node| rules(r, node, "`scaleUp`")),
        scale_down: map.get("scaleDown").map(|node| rules(r, node, "`scaleDown`")),
    };
    for problem in behavior.problems() {
        let at = find(node, &problem.path);
        let field = problem.path.rsplit('.').next().unwrap_or_default();
        r.error(&at, format!("`{field}`: {}", problem.what));
    }
    behavior
}

/// The place of `behavior.scaleUp.policies[0].value`, or of the nearest mapping around it.
fn find(behavior: &Node, path: &str) -> At {
    let mut node = behavior;
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty()).skip(1);
    for step in steps {
        let inner = match (&node.value, step.parse::<usize>()) {
            (super::node::Value::List(items), Ok(index)) => items.get(index),
            _ => node.get(step),
        };
        let Some(inner) = inner else { break };
        node = inner;
    }
    node.at.clone()
}

/// Ranges are the algorithm's own to check; only what is no number of its type stops here.
fn int(text: &str) -> Result<i32, Wrong> {
    text.parse().map_err(|_| Wrong(format!("`{text}` is not a whole number"), None))
}

fn rules(r: &mut Reading<'_>, node: &Node, what: &str) -> ScalingRules {
    const SELECT: &[(&str, SelectPolicy)] =
        &[("Max", SelectPolicy::Max), ("Min", SelectPolicy::Min), ("Disabled", SelectPolicy::Disabled)];
    let map = r.map(node, what, reference::SCALING_RULES);
    let ratio = |text: &str| -> Result<f64, Wrong> {
        let milli = text.strip_suffix('m').and_then(|milli| milli.parse::<f64>().ok()).map(|milli| milli / 1000.0);
        let found = milli.or_else(|| text.parse().ok()).filter(|ratio: &f64| ratio.is_finite());
        found.ok_or_else(|| Wrong(format!("`{text}` is not a ratio; write it like `0.05` or `50m`"), None))
    };
    ScalingRules {
        stabilization_window_seconds: map.read(r, "stabilizationWindowSeconds", &int),
        select_policy: map.read(r, "selectPolicy", &one_of(SELECT)),
        policies: map.get("policies").map(|node| {
            let items = r.list(node, "`policies`");
            items.iter().filter_map(|item| policy(r, item)).collect()
        }),
        tolerance: map.read(r, "tolerance", &ratio),
    }
}

fn policy(r: &mut Reading<'_>, node: &Node) -> Option<ScalingPolicy> {
    const KINDS: &[(&str, PolicyType)] = &[("Pods", PolicyType::Pods), ("Percent", PolicyType::Percent)];
    let map = r.map(node, "a policy", reference::SCALING_POLICY);
    let kind = map.require(r, "type", "a policy", &one_of(KINDS));
    let value = map.require(r, "value", "a policy", &int);
    let period_seconds = map.require(r, "periodSeconds", "a policy", &int);
    Some(ScalingPolicy { kind: kind?, value: value?, period_seconds: period_seconds? })
}

/// Reads `autoscaler`.
pub(super) fn settings(r: &mut Reading<'_>, node: &Node) -> AutoscalerSettings {
    let map = r.map(node, "`autoscaler`", reference::AUTOSCALER);
    let default = AutoscalerSettings::default();
    let mut span = |key: &str, least: Span, default: Span| map.read(r, key, &duration(least..=HOUR)).unwrap_or(default);
    let second = Span::from_secs(1);
    AutoscalerSettings {
        sync_period: span("sync-period", second, default.sync_period),
        metric_resolution: span("metric-resolution", second, default.metric_resolution),
        downscale_stabilization: span("downscale-stabilization", Span::ZERO, default.downscale_stabilization),
        cpu_initialization_period: span("cpu-initialization-period", Span::ZERO, default.cpu_initialization_period),
        initial_readiness_delay: span("initial-readiness-delay", Span::ZERO, default.initial_readiness_delay),
        tolerance: map.read(r, "tolerance", &number(0.0..=1.0)).unwrap_or(default.tolerance),
    }
}
