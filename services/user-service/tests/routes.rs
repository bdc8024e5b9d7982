//! Every route and every bad input, asked without a port.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use clap::Parser;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use user_service::{Config, State, app};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    config: Config,
}

fn config(flags: &str) -> Config {
    let words = std::iter::once("user-service").chain(flags.split_whitespace());
    Command::try_parse_from(words).expect("valid flags").config
}

async fn state(flags: &str) -> Arc<State> {
    user_service::open(&config(flags)).await.expect("it opens")
}

async fn service(flags: &str) -> Router {
    app(state(flags).await)
}

async fn call(app: &Router, request: Request) -> Response<Body> {
    app.clone().oneshot(request).await.expect("a router has no errors")
}

async fn get(app: &Router, path: &str) -> Response<Body> {
    call(app, Request::builder().uri(path).body(Body::empty()).expect("a request")).await
}

async fn post(app: &Router, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut request = Request::builder().method("POST").uri("/create");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    call(app, request.body(body.into()).expect("a request")).await
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn body(response: Response<Body>) -> Value {
    let text = text(response).await;
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// The value of a metric; None when it is absent.
async fn metric(app: &Router, name: &str) -> Option<f64> {
    let text = text(get(app, "/metrics").await).await;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[rstest]
#[case("--store memory:")]
#[case("--store memory: --cache memory: --work create=1ms,get=100us")]
#[tokio::test]
async fn what_is_created_can_be_read(#[case] flags: &str) {
    let app = service(flags).await;
    for (id, name, date) in [(1, "Ada", "2024-01-23"), (2, "Zoë \"Z\" <b>", "2024-01-23T10:00:00+01:00")] {
        let answer = post(&app, JSON, json!({"name": name, "created_at": date}).to_string()).await;
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["location"], format!("/get?id={id}"));
        assert_eq!(text(answer).await, "");
        for _ in 0..2 {
            let answer = get(&app, &format!("/get?id={id}")).await;
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["content-type"]),
                (200, &"application/json".parse().expect("a value"))
            );
            assert_eq!(body(answer).await, json!({"user_id": id.to_string(), "name": name, "created_at": date}));
        }
    }
}

