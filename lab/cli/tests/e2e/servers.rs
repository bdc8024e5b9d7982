//! Backing servers: each is started in Docker, found by its own driver, used by the services, and has what it had after a kill; one that is
//! there already gets a place of the run's own, which goes with the run.

use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_core::event::{BackingSeen, Grade, Kind};
use lab_core::fault::{FaultTarget, Injury};
use lab_core::spec::{EnvironmentKind, Role, Spec};
use lab_env::{
    DockerConfig, DockerEnvironment, Endpoints, Environment, LocalConfig, LocalEnvironment, LocalLimits, Seen,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Each server with the variable that names its image and the one that is taken otherwise.
const IMAGES: [(&str, &str, &str); 8] = [
    ("postgres", "LAB_IMAGE_POSTGRES", "postgres:17"),
    ("mysql", "LAB_IMAGE_MYSQL", "mysql:8.4"),
    ("mongodb", "LAB_IMAGE_MONGO", "mongo:8"),
    ("dynamodb", "LAB_IMAGE_DYNAMODB", "amazon/dynamodb-local:3"),
    ("rabbitmq", "LAB_IMAGE_RABBITMQ", "rabbitmq:4-management"),
    ("kafka", "LAB_IMAGE_KAFKA", "apache/kafka:4"),
    ("sqs", "LAB_IMAGE_SQS", "softwaremill/elasticmq-native:1"),
    ("redis", "LAB_IMAGE_REDIS", "redis:8"),
];

fn image(engine: &str) -> String {
    let (_, variable, usual) = IMAGES.into_iter().find(|(name, ..)| *name == engine).expect("an engine");
    std::env::var(variable).unwrap_or_else(|_| usual.to_owned())
}

/// False when an image is missing: the test then says that it skips, or fails when `LAB_REQUIRE` contains `docker`.
fn have(engines: &[&str]) -> bool {
    let missing: Vec<String> = engines.iter().map(|engine| image(engine)).filter(|image| !is_here(image)).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = format!("no Docker here, or no image {}; LAB_IMAGE_… names others", missing.join(", "));
    let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
    assert!(!required.contains("docker"), "{missing}, and LAB_REQUIRE wants it");
    // Past the test harness, which shows what a passing test prints to nobody.
    let line = format!("SKIPPED, NOT TESTED: {} ({missing})\n", engines.join(", "));
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
    false
}

fn is_here(image: &str) -> bool {
    let looked = Command::new("docker").args(["image", "inspect", "--format", "ok", image]).output();
    looked.is_ok_and(|output| output.status.success())
}

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A lab of a test's own, in its own home.
struct Lab {
    environment: Arc<dyn Environment>,
    spec: Spec,
    seen: mpsc::Receiver<Seen>,
    http: reqwest::Client,
    folder: Option<TempDir>,
}

impl Drop for Lab {
    /// Whoever removes what a failed test left needs the ledger in it.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            drop(folder.keep());
        }
    }
}

impl Lab {
    /// Up, with both services deployed.
    async fn up(kind: EnvironmentKind, store: &str, queue: &str, endpoints: &[String]) -> Self {
        let text = format!(
            "question: q\nenvironment: {kind}\nservices:\n  user-service: {{ store: {store}, cache: redis }}\n  \
             message-service: {{ store: {store}, queue: {queue} }}\n"
        );
        let spec = lab_core::spec::parse("t.yaml", &text, &[], &|_| Err(String::new())).expect("a spec").spec;
        let folder = tempfile::tempdir().expect("a folder");
        let (events, seen) = mpsc::channel(4096);
        let lab = LocalConfig {
            exe: env!("CARGO_BIN_EXE_lab").into(),
            lab_name: format!("servers-{store}"),
            run_id: format!("servers-{store}"),
            run_dir: folder.path().join("run"),
            home: folder.path().join("home"),
            events,
            default_load: "{}".to_owned(),
            limits: LocalLimits { ready: PATIENCE, ..LocalLimits::default() },
            endpoints: Endpoints::read(endpoints, |_| None).expect("endpoints"),
        };
        let environment: Arc<dyn Environment> = match kind {
            EnvironmentKind::Local => Arc::new(LocalEnvironment::new(lab).expect("an environment")),
            EnvironmentKind::Docker => {
                let config = DockerConfig { lab, image: None, monitoring: false };
                Arc::new(DockerEnvironment::new(config).expect("an environment"))
            }
            EnvironmentKind::Kubernetes => unreachable!("no test of this file has a cluster"),
        };
        let made = Self { environment, spec, seen, http: reqwest::Client::new(), folder: Some(folder) };
        made.environment.up(&made.spec).await.expect("up");
        for service in ["user-service", "message-service"] {
            made.environment.deploy(&made.spec, service).await.expect(service);
        }
        made
    }

