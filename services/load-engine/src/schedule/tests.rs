//! Closed forms against hand counts, the Poisson law, and the partition of one schedule over many generators.

use lab_core::control::PlanPhase;
use lab_core::spec::Shape;
use lab_core::unit::{Rate, Span};
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn phase(rate: Shape, seconds: u64) -> PlanPhase {
    PlanPhase { name: "p".into(), rate, length: Span::from_secs(seconds) }
}

fn constant(rate: f64, seconds: u64) -> PlanPhase {
    phase(Shape::Constant(Rate(rate)), seconds)
}

fn operation(name: &str, weight: f64) -> Operation {
    Operation {
        name: name.into(),
        weight,
        method: "GET".into(),
        path: "/".into(),
        headers: vec![],
        body: String::new(),
        creates_key: false,
        ledger: false,
    }
}

fn plan(arrivals: Arrivals, phases: Vec<PlanPhase>) -> LoadPlan {
    LoadPlan {
        id: "t".into(),
        start_at_ns: None,
        operations: vec![operation("a", 1.0), operation("b", 3.0)],
        arrivals,
        phases,
        connections: 1,
        timeout: Span::from_secs(1),
        max_queue: 1,
        seed: 7,
        share: Share { index: 0, count: 1 },
        joins_at_ns: 0,
        keys: 0,
        drain: Span::ZERO,
    }
}

fn all(mut schedule: Schedule) -> Vec<Arrival> {
    std::iter::from_fn(|| schedule.take_due(u64::MAX)).collect()
}

fn counts(arrivals: &[Arrival], phases: usize) -> Vec<usize> {
    (0..phases).map(|p| arrivals.iter().filter(|a| a.phase as usize == p).count()).collect()
}

#[test]
fn constant_and_ramp_follow_their_closed_forms() {
    let ramp = Shape::Ramp { from: Rate(0.0), to: Rate(200.0) };
    let down = Shape::Ramp { from: Rate(200.0), to: Rate(0.0) };
    let plan = plan(
        Arrivals::Constant,
        vec![constant(100.0, 20), constant(0.0, 5), phase(ramp, 10), phase(down, 10), constant(0.5, 4)],
    );
    let arrivals = all(Schedule::new(&plan, None));
    assert_eq!(counts(&arrivals, 5), [2000, 0, 1000, 1000, 2]);
    assert_eq!(arrivals[150].intended_ns, 1_500_000_000, "k / rate");
    // In a ramp from 0 with slope 20/s² arrival m falls due at sqrt(2 m / 20) seconds.
    let expected = 25.0 + (2.0 * 250.0 / 20.0_f64).sqrt();
    assert!((arrivals[2250].intended_ns as f64 / 1e9 - expected).abs() < 1e-6);
    assert!(arrivals.windows(2).all(|w| w[0].intended_ns <= w[1].intended_ns && w[0].k + 1 == w[1].k));
}

#[test]
fn a_trace_is_replayed_as_written() {
    let offsets = [0, 10, 10, 900, 2_000].map(Span::from_millis).to_vec();
    let trace = Shape::Trace { file: "t.csv".into(), offsets };
    let arrivals = all(Schedule::new(&plan(Arrivals::Constant, vec![constant(1.0, 1), phase(trace, 1)]), None));
    let times: Vec<u64> = arrivals.iter().map(|a| a.intended_ns / 1_000_000).collect();
    assert_eq!(times, [0, 1_000, 1_010, 1_010, 1_900], "the line past the phase's end is left out");
}

#[test]
fn poisson_gaps_are_exponential_and_the_seed_decides() {
    let plan_a = plan(Arrivals::Poisson, vec![constant(1_000.0, 20)]);
    let arrivals = all(Schedule::new(&plan_a, None));
    let mut gaps: Vec<f64> = arrivals.windows(2).map(|w| (w[1].intended_ns - w[0].intended_ns) as f64 / 1e6).collect();
    gaps.sort_by(f64::total_cmp);
    let n = gaps.len() as f64;
    let distance = gaps
        .iter()
        .enumerate()
        .map(|(i, gap)| {
            let law = 1.0 - (-gap).exp();
            (law - i as f64 / n).abs().max((law - (i as f64 + 1.0) / n).abs())
        })
        .fold(0.0, f64::max);
    assert!(distance < 1.358 / n.sqrt(), "Kolmogorov–Smirnov distance {distance} at n = {n}, 5 % level");
    assert_eq!(arrivals, all(Schedule::new(&plan_a, None)));
    let other = LoadPlan { seed: 8, ..plan_a };
    assert_ne!(arrivals, all(Schedule::new(&other, None)));
}

