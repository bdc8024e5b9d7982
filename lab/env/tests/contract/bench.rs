//! What every test of an environment needs: a spec, the environment with its events, and waiting on a state with a deadline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab_core::event::Kind;
use lab_core::spec::Spec;
use lab_env::home::Home;
use lab_env::{Endpoints, Environment, EventSink, LocalConfig, LocalLimits, Seen};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Longest wait for anything; a slow machine makes a test slow, not red.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Everything announced so far.
#[derive(Debug, Clone)]
pub struct Events {
    all: Arc<Mutex<Vec<Kind>>>,
    count: watch::Receiver<usize>,
}

/// An environment under test.
pub struct Bench {
    pub environment: Arc<dyn Environment>,
    pub events: Events,
}

/// What the lab of this name is made of, and what it will announce.
pub fn lab(name: &str, exe: PathBuf, home: &Path, run_dir: PathBuf) -> (LocalConfig, Events) {
    let (events, seen) = Events::collect();
    let config = LocalConfig {
        exe,
        lab_name: name.to_owned(),
        run_id: format!("run-{name}"),
        run_dir,
        home: home.to_owned(),
        events,
        default_load: "{}".to_owned(),
        limits: LocalLimits::default(),
        endpoints: Endpoints::default(),
    };
    (config, seen)
}

/// No lab of the home has data or a token; what it keeps are its records, and `also`.
pub fn assert_nothing_left(home: &Home, also: &[&str]) {
    for lab in home.labs().unwrap() {
        let mut left: Vec<_> = std::fs::read_dir(lab.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.retain(|name| !["ledger.ndjson", "lock", "reaper.log"].iter().chain(also).any(|kept| kept == name));
        assert_eq!(left, [""; 0], "in {}", lab.name());
    }
}

/// A test that failed leaves nothing either.
#[allow(dead_code, reason = "not every test binary that has this file needs it")]
pub fn clean_after_a_failure(home: &Home) {
    if std::thread::panicking()
        && let Err(error) = lab_env::clean::clean(home)
    {
        eprintln!("not cleaned: {error}");
    }
}

impl Events {
    /// Collects from now on, until the sink is gone.
    pub fn collect() -> (EventSink, Self) {
        let (sink, mut seen) = mpsc::channel::<Seen>(16);
        let (tell, count) = watch::channel(0);
        let all = Arc::new(Mutex::new(Vec::new()));
        let events = Self { all: Arc::clone(&all), count };
        tokio::spawn(async move {
            while let Some(seen) = seen.recv().await {
                all.lock().unwrap().push(seen.kind);
                tell.send_modify(|count| *count += 1);
            }
        });
        (sink, events)
    }

    pub fn all(&self) -> Vec<Kind> {
        self.all.lock().unwrap().clone()
    }

    /// Position of the first event that fits, waiting for it.
    pub async fn position(&self, what: &str, fits: impl Fn(&Kind) -> bool) -> usize {
        let mut count = self.count.clone();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(at) = self.all().iter().position(&fits) {
                    return at;
                }
                count.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no event: {what}; all: {:#?}", self.all()))
    }
}

impl Bench {
    /// Up and every workload deployed.
    pub async fn bring_up(&self, spec: &Spec) {
        self.environment.up(spec).await.unwrap();
        for workload in spec.services.names() {
            self.environment.deploy(spec, workload).await.unwrap();
        }
    }

    /// Names of the ready replicas once there are so many.
    pub async fn ready(&self, workload: &str, replicas: usize) -> Vec<String> {
        let mut endpoints = self.environment.endpoints(workload).unwrap();
        let reached = endpoints.wait_for(|endpoints| endpoints.len() == replicas);
        let endpoints = timeout(PATIENCE, reached).await.expect("so many endpoints in time").unwrap().clone();
        endpoints.into_iter().map(|endpoint| endpoint.replica).collect()
    }
}

/// A spec as a user would write it.
pub fn spec(yaml: &str) -> Spec {
    let experiment = lab_core::spec::parse("test.yaml", yaml, &[], &|_| Err("no files".to_owned()));
    experiment.unwrap_or_else(|found| panic!("{found:?}")).spec
}
