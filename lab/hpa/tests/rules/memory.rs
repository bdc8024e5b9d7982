//! What is remembered: the first size, raw proposals, and events that take the place of outdated ones.

use lab_hpa::{Autoscaler, Behavior, Input, Memory, PolicyType::Pods};

use crate::support::{config, dead, events, recommended, rules, sync, up};

fn spread(autoscaler: &Autoscaler) -> Vec<(i64, i32)> {
    autoscaler.memory().recommendations.iter().map(|r| (r.at_ms, r.replicas)).collect()
}

#[test]
fn the_first_sync_records_the_size_it_finds_even_when_it_does_nothing_else() {
    let mut autoscaler = Autoscaler::new(config(1, 10, None));
    sync(&mut autoscaler, 7, 0, 5);
    assert_eq!(spread(&autoscaler), [(7, 0)]);
    let mut autoscaler = Autoscaler::new(config(1, 10, None));
    sync(&mut autoscaler, 7, 20, 5);
    assert_eq!(spread(&autoscaler), [(7, 20)], "nothing is recorded beside it when metrics are not read");
    let mut restarted = Autoscaler::new(config(1, 10, None));
    assert_eq!(sync(&mut restarted, 0, 8, 2).desired, 8);
}

#[test]
fn proposals_are_recorded_raw_and_failures_not_at_all() {
    let mut autoscaler = Autoscaler::new(config(1, 10, None));
    assert_eq!(sync(&mut autoscaler, 0, 2, 50).desired, 4);
    autoscaler.sync(15_000, &Input { current: 4, metrics: vec![dead()], ..Input::default() });
    assert_eq!(spread(&autoscaler), [(0, 2), (0, 50)]);
}

#[test]
fn memory_stays_bounded() {
    let mut autoscaler = Autoscaler::new(config(1, 1000, Some(Behavior::default())));
    for step in 0..5_000 {
        sync(&mut autoscaler, step * 15_000, 10 + (step % 2) as i32, 11 - (step % 2) as i32);
    }
    let memory = autoscaler.memory();
    assert!(memory.recommendations.len() <= 242, "{}", memory.recommendations.len());
    assert!(memory.scale_up_events.len() + memory.scale_down_events.len() <= 4, "{memory:?}");
}

#[test]
fn an_event_takes_the_place_of_the_last_outdated_one_of_its_own_list() {
    // the longest period of the way up is 30 s: an age equal to it is not outdated
    let behavior = up(rules(0, &[(Pods, 50, 15), (Pods, 50, 30)]));
    let memory = Memory {
        scale_up_events: events(&[(30_001, 1), (40_000, 2), (30_000, 3)]),
        scale_down_events: events(&[(90_000, 4)]),
        ..recommended(&[(10_000_000, 10)])
    };
    let mut autoscaler = Autoscaler::with_memory(config(1, 100, behavior), memory);
    assert_eq!(sync(&mut autoscaler, 0, 10, 15).desired, 15);
    let found: Vec<_> = autoscaler.memory().scale_up_events.iter().map(|e| (e.at_ms, e.change, e.outdated)).collect();
    assert_eq!(found, [(-30_001, 1, true), (0, 5, false), (-30_000, 3, false)]);
    assert_eq!(autoscaler.memory().scale_down_events, events(&[(90_000, 4)]), "the other list is left alone");
}

#[test]
fn a_mark_is_for_good_and_a_marked_event_still_counts_for_longer_periods() {
    let behavior =
        Behavior { scale_up: Some(rules(0, &[(Pods, 10, 15)])), scale_down: Some(rules(0, &[(Pods, 2, 600)])) };
    let mut autoscaler = Autoscaler::new(config(1, 100, Some(behavior)));
    assert_eq!(sync(&mut autoscaler, 0, 5, 15).desired, 15);
    assert_eq!(sync(&mut autoscaler, 16_000, 15, 25).desired, 25, "overwrites the rise of time 0");
    assert_eq!(sync(&mut autoscaler, 32_000, 25, 1).desired, 13, "25 - 10 - 2: the first rise is no longer seen");
    assert_eq!(sync(&mut autoscaler, 48_000, 13, 1).desired, 13);
}

#[test]
fn corrections_to_the_bounds_are_events_too_and_only_with_a_behavior() {
    let mut autoscaler = Autoscaler::new(config(2, 10, Some(Behavior::default())));
    assert_eq!(sync(&mut autoscaler, 0, 15, 6).desired, 10);
    assert_eq!(sync(&mut autoscaler, 1, 1, 6).desired, 2);
    assert_eq!(autoscaler.memory().scale_down_events[0].change, 5);
    assert_eq!(autoscaler.memory().scale_up_events[0].change, 1);
    let mut plain = Autoscaler::new(config(2, 10, None));
    assert_eq!(sync(&mut plain, 0, 15, 6).desired, 10);
    assert!(plain.memory().scale_down_events.is_empty());
}

#[test]
fn new_settings_keep_the_memory() {
    let mut autoscaler = Autoscaler::new(config(1, 10, None));
    sync(&mut autoscaler, 0, 8, 8);
    autoscaler.reconfigure(config(1, 10, Some(Behavior::default())));
    assert_eq!(sync(&mut autoscaler, 15_000, 8, 2).desired, 8);
    assert_eq!(autoscaler.config().behavior, Some(Behavior::default()));
}
