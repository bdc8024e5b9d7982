//! One trial: up, deploy, prepare, drive, drain, down. Whatever happens in between, down comes last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_core::control::LoadPlan;
use lab_core::deliveries::{Attempts, Balance, Conserved};
use lab_core::event::{Kind, Outcome, StepName, TrialInfo};
use lab_core::spec::{Load, Spec, Target};
use lab_core::templates;
use lab_core::unit::Span;
use lab_env::{Environment, EventSink, Seen};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::autoscaler;
use crate::clock::RunClock;
use crate::deliveries::{Export, Rows};
use crate::desk::{Helm, Wheel};
use crate::down::down;
use crate::drive::{Drive, Driven};
use crate::error::{RunError, causes, chain};
use crate::faults::{Faults, Under};
use crate::interrupt::Interrupt;
use crate::observe::{self, Latest, Watcher};
use crate::prepare;

/// Samples that an autoscaler may be behind.
const SAMPLES_KEPT: usize = 256;
/// Changes of the load that may wait for who drives it.
const TURNS: usize = 8;
/// Longest wait for a queue to run empty after the load: longer than a message stays hidden that a dead consumer held.
const QUEUE_DRAIN: Duration = Duration::from_secs(60);
/// Longest time in which the rows are read back, a million of them in a debug build included.
const READ_BACK: Duration = Duration::from_secs(180);
/// As `READ_BACK`, of a run that was interrupted.
const READ_BACK_INTERRUPTED: Duration = Duration::from_secs(8);
/// For how long what was acknowledged and is not found is looked for again, when it goes through a queue: not every queue knows its
/// own depth to the message.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Longest wait for watchers and autoscalers to end.
const STOP: Duration = Duration::from_secs(2);
/// How old gauges may be to say that a queue is empty.
const FRESH: Duration = Duration::from_secs(3);

/// One trial in the making.
pub struct Trial {
    /// The run's clock.
    pub clock: RunClock,
    /// Where events go.
    pub events: EventSink,
    /// The user's wish to stop.
    pub interrupt: Interrupt,
    /// Where it runs.
    pub environment: Arc<dyn Environment>,
    /// The variant's spec.
    pub spec: Spec,
    /// Which trial it is.
    pub info: TrialInfo,
    /// Names the run in plans and keys.
    pub run: String,
    /// Where it says who drives its load.
    pub helm: watch::Sender<Helm>,
}

/// How a trial ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Why, when it failed.
    pub error: Option<RunError>,
    /// What its environment left running.
    pub left: Vec<String>,
    /// True when it was stopped before its services were ready.
    pub interrupted_early: bool,
}

impl Ended {
    /// It could not begin.
    pub fn failed(error: RunError) -> Self {
        Self { outcome: Outcome::Failed, error: Some(error), left: Vec::new(), interrupted_early: false }
    }
}

