//! Every route and every bad input, asked without a port.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use clap::Parser;
use message_service::{Config, app};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tower::ServiceExt as _;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    config: Config,
}

/// A service with a queue of its own; the directory lives as long as the test.
struct Served {
    app: Router,
    dir: TempDir,
}

impl Served {
    async fn new(flags: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let app = open(&dir, flags).await.expect("it opens");
        Self { app, dir }
    }

    async fn call(&self, request: Request) -> Response<Body> {
        self.app.clone().oneshot(request).await.expect("a router has no errors")
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.call(Request::builder().uri(path).body(Body::empty()).expect("a request")).await
    }

    async fn send(&self, key: Option<&str>, body: impl Into<Body>) -> Response<Body> {
        let mut request = Request::builder().method("POST").uri("/send");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.call(request.body(body.into()).expect("a request")).await
    }

    async fn messages(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/messages?{query}")).await;
        assert_eq!(answer.status(), 200);
        body(answer).await["messages"].as_array().expect("a list").clone()
    }

    /// Waits until the inbox has this many messages.
    async fn inbox(&self, user: u64, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.messages(&format!("user={user}")).await;
            if found.len() == count {
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {count} messages", found.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn metrics(&self) -> String {
        text(self.get("/metrics").await).await
    }
}

async fn open(dir: &TempDir, flags: &str) -> Result<Router, kit::ServeError> {
    let queue = format!("sqlite:{}", dir.path().join("queue.db").display());
    let words = ["message-service", "--queue", &queue].into_iter().chain(flags.split_whitespace());
    let config = Command::try_parse_from(words).expect("valid flags").config;
    message_service::open(&config).await.map(app)
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 4 << 20).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn body(response: Response<Body>) -> Value {
    let text = text(response).await;
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

#[rstest]
#[case("--cache none")]
#[case("--cache memory: --consumers 3 --work send=100us,consume=1ms")]
#[tokio::test]
async fn what_is_sent_arrives_newest_first(#[case] flags: &str) {
    let served = Served::new(flags).await;
    assert!(served.messages("user=2").await.is_empty());
    let mut ids = Vec::new();
    for n in 0..5 {
        // Numbers and their digits name the same user.
        let input = if n % 2 == 0 {
            json!({"from": 1, "to": "2", "text": n.to_string()})
        } else {
            json!({"from": "1", "to": 2, "text": n.to_string()})
        };
        let answer = served.send(None, input.to_string()).await;
        assert_eq!(answer.status(), 202);
        ids.push(body(answer).await["id"].clone());
    }
    let found = served.inbox(2, 5).await;
    ids.reverse();
    assert_eq!(found.iter().map(|message| message["id"].clone()).collect::<Vec<_>>(), ids);
    assert_eq!((&found[0]["from"], &found[0]["to"], &found[0]["text"]), (&json!(1), &json!(2), &json!("4")));
    assert!(found[0]["sent_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{}", found[0]);
    assert_eq!(served.messages("user=2&limit=2").await, found[..2]);
    assert!(served.messages("user=1").await.is_empty());
}

#[tokio::test]
async fn a_message_appears_although_its_inbox_was_cached() {
    let served = Served::new("--cache memory: --cache-ttl 1h").await;
    for n in 1..=3 {
        served.send(None, json!({"from": 1, "to": 7, "text": n.to_string()}).to_string()).await;
        served.inbox(7, n).await;
        served.inbox(7, n).await;
    }
    let metrics = served.metrics().await;
    let hits = metrics.lines().find_map(|line| line.strip_prefix("lab_cache_hits_total ")?.parse().ok());
    assert!(hits.is_some_and(|hits: u64| hits >= 3), "{metrics}");
}

#[rstest]
#[case::no_json("to=1".to_owned(), 400, "not JSON")]
#[case::no_from(r#"{"to":1,"text":"x"}"#.to_owned(), 400, "missing field `from`")]
#[case::no_text(r#"{"from":1,"to":1}"#.to_owned(), 400, "missing field `text`")]
#[case::zero(r#"{"from":0,"to":1,"text":"x"}"#.to_owned(), 400, "`from` must be the id of a user")]
#[case::negative(r#"{"from":1,"to":-1,"text":"x"}"#.to_owned(), 400, "`to` must be the id of a user")]
#[case::fraction(r#"{"from":1,"to":1.5,"text":"x"}"#.to_owned(), 400, "`to` must be the id of a user")]
#[case::name(r#"{"from":1,"to":"Ada","text":"x"}"#.to_owned(), 400, "`to` must be the id of a user")]
#[case::null(r#"{"from":1,"to":null,"text":"x"}"#.to_owned(), 400, "`to` must be the id of a user")]
#[case::huge(r#"{"from":1,"to":99999999999999999999,"text":"x"}"#.to_owned(), 400, "`to` must be the id of a user")]
#[case::empty(r#"{"from":1,"to":2,"text":""}"#.to_owned(), 400, "`text` is empty")]
#[case::not_text(r#"{"from":1,"to":2,"text":5}"#.to_owned(), 400, "expected a string")]
#[case::long(json!({"from": 1, "to": 2, "text": "x".repeat(4097)}).to_string(), 400, "longer than 4096")]
#[case::large(json!({"from": 1, "to": 2, "text": "x".repeat(1 << 20)}).to_string(), 413, "16384 bytes")]
#[tokio::test]
async fn bad_sends_are_refused(#[case] input: String, #[case] status: u16, #[case] part: &str) {
    let served = Served::new("").await;
    let answer = served.send(None, input).await;
    assert_eq!(answer.status(), status);
    let error = body(answer).await;
    assert!(error["error"].as_str().is_some_and(|text| text.contains(part)), "{error}");
    let metrics = served.metrics().await;
    assert!(metrics.contains(r#"lab_queue_depth{queue="messages"} 0"#), "{metrics}");
}

#[rstest]
#[case("/messages", 400, "add ?user=1")]
#[case("/messages?user=x", 400, "a whole number from 1 on")]
#[case("/messages?user=1&user=2", 400, "more than once")]
#[case("/messages?user=1&limit=0", 400, "from 1 to 200")]
#[case("/messages?user=1&limit=201", 400, "from 1 to 200")]
#[case("/messages?user=1&limit=all", 400, "from 1 to 200")]
#[case("/send", 405, "/send does not take GET")]
#[case("/inbox", 404, "/send, /messages")]
#[tokio::test]
async fn bad_reads_are_refused(#[case] path: &str, #[case] status: u16, #[case] part: &str) {
    let answer = Served::new("").await.get(path).await;
    assert_eq!(answer.status(), status);
    let error = body(answer).await;
    assert!(error["error"].as_str().is_some_and(|text| text.contains(part)), "{error}");
}

#[tokio::test]
async fn a_key_makes_a_message_arrive_once() {
    let served = Served::new("").await;
    let input = r#"{"from":1,"to":2,"text":"once"}"#;
    let first = body(served.send(Some("key-1"), input).await).await;
    for _ in 0..3 {
        assert_eq!(body(served.send(Some("key-1"), input).await).await, first);
    }
    assert_eq!(served.send(Some("key-1"), r#"{"from":1,"to":2,"text":"other"}"#).await.status(), 422);
    served.send(None, r#"{"from":1,"to":2,"text":"last"}"#).await;
    let found = served.inbox(2, 2).await;
    assert_eq!((&found[0]["text"], &found[1]["text"], &found[1]["id"]), (&json!("last"), &json!("once"), &first["id"]));
}

#[tokio::test]
async fn limits_bound_the_answer() {
    let served = Served::new("--cache memory:").await;
    for n in 0..60 {
        assert_eq!(
            served.send(None, json!({"from": 1, "to": 3, "text": n.to_string()}).to_string()).await.status(),
            202
        );
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while served.messages("user=3&limit=200").await.len() < 60 {
        assert!(Instant::now() < deadline, "the messages did not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(served.messages("user=3").await.len(), 50);
    assert_eq!(served.messages("user=3&limit=7").await.len(), 7);
}

#[tokio::test]
async fn metrics_tell_of_queue_store_and_way() {
    let served = Served::new("").await;
    served.send(None, r#"{"from":1,"to":2,"text":"x"}"#).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = served.metrics().await;
        let wanted = [
            r#"lab_queue_depth{queue="messages"} 0"#,
            "lab_queue_consumed_total 1",
            "lab_queue_dead_letters 0",
            "lab_message_end_to_end_seconds_count 1",
            r#"lab_store_rows{table="messages"} 1"#,
            r#"http_requests_total{route="/send",method="POST",status="202"} 1"#,
        ];
        let missing: Vec<_> = wanted.iter().filter(|line| !metrics.lines().any(|found| found == **line)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "no {missing:?} in\n{metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(served.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn poison_becomes_a_dead_letter_and_others_pass() {
    let served = Served::new("").await;
    let address = format!("sqlite:{}", served.dir.path().join("queue.db").display());
    let queue =
        backing::queue::open(&address, "messages", backing::queue::Settings::default()).await.expect("the same queue");
    let poison = backing::queue::Envelope { id: backing::MessageId::fresh(), body: b"not a message".to_vec() };
    queue.publish(vec![poison]).await.expect("published");
    served.send(None, r#"{"from":1,"to":2,"text":"x"}"#).await;
    served.inbox(2, 1).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while queue.depth().await.expect("a depth").dead != 1 {
        assert!(Instant::now() < deadline, "the poison is still alive");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(queue.depth().await.expect("a depth").visible, 0);
}

#[tokio::test]
async fn the_export_gives_every_text_page_by_page() {
    let served = Served::new("").await;
    let texts: Vec<String> = (0..5).map(|n| format!("message {n} of \"many\"\n")).collect();
    for text in &texts {
        served.send(None, json!({"from": 1, "to": 2, "text": text}).to_string()).await;
    }
    served.inbox(2, texts.len()).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let answer = served.get(&format!("/export?table=messages&limit=2{after}")).await;
        assert_eq!(answer.status(), 200);
        let page = text(answer).await;
        let (rows, end) = page.trim_end().rsplit_once('\n').unwrap_or(("", page.trim_end()));
        found.extend(rows.lines().map(|line| serde_json::from_str::<String>(line).expect("a text a line")));
        match serde_json::from_str::<Value>(end).expect("the end")["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    found.sort();
    assert_eq!(found, texts);
    assert_eq!(served.get("/export?table=users").await.status(), 400);
    assert_eq!(served.get("/export?table=messages&after=nowhere").await.status(), 400);
}
