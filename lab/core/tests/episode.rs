//! Episodes and expectations of made-up runs.

use std::sync::OnceLock;

use lab_core::deliveries::Conserved;
use lab_core::episode::{Direction, Episode, Point, Recovery, episodes};
use lab_core::event::{Event, Kind};
use lab_core::fixture::Scenario;
use lab_core::histogram::Histogram;
use lab_core::judge::{self, Judged, Verdict};
use lab_core::model::Model;
use lab_core::unit::Span;

fn events() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| Scenario::autoscale(1).events())
}

fn model() -> Model {
    Model::of(events())
}

#[test]
fn a_step_is_followed_from_load_to_recovery() {
    let model = model();
    let trial = &model.trials[0];
    let all = episodes(&model, trial);
    let ups: Vec<&Episode> = all.iter().filter(|e| e.direction == Direction::Up).collect();
    let [up] = ups.as_slice() else { panic!("one way up: {all:?}") };
    assert_eq!((up.workload.as_str(), up.from, up.to), ("user-service", 1, 4));
    let points: Vec<Point> = up.marks.iter().map(|m| m.point).collect();
    use Point::{Created, Decided, FirstAnswer, LoadChanged, Ready, Recovered, SampleSeen, Started};
    assert_eq!(points, [LoadChanged, SampleSeen, Decided, Created, Started, Ready, FirstAnswer, Recovered]);
    assert_eq!(up.at(LoadChanged), trial.phases[&1].started);
    assert_eq!(up.path().iter().map(|leg| leg.took.0).sum::<u64>(), up.length().0, "the legs sum to the whole");
    assert_eq!(up.recovered_after(), Some(up.length()));
    assert!(matches!(up.recovery, Recovery::At(_)));
    assert_eq!(
        up.sentence(),
        "26.0 s: 3.0 waiting for a sample, 11.7 deciding (in 2 steps), 0.2 starting, 1.2 becoming ready, 9.9 draining the backlog"
    );
}

#[test]
fn the_way_down_ends_when_the_last_replica_is_gone() {
    let model = model();
    let trial = &model.trials[0];
    let downs: Vec<Episode> = episodes(&model, trial).into_iter().filter(|e| e.direction == Direction::Down).collect();
    let [down] = downs.as_slice() else { panic!("one way down: {downs:?}") };
    assert_eq!((down.from, down.to), (4, 1));
    assert_eq!(down.at(Point::LoadChanged), trial.phases[&2].started);
    let taken_down = trial.ended.as_ref().expect("it ended").at;
    assert!(down.at(Point::Stopped).is_some_and(|at| at < taken_down), "not the end of the trial");
    assert!(down.length() > Span::from_secs(40), "the window of highest recommendations holds it up");
}

#[test]
fn a_fall_while_load_is_high_is_not_blamed_on_the_load() {
    let mut events = events().to_vec();
    let at =
        events.iter().position(|e| matches!(&e.kind, Kind::PhaseEnded { name, .. } if name == "step")).expect("a step");
    let workload = "user-service".to_owned();
    let fall = Kind::Scaled { workload, from: 4, to: 3, cause: "autoscaler".to_owned() };
    let mut t = events[at].t;
    t.0 -= 5_000_000_000;
    events.insert(at, Event { t, kind: fall, ..events[at].clone() });
    events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
    let model = Model::of(&events);
    let all = episodes(&model, &model.trials[0]);
    let fall = all.iter().find(|e| (e.from, e.to) == (4, 3)).expect("the fall");
    assert_eq!(fall.at(Point::LoadChanged), None);
    assert_eq!(fall.at(Point::Decided), Some(t));
}

fn judged(model: &Model, text: &str) -> Judged {
    let trial = &model.trials[0];
    let expectation = text.parse().expect(text);
    judge::judge(&expectation, &judge::measure(model, trial, &expectation), trial.complete())
}

