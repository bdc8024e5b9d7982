//! user-service from outside, over a listener: connections, overload, an absent store, and its end under load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use backing::Store;
use backing::cache::{ReadThrough, Ttl};
use backing::store::memory::MemoryStore;
use clap::Parser;
use kit::ServeError;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use user_service::{Config, State, app, assemble};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    config: Config,
}

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    done: JoinHandle<Result<(), ServeError>>,
    client: Client,
}

fn config(flags: &str) -> Config {
    let words = std::iter::once("user-service").chain(flags.split_whitespace());
    Command::try_parse_from(words).expect("valid flags").config
}

async fn serve(state: Arc<State>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let done = tokio::spawn(async move { kit::serve(&state.service, listener, app(state.clone()), stopped).await });
    Served { address, stop, done, client: Client::builder().no_proxy().build().expect("a client") }
}

impl Served {
    async fn get(&self, path: &str) -> Response {
        self.client.get(format!("http://{}{path}", self.address)).send().await.expect("an answer")
    }

    async fn create(&self, name: &str) -> Response {
        let body = json!({"name": name, "created_at": "2024-01-23"}).to_string();
        self.client.post(format!("http://{}/create", self.address)).body(body).send().await.expect("an answer")
    }

    async fn ended(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.done).await.expect("it ends in time");
        ended.expect("no panic").expect("a clean end");
    }
}

#[tokio::test]
async fn requests_share_a_connection_and_a_large_body_is_answered() {
    let served = serve(user_service::open(&config("")).await.expect("it opens")).await;
    assert_eq!(served.create("Ada").await.status(), 204);
    let large = served.create(&"x".repeat(1 << 20)).await;
    assert_eq!(large.status(), 413);
    let answer = served.get("/get?id=1").await;
    assert!(!answer.headers().contains_key("connection"));
    assert_eq!(answer.text().await.expect("a body"), r#"{"user_id":"1","name":"Ada","created_at":"2024-01-23"}"#);
    served.ended().await;
}

#[tokio::test]
async fn overload_is_shed_at_once_and_probes_answer() {
    let state = user_service::open(&config("--max-in-flight 2 --work create=300ms")).await.expect("it opens");
    let served = Arc::new(serve(state).await);
    let answers: Vec<_> = (0..12)
        .map(|_| {
            let served = served.clone();
            tokio::spawn(async move {
                let begun = Instant::now();
                (served.create("Ada").await, begun.elapsed())
            })
        })
        .collect();
    let mut statuses = [0, 0];
    for answer in answers {
        let (answer, took) = answer.await.expect("no panic");
        if answer.status() == 503 {
            assert_eq!(answer.headers()["retry-after"], "1");
            assert!(answer.text().await.expect("a body").contains("try again"));
            assert!(took < Duration::from_millis(300), "a shed request waited {took:?}");
            statuses[1] += 1;
        } else {
            assert_eq!(answer.status(), 204);
            statuses[0] += 1;
        }
    }
    assert_eq!(statuses, [2, 10]);
    assert_eq!(served.get("/readyz").await.status(), 200);
    let metrics = served.get("/metrics").await.text().await.expect("a body");
    assert!(metrics.contains("lab_shed_total 10"), "{metrics}");
}

#[tokio::test]
async fn without_its_store_the_service_is_alive_and_not_ready() {
    let config = config("");
    let store = Arc::new(MemoryStore::new(backing::store::Settings::default()));
    let cache = backing::cache::open("none", backing::cache::Settings::default()).await.expect("no cache");
    let reader = Arc::new(ReadThrough::new(cache, Ttl::at_most(Duration::from_secs(1), 1)));
    let served = serve(assemble(&config, store.clone(), reader, None)).await;
    store.close().await.expect("closed");
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.expect("a body").contains("not ready: store"));
    assert_eq!(served.get("/livez").await.status(), 200);
    let read = served.get("/get?id=1").await;
    assert_eq!((read.status().as_u16(), &read.headers()["retry-after"]), (503, &"1".parse().expect("a value")));
    assert_eq!(served.create("Ada").await.status(), 503);
    let metrics = served.get("/metrics").await.text().await.expect("a body");
    assert!(metrics.contains(r#"lab_store_rows{table="users"} NaN"#), "{metrics}");
    served.ended().await;
}

#[tokio::test]
async fn the_end_under_load_loses_no_create() {
    let dir = tempfile::tempdir().expect("a directory");
    let flags = format!("--drain-delay 100ms --store sqlite:{}", dir.path().join("users.db").display());
    let served = serve(user_service::open(&config(&flags)).await.expect("it opens")).await;
    let created = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, created) = (served.address, created.clone());
            // A client of its own has a connection of its own.
            let client = Client::builder().no_proxy().build().expect("a client");
            tokio::spawn(async move {
                let body = json!({"name": "Ada", "created_at": "2024-01-23"}).to_string();
                loop {
                    match client.post(format!("http://{address}/create")).body(body.clone()).send().await {
                        Ok(answer) => assert_eq!(answer.status(), 204),
                        // The listener is closed; a request that had been sent would fail otherwise.
                        Err(error) if error.is_connect() => return,
                        Err(error) => panic!("a request was lost: {error:?}"),
                    }
                    created.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while created.load(Ordering::Relaxed) < 200 {
        tokio::task::yield_now().await;
    }
    served.ended().await;
    for client in clients {
        client.await.expect("no request was lost");
    }
    let address = format!("sqlite:{}", dir.path().join("users.db").display());
    let store = backing::store::open(&address, backing::store::Settings::default()).await.expect("the same store");
    let rows = store.count(backing::store::Table::Users).await.expect("a count");
    assert_eq!(rows, created.load(Ordering::Relaxed) as u64);
}
