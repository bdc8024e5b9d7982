//! The replicas of one workload as they are seen, and what is announced of them. Pure: a pod that is seen, a pod that is gone and a number
//! that is wanted go in, events come out. Who watches and who acts stands in `watch`.

use std::time::Instant;

use lab_core::control::Endpoint;
use lab_core::event::Kind;

use super::sight::Sight;
use crate::{ReplicaPhase, ReplicaState};

/// The port of every service in its pod.
pub(super) const PORT: u16 = 8080;

/// One replica.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    /// Time and place in the order in which replicas were made.
    order: (i64, u64),
    phase: ReplicaPhase,
    ready: Option<bool>,
    ready_since: Option<Instant>,
    started: Option<Instant>,
    address: Option<String>,
    /// Its going is nobody's fault.
    expected: bool,
    /// The cluster says that it is ending, not only we.
    seen_ending: bool,
    /// As last seen.
    last: Sight,
}

/// A workload's replicas.
#[derive(Debug)]
pub(super) struct Crew {
    name: &'static str,
    wanted: u32,
    members: Vec<Member>,
    numbered: u64,
}

/// Why a replica does not come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) replica: String,
    pub(super) why: String,
}

impl Crew {
    /// Nobody yet, and nobody wanted.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, wanted: 0, members: Vec::new(), numbered: 0 }
    }

    /// So many are wanted from now on. Gives what is to be told and who is to go, the newest first to go.
    pub(super) fn want(&mut self, replicas: u32, cause: &str) -> (Vec<Kind>, Vec<String>) {
        let mut told = Vec::new();
        if replicas != self.wanted {
            told.push(self.scaled(self.wanted, replicas, cause));
        }
        self.wanted = replicas;
        let surplus = self.living().saturating_sub(replicas as usize);
        let mut going: Vec<usize> =
            (0..self.members.len()).filter(|at| self.members[*at].phase != ReplicaPhase::Terminating).collect();
        // As Kubernetes chooses: who is not ready goes before who is.
        going.sort_by_key(|at| (self.members[*at].ready == Some(true), std::cmp::Reverse(*at)));
        going.truncate(surplus);
        let mut names = Vec::new();
        for at in going {
            let member = &mut self.members[at];
            member.expected = true;
            names.push(member.name.clone());
            told.extend(member.drain(self.name));
        }
        (told, names)
    }

    /// A pod as it is now.
    pub(super) fn see(&mut self, sight: &Sight, now: Instant) -> Vec<Kind> {
        let mut told = Vec::new();
        let at = match self.position(&sight.name) {
            Some(at) => at,
            // One that was ending before anybody looked is of an earlier life of this workload.
            None if sight.terminating => return told,
            None => {
                self.numbered += 1;
                self.members.push(Member::new(sight, self.numbered));
                self.members.sort_by_key(|member| member.order);
                told.push(Kind::ReplicaCreated { workload: self.name.to_owned(), replica: sight.name.clone() });
                let Some(at) = self.position(&sight.name) else { return told };
                at
            }
        };
        let others = self.living() - usize::from(self.members[at].phase != ReplicaPhase::Terminating);
        let enough = others + self.chosen() >= self.wanted as usize;
        let name = self.name;
        let member = &mut self.members[at];
        let was = std::mem::replace(&mut member.last, sight.clone());
        told.extend(member.start(name, sight, now));
        let (waits, waited) = (sight.obstacle(), was.obstacle());
        if let Some((reason, words)) = waits.filter(|_| waits.map(|w| &w.0) != waited.map(|w| &w.0)) {
            let text = format!("{} waits: {reason}: {words}", sight.name);
            told.push(Kind::Warning { text });
        }
        if sight.terminating || sight.failed {
            member.seen_ending = true;
            if member.phase != ReplicaPhase::Terminating {
                member.expected = enough && !sight.failed;
                // One that is killed finishes nothing.
                told.extend(member.drain(name).filter(|_| !sight.killed));
            }
            return told;
        }
        if member.phase != ReplicaPhase::Terminating {
            told.extend(member.probe(name, sight, &was, now));
        }
        told
    }

    /// A pod that is not there any more.
    pub(super) fn gone(&mut self, replica: &str, last: Option<&Sight>, now: Instant) -> Vec<Kind> {
        let Some(at) = self.position(replica) else { return Vec::new() };
        let member = self.members.remove(at);
        let enough = self.living() + self.chosen() >= self.wanted as usize;
        let expected = if member.phase == ReplicaPhase::Terminating { member.expected } else { enough };
        let exit = last.and_then(|last| last.exit.clone()).or(member.last.exit);
        let exit = exit.unwrap_or_else(|| if expected { "deleted" } else { "killed" }.to_owned());
        let (workload, replica) = (self.name.to_owned(), replica.to_owned());
        let mut told = vec![Kind::ReplicaStopped { workload, replica, exit, expected }];
        if !expected && self.wanted > 0 {
            // The one in its place may be there already.
            let living = u32::try_from(self.living()).unwrap_or(u32::MAX);
            told.push(self.scaled(living.min(self.wanted - 1), self.wanted, "replace"));
        }
        told.extend(self.revive(now));
        told
    }

    /// The cluster may have taken another than the one that was chosen here; then that one stays.
    fn revive(&mut self, now: Instant) -> Vec<Kind> {
        let pods = self.members.iter().filter(|member| !member.seen_ending).count();
        let mut missing = (self.wanted as usize).min(pods).saturating_sub(self.living());
        let mut told = Vec::new();
        for member in &mut self.members {
            if missing > 0 && member.phase == ReplicaPhase::Terminating && !member.seen_ending {
                missing -= 1;
                member.expected = false;
                member.phase = if member.started.is_some() { ReplicaPhase::Running } else { ReplicaPhase::Pending };
                let (last, before) = (member.last.clone(), Sight::default());
                told.extend(member.probe(self.name, &last, &before, now));
            }
        }
        told
    }

    /// Names of all that are not gone.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// So many are wanted.
    pub(super) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Those that are ready, the oldest first, where pods reach them.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let ready = self.members.iter().filter(|member| member.ready == Some(true));
        let at = |member: &Member| Some(Endpoint { replica: member.name.clone(), address: member.address.clone()? });
        ready.filter_map(at).collect()
    }

    /// Every replica that is not gone, the oldest first.
    pub(super) fn states(&self) -> Vec<ReplicaState> {
        let state = |member: &Member| ReplicaState {
            replica: member.name.clone(),
            phase: member.phase,
            ready: member.ready,
            ready_since: member.ready_since,
            started: member.started,
        };
        self.members.iter().map(state).collect()
    }

    /// The first that will not come up by waiting.
    pub(super) fn stuck(&self) -> Option<Stuck> {
        self.members.iter().find_map(|member| {
            let why = member.last.hopeless().filter(|_| member.ready != Some(true))?;
            Some(Stuck { replica: member.name.clone(), why })
        })
    }

    fn living(&self) -> usize {
        self.members.iter().filter(|member| member.phase != ReplicaPhase::Terminating).count()
    }

    /// Those that were chosen to go and of which the cluster has not said yet that they do.
    fn chosen(&self) -> usize {
        let chosen = |member: &&Member| member.phase == ReplicaPhase::Terminating && !member.seen_ending;
        self.members.iter().filter(chosen).count()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }

    fn scaled(&self, from: u32, to: u32, cause: &str) -> Kind {
        Kind::Scaled { workload: self.name.to_owned(), from, to, cause: cause.to_owned() }
    }
}

