//! The model folded from made-up runs: whole, cut at every event, shuffled, with lost and repeated samples.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use lab_core::control::{Counts, LoadChange, PhaseSample, Sample};
use lab_core::event::{Event, Kind, Outcome, TrialInfo};
use lab_core::fixture::Scenario;
use lab_core::histogram::Histogram;
use lab_core::judge::{self, Verdict};
use lab_core::ledger::Ledger;
use lab_core::model::Model;
use lab_core::unit::{RunTime, Span};
use lab_core::validity::{self, Validity};
use proptest::prelude::*;

fn autoscale() -> Vec<Event> {
    Scenario::autoscale(1).events()
}

/// A run of few seconds, for tests that fold it many times.
fn short() -> Vec<Event> {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(make_short).clone()
}

fn make_short() -> Vec<Event> {
    let phases = vec![("warm-up", 60.0, 2, false), ("step", 160.0, 8, true)];
    Scenario { phases, ..Scenario::autoscale(5) }.events()
}

#[test]
fn a_whole_run_adds_up() {
    let model = Model::of(&autoscale());
    assert!(model.complete());
    let trial = &model.trials[0];
    let mut sum = Ledger::default();
    for phase in trial.phases.values() {
        assert!(phase.ledger().sums());
        assert_eq!(phase.imbalance(), 0);
        assert_eq!(phase.response.count(), phase.ledger().completed);
        assert_eq!(phase.send_lag.count(), phase.ledger().started);
        assert_eq!(phase.completed_by_operation.values().sum::<u64>(), phase.ledger().completed);
        sum += phase.ledger();
    }
    let seconds = trial.cells.stretches();
    assert_eq!(seconds.iter().map(|s| s.value.counts.offered).sum::<u64>(), sum.offered);
    assert_eq!(seconds.iter().flat_map(|s| s.value.heat()).map(|(_, n)| n).sum::<u64>(), sum.completed);
    assert!(seconds.iter().all(|s| s.value.complete() && s.value.expected == 2));
    let service = &trial.workloads["user-service"];
    assert_eq!(service.replicas.values().map(|r| r.completed).sum::<u64>(), sum.completed);
    assert_eq!(service.ready.stretches().iter().map(|s| s.value.0).max(), Some(4));
    assert_eq!(service.ready_now(), 0, "the trial was taken down");
    for check in validity::checks(&model, trial) {
        assert_eq!(check.grade, Validity::Valid, "{check:?}");
    }
}

#[test]
fn a_run_cut_anywhere_is_readable_and_incomplete() {
    let events = short();
    let mut model = Model::default();
    for (i, event) in events.iter().enumerate() {
        let last = i + 1 == events.len();
        model.apply(event);
        assert_eq!(model.complete(), last, "after event {}", event.n);
        assert_eq!(model.events.count(), i as u64 + 1);
        let conclusion = judge::conclude(&model);
        if i % 7 == 0 && !model.trials.first().is_some_and(|t| t.complete()) {
            let judged = judge::variants(&model).into_iter().flat_map(|v| v.expectations);
            assert!(judged.into_iter().all(|j| j.verdict != Verdict::Pass), "nothing passes before the end");
        }
        assert!(last || conclusion.exit_code != 0, "a cut run is never a clean pass");
    }
}

#[test]
fn samples_that_come_twice_count_once() {
    let events = short();
    let whole = Model::of(&events);
    let mut twice = events.clone();
    for event in events.iter().filter(|e| matches!(e.kind, Kind::Sample(_))) {
        twice.push(Event { n: twice.len() as u64 + 1, ..event.clone() });
    }
    let model = Model::of(&twice);
    assert_eq!(model.trials[0].phases, whole.trials[0].phases);
    assert_eq!(model.trials[0].cells, whole.trials[0].cells);
    assert!(model.trials[0].repeated_samples > 0);
}

