//! Rates, minimum and maximum.

use lab_hpa::{Autoscaler, Behavior, Limit, Memory, PolicyType, ScalingRules, SelectPolicy};

use crate::support::{config, down, events, once, recommended, rules, sync, up};

use Limit::{DesiredWithinRange, ScaleDownLimit, ScaleUpLimit, TooFewReplicas, TooManyReplicas};
use PolicyType::{Percent, Pods};

/// Remembers nothing that would hold a size up or down.
fn blank(current: i32) -> Memory {
    recommended(&[(10_000_000, current)])
}

#[test]
fn without_a_behavior_a_rise_at_most_doubles_and_always_reaches_4() {
    for (min, max, current, wanted, desired, limit) in [
        (1, 100, 10, 80, 20, ScaleUpLimit),
        (1, 100, 1, 80, 4, ScaleUpLimit),
        (1, 20, 10, 80, 20, TooManyReplicas),
        (1, 15, 10, 80, 15, TooManyReplicas),
        (1, 100, 10, 20, 20, DesiredWithinRange),
        (5, 100, 10, 1, 5, TooFewReplicas),
        (1, 100, 90, 1, 1, DesiredWithinRange),
    ] {
        let decision = once(config(min, max, None), blank(current), current, wanted);
        assert_eq!((decision.desired, decision.limit), (desired, Some(limit)), "{current} -> {wanted}");
        assert_eq!(decision.limited, Some(desired != wanted));
    }
}

#[test]
fn percentages_are_floating_point_in_exactly_this_form() {
    let rise = |current, value| {
        let behavior = up(rules(0, &[(Percent, value, 60)]));
        once(config(1, 1000, behavior), blank(current), current, 900).desired
    };
    assert_eq!(rise(50, 10), 56);
    assert_eq!(rise(10, 10), 11);
    assert_eq!(rise(1, 1), 2);
    let fall = |current, value| {
        let behavior = down(rules(0, &[(Percent, value, 60)]));
        once(config(0, 1000, behavior), blank(current), current, 0).desired
    };
    assert_eq!(fall(10, 80), 1);
    assert_eq!(fall(80, 10), 72);
    assert_eq!(fall(10, 300), 0);
}

#[test]
fn a_select_policy_picks_the_largest_or_smallest_change_or_none() {
    let policies = [(Pods, 5, 30), (Percent, 50, 30)];
    for (select, up_to, down_to) in [
        (None, 9, 0),
        (Some(SelectPolicy::Max), 9, 0),
        (Some(SelectPolicy::Min), 6, 2),
        (Some(SelectPolicy::Disabled), 4, 4),
    ] {
        let with = |rules: ScalingRules| ScalingRules { select_policy: select, ..rules };
        let rise = once(config(0, 30, up(with(rules(0, &policies)))), blank(4), 4, 20);
        assert_eq!((rise.desired, rise.limit), (up_to, Some(ScaleUpLimit)), "{select:?}");
        let fall = once(config(0, 30, down(with(rules(0, &policies)))), blank(4), 4, 0);
        assert_eq!(fall.desired, down_to, "{select:?}");
    }
}

#[test]
fn minimum_and_maximum_beat_a_wider_rate() {
    let behavior =
        Some(Behavior { scale_up: Some(rules(0, &[(Pods, 10, 15)])), scale_down: Some(rules(0, &[(Pods, 10, 15)])) });
    for (wanted, desired, limit) in
        [(20, 12, TooManyReplicas), (0, 3, TooFewReplicas), (11, 11, DesiredWithinRange), (5, 5, DesiredWithinRange)]
    {
        let decision = once(config(3, 12, behavior.clone()), blank(8), 8, wanted);
        assert_eq!((decision.desired, decision.limit), (desired, Some(limit)));
    }
    let tight = down(rules(0, &[(Pods, 1, 15)]));
    assert_eq!(once(config(3, 12, tight), blank(8), 8, 0).limit, Some(ScaleDownLimit));
}

#[test]
fn both_lists_of_events_move_the_start_of_a_period_and_its_end_is_outside() {
    let behavior = || up(rules(0, &[(Pods, 4, 60)]));
    for (rises, falls, desired) in [
        (&[(59_999, 3)][..], &[][..], 11),
        (&[(60_000, 3)], &[], 14),
        (&[(1, 3), (2, 3)], &[], 10),
        (&[], &[(1, 2)], 16),
        (&[(1, 3)], &[(1, 2)], 13),
    ] {
        let memory = Memory { scale_up_events: events(rises), scale_down_events: events(falls), ..blank(10) };
        let decision = once(config(1, 100, behavior()), memory, 10, 50);
        assert_eq!(decision.desired, desired, "rises {rises:?} falls {falls:?}");
    }
}

#[test]
fn a_limit_below_the_current_size_holds_it() {
    let memory = Memory { scale_up_events: events(&[(1, 9)]), ..blank(10) };
    let decision = once(config(1, 100, up(rules(0, &[(Pods, 4, 60)]))), memory, 10, 50);
    assert_eq!((decision.desired, decision.limit, decision.limited), (10, Some(ScaleUpLimit), Some(true)));
    assert!(!decision.rescale && decision.reason.is_none());
}

#[test]
fn the_default_rules_add_4_or_double_and_may_remove_all() {
    let mut autoscaler = Autoscaler::new(config(1, 100, Some(Behavior::default())));
    let sizes: Vec<_> = [(0, 3), (15_000, 7), (30_000, 14), (45_000, 28)]
        .map(|(now, current)| sync(&mut autoscaler, now, current, 40).desired)
        .into();
    assert_eq!(sizes, [7, 14, 28, 40]);
    let empty = config(1, 100, Some(Behavior::default()));
    assert_eq!(once(empty, blank(90), 90, 1).desired, 1);
}

#[test]
fn no_number_overflows() {
    let huge = || rules(0, &[(Percent, i32::MAX, 1800), (Pods, i32::MAX, 1800)]);
    let memory = Memory {
        scale_up_events: events(&[(1, i32::MAX), (2, i32::MAX)]),
        scale_down_events: events(&[(1, i32::MAX), (1, i32::MAX), (1, i32::MAX)]),
        ..blank(5)
    };
    let wide = config(0, i32::MAX, Some(Behavior { scale_up: Some(huge()), scale_down: Some(huge()) }));
    assert_eq!(once(wide.clone(), memory.clone(), 5, i32::MAX).desired, i32::MAX);
    assert_eq!(once(wide, memory, 5, 0).desired, 0);
    assert_eq!(once(config(0, i32::MAX, None), blank(5), i32::MAX - 1, i32::MAX).desired, i32::MAX);
}
