//! Monitoring beside a lab of containers: what dashboards and rules ask for is there in a real run. Without Docker these tests say that
//! they skip, or fail when `LAB_REQUIRE` contains `docker`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, stderr, stdout, until};

const PATIENCE: Duration = Duration::from_secs(60);
const IMAGE: &str = "LAB_IMAGE_PROMETHEUS";
/// Nobody listens there, so nothing is asked of any registry.
const NO_IMAGE: &str = "127.0.0.1:1/grafana:12";

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).stdin(Stdio::null()).output().expect("the client of Docker runs")
}

/// The image of Prometheus that tests have; None where there is none, which is told.
fn image(test: &str) -> Option<String> {
    let image = std::env::var(IMAGE).unwrap_or_else(|_| "testbed/prometheus".to_owned());
    let there = Command::new("docker").args(["image", "inspect", &image]).output();
    if there.is_ok_and(|output| output.status.success()) {
        return Some(image);
    }
    let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
    assert!(!required.contains("docker"), "no image {image} in a Docker here, and LAB_REQUIRE wants it");
    // Past the test harness, which shows what a passing test prints to nobody.
    let line = format!("SKIPPED, NOT TESTED: {test} (no image {image} in a Docker here; {IMAGE} names another)\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
    None
}

fn manifests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests/components/monitoring")
}

/// A lab with monitoring, taken down at the end.
struct Watched {
    bench: Bench,
    entry: Value,
    /// What `lab up` said.
    said: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Watched {
    fn up(image: &str) -> Self {
        let bench = Bench::new();
        let args =
            ["up", "--env", "docker", "--with", "monitoring", "--cache", "memory", "--detach", "--format", "json"];
        let mut command = bench.lab(&args);
        command.env(IMAGE, image).env("LAB_IMAGE_GRAFANA", NO_IMAGE).stdin(Stdio::null());
        let up = command.output().expect("the binary runs");
        assert_eq!(up.status.code(), Some(0), "{}", stderr(&up));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        let entry = serde_json::from_str(&stdout(&up)).expect("JSON");
        Self { bench, entry, said: stderr(&up), client, runtime }
    }

    /// Where something answers, by its name in one of the lists of `lab status`.
    fn address(&self, list: &str, name: &str, field: &str) -> String {
        let all = self.entry[list].as_array().expect("a list");
        let found = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} is not in {all:?}"));
        found[field].as_str().expect("an address").to_owned()
    }

    fn service(&self, name: &str, path: &str) -> String {
        format!("{}{path}", self.address("services", name, "url"))
    }

