//! Plans, changes, pauses, shares and status of a running engine.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use lab_core::control::{LoadChange, LoadPlan, LoadState, Operation, PlanPhase, Share};
use lab_core::spec::Shape;
use lab_core::unit::{Rate, Span};
use load_engine::EngineError;

use crate::rig::{Rig, operation, plan};
use crate::server::{Reply, Server};

#[test]
fn a_change_of_rate_ahead_of_time_is_exact() {
    for workers in [1, 2] {
        let server = Server::good();
        let rig = Rig::with_workers(&[server.address], workers);
        rig.load(plan(1_000.0, 600));
        let change = LoadChange { from_ns: Some(300_000_000), rate: Some(2_000.0), ..LoadChange::default() };
        rig.engine.change(&change).expect("running");
        let back = LoadChange { from_ns: Some(500_000_000), rate: Some(-1.0), ..LoadChange::default() };
        rig.engine.change(&back).expect("running");
        let outcome = rig.finish();
        assert_eq!(outcome.ledger.offered, 300 + 400 + 100);
        assert_eq!(outcome.ledger.completed, 800, "{:?}", outcome.causes);
        let numbers: HashSet<String> = server.lines().into_iter().collect();
        assert_eq!(numbers.len(), 800);
    }
}

#[test]
fn a_skipped_phase_brings_the_rest_forward() {
    for workers in [1, 2] {
        let server = Server::good();
        let rig = Rig::with_workers(&[server.address], workers);
        let mut plan = plan(500.0, 30_000);
        let next = PlanPhase {
            rate: Shape::Constant(Rate(2_000.0)),
            length: Span::from_millis(200),
            ..plan.phases[0].clone()
        };
        plan.phases.push(next.clone());
        plan.phases.push(next);
        rig.load(plan);
        let skip =
            |millis: u64| LoadChange { from_ns: Some(millis * 1_000_000), skip: Some(true), ..LoadChange::default() };
        rig.engine.change(&skip(200)).expect("running");
        rig.engine.change(&skip(500)).expect("running");
        let outcome = rig.finish();
        assert_eq!(outcome.ledger.offered, 100 + 400 + 200);
        assert_eq!(outcome.ledger.completed, 700, "{:?}", outcome.causes);
        let end = outcome.samples.last().expect("samples").to_ns;
        assert!((500_000_000..30_000_000_000).contains(&end), "{end}");
        assert_eq!(server.lines().into_iter().collect::<HashSet<_>>().len(), 700);
    }
}

#[test]
fn a_paused_load_ends_when_it_would_have() {
    let server = Server::good();
    let rig = Rig::new(&[server.address]);
    rig.load(plan(1_000.0, 400));
    let pause = LoadChange { from_ns: Some(100_000_000), pause: Some(true), ..LoadChange::default() };
    rig.engine.change(&pause).expect("running");
    let outcome = rig.finish();
    assert_eq!((outcome.ledger.offered, outcome.ledger.completed), (100, 100));
    assert!(outcome.samples.last().is_some_and(|s| s.to_ns >= 400_000_000));
}

#[test]
fn changes_without_a_time_hold_within_fifty_milliseconds() {
    let server = Server::good();
    let rig = Rig::new(&[server.address]);
    rig.load(plan(200.0, 30_000));
    rig.wait("load", |s| s.state == LoadState::Running && s.ledger.offered > 2);
    let told = Instant::now();
    rig.engine.change(&LoadChange { rate: Some(5_000.0), ..LoadChange::default() }).expect("running");
    rig.wait("the new rate", |s| s.rate == 5_000.0);
    assert!(told.elapsed().as_millis() < 50, "{:?}", told.elapsed());
    let before = server.requests();
    server.wait_for(before + 500);
    rig.engine.change(&LoadChange { pause: Some(true), ..LoadChange::default() }).expect("running");
    rig.wait("the pause", |s| s.state == LoadState::Paused && s.ledger.unfinished == 0);
    let paused = rig.engine.status().expect("alive");
    rig.wait("some paused time", |s| s.plan_ns > paused.plan_ns.map(|t| t + 100_000_000));
    assert_eq!(rig.engine.status().expect("alive").ledger, paused.ledger, "nothing is due in a pause");
    rig.engine.change(&LoadChange { pause: Some(false), ..LoadChange::default() }).expect("running");
    rig.wait("more", |s| s.ledger.completed > paused.ledger.completed + 100);
    rig.engine.stop().expect("alive");
    let outcome = rig.finish();
    assert_eq!(outcome.ledger.failed + outcome.ledger.dropped, 0);
    rig.wait("the end", |s| s.state == LoadState::Finished);
}

