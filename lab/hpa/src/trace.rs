//! The sentence about a decision: what it wants and why, with the numbers that decided.

use crate::behavior::SelectPolicy;
use crate::config::Config;
use crate::decision::{Active, Decision, Limit, Reason, Stabilization};
use crate::metric::{Basis, MetricError, Proposal, Source, Target};
use crate::stabilize::Stabilized;

const ASLEEP: &str = "scaling is off: either somebody else set this size, or no metric can wake the target";

pub(crate) fn why(decision: &Decision, config: &Config, held: Option<&Stabilized>) -> String {
    let head = if decision.rescale {
        format!("wants {} (was {})", decision.desired, decision.current)
    } else {
        format!("holds {}", decision.current)
    };
    let body = match (decision.active, decision.reason) {
        (Some(Active::ScalingDisabled), _) => ASLEEP.to_owned(),
        (Some(Active::ValidMetricFound), _) => followed(decision, config, held),
        (Some(_), _) => blocked(decision),
        (None, Some(Reason::AboveMax)) => format!("above the maximum of {}", config.max),
        (None, Some(Reason::BelowMin)) => format!("below the minimum of {}", config.min),
        (None, _) => "no metric is given".to_owned(),
    };
    format!("{head}: {body}")
}

/// A metric was followed: stabilization first where it decided, then the metric, then the limits.
fn followed(decision: &Decision, config: &Config, held: Option<&Stabilized>) -> String {
    let winner = decision.winner.and_then(|i| decision.proposals.get(i));
    let parts = [
        held.and_then(stabilization),
        winner.map(|proposal| metric(proposal, decision.desired, config)),
        failure_beside(decision),
        limit(decision, config),
        wake(decision, config),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

fn stabilization(held: &Stabilized) -> Option<String> {
    let (direction, extreme) = match held.verdict {
        Stabilization::ReadyForNewScale => return None,
        Stabilization::ScaleUpStabilized => ("up", "lowest"),
        Stabilization::ScaleDownStabilized => ("down", "highest"),
    };
    let (window, size) = (seconds(held.window_ms), held.held_by);
    Some(format!("scale-{direction} stabilized, {extreme} recommendation of the last {window} s is {size}"))
}

fn metric(proposal: &Proposal, desired: i32, config: &Config) -> String {
    let measured = measured(proposal);
    let ratio = proposal.ratio.map_or_else(String::new, |ratio| format!(", ratio {}", short_ratio(ratio)));
    let asks = match proposal.replicas {
        Some(replicas) if replicas != desired || proposal.basis.is_none() => format!(" asks for {replicas}"),
        _ => String::new(),
    };
    match proposal.basis {
        Some(Basis::WithinTolerance) => {
            let tolerances = config.tolerances();
            let above = proposal.ratio.is_some_and(|ratio| ratio >= 1.0);
            let tolerance = if above { tolerances.up } else { tolerances.down };
            format!("{measured} is within tolerance {}", short(tolerance))
        }
        Some(Basis::FilledHolds) => {
            format!("{measured}{ratio} is not clear enough{}", filled(proposal))
        }
        Some(Basis::Filled) => format!("{measured}{ratio}{}{asks}", filled(proposal)),
        Some(Basis::Ratio | Basis::Share) | None => format!("{measured}{ratio}{asks}"),
    }
}

fn measured(proposal: &Proposal) -> String {
    let name = &proposal.metric;
    let amount = |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |value| amount(proposal, value));
    match proposal.target {
        Target::Utilization(target) => {
            let used = proposal.utilization.unwrap_or_default();
            format!("{name} {used} % of {target} %")
        }
        _ if proposal.usage.is_none() && proposal.total.is_none() => name.clone(),
        Target::AverageValue(target) if proposal.usage.is_none() => {
            format!("{name} {} in all, {} for each replica", amount(proposal.total), amount(Some(target)))
        }
        Target::AverageValue(target) => {
            format!("{name} {} of {} for each replica", amount(proposal.usage), amount(Some(target)))
        }
        Target::Value(target) => format!("{name} {} of {}", amount(proposal.usage), amount(Some(target))),
    }
}

/// ` (1.35 with 1 missing and 2 unready pods)`
fn filled(proposal: &Proposal) -> String {
    let (Some(ratio), Some(groups)) = (proposal.filled_ratio, proposal.groups) else {
        return String::new();
    };
    let counted = |count: usize, word: &str| (count > 0).then(|| format!("{count} {word}"));
    let pods: Vec<_> =
        [counted(groups.missing, "missing"), counted(groups.unready, "unready")].into_iter().flatten().collect();
    let plural = if groups.missing + groups.unready == 1 { "" } else { "s" };
    format!(" ({} with {} pod{plural})", short_ratio(ratio), pods.join(" and "))
}

fn blocked(decision: &Decision) -> String {
    let failed = decision.proposals.iter().find(|proposal| proposal.error.is_some());
    let Some((proposal, error)) = failed.and_then(|proposal| Some((proposal, proposal.error?))) else {
        return "no metric gave a size".to_owned();
    };
    let best = decision.proposals.iter().filter_map(|proposal| proposal.replicas).max();
    let way_down = best.map_or_else(String::new, |best| format!(", which blocks the way down to {best}"));
    format!("{}{way_down}", failure(proposal, error))
}

fn failure_beside(decision: &Decision) -> Option<String> {
    let failed = decision.proposals.iter().find_map(|proposal| Some((proposal, proposal.error?)));
    failed.map(|(proposal, error)| failure(proposal, error))
}

fn failure(proposal: &Proposal, error: MetricError) -> String {
    let name = &proposal.metric;
    let what = match error {
        MetricError::MetricsUnavailable | MetricError::NoUsableSamples => format!("no usable sample of {name}"),
        MetricError::NoPods => format!("no pod to follow {name} with"),
        MetricError::MissingRequest => format!("a pod has no request for {name}"),
        MetricError::NoMatchingRequests => format!("the samples of {name} match no request"),
    };
    format!("{what} ({error})")
}

fn limit(decision: &Decision, config: &Config) -> Option<String> {
    let (limit, rate) = (decision.limit?, decision.rate_allows.unwrap_or(decision.current));
    match limit {
        Limit::TooManyReplicas => Some(format!("maximum is {}", config.max)),
        Limit::TooFewReplicas => Some(format!("minimum is {}", config.min)),
        Limit::ScaleUpLimit if disabled(config, true) => Some("scale-up is disabled".to_owned()),
        Limit::ScaleDownLimit if disabled(config, false) => Some("scale-down is disabled".to_owned()),
        Limit::ScaleUpLimit if config.behavior.is_none() => Some(format!("rate limit allows {rate}")),
        Limit::ScaleUpLimit | Limit::ScaleDownLimit => Some(format!("policy allows {rate}")),
        Limit::DesiredWithinRange if decision.rescale && config.behavior.is_some() => {
            let binds = |rate: &i32| *rate > 0;
            decision.rate_allows.filter(binds).map(|rate| format!("policy allows {rate}"))
        }
        Limit::DesiredWithinRange => None,
    }
}

fn disabled(config: &Config, up: bool) -> bool {
    let rules = config.behavior.as_ref().and_then(|b| if up { b.scale_up.as_ref() } else { b.scale_down.as_ref() });
    rules.is_some_and(|rules| rules.select_policy == Some(SelectPolicy::Disabled))
}

/// Waking from 0 reaches the minimum at once, whatever the limits say.
fn wake(decision: &Decision, config: &Config) -> Option<String> {
    let woken = decision.current == 0
        && decision.desired == config.min
        && decision.desired != 0
        && decision.limit != Some(Limit::TooFewReplicas)
        && decision.stabilized != Some(decision.desired);
    woken.then(|| format!("minimum is {}", config.min))
}

/// Milli-units as a person writes them: `250m` of CPU, `100 MiB` of memory, `83.334` of anything else.
fn amount(proposal: &Proposal, milli: i64) -> String {
    match (proposal.source, proposal.metric.as_str()) {
        (Source::Resource, "cpu") => format!("{milli}m"),
        (Source::Resource, "memory") => format!("{} MiB", short_up_to(milli as f64 / 1000.0 / 1_048_576.0, 1)),
        _ => short_up_to(milli as f64 / 1000.0, 3),
    }
}

fn seconds(ms: i64) -> String {
    short_up_to(ms as f64 / 1000.0, 3)
}

/// Two decimals; four where two would make it look like 1.
fn short_ratio(ratio: f64) -> String {
    let two = format!("{ratio:.2}");
    if two == "1.00" && ratio != 1.0 { format!("{ratio:.4}") } else { two }
}

/// Two decimals, or all that are needed.
fn short(value: f64) -> String {
    let two = format!("{value:.2}");
    if two.parse() == Ok(value) { two } else { value.to_string() }
}

fn short_up_to(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
