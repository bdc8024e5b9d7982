//! The handle that everybody else holds: starts the threads, checks what it is told, passes it on, asks how things are.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lab_core::control::{LoadChange, LoadState, Sample, Status, Targets};
use lab_core::ledger::Ledger;
use mio::{Poll, Token, Waker};

use crate::clock::{now_ns, process_cpu_ns};
use crate::collector::{self, PlanInfo, Progress};
use crate::plan::{Drive, Pace, Plan, check_connections, check_count, check_rate, check_weights, worker_share};
use crate::schedule::{Change, Mix};
use crate::target::resolve;
use crate::worker::{Command, Report, WAKE, Worker};

/// Messages that may wait for a worker.
const MAILBOX: usize = 64;
/// Stretches that may wait for the collector.
const STRETCHES: usize = 8;
/// How long a worker may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// A change without a time holds from so far ahead that every worker hears of it first.
const LEAD_NS: u64 = 5_000_000;

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the generator in its samples.
    pub name: String,
    /// Threads that send; each has its part of schedule, connections and queue.
    pub workers: u32,
    /// Samples that may wait for their reader before further seconds are merged into one.
    pub samples: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: "load".to_owned(), workers: 1, samples: 16 }
    }
}

/// The engine could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A thread or its poll set could not be made.
    #[error("cannot start a worker thread of the load engine")]
    Start(#[source] io::Error),
    /// The plan cannot be driven; everything wrong with it.
    #[error("the plan cannot be driven: {}", .0.join("; "))]
    Plan(Vec<String>),
    /// The change cannot be made; everything wrong with it.
    #[error("the change cannot be made: {}", .0.join("; "))]
    Change(Vec<String>),
    /// Another plan is being driven.
    #[error("plan `{0}` is being driven; stop it first")]
    Busy(String),
    /// There is nothing to change.
    #[error("no plan is being driven; load one first")]
    NoPlan,
    /// A newer list is in force.
    #[error("target list {given} is older than {current}, which is in force; send a higher version")]
    OldTargets {
        /// Version that was given.
        given: u64,
        /// Version in force.
        current: u64,
    },
    /// Addresses that cannot be used.
    #[error("target list: {}", .0.join("; "))]
    Targets(Vec<String>),
    /// A worker is gone or stalled.
    #[error("a worker of the load engine does not answer; restart the generator")]
    NoAnswer,
}

struct Link {
    mailbox: SyncSender<Command>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What is being driven.
struct Current {
    drive: Drive,
    start_ns: u64,
    serial: u64,
}

#[derive(Default)]
struct Shared {
    current: Option<Current>,
    serial: u64,
    targets_version: u64,
    has_targets: bool,
}

/// A running load engine. Dropping it ends its threads; the plan's results up to then are handed over if somebody reads them.
pub struct Engine {
    links: Vec<Link>,
    shared: Mutex<Shared>,
    progress: Arc<Progress>,
}

impl Engine {
    /// Starts the threads, idle. Samples come out of the receiver.
    pub fn spawn(config: &Config) -> Result<(Self, Receiver<Sample>), EngineError> {
        raise_file_limit();
        let workers = config.workers.max(1) as usize;
        let spin = thread::available_parallelism().is_ok_and(|n| n.get() > workers);
        let (results, gathered) = sync_channel(STRETCHES * workers);
        let mut links = Vec::with_capacity(workers);
        for index in 0..workers {
            let poll = Poll::new().map_err(EngineError::Start)?;
            let waker = Waker::new(poll.registry(), Token(WAKE)).map_err(EngineError::Start)?;
            let (mailbox, mail) = sync_channel(MAILBOX);
            let worker = Worker::new(index, poll, spin, mail, results.clone()).map_err(EngineError::Start)?;
            let thread = named(format!("load-worker-{index}"), move || worker.run())?;
            links.push(Link { mailbox, waker, thread: Some(thread) });
        }
        let (to_reader, samples) = sync_channel(config.samples.max(1));
        let progress = Arc::new(Progress::default());
        let (name, seen) = (config.name.clone(), Arc::clone(&progress));
        // Not joined: it ends once its workers are gone and the last sample is read or the reader is dropped.
        named("load-samples".to_owned(), move || collector::run(&name, workers, &gathered, &to_reader, &seen))?;
        Ok((Self { links, shared: Mutex::default(), progress }, samples))
    }

