//! Stabilization, with its boundaries.

use lab_hpa::{Behavior, Config, Reason, ScalingRules, Stabilization};

use crate::support::{config, once, recommended, up};

use Stabilization::{ReadyForNewScale, ScaleDownStabilized, ScaleUpStabilized};

#[test]
fn an_age_equal_to_the_window_is_inside_without_a_behavior_and_outside_with_one() {
    let plain = config(1, 100, None);
    let empty = config(1, 100, Some(Behavior::default()));
    for (age, config, desired, verdict) in [
        (300_000, &plain, 8, ScaleDownStabilized),
        (300_001, &plain, 2, ReadyForNewScale),
        (299_999, &empty, 8, ScaleDownStabilized),
        (300_000, &empty, 2, ReadyForNewScale),
    ] {
        let decision = once(config.clone(), recommended(&[(age, 8)]), 8, 2);
        assert_eq!((decision.desired, decision.stabilization), (desired, Some(verdict)), "age {age}");
    }
}

#[test]
fn without_a_behavior_an_old_recommendation_may_even_raise_the_size() {
    let decision = once(config(1, 100, None), recommended(&[(1, 9)]), 2, 2);
    assert_eq!((decision.desired, decision.reason), (4, Some(Reason::None)));
    assert_eq!((decision.stabilized, decision.stabilization), (Some(9), Some(ScaleDownStabilized)));
}

#[test]
fn with_a_behavior_the_size_moves_only_into_what_both_windows_agree_on() {
    let windows = |up_s, down_s| {
        let window = |seconds| ScalingRules { stabilization_window_seconds: Some(seconds), ..ScalingRules::default() };
        config(1, 1000, Some(Behavior { scale_up: Some(window(up_s)), scale_down: Some(window(down_s)) }))
    };
    for (up_s, down_s, past, current, wanted, stabilized, verdict) in [
        (60, 0, [(59_999, 4), (1, 20)], 3, 20, 4, ScaleUpStabilized),
        (60, 0, [(60_000, 4), (1, 20)], 3, 20, 20, ReadyForNewScale),
        (60, 0, [(1, 2), (1, 20)], 3, 20, 3, ScaleUpStabilized),
        (0, 60, [(1, 6), (1, 2)], 8, 2, 6, ScaleDownStabilized),
        (0, 60, [(1, 20), (1, 2)], 8, 2, 8, ScaleDownStabilized),
        (0, 60, [(60_000, 20), (60_001, 9)], 8, 2, 2, ReadyForNewScale),
        (60, 60, [(1, 2), (1, 20)], 8, 8, 8, ReadyForNewScale),
    ] {
        let decision = once(windows(up_s, down_s), recommended(&past), current, wanted);
        assert_eq!(
            (decision.stabilized, decision.stabilization),
            (Some(stabilized), Some(verdict)),
            "{up_s} {down_s} {past:?} {current} -> {wanted}"
        );
    }
}

#[test]
fn the_default_window_down_is_the_controllers_in_whole_seconds() {
    let config = Config { downscale_stabilization_ms: 15_999, ..config(1, 100, Some(Behavior::default())) };
    assert_eq!(once(config.clone(), recommended(&[(14_999, 8)]), 8, 2).desired, 8);
    assert_eq!(once(config, recommended(&[(15_000, 8)]), 8, 2).desired, 2);
}

#[test]
fn up_has_no_window_by_default() {
    let behavior = up(ScalingRules::default());
    assert_eq!(once(config(1, 100, behavior), recommended(&[(1, 2)]), 2, 4).desired, 4);
}
