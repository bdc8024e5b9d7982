//! What phases do besides offering load. They set replicas, and break on purpose: each act at its time, and what lasts is undone, at the
//! latest when the load is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lab_core::event::Kind;
use lab_core::fault::{FaultTarget, Injury};
use lab_core::spec::Phase;
use lab_core::unit::{RunTime, Span};
use lab_env::{Environment, EventSink};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::RunClock;
use crate::error::{RunError, chain};
use crate::trial::tell;

/// Longest wait for one act.
const ACT: Duration = Duration::from_secs(15);

/// The phase under way: its index in the spec and when it began; None before the first and after the last.
pub type Under = Option<(usize, RunTime)>;

/// One thing to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Act {
    target: FaultTarget,
    injury: Injury,
    /// It undoes what was done before: it outlives its phase.
    undoes: bool,
}

/// What is to be done, by time; a time may have several acts.
#[derive(Debug, Default)]
struct Due(BTreeMap<RunTime, Vec<Act>>);

impl Due {
    /// Another phase is under way, since then: what was not yet broken stays whole, what is broken is mended in its time.
    fn enter(&mut self, phase: Option<(&Phase, RunTime)>) {
        for acts in self.0.values_mut() {
            acts.retain(|act| act.undoes);
        }
        self.0.retain(|_, acts| !acts.is_empty());
        let Some((phase, from)) = phase else { return };
        for fault in &phase.faults {
            let (target, (injury, undo)) = (fault.target(), fault.injuries());
            for at in fault.times(phase.length).map(|at| from.plus(at)) {
                self.push(at, Act { target, injury, undoes: false });
                if let (Some(injury), Some(length)) = (undo, fault.length) {
                    self.push(at.plus(length), Act { target, injury, undoes: true });
                }
            }
        }
    }

    fn push(&mut self, at: RunTime, act: Act) {
        self.0.entry(at).or_default().push(act);
    }

    /// When there is something to do next.
    fn next(&self) -> Option<RunTime> {
        self.0.first_key_value().map(|(at, _)| *at)
    }

    /// What is to be done then.
    fn take(&mut self) -> Vec<Act> {
        self.0.pop_first().map(|(_, acts)| acts).unwrap_or_default()
    }
}

/// Does what the phases say.
pub struct Faults {
    /// Where.
    pub environment: Arc<dyn Environment>,
    /// Where events go.
    pub events: EventSink,
    /// The run's clock.
    pub clock: RunClock,
    /// The spec's phases.
    pub phases: Vec<Phase>,
    /// Which is under way.
    pub under: watch::Receiver<Under>,
}

impl Faults {
    /// Whether there is anything to do.
    pub fn any(&self) -> bool {
        self.phases.iter().any(|phase| !phase.faults.is_empty() || !phase.replicas.is_empty())
    }

