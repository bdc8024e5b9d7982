//! What only the environment `docker` promises: its containers, and that nothing survives it.

#![expect(clippy::unwrap_used, reason = "functions shared by tests are tests too")]

#[path = "contract/bench.rs"]
mod bench;
#[path = "contract/docker.rs"]
mod docker;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench::{PATIENCE, spec};
use docker::{Ground, docker as command};
use lab_core::event::Kind;
use lab_core::fault::{FaultTarget, Injury};
use lab_core::spec::Spec;
use lab_env::clean;

const USERS: &str = "user-service";

fn users() -> Spec {
    spec("question: Does it hold?\nenvironment: docker\nservices: { user-service: { store: sqlite } }\n")
}

/// Waits for something outside that nothing announces.
async fn eventually(what: &str, limit: Duration, reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < limit, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended before, which is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A process that has the lab `held` up in Docker.
fn holder(ground: &Ground) -> Command {
    let file = ground.exe().with_file_name("spec.yaml");
    let yaml =
        "question: Does it hold?\nenvironment: docker\nservices: { user-service: { store: sqlite, replicas: 2 } }\n";
    std::fs::write(&file, yaml).unwrap();
    let mut command = Command::new(ground.exe());
    command
        .arg("hold")
        .arg("--home")
        .arg(ground.home().root())
        .arg("--name")
        .arg("held")
        .arg("--image")
        .arg(ground.image());
    command.arg("--runs").arg(ground.runs()).arg("--spec").arg(file);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_has_its_limits_no_rights_and_its_words_are_kept() {
    let Some(ground) = Ground::here().await else { return };
    let bench = ground.bench("limited");
    let spec = spec(
        "question: Is it limited?\nenvironment: docker\nservices: { user-service: { store: sqlite, resources: { cpu: 250m, memory: 64Mi } } }\n",
    );
    bench.bring_up(&spec).await;
    let owner = ground.home().owner().unwrap();
    let name = format!("lab-{}-limited-user-service-1", &owner[..8]);
    let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.ReadonlyRootfs}} \
                  {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}} {{len .HostConfig.PortBindings}} \
                  {{index .Config.Labels \"lab.run\"}} {{index .Config.Labels \"lab.role\"}}";
    let seen = command(&["inspect", "--format", format, &name]).unwrap();
    let limits = "250000000 67108864 67108864 true [ALL] [no-new-privileges] false 0 run-limited user-service";
    assert_eq!(seen, limits);
    let user = command(&["inspect", "--format", "{{.Config.User}}", &name]).unwrap();
    assert!(!user.is_empty() && !user.starts_with('0'), "never root: {user}");
    let environment = command(&["inspect", "--format", "{{.Config.Env}} {{.Config.Cmd}}", &name]).unwrap();
    let token = std::fs::read_to_string(ground.home().lab("limited").unwrap().mount().join("load-generator.token"));
    assert!(!environment.contains(&token.unwrap()), "a secret is in no command line and no variable");
    for (subject, grade) in [("cpu-limit", "Real"), ("memory-limit", "Real")] {
        let said = |k: &Kind| matches!(k, Kind::Fidelity { subject: s, grade: g, .. } if s == subject && format!("{g:?}") == grade);
        bench.events.position(subject, said).await;
    }
    let usage = bench.environment.observe(USERS).await.unwrap();
    assert!(usage[0].throttled_ns.is_some(), "{usage:?}");
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    let log = std::fs::read_to_string(ground.runs().join("logs/user-service-1.log")).unwrap();
    assert!(log.contains(r#"{"listening":"0.0.0.0:8080"}"#), "{log}");
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_replica_stands_still_until_it_is_resumed() {
    let Some(ground) = Ground::here().await else { return };
    let (bench, spec) = (ground.bench("paused"), users());
    bench.bring_up(&spec).await;
    let hit = bench.ready(USERS, 1).await;
    let target: FaultTarget = USERS.parse().unwrap();
    assert_eq!(bench.environment.fault(&target, Injury::Pause).await.unwrap(), hit);
    bench.ready(USERS, 0).await;
    let again = bench.environment.fault(&target, Injury::Kill).await.unwrap_err();
    assert!(again.to_string().contains("nothing of user-service"), "{again}");
    assert_eq!(bench.environment.fault(&target, Injury::Resume).await.unwrap(), hit);
    assert_eq!(bench.ready(USERS, 1).await, hit, "the same, not another");
    assert_eq!(bench.environment.fault(&target, Injury::Pause).await.unwrap(), hit);
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0], "a frozen one goes down too");
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_survives_the_death_of_its_lab_at_whatever_moment() {
    // From the first file over the network to containers that are just being made; the moment is the point.
    let deaths = [120, 350, 600, 900, 1400].map(|after| {
        tokio::spawn(async move {
            let Some(ground) = Ground::here().await else { return };
            let mut killed = Killed(holder(&ground).stdout(Stdio::null()).spawn().unwrap());
            tokio::time::sleep(Duration::from_millis(after)).await;
            killed.0.kill().and_then(|()| killed.0.wait()).unwrap();
            let lab = ground.home().lab("held").unwrap();
            eventually("nothing is left in Docker and in the ledger", Duration::from_secs(15), || {
                let owned = lab_env::ledger::Ledger::peek(&lab.ledger()).unwrap();
                owned.is_empty() && ground.things().is_empty() && lab_env::lease::holder(&lab).is_none()
            })
            .await;
            ground.assert_clean();
        })
    });
    for death in deaths {
        death.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_survives_a_lab_that_was_up_and_nothing_foreign_is_touched() {
    let Some(ground) = Ground::here().await else { return };
    let foreign = Foreign::make(&ground);
    let mut up = Killed(holder(&ground).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(up.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    assert_eq!(ground.things().len(), 4, "two replicas, a generator, a network: {:?}", ground.things());
    assert_eq!(clean::leftovers(&ground.home()).unwrap(), [], "what is up is left alone");
    up.0.kill().and_then(|()| up.0.wait()).unwrap();
    eventually("nothing is left in Docker", Duration::from_secs(15), || ground.things().is_empty()).await;
    foreign.assert_untouched();

    let owner = ground.home().owner().unwrap();
    let orphan = format!("lab-test-orphan-{}", std::process::id());
    let labels = [format!("lab.owner={owner}"), "lab.lab=gone".to_owned(), "lab.run=r".to_owned()];
    command(&["volume", "create", "--label", &labels[0], "--label", &labels[1], "--label", &labels[2], &orphan])
        .unwrap();
    let left = clean::leftovers(&ground.home()).unwrap();
    assert_eq!(left, [("gone".to_owned(), vec![format!("volume {orphan}")])]);
    let cleaned = clean::clean(&ground.home()).unwrap();
    assert_eq!(cleaned.iter().map(|c| (c.lab.as_str(), c.removed)).collect::<Vec<_>>(), [("gone", 1)]);
    assert_eq!(clean::clean(&ground.home()).unwrap(), []);
    foreign.assert_untouched();
    ground.assert_clean();
}

/// A container, a volume and a network of somebody whose owner id and lab look much like ours.
struct Foreign(String);

impl Foreign {
    fn make(ground: &Ground) -> Self {
        let owner = ground.home().owner().unwrap();
        let name = format!("lab-{}-held-foreign-{}", &owner[..8], std::process::id());
        let labels = [format!("lab.owner={owner}0"), "lab.lab=held".to_owned()];
        let labelled = |verb: &[&str]| {
            let labels = ["--label", &labels[0], "--label", &labels[1]];
            command(&[verb, &labels].concat()).map(drop)
        };
        labelled(&["volume", "create", &name]).unwrap();
        labelled(&["network", "create", &name]).unwrap();
        let made = Self(name);
        let run = ["create", "--name", &made.0, "--label", &labels[0], "--label", &labels[1], ground.image()];
        command(&run).unwrap();
        made
    }

    fn assert_untouched(&self) {
        for kind in ["container", "volume", "network"] {
            assert!(command(&[kind, "inspect", &self.0]).is_ok(), "the foreign {kind} is there");
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for remove in [&["rm", "--force", &self.0][..], &["volume", "rm", &self.0], &["network", "rm", &self.0]] {
            if let Err(error) = command(remove) {
                eprintln!("{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_docker_that_does_not_answer_is_told_within_seconds_and_leaves_nothing() {
    let Some(ground) = Ground::here().await else { return };
    let socket = ground.exe().with_file_name("silent.sock");
    let silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let begun = Instant::now();
    let mut held = holder(&ground);
    held.env("DOCKER_HOST", format!("unix://{}", socket.display())).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut held = Killed(held.spawn().unwrap());
    let mut words = String::new();
    held.0.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(!held.0.wait().unwrap().success());
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert!(words.contains("did not answer within 5s") && words.contains("docker version"), "{words}");
    drop(silent);
    ground.assert_clean();
}
