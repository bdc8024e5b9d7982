//! What every environment promises, as tests over a factory. `make(name)` gives an environment over the lab of that name, as a new
//! process would have it; names are unique to a test.

use std::time::{Duration, Instant};

use lab_core::event::Kind;
use lab_core::spec::Spec;
use lab_env::{EnvError, GeneratorClient, ReplicaPhase};
use tokio::time::timeout;

use crate::bench::{Bench, PATIENCE, spec};

const USERS: &str = "user-service";

fn users() -> Spec {
    spec("question: Does it keep its promises?\nenvironment: local\nservices: { user-service: { store: sqlite } }\n")
}

/// Deploy waits until replicas are ready; each is announced through its whole life; generators are found with their API.
pub async fn deploys(make: impl Fn(&str) -> Bench) {
    let (bench, spec) = (make("deploys"), users());
    assert_eq!(bench.environment.check(&spec).await.into_iter().filter(|f| f.fatal).collect::<Vec<_>>(), []);
    bench.bring_up(&spec).await;
    let states = bench.environment.replicas(USERS).await.unwrap();
    assert_eq!((states.len(), states[0].phase, states[0].ready), (1, ReplicaPhase::Running, Some(true)));
    assert!(states[0].started <= states[0].ready_since && states[0].started.is_some());
    assert_eq!(bench.environment.wanted(USERS).await.unwrap(), 1);
    let name = states[0].replica.clone();
    assert_eq!(bench.ready(USERS, 1).await, [name.as_str()]);
    let ready = |k: &Kind| matches!(k, Kind::ReplicaReady { replica, .. } if *replica == name);
    bench.events.position("it is ready", ready).await;
    let of = |kind: &Kind| match kind {
        Kind::Scaled { workload, from: 0, to: 1, cause } if workload == USERS && cause == "deploy" => Some(0),
        Kind::ReplicaCreated { replica, .. } if *replica == name => Some(1),
        Kind::ReplicaStarted { replica, .. } if *replica == name => Some(2),
        Kind::ReplicaReady { replica, .. } if *replica == name => Some(3),
        _ => None,
    };
    assert_eq!(bench.events.all().iter().filter_map(of).collect::<Vec<_>>(), [0, 1, 2, 3]);

    let generators = bench.environment.generators().borrow().clone();
    assert_eq!(generators.len(), 1);
    let in_force = |kind: &Kind| matches!(kind, Kind::EndpointsChanged { endpoints, .. } if endpoints.len() == 1 && endpoints[0].replica == name);
    let at = bench.events.position("the list is in force", in_force).await;
    let Kind::EndpointsChanged { version, .. } = bench.events.all()[at] else { unreachable!() };
    // The list may have come into force while no generator was there; one that comes later is given it next.
    let client = GeneratorClient::new(&generators[0]).unwrap();
    let given = async {
        while client.status().await.unwrap().targets_version < version {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), given).await.expect("the generator has the list");
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
}

/// Scaling returns at once; the newest go first, and only after the generators have a list without them.
pub async fn scales(make: impl Fn(&str) -> Bench) {
    let (bench, spec) = (make("scales"), users());
    bench.bring_up(&spec).await;
    let begun = Instant::now();
    bench.environment.scale(USERS, 3, "user").await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(200));
    let names = bench.ready(USERS, 3).await;
    bench.environment.scale(USERS, 1, "autoscaler").await.unwrap();
    assert_eq!(bench.environment.wanted(USERS).await.unwrap(), 1);
    for going in &names[1..] {
        let stopped = |k: &Kind| matches!(k, Kind::ReplicaStopped { replica, expected: true, .. } if replica == going);
        let stopped = bench.events.position("it is gone", stopped).await;
        let without = |k: &Kind| {
            matches!(k, Kind::EndpointsChanged { workload, endpoints, .. }
                if workload == USERS && endpoints.len() == 1 && endpoints[0].replica == names[0])
        };
        let all = bench.events.all();
        let last_list = all[..stopped]
            .iter()
            .rposition(|k| matches!(k, Kind::EndpointsChanged { workload, .. } if workload == USERS));
        assert!(
            last_list.is_some_and(|at| without(&all[at])),
            "a list without {going} was in force before it ended: {all:#?}"
        );
        let draining = all.iter().position(|k| matches!(k, Kind::ReplicaDraining { replica, .. } if replica == going));
        assert!(draining.is_some_and(|at| at < stopped));
    }
    assert_eq!(bench.ready(USERS, 1).await, names[..1], "the oldest stays");
    bench.environment.scale(USERS, 0, "user").await.unwrap();
    bench.ready(USERS, 0).await;
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
}

