use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::advance;
use tower::ServiceExt as _;

use super::*;

const ROOT: &str = "/apis/external.metrics.k8s.io/v1beta1";
const WINDOW: Duration = Duration::from_secs(15);

/// An API whose services have said this, now.
fn api(said: &[(Source, &'static str, i64)]) -> Router {
    let published = Source::ALL.map(|source| {
        let values: Vec<_> =
            said.iter().filter(|(of, ..)| *of == source).map(|(_, metric, value)| (*metric, *value)).collect();
        let taken: Timestamp = "2026-01-01T10:00:00.75Z".parse().expect("a time");
        let reading = Reading { at: Instant::now(), taken, covered: Duration::from_millis(14_900), values };
        (source, watch::channel(Some(Arc::new(reading))).1)
    });
    app(Api::new("lab", WINDOW, published.into(), &Metrics::new()))
}

async fn call(app: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).header("accept", "application/vnd.kubernetes.protobuf, application/json");
    let response = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json", "{path}");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, String::from_utf8(body.into()).expect("text"))
}

#[tokio::test]
async fn discovery_names_every_metric_in_the_form_that_the_aggregator_reads() {
    let resource = |name: &str| {
        format!(
            r#"{{"name":"{name}","singularName":"","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]}}"#
        )
    };
    let names = [
        "load_generator_response_time_p95_ms",
        "message_service_response_time_p95_ms",
        "queue_depth",
        "send_lag_ms",
        "user_service_response_time_p95_ms",
    ];
    let expected = format!(
        r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"external.metrics.k8s.io/v1beta1","resources":[{}]}}"#,
        names.map(resource).join(",")
    );
    assert_eq!(call(&api(&[]), ROOT).await, (200, expected));
}

#[tokio::test]
async fn a_value_comes_in_thousandths_with_its_service_its_time_and_its_window() {
    let app = api(&[(Source::UserService, "user_service_response_time_p95_ms", 182_500)]);
    let expected = r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[{"metricName":"user_service_response_time_p95_ms","metricLabels":{"service":"user-service"},"timestamp":"2026-01-01T10:00:00Z","window":15,"value":"182500m"}]}"#;
    let path = format!("{ROOT}/namespaces/lab/user_service_response_time_p95_ms");
    assert_eq!(call(&app, &path).await, (200, expected.to_owned()));
}

#[rstest]
#[case::both("", &["41000m", "7000m"])]
#[case::empty_selector("?labelSelector=", &["41000m", "7000m"])]
#[case::one("?labelSelector=service%3Dmessage-service", &["41000m"])]
#[case::other("?labelSelector=service+in+(user-service)&limit=500", &["7000m"])]
#[case::none("?labelSelector=service%3Dnobody", &[])]
#[tokio::test]
async fn a_selector_chooses_among_services(#[case] query: &str, #[case] expected: &[&str]) {
    let app = api(&[(Source::MessageService, "queue_depth", 41_000), (Source::UserService, "queue_depth", 7_000)]);
    let (status, body) = call(&app, &format!("{ROOT}/namespaces/lab/queue_depth{query}")).await;
    let list: Value = serde_json::from_str(&body).expect("JSON");
    let values: Vec<_> = list["items"].as_array().expect("items").iter().map(|item| &item["value"]).collect();
    assert_eq!(status, 200);
    // In the order of the services, whatever was asked.
    let mut expected = expected.to_vec();
    expected.sort_by_key(|value| *value == "41000m");
    assert_eq!(values, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_two_windows_is_not_answered() {
    let app = api(&[(Source::MessageService, "queue_depth", 41_000)]);
    let path = format!("{ROOT}/namespaces/lab/queue_depth");
    advance(2 * WINDOW).await;
    assert!(call(&app, &path).await.1.contains(r#""value":"41000m""#));
    advance(Duration::from_millis(1)).await;
    let empty =
        r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[]}"#;
    assert_eq!(call(&app, &path).await, (200, empty.to_owned()));
}

#[rstest]
#[case::all_groups("/apis", 406, "NotAcceptable")]
#[case::other_group("/apis/custom.metrics.k8s.io/v1beta2", 404, "NotFound")]
#[case::openapi_2("/openapi/v2", 404, "NotFound")]
#[case::openapi_3("/openapi/v3", 404, "NotFound")]
#[case::root("/", 404, "NotFound")]
#[case::unknown_metric("/apis/external.metrics.k8s.io/v1beta1/namespaces/lab/cpu", 404, "NotFound")]
#[case::other_namespace("/apis/external.metrics.k8s.io/v1beta1/namespaces/kube-system/queue_depth", 404, "NotFound")]
#[case::bad_selector(
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/lab/queue_depth?labelSelector=a%3E1",
    400,
    "BadRequest"
)]
#[case::two_selectors(
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/lab/queue_depth?labelSelector=a&labelSelector=b",
    400,
    "BadRequest"
)]
#[tokio::test]
async fn refusals_are_statuses(#[case] path: &str, #[case] code: u16, #[case] reason: &str) {
    let (status, body) = call(&api(&[]), path).await;
    let read: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, code, "{body}");
    assert_eq!((&read["kind"], &read["reason"], &read["code"]), (&"Status".into(), &reason.into(), &code.into()));
}

#[tokio::test]
async fn nothing_can_be_written() {
    let request = Request::post(ROOT).body(Body::empty()).expect("a request");
    let response = api(&[]).oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
}
