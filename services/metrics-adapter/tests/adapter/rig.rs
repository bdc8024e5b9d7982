//! An adapter in a test, its replicas, and calls to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Parser;
use kit::Metrics;
use metrics_adapter::{Adapter, Config};
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::papers::{Authority, FRONT_PROXY, SERVER, lay_out};

const DEADLINE: Duration = Duration::from_secs(10);
pub const ROOT: &str = "/apis/external.metrics.k8s.io/v1beta1";

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

pub struct Rig {
    pub adapter: Adapter,
    /// What has signed the adapter's certificate.
    pub own: Authority,
    /// What signs the front proxy's.
    pub front_proxy: Authority,
    files: tempfile::TempDir,
}

impl Rig {
    /// An adapter that lets callers with these names in, and these further flags.
    pub async fn with_names(names: &str, flags: &[String]) -> Self {
        let (own, front_proxy) = (Authority::new("own authority"), Authority::new("front proxy authority"));
        let files = tempfile::tempdir().expect("a directory");
        lay_out(files.path(), &own.server(SERVER), &front_proxy, names);
        let adapter = metrics_adapter::open(&config(files.path(), flags)).await.expect("it starts");
        Self { adapter, own, front_proxy, files }
    }

    pub async fn new(flags: &[String]) -> Self {
        Self::with_names(&format!("[\"{FRONT_PROXY}\"]"), flags).await
    }

    /// The TLS of the API server.
    pub fn api_server(&self) -> Arc<ClientConfig> {
        self.own.caller(Some(&self.front_proxy.client(FRONT_PROXY)), ALL_VERSIONS)
    }

    /// A call of the API server.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get_as(self.adapter.api, self.api_server(), path, "").await.expect("an answer")
    }

    /// The values of a metric, as soon as they are these.
    pub async fn until(&self, metric: &str, expected: &[&str]) -> Value {
        let (caller, begun) = (self.api_server(), Instant::now());
        loop {
            let path = format!("{ROOT}/namespaces/lab/{metric}");
            let (status, body) = get_as(self.adapter.api, caller.clone(), &path, "").await.expect("an answer");
            assert_eq!(status, 200, "{body}");
            let list: Value = serde_json::from_str(&body).expect("JSON");
            let values: Vec<_> = list["items"].as_array().expect("items").iter().map(|item| &item["value"]).collect();
            if values == expected {
                return list;
            }
            assert!(begun.elapsed() < DEADLINE, "{metric} is {values:?} and not {expected:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn files(&self) -> &std::path::Path {
        self.files.path()
    }
}

/// Flags of an adapter with its files in one directory.
pub fn config(files: &std::path::Path, flags: &[String]) -> Config {
    let directory = files.to_str().expect("text");
    let line = ["metrics-adapter", "--namespace", "lab", "--api-listen", "127.0.0.1:0"].map(str::to_owned);
    let files = [format!("--tls-dir={directory}"), format!("--front-proxy-dir={directory}")];
    // Where no replica is; a name would be asked of whatever resolver this machine has.
    let absent = ["--user-service=", "--message-service=", "--load-generator="]
        .into_iter()
        .filter(|service| flags.iter().all(|flag| !flag.starts_with(service)))
        .map(|service| format!("{service}127.0.0.1:1"));
    let line = line.into_iter().chain(files).chain(absent).chain(flags.iter().cloned());
    Flags::try_parse_from(line).expect("valid flags").config
}

/// One GET over a connection of its own; the error is that of the handshake, or of reading what comes instead of an answer.
pub async fn get_as(
    to: SocketAddr,
    tls: Arc<ClientConfig>,
    path: &str,
    headers: &str,
) -> Result<(u16, String), io::Error> {
    let asked = async {
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from(SERVER).expect("a name");
        let mut stream = TlsConnector::from(tls).connect(name, stream).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        Ok::<_, io::Error>((status, body.to_owned()))
    };
    timeout(DEADLINE, asked).await.expect("an answer or a refusal in time")
}

/// A replica: its metrics, and the server of their page.
pub struct Replica {
    pub metrics: Metrics,
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
    server: JoinHandle<()>,
}

impl Replica {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (metrics, address) = (Metrics::new(), listener.local_addr().expect("an address"));
        let (shown, stopped) = (metrics.clone(), Arc::new(AtomicBool::new(false)));
        let is_stopped = stopped.clone();
        let page = get(move || async move {
            if is_stopped.load(Ordering::SeqCst) { Err(StatusCode::SERVICE_UNAVAILABLE) } else { Ok(shown.render()) }
        });
        let app = Router::new().route("/metrics", page);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { metrics, address, stopped, server }
    }

    /// One of user-service that is idle.
    pub async fn of_user_service() -> Self {
        let replica = Self::start().await;
        replica.metrics.gauge("http_requests_in_flight", &[]).set(0.0);
        replica
    }

    /// Answers requests, each in so many seconds.
    pub fn answered(&self, route: &str, seconds: f64, times: usize) {
        self.metrics.histogram("http_request_duration_seconds", &[("route", route)]).record_many(seconds, times);
    }

    /// Answers no more, also not on connections that are open.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Flags that scrape these replicas of a service, often.
pub fn scraping(service: &str, replicas: &[&Replica], window: &str) -> Vec<String> {
    let targets = replicas.iter().map(|replica| format!("--{service}={}", replica.address));
    targets.chain(["--period=50ms".to_owned(), format!("--window={window}")]).collect()
}
