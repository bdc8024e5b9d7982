//! What every service answers, asked without a port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::routing::{get, post};
use kit::{Routes, ServeArgs, Service};
use rstest::rstest;
use tokio::sync::Notify;
use tower::ServiceExt as _;

fn args() -> ServeArgs {
    ServeArgs { chaos: true, max_in_flight: 2.try_into().expect("not zero"), ..ServeArgs::default() }
}

fn app(service: &Service) -> Router {
    Routes::new(service)
        .route("/hello", get(|| async { "hello" }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .route("/never", get(std::future::pending::<()>))
        .route("/read", post(|request: Request| async { kit::body::read(request).await.map(|_| ()) }))
        .finish()
}

fn plain(args: &ServeArgs) -> Router {
    app(&Service::builder(args, "example", 1).build())
}

async fn call(app: &Router, method: &str, path: &str, body: impl Into<Body>) -> Response<Body> {
    call_with(app, method, path, &[("content-type", "application/json")], body).await
}

async fn call_with(
    app: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a valid request");
    app.clone().oneshot(request).await.expect("a router has no errors")
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Status and the `error` of the answer.
async fn refusal(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = text(response).await;
    let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("not JSON: {body}"));
    (status, value["error"].as_str().expect("an `error`").to_owned())
}

#[rstest]
#[case("GET", "/nowhere", 404, "/hello, /panic, /never, /read")]
#[case("POST", "/hello", 405, "/hello does not take POST")]
#[case("POST", "/livez", 405, "/livez does not take POST")]
#[case("GET", "/panic", 500, "the service failed")]
#[tokio::test]
async fn refusals_are_json(#[case] method: &str, #[case] path: &str, #[case] status: u16, #[case] part: &str) {
    let (found, error) = refusal(call(&plain(&args()), method, path, "").await).await;
    assert_eq!(found, status);
    assert!(error.contains(part), "{error}");
}

#[tokio::test]
async fn wrong_methods_name_the_right_ones() {
    let response = call(&plain(&args()), "DELETE", "/read", "").await;
    assert_eq!(response.headers()["allow"], "POST");
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let (status, error) = refusal(call(&plain(&args()), "POST", "/read", vec![b'x'; 1 << 20]).await).await;
    assert_eq!((status, error.as_str()), (413, "the body is larger than 16384 bytes; send less"));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_answer_times_out() {
    let begun = tokio::time::Instant::now();
    let (status, error) = refusal(call(&plain(&args()), "GET", "/never", "").await).await;
    assert_eq!(status, 504);
    assert!(error.contains("Idempotency-Key"), "{error}");
    assert!(begun.elapsed() >= kit::REQUEST_TIMEOUT && begun.elapsed() < kit::REQUEST_TIMEOUT * 2);
}

#[tokio::test]
async fn too_much_is_shed_at_once_and_probes_pass() {
    let (inside, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = Service::builder(&args(), "example", 1).build();
    let slow = {
        let (inside, release) = (inside.clone(), release.clone());
        get(move || async move {
            inside.notify_one();
            release.notified().await;
        })
    };
    let app = Routes::new(&service).route("/slow", slow).finish();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let app = app.clone();
        waiting.push(tokio::spawn(async move { call(&app, "GET", "/slow", "").await.status() }));
        inside.notified().await;
    }
    let shed = call(&app, "GET", "/slow", "").await;
    assert_eq!(shed.headers()["retry-after"], "1");
    assert_eq!(refusal(shed).await.0, 503);
    for probe in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(call(&app, "GET", probe, "").await.status(), 200, "{probe}");
    }
    let metrics = text(call(&app, "GET", "/metrics", "").await).await;
    for line in [
        "http_requests_in_flight 2",
        "lab_shed_total 1",
        r#"http_requests_total{route="/slow",method="GET",status="503"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in\n{metrics}");
    }
    release.notify_one();
    for answer in waiting {
        release.notify_one();
        assert_eq!(answer.await.expect("no panic"), 200);
    }
    assert_eq!(call(&app, "GET", "/metrics", "").await.status(), 200);
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_as_such() {
    let app = plain(&args());
    let gone = tokio::time::timeout(Duration::from_millis(1), call(&app, "GET", "/never", "")).await;
    assert!(gone.is_err());
    let metrics = text(call(&app, "GET", "/metrics", "").await).await;
    assert!(metrics.contains(r#"http_requests_total{route="/never",method="GET",status="499"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"http_request_duration_seconds_count{route="/never"} 1"#), "{metrics}");
    assert!(metrics.contains("http_requests_in_flight 0"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn readiness_asks_each_dependency_at_most_once_a_second() {
    let (asked, healthy) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
    let check = {
        let (asked, healthy) = (asked.clone(), healthy.clone());
        move || {
            let healthy = healthy.clone();
            asked.fetch_add(1, Ordering::SeqCst);
            async move {
                match healthy.load(Ordering::SeqCst) {
                    0 => Err(std::io::Error::other("connection refused")),
                    1 => Ok(()),
                    _ => std::future::pending().await,
                }
            }
        }
    };
    let app = app(&Service::builder(&args(), "example", 1).dependency("store", check).build());
    for _ in 0..10 {
        assert_eq!(call(&app, "GET", "/readyz", "").await.status(), 200);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    healthy.store(0, Ordering::SeqCst);
    tokio::time::advance(Duration::from_millis(1001)).await;
    let (status, error) = refusal(call(&app, "GET", "/readyz", "").await).await;
    assert_eq!((status, error.as_str()), (503, "not ready: store: connection refused"));
    healthy.store(2, Ordering::SeqCst);
    tokio::time::advance(Duration::from_millis(1001)).await;
    let (status, error) = refusal(call(&app, "GET", "/readyz", "").await).await;
    assert_eq!((status, error.as_str()), (503, "not ready: store: no answer within 500 ms"));
    assert_eq!(call(&app, "GET", "/livez", "").await.status(), 200);
}

#[rstest]
#[case("/chaos/latency", r#"{"add":"10"}"#)]
#[case("/chaos/latency", r#"{}"#)]
#[case("/chaos/errors", r#"{"share":"101%"}"#)]
#[case("/chaos/errors", r#"{"share":"10%","status":200}"#)]
#[tokio::test]
async fn wrong_trouble_is_refused(#[case] path: &str, #[case] body: &'static str) {
    assert_eq!(refusal(call(&plain(&args()), "POST", path, body).await).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn trouble_begins_and_ends_on_demand() {
    let app = plain(&args());
    assert_eq!(call(&app, "POST", "/chaos/errors", r#"{"share":"25%","status":503}"#).await.status(), 200);
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(call(&app, "GET", "/hello", "").await.status() == 503);
    }
    assert_eq!(failed, 25);
    assert_eq!(call(&app, "POST", "/chaos/errors", r#"{"share":"0%"}"#).await.status(), 200);
    assert_eq!(call(&app, "POST", "/chaos/latency", r#"{"add":"50ms"}"#).await.status(), 200);
    let begun = tokio::time::Instant::now();
    assert_eq!(call(&app, "GET", "/hello", "").await.status(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn without_the_flag_there_is_no_trouble() {
    let app = plain(&ServeArgs::default());
    for (method, path) in [("POST", "/chaos/latency"), ("POST", "/chaos/errors"), ("GET", "/work")] {
        assert_eq!(call(&app, method, path, "{}").await.status(), 404, "{path}");
    }
}

#[rstest]
#[case("/work?cpu=2ms", 200, r#"{"burnt":"2ms"}"#)]
#[case("/work", 200, r#"{"burnt":"1ms"}"#)]
#[case("/work?cpu=2s", 400, "above 1s")]
#[case("/work?cpu=much", 400, "`much` is not a duration")]
#[tokio::test]
async fn work_on_demand(#[case] path: &str, #[case] status: u16, #[case] part: &str) {
    let response = call(&plain(&args()), "GET", path, "").await;
    assert_eq!(response.status(), status);
    let body = text(response).await;
    assert!(body.contains(part), "{body}");
}

#[tokio::test]
async fn trouble_must_be_ordered_as_json() {
    let app = plain(&args());
    for headers in [&[][..], &[("content-type", "text/plain")]] {
        let response = call_with(&app, "POST", "/chaos/latency", headers, r#"{"add":"1ms"}"#).await;
        assert_eq!(refusal(response).await.0, 415);
    }
}

#[rstest]
#[case::program("POST", "/read", &[], 200)]
#[case::own_page("POST", "/read", &[("host", "localhost:7"), ("origin", "http://localhost:7"), ("sec-fetch-site", "same-origin")], 200)]
#[case::no_port("POST", "/read", &[("host", "localhost"), ("origin", "http://localhost")], 200)]
#[case::cross_site("POST", "/read", &[("host", "localhost:7"), ("sec-fetch-site", "cross-site")], 403)]
#[case::same_site("POST", "/read", &[("host", "localhost:7"), ("sec-fetch-site", "same-site")], 403)]
#[case::foreign_origin("POST", "/read", &[("host", "localhost:7"), ("origin", "http://evil.example")], 403)]
#[case::other_port("POST", "/read", &[("host", "localhost:7"), ("origin", "http://localhost:8")], 403)]
#[case::renamed("POST", "/read", &[("host", "evil.example"), ("origin", "http://evil.example")], 421)]
#[case::harmless("GET", "/hello", &[("host", "localhost:7"), ("sec-fetch-site", "cross-site")], 200)]
#[case::work("GET", "/work?cpu=1us", &[("host", "localhost:7"), ("sec-fetch-site", "cross-site")], 403)]
#[tokio::test]
async fn pages_of_other_sites_change_nothing(
    #[case] method: &str,
    #[case] path: &str,
    #[case] headers: &[(&str, &str)],
    #[case] status: u16,
) {
    let response = call_with(&plain(&args()), method, path, headers, "").await;
    match status {
        200 => assert_eq!(response.status(), 200),
        _ => assert_eq!(refusal(response).await.0, status),
    }
}

#[tokio::test]
async fn a_listener_for_others_has_any_name() {
    let app = plain(&ServeArgs { listen: Some("0.0.0.0:0".parse().expect("an address")), ..args() });
    for (origin, status) in [("http://lab.example", 200), ("http://evil.example", 403)] {
        let headers = [("host", "lab.example"), ("origin", origin)];
        assert_eq!(call_with(&app, "POST", "/read", &headers, "").await.status(), status);
    }
}
