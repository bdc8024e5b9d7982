//! The send loop of one thread: wait, read sockets, read the mailbox, release what is due, hand over results. One turn of it is the
//! unit in which the engine measures its own stalls.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};

use lab_core::control::LoadState;
use lab_core::ledger::Ledger;
use mio::{Events, Poll};

use crate::clock::{Until, Waiter, now_ns};
use crate::collector::{PlanInfo, Results};
use crate::driver::Driver;
use crate::plan::Plan;
use crate::recorder::Stretch;
use crate::schedule::Change;
use crate::target::Target;

/// Tokens that are no connections.
pub(crate) const ALARM: usize = usize::MAX;
pub(crate) const WAKE: usize = usize::MAX - 1;

const STRETCH_NS: u64 = 1_000_000_000;
const SHORTEST_TICK_NS: u64 = 5_000_000;
const LONGEST_TICK_NS: u64 = 20_000_000;
/// Time between attempts to hand over the last results.
const RETRY_NS: u64 = 10_000_000;

/// What a worker can be told.
pub(crate) enum Command {
    Begin { plan: Box<Plan>, info: Arc<PlanInfo>, start_ns: u64 },
    Change { change: Box<Change>, connections: Option<u32> },
    Targets(Arc<[Target]>),
    Stop,
    Report(SyncSender<Report>),
    Quit,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) state: LoadState,
    pub(crate) plan_ns: Option<u64>,
    pub(crate) rate: f64,
    pub(crate) ledger: Ledger,
}

/// A plan being driven, with the times of its chores (plan times).
struct Job {
    driver: Driver,
    info: Arc<PlanInfo>,
    next_cut_ns: u64,
    next_tick_ns: u64,
    tick_ns: u64,
    /// When the schedule was over.
    over_ns: Option<u64>,
}

/// What is left of a plan that is over.
struct Ended {
    start_ns: u64,
    ledger: Ledger,
    /// The last results, until the collector has taken them.
    rest: Option<Results>,
}