#[tokio::test]
async fn the_answer_is_written_as_the_contract_has_it() {
    let app = service("").await;
    post(&app, &[], r#"{"created_at":"2024-01-23","name":"Ada","more":1}"#).await;
    assert_eq!(text(get(&app, "/get?id=1").await).await, r#"{"user_id":"1","name":"Ada","created_at":"2024-01-23"}"#);
}

const LONG: &str = "application/json; charset=utf-8";

#[rstest]
#[case::no_json(LONG, "name=Ada".to_owned(), 400, "the body is not JSON")]
#[case::nothing(LONG, String::new(), 400, "the body is not JSON")]
#[case::half(LONG, r#"{"name":"Ada""#.to_owned(), 400, "the body is not JSON")]
#[case::twice(LONG, r#"{"name":"Ada","created_at":"2024-01-23"} {}"#.to_owned(), 400, "the body is not JSON")]
#[case::list(LONG, "[]".to_owned(), 400, "wrong shape")]
#[case::no_name(LONG, r#"{"created_at":"2024-01-23"}"#.to_owned(), 400, "missing field `name`")]
#[case::no_date(LONG, r#"{"name":"Ada"}"#.to_owned(), 400, "missing field `created_at`")]
#[case::doubled(LONG, r#"{"name":"Ada","name":"Bob","created_at":"2024-01-23"}"#.to_owned(), 400, "duplicate field `name`")]
#[case::empty_name(LONG, r#"{"name":"","created_at":"2024-01-23"}"#.to_owned(), 400, "`name` is empty")]
#[case::blank_name(LONG, r#"{"name":" \t ","created_at":"2024-01-23"}"#.to_owned(), 400, "`name` is empty")]
#[case::long_name(LONG, json!({"name": "ä".repeat(257), "created_at": "2024-01-23"}).to_string(), 400, "longer than 256")]
#[case::number(LONG, r#"{"name":5,"created_at":"2024-01-23"}"#.to_owned(), 400, "expected a string")]
#[case::null(LONG, r#"{"name":null,"created_at":"2024-01-23"}"#.to_owned(), 400, "expected a string")]
#[case::date_number(LONG, r#"{"name":"Ada","created_at":1706000000}"#.to_owned(), 400, "expected a string")]
#[case::bad_date(LONG, r#"{"name":"Ada","created_at":"2023-02-29"}"#.to_owned(), 400, "write it like `2024-01-23`")]
#[case::empty_date(LONG, r#"{"name":"Ada","created_at":""}"#.to_owned(), 400, "write it like `2024-01-23`")]
#[case::form("application/x-www-form-urlencoded", "name=Ada".to_owned(), 415, "application/json")]
#[case::plain("text/plain", "{}".to_owned(), 415, "application/json")]
#[case::large(LONG, json!({"name": "x".repeat(1 << 20), "created_at": "2024-01-23"}).to_string(), 413, "16384 bytes")]
#[tokio::test]
async fn bad_creates_are_refused_and_store_nothing(
    #[case] content_type: &str,
    #[case] input: String,
    #[case] status: u16,
    #[case] part: &str,
) {
    let app = service("").await;
    let answer = post(&app, &[("content-type", content_type)], input).await;
    assert_eq!(answer.status(), status);
    let error = body(answer).await;
    assert!(error["error"].as_str().is_some_and(|text| text.contains(part)), "{error}");
    assert_eq!(metric(&app, r#"lab_store_rows{table="users"}"#).await, Some(0.0));
}

#[rstest]
#[case("/get?id=1", 404, "there is no user 1; create one")]
#[case("/get?id=9223372036854775807", 404, "there is no user")]
#[case("/get", 400, "add ?id=1")]
#[case("/get?id=", 400, "a whole number from 1 on")]
#[case("/get?id=0", 400, "a whole number from 1 on")]
#[case("/get?id=abc", 400, "a whole number from 1 on")]
#[case("/get?id=-1", 400, "a whole number from 1 on")]
#[case("/get?id=1.5", 400, "a whole number from 1 on")]
#[case("/get?id=99999999999999999999", 400, "a whole number from 1 on")]
#[case("/get?id=1&id=1", 400, "more than once")]
#[case("/users", 404, "/create, /get")]
#[case("/create", 405, "/create does not take GET")]
#[tokio::test]
async fn bad_reads_are_refused(#[case] path: &str, #[case] status: u16, #[case] part: &str) {
    let answer = get(&service("--cache memory:").await, path).await;
    assert_eq!(answer.status(), status);
    let error = body(answer).await;
    assert!(error["error"].as_str().is_some_and(|text| text.contains(part)), "{error}");
}

#[tokio::test]
async fn a_key_makes_a_create_happen_once() {
    let app = service("").await;
    let ada = r#"{"name":"Ada","created_at":"2024-01-23"}"#;
    let key = [("idempotency-key", "order-1")];
    for _ in 0..3 {
        let answer = post(&app, &key, ada).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["location"]),
            (204, &"/get?id=1".parse().expect("a value"))
        );
    }
    let other = post(&app, &key, r#"{"name":"Bob","created_at":"2024-01-23"}"#).await;
    assert_eq!(other.status(), 422);
    assert!(body(other).await["error"].as_str().is_some_and(|text| text.contains("send a new key")));
    assert_eq!(post(&app, &[("idempotency-key", "")], ada).await.status(), 400);
    let fresh = post(&app, &[("idempotency-key", "order-2")], ada).await;
    assert_eq!(fresh.headers()["location"], "/get?id=2");
    assert_eq!(metric(&app, r#"lab_store_rows{table="users"}"#).await, Some(2.0));
}

#[tokio::test]
async fn the_cache_answers_repeated_reads_and_keeps_no_absence() {
    let app = service("--cache memory:").await;
    assert_eq!(get(&app, "/get?id=1").await.status(), 404);
    post(&app, &[], r#"{"name":"Ada","created_at":"2024-01-23"}"#).await;
    for _ in 0..4 {
        assert_eq!(get(&app, "/get?id=1").await.status(), 200);
    }
    assert_eq!(metric(&app, "lab_cache_hits_total").await, Some(3.0));
    assert_eq!(metric(&app, "lab_cache_misses_total").await, Some(2.0));
    assert_eq!(metric(&app, r#"http_requests_total{route="/get",method="GET",status="200"}"#).await, Some(4.0));
    assert_eq!(metric(&app, r#"http_request_duration_seconds_count{route="/get"}"#).await, Some(5.0));
    assert!(metric(&app, "process_cpu_seconds_total").await.is_some_and(|seconds| seconds > 0.0));
    assert!(metric(&app, "process_resident_memory_bytes").await.is_some_and(|bytes| bytes > 1e6));
}

#[rstest]
#[case("--create queued", "add --queue sqlite:PATH")]
#[case("--queue sqlite:q.db", "add --create queued")]
#[case("--work gte=1ms", "create, get")]
#[case("--store postgres", "cannot open the store `postgres`")]
#[case("--cache redis", "cannot open the cache `redis`")]
#[tokio::test]
async fn wrong_flags_say_what_to_change(#[case] flags: &str, #[case] part: &str) {
    let error = user_service::open(&config(flags)).await.err().expect("wrong flags").to_string();
    assert!(error.contains(part), "{error}");
}

#[tokio::test]
async fn a_queued_create_is_stored_once_by_the_consumer() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = dir.path().join("queue.db");
    let app = service(&format!("--create queued --queue sqlite:{}", queue.display())).await;
    let ada = r#"{"name":"Ada","created_at":"2024-01-23"}"#;
    let key = [("idempotency-key", "order-1")];
    let first = post(&app, &key, ada).await;
    assert_eq!(first.status(), 202);
    let first = body(first).await;
    assert!(first["id"].as_str().is_some_and(|id| id.len() == 36), "{first}");
    assert_eq!(body(post(&app, &key, ada).await).await, first);
    assert_eq!(post(&app, &key, r#"{"name":"Bob","created_at":"2024-01-23"}"#).await.status(), 422);
    assert_eq!(post(&app, &[], ada).await.status(), 202);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while get(&app, "/get?id=2").await.status() != 200 || metric(&app, "lab_queue_consumed_total").await != Some(3.0) {
        assert!(tokio::time::Instant::now() < deadline, "the queued creates were not stored");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(get(&app, "/get?id=3").await.status(), 404);
    assert_eq!(get(&app, "/readyz").await.status(), 200);
}

#[tokio::test]
async fn the_export_gives_every_name_page_by_page() {
    let app = service("").await;
    for n in 1..=3 {
        let created =
            post(&app, &[], json!({"name": format!("user {n}"), "created_at": "2024-01-23"}).to_string()).await;
        assert_eq!(created.status(), 204);
    }
    let first = text(get(&app, "/export?table=users&limit=2").await).await;
    assert_eq!(first, "\"user 1\"\n\"user 2\"\n{\"next\":\"2\"}\n");
    let last = text(get(&app, "/export?table=users&limit=2&after=2").await).await;
    assert_eq!(last, "\"user 3\"\n{\"next\":null}\n");
    for wrong in ["/export", "/export?table=messages", "/export?table=users&after=x", "/export?table=users&limit=0"] {
        assert_eq!(get(&app, wrong).await.status(), 400, "{wrong}");
    }
}
