//! What a cache did: how often it had the answer, how much of the reading it took off the store, and how long it was cold. From its
//! own counters, `cache-hits` and `cache-misses`.

use crate::compare;
use crate::event::Grade;
use crate::model::{Model, Trial, Workload};
use crate::parity::Parity;
use crate::series::{Last, Series};
use crate::spec::{CacheEngine, Spec};
use crate::unit::{RunTime, Span};

/// Share of its later hit ratio at which a cache is warm.
pub const WARM: f64 = 0.9;

/// The cache of one variant, over its trials that count.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheEffect {
    /// Index of the variant.
    pub variant: u32,
    /// `none`, `memory`, `redis`; several where its services differ.
    pub engine: String,
    /// How real it is; None without a cache.
    pub grade: Option<Grade>,
    /// What it counted in the measured phases; None without a cache, or where nothing was counted.
    pub counted: Option<Counted>,
}

/// What caches counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counted {
    /// Look-ups that found something.
    pub hits: f64,
    /// Look-ups that did not.
    pub misses: f64,
    /// Reads that were answered.
    pub reads: u64,
    /// From the beginning of load to the first second with [`WARM`] of the hit ratio: the longest of the trials. None: in some trial
    /// there was no such second.
    pub cold: Option<Span>,
}

impl Counted {
    /// Hits over look-ups; None without any.
    pub fn hit_ratio(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0.0).then(|| self.hits / all)
    }

    /// The share of reads that did not need the store; a miss is taken for one read of it. None without reads.
    pub fn offload(&self) -> Option<f64> {
        (self.reads > 0).then(|| (1.0 - self.misses / self.reads as f64).clamp(0.0, 1.0))
    }
}

/// The effect of the cache, a row a variant; none when no variant has a cache.
pub fn effects(model: &Model) -> Vec<CacheEffect> {
    let variants = model.run.as_ref().map_or(&[][..], |run| &run.variants);
    if variants.iter().all(|v| engines(&v.spec).is_empty()) {
        return Vec::new();
    }
    let parity = Parity::of(model);
    let effect = |(variant, spec): (u32, &Spec)| {
        let names = engines(spec);
        let mine = model.trials.iter().filter(|t| t.info.is_some_and(|info| info.variant == variant));
        let counted = mine.filter(|t| compare::counts(model, t)).filter_map(|t| counted(model, t)).reduce(|a, b| {
            let cold = a.cold.zip(b.cold).map(|(a, b)| a.max(b));
            let reads = a.reads.saturating_add(b.reads);
            Counted { hits: a.hits + b.hits, misses: a.misses + b.misses, reads, cold }
        });
        let engine = if names.is_empty() { "none".to_owned() } else { names.join(" / ") };
        CacheEffect {
            variant,
            engine,
            grade: (!names.is_empty()).then(|| parity.role_grade(variant, crate::spec::Role::Cache)),
            counted,
        }
    };
    (0..).zip(variants.iter().map(|v| &v.spec)).map(effect).collect()
}

fn engines(spec: &Spec) -> Vec<&'static str> {
    let services = &spec.services;
    let user = services.user_service.as_ref().map(|s| s.cache);
    let message = services.message_service.as_ref().map(|s| s.cache);
    let mut names: Vec<&str> =
        user.into_iter().chain(message).filter(|c| *c != CacheEngine::None).map(CacheEngine::name).collect();
    names.dedup();
    names
}

/// Of one trial; None where nothing was counted, or a counter fell because a replica went away with its cache.
fn counted(model: &Model, trial: &Trial) -> Option<Counted> {
    let measured = || trial.phases.iter().filter(|(i, _)| model.measured(trial, **i)).map(|(_, phase)| phase);
    let from = measured().filter_map(|p| p.started).min()?;
    let until = measured().filter_map(|p| p.window(trial.latest)).map(|(_, to)| to).max()?;
    let mut sum = Counted::default();
    for (hits, misses) in trial.workloads.values().filter_map(counters) {
        sum.hits += grown(hits, from, until)?;
        sum.misses += grown(misses, from, until)?;
    }
    let ratio = sum.hit_ratio()?;
    let reads = |phase: &crate::model::Phase| {
        ["get", "messages"].iter().filter_map(|name| phase.completed_by_operation.get(*name)).sum::<u64>()
    };
    sum.reads = measured().map(reads).fold(0, u64::saturating_add);
    sum.cold = cold(trial, ratio);
    Some(sum)
}

type Counters<'a> = (&'a Series<Last<f64>>, &'a Series<Last<f64>>);

fn counters(workload: &Workload) -> Option<Counters<'_>> {
    Some((workload.gauges.get("cache-hits")?, workload.gauges.get("cache-misses")?))
}

fn grown(counter: &Series<Last<f64>>, from: RunTime, until: RunTime) -> Option<f64> {
    let start = counter.before(from).map_or(0.0, |s| s.value.0);
    let grown = counter.before(until)?.value.0 - start;
    (grown >= 0.0).then_some(grown)
}

/// From the beginning of load to the first reading since whose predecessor enough look-ups were hits.
fn cold(trial: &Trial, ratio: f64) -> Option<Span> {
    let zero = trial.load_started?;
    let (hits, misses) = trial.workloads.values().find_map(counters)?;
    let readings: Vec<RunTime> = hits.stretches().iter().map(|s| s.from).filter(|at| *at > zero).collect();
    let mut last = zero;
    readings.into_iter().find_map(|at| {
        let (hits, misses) = (grown(hits, last, at)?, grown(misses, last, at)?);
        last = at;
        let all = hits + misses;
        (all > 0.0 && hits / all >= WARM * ratio).then(|| at.since(zero))
    })
}