    fn send(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("a body"))
        })
    }

    fn get(&self, url: &str) -> (u16, String) {
        self.send(self.client.get(url))
    }

    /// Begins the default load. What listens in a container is not on loopback, so it wants its token.
    fn start_load(&self) {
        let token = self.bench.path().join("home/labs/lab/mount/load-generator.token");
        let token = std::fs::read_to_string(token).expect("a token");
        let start = self.client.get(self.service("load-generator", "/start")).bearer_auth(token.trim());
        assert_eq!(self.send(start).0, 204);
    }

    /// Some of everything that the services do, through their front doors.
    fn use_everything(&self) {
        let post = |url: String, body: Value| self.send(self.client.post(url).json(&body)).0;
        for n in 0..5 {
            let message = json!({ "from": 1, "to": 2, "text": format!("hello {n}") });
            assert_eq!(post(self.service("message-service", "/send"), message), 202);
            assert_eq!(self.get(&self.service("message-service", "/messages?user=2")).0, 200);
            let user = json!({ "name": "John Doe", "created_at": "2024-01-23" });
            assert_eq!(post(self.service("user-service", "/create"), user), 204);
            assert_eq!(self.get(&self.service("user-service", "/get?id=1")).0, 200);
        }
    }

    /// Asks Prometheus; gives the data of its answer.
    fn prometheus(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("{}{path}", self.address("backing", "monitoring.prometheus", "address"));
        let url = reqwest::Url::parse_with_params(&url, query).expect("an address");
        let (status, answer) = self.send(self.client.get(url));
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(status == 200 && answer["status"] == "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    /// Whether a query has an answer that is a number.
    fn has_data(&self, query: &str) -> bool {
        let data = self.prometheus("/api/v1/query", &[("query", query)]);
        let series = data["result"].as_array().expect("series").iter();
        series.filter_map(|one| one["value"][1].as_str()?.parse::<f64>().ok()).any(f64::is_finite)
    }

    fn rules(&self) -> Vec<Value> {
        let data = self.prometheus("/api/v1/rules", &[]);
        let groups = data["groups"].as_array().expect("groups").iter();
        groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }

    /// Health of every replica that Prometheus scrapes, by workload and replica.
    fn targets(&self) -> BTreeMap<(String, String), String> {
        let data = self.prometheus("/api/v1/targets", &[("state", "active")]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let named = |target: &Value| {
            let labels = &target["labels"];
            ((text(&labels["workload"]), text(&labels["replica"])), text(&target["health"]))
        };
        data["activeTargets"].as_array().expect("targets").iter().map(named).collect()
    }

    fn scale(&self, workload: &str, replicas: u32) {
        let socket = self.bench.path().join("home/labs/lab/supervisor.sock");
        let mut stream = UnixStream::connect(socket).expect("somebody listens");
        let question = json!({ "ask": "scale", "workload": workload, "replicas": replicas });
        stream.write_all(format!("{question}\n").as_bytes()).expect("asked");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        assert!(line.contains("accepted"), "{line}");
    }

    /// Names of what Docker has of this lab.
    fn things(&self) -> BTreeSet<String> {
        let owner = std::fs::read_to_string(self.bench.path().join("home/install-id")).expect("an owner");
        let filter = format!("label=lab.owner={}", owner.trim());
        let named = |args: &[&str]| stdout(&docker(&[args, &["--filter", &filter]].concat()));
        let all = [
            named(&["ps", "-a", "--format", "{{.Names}}"]),
            named(&["volume", "ls", "--format", "{{.Name}}"]),
            named(&["network", "ls", "--format", "{{.Name}}"]),
        ];
        all.concat().lines().map(ToOwned::to_owned).collect()
    }
}

impl Drop for Watched {
    /// A failed test leaves nothing behind either. The image that was packed for it goes, unless another test has it in use.
    fn drop(&mut self) {
        self.bench.run(&["down"]);
        let owner = std::fs::read_to_string(self.bench.path().join("home/install-id")).unwrap_or_default();
        let filter = format!("label=lab.image.owner={}", owner.trim());
        for image in stdout(&docker(&["image", "ls", "-q", "--filter", &filter])).lines() {
            docker(&["image", "rm", image]);
        }
    }
}

/// What the panels of the dashboard and its list of workloads ask.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(manifests().join("grafana/dashboards/lab.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let asked = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    asked.map(|target| target["expr"].as_str().expect("a query").replace("$workload", ".*")).collect()
}

#[test]
fn every_query_of_the_dashboard_and_every_rule_has_data_in_a_real_run() {
    let Some(image) = image("queries of the dashboard") else { return };
    let lab = Watched::up(&image);
    assert!(lab.said.contains("without Grafana") && lab.said.contains("LAB_IMAGE_GRAFANA"), "{}", lab.said);
    let listed = stdout(&lab.bench.run(&["status"]));
    let address = lab.address("backing", "monitoring.prometheus", "address");
    assert!(listed.contains("monitoring.prometheus: Prometheus "), "{listed}");
    assert!(address.starts_with("http://127.0.0.1:") && listed.contains(&address), "{listed}");

    lab.start_load();
    let rules = lab.rules();
    let recorded = rules.iter().filter(|rule| rule["type"] == "recording").map(|rule| {
        let quantile = rule["labels"]["quantile"].as_str().map(|quantile| format!("{{quantile=\"{quantile}\"}}"));
        format!("{}{}", rule["name"].as_str().expect("a name"), quantile.unwrap_or_default())
    });
    let mut open: BTreeSet<String> = recorded.chain(dashboard()).collect();
    assert!(open.len() > 40, "{open:?}");
    let answered = until(PATIENCE, || {
        lab.use_everything();
        open.retain(|query| !lab.has_data(query));
        open.is_empty().then_some(())
    });
    assert!(answered.is_some(), "without data: {open:?}");
    for rule in lab.rules() {
        assert_eq!(rule["health"], "ok", "{rule}");
        let is_of_a_sick_lab = rule["name"] == "LabDeadLetters" || rule["name"] == "LabNoReplica";
        assert!(!is_of_a_sick_lab || rule["state"] == "inactive", "{rule}");
    }

    follows_replicas(&lab);
    assert!(lab.things().iter().any(|name| name.ends_with("-prometheus")), "{:?}", lab.things());
    let down = lab.bench.run(&["down"]);
    assert_eq!(down.status.code(), Some(0), "{}", stderr(&down));
    assert_eq!(lab.things(), BTreeSet::new());
}

/// A replica that comes is scraped soon, one that goes no longer.
fn follows_replicas(lab: &Watched) {
    let before = lab.targets();
    let workloads: BTreeSet<&str> = before.keys().map(|(workload, _)| workload.as_str()).collect();
    assert_eq!(workloads, BTreeSet::from(["load-generator", "message-service", "user-service"]));
    assert!(before.values().all(|health| health == "up"), "{before:?}");
    lab.scale("user-service", 2);
    let grown = until(PATIENCE, || {
        let now = lab.targets();
        (now.len() == before.len() + 1 && now.values().all(|health| health == "up")).then_some(now)
    });
    assert!(grown.is_some(), "the new replica is not scraped: {:?}", lab.targets());
    let two = "workload:up:sum{workload=\"user-service\"} == 2";
    assert!(until(PATIENCE, || lab.has_data(two).then_some(())).is_some(), "two replicas are not counted");
    lab.scale("user-service", 1);
    let shrunk = until(PATIENCE, || (lab.targets() == before).then_some(()));
    assert!(shrunk.is_some(), "a replica that is gone is still scraped: {:?}", lab.targets());
}

#[test]
fn rules_are_right_by_their_own_tests() {
    let Some(image) = image("promtool's tests of the rules") else { return };
    let mount = format!("{}:/rules:ro", manifests().canonicalize().expect("the manifests").display());
    let promtool = ["run", "--rm", "--network", "none", "--entrypoint", "promtool", "-v", &mount, &image];
    for what in [
        &["check", "rules", "/rules/rules.yaml", "/rules/alerts.yaml"][..],
        &["test", "rules", "/rules/rules_test.yaml"],
    ] {
        let output = docker(&[&promtool[..], what].concat());
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn monitoring_of_processes_is_refused_with_what_to_change() {
    let bench = Bench::new();
    let up = bench.run(&["up", "--with", "monitoring"]);
    assert_eq!(up.status.code(), Some(2), "{}", stderr(&up));
    assert!(stderr(&up).contains("add --env docker"), "{}", stderr(&up));
    assert!(bench.run_dir().is_none(), "a run was begun");
}