/// CPU and memory of each replica, as counters that do not fall.
pub async fn observes(make: impl Fn(&str) -> Bench) {
    let (bench, spec) = (make("observes"), users());
    bench.bring_up(&spec).await;
    let first = bench.environment.observe(USERS).await.unwrap();
    assert_eq!(first.len(), 1);
    assert!(first[0].rss_bytes > 100_000 && first[0].cpu_ns > 0, "{first:?}");
    let second = bench.environment.observe(USERS).await.unwrap();
    assert!(second[0].cpu_ns >= first[0].cpu_ns);
    bench.environment.down().await.unwrap();
}

/// One that is killed is announced as not expected and replaced by another.
pub async fn replaces_the_dead(make: impl Fn(&str) -> Bench) {
    let (bench, spec) = (make("replaces"), users());
    bench.bring_up(&spec).await;
    let victim = bench.ready(USERS, 1).await.remove(0);
    bench.environment.kill(&victim).await.unwrap();
    let died = |k: &Kind| matches!(k, Kind::ReplicaStopped { replica, expected: false, .. } if *replica == victim);
    let died = bench.events.position("it died", died).await;
    let replaced = |k: &Kind| matches!(k, Kind::Scaled { cause, to: 1, .. } if cause == "replace");
    assert!(bench.events.position("it is replaced", replaced).await > died);
    let another =
        |k: &Kind| matches!(k, Kind::ReplicaReady { workload, replica } if workload == USERS && *replica != victim);
    bench.events.position("another is ready", another).await;
    assert!(bench.environment.kill(&victim).await.is_err(), "it is gone");
    bench.environment.down().await.unwrap();
}

/// `down` twice is fine, and `up` again after it.
pub async fn goes_down_twice_and_up_again(make: impl Fn(&str) -> Bench) {
    let (bench, spec) = (make("twice"), users());
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0], "never up");
    for _ in 0..2 {
        bench.bring_up(&spec).await;
        bench.environment.up(&spec).await.unwrap();
        assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
        assert!(bench.environment.generators().borrow().is_empty());
        assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    }
}

/// What is not there is named.
pub async fn names_what_is_not_there(make: impl Fn(&str) -> Bench) {
    let (bench, spec) = (make("unknown"), users());
    let unknown = |result: Result<(), EnvError>| matches!(result, Err(EnvError::NoSuchWorkload(_)));
    assert!(unknown(bench.environment.endpoints(USERS).map(drop)), "not up");
    bench.environment.up(&spec).await.unwrap();
    assert!(unknown(bench.environment.deploy(&spec, "message-service").await), "not in the spec");
    assert!(unknown(bench.environment.scale(USERS, 2, "user").await), "not deployed");
    assert!(unknown(bench.environment.scale("nonsense", 2, "user").await));
    assert!(bench.environment.kill("user-service-7").await.is_err());
    bench.environment.down().await.unwrap();
}

/// After a crash the next holder removes what the dead one left, and has a lab as if nothing had been.
pub async fn comes_up_after_a_crash(make: impl Fn(&str) -> Bench) {
    let (crashed, spec) = (make("crash"), users());
    crashed.bring_up(&spec).await;
    let second = make("crash");
    let held = timeout(Duration::from_secs(1), second.environment.up(&spec)).await.expect("told within a second");
    assert!(matches!(held, Err(EnvError::Held { .. })), "{held:?}");
    assert_eq!(second.environment.down().await.unwrap().left, [""; 0], "what another holds is left alone");
    assert_eq!(crashed.ready(USERS, 1).await.len(), 1);
    drop(crashed.environment);
    let up = async {
        while second.environment.up(&spec).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, up).await.expect("the name is free");
    second.bring_up(&spec).await;
    assert_eq!(second.ready(USERS, 1).await.len(), 1);
    assert_eq!(second.environment.down().await.unwrap().left, [""; 0]);
}
