//! Requests of each target, the load plan of a spec, and what `lab up` brings up without one.

use std::collections::BTreeMap;

use crate::control::{LoadPlan, Operation, PlanPhase, Share};
use crate::spec::{Arrivals, CreateMode, Load, Phase, Shape, Spec, Target};
use crate::unit::{Percent, Rate, Span};

/// What `lab up` brings up when no file says otherwise: a spec without load; settings may change it as any other.
pub const LAB_UP: &str = "\
name: lab
question: What happens when this lab is loaded by hand?
services:
  user-service: { store: sqlite, work: { create: 2ms, get: 200us } }
  message-service: { store: sqlite, queue: sqlite, work: { send: 500us, messages: 200us, consume: 2ms } }
";

/// Rate and length of the default load.
const DEFAULT_RATE: Rate = Rate(50.0);
const DEFAULT_LENGTH: Span = Span::from_secs(60);
/// Seconds of the highest rate that may wait for a connection, and the bounds of that.
const QUEUE_SECONDS: f64 = 30.0;
const QUEUE_BOUNDS: (f64, f64) = (1_000.0, 60_000.0);
/// Longest wait for what is in flight after the last phase, beyond the timeout of the last request.
const DRAIN: Span = Span::from_secs(5);

/// The plan of a spec's load, for one generator that sends all of it from now on; None for a spec without load. `id` names the
/// plan and makes its idempotency keys unique, so it must differ between trials.
pub fn load_plan(spec: &Spec, id: &str, seed: u64) -> Option<LoadPlan> {
    let load = spec.load.as_ref()?;
    let user = spec.services.user_service.as_ref();
    let queued = user.is_some_and(|service| service.create == CreateMode::Queued);
    Some(plan(load, queued, id, seed))
}

/// The load that `GET /start` of a generator begins when nothing else was planned: the target's default mix, 50/s for a minute.
pub fn default_plan(target: Target, id: &str) -> LoadPlan {
    let phase = Phase {
        name: "default".to_owned(),
        rate: Shape::Constant(DEFAULT_RATE),
        length: DEFAULT_LENGTH,
        measure: true,
        replicas: BTreeMap::new(),
        faults: Vec::new(),
    };
    let load = Load {
        target,
        mix: target.default_mix(),
        arrivals: Arrivals::default(),
        connections: 64,
        timeout: Span::from_secs(5),
        prepare: 1,
        phases: vec![phase],
    };
    plan(&load, false, id, 1)
}

fn plan(load: &Load, queued: bool, id: &str, seed: u64) -> LoadPlan {
    let phases = load.phases.iter().map(|phase| PlanPhase {
        name: phase.name.clone(),
        rate: phase.rate.clone(),
        length: phase.length,
    });
    LoadPlan {
        id: id.to_owned(),
        start_at_ns: None,
        joins_at_ns: 0,
        operations: operations(load, queued, id),
        arrivals: load.arrivals,
        phases: phases.collect(),
        connections: load.connections,
        timeout: load.timeout,
        max_queue: max_queue(load),
        seed,
        share: Share { index: 0, count: 1 },
        keys: load.prepare.max(1),
        drain: Span(load.timeout.0.saturating_add(DRAIN.0)),
    }
}

/// The table that holds what the target's writes made.
pub fn table(target: Target) -> &'static str {
    match target {
        Target::UserService => "users",
        Target::MessageService => "messages",
    }
}

/// The number of the request that wrote a row, from what the client gave for it: the name of a user, the text of a message. None
/// for a row that no plan of these templates wrote.
pub fn number(target: Target, row: &str) -> Option<u64> {
    let prefix = match target {
        Target::UserService => "user ",
        Target::MessageService => "message ",
    };
    row.strip_prefix(prefix)?.parse().ok()
}

/// Enough for a step that waits for new replicas; bounded, because beyond that waiting tells nothing new.
fn max_queue(load: &Load) -> u32 {
    let peak = load.phases.iter().map(|phase| phase.rate.peak(phase.length).0).fold(0.0, f64::max);
    let (least, most) = QUEUE_BOUNDS;
    (peak * QUEUE_SECONDS).clamp(least, most) as u32
}