    fn url(&self, service: &str, path: &str) -> String {
        let endpoints = self.environment.endpoints(service).expect("endpoints");
        let address = endpoints.borrow().first().map(|endpoint| endpoint.address.clone()).unwrap_or_default();
        format!("http://{address}{path}")
    }

    /// Asks again until this status comes, as a client does whose server is just started again.
    async fn eventually(&self, what: &str, wanted: u16, request: impl Fn() -> reqwest::RequestBuilder) -> String {
        let until = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < until {
            match request().timeout(Duration::from_secs(10)).send().await {
                Ok(answer) if answer.status().as_u16() == wanted => return answer.text().await.unwrap_or_default(),
                Ok(answer) => last = format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what}: {last}");
    }

    async fn create(&self, name: &str) {
        let body = json!({ "name": name, "created_at": "2026-11-24T10:00:00Z" });
        let request = || {
            let request = self.http.post(self.url("user-service", "/create")).json(&body);
            request.header("Idempotency-Key", name)
        };
        self.eventually("create", 204, request).await;
    }

    async fn has_user(&self, id: u64, name: &str) {
        let text =
            self.eventually("get", 200, || self.http.get(self.url("user-service", &format!("/get?id={id}")))).await;
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["name"], name);
    }

    async fn send(&self, text: &str) {
        let body = json!({ "from": "1", "to": "2", "text": text });
        self.eventually("send", 202, || self.http.post(self.url("message-service", "/send")).json(&body)).await;
    }