#[test]
fn poisson_counts_follow_a_ramp() {
    let ramp = Shape::Ramp { from: Rate(0.0), to: Rate(2_000.0) };
    let arrivals = all(Schedule::new(&plan(Arrivals::Poisson, vec![phase(ramp, 10)]), None));
    let early = arrivals.iter().filter(|a| a.intended_ns < 5 * SECOND).count() as f64;
    let total = arrivals.len() as f64;
    assert!((total - 10_000.0).abs() < 4.0 * 100.0, "{total}");
    assert!((early - 2_500.0).abs() < 4.0 * 50.0, "a quarter comes in the first half: {early}");
}

#[test]
fn operations_follow_their_weights_and_a_new_mix() {
    let mut schedule = Schedule::new(&plan(Arrivals::Constant, vec![constant(1_000.0, 20)]), None);
    let mix = Mix::changed(&[operation("a", 1.0), operation("b", 3.0)], &BTreeMap::from([("a".into(), 2.0)]));
    schedule.change(Change { from_ns: 10 * SECOND, mix: Some(mix), ..Change::default() });
    let arrivals = all(schedule);
    let before = arrivals[..10_000].iter().filter(|a| a.operation == 1).count() as f64;
    assert!((before - 7_500.0).abs() < 200.0, "{before}");
    assert!(arrivals[10_000..].iter().all(|a| a.operation == 0), "b was not named, so it has no share");
}

#[test]
fn a_limit_ends_every_share() {
    let mut sum = 0;
    for index in 0..3 {
        let plan =
            LoadPlan { share: Share { index, count: 3 }, ..plan(Arrivals::Poisson, vec![constant(1_000.0, 20)]) };
        let mut schedule = Schedule::new(&plan, Some(100));
        assert!(!schedule.exhausted());
        while schedule.take_due(u64::MAX).is_some() {
            sum += 1;
        }
        assert!(schedule.exhausted());
    }
    assert_eq!(sum, 100);
}

#[test]
fn pause_rate_and_return_leave_no_gap() {
    let mut schedule = Schedule::new(&plan(Arrivals::Constant, vec![constant(100.0, 10)]), None);
    let change = |seconds: u64| Change { from_ns: seconds * SECOND, ..Change::default() };
    schedule.change(Change { rate: Some(Some(1_000.0)), ..change(1) });
    schedule.change(Change { pause: Some(true), ..change(2) });
    schedule.change(Change { pause: Some(false), ..change(3) });
    schedule.change(Change { rate: Some(None), ..change(4) });
    assert_eq!(schedule.rate_at(SECOND), (1_000.0, false));
    assert_eq!(schedule.rate_at(2 * SECOND), (0.0, true));
    assert_eq!(schedule.rate_at(5 * SECOND), (100.0, false));
    let arrivals = all(schedule);
    let per_second = |s: u64| arrivals.iter().filter(|a| a.intended_ns / SECOND == s).count();
    assert_eq!((0..6).map(per_second).collect::<Vec<_>>(), [100, 1_000, 0, 1_000, 100, 100]);
    assert!(arrivals.windows(2).all(|w| w[0].k + 1 == w[1].k));
}

#[test]
fn a_change_that_comes_late_holds_from_the_last_arrival_on() {
    let mut schedule = Schedule::new(&plan(Arrivals::Constant, vec![constant(100.0, 10)]), None);
    let before: Vec<Arrival> = std::iter::from_fn(|| schedule.take_due(2 * SECOND)).collect();
    schedule.change(Change { from_ns: SECOND, rate: Some(Some(10.0)), ..Change::default() });
    let after = all(schedule);
    assert_eq!(after[0].k, before.len() as u64, "the numbering goes on");
    assert_eq!(after.len(), 79, "10/s over the eight seconds that are left, without the arrival at 2 s");
}

fn skip(at_ns: u64) -> Change {
    Change { from_ns: at_ns, skip: true, ..Change::default() }
}

#[test]
fn a_skipped_phase_ends_there_and_the_others_come_forward() {
    let offsets = [0, 400, 600, 1_500].map(Span::from_millis).to_vec();
    let trace = || phase(Shape::Trace { file: "t.csv".into(), offsets: offsets.clone() }, 2);
    let ramp = Shape::Ramp { from: Rate(0.0), to: Rate(200.0) };
    let phases = vec![constant(100.0, 4), trace(), phase(ramp, 10), trace()];
    let mut schedule = Schedule::new(&plan(Arrivals::Constant, phases), None);
    assert!(schedule.take_due(0).is_some() && schedule.peek().is_some());
    schedule.change(skip(SECOND));
    assert_eq!(schedule.end_ns(), 15 * SECOND);
    // Half a second into the trace, which now begins at 1 s; then five seconds into the ramp, which then begins at 1.5 s.
    schedule.change(skip(SECOND + SECOND / 2));
    schedule.change(skip(6 * SECOND + SECOND / 2));
    assert_eq!(schedule.end_ns(), 8 * SECOND + SECOND / 2);
    assert_eq!((schedule.phase_at(SECOND - 1), schedule.phase_at(SECOND)), (0, 1));
    assert_eq!(schedule.rate_at(4 * SECOND), (50.0, false), "2.5 s into the ramp");
    let arrivals = all(schedule);
    assert_eq!(counts(&arrivals, 4), [99, 2, 250, 4], "the first one was taken before");
    let of = |p: u32| arrivals.iter().filter(move |a| a.phase == p).map(|a| a.intended_ns / 1_000_000);
    assert_eq!(of(1).collect::<Vec<_>>(), [1_000, 1_400]);
    assert_eq!(of(3).collect::<Vec<_>>(), [6_500, 6_900, 7_100, 8_000]);
    assert!(arrivals.windows(2).all(|w| w[0].k + 1 == w[1].k && w[0].intended_ns <= w[1].intended_ns));
}