#[test]
fn lost_samples_are_known_and_leave_a_gap() {
    let lost = |event: &Event| matches!(&event.kind, Kind::Sample(s) if s.generator == "load-generator-1" && (4..=6).contains(&s.seq));
    for announced in [false, true] {
        let mut events: Vec<Event> = short().into_iter().filter(|e| !lost(e)).collect();
        if announced {
            let at = events.iter().rposition(|e| matches!(e.kind, Kind::Sample(_))).expect("samples");
            let generator = "load-generator-1".to_owned();
            events[at].kind = Kind::SampleLost { generator, from_seq: 4, count: 3 };
        }
        events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
        let model = Model::of(&events);
        let trial = &model.trials[0];
        assert_eq!(trial.lost_samples(), 3);
        assert_eq!(trial.cells.stretches().iter().filter(|s| !s.value.complete()).count(), 3 + usize::from(announced));
        let checks = validity::checks(&model, trial);
        let samples = checks.iter().find(|c| c.name == "samples").expect("a check of samples");
        assert_eq!(samples.grade, Validity::Invalid, "{samples:?}");
        let law = checks.iter().find(|c| c.name == "Little's law").expect("a check of Little's law");
        assert_eq!(law.grade, Validity::Valid, "whole seconds still obey the law: {law:?}");
        assert_eq!(judge::conclude(&model).exit_code, 4);
    }
}

#[test]
fn a_generator_that_joins_within_a_second_is_counted_in_it() {
    for joiner_first in [false, true] {
        let mut events = short();
        for event in &mut events {
            if let Kind::SharesDealt { generators, .. } = &mut event.kind {
                generators.truncate(1);
            }
        }
        // The second generator begins at 3.6 s: what it sent before is taken away.
        let early = |e: &Event| matches!(&e.kind, Kind::Sample(s) if s.generator == "load-generator-2" && s.seq <= 3);
        events.retain(|e| !early(e));
        let at = events.iter().position(|e| matches!(&e.kind, Kind::Sample(s) if s.seq == 4)).expect("a fourth sample");
        let mut dealt = events[at].clone();
        let generators = vec!["load-generator-1".to_owned(), "load-generator-2".to_owned()];
        dealt.kind = Kind::SharesDealt { generators, from_ns: 3_600_000_000, cause: "scaled".to_owned() };
        events.insert(at, dealt);
        for event in &mut events {
            if let Kind::Sample(s) = &mut event.kind
                && s.generator == "load-generator-2"
            {
                s.from_ns = s.from_ns.max(3_600_000_000);
                s.seq -= 3;
            }
        }
        if joiner_first {
            let both = |e: &&mut Event| matches!(&e.kind, Kind::Sample(s) if s.to_ns == 4_000_000_000);
            let mut both = events.iter_mut().filter(both);
            let (one, two) = (both.next().expect("one"), both.next().expect("two"));
            std::mem::swap(&mut one.kind, &mut two.kind);
        }
        events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
        let model = Model::of(&events);
        let cells = model.trials[0].cells.stretches();
        let seen: Vec<u32> = cells.iter().map(|s| s.value.samples).collect();
        assert_eq!(seen[..6], [1, 1, 1, 2, 2, 2], "{seen:?}");
        assert!(cells.iter().all(|s| s.value.complete()), "{seen:?}");
        assert_eq!(cells[3].value.over, Span::from_secs(1));
    }
}

/// Changes every sample and says which checks of the trial are not valid.
fn broken(change: impl Fn(&mut Sample)) -> Vec<(&'static str, Validity)> {
    let mut events = short();
    for event in &mut events {
        if let Kind::Sample(sample) = &mut event.kind {
            change(sample);
        }
    }
    let model = Model::of(&events);
    let checks = validity::checks(&model, &model.trials[0]);
    checks.iter().filter(|c| c.grade != Validity::Valid).map(|c| (c.name, c.grade)).collect()
}