    /// Begins a plan (a [`LoadPlan`](lab_core::control::LoadPlan) or a [`Drive`]). With an empty target list its requests queue.
    pub fn load(&self, drive: impl Into<Drive>) -> Result<(), EngineError> {
        self.load_after(drive, || ())
    }

    /// As [`Engine::load`]; `accepted` runs once the plan is known to be good and before its first sample can come.
    pub fn load_after(&self, drive: impl Into<Drive>, accepted: impl FnOnce()) -> Result<(), EngineError> {
        let drive = drive.into();
        let mut shared = self.shared();
        if let Some(id) = self.busy(&shared)? {
            return Err(EngineError::Busy(id));
        }
        let parts = Plan::divide(&drive, self.worker_count()).map_err(EngineError::Plan)?;
        shared.serial += 1;
        let info = Arc::new(PlanInfo {
            serial: shared.serial,
            id: drive.plan.id.clone(),
            operations: drive.plan.operations.iter().map(|o| o.name.clone()).collect(),
            cpu_ns: process_cpu_ns(),
        });
        // At once means in a moment, so that every worker is there for plan time 0.
        let start_ns = drive.plan.start_at_ns.unwrap_or_else(|| now_ns() + LEAD_NS);
        self.progress.last_sample.store(0, Ordering::Release);
        accepted();
        for (link, plan) in self.links.iter().zip(parts) {
            link.tell(Command::Begin { plan: Box::new(plan), info: Arc::clone(&info), start_ns })?;
        }
        shared.current = Some(Current { drive, start_ns, serial: info.serial });
        Ok(())
    }

    /// Changes the load that is being driven, from a plan time on or now.
    pub fn change(&self, change: &LoadChange) -> Result<(), EngineError> {
        let shared = self.shared();
        self.busy(&shared)?.ok_or(EngineError::NoPlan)?;
        let current = shared.current.as_ref().ok_or(EngineError::NoPlan)?;
        let wrong = wrong_with(change, &current.drive);
        if !wrong.is_empty() {
            return Err(EngineError::Change(wrong));
        }
        let plan_ns = now_ns().saturating_sub(current.start_ns);
        let from_ns = change.from_ns.unwrap_or(if plan_ns == 0 { 0 } else { plan_ns + LEAD_NS });
        let workers = self.worker_count();
        for (index, link) in (0..).zip(&self.links) {
            let mix = change.mix.as_ref().map(|m| Mix::changed(&current.drive.plan.operations, m));
            let rate = change.rate.map(|r| (r >= 0.0).then_some(r));
            let share = change.share.map(|s| worker_share(s, index, workers));
            let connections = change.connections.map(|n| (n / workers + u32::from(index < n % workers)).max(1));
            let skip = change.skip == Some(true);
            let change = Box::new(Change { from_ns, rate, pause: change.pause, share, mix, skip });
            link.tell(Command::Change { change, connections })?;
        }
        Ok(())
    }

    /// Puts a list of addresses in force: the only ones that are ever called. Looks names up, so it may block for seconds.
    pub fn targets(&self, targets: &Targets) -> Result<(), EngineError> {
        let resolved: Arc<[_]> = resolve(&targets.endpoints).map_err(EngineError::Targets)?.into();
        let mut shared = self.shared();
        if targets.version < shared.targets_version {
            let current = shared.targets_version;
            return Err(EngineError::OldTargets { given: targets.version, current });
        }
        shared.targets_version = targets.version;
        shared.has_targets = !resolved.is_empty();
        self.links.iter().try_for_each(|link| link.tell(Command::Targets(Arc::clone(&resolved))))
    }

    /// Whether the target list in force names any endpoint.
    pub fn has_targets(&self) -> bool {
        self.shared().has_targets
    }

    /// Ends the schedule: nothing becomes due any more, and what is queued or in flight is finished within the plan's drain. Without
    /// a load nothing happens.
    pub fn stop(&self) -> Result<(), EngineError> {
        self.links.iter().try_for_each(|link| link.tell(Command::Stop))
    }

