//! What only the environment `local` promises: its processes, its files, and that nothing survives it.

#![expect(clippy::unwrap_used, reason = "functions shared by tests are tests too")]

#[path = "contract/bench.rs"]
mod bench;
#[path = "contract/local.rs"]
mod local;

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::{Bench, Events, PATIENCE, spec};
use lab_core::event::Kind;
use lab_core::spec::Spec;
use lab_env::home::Home;
use lab_env::ledger::Ledger;
use lab_env::proc::ProcessRef;
use lab_env::{EnvError, Environment as _, GeneratorClient, LocalEnvironment, LocalLimits, clean, proc, status};
use local::Ground;
use rustix::process::Signal;

const USERS: &str = "user-service";

fn users(replicas: u32, generators: u32) -> Spec {
    spec(&users_yaml(replicas, generators))
}

fn users_yaml(replicas: u32, generators: u32) -> String {
    format!(
        "question: Does it hold?\nenvironment: local\nservices:\n  user-service: {{ store: sqlite, replicas: {replicas} }}\n  \
         load-generator: {{ replicas: {generators} }}\n"
    )
}

fn bench_with(ground: &Ground, name: &str, limits: LocalLimits) -> Bench {
    let (config, events) = ground.config(name);
    Bench { environment: Arc::new(LocalEnvironment::new(lab_env::LocalConfig { limits, ..config }).unwrap()), events }
}

