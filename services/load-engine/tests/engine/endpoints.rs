//! Endpoints that come and go while requests flow.

use lab_core::control::LoadPlan;
use load_engine::{Drive, EngineError, Pace};

use crate::rig::{Outcome, Rig, list, plan};
use crate::server::Server;

#[test]
fn a_new_endpoint_gets_its_part_and_a_removed_one_loses_nothing() {
    let (a, b, c) = (Server::good(), Server::good(), Server::good());
    let rig = Rig::new(&[a.address, b.address]);
    rig.load(plan(2_000.0, 4_000));
    let mut outcome = Outcome::default();
    outcome.take(rig.next());
    rig.engine.targets(&list(2, &[a.address, b.address, c.address])).expect("newer");
    outcome.take(rig.next());
    // The second after the change: three endpoints, a third each.
    let third = rig.next();
    let part = third.endpoints.iter().find(|e| e.replica == c.address.to_string()).map_or(0, |e| e.completed);
    assert!(part > 580 && part < 750, "c answered {part} of 2000");
    outcome.take(third);
    rig.engine.targets(&list(3, &[b.address, c.address])).expect("newer");
    rig.wait("list 3", |s| s.targets_version == 3);
    let answered = b.requests();
    b.wait_for(answered + 100);
    let left_a = a.requests();
    let rest = loop {
        let sample = rig.next();
        let last = sample.last;
        outcome.take(sample);
        if last {
            break outcome;
        }
    };
    assert_eq!(a.requests(), left_a, "nothing goes to an address outside the list");
    assert_eq!((rest.ledger.offered, rest.ledger.completed), (8_000, 8_000), "{:?}", rest.causes);
    let firsts = rest.samples.iter().flat_map(|s| &s.endpoints).filter(|e| e.first_ns.is_some()).count();
    assert_eq!(firsts, 3, "each endpoint has one first answer");
    assert_eq!(rest.answers_of(&a.address.to_string()), a.requests());
}

#[test]
fn at_closed_pace_connections_move_to_a_new_endpoint() {
    let (a, b) = (Server::good(), Server::good());
    let rig = Rig::new(&[a.address]);
    rig.load(Drive { plan: LoadPlan { connections: 8, ..plan(0.0, 1_500) }, pace: Pace::Closed, limit: None });
    a.wait_for(100);
    rig.engine.targets(&list(2, &[a.address, b.address])).expect("newer");
    b.wait_for(100);
    let outcome = rig.finish();
    assert_eq!(outcome.ledger.failed + outcome.ledger.unfinished, 0, "{:?}", outcome.causes);
    assert_eq!(b.connections(), 4, "half of the connections");
    assert_eq!(a.connections(), 8, "none was opened again");
}

#[test]
fn without_endpoints_requests_queue_until_there_are_some() {
    let server = Server::good();
    let rig = Rig::new(&[]);
    rig.load(plan(1_000.0, 200));
    rig.wait("the end of the schedule", |s| s.ledger.offered == 200);
    rig.engine.targets(&list(2, &[server.address])).expect("newer");
    let outcome = rig.finish();
    assert_eq!((outcome.ledger.offered, outcome.ledger.completed), (200, 200));
    assert!(outcome.response.max().expect("answers").as_secs_f64() > 0.15, "waiting counts");
}

#[test]
fn one_dead_endpoint_among_two_costs_some_requests_and_blocks_none() {
    let live = Server::good();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dead = listener.local_addr().expect("bound");
    drop(listener);
    let outcome = Rig::new(&[dead, live.address]).run(plan(1_000.0, 400));
    assert_eq!(outcome.ledger.offered, 400);
    assert!(outcome.ledger.completed > 360, "{:?} {:?}", outcome.ledger, outcome.causes);
    assert!(outcome.response.quantile(0.5).expect("answers").as_secs_f64() < 0.05);
}

#[test]
fn an_older_list_and_a_wrong_one_are_refused() {
    let rig = Rig::new(&[]);
    rig.engine.targets(&list(5, &[])).expect("newer");
    assert!(matches!(rig.engine.targets(&list(4, &[])), Err(EngineError::OldTargets { given: 4, current: 5 })));
    let mut wrong = list(6, &[]);
    wrong.endpoints.push(lab_core::control::Endpoint { replica: "r".into(), address: "no port".into() });
    assert!(matches!(rig.engine.targets(&wrong), Err(EngineError::Targets(why)) if why.len() == 1));
    assert_eq!(rig.engine.status().expect("alive").targets_version, 5);
}
