//! What an experiment would do: its trials in their order, what they create, how long they take. Nothing is done here.

use serde::{Deserialize, Serialize};

use crate::event::TrialInfo;
use crate::seed::{Seeded, derive};
use crate::spec::{
    Budget, CreateMode, EnvironmentKind, Experiment, QueueEngine, Resources, Spec, StoreEngine, Workload,
};
use crate::unit::Span;

/// Bringing up, preparing, counting and taking down, beside the load itself.
const TRIAL_OVERHEAD: Span = Span::from_secs(7);
/// What is in flight or queued after the last phase, as a rule.
const TRIAL_DRAIN: Span = Span::from_secs(2);

/// Everything a run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the experiment.
    pub experiment: String,
    /// Where it runs.
    pub environment: EnvironmentKind,
    /// The variants, by index.
    pub variants: Vec<PlannedVariant>,
    /// Every trial, in the order in which they run.
    pub order: Vec<TrialInfo>,
    /// How long it takes, estimated.
    pub wall: Span,
    /// What it costs, US dollars, estimated.
    pub usd: f64,
    /// What it may take and cost.
    pub budget: Budget,
}

/// One variant of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedVariant {
    /// Its label.
    pub label: String,
    /// Time of one trial, estimated.
    pub wall: Span,
    /// What each of its trials creates and removes.
    pub creates: Vec<Thing>,
}

/// Something that a trial creates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thing {
    /// `user-service`, `store of user-service`.
    pub name: String,
    /// Fewest and most of it at a time.
    pub count: (u32, u32),
    /// What it is and what limits it, one line.
    pub about: String,
}

impl Plan {
    /// The plan of an experiment: the same for the same seed, everywhere.
    pub fn of(experiment: &Experiment) -> Self {
        let spec = &experiment.spec;
        let variants = experiment.variants.iter().map(|variant| PlannedVariant {
            label: variant.label.clone(),
            wall: trial_wall(&variant.spec),
            creates: creates(&variant.spec),
        });
        Self {
            experiment: spec.name.clone(),
            environment: spec.environment,
            variants: variants.collect(),
            order: order(experiment.variants.len(), spec.repeats, spec.seed),
            wall: wall(experiment),
            usd: 0.0,
            budget: spec.budget,
        }
    }

    /// What of the budget it would overrun; empty when it keeps within it.
    pub fn over_budget(&self) -> Vec<String> {
        let mut over = Vec::new();
        if self.wall > self.budget.wall {
            over.push(format!("takes about {}, longer than `budget.wall` {}", self.wall, self.budget.wall));
        }
        if self.usd > self.budget.usd {
            over.push(format!("costs about {:.2} USD, more than `budget.usd` {:.2}", self.usd, self.budget.usd));
        }
        over
    }
}

/// Trials in blocks: each block has every variant once, shuffled, and one seed, so that its variants face the same arrivals.
fn order(variants: usize, repeats: u32, seed: u64) -> Vec<TrialInfo> {
    let mut shuffler = Seeded::new(seed, "order of trials");
    let mut order = Vec::new();
    for block in 0..repeats {
        let mut indexes: Vec<u32> = (0..).take(variants).collect();
        shuffler.shuffle(&mut indexes);
        // 53 bits: whoever reads the journal with JSON numbers of a browser gets the same seed.
        let arrivals = derive(seed, "arrivals of block", u64::from(block)) >> 11;
        let first = block * indexes.len() as u32;
        let trial = |(index, variant)| TrialInfo { trial: first + index, variant, block, seed: arrivals };
        order.extend((0..).zip(indexes).map(trial));
    }
    order
}

/// Time of all trials, estimated.
pub fn wall(experiment: &Experiment) -> Span {
    let block = experiment.variants.iter().fold(0_u64, |sum, variant| sum.saturating_add(trial_wall(&variant.spec).0));
    Span(block.saturating_mul(u64::from(experiment.spec.repeats)))
}

/// Time of one trial, estimated.
pub fn trial_wall(spec: &Spec) -> Span {
    let load = spec.load.as_ref().map_or(Span::ZERO, |load| Span(load.length().0.saturating_add(TRIAL_DRAIN.0)));
    Span(TRIAL_OVERHEAD.0.saturating_add(load.0))
}

fn creates(spec: &Spec) -> Vec<Thing> {
    let mut things = Vec::new();
    if let Some(service) = &spec.services.user_service {
        let queue = (service.create == CreateMode::Queued).then_some(service.queue);
        backing(&mut things, "user-service", service.store, queue);
        things.push(workload("user-service", &service.common));
    }
    if let Some(service) = &spec.services.message_service {
        backing(&mut things, "message-service", service.store, Some(service.queue));
        things.push(workload("message-service", &service.common));
    }
    things.push(workload("load-generator", &spec.services.load_generator.common));
    things
}

fn backing(things: &mut Vec<Thing>, service: &str, store: StoreEngine, queue: Option<QueueEngine>) {
    let thing = |what: &str, name: &str, about: &str| Thing {
        name: format!("{what} of {service}"),
        count: (1, 1),
        about: format!("{name}: {}", about.trim_end_matches('.')),
    };
    things.push(thing("store", store.name(), store.about()));
    things.extend(queue.map(|queue| thing("queue", queue.name(), queue.about())));
}

fn workload(name: &str, common: &Workload) -> Thing {
    let count = match &common.autoscale {
        Some(autoscale) => (autoscale.min.min(common.replicas), autoscale.max.max(common.replicas)),
        None => (common.replicas, common.replicas),
    };
    let follows = common.autoscale.as_ref().map(|autoscale| {
        let names: Vec<_> = autoscale.metrics.iter().map(|metric| metric.name()).collect();
        format!("follows {}", names.join(" and "))
    });
    let parts: Vec<String> = [Some(limits(common.resources)), follows].into_iter().flatten().collect();
    Thing { name: name.to_owned(), count, about: parts.join(", ") }
}

fn limits(resources: Resources) -> String {
    let limits =
        [resources.cpu.map(|cpu| format!("{cpu} CPU")), resources.memory.map(|memory| format!("{memory} memory"))];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if limits.is_empty() { "no limits".to_owned() } else { format!("{} each", limits.join(" and ")) }
}
