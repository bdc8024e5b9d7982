//! One workload: a task that owns its replicas, compares how many there are with how many are wanted, and announces all that happens.

mod member;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_core::control::{Endpoint, Targets};
use lab_core::event::Kind;
use reqwest::Client;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use self::member::{Backoff, Member};
pub(super) use self::member::{Failure, Running, Snapshot};
use super::Runner;
use super::command::Template;
use super::probe::Readiness;
use super::replica::{Order, Replica, Report};
use crate::{EventSink, GeneratorAddress, ReplicaPhase, Seen};

/// Between SIGTERM and SIGKILL when the whole lab goes: nobody sends requests any more.
const DOWN_LIMIT: Duration = Duration::from_secs(5);

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// How many.
    pub(super) replicas: u32,
    /// Why.
    pub(super) cause: String,
    /// Rises with each deploy.
    pub(super) deploy: u64,
    /// What replicas are started with; None before the first deploy.
    pub(super) template: Option<Arc<Template>>,
}

/// Deadlines of replicas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From a start until it says where it listens, and from a deploy until its replicas are ready.
    pub(crate) ready: Duration,
    /// Between SIGTERM and SIGKILL of one that is scaled away.
    pub(crate) drain: Duration,
}

/// Where the ready replicas are published.
#[derive(Debug)]
pub(super) struct Published {
    /// For anybody.
    pub(super) endpoints: watch::Sender<Vec<Endpoint>>,
    /// For the pusher, with versions.
    pub(super) lists: watch::Sender<Targets>,
    /// For those that drive load, when these replicas are generators: with their token.
    pub(super) generators: Option<(watch::Sender<Vec<GeneratorAddress>>, SecretString)>,
    /// Which of the lists generators have; None: nobody pushes this workload's, so each is in force at once.
    pub(super) in_force: Option<watch::Receiver<u64>>,
}

/// The task.
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// Who announces: `env.local`.
    pub(super) src: &'static str,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) limits: Limits,
    pub(super) http: Client,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) published: Published,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) events: EventSink,
    /// Removes all replicas and ends the task.
    pub(super) stop: CancellationToken,
}

struct State {
    workload: Workload,
    members: Vec<Member>,
    reports: mpsc::Sender<(String, Report)>,
    /// Number of the last replica that was made; numbers are not used twice.
    numbered: u32,
    /// What was last seen of what is wanted.
    wanted: Wanted,
    backoff: Backoff,
    failure: Option<Failure>,
}

impl Workload {
    /// Until `stop`, and then until all replicas are gone.
    pub(super) async fn run(self) {
        let (reports, mut inbox) = mpsc::channel(64);
        let (mut orders, stop) = (self.wanted.clone(), self.stop.clone());
        let (members, wanted, backoff) = (Vec::new(), Wanted::default(), Backoff::default());
        let mut state = State { workload: self, members, reports, numbered: 0, wanted, backoff, failure: None };
        // A deploy may have come before this task.
        orders.mark_changed();
        let mut stopping = false;
        while !(stopping && state.members.is_empty()) {
            // Before the look, so that a delay which ends during it is seen.
            let looked = Instant::now();
            if !stopping {
                state.reconcile().await;
            }
            let retry = state.backoff.until();
            tokio::select! {
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    state.remove(0, DOWN_LIMIT).await;
                }
                Ok(()) = orders.changed(), if !stopping => {
                    let wanted = orders.borrow_and_update().clone();
                    state.take(wanted).await;
                }
                Some((replica, report)) = inbox.recv() => state.hear(&replica, report).await,
                () = sleep_until(retry.into()), if retry > looked && !stopping => {}
            }
        }
    }
}

impl State {
    async fn take(&mut self, wanted: Wanted) {
        if wanted.deploy != self.wanted.deploy {
            self.backoff = Backoff::default();
            self.failure = None;
        }
        let (from, to) = (self.wanted.replicas, wanted.replicas);
        self.wanted = wanted;
        if from != to {
            self.scaled(from, self.wanted.cause.clone()).await;
        }
        self.publish();
    }

    /// One step towards what is wanted: removes all that is too much, makes all that is missing.
    async fn reconcile(&mut self) {
        let wanted = self.wanted.replicas as usize;
        let living = self.living();
        if living > wanted {
            self.remove(wanted, self.workload.limits.drain).await;
        }
        let Some(template) = self.wanted.template.clone().filter(|_| living < wanted) else {
            self.backoff.settled();
            return;
        };
        if self.backoff.until() <= Instant::now() {
            if self.backoff.settled() {
                self.scaled(u32::try_from(living).unwrap_or(u32::MAX), "replace".to_owned()).await;
            }
            for _ in living..wanted {
                self.make(Arc::clone(&template)).await;
            }
            self.publish();
        }
    }

    fn living(&self) -> usize {
        self.members.iter().filter(|member| member.phase != ReplicaPhase::Terminating).count()
    }

    async fn make(&mut self, template: Arc<Template>) {
        self.numbered += 1;
        let name = format!("{}-{}", self.workload.name, self.numbered);
        let (orders, taken) = watch::channel(Order::Run);
        let replica = Replica {
            name: name.clone(),
            runner: Arc::clone(&self.workload.runner),
            template,
            http: self.workload.http.clone(),
            announce_limit: self.workload.limits.ready,
            orders: taken,
            in_force: self.in_force(),
            token: self.workload.published.generators.as_ref().map(|(_, token)| token.clone()),
            reports: self.reports.clone(),
        };
        self.members.push(Member::new(name.clone(), orders));
        self.tell(Kind::ReplicaCreated { workload: self.name(), replica: name }).await;
        tokio::spawn(replica.run());
    }