#[test]
fn skipping_the_last_phase_ends_the_load_and_a_skip_after_it_does_nothing() {
    let mut schedule = Schedule::new(&plan(Arrivals::Constant, vec![constant(10.0, 2), constant(10.0, 2)]), None);
    schedule.change(skip(4 * SECOND));
    assert_eq!(schedule.end_ns(), 4 * SECOND);
    schedule.change(skip(3 * SECOND));
    schedule.change(skip(3 * SECOND));
    assert_eq!(schedule.end_ns(), 3 * SECOND);
    assert_eq!(counts(&all(schedule), 2), [20, 10]);
}

#[test]
fn a_skip_that_comes_late_cuts_after_the_last_arrival() {
    let mut schedule = Schedule::new(&plan(Arrivals::Constant, vec![constant(100.0, 10), constant(10.0, 1)]), None);
    let before: Vec<Arrival> = std::iter::from_fn(|| schedule.take_due(2 * SECOND)).collect();
    schedule.change(skip(SECOND));
    assert_eq!(schedule.end_ns(), 3 * SECOND);
    let after = all(schedule);
    assert!(after.iter().all(|a| a.phase == 1 && a.intended_ns >= 2 * SECOND));
    assert_eq!(after.first().map(|a| a.k), Some(before.len() as u64), "the numbering goes on");
}

#[test]
fn a_generator_that_joins_takes_its_share_from_then_on() {
    let whole = plan(Arrivals::Poisson, vec![constant(1_000.0, 4)]);
    let share = Share { index: 1, count: 2 };
    let joining = LoadPlan { share, joins_at_ns: 2 * SECOND, ..whole.clone() };
    let mut joined = Schedule::new(&joining, None);
    let mut all_of_it = Schedule::new(&whole, None);
    // What was changed before it joined is told to it as well, and must not count from its first arrival only.
    for schedule in [&mut joined, &mut all_of_it] {
        assert!(schedule.peek().is_some());
        schedule.change(Change { from_ns: SECOND, rate: Some(Some(500.0)), ..Change::default() });
    }
    let expected: Vec<Arrival> =
        all(all_of_it).into_iter().filter(|a| a.k % 2 == 1 && a.intended_ns >= 2 * SECOND).collect();
    assert_eq!(all(joined), expected);
}

#[test]
fn a_share_that_owns_nothing_looks_at_nothing() {
    let share = Share { index: 2, count: 2 };
    let week = LoadPlan { share, ..plan(Arrivals::Poisson, vec![constant(1_000_000.0, 7 * 24 * 3600)]) };
    let mut schedule = Schedule::new(&week, None);
    assert_eq!(schedule.peek(), None);
    assert!(!schedule.is_searching(), "there is nothing to find");
    let back = Share { index: 0, count: 1 };
    schedule.change(Change { from_ns: SECOND, share: Some(back), ..Change::default() });
    while schedule.peek().is_none() {
        assert!(schedule.is_searching());
    }
    assert!(schedule.peek().is_some_and(|a| (SECOND..SECOND + SECOND / 1_000).contains(&a.intended_ns)));
}

#[test]
fn a_long_past_is_passed_in_steps() {
    let whole = plan(Arrivals::Constant, vec![constant(100_000.0, 10)]);
    let mut schedule = Schedule::new(&LoadPlan { joins_at_ns: 5 * SECOND, ..whole }, None);
    let mut steps = 1;
    while schedule.take_due(u64::MAX).is_none() {
        assert!(schedule.is_searching());
        steps += 1;
    }
    assert_eq!(steps, 500_000 / MOST_PASSED + 1);
    assert_eq!(schedule.peek().map(|a| a.k), Some(500_001));
}

/// The share of a generator among `count`; one that is not among them sends nothing.
fn share_of(index: u32, count: u32) -> Share {
    Share { index: if index < count { index } else { u32::MAX }, count }
}

