//! A generator in a test, the calls to it, and a target that answers 200.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use clap::Parser;
use futures_util::StreamExt as _;
use lab_core::control::{LoadPlan, Operation, PlanPhase, Sample, Share, Status};
use lab_core::spec::{Arrivals, Shape};
use lab_core::unit::{Rate, Span};
use load_generator::{Config, Generator, app};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

pub struct Rig {
    pub generator: Arc<Generator>,
    pub app: Router,
    _token: tempfile::TempDir,
}

impl Rig {
    /// A generator with a token and these further flags.
    pub fn new(flags: &[&str]) -> Self {
        let token = tempfile::tempdir().expect("a directory");
        let path = token.path().join("token");
        std::fs::write(&path, TOKEN).expect("a file");
        let line = ["load-generator", "--name", "g", "--token-file", path.to_str().expect("text")];
        let config = Flags::try_parse_from(line.iter().chain(flags)).expect("valid flags").config;
        let generator = Generator::start(&config).expect("it starts");
        Self { app: app(generator.clone()), generator, _token: token }
    }

    pub async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.app.clone().oneshot(request).await.expect("the router answers");
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// A call with the token.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(with_token(method, path).body(body).expect("a request")).await
    }

    pub async fn expect(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let (found, answer) = self.call(method, path, body).await;
        assert_eq!(found.as_u16(), status, "{method} {path}: {answer}");
        answer
    }

    pub async fn target(&self, version: u64, address: SocketAddr) {
        let list = json!({"version": version, "endpoints": [{"replica": "r1", "address": address.to_string()}]});
        self.expect("PUT", "/targets", list, 204).await;
    }

    pub async fn put(&self, plan: &LoadPlan) {
        self.expect("PUT", "/load", serde_json::to_value(plan).expect("JSON"), 200).await;
    }

    pub async fn status(&self) -> Status {
        serde_json::from_value(self.expect("GET", "/load", Value::Null, 200).await).expect("a status")
    }

    /// Waits until the status has a property; the calls renew the lease.
    pub async fn wait(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "no {what} within the deadline: {status:?}");
            tokio::task::yield_now().await;
        }
    }

    pub async fn samples(&self, path: &str) -> Samples {
        let request = with_token("GET", path).body(Body::empty()).expect("a request");
        let response = self.app.clone().oneshot(request).await.expect("the router answers");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Samples { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

pub struct Samples {
    body: BodyDataStream,
    text: String,
}

impl Samples {
    /// The next sample; None when the stream has ended.
    pub async fn next(&mut self) -> Option<Sample> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
                self.text = rest.to_owned();
                match data {
                    Some(data) => return Some(serde_json::from_str(&data).expect("a sample")),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(DEADLINE, self.body.next()).await.expect("something in time")?;
            self.text.push_str(std::str::from_utf8(&chunk.expect("a chunk")).expect("text"));
        }
    }

    pub async fn read_all(mut self) -> Vec<Sample> {
        let mut all = Vec::new();
        while let Some(sample) = self.next().await {
            all.push(sample);
        }
        all
    }
}

pub fn with_token(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"))
}

pub struct Target {
    pub address: SocketAddr,
    hits: Arc<AtomicU64>,
}

impl Target {
    pub async fn start() -> Self {
        let hits = Arc::new(AtomicU64::new(0));
        let counted = hits.clone();
        let app = Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { "ok" }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, hits }
    }

    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

pub fn plan(id: &str, rate: f64, millis: u64) -> LoadPlan {
    LoadPlan {
        id: id.into(),
        start_at_ns: None,
        operations: vec![Operation {
            name: "get".into(),
            weight: 1.0,
            method: "GET".into(),
            path: "/get?id={key}".into(),
            headers: vec![],
            body: String::new(),
            creates_key: false,
            ledger: false,
        }],
        arrivals: Arrivals::Constant,
        phases: vec![PlanPhase {
            name: "load".into(),
            rate: Shape::Constant(Rate(rate)),
            length: Span::from_millis(millis),
        }],
        connections: 8,
        timeout: Span::from_secs(2),
        max_queue: 10_000,
        seed: 1,
        share: Share { index: 0, count: 1 },
        joins_at_ns: 0,
        keys: 5,
        drain: Span::from_secs(2),
    }
}

/// Offered and completed requests of samples, whose numbers have no gap from `first` on.
pub fn totals(samples: &[Sample], first: u64) -> (u64, u64) {
    let numbers: Vec<u64> = samples.iter().map(|s| s.seq).collect();
    assert_eq!(numbers, (first..).take(samples.len()).collect::<Vec<_>>());
    let counts = samples.iter().flat_map(|s| &s.phases).map(|p| p.counts);
    counts.fold((0, 0), |(offered, completed), c| (offered + c.offered, completed + c.completed))
}