#[test]
fn each_fault_of_a_generator_is_found_by_its_check() {
    assert_eq!(broken(|_| {}), []);
    let lost_a_request =
        broken(|s| s.phases.iter_mut().for_each(|p| p.counts.completed -= u64::from(p.counts.completed > 0)));
    assert!(lost_a_request.contains(&("ledger", Validity::Invalid)), "{lost_a_request:?}");
    assert_eq!(broken(|s| s.cpu_ns = 930_000_000), [("generator CPU", Validity::Suspect)]);
    let stalled = broken(|s| s.longest_turn_ns = if s.seq == 6 { 900_000_000 } else { 1_000_000 });
    assert_eq!(stalled, [("stalls", Validity::Invalid)]);
    assert_eq!(broken(|s| s.longest_turn_ns = if s.seq == 6 { 51_000_000 } else { 1_000_000 }), [], "one is no stall");
    let two = broken(|s| s.longest_turn_ns = if s.seq == 6 || s.seq == 7 { 51_000_000 } else { 1_000_000 });
    assert_eq!(two, [("stalls", Validity::Suspect)]);
    let long = broken(|s| s.longest_turn_ns = if s.seq == 6 { 260_000_000 } else { 1_000_000 });
    assert_eq!(long, [("stalls", Validity::Suspect)]);
    let blind = broken(|s| s.in_flight_ns = s.in_flight_ns * 7 / 10);
    assert!(blind.contains(&("Little's law", Validity::Invalid)), "{blind:?}");
    let cut_tail = broken(|s| s.phases.iter_mut().for_each(|p| p.latency_sum_ns = p.latency_sum_ns * 12 / 10));
    assert_eq!(cut_tail, [("sums", Validity::Invalid)]);
    let late = broken(|s| {
        let mut lag = Histogram::new();
        s.phases.iter_mut().for_each(|p| {
            lag.clear();
            lag.record_n(Span::from_millis(80), p.counts.started);
            p.send_lag = lag.encode();
        });
    });
    assert!(late.contains(&("send lag", Validity::Invalid)), "{late:?}");
    let unreadable = broken(|s| s.phases.iter_mut().for_each(|p| p.service.0 = "no histogram".to_owned()));
    assert!(unreadable.contains(&("histograms", Validity::Invalid)), "{unreadable:?}");
}

/// Little's law by phase, after a change of every sample.
fn law(scenario: &Scenario, change: impl Fn(&mut Sample)) -> Vec<Validity> {
    let mut events = scenario.events();
    for event in &mut events {
        if let Kind::Sample(sample) = &mut event.kind {
            change(sample);
        }
    }
    let model = Model::of(&events);
    let checks = validity::checks(&model, &model.trials[0]);
    checks.iter().filter(|c| c.name == "Little's law").map(|c| c.grade).collect()
}

/// Four more requests of phase 0 from 3 s on that are over after the first half of the second that ends at `end_s`, good or failed.
fn hang(sample: &mut Sample, end_s: u64, good: bool) {
    let second = sample.to_ns / 1_000_000_000;
    if sample.generator != "load-generator-1" || !(4..=end_s).contains(&second) {
        return;
    }
    sample.in_flight_ns += if second == end_s { 2_000_000_000 } else { 4_000_000_000 };
    sample.in_flight += if second == end_s { 0 } else { 4 };
    if second < end_s {
        return;
    }
    let mut times = Histogram::new();
    times.record_n(Span::from_millis(end_s * 1_000 - 3_500), 4);
    let (times, none) = (times.encode(), Histogram::new().encode());
    let counts =
        Counts { completed: 4 * u64::from(good), failed: 4 * u64::from(!good), unfinished: -4, ..Counts::default() };
    let over = |this: bool| if this { times.clone() } else { none.clone() };
    let part = PhaseSample {
        phase: 0,
        counts,
        response: over(good),
        service: over(good),
        failures: over(!good),
        ..sample.phases[0].clone()
    };
    sample.phases.push(part);
}

#[test]
fn what_is_in_flight_at_the_edge_of_a_phase_breaks_no_law() {
    use Validity::{Invalid, Valid};
    let mut scenario = Scenario::autoscale(5);
    scenario.phases = vec![("slow", 60.0, 6, true), ("quiet", 4.0, 8, true)];
    assert_eq!(law(&scenario, |s| hang(s, 7, true)), [Valid, Valid]);
    assert_eq!(law(&scenario, |s| hang(s, 7, false)), [Valid, Valid]);
    scenario.phases = vec![("slow", 60.0, 6, true), ("quiet", 4.0, 8, false)];
    assert_eq!(law(&scenario, |s| hang(s, 9, false)), [Valid], "a target that hangs until the requests time out");
    assert_eq!(law(&scenario, |s| hang(s, 9_000, false)), [Invalid], "in flight and never over");
}

