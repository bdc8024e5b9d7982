//! Made-up runs with what the simulation does not have: faults, remarks, stills, lost samples, hostile names, a queue, no plan.

use lab_core::control::LoadChange;
use lab_core::event::{Event, Kind, SeenMetric, StepName};
use lab_core::fixture::Scenario;
use lab_core::model::Model;
use lab_core::spec::{Metric, Services, Spec};
use lab_core::unit::{RunTime, Span};

/// A replica whose name would clear the screen, turn the text and take two columns a character.
pub const HOSTILE: &str = "user-service-\u{1b}[2J\u{202e}日本語";

/// The events in order of arrival, each at an instant of its own, numbered anew: what a journal holds.
pub fn ordered(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(Event::arrived);
    let mut last = None;
    for (event, n) in events.iter_mut().zip(1..) {
        let arrived = last.map_or(event.arrived(), |last: RunTime| event.arrived().max(last.plus(Span(1))));
        (event.n, event.late) = (n, arrived.since(event.t));
        last = Some(arrived);
    }
    events
}

/// A run in which much goes wrong after its step: a replica is killed and replaced, another stops answering, samples are lost, and
/// the user has a hand in it.
pub fn troubles() -> Vec<Event> {
    let mut events = Scenario::autoscale(3).events();
    let zero = Model::of(&events).trials[0].load_started.expect("load");
    let after = |seconds: f64| zero.plus(Span((seconds * 1e9) as u64));
    let killed = after(46.0);
    events.retain_mut(|event| outlives(event, killed) && !lost(event, (after(60.5), after(66.5))));
    let workload = || "user-service".to_owned();
    let named = |name: &str| (workload(), name.to_owned());
    let mut add = |seconds: f64, src: &str, kind: Kind| {
        let (t, src) = (after(seconds), src.to_owned());
        events.push(Event { n: 0, t, late: Span::ZERO, src, clock: None, kind });
    };
    let change = LoadChange { rate: Some(400.0), ..LoadChange::default() };
    add(12.0, "user", Kind::Note { text: "größer → \u{1b}[2J日本語, before the step".to_owned() });
    add(44.0, "user", Kind::LoadChanged { change, by: "user".to_owned() });
    let (what, by) = ("killed".to_owned(), "user".to_owned());
    add(46.0, "user", Kind::Fault { workload: workload(), replica: "user-service-2".to_owned(), what, by });
    let (of, replica) = named("user-service-2");
    let exit = "signal 9".to_owned();
    add(46.02, "env.local", Kind::ReplicaStopped { workload: of, replica, exit, expected: false });
    add(46.03, "run", Kind::Scaled { workload: workload(), from: 4, to: 4, cause: "replace".to_owned() });
    let (of, replica) = named(HOSTILE);
    add(46.04, "env.local", Kind::ReplicaCreated { workload: of, replica });
    let (of, replica) = named(HOSTILE);
    let address = "127.0.0.1:43009".to_owned();
    add(46.3, "env.local", Kind::ReplicaStarted { workload: of, replica, address, pid: Some(4_009) });
    let (of, replica) = named(HOSTILE);
    add(47.6, "env.local", Kind::ReplicaReady { workload: of, replica });
    let (of, replica) = named("user-service-3");
    let reason = "the probe got no answer: connection refused".to_owned();
    add(52.0, "env.local", Kind::ReplicaUnready { workload: of, replica, reason });
    let (of, replica) = named("user-service-3");
    add(55.0, "env.local", Kind::ReplicaReady { workload: of, replica });
    let files = ["txt", "ansi", "svg"].map(|end| format!("stills/53.000s-100x30.{end}")).to_vec();
    add(53.2, "user", Kind::Still { at: after(53.0), size: (100, 30), files });
    for generator in ["load-generator-1", "load-generator-2"] {
        add(67.0, "run", Kind::SampleLost { generator: generator.to_owned(), from_seq: 61, count: 6 });
    }
    add(70.0, "run", Kind::Warning { text: "the journal's disk is slow\r\nvery".to_owned() });
    ordered(events)
}