pub(crate) struct Worker {
    index: usize,
    poll: Poll,
    waiter: Waiter,
    mailbox: Receiver<Command>,
    results: SyncSender<Results>,
    targets: Arc<[Target]>,
    job: Option<Job>,
    ended: Option<Ended>,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        poll: Poll,
        spin: bool,
        mailbox: Receiver<Command>,
        results: SyncSender<Results>,
    ) -> io::Result<Self> {
        let waiter = Waiter::new(&poll, spin)?;
        Ok(Self { index, poll, waiter, mailbox, results, targets: Arc::new([]), job: None, ended: None })
    }

    /// Runs until told to quit, or until the poll set fails, which nothing can be done about: the ledger is handed over as it stands.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let until = self.until();
            let Ok(overslept) = self.waiter.wait(&mut self.poll, &mut events, until) else {
                return self.close();
            };
            let began = now_ns();
            if let Some(job) = &mut self.job {
                job.driver.recorder.turn(overslept);
                for event in events.iter().filter(|e| e.token().0 < WAKE) {
                    job.driver.on_event(event);
                }
            }
            if !self.read_mail() {
                return self.close();
            }
            self.turn();
            if let Some(job) = &mut self.job {
                job.driver.recorder.turn(now_ns().saturating_sub(began));
            }
        }
    }

    fn until(&mut self) -> Until {
        let Some(job) = &mut self.job else {
            let waits = self.ended.as_ref().is_some_and(|e| e.rest.is_some());
            return if waits { Until::Chore(now_ns() + RETRY_NS) } else { Until::Event };
        };
        let start_ns = job.driver.start_ns;
        let drained = job.over_ns.map_or(u64::MAX, |over| over.saturating_add(job.driver.plan.wire.drain.0));
        let chore = job.next_cut_ns.min(job.next_tick_ns).min(drained);
        match job.driver.source.next_due() {
            Some(due) if due <= chore => Until::Send(start_ns + due),
            None if job.driver.source.is_searching() => Until::Chore(start_ns),
            _ => Until::Chore(start_ns + chore),
        }
    }

    /// False when it is time to go.
    fn read_mail(&mut self) -> bool {
        loop {
            match self.mailbox.try_recv() {
                Ok(Command::Begin { plan, info, start_ns }) => self.begin(*plan, info, start_ns),
                Ok(Command::Change { change, connections }) => {
                    if let Some(job) = &mut self.job {
                        job.driver.change(*change, connections);
                    }
                }
                Ok(Command::Targets(targets)) => {
                    if let Some(job) = &mut self.job {
                        job.driver.set_targets(&targets);
                    }
                    self.targets = targets;
                }
                Ok(Command::Stop) => {
                    if let Some(job) = &mut self.job {
                        // What fell due since the last turn is this generator's, and nobody else would send it.
                        if let Some(plan_ns) = now_ns().checked_sub(job.driver.start_ns) {
                            job.driver.release(plan_ns);
                        }
                        job.driver.source.end();
                    }
                }
                Ok(Command::Report(to)) => {
                    // Who asked has given up waiting if this fails.
                    to.try_send(self.report()).ok();
                }
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Quit) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn begin(&mut self, plan: Plan, info: Arc<PlanInfo>, start_ns: u64) {
        let Ok(registry) = self.poll.registry().try_clone() else { return };
        let tick_ns = (plan.wire.timeout.0 / 20).clamp(SHORTEST_TICK_NS, LONGEST_TICK_NS);
        let driver = Driver::new(plan, start_ns, registry, &self.targets);
        self.ended = None;
        // A generator that joins a running plan begins in the second in which it joined.
        let next_cut_ns = (now_ns().saturating_sub(start_ns) / STRETCH_NS + 1) * STRETCH_NS;
        self.job = Some(Job { driver, info, next_cut_ns, next_tick_ns: 0, tick_ns, over_ns: None });
    }

    /// What the clock asks for now.
    fn turn(&mut self) {
        self.hand_over_rest();
        let now = now_ns();
        let Some(job) = &mut self.job else { return };
        if now < job.driver.start_ns && !job.driver.source.is_ended() {
            return;
        }
        let plan_ns = now.saturating_sub(job.driver.start_ns);
        job.driver.release(plan_ns);
        if plan_ns >= job.next_tick_ns {
            job.driver.tick(plan_ns);
            job.next_tick_ns = plan_ns + job.tick_ns;
        }
        if job.over_ns.is_none() && job.driver.source.over(plan_ns) {
            job.over_ns = Some(plan_ns);
        }
        let drained = job.over_ns.is_some_and(|over| plan_ns >= over.saturating_add(job.driver.plan.wire.drain.0));
        if drained || job.driver.is_done(plan_ns) {
            self.close();
        } else if plan_ns >= job.next_cut_ns {
            job.next_cut_ns = (plan_ns / STRETCH_NS + 1) * STRETCH_NS;
            self.hand_over(plan_ns);
        }
    }

    /// Hands over a stretch; while the collector is busy it goes on growing instead.
    fn hand_over(&mut self, plan_ns: u64) {
        let Some(job) = &mut self.job else { return };
        let stretch = job.driver.cut(plan_ns, false);
        let results = Results { worker: self.index, info: Arc::clone(&job.info), stretch };
        if let Err(TrySendError::Full(results)) = self.results.try_send(results) {
            job.driver.recorder.resume(results.stretch);
        }
    }

    fn hand_over_rest(&mut self) {
        if let Some(ended) = &mut self.ended
            && let Some(rest) = ended.rest.take()
            && let Err(TrySendError::Full(rest)) = self.results.try_send(rest)
        {
            ended.rest = Some(rest);
        }
    }

    /// Ends the plan as it stands.
    fn close(&mut self) {
        let Some(mut job) = self.job.take() else { return };
        let start_ns = job.driver.start_ns;
        let stretch: Stretch = job.driver.finish(now_ns().saturating_sub(start_ns));
        let rest = Some(Results { worker: self.index, info: job.info, stretch });
        self.ended = Some(Ended { start_ns, ledger: job.driver.recorder.totals(), rest });
        self.hand_over_rest();
    }

    fn report(&mut self) -> Report {
        let now = now_ns();
        match (&mut self.job, &self.ended) {
            (Some(job), _) => {
                let plan_ns = now.saturating_sub(job.driver.start_ns);
                let (rate, paused) = job.driver.source.schedule.rate_at(plan_ns);
                let state = if now < job.driver.start_ns {
                    LoadState::Waiting
                } else if job.over_ns.is_some() {
                    LoadState::Draining
                } else if paused {
                    LoadState::Paused
                } else {
                    LoadState::Running
                };
                let rate = if state == LoadState::Running && !job.driver.source.is_closed() { rate } else { 0.0 };
                Report { state, plan_ns: Some(plan_ns), rate, ledger: job.driver.recorder.totals() }
            }
            (None, Some(ended)) => {
                let state = if ended.rest.is_some() { LoadState::Draining } else { LoadState::Finished };
                Report { state, plan_ns: Some(now.saturating_sub(ended.start_ns)), rate: 0.0, ledger: ended.ledger }
            }
            (None, None) => Report { state: LoadState::Idle, plan_ns: None, rate: 0.0, ledger: Ledger::default() },
        }
    }
}