#[test]
fn counts_that_are_broken_break_the_law() {
    let mut scenario = Scenario::autoscale(5);
    scenario.phases = vec![("slow", 60.0, 20, true), ("quiet", 1.0, 8, true)];
    scenario.variants[0].work = Span::from_millis(30);
    assert_eq!(law(&scenario, |_| {}), [Validity::Valid; 2]);
    assert_eq!(law(&scenario, |s| s.in_flight_ns = s.in_flight_ns * 6 / 10)[0], Validity::Invalid);
    scenario.phases = vec![("warm-up", 20.0, 3, true), ("hold", 20.0, 10, true)];
    assert_eq!(law(&scenario, |s| s.in_flight_ns *= 2), [Validity::Invalid; 2]);
}

#[test]
fn a_suspect_run_passes_and_says_that_it_is_suspect() {
    let mut events = Scenario::matrix(4, 1).events();
    for event in &mut events {
        if let Kind::Sample(sample) = &mut event.kind {
            sample.longest_turn_ns = if sample.seq == 6 { 260_000_000 } else { 1_000_000 };
        }
    }
    let model = Model::of(&events);
    let conclusion = judge::conclude(&model);
    assert_eq!((conclusion.exit_code, conclusion.validity), (0, Validity::Suspect));
    assert_eq!(lab_core::summary::Summary::of(&model).validity, Validity::Suspect);
}

/// The check of what was done by hand, after these events came in the middle of a run.
fn by_hand(kinds: Vec<Kind>) -> Option<(Validity, String)> {
    let mut events = short();
    let middle = events.len() / 2;
    let t = events[middle].t;
    for kind in kinds {
        events.insert(middle, Event { t, src: "user".to_owned(), kind, ..events[middle].clone() });
    }
    events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
    let model = Model::of(&events);
    let checks = validity::checks(&model, &model.trials[0]);
    checks.into_iter().find(|c| c.name == "by hand").map(|c| (c.grade, c.reason))
}

#[test]
fn what_is_done_by_hand_makes_a_trial_suspect() {
    let load = |change| Kind::LoadChanged { change, by: "user".to_owned() };
    let suspect = |kinds, words: &[&str]| {
        let (grade, reason) = by_hand(kinds).expect("a check");
        assert_eq!(grade, Validity::Suspect);
        assert!(words.iter().all(|word| reason.contains(word)), "{words:?} in {reason}");
    };
    let plain = LoadChange::default;
    suspect(vec![load(LoadChange { rate: Some(9.0), ..plain() })], &["(rate) by hand"]);
    suspect(vec![load(LoadChange { mix: Some(BTreeMap::new()), ..plain() })], &["(mix)"]);
    suspect(vec![load(LoadChange { connections: Some(3), ..plain() })], &["(connections)"]);
    let twice = LoadChange { pause: Some(true), skip: Some(true), ..plain() };
    suspect(vec![load(twice.clone()), load(twice)], &["(pause, skipped phase)"]);
    let fault = |n: usize| Kind::Fault {
        workload: "user-service".to_owned(),
        replica: format!("user-service-{n}"),
        what: "killed".to_owned(),
        by: "user".to_owned(),
    };
    suspect(vec![fault(1)], &["user-service-1 was killed by hand"]);
    suspect((0..7).map(fault).collect(), &["and 3 more by hand"]);
    let mut planned = fault(1);
    if let Kind::Fault { by, .. } = &mut planned {
        "phase crash".clone_into(by);
    }
    assert_eq!(by_hand(vec![planned]), None, "what the spec breaks is the trial of the spec");
    let scaled = Kind::Scaled { workload: "user-service".to_owned(), from: 1, to: 2, cause: "user".to_owned() };
    suspect(vec![scaled], &["user-service was scaled by hand"]);
    assert_eq!(by_hand(vec![Kind::Note { text: "look".to_owned() }]), None, "a remark changes nothing");
}