#[test]
fn two_generators_share_one_schedule_and_one_takes_over() {
    let server = Server::good();
    let rigs = [Rig::new(&[server.address]), Rig::new(&[server.address])];
    let start = load_engine::now_ns() + 50_000_000;
    for (index, rig) in (0..).zip(&rigs) {
        let share = Share { index, count: 2 };
        rig.load(LoadPlan { start_at_ns: Some(start), share, ..plan(1_000.0, 600) });
    }
    assert_eq!(rigs[0].engine.status().expect("alive").state, LoadState::Waiting);
    // From 300 ms on the first one sends everything, the second one nothing.
    let from_ns = Some(300_000_000);
    let all = LoadChange { from_ns, share: Some(Share { index: 0, count: 1 }), ..LoadChange::default() };
    rigs[0].engine.change(&all).expect("loaded");
    let nothing = LoadChange { from_ns, share: Some(Share { index: 1, count: 1 }), ..LoadChange::default() };
    rigs[1].engine.change(&nothing).expect("loaded");
    let outcomes = [rigs[0].finish(), rigs[1].finish()];
    assert_eq!((outcomes[0].ledger.completed, outcomes[1].ledger.completed), (450, 150));
    assert_eq!(server.lines().into_iter().collect::<HashSet<_>>().len(), 600, "each number once");
}

#[test]
fn a_stop_finishes_what_is_under_way() {
    let server = Server::good();
    server.freeze_at(50, Some(Duration::from_millis(150)));
    let rig = Rig::new(&[server.address]);
    rig.load(plan(1_000.0, 30_000));
    server.wait_for(51);
    rig.wait("a queue", |s| s.ledger.unfinished > 30);
    rig.engine.stop().expect("alive");
    rig.wait("the drain", |s| s.state == LoadState::Draining);
    let outcome = rig.finish();
    assert_eq!(outcome.ledger.completed, outcome.ledger.offered, "{:?}", outcome.ledger);
    assert!(outcome.ledger.offered < 1_000);
}

#[test]
fn a_stop_leaves_out_nothing_that_was_due() {
    let server = Server::good();
    let rig = Rig::new(&[server.address]);
    // Begun half a second ago: all of that is due in the first turn, in which the stop may be read first.
    rig.load(LoadPlan { start_at_ns: Some(load_engine::now_ns() - 500_000_000), ..plan(1_000.0, 30_000) });
    rig.engine.stop().expect("alive");
    let outcome = rig.finish();
    assert!(outcome.ledger.offered >= 500, "{:?}", outcome.ledger);
}

#[test]
fn a_load_stopped_before_its_start_is_empty() {
    let rig = Rig::new(&[]);
    rig.load(LoadPlan { start_at_ns: Some(load_engine::now_ns() + 3_600_000_000_000), ..plan(1_000.0, 1_000) });
    rig.engine.stop().expect("alive");
    let outcome = rig.finish();
    assert_eq!((outcome.ledger.offered, outcome.samples.len()), (0, 1));
}

#[test]
fn keys_follow_what_was_created() {
    let server = Server::start(|_, head| if head.starts_with("POST") { Reply::Created(40) } else { Reply::Ok });
    let rig = Rig::new(&[server.address]);
    let create = Operation { creates_key: true, ..operation("create", "POST", "/create") };
    let plan =
        LoadPlan { operations: vec![create, operation("get", "GET", "/get?id={key}")], keys: 2, ..plan(1_000.0, 400) };
    let outcome = rig.run(plan);
    assert_eq!(outcome.ledger.completed, 400);
    let keys: Vec<u64> =
        server.lines().iter().filter_map(|l| l.strip_prefix("GET /get?id=")?.split(' ').next()?.parse().ok()).collect();
    assert!(keys.iter().all(|k| (1..=40).contains(k)));
    assert!(keys.iter().any(|k| *k > 20), "{keys:?}");
    let operations: BTreeMap<String, u64> = outcome.samples[0].phases[0].completed_by_operation.clone();
    assert_eq!(operations.keys().collect::<Vec<_>>(), ["create", "get"]);
}

#[test]
fn what_cannot_be_done_is_refused_with_reasons() {
    let rig = Rig::new(&[]);
    assert!(matches!(rig.engine.change(&LoadChange::default()), Err(EngineError::NoPlan)));
    let bad = LoadPlan { connections: 0, timeout: Span::ZERO, ..plan(1.0, 100) };
    assert!(matches!(rig.engine.load(bad), Err(EngineError::Plan(why)) if why.len() == 2));
    rig.load(LoadPlan { drain: Span::from_millis(10), ..plan(1.0, 30_000) });
    assert!(matches!(rig.engine.load(plan(1.0, 100)), Err(EngineError::Busy(id)) if id == "test"));
    let mix = Some(BTreeMap::from([("nosuch".to_owned(), 1.0)]));
    let bad = LoadChange { mix, connections: Some(0), rate: Some(1e12), ..LoadChange::default() };
    assert!(matches!(rig.engine.change(&bad), Err(EngineError::Change(why)) if why.len() == 3));
    for count in [0, u32::MAX] {
        let leaving = Share { index: u32::MAX, count };
        let bad = LoadChange { share: Some(leaving), ..LoadChange::default() };
        assert!(matches!(rig.engine.change(&bad), Err(EngineError::Change(why)) if why[0].contains("count")));
    }
    rig.engine.stop().expect("alive");
    assert!(rig.finish().samples.last().is_some_and(|s| s.last));
    rig.wait("the end", |s| s.state == LoadState::Finished);
    rig.engine.load(plan(1.0, 100)).expect("free again");
}