/// The target's operations with their shares, those of the mix only.
fn operations(load: &Load, queued: bool, id: &str) -> Vec<Operation> {
    let share = |name: &str| load.mix.get(name).copied().unwrap_or(Percent(0.0)).0;
    let all = match load.target {
        Target::UserService => [
            Operation {
                // A queued create has no key yet when it is answered.
                creates_key: !queued,
                ..write("create", "/create", r#"{"name":"user {n}","created_at":"2024-01-23"}"#, id)
            },
            read("get", "/get?id={key}"),
        ],
        Target::MessageService => [
            write("send", "/send", r#"{"from":{key},"to":{key},"text":"message {n}"}"#, id),
            read("messages", "/messages?user={key}"),
        ],
    };
    let weighed = all.into_iter().map(|operation| Operation { weight: share(&operation.name), ..operation });
    weighed.filter(|operation| operation.weight > 0.0).collect()
}

fn write(name: &str, path: &str, body: &str, id: &str) -> Operation {
    let header = |name: &str, value: String| (name.to_owned(), value);
    Operation {
        name: name.to_owned(),
        weight: 0.0,
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers: vec![
            header("Content-Type", "application/json".to_owned()),
            header("Idempotency-Key", format!("{id}-{{n}}")),
        ],
        body: body.to_owned(),
        creates_key: false,
        ledger: true,
    }
}

fn read(name: &str, path: &str) -> Operation {
    Operation {
        name: name.to_owned(),
        weight: 0.0,
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: String::new(),
        creates_key: false,
        ledger: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse;

    fn spec(text: &str) -> Spec {
        parse("t.yaml", text, &[], &|_| Err("no files".to_owned())).expect(text).spec
    }

    #[test]
    fn the_original_contract_is_what_is_sent() {
        let text = "
question: q
services: { user-service: {} }
load: { target: user-service, mix: { create: 25%, get: 75% }, phases: [ { name: a, rate: 400/s, for: 10s } ] }";
        let plan = load_plan(&spec(text), "run.0", 9).expect("a load");
        let [create, get] = plan.operations.as_slice() else { panic!("{:?}", plan.operations) };
        assert_eq!((create.method.as_str(), create.path.as_str(), create.weight), ("POST", "/create", 0.25));
        assert_eq!(create.body, r#"{"name":"user {n}","created_at":"2024-01-23"}"#);
        assert!(create.headers.contains(&("Idempotency-Key".to_owned(), "run.0-{n}".to_owned())));
        assert!(create.creates_key && !get.creates_key);
        assert!(create.ledger && !get.ledger);
        assert_eq!((get.method.as_str(), get.path.as_str()), ("GET", "/get?id={key}"));
        assert_eq!((plan.keys, plan.seed, plan.max_queue), (100, 9, 12_000));
        assert_eq!(plan.drain, Span::from_secs(10));
    }

    #[test]
    fn rows_tell_which_request_wrote_them() {
        for target in Target::ALL {
            let plan = default_plan(target, "run.0");
            let [write] = plan.operations.iter().filter(|o| o.ledger).collect::<Vec<_>>()[..] else {
                panic!("{plan:?}")
            };
            let body = write.body.replace("{n}", &(plan.first_n() + 7).to_string()).replace("{key}", "1");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            let row = body["name"].as_str().or(body["text"].as_str()).expect("what a row is read back by");
            assert_eq!(number(target, row), Some(plan.first_n() + 7));
            assert!(plan.numbers(plan.first_n() + 7) && !default_plan(target, "run.1").numbers(plan.first_n() + 7));
            assert_eq!(number(target, "prepared 7"), None);
        }
    }

    #[test]
    fn a_queued_create_makes_no_key_and_an_absent_share_no_request() {
        let text = "
question: q
services: { user-service: { create: queued } }
load: { target: user-service, mix: { create: 100% }, phases: [ { name: a, pause: true, for: 1s } ] }";
        let plan = load_plan(&spec(text), "r", 1).expect("a load");
        assert_eq!(plan.operations.len(), 1);
        assert!(!plan.operations[0].creates_key);
        assert_eq!(plan.phases[0].rate, Shape::Constant(Rate(0.0)));
        assert_eq!(plan.max_queue, 1000);
    }

    #[test]
    fn lab_up_is_a_spec_and_has_a_default_load() {
        let spec = spec(LAB_UP);
        assert!(spec.load.is_none() && load_plan(&spec, "r", 1).is_none());
        assert_eq!(spec.services.names().collect::<Vec<_>>(), ["user-service", "message-service", "load-generator"]);
        let plan = default_plan(Target::MessageService, "start");
        assert_eq!(plan.operations.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["send", "messages"]);
        assert_eq!(plan.phases[0].length, Span::from_secs(60));
    }
}