/// Tasks that look and decide while workloads run.
pub struct Attendants {
    gauges: BTreeMap<&'static str, watch::Receiver<Latest>>,
    /// Where the drive puts samples.
    pub samples: broadcast::Sender<Arc<lab_core::control::Sample>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Trial {
    /// Runs it; its error, if any, is in the journal too.
    pub async fn run(self) -> Ended {
        let result = async {
            self.tell(Kind::TrialStarted(self.info)).await?;
            tokio::select! {
                biased;
                // Without a journal nothing may go on but the way down.
                () = self.events.closed() => Err(RunError::ConductorGone),
                result = self.middle() => result,
            }
        };
        let result = result.await;
        let workloads: Vec<&str> = self.spec.services.names().collect();
        let down = down(&self.events, &self.interrupt, &self.environment, &workloads, &self.run).await;
        let interrupted_early = matches!(result, Err(RunError::InterruptedEarly));
        let (outcome, error) = match result {
            Ok(outcome) => (outcome, None),
            Err(error) if error.is_interrupt() => (Outcome::Interrupted, None),
            Err(error) => (Outcome::Failed, Some(error)),
        };
        let told = self.tell(Kind::TrialEnded { outcome, error: error.as_ref().map(chain) }).await;
        let error = error.or(down.result.err()).or(told.err());
        Ended {
            outcome: error.as_ref().map_or(outcome, |_| Outcome::Failed),
            error,
            left: down.left,
            interrupted_early,
        }
    }

    async fn middle(&self) -> Result<Outcome, RunError> {
        let bring_up = async {
            bring_up(&self.events, &self.environment, &self.spec).await?;
            deploy(&self.events, &self.environment, &self.spec).await
        };
        self.interrupt.or(1, bring_up).await.ok_or(RunError::InterruptedEarly)??;
        let attendants = Attendants::start(&self.environment, &self.spec, &self.events)?;
        let result = self.load(&attendants).await;
        attendants.stop().await;
        result
    }

    async fn load(&self, attendants: &Attendants) -> Result<Outcome, RunError> {
        let Some(load) = &self.spec.load else { return Ok(Outcome::Completed) };
        let endpoints = self.environment.endpoints(load.target.name())?.borrow().clone();
        let step = Step::begin(&self.events, StepName::Prepare).await?;
        let prepared = self.interrupt.or(1, prepare::rows(&self.spec, &endpoints)).await;
        prepared.ok_or(RunError::Interrupted)??;
        let queued = self.spec.services.is_queued(load.target.name());
        if queued {
            let emptied = self.queue_empty(attendants, load.target, QUEUE_DRAIN, "before");
            self.interrupt.or(1, emptied).await.ok_or(RunError::Interrupted)??;
        }
        step.end().await?;

        let step = Step::begin(&self.events, StepName::Drive).await?;
        let (wheel, turns) = mpsc::channel(TURNS);
        let (under, faults) = self.faults(load);
        let drive = Drive {
            clock: self.clock,
            events: self.events.clone(),
            interrupt: self.interrupt.clone(),
            generators: self.environment.generators(),
            samples: attendants.samples.clone(),
            turns,
            under,
        };
        let plan = templates::load_plan(&self.spec, &format!("{}.{}", self.run, self.info.trial), self.info.seed)
            .ok_or(RunError::NoGenerator)?;
        self.helm.send_modify(|helm| helm.load = Wheel::Driver(wheel));
        let driven = drive.run(plan.clone()).await;
        self.helm.send_modify(|helm| helm.load = Wheel::Nobody);
        let driven = driven?;
        if let Some(faults) = faults {
            // They end with the load, and mend what they broke.
            faults.await.map_err(|_| RunError::ConductorGone)??;
        }
        step.end().await?;

        let step = Step::begin(&self.events, StepName::Drain).await?;
        let drained = self.interrupt.or(2, self.deliveries(attendants, load.target, &plan, &driven)).await;
        drained.ok_or(RunError::Interrupted)??;
        step.end().await?;
        Ok(if driven.interrupted { Outcome::Interrupted } else { Outcome::Completed })
    }

    /// Begins to break what the phases say; the sender tells which is under way.
    fn faults(&self, load: &Load) -> (watch::Sender<Under>, Option<JoinHandle<Result<(), RunError>>>) {
        let (under, seen) = watch::channel(None);
        let faults = Faults {
            environment: Arc::clone(&self.environment),
            events: self.events.clone(),
            clock: self.clock,
            phases: load.phases.clone(),
            under: seen,
        };
        (under, faults.any().then(|| tokio::spawn(faults.run())))
    }

    /// Waits until queues are empty, then looks for each write that was attempted.
    async fn deliveries(
        &self,
        attendants: &Attendants,
        target: Target,
        plan: &LoadPlan,
        driven: &Driven,
    ) -> Result<(), RunError> {
        let queued = self.spec.services.is_queued(target.name());
        let limit = if driven.interrupted { QUEUE_DRAIN / 6 } else { QUEUE_DRAIN };
        let drained = !queued || self.queue_empty(attendants, target, limit, "after").await?;
        if !plan.operations.iter().any(|operation| operation.ledger) {
            return Ok(());
        }
        let found = async {
            let attempts = Attempts::of(&driven.fates).map_err(|error| error.to_string())?;
            let (balance, others) = self.read_back(&attempts, target, plan, driven.interrupted).await?;
            Ok::<_, String>((attempts, balance, others))
        };
        let (attempts, compared, others) = match found.await {
            Ok(found) => found,
            Err(problem) => {
                let text = format!("there is no delivery ledger: {}: {problem}", target.name());
                return self.tell(Kind::Warning { text }).await;
            }
        };
        let gauges = if queued { attendants.latest(target, FRESH).await } else { BTreeMap::new() };
        let gauge = |name: &str| gauges.get(name).map(|value| value.max(0.0) as u64);
        let conserved = Conserved {
            workload: target.name().to_owned(),
            what: templates::table(target).to_owned(),
            attempted: attempts.len(),
            acknowledged: attempts.acknowledged.len(),
            refused: attempts.refused.len(),
            indeterminate: attempts.indeterminate.len(),
            compared,
            others,
            untold: driven.untold,
            drained,
            dead: gauge("dead-letters"),
            redelivered: gauge("redelivered"),
            repeated: gauge("repeated"),
        };
        self.tell(Kind::Conserved(Box::new(conserved))).await
    }

    /// Reads the rows and compares them with what was attempted; also how many rows are not of this load.
    async fn read_back(
        &self,
        attempts: &Attempts,
        target: Target,
        plan: &LoadPlan,
        interrupted: bool,
    ) -> Result<(Balance, u64), String> {
        let queued = self.spec.services.is_queued(target.name());
        // Who asked for the end waits for it.
        let limit = if interrupted { READ_BACK_INTERRUPTED } else { READ_BACK };
        let endpoints = self.environment.endpoints(target.name()).map_err(|error| causes(&error))?;
        let mut export = Export::new(endpoints, &self.spec, target, plan)?;
        let (begun, deadline) = (Instant::now(), Instant::now() + limit);
        loop {
            let rows = tokio::time::timeout_at(deadline.into(), export.rows(deadline)).await;
            let Rows { numbers, others } = rows.map_err(|_| format!("its rows were not read within {limit:?}"))??;
            let balance = attempts.against(numbers);
            if !queued || balance.lost.count == 0 || begun.elapsed() >= LOOK_AGAIN {
                return Ok((balance, others));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Waits until the target's queue is empty, and warns when it does not become so. True when it was seen empty.
    async fn queue_empty(
        &self,
        attendants: &Attendants,
        target: Target,
        limit: Duration,
        when: &str,
    ) -> Result<bool, RunError> {
        if attendants.queue_empty(target, limit).await {
            return Ok(true);
        }
        let text = format!("the queue of {} was not seen empty within {limit:?} {when} the load", target.name());
        self.tell(Kind::Warning { text }).await?;
        Ok(false)
    }

    async fn tell(&self, kind: Kind) -> Result<(), RunError> {
        tell(&self.events, kind).await
    }
}

/// Checks, and brings the environment up: nobody else can have it from then on. No workload is deployed yet.
///
/// # Errors
/// Something is missing, or somebody else has it up.
pub async fn bring_up(events: &EventSink, environment: &Arc<dyn Environment>, spec: &Spec) -> Result<(), RunError> {
    let step = Step::begin(events, StepName::Check).await?;
    let findings = environment.check(spec).await;
    if findings.iter().any(|f| f.fatal) {
        return Err(RunError::NotReady(findings));
    }
    for finding in findings {
        tell(events, Kind::Warning { text: format!("{}: {}", finding.problem, finding.remedy) }).await?;
    }
    step.end().await?;
    let step = Step::begin(events, StepName::Up).await?;
    environment.up(spec).await?;
    step.end().await
}

/// Deploys every workload of the spec, generators last.
///
/// # Errors
/// A workload did not become ready.
pub async fn deploy(events: &EventSink, environment: &Arc<dyn Environment>, spec: &Spec) -> Result<(), RunError> {
    let step = Step::begin(events, StepName::Deploy).await?;
    for workload in spec.services.names() {
        environment.deploy(spec, workload).await?;
    }
    step.end().await
}

impl Attendants {
    /// Starts a watcher for every workload and an autoscaler for every one that asks for it.
    ///
    /// # Errors
    /// A workload of the spec is not deployed.
    pub fn start(environment: &Arc<dyn Environment>, spec: &Spec, events: &EventSink) -> Result<Self, RunError> {
        let (samples, _) = broadcast::channel(SAMPLES_KEPT);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let mut gauges = BTreeMap::new();
        for workload in spec.services.names() {
            let (latest, seen) = watch::channel(None);
            gauges.insert(workload, seen.clone());
            let watcher = Watcher {
                environment: Arc::clone(environment),
                workload: workload.to_owned(),
                events: events.clone(),
                gauges: latest,
                stop: stop.clone(),
            };
            tasks.spawn(watcher.run());
            let Some(common) = spec.services.workload(workload) else { continue };
            let Some(autoscale) = common.autoscale.clone() else { continue };
            let autoscaler = autoscaler::Loop {
                environment: Arc::clone(environment),
                workload: workload.to_owned(),
                autoscale,
                settings: spec.autoscaler.clone(),
                resources: common.resources,
                events: events.clone(),
                samples: samples.subscribe(),
                gauges: seen,
                stop: stop.clone(),
            };
            tasks.spawn(autoscaler.run());
        }
        tasks.spawn(observe::own_cost(events.clone(), stop.clone()));
        tasks.close();
        Ok(Self { gauges, samples, tasks, stop })
    }

    /// Ends them all and waits, not for long, until they have.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP, self.tasks.wait()).await.is_err() {
            tracing::warn!("a watcher or an autoscaler did not end within {STOP:?}");
        }
    }

    /// The target's gauges, read after this call began; empty when they cannot be had within the deadline.
    async fn latest(&self, target: Target, deadline: Duration) -> BTreeMap<String, f64> {
        self.after(target, Instant::now(), deadline, |values| Some(values.clone())).await.unwrap_or_default()
    }

    /// True when the target's queue was seen empty within the limit. A depth that is missing is not known yet.
    async fn queue_empty(&self, target: Target, limit: Duration) -> bool {
        let empty =
            |values: &BTreeMap<String, f64>| values.get("queue-depth").filter(|depth| **depth == 0.0).map(|_| ());
        self.after(target, Instant::now(), limit, empty).await.is_some()
    }

    /// Waits for gauges read after `since` of which `pick` takes something.
    async fn after<T>(
        &self,
        target: Target,
        since: Instant,
        limit: Duration,
        pick: impl Fn(&BTreeMap<String, f64>) -> Option<T>,
    ) -> Option<T> {
        let mut gauges = self.gauges.get(target.name())?.clone();
        let found = async {
            loop {
                let picked = match &*gauges.borrow_and_update() {
                    // A reading may have begun before `since` and still be the newest: the services refresh once a second.
                    Some((at, values)) if *at > since + Duration::from_secs(1) => pick(values),
                    _ => None,
                };
                if picked.is_some() {
                    return picked;
                }
                if gauges.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(limit + Duration::from_secs(1), found).await.ok().flatten()
    }
}

impl Drop for Attendants {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A step that is under way.
pub struct Step<'a> {
    events: &'a EventSink,
    step: StepName,
    since: Instant,
}

impl<'a> Step<'a> {
    /// Tells that it began.
    pub async fn begin(events: &'a EventSink, step: StepName) -> Result<Self, RunError> {
        tell(events, Kind::Step { step, took: None }).await?;
        Ok(Self { events, step, since: Instant::now() })
    }

    /// Tells that it ended.
    pub async fn end(self) -> Result<(), RunError> {
        let took = Span(u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX));
        tell(self.events, Kind::Step { step: self.step, took: Some(took) }).await
    }
}

/// Hands an event of the run itself to the conductor.
///
/// # Errors
/// The conductor is gone.
pub async fn tell(events: &EventSink, kind: Kind) -> Result<(), RunError> {
    let seen = Seen { src: "run".to_owned(), at: None, kind };
    events.send(seen).await.map_err(|_| RunError::ConductorGone)
}
