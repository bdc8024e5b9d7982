//! message-service from outside, over a listener: overload, an absent store, slow work, and its end with messages in hand.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backing::cache::{ReadThrough, Ttl};
use backing::store::Table;
use backing::store::memory::MemoryStore;
use backing::{Queue, Store, queue, store};
use clap::Parser;
use kit::ServeError;
use message_service::{Config, State, app, assemble};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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

fn config(dir: &Path, flags: &str) -> Config {
    let queue = address(dir, "queue.db");
    let words = ["message-service", "--queue", &queue].into_iter().chain(flags.split_whitespace());
    Command::try_parse_from(words).expect("valid flags").config
}

fn address(dir: &Path, file: &str) -> String {
    format!("sqlite:{}", dir.join(file).display())
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

    async fn send(&self, text: &str) -> Response {
        let body = json!({"from": 1, "to": 2, "text": text}).to_string();
        self.client.post(format!("http://{}/send", self.address)).body(body).send().await.expect("an answer")
    }

    async fn inbox(&self) -> Vec<Value> {
        let answer: Value = self.get("/messages?user=2&limit=200").await.json().await.expect("JSON");
        answer["messages"].as_array().expect("a list").clone()
    }

    async fn ended(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.done).await.expect("it ends in time");
        ended.expect("no panic").expect("a clean end");
    }
}

/// Polls until it holds, for at most ten seconds.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn overload_is_shed_and_what_was_accepted_arrives() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), "--max-in-flight 2 --work send=100ms");
    let served = Arc::new(serve(message_service::open(&config).await.expect("it opens")).await);
    let sends: Vec<_> = (0..8)
        .map(|n| {
            let served = served.clone();
            tokio::spawn(async move { served.send(&n.to_string()).await })
        })
        .collect();
    let mut accepted = 0;
    for send in sends {
        let answer = send.await.expect("no panic");
        match answer.status().as_u16() {
            202 => accepted += 1,
            503 => assert_eq!(answer.headers()["retry-after"], "1"),
            other => panic!("status {other}"),
        }
    }
    assert_eq!(accepted, 2);
    until("the inbox", || async { served.inbox().await.len() == accepted }).await;
}

#[tokio::test]
async fn an_absent_store_makes_nothing_dead() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), "--drain-limit 3s");
    let queue = queue::open(&config.queue, "messages", queue::Settings::default()).await.expect("a queue");
    let gone = Arc::new(MemoryStore::new(store::Settings::default()));
    let cache = backing::cache::open("none", backing::cache::Settings::default()).await.expect("no cache");
    let reader = Arc::new(ReadThrough::new(cache, Ttl::at_most(Duration::from_secs(1), 1)));
    let state = assemble(&config, gone.clone(), reader, queue.clone(), Duration::from_secs(30));
    let served = serve(state).await;
    gone.close().await.expect("closed");
    assert_eq!(served.send("kept").await.status(), 202);
    until("the delivery", || async { queue.depth().await.expect("a depth").in_flight == 1 }).await;
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.expect("a body").contains("not ready: store"));
    assert_eq!(
        (served.get("/livez").await.status().as_u16(), served.get("/messages?user=2").await.status().as_u16()),
        (200, 503)
    );
    served.ended().await;
    // The message is back in the queue, and another replica with a store finishes it.
    let again = serve(message_service::open(&config).await.expect("it opens")).await;
    until("the message", || async { again.inbox().await.iter().any(|message| message["text"] == "kept") }).await;
    again.ended().await;
}

#[tokio::test]
async fn the_end_leaves_every_message_in_the_store_or_in_the_queue() {
    let dir = tempfile::tempdir().expect("a directory");
    let flags = format!("--work consume=5ms --consumers 2 --store {}", address(dir.path(), "store.db"));
    let config = config(dir.path(), &flags);
    let served = serve(message_service::open(&config).await.expect("it opens")).await;
    for n in 0..100 {
        assert_eq!(served.send(&n.to_string()).await.status(), 202);
    }
    served.ended().await;
    let queue = queue::open(&config.queue, "messages", queue::Settings::default()).await.expect("the same queue");
    let store = store::open(&config.store, store::Settings::default()).await.expect("the same store");
    let (depth, rows) = (queue.depth().await.expect("a depth"), store.count(Table::Messages).await.expect("a count"));
    assert_eq!((depth.in_flight, depth.dead), (0, 0), "messages were not given back");
    // One that was stored and not yet acknowledged is in both.
    assert!(rows + depth.visible >= 100, "{rows} stored, {depth:?}");
    let again = serve(message_service::open(&config).await.expect("it opens")).await;
    until("the inbox", || async { again.inbox().await.len() == 100 }).await;
    let mut texts: Vec<u32> =
        again.inbox().await.iter().map(|m| m["text"].as_str().expect("text").parse().expect("a number")).collect();
    texts.sort_unstable();
    assert_eq!(texts, (0..100).collect::<Vec<_>>());
    again.ended().await;
}

#[tokio::test]
async fn slow_work_is_held_and_done_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), "--work consume=600ms");
    let visibility = Duration::from_millis(300);
    let settings = queue::Settings { visibility, max_receives: 2, ..queue::Settings::default() };
    let queue: Arc<dyn Queue> = queue::open(&config.queue, "messages", settings).await.expect("a queue");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(store::Settings::default()));
    let cache = backing::cache::open("none", backing::cache::Settings::default()).await.expect("no cache");
    let reader = Arc::new(ReadThrough::new(cache, Ttl::at_most(Duration::from_secs(1), 1)));
    let served = serve(assemble(&config, store, reader, queue.clone(), visibility)).await;
    assert_eq!(served.send("slow").await.status(), 202);
    until("the ack", || async { queue.depth().await.expect("a depth") == queue::Depth::default() }).await;
    assert_eq!(served.inbox().await.len(), 1);
    let metrics = served.get("/metrics").await.text().await.expect("a body");
    assert!(metrics.contains("lab_queue_consumed_total 1"), "{metrics}");
    served.ended().await;
}
