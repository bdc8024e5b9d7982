//! What is to be driven: a plan from the wire with everything checked, its templates parsed, divided among workers.

use lab_core::control::{LoadPlan, Share};
use lab_core::spec::Shape;
use lab_core::unit::Span;

use crate::request::Template;

/// Most connections of one generator.
const MOST_CONNECTIONS: u32 = 10_000;
const MOST_OPERATIONS: usize = 64;
const MOST_PHASES: usize = 1_000;
const MOST_GENERATORS: u32 = 4_096;
const MOST_QUEUED: u32 = 1_000_000;
const MOST_ARRIVALS_OF_A_TRACE: usize = 10_000_000;
const LONGEST_PHASE: Span = Span::from_secs(7 * 24 * 3600);
const LONGEST_WAIT: Span = Span::from_secs(600);
/// Highest rate whose gaps the clock can tell apart with room to spare.
const HIGHEST_RATE: f64 = 10_000_000.0;

/// Who decides when the next request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// The schedule, whatever the target does. Latencies count from the intended time.
    #[default]
    Open,
    /// The target: each connection sends again as soon as it was answered. It measures a maximum, not a latency under load.
    Closed,
}

/// Something to drive.
#[derive(Debug, Clone, PartialEq)]
pub struct Drive {
    /// The plan. At closed pace its rates do not count, only the lengths of its phases.
    pub plan: LoadPlan,
    /// Who sets the pace.
    pub pace: Pace,
    /// Ends the load after so many requests of the whole schedule, even in the middle of a phase.
    pub limit: Option<u64>,
}

impl From<LoadPlan> for Drive {
    fn from(plan: LoadPlan) -> Self {
        Self { plan, pace: Pace::Open, limit: None }
    }
}

/// A plan that can be driven: the part of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) wire: LoadPlan,
    pub(crate) templates: Vec<Template>,
    pub(crate) pace: Pace,
    /// Of the whole schedule at open pace, of this worker at closed pace.
    pub(crate) limit: Option<u64>,
    /// Added to a request's number to give `{n}`: plans of one run then share no number, and JSON readers keep all its digits.
    pub(crate) first_n: u64,
}

