//! From a model to its summary.

use std::collections::BTreeMap;

use super::{
    BackingSummary, CacheSummary, CapacitySummary, CheckSummary, ComparisonSummary, EpisodeSummary, EstimateSummary,
    ExpectationSummary, FaultSummary, FidelitySummary, ObserverSummary, PatchSummary, PhaseSummary, PointSummary,
    Quantiles, RateSummary, RemarkSummary, ReplicaSummary, SUMMARY_VERSION, Summary, TrialSummary, VariantSummary,
};
use crate::around::{Around, Patch, around};
use crate::cache::{self, CacheEffect};
use crate::compare::{self, Comparison, Quantity};
use crate::curve::{self, Estimate, Point};
use crate::distribution::Distribution;
use crate::episode::{self, Episode};
use crate::judge::{self, Judged};
use crate::model::{Model, Phase, Remark, Trial};
use crate::unit::{RunTime, Span};
use crate::validity::{self, Check};
use crate::words::visible;

impl Summary {
    /// Sums up a model. A model without its first event gives empty names.
    pub fn of(model: &Model) -> Self {
        let run = model.run.as_deref();
        let text = |of: fn(&crate::event::RunInfo) -> &String| run.map(of).cloned().unwrap_or_default();
        let conclusion = judge::conclude(model);
        Self {
            summary_version: SUMMARY_VERSION,
            run: text(|r| &r.run),
            lab_version: text(|r| &r.version),
            started_at: text(|r| &r.started_at),
            experiment: text(|r| &r.spec.name),
            question: text(|r| &r.spec.question),
            answer: crate::answer::answer(model),
            complete: conclusion.complete,
            outcome: model.ended.map(|(_, outcome)| outcome),
            planned_trials: model.planned_trials(),
            finished_trials: model.finished_trials(),
            missing_events: model.missing_events(),
            verdict: conclusion.verdict,
            validity: conclusion.validity,
            exit_code: conclusion.exit_code,
            variants: variants(model),
            parity: crate::parity::Parity::of(model).roles,
            comparisons: compare::comparisons(model).iter().map(|c| comparison(model, c)).collect(),
            trials: model.trials.iter().filter_map(|t| trial(model, t)).collect(),
            fidelity: fidelity(model),
            warnings: model.warnings.iter().map(remark).collect(),
            notes: model.notes.iter().map(remark).collect(),
            left_behind: model.left_behind.iter().flat_map(|l| l.things.clone()).collect(),
            observer: ObserverSummary {
                cpu_s: model.observer.cpu_ns as f64 / 1e9,
                over_s: model.observer.over.as_secs_f64(),
                peak_rss_bytes: model.observer.peak_rss_bytes,
            },
            host: run.map(|r| r.host.clone()).unwrap_or_default(),
        }
    }

    /// As indented JSON, ending with a line break.
    ///
    /// # Errors
    /// Never for a summary made by [`Self::of`].
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }
}

fn variants(model: &Model) -> Vec<VariantSummary> {
    let numbers = compare::numbers(model);
    let judged = judge::variants(model);
    let (curves, caches) = (curve::curves(model), cache::effects(model));
    let both = numbers.iter().zip(&judged);
    both.map(|(numbers, judged)| {
        let values = Quantity::ALL.into_iter().map(|q| (q.name().to_owned(), numbers.values(q)));
        let info = model.run.as_ref().and_then(|run| run.variants.get(numbers.variant as usize));
        let curve = curves.iter().find(|curve| curve.variant == numbers.variant);
        VariantSummary {
            label: model.label(numbers.variant),
            cell: info.map(|info| info.cell.clone()).unwrap_or_default(),
            expectations: judged.expectations.iter().map(expectation).collect(),
            values: values.collect::<BTreeMap<_, _>>(),
            left_out: numbers.left_out,
            backing: backing(model, numbers.variant),
            curve: curve.map_or_else(Vec::new, |curve| curve.points.iter().map(rate).collect()),
            capacity: curve.and_then(|curve| curve.capacity.as_ref()).map(|capacity| CapacitySummary {
                at_least: capacity.at_least,
                below: capacity.below,
                text: capacity.text(),
            }),
            cache: caches.iter().find(|effect| effect.variant == numbers.variant).map(cache_effect),
        }
    })
    .collect()
}

