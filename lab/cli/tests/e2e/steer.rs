//! A run that is steered by hand while it goes on, over the socket in its lab's folder.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, Running, events, until};

/// Phases that are far too long to wait for, and a last one that is not.
const STEERED: &str = "\
question: Can this be steered?
services:
  user-service: { store: sqlite, work: { create: 1ms, get: 500us }, replicas: 2 }
load:
  target: user-service
  prepare: 5
  phases:
    - { name: first, rate: 50/s, for: 10m }
    - { name: second, rate: 50/s, for: 10m }
    - { name: last, rate: 50/s, for: 3s }
expect: [ 'errors < 50%' ]
budget: { wall: 30m }
";
/// More than the consumers can take, so that they always have something in their hands.
const CONSUMED: &str = "\
question: Is anything lost when a consumer is killed?
services:
  message-service: { store: sqlite, queue: sqlite, replicas: 2, work: { send: 100us, consume: 40ms } }
load:
  target: message-service
  mix: { send: 100% }
  phases: [ { name: steady, rate: 60/s, for: 6s } ]
expect: [ 'lost = 0', 'unexpected = 0', 'duplicates = 0' ]
";
const PATIENCE: Duration = Duration::from_secs(60);

/// A run under way, its socket, and what it has written.
struct Steered<'b> {
    bench: &'b Bench,
    lab: Running,
    socket: PathBuf,
}

impl<'b> Steered<'b> {
    fn start(bench: &'b Bench, spec: &str) -> Self {
        let spec = bench.spec("steered.yaml", spec);
        let lab = bench.start(&["experiment", &spec, "--plain"]);
        let found = || {
            let labs = std::fs::read_dir(bench.path().join("home/labs")).ok()?;
            labs.filter_map(|lab| Some(lab.ok()?.path().join("supervisor.sock"))).find(|socket| socket.exists())
        };
        let socket = until(PATIENCE, found).unwrap_or_else(|| panic!("no socket: {}", lab.said()));
        Self { bench, lab, socket }
    }

    fn ask(&self, question: &Value) -> Value {
        let mut stream = UnixStream::connect(&self.socket).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a deadline");
        stream.write_all(format!("{question}\n").as_bytes()).expect("asked");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }

    fn accepts(&self, question: &Value) {
        assert_eq!(self.ask(question), json!({ "reply": "accepted" }), "{question}: {}", self.lab.said());
    }

    fn refuses(&self, question: &Value, why: &str) {
        let answer = self.ask(question);
        assert!(answer["why"].as_str().is_some_and(|said| said.contains(why)), "{question}: {answer}");
    }

    /// Waits for an event and returns it.
    fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(PATIENCE, || self.bench.event(&is)).unwrap_or_else(|| panic!("no {what}: {}", self.lab.said()))
    }
}

#[test]
fn a_consumer_that_is_killed_loses_nothing() {
    let bench = Bench::new();
    let mut run = Steered::start(&bench, CONSUMED);
    run.wait("three seconds", |event| event["kind"] == "sample" && event["seq"] == 3);
    run.accepts(&json!({ "ask": "kill", "replica": "message-service-1" }));
    run.lab.ends_within(2 * PATIENCE);
    let ledger = bench.event(|event| event["kind"] == "conserved").expect("a delivery ledger");
    for none in ["lost", "unexpected", "duplicated"] {
        assert_eq!(ledger[none], json!({ "count": 0 }), "{ledger}");
    }
    assert_eq!(ledger["drained"], true, "{ledger}");
    assert!(number(&ledger["acknowledged"]) > 50, "{ledger}");
    assert!(number(&ledger["redelivered"]) > 0, "what the dead one held came to the other: {ledger}");
}

