//! The service as a process: a create that was answered is there after `kill -9`, whenever it comes; SIGTERM ends it cleanly.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use reqwest::Client;
use serde_json::{Value, json};
use user_service::Config;

/// Set in the child: the store's file.
const STORE: &str = "USER_SERVICE_CRASH_TEST_STORE";
const CREATORS: usize = 64;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

/// The service as a process of its own: this test binary again, killed when dropped.
struct Service {
    process: Child,
    // Held open: the test harness in the child writes on.
    _stdout: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Service {
    fn start(store: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "answered_creates_survive_kill_9", "--nocapture"])
            .env(STORE, store)
            .env("LAB_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary runs");
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let announced =
            stdout.by_ref().map_while(Result::ok).find_map(|line| line.find('{').map(|at| line[at..].to_owned()));
        let announced: Value = serde_json::from_str(&announced.expect("an announcement")).expect("JSON");
        let address = announced["listening"].as_str().expect("an address").to_owned();
        Self { process, _stdout: stdout, address }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // SIGKILL; an error means that it has ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn serve(store: &str) {
    let config =
        Flags::parse_from(["user-service", "--listen", "127.0.0.1:0", "--store", &format!("sqlite:{store}")]).config;
    let runtime = config.serve.runtime().expect("a runtime");
    runtime.block_on(user_service::run(config)).expect("a clean end");
}

/// Creates users until the service is gone; returns those that were answered, by id.
async fn create_until_killed(service: Service, round: usize, kill_after: usize) -> BTreeMap<u64, String> {
    let (answered, count) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(AtomicUsize::new(0)));
    let url = format!("http://{}/create", service.address);
    let creators: Vec<_> = (0..CREATORS)
        .map(|creator| {
            let (answered, count, url) = (answered.clone(), count.clone(), url.clone());
            let client = Client::builder().no_proxy().build().expect("a client");
            tokio::spawn(async move {
                for n in 0.. {
                    let name = format!("user-{round}-{creator}-{n}");
                    let body = json!({"name": name, "created_at": "2024-01-23"}).to_string();
                    let Ok(answer) = client.post(&url).body(body).send().await else { return };
                    assert_eq!(answer.status(), 204);
                    let location = answer.headers()["location"].to_str().expect("text").to_owned();
                    let id = location.strip_prefix("/get?id=").and_then(|id| id.parse().ok()).expect("an id");
                    let before = answered.lock().expect("no panic").insert(id, name);
                    assert_eq!(before, None, "id {id} was given twice");
                    count.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    while count.load(Ordering::SeqCst) < kill_after {
        tokio::task::yield_now().await;
    }
    drop(service);
    for creator in creators {
        creator.await.expect("a creator ends without a panic");
    }
    std::mem::take(&mut *answered.lock().expect("no panic"))
}

async fn read_back(service: &Service, users: &BTreeMap<u64, String>) {
    let client = Client::builder().no_proxy().build().expect("a client");
    for (id, name) in users {
        let answer = client.get(format!("http://{}/get?id={id}", service.address)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "user {id} was acknowledged and is gone");
        let user: Value = answer.json().await.expect("JSON");
        assert_eq!(user, json!({"user_id": id.to_string(), "name": name, "created_at": "2024-01-23"}));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn answered_creates_survive_kill_9() {
    // In the child this test is the service.
    if let Ok(store) = std::env::var(STORE) {
        return serve(&store);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("users.db");
    runtime().block_on(async {
        let mut users = BTreeMap::new();
        for (round, kill_after) in [1, 40, 150, 400].into_iter().enumerate() {
            let answered = create_until_killed(Service::start(&store), round, kill_after).await;
            assert!(answered.len() >= kill_after);
            assert!(answered.keys().all(|id| !users.contains_key(id)), "an id was given again after the restart");
            users.extend(answered);
        }
        read_back(&Service::start(&store), &users).await;
    });
}

#[test]
fn sigterm_under_load_ends_the_process_cleanly() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut service = Service::start(&dir.path().join("users.db"));
    let url = format!("http://{}/create", service.address);
    runtime().block_on(async {
        let client = Client::builder().no_proxy().build().expect("a client");
        let body = json!({"name": "Ada", "created_at": "2024-01-23"}).to_string();
        let mut told = false;
        for n in 0.. {
            match client.post(&url).body(body.clone()).send().await {
                Ok(answer) => assert_eq!(answer.status(), 204),
                Err(error) => {
                    assert!(told && error.is_connect(), "a request was lost: {error:?}");
                    break;
                }
            }
            if n == 50 {
                let process = rustix::process::Pid::from_child(&service.process);
                rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("a signal");
                told = true;
            }
        }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = service.process.try_wait().expect("our child") {
            break status;
        }
        assert!(Instant::now() < deadline, "the process did not end");
        std::thread::yield_now();
    };
    assert!(status.success(), "{status}");
}
