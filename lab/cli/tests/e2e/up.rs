//! `lab up`: the original's calls, bad input, races for a name, and its end.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::{Bench, rounds, stderr, stdout, until};

/// A lab that is up, taken down at the end.
struct Lab<'a> {
    bench: &'a Bench,
    entry: Value,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Lab<'a> {
    fn up(bench: &'a Bench, args: &[&str]) -> Self {
        let up = bench.run(&[&["up", "--detach", "--format", "json"], args].concat());
        assert_eq!(up.status.code(), Some(0), "{}", stderr(&up));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let entry = serde_json::from_str(&stdout(&up)).expect("JSON");
        Self { bench, entry, client: reqwest::Client::new(), runtime }
    }

    fn url(&self, service: &str, path: &str) -> String {
        let services = self.entry["services"].as_array().expect("services");
        let found = services.iter().find(|s| s["name"] == service).expect("the service");
        format!("{}{path}", found["url"].as_str().expect("an address"))
    }

    fn send(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        self.runtime.block_on(async {
            let answer = request.timeout(Duration::from_secs(10)).send().await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("a body"))
        })
    }

    fn create(&self, body: &str) -> (u16, String) {
        let request = self.client.post(self.url("user-service", "/create"));
        self.send(request.header("Content-Type", "application/json").body(body.to_owned()))
    }

    fn get(&self, service: &str, path: &str) -> (u16, String) {
        self.send(self.client.get(self.url(service, path)))
    }

    fn down(self) {
        let down = self.bench.run(&["down"]);
        assert_eq!(down.status.code(), Some(0), "{}", stderr(&down));
        let gone = until(Duration::from_secs(15), || self.bench.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "still there: {:?}", self.bench.processes());
    }
}

#[test]
fn the_originals_calls_are_answered_as_it_did() {
    let bench = Bench::new();
    let lab = Lab::up(&bench, &[]);
    assert_eq!(lab.create(r#"{"name": "John Doe", "created_at": "2024-01-23"}"#).0, 204);
    let (status, body) = lab.get("user-service", "/get?id=1");
    assert_eq!(status, 200, "{body}");
    let user: Value = serde_json::from_str(&body).expect("JSON");
    let expected = serde_json::json!({ "user_id": "1", "name": "John Doe", "created_at": "2024-01-23" });
    assert_eq!(user, expected);
    assert_eq!(lab.get("load-generator", "/start").0, 204);
    let loaded = until(Duration::from_secs(20), || {
        let (_, page) = lab.get("user-service", "/metrics");
        let rows = page.lines().find(|line| line.starts_with("lab_store_rows"))?;
        (rows.rsplit(' ').next()?.parse::<f64>().ok()? > 1.0).then_some(())
    });
    assert!(loaded.is_some(), "GET /start began no load");

    let status = bench.run(&["status", "--format", "json"]);
    let status: Value = serde_json::from_str(&stdout(&status)).expect("JSON");
    let services = status["environments"][0]["services"].as_array().expect("services");
    assert!(services.iter().all(|s| s["replicas"]["ready"] == 1), "{status}");
    lab.down();
}

#[test]
fn bad_input_is_refused_with_what_to_change_and_stores_nothing() {
    let bench = Bench::new();
    let lab = Lab::up(&bench, &[]);
    let huge = format!(r#"{{"name": "{}", "created_at": "2024-01-23"}}"#, "x".repeat(1 << 20));
    let bodies = [
        "{",
        "[]",
        r#"{"created_at": "2024-01-23"}"#,
        r#"{"name": "", "created_at": "2024-01-23"}"#,
        r#"{"name": "A", "created_at": "yesterday"}"#,
        r#"{"name": 7, "created_at": "2024-01-23"}"#,
        &huge,
    ];
    for body in bodies {
        let (status, answer) = lab.create(body);
        assert!((400..500).contains(&status), "{status} for {}", &body[..body.len().min(60)]);
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
    for path in ["/get?id=0", "/get?id=abc", "/get", "/get?id=-1"] {
        let (status, answer) = lab.get("user-service", path);
        assert!((400..500).contains(&status), "{status} for {path}");
        assert!(serde_json::from_str::<Value>(&answer).is_ok_and(|a| a["error"].is_string()), "{path}: {answer}");
    }
    assert_eq!(lab.get("user-service", "/get?id=1").0, 404, "something was stored");
    lab.down();
}

/// `LAB_TEST_RACES=50` for the full round.
#[test]
fn of_two_labs_of_one_name_one_wins_and_the_other_says_who() {
    for _ in 0..rounds("LAB_TEST_RACES", 2) {
        let bench = Bench::new();
        let began = Instant::now();
        let mut both = [bench.start(&["up", "--env", "local"]), bench.start(&["up", "--env", "auto"])];
        let loser = until(Duration::from_secs(20), || {
            both.iter_mut().position(|lab| lab.child.try_wait().expect("a state").is_some())
        });
        let loser = loser.expect("one gives up");
        let took = began.elapsed();
        assert_eq!(both[loser].ends_within(Duration::from_secs(1)), Some(3), "{}", both[loser].said());
        let winner = both[1 - loser].child.id();
        let said = both[loser].said();
        assert!(said.contains(&format!("held by process {winner}")), "{said}");
        println!("the other gave up after {took:?}");
        both[1 - loser].says("ready; Ctrl-C");
        both[1 - loser].signal(libc::SIGINT);
        assert_eq!(both[1 - loser].ends_within(Duration::from_secs(20)), Some(0), "{}", both[1 - loser].said());
        assert!(bench.processes().is_empty(), "something runs on");
    }
}

#[test]
fn down_twice_and_status_of_nothing_are_fine() {
    let bench = Bench::new();
    for _ in 0..2 {
        assert_eq!(bench.run(&["down"]).status.code(), Some(0));
    }
    let status = bench.run(&["status", "--format", "json"]);
    assert_eq!(stdout(&status).split_whitespace().collect::<String>(), r#"{"environments":[]}"#);
}