/// Each once, however many trials found it.
fn backing(model: &Model, variant: u32) -> Vec<BackingSummary> {
    let mine = model.trials.iter().filter(|t| t.info.is_some_and(|info| info.variant == variant));
    let mut all: Vec<BackingSummary> = Vec::new();
    for seen in mine.flat_map(|t| &t.backing) {
        let found = BackingSummary {
            name: seen.name.clone(),
            server: seen.server.clone(),
            image: seen.image.as_ref().map(|image| image.name.clone()),
            digest: seen.image.as_ref().map(|image| image.digest.clone()),
            promises: seen.promises.clone(),
        };
        if !all.contains(&found) {
            all.push(found);
        }
    }
    all
}

fn rate(point: &Point) -> RateSummary {
    let estimate = |e: &Estimate| EstimateSummary {
        ns: e.value,
        low: e.interval.map(|i| i.0).filter(|v| v.is_finite()),
        high: e.interval.map(|i| i.1).filter(|v| v.is_finite()),
        beyond: e.beyond,
    };
    RateSummary {
        phase: point.phase.clone(),
        offered_per_s: point.offered,
        completed_per_s: point.completed,
        p50: estimate(&point.p50),
        p99: estimate(&point.p99),
        errors: point.errors,
        trials: point.trials,
        kept_up: point.kept_up,
        suspect: point.suspect,
        holds: point.holds,
    }
}

fn cache_effect(effect: &CacheEffect) -> CacheSummary {
    let counted = effect.counted.as_ref();
    CacheSummary {
        engine: effect.engine.clone(),
        hit_ratio: counted.and_then(|c| c.hit_ratio()),
        lookups: counted.map(|c| c.hits + c.misses),
        offload: counted.and_then(|c| c.offload()),
        cold_s: counted.and_then(|c| c.cold).map(Span::as_secs_f64),
    }
}

fn fault(around: &Around, zero: RunTime) -> FaultSummary {
    let patch = |p: &Patch| PatchSummary { p99_ns: p.p99.map(|s| s.0), errors: p.errors, completed_per_s: p.completed };
    FaultSummary {
        target: around.fault.replica.clone(),
        what: around.fault.what.clone(),
        at_s: (around.fault.at.0 as f64 - zero.0 as f64) / 1e9,
        lasted_s: around.over.since(around.fault.at).as_secs_f64(),
        before: patch(&around.before),
        during: patch(&around.during),
        after: patch(&around.after),
    }
}

fn expectation(judged: &Judged) -> ExpectationSummary {
    let finite = |value: f64| value.is_finite().then_some(value);
    ExpectationSummary {
        expectation: judged.expectation.to_string(),
        verdict: judged.verdict,
        measured: judged.measured.clone(),
        why: judged.why.clone(),
        low: finite(judged.low),
        high: finite(judged.high),
    }
}

fn comparison(model: &Model, c: &Comparison) -> ComparisonSummary {
    ComparisonSummary {
        variant: model.label(c.variant),
        against: model.label(0),
        quantity: c.quantity,
        said: c.said.clone(),
        ratio: c.ratio.ratio,
        low: c.ratio.interval.map(|i| i.0).filter(|v| v.is_finite()),
        high: c.ratio.interval.map(|i| i.1).filter(|v| v.is_finite()),
        confidence: c.ratio.confidence,
        blocks: c.ratio.blocks,
        more_blocks: c.ratio.more_blocks,
        reason: c.reason.clone(),
    }
}

