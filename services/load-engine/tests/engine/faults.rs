//! Whatever a server does, every request ends up in the ledger once.

use std::collections::HashSet;
use std::net::TcpListener;

use lab_core::control::{LoadPlan, Operation};
use lab_core::deliveries::Attempts;
use lab_core::unit::Span;
use load_engine::{Drive, Pace};
use proptest::prelude::*;

use crate::rig::{Rig, operation, plan};
use crate::server::{Reply, Server};

const REPLIES: [Reply; 11] = [
    Reply::Ok,
    Reply::Status(503),
    Reply::Status(404),
    Reply::Shed,
    Reply::OkAndClose,
    Reply::Chunked,
    Reply::Silence,
    Reply::Close,
    Reply::CutShort,
    Reply::Reset,
    Reply::Garbage,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_sums_under_random_faults(
        seed in any::<u64>(),
        connections in 1_u32..12,
        max_queue in 0_u32..80,
        workers in 1_u32..3,
        closed in any::<bool>(),
        stop_after in proptest::option::of(1_u64..200),
    ) {
        let server = Server::start(move |number, _| {
            // Half of the answers are good, the others any fault.
            let dice = (number ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            if dice.is_multiple_of(2) { Reply::Ok } else { REPLIES[(dice / 2) as usize % REPLIES.len()] }
        });
        let rig = Rig::with_workers(&[server.address], workers);
        let plan = LoadPlan {
            operations: vec![Operation { ledger: true, ..operation("create", "GET", "/n/{n}") }],
            connections,
            max_queue,
            timeout: Span::from_millis(40),
            drain: Span::from_millis(60),
            ..plan(1_500.0, 250)
        };
        let pace = if closed { Pace::Closed } else { Pace::Open };
        rig.load(Drive { plan, pace, limit: None });
        if let Some(requests) = stop_after {
            server.wait_for(requests.min(20));
            rig.engine.stop().expect("alive");
        }
        let outcome = rig.finish();
        prop_assert!(outcome.ledger.offered > 0);
        let lines = server.lines();
        prop_assert!(lines.len() as u64 <= outcome.ledger.started, "nothing is sent twice");
        prop_assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len(), "each number is sent once");
        let told = Attempts::of(outcome.samples.iter().map(|s| &s.fates)).expect("our own sets");
        prop_assert_eq!(told.len(), outcome.ledger.started, "each started request has one fate");
        prop_assert_eq!(told.acknowledged.len(), outcome.ledger.completed);
        let refusals = |cause: &str| outcome.causes.get(cause).copied().unwrap_or(0);
        prop_assert!(told.refused.len() >= refusals("status 404"));
        prop_assert!(told.refused.len() <= refusals("status 404") + refusals("status 503"));
        let came: HashSet<u64> = lines.iter().filter_map(|line| number_in(line)).collect();
        prop_assert!(told.acknowledged.iter().chain(told.refused.iter()).all(|n| came.contains(&n)), "what was answered had come");
        let attempted = |n: u64| told.acknowledged.contains(n) || told.refused.contains(n) || told.indeterminate.contains(n);
        prop_assert!(came.iter().all(|n| attempted(*n)), "what came was attempted");
        if stop_after.is_none() && !closed {
            prop_assert_eq!(outcome.ledger.offered, 375);
        }
    }
}

/// The number in `GET /n/17 HTTP/1.1`.
fn number_in(line: &str) -> Option<u64> {
    line.strip_prefix("GET /n/")?.split(' ').next()?.parse().ok()
}

#[test]
fn each_fault_has_its_fate() {
    let fates = |reply| {
        let server = Server::start(move |_, _| reply);
        let plan = LoadPlan {
            operations: vec![Operation { ledger: true, ..operation("create", "GET", "/n/{n}") }],
            timeout: Span::from_millis(30),
            ..plan(100.0, 50)
        };
        let outcome = Rig::new(&[server.address]).run(plan.clone());
        let told = Attempts::of(outcome.samples.iter().map(|s| &s.fates)).expect("our own sets");
        assert!(told.acknowledged.iter().chain(told.refused.iter()).all(|n| plan.numbers(n)));
        (told.acknowledged.len(), told.refused.len(), told.indeterminate.len())
    };
    for (reply, told) in [
        (Reply::Ok, (5, 0, 0)),
        (Reply::Status(404), (0, 5, 0)),
        (Reply::Shed, (0, 5, 0)),
        (Reply::Status(503), (0, 0, 5)),
        (Reply::Status(500), (0, 0, 5)),
        (Reply::Silence, (0, 0, 5)),
        (Reply::CutShort, (0, 0, 5)),
        (Reply::Reset, (0, 0, 5)),
    ] {
        assert_eq!(fates(reply), told, "{reply:?}");
    }
}

#[test]
fn what_is_cut_off_in_flight_is_open() {
    let server = Server::good();
    server.freeze_at(0, None);
    let plan = LoadPlan {
        operations: vec![Operation { ledger: true, ..operation("create", "GET", "/n/{n}") }],
        connections: 2,
        drain: Span::from_millis(20),
        ..plan(1_000.0, 100)
    };
    let outcome = Rig::new(&[server.address]).run(plan);
    let told = Attempts::of(outcome.samples.iter().map(|s| &s.fates)).expect("our own sets");
    assert_eq!((told.len(), told.indeterminate.len()), (2, 2), "two were sent, the others never were");
}

#[test]
fn each_fault_has_its_cause() {
    for (reply, cause) in [
        (Reply::Status(503), "status 503"),
        (Reply::Status(404), "status 404"),
        (Reply::Silence, "timeout"),
        (Reply::Close, "connection closed early"),
        (Reply::CutShort, "connection closed early"),
        (Reply::Reset, "connection reset"),
        (Reply::Garbage, "malformed answer"),
    ] {
        let server = Server::start(move |_, _| reply);
        let outcome = Rig::new(&[server.address]).run(LoadPlan { timeout: Span::from_millis(30), ..plan(100.0, 50) });
        assert_eq!(outcome.causes.get(cause), Some(&5), "{reply:?}: {:?}", outcome.causes);
        assert_eq!(outcome.ledger.started, 5);
    }
}

#[test]
fn a_closed_port_refuses_every_request_and_none_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let outcome = Rig::new(&[address]).run(plan(500.0, 300));
    assert_eq!(outcome.ledger.offered, 150);
    assert_eq!(outcome.causes.get("connection refused"), Some(&150), "{:?}", outcome.causes);
    assert_eq!(outcome.ledger.started, 0);
    assert!(outcome.samples.iter().all(|s| s.fates.is_empty()), "nothing was attempted");
}

#[test]
fn answers_that_close_cost_a_connection_each_and_lose_nothing() {
    let server = Server::start(|_, _| Reply::OkAndClose);
    let outcome = Rig::new(&[server.address]).run(plan(400.0, 250));
    assert_eq!((outcome.ledger.completed, outcome.ledger.failed), (100, 0), "{:?}", outcome.causes);
    assert!(server.connections() >= 100);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let server = Server::good();
    server.freeze_at(0, None);
    let small = LoadPlan { connections: 2, max_queue: 10, drain: Span::from_millis(20), ..plan(1_000.0, 100) };
    let outcome = Rig::new(&[server.address]).run(small);
    assert_eq!(outcome.ledger.offered, 100);
    assert_eq!(outcome.ledger.unfinished, 12, "two in flight, ten queued");
    assert_eq!(outcome.ledger.dropped, 88);
}