#[test]
fn a_still_belongs_to_the_trial_that_it_shows() {
    let seconds = |s: u64| RunTime(s * 1_000_000_000);
    let trial = |trial| Kind::TrialStarted(TrialInfo { trial, variant: 0, block: 0, seed: 1 });
    let still = |at| Kind::Still { at: seconds(at), size: (80, 24), files: Vec::new() };
    let kinds =
        [(10, trial(0)), (20, still(15)), (110, trial(1)), (120, still(15)), (130, still(125)), (140, still(5))];
    let event =
        |(i, (t, kind)): (usize, (u64, Kind))| Event { n: i as u64 + 1, t: seconds(t), kind, ..short()[0].clone() };
    let events: Vec<Event> = kinds.into_iter().enumerate().map(event).collect();
    let trials: Vec<_> = Model::of(&events).stills.into_iter().map(|still| still.trial).collect();
    assert_eq!(trials, [Some(0), Some(0), Some(1), None]);
}

#[test]
fn an_interrupted_trial_does_not_pass() {
    let mut events = short();
    for event in &mut events {
        if let Kind::TrialEnded { outcome, .. } | Kind::RunEnded { outcome } = &mut event.kind {
            *outcome = Outcome::Interrupted;
        }
    }
    let model = Model::of(&events);
    assert!(!model.complete());
    assert_ne!(judge::conclude(&model).exit_code, 0);
}

#[test]
fn an_hour_of_two_generators_stays_small() {
    let scenario = Scenario { phases: vec![("hold", 40.0, 600, true)], ..Scenario::autoscale(2) };
    let events = scenario.events();
    let model = Model::of(&events);
    let ten_minutes = model.heap_bytes();
    assert!(6 * ten_minutes < 12 << 20, "{ten_minutes} bytes for ten minutes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_order_of_events_is_taken(order in Just((0..short().len()).collect::<Vec<_>>()).prop_shuffle(), skip in 0_usize..40) {
        let events = short();
        let model = Model::of(order.iter().skip(skip).map(|i| &events[*i]));
        prop_assert_eq!(model.events.count(), (events.len() - skip) as u64);
        for trial in &model.trials {
            drop((judge::trial(&model, trial), validity::checks(&model, trial), lab_core::episode::episodes(&model, trial)));
        }
        drop((judge::conclude(&model), lab_core::compare::comparisons(&model)));
    }

    #[test]
    fn any_times_and_counts_are_taken(seed in any::<u64>()) {
        let mut events = short();
        let mut x = seed | 1;
        let mut wild = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            [0, 1, x >> 40, x, u64::MAX][(x >> 61) as usize % 5]
        };
        for event in &mut events {
            if wild() % 3 == 0 {
                event.t.0 = wild();
            }
            match &mut event.kind {
                Kind::Sample(s) => {
                    (s.from_ns, s.to_ns, s.seq) = (wild(), wild(), wild());
                    (s.in_flight_ns, s.cpu_ns, s.queued, s.in_flight) = (wild(), wild(), wild(), wild());
                    for p in &mut s.phases {
                        (p.phase, p.counts.offered, p.counts.completed) = (wild() as u32, wild(), wild());
                        (p.counts.unfinished, p.latency_sum_ns) = (wild() as i64, wild());
                    }
                }
                Kind::PhaseStarted { at, index, .. } | Kind::PhaseEnded { at, index, .. } => {
                    (at.0, *index) = (wild(), wild() as u32 % 3);
                }
                Kind::LoadStarted { at } => at.0 = wild() % 2 * 1_000,
                Kind::Conserved(c) => {
                    (c.acknowledged, c.indeterminate, c.untold) = (wild(), wild(), wild());
                    (c.compared.found, c.compared.lost.count, c.compared.unexpected.count) = (wild(), wild(), wild());
                    c.drained = wild() % 2 == 0;
                }
                _ => {}
            }
        }
        let model = Model::of(&events);
        for trial in &model.trials {
            drop((judge::trial(&model, trial), validity::checks(&model, trial), lab_core::episode::episodes(&model, trial)));
            drop(trial.cells.columns(lab_core::unit::RunTime(0), trial.latest, 50));
        }
        drop((judge::conclude(&model), lab_core::compare::comparisons(&model)));
    }
}
