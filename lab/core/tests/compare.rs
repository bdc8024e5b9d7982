//! Comparisons over made-up blocks: what failed is not left out, and a backlog is not throughput.

use lab_core::compare::{self, Comparison, Quantity, Value, Word};
use lab_core::event::{Event, Kind};
use lab_core::fixture::Scenario;
use lab_core::histogram::{Encoded, Histogram};
use lab_core::model::Model;
use lab_core::summary::Summary;
use lab_core::unit::Span;

/// Lets every tenth request of the hold phase of the variants and blocks fail that `fails` names.
fn failing(fails: impl Fn(u32, u32) -> bool) -> Vec<Event> {
    let mut events = Scenario::matrix(7, 3).events();
    let mut failing = false;
    for event in &mut events {
        match &mut event.kind {
            Kind::TrialStarted(info) => failing = fails(info.variant, info.block),
            Kind::Sample(sample) if failing => sample.phases.iter_mut().for_each(|phase| {
                let keep = |text: &Encoded, part: fn(u64) -> u64| {
                    let mut kept = Histogram::new();
                    let all = Histogram::decode(text).expect("a histogram");
                    let mut seen = 0;
                    all.buckets().for_each(|(value, n)| {
                        kept.record_n(value, part(seen + n) - part(seen));
                        seen += n;
                    });
                    kept.encode()
                };
                let good = |n: u64| n - n.div_ceil(10);
                let lost = phase.counts.completed.div_ceil(10);
                phase.failures = keep(&phase.response, |n| n.div_ceil(10));
                (phase.response, phase.service) = (keep(&phase.response, good), keep(&phase.service, good));
                phase.counts.completed -= lost;
                phase.counts.failed += lost;
            }),
            _ => {}
        }
    }
    events
}

fn p99(model: &Model, variant: u32) -> Comparison {
    let mut all = compare::comparisons(model).into_iter();
    all.find(|c| c.variant == variant && c.quantity == Quantity::P99).expect("a comparison")
}

#[test]
fn a_block_in_which_a_variant_failed_is_not_left_out() {
    let one = Model::of(&failing(|variant, block| variant == 2 && block == 1));
    let found = p99(&one, 2);
    assert_eq!((found.said.word(), found.ratio.blocks, found.ratio.ratio), (Word::CannotTell, 3, None));
    let reason = found.what_would_tell().expect("a reason");
    assert!(reason.contains("1 with this variant") && !reason.contains("the first"), "{reason}");
    assert_eq!(p99(&one, 1).reason, None, "the other variant is compared as before");
    let of = Summary::of(&one);
    assert!(of.comparisons.iter().any(|c| c.reason.as_ref() == Some(&reason) && c.said.word() == Word::CannotTell));
}

#[test]
fn who_fails_in_every_block_is_slower() {
    let theirs = p99(&Model::of(&failing(|variant, _| variant == 2)), 2);
    assert_eq!((theirs.said.word(), theirs.ratio.ratio), (Word::Slower, None));
    assert_eq!(p99(&Model::of(&failing(|variant, _| variant == 0)), 2).said.word(), Word::Faster);
    assert_eq!(p99(&Model::of(&failing(|_, _| true)), 2).said.word(), Word::CannotTell);
    assert_eq!(p99(&Model::of(&failing(|variant, block| variant == 2 || block == 0)), 2).said.word(), Word::CannotTell);
}

#[test]
fn too_few_requests_are_not_failures() {
    let phases = vec![("hold", 50.0, 8, true)];
    let model = Model::of(&Scenario { phases, ..Scenario::matrix(3, 3) }.events());
    let numbers = compare::numbers(&model);
    assert!(numbers.iter().flat_map(|n| &n.trials).all(|(_, values)| values[1] == Value::TooFew));
    assert_eq!((p99(&model, 1).ratio.blocks, p99(&model, 1).reason), (0, None));
}

#[test]
fn all_comparisons_share_the_confidence() {
    let model = Model::of(&Scenario::matrix(4, 3).events());
    let all = compare::comparisons(&model);
    assert_eq!(all.len(), 8);
    assert!(all.iter().all(|c| (c.ratio.confidence - (1.0 - 0.05 / 8.0)).abs() < 1e-12));
}

#[test]
fn a_backlog_answered_later_is_no_throughput() {
    let mut scenario = Scenario::matrix(5, 1);
    scenario.variants.truncate(1);
    scenario.variants[0].work = Span::from_millis(9);
    scenario.phases = vec![("hold", 150.0, 10, true), ("rest", 5.0, 30, false)];
    let model = Model::of(&scenario.events());
    let trial = &model.trials[0];
    let later = trial.phases[&0].ledger().completed as f64 / 10.0;
    let numbers = compare::numbers(&model);
    let [found] = numbers[0].values(Quantity::Throughput)[..] else { panic!("one trial counts: {numbers:?}") };
    assert!(found < 0.9 * later, "{found} a second while it was offered, {later} in the end");
    let in_time: u64 = trial.cells.stretches().iter().take(10).map(|s| s.value.counts.completed).sum();
    assert!((found - in_time as f64 / 10.0).abs() < 1e-6, "{found} {in_time}");
}