#[test]
fn every_measure_is_judged() {
    let model = model();
    let table = [
        ("p99(step) < 250ms", Verdict::Fail),
        ("p50(cool-down) < 50ms", Verdict::Pass),
        ("p99.9(cool-down) < 10s", Verdict::CannotTell),
        ("max(step) < 1s", Verdict::Fail),
        ("max < 1m", Verdict::Pass),
        ("send-lag(cool-down) < 5ms", Verdict::Pass),
        ("errors < 0.1%", Verdict::Pass),
        ("errors <= 0%", Verdict::Fail),
        ("completed > 99%", Verdict::Pass),
        ("recovery(step) < 1m", Verdict::Pass),
        ("recovery(step) < 20s", Verdict::Fail),
        ("recovery(cool-down) < 1s", Verdict::Pass),
        ("replicas(step) = 4", Verdict::Pass),
        ("replicas < 4", Verdict::Fail),
        ("backlog < 100000", Verdict::Pass),
        ("backlog(cool-down) > 1", Verdict::Pass),
        ("hit-ratio > 80%", Verdict::CannotTell),
        ("lost = 0", Verdict::Pass),
        ("p99(nowhere) < 1s", Verdict::CannotTell),
    ];
    for (text, verdict) in table {
        let judged = judged(&model, text);
        assert_eq!(judged.verdict, verdict, "{text}: {} ({})", judged.measured, judged.why);
        assert!(!judged.why.is_empty() || verdict == Verdict::Pass, "{text} says why");
    }
    let few = judged(&model, "p99.9(cool-down) < 10s");
    assert!(few.why.contains("are too few, it takes 10\u{202f}000"), "{}", few.why);
}

#[test]
fn the_way_of_messages_is_merged_over_its_seconds_and_known_to_its_buckets() {
    let mut events = events().to_vec();
    let during = |phase: &str| {
        let starts = |e: &Event| matches!(&e.kind, Kind::PhaseStarted { name, .. } if name == phase);
        events.iter().position(starts).expect("such a phase") + 1
    };
    // From the last phase on, so that positions stay.
    for (at, took, messages) in [(during("cool-down"), 900, 990), (during("step"), 100, 1010)] {
        let mut delays = Histogram::new();
        delays.record_n(Span::from_millis(took), messages);
        let over = Span::from_secs(1);
        let kind = Kind::EndToEnd { workload: "message-service".to_owned(), over, delays: delays.encode() };
        let mut t = events[at].t;
        t.0 += 2_000_000_000;
        events.insert(at, Event { t, kind, ..events[at].clone() });
    }
    events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
    let model = Model::of(&events);
    for (text, verdict) in [
        ("delivery-p99(step) < 101ms", Verdict::Pass),
        ("delivery-p99(step) < 90ms", Verdict::CannotTell),
        ("delivery-p99(step) < 70ms", Verdict::Fail),
        ("delivery-p50 < 200ms", Verdict::Pass),
        ("delivery-p99 < 200ms", Verdict::Fail),
        ("delivery-p99.9(step) < 1h", Verdict::CannotTell),
    ] {
        let judged = judged(&model, text);
        assert_eq!(judged.verdict, verdict, "{text}: {} ({})", judged.measured, judged.why);
    }
}

/// The run up to the first event that `stop` accepts.
fn until(stop: impl Fn(&Event) -> bool) -> Model {
    let events = events();
    let end = events.iter().position(stop).expect("such an event");
    Model::of(&events[..end])
}

