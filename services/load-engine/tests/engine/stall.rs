//! A frozen server: the stall must be in the latencies of an open loop, also when it lasts to the end.

use std::time::Duration;

use lab_core::control::LoadPlan;
use lab_core::unit::Span;

use crate::rig::{Rig, plan};
use crate::server::Server;

#[test]
fn a_stall_in_the_middle_is_in_the_percentiles() {
    let server = Server::good();
    server.freeze_at(300, Some(Duration::from_millis(400)));
    let rig = Rig::new(&[server.address]);
    let outcome = rig.run(plan(1_000.0, 2_000));
    assert_eq!((outcome.ledger.offered, outcome.ledger.completed), (2_000, 2_000));
    let stall = server.frozen_for().expect("it froze").as_secs_f64();
    // Requests intended during the stall waited U(0, S): the top q of all waited at least S - q × length.
    for (quantile, top) in [(0.9, 0.1), (0.95, 0.05), (0.99, 0.01)] {
        let expected = stall - top * 2.0;
        let measured = outcome.response.quantile(quantile).expect("answers").as_secs_f64();
        assert!(
            measured > 0.93 * expected && measured < 1.25 * expected + 0.05,
            "p{quantile}: {measured} s, expected {expected} s"
        );
    }
    let waited = outcome.samples.iter().find(|s| s.longest_queue > 100).expect("the stall's second tells of its queue");
    assert_eq!(waited.queued, 0, "though the queue is empty again at its end");
    // Waiting for a connection is in the send lag: what could not be sent is not blamed on the service time alone.
    let lag = outcome.send_lag.quantile(0.95).expect("sends").as_secs_f64();
    assert!(lag > 0.5 * (stall - 0.1), "{lag}");
}

#[test]
fn a_server_frozen_to_the_end_leaves_everything_unfinished() {
    let server = Server::good();
    server.freeze_at(100, None);
    let rig = Rig::new(&[server.address]);
    let outcome = rig.run(LoadPlan { drain: Span::from_millis(100), ..plan(1_000.0, 300) });
    let ledger = outcome.ledger;
    assert_eq!(ledger.offered, 300);
    assert!(ledger.completed >= 85 && ledger.completed <= 115, "{ledger:?}");
    assert_eq!(ledger.unfinished, 300 - ledger.completed, "{ledger:?}");
    let last = outcome.samples.last().expect("a last sample");
    assert_eq!(last.in_flight, 16, "all connections wait");
    assert!(last.to_ns >= 400_000_000, "the drain limit was kept: {}", last.to_ns);
}

#[test]
fn a_stall_beyond_the_timeout_fails_with_the_time_that_was_waited() {
    let server = Server::good();
    server.freeze_at(50, None);
    let rig = Rig::new(&[server.address]);
    let plan = LoadPlan { timeout: Span::from_millis(100), connections: 400, ..plan(500.0, 400) };
    let outcome = rig.run(plan);
    assert_eq!(outcome.ledger.unfinished, 0);
    assert_eq!(outcome.causes.get("timeout"), Some(&outcome.ledger.failed), "{:?}", outcome.causes);
    assert!(outcome.ledger.failed >= 140, "{:?}", outcome.ledger);
    assert!(outcome.failures.quantile(0.0).expect("failures") >= Span::from_millis(99));
}
