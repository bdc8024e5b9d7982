//! Plans, changes, samples and refusals.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use lab_core::control::LoadState;
use serde_json::{Value, json};

use crate::rig::{Rig, Target, plan, totals};

#[tokio::test]
async fn a_reader_that_comes_back_misses_no_sample() {
    let (rig, target) = (Rig::new(&[]), Target::start().await);
    rig.target(1, target.address).await;
    rig.put(&plan("a", 200.0, 2_200)).await;
    let mut early = rig.samples("/load/samples?from=1").await;
    let first = early.next().await.expect("a sample");
    assert_eq!((first.seq, first.generator.as_str(), first.plan.as_str()), (1, "g", "a"));
    drop(early);
    let rest = rig.samples("/load/samples?from=2").await.read_all().await;
    let all: Vec<_> = [first].into_iter().chain(rest).collect();
    assert_eq!(totals(&all, 1), (440, 440));
    assert!(all.last().is_some_and(|s| s.last));
    let again = rig.samples("/load/samples?from=1").await.read_all().await;
    assert_eq!(again, all, "kept samples are sent again as they were");
    let status = rig.status().await;
    assert_eq!((status.state, status.last_sample), (LoadState::Finished, all.len() as u64));
    assert_eq!(target.hits(), 440);
    let metrics = Request::get("/metrics").body(Body::empty()).expect("a request");
    let response = tower::ServiceExt::oneshot(rig.app.clone(), metrics).await.expect("an answer");
    let text = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("text");
    let text = String::from_utf8_lossy(&text);
    for line in [
        "lab_load_requests_total{outcome=\"completed\"} 440",
        "lab_load_response_seconds_count 440",
        "lab_load_send_lag_seconds_count 440",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
}

#[tokio::test]
async fn a_change_is_in_force_within_fifty_milliseconds() {
    let (rig, target) = (Rig::new(&[]), Target::start().await);
    rig.target(1, target.address).await;
    rig.put(&plan("a", 50.0, 60_000)).await;
    rig.wait("load", |s| s.state == LoadState::Running).await;
    let told = Instant::now();
    rig.expect("PATCH", "/load", json!({"rate": 1_000.0}), 200).await;
    rig.wait("the rate", |s| s.rate == 1_000.0).await;
    assert!(told.elapsed() < Duration::from_millis(50), "{:?}", told.elapsed());
    rig.expect("PATCH", "/load", json!({"pause": true}), 200).await;
    rig.wait("the pause", |s| s.state == LoadState::Paused).await;
    rig.expect("DELETE", "/load", Value::Null, 204).await;
    let samples = rig.samples("/load/samples?from=1").await.read_all().await;
    let (offered, completed) = totals(&samples, 1);
    assert_eq!(offered, completed);
    rig.expect("DELETE", "/load", Value::Null, 204).await;
}

#[tokio::test]
async fn a_skipped_phase_makes_way_for_the_next() {
    let (rig, target) = (Rig::new(&[]), Target::start().await);
    rig.target(1, target.address).await;
    let mut plan = plan("a", 50.0, 60_000);
    let next =
        lab_core::control::PlanPhase { length: lab_core::unit::Span::from_millis(500), ..plan.phases[0].clone() };
    plan.phases.push(next);
    rig.put(&plan).await;
    rig.wait("load", |s| s.ledger.completed > 5).await;
    rig.expect("PATCH", "/load", json!({"skip": true}), 200).await;
    let samples = rig.samples("/load/samples?from=1").await.read_all().await;
    let offered =
        |phase| samples.iter().flat_map(|s| &s.phases).filter(move |p| p.phase == phase).map(|p| p.counts.offered);
    assert!((6..1_000).contains(&offered(0).sum::<u64>()));
    assert!((24..=26).contains(&offered(1).sum::<u64>()), "25 in half a second");
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let rig = Rig::new(&["--max-rate", "1000/s"]);
    let said = |answer: &Value, words: &[&str]| {
        let error = answer["error"].as_str().expect("an error").to_owned();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
    };
    let mut bad = plan("a", 2_000.0, 100);
    bad.connections = 20_000;
    bad.operations[0].path = "http://elsewhere.example/".into();
    let answer = rig.expect("PUT", "/load", serde_json::to_value(&bad).expect("JSON"), 422).await;
    said(&answer, &["connections", "max-rate", "is not a path", "PUT /targets"]);
    said(&rig.expect("PUT", "/load", json!({"id": "a"}), 400).await, &["missing field"]);
    said(&rig.expect("PUT", "/load", Value::Null, 400).await, &["empty"]);
    said(&rig.expect("PATCH", "/load", json!({"pause": true}), 409).await, &["no plan"]);

    rig.put(&plan("busy", 1.0, 60_000)).await;
    said(&rig.expect("PUT", "/load", serde_json::to_value(plan("b", 1.0, 1)).expect("JSON"), 409).await, &["`busy`"]);
    said(&rig.expect("PATCH", "/load", json!({"speed": 1}), 400).await, &["speed"]);
    said(&rig.expect("PATCH", "/load", json!({"rate": 5_000.0}), 422).await, &["max-rate"]);
    rig.expect("PATCH", "/load", json!({"rate": 5_000.0, "share": {"index": 1, "count": 5}}), 200).await;
    said(&rig.expect("PATCH", "/load", json!({"share": {"index": 1, "count": 4}}), 422).await, &["1250/s", "max-rate"]);
    said(&rig.expect("PATCH", "/load", json!({"mix": {"nosuch": 1.0}}), 422).await, &["nosuch"]);

    rig.expect("PUT", "/targets", json!({"version": 7, "endpoints": []}), 204).await;
    said(&rig.expect("PUT", "/targets", json!({"version": 6, "endpoints": []}), 409).await, &["6", "7"]);
    let nowhere = json!({"version": 8, "endpoints": [{"replica": "r", "address": "no-port"}]});
    said(&rig.expect("PUT", "/targets", nowhere, 422).await, &["host:port"]);
    said(&rig.expect("GET", "/load/samples?from=x", Value::Null, 400).await, &["from=x"]);
    let long = Body::from(vec![b' '; 2 << 20]);
    let (status, answer) = rig.send(crate::rig::with_token("PUT", "/targets").body(long).expect("a request")).await;
    assert_eq!(status, 413, "{answer}");
}

#[tokio::test]
async fn start_begins_the_default_load_each_time_anew() {
    let target = Target::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("load.json");
    std::fs::write(&file, serde_json::to_string(&plan("mine", 100.0, 300)).expect("JSON")).expect("a file");
    let address = target.address.to_string();
    let rig = Rig::new(&["--target", &address, "--default-load", file.to_str().expect("text")]);
    let start = || Request::get("/start").header("host", "localhost:8080").body(Body::empty()).expect("a request");
    let mut plans = Vec::new();
    for _ in 0..2 {
        assert_eq!(rig.send(start()).await.0, 204);
        let (status, answer) = rig.send(start()).await;
        assert_eq!(status, 409, "one at a time: {answer}");
        let status = rig.wait("the end", |s| s.state == LoadState::Finished).await;
        assert_eq!(status.ledger.completed, 30);
        plans.push(status.plan.expect("a plan"));
    }
    assert!(plans[0] != plans[1] && plans.iter().all(|p| p.starts_with("mine-")), "{plans:?}");
    assert_eq!(target.hits(), 60);
}