#[test]
fn a_cut_trial_fails_only_what_can_no_longer_hold() {
    let cut = until(|e| matches!(&e.kind, Kind::PhaseEnded { name, .. } if name == "step"));
    let table = [
        ("p99(step) < 250ms", Verdict::Fail),
        ("p50(step) < 10s", Verdict::CannotTell),
        ("replicas(step) < 4", Verdict::Fail),
        ("replicas(step) < 5", Verdict::CannotTell),
        ("replicas(step) >= 4", Verdict::CannotTell),
        ("recovery(step) < 20s", Verdict::Fail),
        ("errors(step) < 0.001%", Verdict::Fail),
        ("errors(step) < 5%", Verdict::CannotTell),
        ("lost = 0", Verdict::CannotTell),
    ];
    for (text, verdict) in table {
        let judged = judged(&cut, text);
        assert_eq!(judged.verdict, verdict, "{text}: {} ({})", judged.measured, judged.why);
    }
}

#[test]
fn the_delivery_ledger_decides_what_it_can() {
    let judged = |change: fn(&mut Conserved), text: &str| {
        let mut events = Scenario { phases: vec![("step", 20.0, 2, true)], ..Scenario::autoscale(1) }.events();
        for event in &mut events {
            if let Kind::Conserved(conserved) = &mut event.kind {
                change(conserved);
            }
        }
        judged(&Model::of(&events), text)
    };
    type Case = (fn(&mut Conserved), &'static str, Verdict, &'static str);
    let table: [Case; 9] = [
        (|_| {}, "lost = 0", Verdict::Pass, "0"),
        (|_| {}, "unexpected = 0", Verdict::Pass, "0"),
        (|c| c.indeterminate = 7, "lost = 0", Verdict::Pass, "0"),
        (|c| c.compared.lost.count = 2, "lost = 0", Verdict::Fail, "2"),
        (|c| (c.compared.lost.count, c.drained) = (2, false), "lost = 0", Verdict::CannotTell, "0 to 2"),
        (|c| c.untold = 1, "lost = 0", Verdict::CannotTell, "not known"),
        (|c| (c.compared.unexpected.count, c.untold) = (2, 1), "unexpected = 0", Verdict::CannotTell, "0 to 2"),
        (|c| c.compared.unexpected.count = 2, "unexpected = 0", Verdict::Fail, "2"),
        (|c| c.compared.duplicated.count = 2, "duplicates <= 1", Verdict::Fail, "2"),
    ];
    for (change, text, verdict, measured) in table {
        let judged = judged(change, text);
        assert_eq!((judged.verdict, judged.measured.as_str()), (verdict, measured), "{text}: {}", judged.why);
    }
}

#[test]
fn requests_of_unknown_fate_leave_losses_open() {
    let delivered = |acknowledged, indeterminate, applied| {
        let mut events = Scenario { phases: vec![("step", 20.0, 2, true)], ..Scenario::autoscale(1) }.events();
        for event in &mut events {
            if let Kind::Conserved(c) = &event.kind {
                let (workload, what) = (c.workload.clone(), c.what.clone());
                event.kind = Kind::Delivered { workload, what, acknowledged, indeterminate, applied };
            }
        }
        judged(&Model::of(&events), "lost = 0")
    };
    assert_eq!(delivered(100, 0, 100).verdict, Verdict::Pass);
    assert_eq!(delivered(100, 0, 99).verdict, Verdict::Fail);
    assert_eq!(
        delivered(100, 5, 97).verdict,
        Verdict::Fail,
        "five unknown ones cannot have been three of the acknowledged"
    );
    assert_eq!(
        delivered(100, 5, 103).verdict,
        Verdict::CannotTell,
        "103 may hold five unknown ones and lack two acknowledged"
    );
    assert_eq!(delivered(100, 5, 103).measured, "0 to 2");
    assert_eq!(delivered(100, 5, 105).verdict, Verdict::Pass);
    let mut events = Scenario { phases: vec![("step", 20.0, 2, true)], ..Scenario::autoscale(1) }.events();
    events.retain(|event| !matches!(event.kind, Kind::Conserved(_)));
    for text in ["lost = 0", "unexpected = 0", "duplicates = 0"] {
        assert_eq!(judged(&Model::of(&events), text).verdict, Verdict::CannotTell, "without a ledger");
    }
}
