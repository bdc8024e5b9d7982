//! What only the environment `kubernetes` promises: its namespace is its own, what does not come up says why, and nothing survives it.

#![expect(clippy::unwrap_used, reason = "functions shared by tests are tests too")]

#[path = "contract/bench.rs"]
mod bench;
#[path = "contract/kubernetes.rs"]
mod kubernetes;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench::spec;
use kubernetes::Ground;
use lab_core::event::Kind;
use lab_core::spec::Spec;
use lab_env::EnvError;

const USERS: &str = "user-service";

fn users() -> Spec {
    spec("question: Does it hold?\nenvironment: kubernetes\nservices: { user-service: { store: memory } }\n")
}

/// Waits for something outside that nothing announces.
async fn eventually(what: &str, limit: Duration, reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < limit, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// A process that has the lab `held` up in the cluster, and does not outlive its test.
struct Holder(Child);

impl Holder {
    fn start(ground: &Ground) -> Self {
        let file = ground.exe().with_file_name("spec.yaml");
        let yaml = "question: Does it hold?\nenvironment: kubernetes\nservices: { user-service: { store: sqlite, replicas: 2 } }\n";
        std::fs::write(&file, yaml).unwrap();
        let mut command = Command::new(ground.exe());
        command.arg("hold").arg("--home").arg(ground.home().root()).args(["--name", "held"]);
        command.args(["--image", ground.image(), "--context", ground.context()]);
        command.arg("--runs").arg(ground.runs()).arg("--spec").arg(file);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        // It may have ended before, which is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_has_its_limits_no_rights_and_its_words_are_kept() {
    let Some(ground) = Ground::here().await else { return };
    let bench = ground.bench("limited");
    let spec = spec(
        "question: Is it limited?\nenvironment: kubernetes\nservices: { user-service: { store: memory, resources: { cpu: 250m, memory: 64Mi } } }\n",
    );
    bench.bring_up(&spec).await;
    let replica = bench.ready(USERS, 1).await.remove(0);
    let of_container = |path: &str| {
        let path = format!("jsonpath={{.spec.containers[0].{path}}}");
        ground.kubectl(&["-n", "lab-limited", "get", "pod", &replica, "-o", &path]).unwrap()
    };
    assert_eq!(of_container("resources.limits.cpu"), "250m");
    assert_eq!(of_container("resources.requests.memory"), "67108864");
    assert_eq!(of_container("securityContext.readOnlyRootFilesystem"), "true");
    let token = ground.kubectl(&[
        "-n",
        "lab-limited",
        "get",
        "pod",
        &replica,
        "-o",
        "jsonpath={.spec.automountServiceAccountToken}",
    ]);
    assert_eq!(token.unwrap(), "false");
    let run =
        ground.kubectl(&["-n", "lab-limited", "get", "pod", &replica, "-o", "jsonpath={.metadata.labels.lab\\.run}"]);
    assert_eq!(run.unwrap(), "run-limited");
    let version = |kind: &Kind| matches!(kind, Kind::Fidelity { subject, note, .. } if subject == "cluster" && note.contains("Kubernetes v1."));
    bench.events.position("the cluster's version", version).await;
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    let log = std::fs::read_to_string(ground.runs().join(format!("logs/{replica}.log"))).unwrap();
    assert!(log.contains(r#"{"listening":"0.0.0.0:8080"}"#), "{log}");
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_survives_the_death_of_its_lab_at_whatever_moment() {
    let Some(ground) = Ground::here().await else { return };
    // From before the namespace over pods that are just being made to a lab that is up; the moment is the point.
    for after in [150, 400, 700, 1200, 2500, 9000] {
        let mut holder = Holder::start(&ground);
        tokio::time::sleep(Duration::from_millis(after)).await;
        holder.kill();
        eventually("all of it is gone", Duration::from_secs(90), || {
            let ledger = ground.home().lab("held").unwrap().ledger();
            let owned = lab_env::ledger::Ledger::peek(&ledger).unwrap_or_default();
            owned.is_empty() && ground.things().is_empty()
        })
        .await;
    }
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_of_somebody_else_is_found_and_left_alone() {
    let Some(ground) = Ground::here().await else { return };
    ground.kubectl(&["create", "namespace", "lab-foreign"]).unwrap();
    let (bench, spec) = (ground.bench("foreign"), users());
    let found = bench.environment.check(&spec).await;
    let refused = bench.environment.up(&spec).await;
    let left = bench.environment.down().await.unwrap().left;
    let there = ground.kubectl(&["get", "namespace", "lab-foreign", "-o", "name"]);
    ground.kubectl(&["delete", "namespace", "lab-foreign", "--wait=false"]).unwrap();
    assert!(
        found.iter().any(|found| found.fatal && found.problem.contains("lab-foreign is there already")),
        "{found:?}"
    );
    assert!(matches!(refused, Err(EnvError::NoCluster { .. })), "{refused:?}");
    assert_eq!(left, [""; 0]);
    assert_eq!(there.unwrap(), "namespace/lab-foreign");
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_come_up_says_why() {
    let Some(ground) = Ground::here().await else { return };
    let (bench, spec) = (ground.bench_of("stuck", "lab-no-such-image:1"), users());
    bench.environment.up(&spec).await.unwrap();
    let begun = Instant::now();
    let error = bench.environment.deploy(&spec, USERS).await.unwrap_err().to_string();
    assert!(error.contains("lab-no-such-image:1") && error.contains("did not become ready"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60), "told as soon as it is known: {:?}", begun.elapsed());
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    ground.assert_clean();
}