    /// Until the sender of phases is gone; then everything that is still broken is mended.
    ///
    /// # Errors
    /// The journal takes no more events.
    pub async fn run(mut self) -> Result<(), RunError> {
        let mut due = Due::default();
        loop {
            let next = due.next().map(|at| Instant::from_std(self.clock.instant(at)));
            tokio::select! {
                changed = self.under.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let under = *self.under.borrow_and_update();
                    let phase = under.and_then(|(index, from)| Some((self.phases.get(index)?, from)));
                    due.enter(phase);
                    if let Some((phase, _)) = phase {
                        self.scale(phase).await?;
                    }
                }
                () = wait(next), if next.is_some() => {
                    for act in due.take() {
                        self.act(act).await?;
                    }
                }
            }
        }
        due.enter(None);
        while due.next().is_some() {
            for act in due.take() {
                self.act(act).await?;
            }
        }
        Ok(())
    }

    async fn scale(&self, phase: &Phase) -> Result<(), RunError> {
        for (workload, replicas) in &phase.replicas {
            if let Err(error) = self.environment.scale(workload, *replicas, &format!("phase {}", phase.name)).await {
                let text = format!("{workload} was not scaled to {replicas}: {}", chain(&error.into()));
                tell(&self.events, Kind::Warning { text }).await?;
            }
        }
        Ok(())
    }

    /// Does it; what could not be done is a warning, as the trial goes on without it.
    async fn act(&self, act: Act) -> Result<(), RunError> {
        let Act { target, injury, .. } = act;
        let by = match *self.under.borrow() {
            Some((index, _)) => format!("phase {}", self.phases.get(index).map_or("", |phase| &phase.name)),
            None => "the end of the load".to_owned(),
        };
        let at = self.clock.now();
        let hit = match timeout(ACT, self.environment.fault(&target, injury)).await {
            Ok(Ok(hit)) => hit,
            Ok(Err(error)) => return self.failed(act, &chain(&error.into())).await,
            Err(_) => return self.failed(act, &format!("not done within {ACT:?}")).await,
        };
        for replica in hit {
            let workload = workload(target, &replica);
            tell(&self.events, Kind::Fault { workload, replica, what: injury.done(), by: by.clone() }).await?;
        }
        let took = self.clock.now().since(at);
        if took > Span::from_secs(2) {
            let text = format!("the fault at {target} took {took} to be done");
            tell(&self.events, Kind::Warning { text }).await?;
        }
        Ok(())
    }

    async fn failed(&self, act: Act, why: &str) -> Result<(), RunError> {
        let text = format!("{} was not {}: {why}", act.target, act.injury.done());
        tell(&self.events, Kind::Warning { text }).await
    }
}

/// What the journal files it under: a server under its own name.
fn workload(target: FaultTarget, hit: &str) -> String {
    match target {
        FaultTarget::Role(_) => hit.to_owned(),
        FaultTarget::Workload(name) => name.to_owned(),
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use lab_core::spec;

    use super::*;

    const TEXT: &str = "
question: q
services: { user-service: { store: postgres } }
load:
  target: user-service
  phases:
    - { name: a, rate: 1/s, for: 10s, faults: [ { kill: store, at: 1s, every: 4s }, { pause: user-service, at: 8s, for: 5s } ] }
    - { name: b, rate: 1/s, for: 10s, faults: [ { slow: store, by: 200ms, for: 2s } ] }";

    fn told(due: &mut Due, until: u64) -> Vec<(u64, String)> {
        let mut told = Vec::new();
        while due.next().is_some_and(|at| at < RunTime(until * 1_000_000_000)) {
            let at = due.next().map_or(0, |at| at.0 / 1_000_000_000);
            told.extend(due.take().iter().map(|act| (at, format!("{} {}", act.target, act.injury.done()))));
        }
        told
    }

    fn list(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(at, what)| (*at, (*what).to_owned())).collect()
    }

    #[test]
    fn what_is_broken_is_mended_and_a_phase_that_is_over_breaks_nothing_more() {
        let load =
            spec::parse("t.yaml", TEXT, &[], &|_| Err(String::new())).expect("a spec").spec.load.expect("a load");
        let mut due = Due::default();
        due.enter(Some((&load.phases[0], RunTime(5_000_000_000))));
        let before = told(&mut due, 14);
        assert_eq!(before, list(&[(6, "store killed"), (10, "store killed"), (13, "user-service paused")]));
        // Skipped one second early: the third kill is not made.
        due.enter(Some((&load.phases[1], RunTime(14_000_000_000))));
        let after = told(&mut due, 100);
        let expected = [(14, "store slowed by 200ms"), (16, "store as fast as before"), (18, "user-service resumed")];
        assert_eq!(after, list(&expected));
        due.enter(Some((&load.phases[0], RunTime(0))));
        assert_eq!(told(&mut due, 9).len(), 3);
        due.enter(None);
        assert_eq!(told(&mut due, 100), list(&[(13, "user-service resumed")]));
    }
}
