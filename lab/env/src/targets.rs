//! Endpoint lists on their way to the generators: every list to every ready generator, announced once it is in force. One task a
//! generator, so that one that hangs holds up no other.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use lab_core::control::Targets;
use lab_core::event::Kind;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{EventSink, GeneratorAddress, GeneratorClient, Seen};

/// A list that is not in force after so long is worth a warning.
const LATE: Duration = Duration::from_secs(3);
/// First and longest pause between two tries at one generator.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What a pusher needs.
#[derive(Debug)]
pub struct Pusher {
    /// The workload that the endpoints belong to.
    pub workload: String,
    /// Its lists, each with a higher version than the one before; version 0 is none yet.
    pub lists: watch::Receiver<Targets>,
    /// Who gets them.
    pub generators: watch::Receiver<Vec<GeneratorAddress>>,
    /// Where it is announced.
    pub events: EventSink,
    /// As whom.
    pub src: String,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Pusher {
    /// Starts pushing. The value is the highest version that every ready generator has acknowledged; without generators every list
    /// is in force at once.
    pub fn start(self) -> watch::Receiver<u64> {
        let (in_force, seen) = watch::channel(0);
        let (tell, heard) = mpsc::channel(64);
        let (out, _) = watch::channel(Targets { version: 0, endpoints: Vec::new() });
        let push = Push {
            pusher: self,
            feeders: HashMap::new(),
            pending: BTreeMap::new(),
            since: Instant::now(),
            warned: 0,
            out,
            in_force,
            tell,
        };
        tokio::spawn(push.run(heard));
        seen
    }
}

/// A generator's feeder and the version that it has.
struct Feeder {
    url: String,
    acknowledged: u64,
    _task: AbortOnDropHandle<()>,
}

struct Push {
    pusher: Pusher,
    feeders: HashMap<String, Feeder>,
    /// Lists that are not yet in force.
    pending: BTreeMap<u64, Targets>,
    /// When the newest of them came.
    since: Instant,
    /// The version that was last warned of.
    warned: u64,
    out: watch::Sender<Targets>,
    in_force: watch::Sender<u64>,
    tell: mpsc::Sender<(String, u64)>,
}

impl Push {
    async fn run(mut self, mut heard: mpsc::Receiver<(String, u64)>) {
        let stop = self.pusher.stop.clone();
        self.take_list();
        self.take_generators();
        loop {
            self.settle().await;
            let late = self.since + LATE;
            let waiting = self.pending.keys().next_back().is_some_and(|newest| *newest > self.warned);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.pusher.lists.changed() => match changed {
                    Ok(()) => self.take_list(),
                    Err(_) => return,
                },
                changed = self.pusher.generators.changed() => match changed {
                    Ok(()) => self.take_generators(),
                    Err(_) => return,
                },
                Some((replica, version)) = heard.recv() => {
                    if let Some(feeder) = self.feeders.get_mut(&replica) {
                        feeder.acknowledged = version;
                    }
                }
                () = sleep_until(late), if waiting => self.warn().await,
            }
        }
    }

    fn take_list(&mut self) {
        let list = self.pusher.lists.borrow_and_update().clone();
        if list.version > *self.in_force.borrow() && list.version > self.out.borrow().version {
            self.since = Instant::now();
            self.pending.insert(list.version, list.clone());
            self.out.send_replace(list);
        }
    }

    fn take_generators(&mut self) {
        let generators = self.pusher.generators.borrow_and_update().clone();
        self.feeders.retain(|replica, feeder| generators.iter().any(|g| g.replica == *replica && g.url == feeder.url));
        for generator in generators {
            if !self.feeders.contains_key(&generator.replica) {
                let task = tokio::spawn(feed(generator.clone(), self.out.subscribe(), self.tell.clone()));
                let feeder = Feeder { url: generator.url, acknowledged: 0, _task: AbortOnDropHandle::new(task) };
                self.feeders.insert(generator.replica, feeder);
            }
        }
    }

    /// Publishes and announces what every generator has.
    async fn settle(&mut self) {
        let newest = self.out.borrow().version;
        let reached = self.feeders.values().map(|feeder| feeder.acknowledged).min().unwrap_or(newest);
        self.in_force.send_if_modified(|version| std::mem::replace(version, reached) != reached);
        let later = self.pending.split_off(&(reached + 1));
        let now_in_force = std::mem::replace(&mut self.pending, later);
        for (version, Targets { endpoints, .. }) in now_in_force {
            self.announce(Kind::EndpointsChanged { workload: self.pusher.workload.clone(), version, endpoints }).await;
        }
    }

    async fn warn(&mut self) {
        let newest = self.out.borrow().version;
        self.warned = newest;
        let mut behind: Vec<&str> =
            self.feeders.iter().filter(|(_, f)| f.acknowledged < newest).map(|(replica, _)| replica.as_str()).collect();
        behind.sort_unstable();
        let text = format!("{} has not taken list {newest} of {}'s endpoints", behind.join(", "), self.pusher.workload);
        self.announce(Kind::Warning { text }).await;
    }

    async fn announce(&self, kind: Kind) {
        let seen = Seen { src: self.pusher.src.clone(), at: Some(std::time::Instant::now()), kind };
        if self.pusher.events.send(seen).await.is_err() {
            tracing::debug!("nobody listens to events any more");
        }
    }
}

/// Gives one generator the newest list until it has it, and then each further one.
async fn feed(generator: GeneratorAddress, mut lists: watch::Receiver<Targets>, tell: mpsc::Sender<(String, u64)>) {
    let client = match GeneratorClient::new(&generator) {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, generator = generator.replica, "cannot give it any targets"),
    };
    let mut pause = AGAIN.0;
    loop {
        let list = lists.borrow_and_update().clone();
        if list.version > 0 {
            match client.put_targets(&list).await {
                Ok(()) => {
                    pause = AGAIN.0;
                    if tell.send((generator.replica.clone(), list.version)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, generator = generator.replica, version = list.version, "targets not taken; trying again");
                    sleep(pause).await;
                    pause = AGAIN.1.min(pause * 2);
                    continue;
                }
            }
        }
        if lists.changed().await.is_err() {
            return;
        }
    }
}