impl Member {
    fn new(sight: &Sight, number: u64) -> Self {
        Self {
            name: sight.name.clone(),
            order: (sight.created, number),
            phase: ReplicaPhase::Pending,
            ready: None,
            ready_since: None,
            started: None,
            address: None,
            expected: false,
            seen_ending: false,
            last: Sight::default(),
        }
    }

    /// Its container runs for the first time.
    fn start(&mut self, workload: &str, sight: &Sight, now: Instant) -> Option<Kind> {
        let ip = sight.ip.as_ref().filter(|_| sight.running && self.started.is_none())?;
        self.started = Some(now);
        if self.phase == ReplicaPhase::Pending {
            self.phase = ReplicaPhase::Running;
        }
        let address = if ip.contains(':') { format!("[{ip}]:{PORT}") } else { format!("{ip}:{PORT}") };
        self.address = Some(address.clone());
        Some(Kind::ReplicaStarted { workload: workload.to_owned(), replica: self.name.clone(), address, pid: None })
    }

    /// Its probe says something else than before.
    fn probe(&mut self, workload: &str, sight: &Sight, was: &Sight, now: Instant) -> Option<Kind> {
        let ready = sight.ready == Some(true) && self.address.is_some();
        if self.started.is_none() || self.ready == Some(ready) {
            return None;
        }
        let was_ready = self.ready == Some(true);
        self.ready = Some(ready);
        self.ready_since = Some(now);
        let (workload, replica) = (workload.to_owned(), self.name.clone());
        match (ready, was_ready) {
            (true, _) => Some(Kind::ReplicaReady { workload, replica }),
            (false, false) => None,
            (false, true) => {
                let again = sight.restarts > was.restarts;
                let exit = sight.exit.as_deref().unwrap_or("an unknown end");
                let reason = if again { format!("its container ended with {exit}") } else { sight.reason.clone() };
                Some(Kind::ReplicaUnready { workload, replica, reason })
            }
        }
    }