/// False for what a killed replica would have done later; takes it out of what others say of it.
fn outlives(event: &mut Event, killed: RunTime) -> bool {
    let dead = |name: &str| name == "user-service-2";
    if event.t < killed {
        return true;
    }
    match &mut event.kind {
        Kind::ReplicaDraining { replica, .. } | Kind::ReplicaStopped { replica, .. } => !dead(replica),
        Kind::Observed { replicas, .. } => {
            replicas.retain(|usage| !dead(&usage.replica));
            true
        }
        Kind::EndpointsChanged { endpoints, .. } => {
            endpoints.retain(|endpoint| !dead(&endpoint.replica));
            true
        }
        Kind::Sample(sample) => {
            // Who replaces it answers what it would have, once it is there.
            if event.t < killed.plus(Span::from_secs(2)) {
                sample.endpoints.retain(|endpoint| !dead(&endpoint.replica));
            }
            for endpoint in sample.endpoints.iter_mut().filter(|e| dead(&e.replica)) {
                HOSTILE.clone_into(&mut endpoint.replica);
                endpoint.first_ns = Some(sample.from_ns);
            }
            true
        }
        _ => true,
    }
}

fn lost(event: &Event, (from, to): (RunTime, RunTime)) -> bool {
    matches!(event.kind, Kind::Sample(_)) && from < event.t && event.t < to
}

/// A run of message-service that follows CPU and the depth of its queue.
pub fn messages() -> Vec<Event> {
    let text = serde_json::to_string(&Scenario::autoscale(3).events()).expect("JSON");
    let renamed = [
        ("\"create\":\"queued\",", "\"consumers\":2,"),
        ("user-service", "message-service"),
        ("autoscale-users", "deliver-messages"),
        ("\"create\"", "\"send\""),
        ("\"get\"", "\"messages\""),
        ("\"users\"", "\"messages\""),
    ];
    let text = renamed.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let mut events: Vec<Event> = serde_json::from_str(&text).expect("events");
    of_spec(&mut events, |spec| {
        let autoscale = spec.services.message_service.as_mut().and_then(|s| s.common.autoscale.as_mut());
        autoscale.expect("it is scaled").metrics.push(Metric::QueueDepth(200));
    });
    let mut depth = 0.0;
    for event in &mut events {
        match &mut event.kind {
            Kind::Gauges { values, .. } => {
                depth = values.get("queue-depth").copied().unwrap_or_default();
                values.insert("consumed".to_owned(), values.get("rows").copied().unwrap_or_default() - 1_000.0);
            }
            Kind::Decided(decided) => decided.seen.push(SeenMetric {
                metric: "queue-depth".to_owned(),
                value: Some(depth / f64::from(decided.decision.current.max(1))),
                target: 200.0,
                age: Some(Span::from_millis(700)),
            }),
            _ => {}
        }
    }
    ordered(events)
}

/// A lab that is only up, and load that somebody began there by hand.
pub fn up() -> Vec<Event> {
    let mut events = Scenario::autoscale(3).events();
    events.retain(|event| !matches!(event.kind, Kind::PhaseStarted { .. } | Kind::PhaseEnded { .. }));
    events.retain(|event| !matches!(event.kind, Kind::Step { step: StepName::Drive | StepName::Drain, .. }));
    of_spec(&mut events, |spec| {
        (spec.load, spec.name) = (None, "lab".to_owned());
        spec.expect.clear();
    });
    ordered(events)
}

/// A load of so many requests, as `lab load` drives it: no services, no plan of phases, samples only.
pub fn counted() -> Vec<Event> {
    let mut events = Scenario::autoscale(3).events();
    events.retain(|event| match &event.kind {
        Kind::RunStarted(_) | Kind::TrialStarted(_) | Kind::LoadStarted { .. } | Kind::Sample(_) => true,
        Kind::PhaseStarted { index, .. } => *index == 0,
        _ => false,
    });
    of_spec(&mut events, |spec| {
        spec.name = "http://127.0.0.1:8080/users".to_owned();
        spec.services = Services::default();
        spec.expect.clear();
        spec.load.iter_mut().for_each(|load| load.phases.clear());
    });
    ordered(events)
}

fn of_spec(events: &mut [Event], change: impl Fn(&mut Spec)) {
    for event in events {
        if let Kind::RunStarted(info) = &mut event.kind {
            change(&mut info.spec);
            info.variants.iter_mut().for_each(|variant| change(&mut variant.spec));
        }
    }
}

/// A short run with everything that can happen in it, for tests that draw many of its frames.
pub fn short() -> Vec<Event> {
    let phases = vec![("warm-up", 60.0, 4, false), ("step", 240.0, 14, true), ("cool-down", 30.0, 6, true)];
    ordered(Scenario { phases, ..Scenario::autoscale(3) }.events())
}

/// Three variants, twice, a few seconds each.
pub fn short_matrix() -> Vec<Event> {
    let phases = vec![("warm-up", 20.0, 1, false), ("hold", 40.0, 3, true)];
    ordered(Scenario { phases, ..Scenario::matrix(3, 2) }.events())
}
