//! Comparisons that can be trusted: what is not alike is said with every word, and a rate is held or not by its own measurement.

use lab_core::aftermath::Back;
use lab_core::around::around;
use lab_core::cache;
use lab_core::compare::{self, Word};
use lab_core::curve;
use lab_core::event::{Event, Grade, Kind};
use lab_core::fixture::Scenario;
use lab_core::judge::Verdict;
use lab_core::model::Model;
use lab_core::parity::{Aspect, Footnotes, Parity, superscript};
use lab_core::spec::Role;
use lab_core::unit::Span;

fn queues() -> Model {
    Model::of(&Scenario::queues(11, 3).events())
}

#[test]
fn variants_that_differ_are_never_compared_without_a_note() {
    let model = queues();
    let parity = Parity::of(&model);
    let roles: Vec<Role> = parity.roles.iter().map(|table| table.role).collect();
    assert_eq!(roles, [Role::Queue], "the store is the same for both");
    assert!(parity.differences().any(|(_, row)| row.aspect == Aspect::Fidelity && row.cells == ["real", "compatible"]));
    let image = parity.roles[0].rows.iter().find(|row| row.aspect == Aspect::Image).expect("a row");
    assert_eq!(image.cells[0], "kafka:3.9 (aaaaaaaaaaaa)");
    let [note] = parity.notes(1) else { panic!("one role, one note: {:?}", parity.notes(1)) };
    for part in ["kafka (Apache Kafka 3.9.0) with queue=kafka", "sqs (ElasticMQ 1.6.11, compatible)", "durability"] {
        assert!(note.text.contains(part), "{part} in {}", note.text);
    }
    assert!(note.long().contains("replication: “2 of 3 brokers before the answer” against “none: one emulator”"));
    let comparisons = compare::comparisons(&model);
    assert!(comparisons.iter().any(|c| c.said.word() == Word::Slower));
    for c in &comparisons {
        let mut footnotes = Footnotes::default();
        let text = c.said.text(&mut footnotes);
        let marked = text.ends_with(&superscript(note.number)) && footnotes.notes().eq([note]);
        assert_eq!(marked, c.said.word() != Word::CannotTell, "{text}");
    }
    let answer = lab_core::answer::answer(&model);
    assert!(answer.contains("slower¹") && answer.contains("¹ queue: kafka"), "{answer}");
}

#[test]
fn variants_on_the_same_servers_need_no_note() {
    let model = Model::of(&Scenario::matrix(4, 3).events());
    let parity = Parity::of(&model);
    assert_eq!((parity.roles.len(), parity.all_notes().count()), (0, 0));
    assert_eq!(parity.grade(0), Grade::Embedded, "the spec says sqlite");
    let answer = lab_core::answer::answer(&model);
    assert!(answer.contains("is slower with cpu=80%") && !answer.contains('¹'), "{answer}");
}

#[test]
fn what_was_not_recorded_is_still_a_difference() {
    let mut events = Scenario::queues(11, 1).events();
    events.retain(|e| !matches!(e.kind, Kind::Backing(_)));
    let model = Model::of(&events);
    let parity = Parity::of(&model);
    let [note] = parity.notes(1) else { panic!("{:?}", parity.notes(1)) };
    assert!(note.text.ends_with("what they promise was not recorded"), "{}", note.text);
}

#[test]
fn another_version_of_the_same_server_is_a_difference() {
    let mut scenario = Scenario::queues(3, 1);
    scenario.variants[1].queue = scenario.variants[0].queue;
    scenario.variants[1].backing = scenario.variants[0].backing.clone();
    let alike = Parity::of(&Model::of(&scenario.events()));
    assert!(alike.roles.is_empty(), "{:?}", alike.roles);
    scenario.variants[1].backing[1].server = "Apache Kafka 4.0.0".to_owned();
    let parity = Parity::of(&Model::of(&scenario.events()));
    let differing: Vec<Aspect> = parity.differences().map(|(_, row)| row.aspect).collect();
    assert_eq!(differing, [Aspect::Server]);
    assert!(parity.notes(1)[0].text.contains("Apache Kafka 4.0.0"), "{}", parity.notes(1)[0].text);
}

#[test]
fn a_superscript_is_read_as_its_number() {
    assert_eq!([1, 10, 203].map(superscript), ["¹", "¹⁰", "²⁰³"]);
}