impl Plan {
    /// Checks a drive and divides it among `workers`; the errors are everything that is wrong.
    pub(crate) fn divide(drive: &Drive, workers: u32) -> Result<Vec<Self>, Vec<String>> {
        let mut wrong = validate(&drive.plan);
        if drive.limit == Some(0) {
            wrong.push("a load of 0 requests: give at least 1".to_owned());
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let templates: Vec<Template> = drive.plan.operations.iter().filter_map(|o| Template::new(o).ok()).collect();
        let part = |whole: u32, index: u32| (whole / workers + u32::from(index < whole % workers)).max(1);
        let limit_of = |index: u32| match drive.pace {
            Pace::Open => drive.limit,
            Pace::Closed => {
                drive.limit.map(|n| n / u64::from(workers) + u64::from(u64::from(index) < n % u64::from(workers)))
            }
        };
        Ok((0..workers)
            .map(|index| Self {
                wire: LoadPlan {
                    connections: part(drive.plan.connections, index),
                    max_queue: part(drive.plan.max_queue, index),
                    share: worker_share(drive.plan.share, index, workers),
                    ..drive.plan.clone()
                },
                templates: templates.clone(),
                pace: drive.pace,
                limit: limit_of(index),
                first_n: drive.plan.first_n(),
            })
            .collect())
    }
}

/// The part of a generator's share that one of its workers sends. An index that is not below the count owns nothing.
pub(crate) fn worker_share(share: Share, worker: u32, workers: u32) -> Share {
    let count = share.count * workers;
    Share { index: if share.index < share.count { share.index + share.count * worker } else { count }, count }
}

/// Everything that is wrong with a plan, each with what to change; empty when it can be driven.
pub fn validate(plan: &LoadPlan) -> Vec<String> {
    let mut wrong = Vec::new();
    if plan.id.is_empty() || plan.id.len() > 200 {
        wrong.push("id: give one of 1 to 200 characters".to_owned());
    }
    check_operations(plan, &mut wrong);
    check_phases(plan, &mut wrong);
    wrong.extend(check_connections(plan.connections));
    wrong.extend(check_count(plan.share).or_else(|| check_index(plan.share)));
    if plan.timeout < Span::from_millis(1) || plan.timeout > LONGEST_WAIT {
        wrong.push(format!("timeout: {} is outside 1ms to {LONGEST_WAIT}", plan.timeout));
    }
    if plan.drain > LONGEST_WAIT {
        wrong.push(format!("drain: {} is longer than {LONGEST_WAIT}", plan.drain));
    }
    if plan.max_queue > MOST_QUEUED {
        wrong.push(format!("max_queue: {} is more than {MOST_QUEUED}", plan.max_queue));
    }
    wrong
}

pub(crate) fn check_connections(connections: u32) -> Option<String> {
    (!(1..=MOST_CONNECTIONS).contains(&connections))
        .then(|| format!("connections: {connections} is outside 1 to {MOST_CONNECTIONS}"))
}

/// How many share the schedule; of a generator that is told to leave as well.
pub(crate) fn check_count(share: Share) -> Option<String> {
    let count = share.count;
    (!(1..=MOST_GENERATORS).contains(&count))
        .then(|| format!("share: a count of {count} is outside 1 to {MOST_GENERATORS}"))
}

fn check_index(share: Share) -> Option<String> {
    let Share { index, count } = share;
    (index >= count).then(|| format!("share: index {index} of {count} owns nothing; give one below the count"))
}

/// A rate of 0 is a pause.
pub(crate) fn check_rate(rate: f64) -> Option<String> {
    (!(rate.is_finite() && (0.0..=HIGHEST_RATE).contains(&rate)))
        .then(|| format!("rate: {rate}/s is outside 0/s to {HIGHEST_RATE}/s"))
}

/// Weights must be countable and not all zero.
pub(crate) fn check_weights(weights: impl Iterator<Item = f64> + Clone) -> Option<String> {
    let usable = weights.clone().all(|w| w.is_finite() && w >= 0.0) && weights.sum::<f64>() > 0.0;
    (!usable).then(|| "weights of operations: give numbers of 0 or more, at least one above 0".to_owned())
}

fn check_operations(plan: &LoadPlan, wrong: &mut Vec<String>) {
    if plan.operations.is_empty() || plan.operations.len() > MOST_OPERATIONS {
        wrong.push(format!("operations: {} given, 1 to {MOST_OPERATIONS} can be driven", plan.operations.len()));
        return;
    }
    wrong.extend(check_weights(plan.operations.iter().map(|o| o.weight)));
    for (index, operation) in plan.operations.iter().enumerate() {
        if plan.operations[..index].iter().any(|o| o.name == operation.name) {
            wrong.push(format!("operations: `{}` is named twice", operation.name));
        }
        wrong.extend(Template::new(operation).err().map(|e| e.to_string()));
    }
}

fn check_phases(plan: &LoadPlan, wrong: &mut Vec<String>) {
    if plan.phases.is_empty() || plan.phases.len() > MOST_PHASES {
        wrong.push(format!("phases: {} given, 1 to {MOST_PHASES} can be driven", plan.phases.len()));
    }
    for phase in plan.phases.iter().take(MOST_PHASES) {
        let mut add = |what: String| wrong.push(format!("phase `{}`: {what}", phase.name));
        if phase.length == Span::ZERO || phase.length > LONGEST_PHASE {
            add(format!("length {} is outside 1ns to {LONGEST_PHASE}", phase.length));
        }
        match &phase.rate {
            Shape::Constant(rate) => check_rate(rate.0).into_iter().for_each(&mut add),
            Shape::Ramp { from, to } => [from, to].into_iter().filter_map(|r| check_rate(r.0)).for_each(&mut add),
            Shape::Trace { offsets, .. } if offsets.len() > MOST_ARRIVALS_OF_A_TRACE => {
                add(format!("a trace of {} arrivals is longer than {MOST_ARRIVALS_OF_A_TRACE}", offsets.len()));
            }
            Shape::Trace { offsets, .. } if !offsets.is_sorted() => add("the trace's offsets must ascend".to_owned()),
            Shape::Trace { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use lab_core::control::{Operation, PlanPhase};
    use lab_core::spec::Arrivals;
    use lab_core::unit::Rate;

    use super::*;

    fn plan() -> LoadPlan {
        let operation = Operation {
            name: "get".into(),
            weight: 1.0,
            method: "GET".into(),
            path: "/".into(),
            headers: vec![],
            body: String::new(),
            creates_key: false,
            ledger: false,
        };
        LoadPlan {
            id: "p".into(),
            start_at_ns: None,
            operations: vec![operation],
            arrivals: Arrivals::Constant,
            phases: vec![PlanPhase { name: "a".into(), rate: Shape::Constant(Rate(10.0)), length: Span::from_secs(1) }],
            connections: 10,
            timeout: Span::from_secs(1),
            max_queue: 100,
            seed: 1,
            share: Share { index: 1, count: 3 },
            joins_at_ns: 0,
            keys: 0,
            drain: Span::ZERO,
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        assert_eq!(validate(&plan()), Vec::<String>::new());
        let bad = LoadPlan {
            id: String::new(),
            connections: 0,
            timeout: Span::ZERO,
            share: Share { index: 3, count: 3 },
            phases: vec![PlanPhase {
                name: "a".into(),
                rate: Shape::Ramp { from: Rate(f64::NAN), to: Rate(-1.0) },
                length: Span::ZERO,
            }],
            operations: vec![Operation { weight: 0.0, path: "x".into(), ..plan().operations[0].clone() }],
            ..plan()
        };
        let wrong = validate(&bad);
        assert_eq!(wrong.len(), 9, "{wrong:#?}");
    }

    #[test]
    fn workers_divide_connections_queue_limit_and_share() {
        let drive = Drive { plan: plan(), pace: Pace::Closed, limit: Some(7) };
        let parts = Plan::divide(&drive, 3).expect("valid");
        assert_eq!(parts.iter().map(|p| p.wire.connections).collect::<Vec<_>>(), [4, 3, 3]);
        assert_eq!(parts.iter().filter_map(|p| p.limit).sum::<u64>(), 7);
        for k in (0..90).filter(|k| k % 3 == 1) {
            let owners = parts.iter().filter(|p| k % p.wire.share.count == p.wire.share.index).count();
            assert_eq!(owners, 1, "request {k}");
        }
        assert!(parts[0].first_n + u64::from(u32::MAX) < 1 << 53);
    }
}
