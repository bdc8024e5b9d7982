//! The model at an instant is the fold of the events that had arrived, whatever was asked before.

use std::sync::OnceLock;

use lab_core::fixture::Scenario;
use lab_core::unit::Span;
use proptest::prelude::*;

use super::*;

/// A run in which some things were seen up to seconds after they happened.
fn events() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let mut events = Scenario::matrix(3, 1).events();
        for event in &mut events {
            let back = Span::from_millis(event.n * 7_919 % 2_500 / (1 + event.n % 4));
            let before = RunTime(event.t.0.saturating_sub(back.0));
            (event.late, event.t) = (event.t.since(before), before);
        }
        assert!(events.is_sorted_by_key(Event::arrived) && !events.is_sorted_by_key(|e| e.t));
        events
    })
}

fn known_at(t: RunTime) -> Model {
    Model::of(events().iter().take_while(|e| e.arrived() <= t))
}

fn read(budget: usize, events: Vec<Event>) -> Timeline {
    let mut timeline = Timeline::within(Box::new(MemoryHistory::new(events)), budget);
    while timeline.read(1_000).expect("in memory") {}
    timeline
}

fn last() -> RunTime {
    events().last().expect("events").arrived()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_instants_in_any_order_give_the_prefix(
        shares in prop::collection::vec(0.0_f64..1.05, 2..6),
        budget in prop_oneof![Just(0), Just(200_000), Just(BUDGET)],
    ) {
        let mut timeline = read(budget, events().to_vec());
        for share in shares {
            let t = RunTime((last().0 as f64 * share) as u64);
            let prefix = events().iter().take_while(|e| e.arrived() <= t);
            let arrived = prefix.last().map_or(RunTime(0), Event::arrived);
            let known = timeline.at(t).expect("in memory");
            prop_assert_eq!(known.arrived, arrived);
            prop_assert!(known.model == &known_at(t), "at {t:?}");
            prop_assert_eq!(known.whole.events.count(), events().len() as u64);
        }
    }
}

#[test]
fn an_instant_between_two_events_of_one_arrival_is_after_both() {
    let mut timeline = read(BUDGET, events().to_vec());
    for event in events().iter().step_by(97) {
        let (at, just_before) = (event.arrived(), RunTime(event.arrived().0.saturating_sub(1)));
        assert_eq!(timeline.at(at).expect("in memory").model, &known_at(at));
        assert_eq!(timeline.at(just_before).expect("in memory").model, &known_at(just_before));
    }
}

#[test]
fn keyframes_stay_within_their_budget_and_are_used() {
    let whole = Model::of(events()).heap_bytes();
    for budget in [0, whole / 2, whole * 2, whole * 100] {
        let timeline = read(budget, events().to_vec());
        assert!(timeline.keyframe_bytes() <= budget, "{} of {budget}", timeline.keyframe_bytes());
        assert_eq!(timeline.keyframe_bytes() == 0, budget < whole, "{} of {budget}", timeline.keyframe_bytes());
    }
}

/// Counts what is asked of it.
struct Counted(MemoryHistory, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl History for Counted {
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError> {
        self.0.read(from, &mut |event, place| {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            each(event, place)
        })
    }
}

#[test]
fn going_forward_reads_only_what_lies_between() {
    let count = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let history = Counted(MemoryHistory::new(events().to_vec()), std::sync::Arc::clone(&count));
    let mut timeline = Timeline::new(Box::new(history));
    while timeline.read(usize::MAX).expect("in memory") {}
    let reads = || count.swap(0, std::sync::atomic::Ordering::Relaxed);
    reads();
    for step in 0..200 {
        timeline.at(RunTime(last().0 / 200 * step)).expect("in memory");
    }
    // Each step reads one event too many, to see that it came later.
    assert!(reads() <= events().len() + 200);
}

#[test]
fn events_that_come_later_are_followed_and_do_not_change_the_past() {
    let all = events();
    let half = all.len() / 2;
    let history = MemoryHistory::new(all[..half].to_vec());
    let mut timeline = Timeline::new(Box::new(history.clone()));
    assert!(timeline.read(10).expect("in memory"));
    assert_eq!(timeline.events(), 10);
    while timeline.read(1_000).expect("in memory") {}
    assert_eq!((timeline.end(), timeline.over()), (all[half - 1].arrived(), false));
    let t = all[half / 2].arrived();
    let before = timeline.at(t).expect("in memory").model.clone();
    for event in &all[half..] {
        history.push(event.clone());
    }
    assert!(timeline.read(usize::MAX).expect("in memory"));
    assert!(!timeline.read(usize::MAX).expect("in memory"));
    assert_eq!((timeline.end(), timeline.over()), (last(), true));
    let known = timeline.at(t).expect("in memory");
    assert_eq!((known.model, known.whole), (&before, &Model::of(all)));
}

#[test]
fn sentences_are_those_of_the_narrator_and_bounded() {
    let timeline = read(BUDGET, events().to_vec());
    let t = RunTime(last().0 / 3);
    let told: Vec<_> = events().iter().take_while(|e| e.arrived() <= t).filter_map(narrate).collect();
    assert_eq!(timeline.news(t).iter().map(|n| n.text.clone()).collect::<Vec<_>>(), told);
    let note = |n: u64| Event {
        n,
        t: RunTime(n),
        late: Span::ZERO,
        src: "user".to_owned(),
        clock: None,
        kind: lab_core::event::Kind::Note { text: n.to_string() },
    };
    let many = read(BUDGET, (1..=25_000).map(note).collect());
    let kept = many.news(RunTime(u64::MAX));
    assert!(kept.len() <= MOST_NEWS && kept.len() as u64 + many.news_passed() == 25_000);
    assert_eq!(kept.last().map(|n| n.text.as_str()), Some("note: 25000"));
    for told in [19_999, 20_000, 20_001, 21_000, 21_001, 25_000] {
        assert_eq!(read(BUDGET, (1..=told).map(note).collect()).news_passed(), passed_of(told), "{told}");
    }
}