fn trial(model: &Model, trial: &Trial) -> Option<TrialSummary> {
    let info = trial.info?;
    let checks = validity::checks(model, trial);
    Some(TrialSummary {
        trial: info.trial,
        variant: model.label(info.variant),
        block: info.block,
        seed: info.seed,
        outcome: trial.ended.as_ref().map(|end| end.outcome),
        error: trial.ended.as_ref().and_then(|end| end.error.as_deref()).map(visible),
        validity: validity::overall(&checks),
        checks: checks.into_iter().map(check).collect(),
        expectations: judge::trial(model, trial).iter().map(expectation).collect(),
        phases: trial.phases.iter().map(|(index, p)| phase(p, model.measured(trial, *index))).collect(),
        episodes: episode::episodes(model, trial).iter().map(|e| episode(e, trial.load_started)).collect(),
        replicas: replicas(trial),
        faults: around(trial).iter().map(|a| fault(a, trial.load_started.unwrap_or_default())).collect(),
        deliveries: trial.workloads.values().flat_map(|workload| workload.conserved.iter().cloned()).collect(),
    })
}

fn check(check: Check) -> CheckSummary {
    CheckSummary {
        name: check.name.to_owned(),
        subject: check.subject,
        measured: check.measured,
        bounds: check.bounds.to_owned(),
        grade: check.grade,
        reason: check.reason,
    }
}

fn phase(phase: &Phase, measured: bool) -> PhaseSummary {
    PhaseSummary {
        name: phase.name.clone(),
        measured,
        seconds: phase.length().map(Span::as_secs_f64),
        ledger: phase.ledger(),
        response: Quantiles::of(&phase.response),
        service: Quantiles::of(&phase.service),
        send_lag: Quantiles::of(&phase.send_lag),
        completed_by_operation: phase.completed_by_operation.clone(),
        failures_by_cause: phase.failures_by_cause.clone(),
    }
}

impl Quantiles {
    /// Those of a distribution that it has enough values for.
    pub fn of(distribution: &Distribution) -> Self {
        let count = distribution.count();
        let at = |q: f64| distribution.quantile(q).filter(|_| count as f64 * (1.0 - q) >= 10.0).map(|s| s.0);
        let max_ns = distribution.max().map(|s| s.0);
        Self { count, p50_ns: at(0.5), p90_ns: at(0.9), p99_ns: at(0.99), p999_ns: at(0.999), max_ns }
    }
}

fn episode(episode: &Episode, zero: Option<RunTime>) -> EpisodeSummary {
    let zero = zero.unwrap_or_default();
    let points = episode.marks.iter().map(|mark| PointSummary {
        point: mark.point,
        at_s: (mark.at.0 as f64 - zero.0 as f64) / 1e9,
        source: mark.source.to_owned(),
        precision_s: mark.precision.as_secs_f64(),
    });
    EpisodeSummary {
        workload: episode.workload.clone(),
        direction: episode.direction,
        from: episode.from,
        to: episode.to,
        replica: episode.replica.clone(),
        path: episode.sentence(),
        recovery_s: episode.recovered_after().map(Span::as_secs_f64),
        points: points.collect(),
    }
}

fn replicas(trial: &Trial) -> Vec<ReplicaSummary> {
    let all = trial.workloads.iter().flat_map(|(name, workload)| workload.replicas.iter().map(move |r| (name, r)));
    all.map(|(workload, (replica, r))| ReplicaSummary {
        workload: workload.clone(),
        replica: replica.clone(),
        completed: r.completed,
        failed: r.failed,
        cpu_s: r.cpu_ns as f64 / 1e9,
        peak_rss_bytes: r.peak_rss_bytes,
        died: r.died,
    })
    .collect()
}

fn fidelity(model: &Model) -> Vec<FidelitySummary> {
    let all = model.run.as_ref().map_or(0, |run| run.variants.len());
    let labels = |variants: &[u32]| {
        let some = variants.len() < all;
        variants.iter().filter(|_| some).map(|v| model.label(*v)).collect()
    };
    let stated = model.fidelity.iter().map(|f| FidelitySummary {
        subject: visible(&f.subject),
        grade: f.grade,
        note: visible(&f.note),
        variants: labels(&f.variants),
    });
    stated.collect()
}

fn remark(remark: &Remark) -> RemarkSummary {
    RemarkSummary { at_s: remark.at.as_secs_f64(), text: visible(&remark.text) }
}