/// Sends of all generators together, by number. Each hears of a change some time before it holds.
fn send_together(plan: &LoadPlan, count: u32, count_after: u32, changes: &[(u64, Change)]) -> Vec<Arrival> {
    let mut sent = Vec::new();
    for index in 0..count.max(count_after) {
        let mut schedule = Schedule::new(&LoadPlan { share: share_of(index, count), ..plan.clone() }, None);
        for (heard_ns, change) in changes {
            sent.extend(std::iter::from_fn(|| schedule.take_due(*heard_ns)));
            let share = change.share.map(|_| share_of(index, count_after));
            schedule.change(Change { share, ..change.clone() });
        }
        sent.extend(all(schedule));
    }
    sent.sort_by_key(|a| a.k);
    sent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn generators_together_send_the_whole_schedule_once(
        seed in any::<u64>(),
        poisson in any::<bool>(),
        count in 1_u32..6,
        count_after in 1_u32..6,
        share_at in 100_000_000_u64..1_900_000_000,
        rate_at in 100_000_000_u64..1_900_000_000,
        rate in 1.0_f64..2_000.0,
        ahead in 1_u64..100_000_000,
    ) {
        let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
        let ramp = Shape::Ramp { from: Rate(50.0), to: Rate(900.0) };
        let plan = LoadPlan { seed, ..plan(arrivals, vec![constant(300.0, 1), phase(ramp, 1)]) };
        let share = Some(share_of(0, count_after));
        let mut changes = [
            Change { from_ns: share_at, share, ..Change::default() },
            Change { from_ns: rate_at, rate: Some(Some(rate)), ..Change::default() },
        ];
        changes.sort_by_key(|c| c.from_ns);
        let heard = changes.clone().map(|c| (c.from_ns - ahead, c));
        let mut whole = Schedule::new(&plan, None);
        for change in changes {
            whole.change(Change { share: None, ..change });
        }
        prop_assert_eq!(send_together(&plan, count, count_after, &heard), all(whole));
    }

    #[test]
    fn a_skip_leaves_each_number_once_and_later_phases_their_rates(
        seed in any::<u64>(),
        poisson in any::<bool>(),
        count in 1_u32..6,
        count_after in 1_u32..6,
        share_at in 100_000_000_u64..1_400_000_000,
        skip_at in 100_000_000_u64..1_400_000_000,
        joins_at in 100_000_000_u64..1_400_000_000,
        ahead in 1_u64..100_000_000,
    ) {
        let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
        let ramp = Shape::Ramp { from: Rate(100.0), to: Rate(700.0) };
        let phases = vec![constant(300.0, 1), phase(ramp, 1), constant(2_000.0, 1)];
        let plan = LoadPlan { seed, ..plan(arrivals, phases) };
        let mut changes =
            [Change { from_ns: share_at, share: Some(share_of(0, count_after)), ..Change::default() }, skip(skip_at)];
        changes.sort_by_key(|c| c.from_ns);
        let heard = changes.clone().map(|c| (c.from_ns - ahead, c));
        let mut whole = Schedule::new(&plan, None);
        whole.change(skip(skip_at));
        let end_ns = whole.end_ns();
        let whole = all(whole);
        let sent = send_together(&plan, count, count_after, &heard);
        prop_assert_eq!(&sent, &whole);
        prop_assert!(sent.iter().enumerate().all(|(i, a)| a.k == i as u64));

        let cut = u32::from(skip_at >= SECOND);
        let gone = u64::from(cut + 1) * SECOND - skip_at;
        prop_assert_eq!(end_ns, 3 * SECOND - gone);
        let is_before = |a: &Arrival| a.intended_ns < skip_at;
        prop_assert!(sent.iter().all(|a| is_before(a) == (a.phase <= cut)), "nothing of it after the skip");
        let untouched = all(Schedule::new(&plan, None));
        let head: Vec<&Arrival> = untouched.iter().filter(|a| is_before(a)).collect();
        prop_assert_eq!(sent.iter().filter(|a| is_before(a)).collect::<Vec<_>>(), head, "nothing changed before it");
        let last = sent.iter().filter(|a| a.phase == 2);
        prop_assert!(last.clone().all(|a| (end_ns - SECOND..end_ns).contains(&a.intended_ns)));
        let scatter = if poisson { 6.0 * 45.0 } else { 2.0 };
        prop_assert!((last.count() as f64 - 2_000.0).abs() < scatter);

        // Who joins is given the plan as it was, and what happened to it since.
        let mut joined = Schedule::new(&LoadPlan { joins_at_ns: joins_at, ..plan }, None);
        joined.change(skip(skip_at));
        let from_then: Vec<Arrival> = whole.into_iter().filter(|a| a.intended_ns >= joins_at).collect();
        prop_assert_eq!(all(joined), from_then);
    }
}