fn is(kind: &str, key: &str, value: &str) -> impl Fn(&Value) -> bool {
    let (kind, key, value) = (kind.to_owned(), key.to_owned(), value.to_owned());
    move |event| event["kind"] == kind.as_str() && event[&key] == value.as_str()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Requests offered in one phase of a sample.
fn offered(sample: &Value, phase: u64) -> u64 {
    let phases = sample["phases"].as_array().into_iter().flatten();
    phases.filter(|p| p["phase"] == phase).map(|p| number(&p["counts"]["offered"])).sum()
}

#[test]
fn a_run_is_steered_and_says_so() {
    let bench = Bench::new();
    let mut run = Steered::start(&bench, STEERED);
    let first = run.wait("sample", |event| event["kind"] == "sample");
    let status = run.ask(&json!({ "ask": "status" }));
    assert_eq!(status["environment"]["steerable"], true, "{status}");
    assert_eq!(status["environment"]["services"][0]["replicas"]["ready"], 2, "{status}");
    run.refuses(&json!({ "ask": "load", "change": {} }), "nothing to change");
    run.refuses(&json!({ "ask": "load", "change": { "mix": { "nosuch": 1.0 } } }), "nosuch");
    run.refuses(&json!({ "ask": "kill", "replica": "user-service-9" }), "there is no replica");

    assert!(offered(&first, 0) < 110, "50 a second are planned: {first}");
    run.accepts(&json!({ "ask": "load", "change": { "rate": 300.0 } }));
    let changed = run.wait("change", |event| event["kind"] == "load-changed");
    let from = number(&changed["change"]["from_ns"]);
    run.wait("faster second", |event| event["kind"] == "sample" && offered(event, 0) > 200);
    run.accepts(&json!({ "ask": "load", "change": { "rate": -1.0 } }));

    run.accepts(&json!({ "ask": "kill", "replica": "user-service-1" }));
    let killed = number(&run.wait("fault", is("fault", "replica", "user-service-1"))["n"]);
    let died = |event: &Value| is("replica-stopped", "replica", "user-service-1")(event) && event["expected"] == false;
    run.wait("death", died);
    let new = |event: &Value| is("replica-ready", "workload", "user-service")(event) && number(&event["n"]) > killed;
    run.wait("replacement", new);

    run.accepts(&json!({ "ask": "note", "text": "now the next phase" }));
    run.accepts(&json!({ "ask": "skip-phase" }));
    run.wait("second phase", is("phase-started", "name", "second"));
    run.accepts(&json!({ "ask": "skip-phase" }));
    let code = run.lab.ends_within(PATIENCE);
    assert!(!run.socket.exists() && bench.processes().is_empty(), "something stays");
    journal_tells(&events(&bench.journal()), from);
    report_tells(&bench, code);
}

/// The journal holds what was done, at the instants at which it took effect.
fn journal_tells(events: &[Value], rate_from: u64) {
    let one = |is: &dyn Fn(&Value) -> bool| events.iter().find(|event| is(event)).expect("an event").clone();
    let zero = number(&one(&|e| e["kind"] == "load-started")["at"]);
    let skips: Vec<u64> = events
        .iter()
        .filter(|e| e["kind"] == "load-changed" && e["change"]["skip"] == true && e["by"] == "user")
        .map(|e| zero + number(&e["change"]["from_ns"]))
        .collect();
    let bound = |kind, name| number(&one(&is(kind, "name", name))["at"]);
    assert_eq!(skips, [bound("phase-ended", "first"), bound("phase-ended", "second")]);
    assert_eq!(skips, [bound("phase-started", "second"), bound("phase-started", "last")]);
    assert_eq!(bound("phase-ended", "last"), skips[1] + 3_000_000_000);
    assert!(events.iter().any(|e| e["kind"] == "note" && e["text"] == "now the next phase" && e["src"] == "user"));

    let samples: Vec<&Value> = events.iter().filter(|e| e["kind"] == "sample").collect();
    // The present second may hold a little of what is faster: samples are cut by each generator's own turn.
    let before = samples.iter().filter(|s| number(&s["to_ns"]) <= rate_from && number(&s["seq"]) > 1);
    assert!(before.clone().all(|s| offered(s, 0) < 110), "faster before it was asked for");
    let last: u64 = samples.iter().map(|s| offered(s, 2)).sum();
    assert!((90..=210).contains(&last), "150 requests were planned for the last phase, {last} were offered");
    let after = samples.iter().filter(|s| zero + number(&s["from_ns"]) > skips[0]);
    assert!(after.clone().all(|s| offered(s, 0) == 0), "something of a phase is intended after its end");
}

/// It is no longer the trial of the spec, and the report says why. Steering makes it suspect and never invalid, which is exit code 0;
/// a machine that kept the generator from its CPU makes it invalid, which is 4.
fn report_tells(bench: &Bench, code: Option<i32>) {
    let run = bench.run_dir().expect("a run");
    let summary = std::fs::read_to_string(run.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let checks = summary["trials"][0]["checks"].as_array().expect("checks");
    let by_hand = checks.iter().find(|check| check["name"] == "by hand").expect("a check");
    assert_eq!(by_hand["grade"], "suspect", "{by_hand}");
    let invalid: Vec<&Value> = checks.iter().filter(|check| check["grade"] == "invalid").collect();
    let of_machine = |check: &&Value| ["send lag", "stalls", "generator CPU"].iter().any(|name| check["name"] == *name);
    assert!(invalid.iter().all(of_machine), "{invalid:?}");
    let expected = if invalid.is_empty() { (json!("suspect"), Some(0)) } else { (json!("invalid"), Some(4)) };
    assert_eq!((&summary["validity"], code), (&expected.0, expected.1), "{checks:?}");
    let report = std::fs::read_to_string(run.join("report.md")).expect("a report");
    for said in ["(rate, skipped phase)", "user-service-1 was killed by hand"] {
        assert!(report.contains(said), "`{said}` is not in {report}");
    }
}

#[test]
fn a_stop_by_message_drains_and_reports() {
    let bench = Bench::new();
    let mut run = Steered::start(&bench, STEERED);
    run.wait("sample", |event| event["kind"] == "sample");
    run.accepts(&json!({ "ask": "stop" }));
    assert_eq!(run.lab.ends_within(PATIENCE), Some(130), "{}", run.lab.said());
    let events = events(&bench.journal());
    assert!(events.iter().any(|e| e["kind"] == "sample" && e["last"] == true), "not drained");
    assert_eq!(events.last().expect("events")["kind"], "run-ended");
}

/// `GET /start` of a load-generator at its front door.
fn begin_load(status: &Value) {
    let services = status["environment"]["services"].as_array().expect("services");
    let url = services.iter().find(|s| s["name"] == "load-generator").and_then(|s| s["url"].as_str()).expect("a door");
    let address = url.strip_prefix("http://").expect("http");
    let mut stream = std::net::TcpStream::connect(address).expect("somebody listens");
    let request = format!("GET /start HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("asked");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    assert!(line.contains("204"), "{line}");
}

#[test]
fn a_lab_that_is_up_is_steered_as_well() {
    let bench = Bench::new();
    let lab = bench.start(&["up"]);
    lab.says("ready; Ctrl-C");
    let socket = bench.path().join("home/labs/lab/supervisor.sock");
    let mut run = Steered { bench: &bench, lab, socket };
    let faster = json!({ "ask": "load", "change": { "rate": 300.0 } });
    run.refuses(&faster, "no load runs");
    run.refuses(&json!({ "ask": "skip-phase" }), "no load runs");
    begin_load(&run.ask(&json!({ "ask": "status" })));
    run.wait("sample", |event| event["kind"] == "sample");
    run.accepts(&faster);
    run.wait("change", |event| event["kind"] == "load-changed" && event["by"] == "user");
    run.wait("faster second", |event| event["kind"] == "sample" && offered(event, 0) > 200);
    run.accepts(&json!({ "ask": "skip-phase" }));
    run.wait("last sample", |event| event["kind"] == "sample" && event["last"] == true);
    run.accepts(&json!({ "ask": "kill", "replica": "user-service-1" }));
    run.wait("fault", is("fault", "replica", "user-service-1"));
    run.accepts(&json!({ "ask": "stop" }));
    assert_eq!(run.lab.ends_within(PATIENCE), Some(0), "{}", run.lab.said());
    assert!(!run.socket.exists() && bench.processes().is_empty(), "something stays");
}
