//! Who may call what.

use axum::body::Body;
use axum::http::Request;
use rstest::rstest;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::rig::Rig;

#[rstest]
#[case("PUT", "/load")]
#[case("PATCH", "/load")]
#[case("GET", "/load")]
#[case("DELETE", "/load")]
#[case("GET", "/load/samples")]
#[case("PUT", "/targets")]
#[tokio::test]
async fn every_control_call_needs_the_token(#[case] method: &str, #[case] path: &str) {
    let rig = Rig::new(&[]);
    for token in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic 0123456789abcdef0123456789abcdef")] {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let (status, answer) = rig.send(request.body(Body::from("{}")).expect("a request")).await;
        assert_eq!(status, 401, "{method} {path} with {token:?}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains("Bearer")), "{answer}");
    }
}

#[tokio::test]
async fn a_generator_without_a_token_file_takes_no_token() {
    let config = {
        use clap::Parser;
        #[derive(Parser)]
        struct Flags {
            #[command(flatten)]
            config: load_generator::Config,
        }
        Flags::parse_from(["load-generator"]).config
    };
    let app = load_generator::app(load_generator::Generator::start(&config).expect("it starts"));
    let request = crate::rig::with_token("GET", "/load").body(Body::empty()).expect("a request");
    assert_eq!(app.oneshot(request).await.expect("an answer").status(), 401);
}

#[rstest]
#[case("/livez")]
#[case("/readyz")]
#[case("/startupz")]
#[case("/metrics")]
#[case("/")]
#[tokio::test]
async fn probes_metrics_and_the_page_need_none(#[case] path: &str) {
    let rig = Rig::new(&[]);
    let (status, _) = rig.send(Request::get(path).body(Body::empty()).expect("a request")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn the_page_allows_only_its_own_files() {
    let rig = Rig::new(&[]);
    for path in ["/", "/page.js", "/page.css"] {
        let response = rig.app.clone().oneshot(Request::get(path).body(Body::empty()).expect("a request")).await;
        let response = response.expect("an answer");
        assert!(
            response.headers()["content-security-policy"].to_str().is_ok_and(|p| p.starts_with("default-src 'self'"))
        );
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let text = String::from_utf8(body.to_vec()).expect("text");
        assert!(!text.contains(crate::rig::TOKEN) && !text.contains("innerHTML") && !text.contains("onclick=\""));
    }
}

#[tokio::test]
async fn start_needs_the_token_where_others_can_call() {
    let rig = Rig::new(&["--listen", "0.0.0.0:0"]);
    let request = Request::get("/start").header("host", "127.0.0.1:8080").body(Body::empty()).expect("a request");
    assert_eq!(rig.send(request).await.0, 401);
    assert_eq!(rig.call("GET", "/start", Value::Null).await.0, 409, "no target is known");
}

#[rstest]
#[case::evil_host(&[("host", "evil.example")], 421)]
#[case::no_host(&[], 400)]
#[case::other_site(&[("host", "127.0.0.1:8080"), ("sec-fetch-site", "cross-site")], 403)]
#[case::other_origin(&[("host", "127.0.0.1:8080"), ("origin", "http://evil.example")], 403)]
#[case::from_here(&[("host", "127.0.0.1:8080")], 409)]
#[tokio::test]
async fn start_is_for_this_machine(#[case] headers: &[(&str, &str)], #[case] expected: u16) {
    let rig = Rig::new(&[]);
    let mut request = Request::get("/start");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (status, answer): (_, Value) = rig.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(status, expected, "{answer}");
}