#[test]
fn each_measured_rate_is_a_point_and_capacity_lies_between_two() {
    let model = queues();
    let curves = curve::curves(&model);
    let rates = |i: usize| curves[i].points.iter().map(|p| p.offered).collect::<Vec<f64>>();
    assert_eq!((rates(0), rates(1)), (vec![75.0, 120.0, 180.0, 300.0], vec![75.0, 120.0, 180.0, 300.0]));
    let text = |i: usize| curves[i].capacity.as_ref().expect("there are limits").text();
    assert_eq!((text(0).as_str(), text(1).as_str()), ("≥ 180/s and < 300/s", "≥ 120/s and < 180/s"));
    let kafka = &curves[0].points;
    assert!(kafka[0].kept_up && kafka[0].holds == Some(Verdict::Pass) && kafka[0].p99.interval.is_some());
    assert!(!kafka[3].kept_up && !kafka[3].solid() && kafka[3].holds == Some(Verdict::Fail));
    assert!(kafka[0].p99.value < kafka[3].p99.value);
    assert!(kafka.iter().all(|p| p.trials == 3 && p.p99_limit() == Some(Span::from_millis(150))));
    assert_eq!(curves[1].grade, Grade::Compatible);
}

#[test]
fn one_rate_or_an_autoscaler_makes_no_curve() {
    assert!(curve::curves(&Model::of(&Scenario::matrix(4, 1).events())).is_empty());
    assert!(curve::curves(&Model::default()).is_empty());
    let scaled = Model::of(&Scenario { scaled: true, ..Scenario::queues(11, 1) }.events());
    assert!(curve::curves(&scaled).is_empty(), "rates of changing numbers of replicas make none either");
}

fn crash() -> Vec<Event> {
    Scenario::crash(5).events()
}

#[test]
fn a_fault_is_told_before_during_and_after() {
    let model = Model::of(&crash());
    let all = around(&model.trials[0]);
    let [fault] = &all[..] else { panic!("a pause and its end are one: {all:?}") };
    assert_eq!((fault.fault.replica.as_str(), fault.fault.what.as_str()), ("queue.kafka", "paused"));
    let lasted = fault.over.since(fault.fault.at);
    assert!((Span::from_secs(5)..=Span::from_secs(6)).contains(&lasted), "{lasted}");
    assert!(matches!(fault.back, Some(Back::After(_))), "{:?}", fault.back);
    let errors = [fault.before, fault.during, fault.after].map(|patch| patch.errors.expect("answers came"));
    assert!(errors[0] < 0.01 && errors[1] > 0.9 && errors[2] < 0.05, "{errors:?}");
    assert!(fault.before.p99.is_some() && fault.after.completed.is_some_and(|rate| rate > 80.0));
}

#[test]
fn a_journal_cut_anywhere_tells_of_its_faults_so_far() {
    let events = crash();
    for cut in (0..events.len()).step_by(7) {
        let model = Model::of(&events[..cut]);
        let told = model.trials.iter().map(|trial| around(trial).len()).sum::<usize>();
        let put_in = events[..cut].iter().filter(|e| matches!(&e.kind, Kind::Fault { what, .. } if what == "paused"));
        assert_eq!(told, put_in.count());
    }
}

#[test]
fn a_cache_has_a_row_beside_none() {
    let effects = cache::effects(&Model::of(&Scenario::caches(2).events()));
    let engines: Vec<(&str, Option<Grade>)> = effects.iter().map(|e| (e.engine.as_str(), e.grade)).collect();
    assert_eq!(engines, [("none", None), ("memory", Some(Grade::Embedded)), ("redis", Some(Grade::Real))]);
    assert_eq!(effects[0].counted, None);
    let counted = effects[2].counted.expect("it counted");
    let (ratio, offload) = (counted.hit_ratio().expect("look-ups"), counted.offload().expect("reads"));
    assert!((0.7..0.9).contains(&ratio) && (ratio - offload).abs() < 0.05, "{ratio} {offload}");
    assert!(counted.cold.is_some_and(|cold| cold >= Span::from_secs(2)), "{counted:?}");
    assert!(cache::effects(&Model::of(&Scenario::matrix(4, 1).events())).is_empty());
}