    fn drain(&mut self, workload: &str) -> Option<Kind> {
        self.phase = ReplicaPhase::Terminating;
        if self.ready == Some(true) {
            self.ready = Some(false);
        }
        Some(Kind::ReplicaDraining { workload: workload.to_owned(), replica: self.name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(name: &str, created: i64, ready: bool) -> Sight {
        Sight {
            name: name.to_owned(),
            workload: "user-service".to_owned(),
            created,
            ip: Some(format!("10.0.0.{created}")),
            running: true,
            ready: Some(ready),
            ..Sight::default()
        }
    }

    fn words(told: &[Kind]) -> Vec<String> {
        let word = |kind: &Kind| match kind {
            Kind::Scaled { from, to, cause, .. } => format!("{cause} {from}-{to}"),
            Kind::ReplicaCreated { replica, .. } => format!("created {replica}"),
            Kind::ReplicaStarted { replica, address, .. } => format!("started {replica} {address}"),
            Kind::ReplicaReady { replica, .. } => format!("ready {replica}"),
            Kind::ReplicaUnready { replica, reason, .. } => format!("unready {replica}: {reason}"),
            Kind::ReplicaDraining { replica, .. } => format!("draining {replica}"),
            Kind::ReplicaStopped { replica, exit, expected, .. } => format!("stopped {replica} {exit} {expected}"),
            other => format!("{other:?}"),
        };
        told.iter().map(word).collect()
    }

    fn three() -> Crew {
        let mut crew = Crew::new("user-service");
        crew.want(3, "deploy");
        for n in 1..=3 {
            crew.see(&sight(&format!("p{n}"), n, true), Instant::now());
        }
        crew
    }

    #[test]
    fn a_life_is_told_in_its_order() {
        let (mut crew, now) = (Crew::new("user-service"), Instant::now());
        assert_eq!(words(&crew.want(1, "deploy").0), ["deploy 0-1"]);
        let made = Sight { running: false, ip: None, ready: None, ..sight("p1", 1, false) };
        assert_eq!(words(&crew.see(&made, now)), ["created p1"]);
        assert_eq!(words(&crew.see(&sight("p1", 1, false), now)), ["started p1 10.0.0.1:8080"]);
        assert_eq!(words(&crew.see(&sight("p1", 1, true), now)), ["ready p1"]);
        assert_eq!(words(&crew.see(&sight("p1", 1, true), now)), [""; 0]);
        assert_eq!(crew.endpoints()[0].address, "10.0.0.1:8080");
        let again = Sight { restarts: 1, exit: Some("exit 3".to_owned()), ..sight("p1", 1, false) };
        assert_eq!(words(&crew.see(&again, now)), ["unready p1: its container ended with exit 3"]);
        assert_eq!(crew.endpoints(), []);
    }

    #[test]
    fn the_newest_go_first_and_are_expected_to() {
        let mut crew = three();
        let (told, going) = crew.want(1, "autoscaler");
        assert_eq!(going, ["p3", "p2"]);
        assert_eq!(words(&told), ["autoscaler 3-1", "draining p3", "draining p2"]);
        assert_eq!(crew.endpoints().len(), 1);
        let ending = Sight { terminating: true, ..sight("p3", 3, true) };
        assert_eq!(words(&crew.see(&ending, Instant::now())), [""; 0], "told already");
        let ended = Sight { exit: Some("exit 0".to_owned()), ..ending };
        assert_eq!(words(&crew.gone("p3", Some(&ended), Instant::now())), ["stopped p3 exit 0 true"]);
    }

    #[test]
    fn one_that_is_not_ready_goes_before_a_newer_one_that_is() {
        let mut crew = three();
        crew.see(&sight("p1", 1, false), Instant::now());
        assert_eq!(crew.want(2, "user").1, ["p1"]);
    }

    #[test]
    fn who_dies_is_replaced() {
        let mut crew = three();
        assert_eq!(words(&crew.gone("p2", None, Instant::now())), ["stopped p2 killed false", "replace 2-3"]);
        let evicted = Sight { terminating: true, ..sight("p1", 1, true) };
        assert_eq!(words(&crew.see(&evicted, Instant::now())), ["draining p1"]);
        let gone = words(&crew.gone("p1", Some(&evicted), Instant::now()));
        assert_eq!(gone, ["stopped p1 killed false", "replace 1-3"]);
        let killed = Sight { killed: true, terminating: true, ..sight("p3", 3, true) };
        assert_eq!(words(&crew.see(&killed, Instant::now())), [""; 0], "it finishes nothing");
        assert_eq!(crew.endpoints(), []);
    }

    #[test]
    fn one_that_the_cluster_kept_stays() {
        let mut crew = three();
        assert_eq!(crew.want(2, "user").1, ["p3"]);
        let other = Sight { terminating: true, ..sight("p1", 1, true) };
        crew.see(&other, Instant::now());
        let told = words(&crew.gone("p1", Some(&other), Instant::now()));
        assert_eq!(told, ["stopped p1 deleted true", "ready p3"]);
        assert_eq!(crew.endpoints().iter().map(|e| e.replica.as_str()).collect::<Vec<_>>(), ["p2", "p3"]);
    }

    #[test]
    fn who_will_not_come_up_is_named() {
        let mut crew = Crew::new("user-service");
        crew.want(1, "deploy");
        let waiting = Some(("ImagePullBackOff".to_owned(), "no such image".to_owned()));
        crew.see(&Sight { running: false, ready: Some(false), waiting, ..sight("p1", 1, false) }, Instant::now());
        assert_eq!(crew.stuck().unwrap().why, "ImagePullBackOff: no such image");
        let full = Some(("Unschedulable".to_owned(), "1 Insufficient cpu".to_owned()));
        let full = Sight { running: false, ready: None, waiting: full, ..sight("p2", 2, false) };
        let told = crew.see(&full, Instant::now());
        assert!(
            matches!(&told[1], Kind::Warning { text } if text == "p2 waits: Unschedulable: 1 Insufficient cpu"),
            "{told:?}"
        );
        assert_eq!(crew.see(&full, Instant::now()), [], "once");
    }
}
