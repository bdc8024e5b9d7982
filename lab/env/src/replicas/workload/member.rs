//! What a workload knows of its replicas, what of that others may see, and how long it waits after one died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_core::control::Endpoint;
use tokio::sync::watch;

use crate::replicas::Grip;
use crate::replicas::replica::Order;
use crate::{ReplicaPhase, ReplicaState};

/// First and longest pause before a replica that died young is replaced.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// One that has lived so long is replaced at once.
const GROWN_UP: Duration = Duration::from_secs(10);
/// Deaths in a row before readiness that make a deploy fail.
const CRASH_LOOP: u32 = 2;

/// One replica, as its workload knows it.
#[derive(Debug)]
pub(in crate::replicas) struct Member {
    pub(in crate::replicas) name: String,
    pub(in crate::replicas) phase: ReplicaPhase,
    pub(in crate::replicas) orders: watch::Sender<Order>,
    created: Instant,
    was_ready: bool,
    ready: Option<bool>,
    ready_since: Option<Instant>,
    running: Option<Running>,
}

/// What is known once it runs.
#[derive(Debug, Clone)]
pub(in crate::replicas) struct Running {
    pub(in crate::replicas) grip: Arc<dyn Grip>,
    pub(in crate::replicas) since: Instant,
    address: String,
}

/// What others may see of a workload.
#[derive(Debug, Default)]
pub(in crate::replicas) struct Snapshot {
    /// The deploy that this follows.
    pub(in crate::replicas) deploy: u64,
    /// Every replica that is not gone.
    pub(in crate::replicas) members: Vec<(ReplicaState, Option<Running>)>,
    /// Set while replicas die before they are ready.
    pub(in crate::replicas) failure: Option<Failure>,
}

/// Why no replica comes up.
#[derive(Debug, Clone)]
pub(in crate::replicas) struct Failure {
    pub(in crate::replicas) replica: String,
    pub(in crate::replicas) exit: String,
    pub(in crate::replicas) tail: String,
}

impl Member {
    pub(super) fn new(name: String, orders: watch::Sender<Order>) -> Self {
        let phase = ReplicaPhase::Pending;
        Self {
            name,
            phase,
            orders,
            created: Instant::now(),
            was_ready: false,
            ready: None,
            ready_since: None,
            running: None,
        }
    }

    pub(super) fn started(&mut self, grip: Arc<dyn Grip>, address: String) {
        if self.phase == ReplicaPhase::Pending {
            self.phase = ReplicaPhase::Running;
        }
        self.running = Some(Running { grip, address, since: Instant::now() });
    }

    pub(super) fn probed(&mut self, ready: bool) {
        self.was_ready |= ready;
        if self.ready != Some(ready) {
            self.ready = Some(ready);
            self.ready_since = Some(Instant::now());
        }
    }

    pub(super) fn was_ready(&self) -> bool {
        self.was_ready
    }

    /// None while it is not ready.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        let running = self.running.as_ref().filter(|_| self.ready == Some(true))?;
        Some(Endpoint { replica: self.name.clone(), address: running.address.clone() })
    }

    pub(super) fn seen(&self) -> (ReplicaState, Option<Running>) {
        let state = ReplicaState {
            replica: self.name.clone(),
            phase: self.phase,
            ready: self.ready,
            ready_since: self.ready_since,
            started: self.running.as_ref().map(|running| running.since),
        };
        (state, self.running.clone())
    }
}

impl Snapshot {
    /// How many replicas are ready.
    pub(in crate::replicas) fn ready(&self) -> usize {
        self.members.iter().filter(|(state, _)| state.ready == Some(true)).count()
    }
}

/// When the dead are replaced.
#[derive(Debug)]
pub(super) struct Backoff {
    /// Young deaths in a row.
    young: u32,
    /// Deaths before readiness in a row.
    unready: u32,
    /// One died and has not been replaced.
    owing: bool,
    until: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { young: 0, unready: 0, owing: false, until: Instant::now() }
    }
}

impl Backoff {
    /// Takes note of a death and gives the pause until the replacement.
    pub(super) fn died(&mut self, member: &Member) -> Duration {
        self.owing = true;
        self.unready = if member.was_ready { 0 } else { self.unready + 1 };
        if member.was_ready && member.created.elapsed() >= GROWN_UP {
            self.young = 0;
            return Duration::ZERO;
        }
        let pause = PAUSE.1.min(PAUSE.0 * 2_u32.saturating_pow(self.young.min(16)));
        self.young += 1;
        self.until = self.until.max(Instant::now() + pause);
        pause
    }

    /// Takes note that a replica became ready.
    pub(super) fn ready(&mut self) {
        self.unready = 0;
    }

    /// No replica is made before.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Takes note that there are as many as wanted, or will be at once. True: one had died.
    pub(super) fn settled(&mut self) -> bool {
        std::mem::take(&mut self.owing)
    }

    /// Replicas die before they are ready, one after the other.
    pub(super) fn is_crash_loop(&self) -> bool {
        self.unready >= CRASH_LOOP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(was_ready: bool, age: Duration) -> Member {
        let mut member = Member::new("user-service-1".to_owned(), watch::channel(Order::Run).0);
        member.created = Instant::now().checked_sub(age).unwrap();
        member.was_ready = was_ready;
        member
    }

    #[test]
    fn young_deaths_wait_longer_each_time_and_old_age_none() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..7).map(|_| backoff.died(&member(true, Duration::ZERO)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.died(&member(true, GROWN_UP)), Duration::ZERO);
        assert_eq!(backoff.died(&member(true, Duration::ZERO)).as_secs(), 1, "forgotten");
        assert!(!backoff.is_crash_loop());
    }

    #[test]
    fn two_deaths_before_readiness_in_a_row_are_a_crash_loop() {
        let mut backoff = Backoff::default();
        backoff.died(&member(false, Duration::ZERO));
        backoff.ready();
        backoff.died(&member(false, Duration::ZERO));
        assert!(!backoff.is_crash_loop());
        backoff.died(&member(false, GROWN_UP));
        assert!(backoff.is_crash_loop());
        assert!(backoff.settled() && !backoff.settled());
    }
}