    async fn has_message(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let list = || self.http.get(self.url("message-service", "/messages?user=2"));
            if self.eventually("messages", 200, list).await.contains(text) {
                return;
            }
            assert!(Instant::now() < until, "{text} never arrived");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What was announced of backing services so far.
    fn backing(&mut self) -> Vec<BackingSeen> {
        let mut found = Vec::new();
        while let Ok(seen) = self.seen.try_recv() {
            if let Kind::Backing(backing) = seen.kind {
                found.push(*backing);
            }
        }
        found
    }

    async fn down(self) {
        let removal = self.environment.down().await.expect("down");
        assert_eq!(removal.left, Vec::<String>::new());
    }
}

/// What servers call themselves that stand in for others.
const STAND_INS: [&str; 4] = ["MariaDB ", "FerretDB ", "DynamoDB Local", "a stand-in "];

/// Uses a store and a queue, kills both, and finds what was there.
async fn used_and_killed(store: &str, queue: &str) {
    if !have(&[store, queue, "redis"]) {
        return;
    }
    let mut lab = Lab::up(EnvironmentKind::Docker, store, queue, &[]).await;
    let backing = lab.backing();
    for name in [format!("store.{store}"), format!("queue.{queue}"), "cache.redis".to_owned()] {
        let found = backing.iter().find(|found| found.name == name).expect("announced");
        let stands_in = STAND_INS.iter().any(|other| found.server.starts_with(other));
        assert_eq!(found.promises.fidelity == Grade::Real, !stands_in, "{found:?}");
        let image = found.image.as_ref().expect("an image");
        assert!(image.digest.starts_with("sha256:"), "{image:?}");
    }
    lab.create("Ada").await;
    lab.has_user(1, "Ada").await;
    lab.send("before").await;
    lab.has_message("before").await;
    // RabbitMQ 3.10 forgets a quorum queue when it is killed too soon after it said that it made it, and shows nowhere when that is over.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for role in [Role::Store, Role::Queue, Role::Cache] {
        let hit = lab.environment.fault(&FaultTarget::Role(role), Injury::Kill).await.expect("killed");
        assert_eq!(hit.len(), 1, "{hit:?}");
    }
    lab.has_user(1, "Ada").await;
    lab.has_message("before").await;
    lab.create("Eve").await;
    lab.send("after").await;
    lab.has_message("after").await;
    lab.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_rabbitmq_are_there_again_after_a_kill() {
    used_and_killed("postgres", "rabbitmq").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_and_kafka_are_there_again_after_a_kill() {
    used_and_killed("mysql", "kafka").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_and_sqs_are_there_again_after_a_kill() {
    used_and_killed("mongodb", "sqs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dynamodb_is_there_again_after_a_kill() {
    used_and_killed("dynamodb", "sqs").await;
}

/// A server that somebody else runs: removed when the test is over.
struct There {
    container: String,
    port: String,
}

impl There {
    fn start(engine: &str, inside: u16, rest: &[&str], args: &[&str]) -> Self {
        let image = image(engine);
        let publish = format!("127.0.0.1::{inside}");
        let run = [&["run", "-d", "--label", "lab.test=1", "-p", &publish], rest, &[&image], args].concat();
        let container = said(&run);
        let port = said(&["port", &container, &inside.to_string()]);
        let port = port.rsplit(':').next().unwrap_or_default().to_owned();
        Self { container, port }
    }

    fn exec(&self, command: &[&str]) -> String {
        said(&[&["exec", &self.container], command].concat())
    }
}

impl Drop for There {
    fn drop(&mut self) {
        said(&["rm", "-f", "-v", &self.container]);
    }
}

fn said(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until a server takes calls; what it is asked is its own client's affair.
async fn answers(asked: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !asked() {
        assert!(Instant::now() < until, "the server does not begin");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_leaves_nothing_at_servers_that_were_there() {
    if !have(&["postgres", "rabbitmq", "redis"]) {
        return;
    }
    let postgres = There::start("postgres", 5432, &["-e", "POSTGRES_PASSWORD=hush"], &[]);
    let redis = There::start("redis", 6379, &[], &["--requirepass", "hush"]);
    let login = ["-e", "RABBITMQ_DEFAULT_USER=lab", "-e", "RABBITMQ_DEFAULT_PASS=hush"];
    let rabbitmq = There::start("rabbitmq", 5672, &login, &[]);
    let databases = || {
        let query = "SELECT datname FROM pg_database WHERE datname LIKE 'lab_%'";
        let address = "postgres://postgres:hush@127.0.0.1/postgres";
        postgres.exec(&[
            "sh",
            "-c",
            &format!("PATH=$PATH:/usr/lib/postgresql/15/bin psql -Atc \"{query}\" {address} || echo away"),
        ])
    };
    let keys = || redis.exec(&["redis-cli", "-a", "hush", "--no-auth-warning", "keys", "*"]);
    answers(|| databases().is_empty() && keys().is_empty()).await;
    let endpoints = [
        format!("store.postgres=postgres://postgres:hush@127.0.0.1:{}/postgres", postgres.port),
        format!("queue.rabbitmq=amqp://lab:hush@127.0.0.1:{}/%2f", rabbitmq.port),
        format!("cache.redis=redis://:hush@127.0.0.1:{}/0", redis.port),
    ];
    // Of processes, and of containers, to which a loopback address is passed on.
    for kind in [EnvironmentKind::Local, EnvironmentKind::Docker] {
        let mut lab = Lab::up(kind, "postgres", "rabbitmq", &endpoints).await;
        let backing = lab.backing();
        assert!(backing.iter().all(|found| found.image.is_none() && !found.address.contains("hush")), "{backing:?}");
        lab.create("Ada").await;
        lab.has_user(1, "Ada").await;
        lab.send("hello").await;
        lab.has_message("hello").await;
        assert!(databases().starts_with("lab_servers_postgres_"), "{}", databases());
        assert!(keys().starts_with("lab_servers_postgres_"), "{}", keys());
        let hit = lab.environment.fault(&FaultTarget::Role(Role::Store), Injury::Kill).await;
        assert!(hit.is_err(), "what was there is not ours to kill");
        lab.down().await;
        assert_eq!((databases(), keys()), (String::new(), String::new()), "after {kind}");
    }
}