    /// What the generators have; a workload without a pusher needs nobody's acknowledgement.
    fn in_force(&self) -> watch::Receiver<u64> {
        match &self.workload.published.in_force {
            Some(in_force) => in_force.clone(),
            None => watch::channel(u64::MAX).1,
        }
    }

    /// Removes the newest until `keep` are left: off the endpoint list first, then told to end once that list is in force.
    async fn remove(&mut self, keep: usize, limit: Duration) {
        let staying = self.members.iter().filter(|member| member.phase != ReplicaPhase::Terminating);
        let going: Vec<String> = staying.skip(keep).map(|member| member.name.clone()).collect();
        for name in &going {
            if let Some(member) = self.member(name) {
                member.phase = ReplicaPhase::Terminating;
                member.probed(false);
            }
        }
        let version = self.publish_endpoints().await;
        self.publish();
        for name in going {
            self.tell(Kind::ReplicaDraining { workload: self.name(), replica: name.clone() }).await;
            if let Some(member) = self.member(&name) {
                member.orders.send_replace(Order::Terminate { version, limit });
            }
        }
    }

    async fn hear(&mut self, replica: &str, report: Report) {
        let (workload, replica) = (self.name(), replica.to_owned());
        match report {
            Report::Started { grip, address } => {
                let Some(member) = self.member(&replica) else { return };
                let pid = grip.pid();
                member.started(grip, address.clone());
                self.tell(Kind::ReplicaStarted { workload, replica, address, pid }).await;
            }
            Report::Readiness(readiness) => self.probed(replica, readiness).await,
            Report::Ended { exit, tail } => self.ended(replica, exit, tail).await,
        }
        self.publish();
    }

    async fn probed(&mut self, replica: String, readiness: Readiness) {
        let workload = self.name();
        let Some(member) = self.member(&replica) else { return };
        // One that was told to end in the meantime is off the list and stays off.
        if member.phase != ReplicaPhase::Running {
            return;
        }
        match readiness {
            Readiness::NotYet => {}
            Readiness::Ready => {
                member.probed(true);
                self.backoff.ready();
                self.failure = None;
                self.tell(Kind::ReplicaReady { workload, replica }).await;
            }
            Readiness::Unready(reason) => {
                member.probed(false);
                self.tell(Kind::ReplicaUnready { workload, replica, reason }).await;
            }
        }
        self.publish_endpoints().await;
    }

    async fn ended(&mut self, replica: String, exit: String, tail: String) {
        let Some(at) = self.members.iter().position(|member| member.name == replica) else { return };
        let member = self.members.remove(at);
        let expected = member.phase == ReplicaPhase::Terminating;
        let workload = self.name();
        self.tell(Kind::ReplicaStopped { workload, replica: replica.clone(), exit: exit.clone(), expected }).await;
        if !expected {
            let pause = self.backoff.died(&member);
            if !member.was_ready() {
                let text = format!("{replica} ended with {exit} before it was ready; the next try is in {pause:?}");
                self.tell(Kind::Warning { text }).await;
            }
            if self.backoff.is_crash_loop() {
                self.failure = Some(Failure { replica, exit, tail });
            }
        }
        self.publish_endpoints().await;
    }

    fn member(&mut self, name: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.name == name)
    }

    /// Publishes the snapshot. After the endpoints: who learns from it that a replica is ready finds it there.
    fn publish(&self) {
        let (deploy, failure) = (self.wanted.deploy, self.failure.clone());
        let members = self.members.iter().map(Member::seen).collect();
        self.workload.snapshot.send_replace(Arc::new(Snapshot { deploy, members, failure }));
    }

    /// Publishes the ready replicas if they are others than before, and gives the version of the list that holds now.
    async fn publish_endpoints(&self) -> u64 {
        let endpoints: Vec<Endpoint> = self.members.iter().filter_map(Member::endpoint).collect();
        let published = &self.workload.published;
        let version = published.lists.borrow().version;
        if published.lists.borrow().endpoints == endpoints {
            return version;
        }
        let version = version + 1;
        published.lists.send_replace(Targets { version, endpoints: endpoints.clone() });
        published.endpoints.send_replace(endpoints.clone());
        if let Some((generators, token)) = &published.generators {
            generators.send_replace(endpoints.iter().map(|endpoint| generator(endpoint, token)).collect());
        }
        if published.in_force.is_none() {
            self.tell(Kind::EndpointsChanged { workload: self.name(), version, endpoints }).await;
        }
        version
    }

    async fn scaled(&self, from: u32, cause: String) {
        self.tell(Kind::Scaled { workload: self.name(), from, to: self.wanted.replicas, cause }).await;
    }

    async fn tell(&self, kind: Kind) {
        announce(&self.workload.events, self.workload.src, kind).await;
    }

    fn name(&self) -> String {
        self.workload.name.to_owned()
    }
}

fn generator(endpoint: &Endpoint, token: &SecretString) -> GeneratorAddress {
    let url = format!("http://{}", endpoint.address);
    GeneratorAddress { replica: endpoint.replica.clone(), url, token: token.clone() }
}

/// Hands an event to whoever listens.
pub(crate) async fn announce(events: &EventSink, src: &str, kind: Kind) {
    let seen = Seen { src: src.to_owned(), at: Some(Instant::now()), kind };
    if events.send(seen).await.is_err() {
        tracing::debug!("nobody listens to events any more");
    }
}