/// Waits for something outside that nothing announces.
async fn eventually(what: &str, reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn process_of(events: &Events, name: &str) -> ProcessRef {
    let started = |k: &Kind| matches!(k, Kind::ReplicaStarted { replica, .. } if replica == name);
    let at = events.position("it started", started).await;
    let Kind::ReplicaStarted { pid: Some(pid), .. } = events.all()[at] else { panic!("without a pid") };
    ProcessRef::of(pid).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_crashes_fails_with_the_last_words_and_may_be_tried_again() {
    let ground = Ground::new();
    let (bench, spec) = (ground.bench("crashes"), users(1, 1));
    bench.environment.up(&spec).await.unwrap();
    ground.misbehave(USERS, "crash");
    let error = bench.environment.deploy(&spec, USERS).await.unwrap_err();
    let EnvError::Crashed { replica, exit, tail } = &error else { panic!("{error}") };
    assert_eq!((replica.as_str(), exit.as_str()), ("user-service-2", "exit 1"));
    assert!(tail.contains("the database is on fire"), "{tail}");
    assert_eq!(bench.environment.wanted(USERS).await.unwrap(), 0);
    ground.misbehave(USERS, "");
    bench.environment.deploy(&spec, USERS).await.unwrap();
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_does_not_become_ready_fails_by_its_deadline() {
    for how in ["never-ready", "mute"] {
        let ground = Ground::new();
        let limits = LocalLimits { ready: Duration::from_millis(700), ..LocalLimits::default() };
        let (bench, spec) = (bench_with(&ground, "slow", limits), users(1, 1));
        bench.environment.up(&spec).await.unwrap();
        ground.misbehave(USERS, how);
        let error = bench.environment.deploy(&spec, USERS).await.unwrap_err();
        let EnvError::NotReady { replica, log, .. } = &error else { panic!("{how}: {error}") };
        assert_eq!(*log, ground.runs().join(format!("logs/{replica}.log")));
        assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
        ground.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ignores_sigterm_is_killed_after_its_drain() {
    let ground = Ground::new();
    let limits = LocalLimits { drain: Duration::from_millis(200), ..LocalLimits::default() };
    let (bench, spec) = (bench_with(&ground, "stubborn", limits), users(2, 1));
    ground.misbehave(USERS, "stubborn");
    bench.bring_up(&spec).await;
    let names = bench.ready(USERS, 2).await;
    bench.environment.scale(USERS, 1, "user").await.unwrap();
    let killed = |k: &Kind| matches!(k, Kind::ReplicaStopped { replica, exit, expected: true, .. } if *replica == names[1] && exit == "signal 9");
    bench.events.position("it is killed", killed).await;
    bench.environment.down().await.unwrap();
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_replica_holds_up_nothing() {
    let ground = Ground::new();
    let (bench, spec) = (ground.bench("stopped"), users(1, 2));
    bench.bring_up(&spec).await;
    let generators = bench.environment.generators().borrow().clone();
    let stopped = process_of(&bench.events, &generators[1].replica).await;
    assert!(stopped.signal(Signal::STOP).unwrap());
    bench.environment.scale(USERS, 2, "user").await.unwrap();
    let names = bench.ready(USERS, 2).await;
    let alive = GeneratorClient::new(&generators[0]).unwrap();
    let before = alive.status().await.unwrap().targets_version;
    let unready = |k: &Kind| matches!(k, Kind::ReplicaUnready { replica, .. } if *replica == generators[1].replica);
    bench.events.position("the stopped generator is not ready", unready).await;
    let both = |k: &Kind| matches!(k, Kind::EndpointsChanged { endpoints, .. } if endpoints.len() == names.len());
    bench.events.position("the list is in force without it", both).await;
    assert!(alive.status().await.unwrap().targets_version >= before.max(2), "the other got its list");
    let users = process_of(&bench.events, &names[0]).await;
    assert!(users.signal(Signal::STOP).unwrap());
    let begun = Instant::now();
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_replica_has_its_limit_and_says_how() {
    let ground = Ground::new();
    let bench = ground.bench("limited");
    let spec = spec(
        "question: Is it limited?\nenvironment: local\nservices: { user-service: { store: sqlite, resources: { cpu: 250m, memory: 64Mi } } }\n",
    );
    bench.bring_up(&spec).await;
    for what in ["cpu-limit", "memory-limit", "store sqlite"] {
        bench.events.position(what, |k| matches!(k, Kind::Fidelity { subject, .. } if subject == what)).await;
    }
    let usage = bench.environment.observe(USERS).await.unwrap();
    assert!(usage[0].throttled_ns.is_some(), "{usage:?}");
    let generator = bench.environment.observe("load-generator").await.unwrap();
    assert_eq!(generator[0].throttled_ns, None, "it has no limit");
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_is_in_no_command_line_and_no_environment() {
    let ground = Ground::new();
    let (bench, spec) = (ground.bench("secret"), users(1, 1));
    bench.bring_up(&spec).await;
    let file = ground.home().lab("secret").unwrap().mount().join("load-generator.token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400);
    let token = std::fs::read(&file).unwrap();
    assert_eq!(token.len(), 64);
    for pid in ground.survivors() {
        for part in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{part}")).unwrap();
            assert!(!text.windows(token.len()).any(|window| window == token), "{part} of {pid}");
        }
    }
    let mut stranger = bench.environment.generators().borrow()[0].clone();
    stranger.token = "guess".to_owned().into();
    let error = GeneratorClient::new(&stranger).unwrap().status().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "it answered 401: wrong token");
    bench.environment.down().await.unwrap();
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_foreign_is_touched() {
    let ground = Ground::new();
    let (bench, spec) = (ground.bench("mine"), users(1, 1));
    bench.bring_up(&spec).await;
    let owner = ground.home().owner().unwrap();
    let foreign = |owner: &str, lab: &str| {
        let mut command = Command::new("sleep");
        command.arg("600").env(proc::LAB_OWNER, owner).env(proc::LAB_NAME, lab).env(proc::LAB_RUN, "run-mine");
        Killed(command.spawn().unwrap())
    };
    let mut foreign = [foreign("somebody-else", "mine"), foreign(&format!("{owner}0"), "mine"), foreign("", "mine")];
    let orphan =
        Command::new("sleep").arg("600").env(proc::LAB_OWNER, &owner).env(proc::LAB_NAME, "gone").spawn().unwrap();
    let mut orphan = Killed(orphan);
    assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
    assert!(orphan.0.try_wait().unwrap().is_none(), "another lab's");
    let left = clean::leftovers(&ground.home()).unwrap();
    assert_eq!(left, [("gone".to_owned(), vec![format!("process {}", orphan.0.id())])]);
    let cleaned = clean::clean(&ground.home()).unwrap();
    assert_eq!(cleaned.iter().map(|c| (c.lab.as_str(), c.removed)).collect::<Vec<_>>(), [("gone", 1)]);
    assert!(orphan.0.wait().unwrap().code().is_none(), "ended by a signal");
    for foreign in &mut foreign {
        assert!(foreign.0.try_wait().unwrap().is_none(), "still runs");
    }
    ground.assert_clean();
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

/// A process that has the lab `held` up, and its reaper.
fn hold(ground: &Ground) -> (Killed, ProcessRef) {
    let file = ground.exe().with_file_name("spec.yaml");
    std::fs::write(&file, users_yaml(2, 1)).unwrap();
    let mut command = Command::new(ground.exe());
    command.arg("hold").arg("--home").arg(ground.home().root()).arg("--name").arg("held");
    command.arg("--runs").arg(ground.runs()).arg("--spec").arg(file).stdout(Stdio::piped());
    let mut holder = Killed(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(holder.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let reaper = reaper_of(&ground.home());
    (holder, reaper)
}

fn reaper_of(home: &Home) -> ProcessRef {
    let is_it = |pid: u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("\0__reap\0") && line.contains(home.root().to_str().unwrap())
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    ProcessRef::of(pids.into_iter().find(|pid| is_it(*pid)).expect("a reaper")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_survives_the_death_of_its_lab() {
    let ground = Ground::new();
    let (mut holder, reaper) = hold(&ground);
    assert_eq!(ground.survivors().len(), 3);
    let up = status::status(&ground.home()).unwrap();
    assert_eq!(
        up.iter().map(|lab| (lab.name.as_str(), lab.supervisor_pid)).collect::<Vec<_>>(),
        [("held", holder.0.id())]
    );
    for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
        assert!(reaper.signal(signal).unwrap());
    }
    let begun = Instant::now();
    holder.0.kill().unwrap();
    eventually("everything is gone", || ground.survivors().is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    eventually("the reaper has ended", || !reaper.is_alive()).await;
    let lab = ground.home().lab("held").unwrap();
    assert_eq!(Ledger::peek(&lab.ledger()).unwrap(), []);
    let log = std::fs::read_to_string(lab.reaper_log()).unwrap();
    assert!(log.contains("removed what was left"), "{log}");
    assert_eq!(status::status(&ground.home()).unwrap(), []);
    assert_eq!(clean::clean(&ground.home()).unwrap(), []);
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_of_coming_up_it_leaves_nothing() {
    let kills = (0_u64..6).map(|n| async move {
        let ground = Ground::new();
        let file = ground.exe().with_file_name("spec.yaml");
        std::fs::write(&file, users_yaml(2, 1)).unwrap();
        let mut command = Command::new(ground.exe());
        command.arg("hold").arg("--home").arg(ground.home().root()).arg("--name").arg("held");
        command.arg("--runs").arg(ground.runs()).arg("--spec").arg(file).stdout(Stdio::null());
        let mut holder = Killed(command.spawn().unwrap());
        // The moment is the point: from the first file to the last replica.
        tokio::time::sleep(Duration::from_millis(15 + 37 * n)).await;
        holder.0.kill().and_then(|()| holder.0.wait()).unwrap();
        eventually("everything is gone", || ground.survivors().is_empty()).await;
        let bench = ground.bench("held");
        bench.bring_up(&users(1, 1)).await;
        assert_eq!(bench.environment.down().await.unwrap().left, [""; 0]);
        ground.assert_clean();
    });
    let kills: Vec<_> = kills.map(tokio::spawn).collect();
    for kill in kills {
        kill.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_even_the_reaper_left_is_cleaned() {
    let ground = Ground::new();
    let (mut holder, reaper) = hold(&ground);
    assert!(reaper.signal(Signal::KILL).unwrap());
    assert_eq!(clean::leftovers(&ground.home()).unwrap(), []);
    assert_eq!(clean::clean(&ground.home()).unwrap(), [], "a living lab is left alone");
    holder.0.kill().and_then(|()| holder.0.wait()).unwrap();
    assert_eq!(ground.survivors().len(), 3);
    let left = clean::leftovers(&ground.home()).unwrap();
    assert_eq!((left.len(), left[0].0.as_str()), (1, "held"));
    let named = |thing: &str| left[0].1.iter().any(|name| name.ends_with(thing));
    assert!(
        ["process user-service-1", "process load-generator-1", "/data", "/mount"].iter().all(|t| named(t)),
        "{left:?}"
    );
    let cleaned = clean::clean(&ground.home()).unwrap();
    assert_eq!((cleaned.len(), cleaned[0].lab.as_str(), &cleaned[0].removal.left[..]), (1, "held", &[][..]));
    assert!(cleaned[0].removed >= 5, "{cleaned:?}");
    assert_eq!(clean::clean(&ground.home()).unwrap(), []);
    ground.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_missing_thing_is_found() {
    let ground = Ground::new();
    let (config, _events) = ground.config("check");
    let blocked = ground.exe().with_file_name("file");
    std::fs::write(&blocked, "").unwrap();
    let config = lab_env::LocalConfig { exe: ground.exe().join("nowhere"), home: blocked.join("home"), ..config };
    let spec = spec(
        "question: Is it enough?\nenvironment: local\nservices: { user-service: { store: sqlite, replicas: 3, resources: { cpu: 60 } } }\n",
    );
    let findings = LocalEnvironment::new(config).unwrap().check(&spec).await;
    let problems: Vec<_> = findings.iter().filter(|f| f.fatal).map(|f| f.problem.as_str()).collect();
    assert_eq!(problems.len(), 2, "{findings:?}");
    assert!(problems[0].contains("nowhere") && problems[1].contains("cannot make"), "{problems:?}");
    assert!(findings.iter().any(|f| !f.fatal && f.problem.contains("180 cores")), "{findings:?}");
    assert!(findings.iter().all(|f| !f.remedy.is_empty()));
}