    /// What the engine is doing.
    pub fn status(&self) -> Result<Status, EngineError> {
        let shared = self.shared();
        self.status_of(&shared)
    }

    fn status_of(&self, shared: &Shared) -> Result<Status, EngineError> {
        let reports = self.reports()?;
        let mut ledger = Ledger::default();
        reports.iter().for_each(|r| ledger += r.ledger);
        let written = shared.current.as_ref().is_none_or(|c| self.progress.done.load(Ordering::Acquire) == c.serial);
        // The worker that has most left to do speaks for all.
        let first = reports.iter().min_by_key(|r| order(r.state)).ok_or(EngineError::NoAnswer)?;
        let state = if first.state == LoadState::Finished && !written { LoadState::Draining } else { first.state };
        Ok(Status {
            now_ns: now_ns(),
            state,
            plan: shared.current.as_ref().map(|c| c.drive.plan.id.clone()),
            plan_ns: first.plan_ns,
            rate: first.rate,
            targets_version: shared.targets_version,
            ledger,
            last_sample: self.progress.last_sample.load(Ordering::Acquire),
        })
    }

    fn reports(&self) -> Result<Vec<Report>, EngineError> {
        let (to, from) = sync_channel(self.links.len());
        self.links.iter().try_for_each(|link| link.tell(Command::Report(to.clone())))?;
        self.links.iter().map(|_| from.recv_timeout(ANSWER).map_err(|_| EngineError::NoAnswer)).collect()
    }

    /// Id of the plan that is being driven.
    fn busy(&self, shared: &Shared) -> Result<Option<String>, EngineError> {
        let idle = matches!(self.status_of(shared)?.state, LoadState::Idle | LoadState::Finished);
        Ok(shared.current.as_ref().filter(|_| !idle).map(|c| c.drive.plan.id.clone()))
    }

    fn worker_count(&self) -> u32 {
        u32::try_from(self.links.len()).unwrap_or(1)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for link in &mut self.links {
            // A worker that cannot be told is gone or will see its mailbox closed.
            link.tell(Command::Quit).ok();
        }
        for link in &mut self.links {
            if let Some(thread) = link.thread.take() {
                // A panic of a worker has been printed by its thread.
                thread.join().ok();
            }
        }
    }
}

impl Link {
    fn tell(&self, command: Command) -> Result<(), EngineError> {
        match self.mailbox.try_send(command) {
            Ok(()) => self.waker.wake().map_err(|_| EngineError::NoAnswer),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(EngineError::NoAnswer),
        }
    }
}

/// From most to least left to do.
fn order(state: LoadState) -> u8 {
    match state {
        LoadState::Waiting => 0,
        LoadState::Running => 1,
        LoadState::Paused => 2,
        LoadState::Draining => 3,
        LoadState::Finished => 4,
        LoadState::Idle => 5,
    }
}

/// Everything that is wrong with a change.
fn wrong_with(change: &LoadChange, drive: &Drive) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(rate) = change.rate.filter(|r| r.is_nan() || *r >= 0.0) {
        wrong.extend(check_rate(rate));
    }
    if change.rate.is_some() && drive.pace == Pace::Closed {
        wrong.push("rate: this load runs at closed pace, as fast as its connections are answered".to_owned());
    }
    wrong.extend(change.connections.and_then(check_connections));
    // Any index will do: one that no number has is how a generator is told to send nothing.
    wrong.extend(change.share.and_then(check_count));
    if let Some(mix) = &change.mix {
        wrong.extend(check_weights(mix.values().copied()));
        let known = |name: &String| drive.plan.operations.iter().any(|o| o.name == *name);
        wrong.extend(mix.keys().filter(|n| !known(n)).map(|n| format!("mix: the plan has no operation `{n}`")));
    }
    wrong
}

fn named(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, EngineError> {
    thread::Builder::new().name(name).spawn(body).map_err(EngineError::Start)
}

/// Connections count against the soft limit of open files, which shells set low; the hard limit is ours to use.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is not allowed, connections beyond the limit fail and say so.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
}
