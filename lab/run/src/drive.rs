//! Drives one trial's load: deals the schedule, marks the phases, passes the samples on, deals anew when generators come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lab_core::control::{LoadPlan, Sample};
use lab_core::event::Kind;
use lab_core::unit::{RunTime, Span};
use lab_env::{EventSink, GeneratorAddress, GeneratorClient, Seen};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use crate::clock::RunClock;
use crate::error::RunError;
use crate::fleet::{Fleet, Report};
use crate::interrupt::Interrupt;

/// Time between telling the generators and the first intended request, and before a new deal is in force.
const AHEAD: Duration = Duration::from_millis(600);
/// What may pass after the plan's end and its drain before the last sample is given up.
const GRACE: Duration = Duration::from_secs(5);
/// Time between two calls that keep the generators' leases.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What driving needs.
#[derive(Debug)]
pub struct Drive {
    /// The run's clock.
    pub clock: RunClock,
    /// Where events go.
    pub events: EventSink,
    /// The user's wish to stop.
    pub interrupt: Interrupt,
    /// The ready generators.
    pub generators: watch::Receiver<Vec<GeneratorAddress>>,
    /// Where the autoscaler listens.
    pub samples: broadcast::Sender<Arc<Sample>>,
}

/// What was sent and answered, for the check of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driven {
    /// Completed requests by operation.
    pub completed: BTreeMap<String, u64>,
    /// Requests without an answer that says whether they took effect.
    pub indeterminate: u64,
    /// True when the user cut it short.
    pub interrupted: bool,
}

impl Drive {
    /// Drives the plan to its end, or to the user's wish.
    ///
    /// # Errors
    /// No generator is there at the start, or all are lost.
    pub async fn run(mut self, plan: LoadPlan) -> Result<Driven, RunError> {
        let (reports, inbox) = mpsc::channel(256);
        let start = self.clock.now().plus(span(AHEAD));
        let mut fleet = Fleet::new(self.clock, plan.clone(), start, reports);
        let ready = self.generators.borrow_and_update().clone();
        fleet.update(&ready).await?;
        let sharing = fleet.deal(Span::ZERO).await;
        if sharing.is_empty() {
            return Err(RunError::NoGenerator);
        }
        self.tell(Kind::LoadStarted { at: start }).await?;
        self.tell(Kind::SharesDealt { generators: sharing, from_ns: 0, cause: "start".to_owned() }).await?;
        let marks = Marks::of(&plan, start);
        let end = self.clock.instant(marks.end) + plan.drain.to_duration() + GRACE;
        Loop {
            drive: self,
            fleet,
            inbox,
            marks,
            start,
            end: end.into(),
            seen: BTreeMap::new(),
            driven: Driven::default(),
        }
        .run()
        .await
    }

    async fn tell(&self, kind: Kind) -> Result<(), RunError> {
        self.tell_as("run", kind).await
    }

    async fn tell_as(&self, src: &str, kind: Kind) -> Result<(), RunError> {
        let seen = Seen { src: src.to_owned(), at: None, kind };
        self.events.send(seen).await.map_err(|_| RunError::ConductorGone)
    }
}

/// The state of a load that is being driven.
struct Loop {
    drive: Drive,
    fleet: Fleet,
    inbox: mpsc::Receiver<Report>,
    marks: Marks,
    start: RunTime,
    end: Instant,
    /// Generator to the number of its last sample.
    seen: BTreeMap<String, u64>,
    driven: Driven,
}

impl Loop {
    async fn run(mut self) -> Result<Driven, RunError> {
        let interrupt = self.drive.interrupt.clone();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        while !self.fleet.is_over() {
            let next_mark = self.marks.next().map(|at| Instant::from_std(self.drive.clock.instant(at)));
            tokio::select! {
                biased;
                () = interrupt.reached(2) => return Err(RunError::Interrupted),
                () = interrupt.reached(1), if !self.driven.interrupted => self.cut_short().await,
                report = self.inbox.recv() => match report {
                    Some(Report::Sample(sample)) => self.sample(sample).await?,
                    Some(Report::Lost { generator, reason }) => self.lost(&generator, &reason).await?,
                    None => return Err(RunError::ConductorGone),
                },
                () = sleep_until(next_mark), if next_mark.is_some() => self.mark().await?,
                changed = self.drive.generators.changed() => {
                    if changed.is_err() {
                        return Err(RunError::NoGenerator);
                    }
                    self.generators_changed().await?;
                }
                _ = heartbeat.tick() => self.keep_leases(),
                () = tokio::time::sleep_until(self.end) => {
                    self.warn("a generator did not send its last sample in time".to_owned()).await?;
                    break;
                }
            }
        }
        while self.marks.next().is_some() && !self.driven.interrupted {
            self.mark().await?;
        }
        Ok(self.driven)
    }

    async fn cut_short(&mut self) {
        self.driven.interrupted = true;
        self.end = self.end.min(Instant::now() + Duration::from_secs(10));
        self.fleet.stop_load().await;
    }

    async fn sample(&mut self, sample: Arc<Sample>) -> Result<(), RunError> {
        let known = self.seen.insert(sample.generator.clone(), sample.seq).unwrap_or(0);
        if sample.seq > known + 1 {
            let lost = Kind::SampleLost {
                generator: sample.generator.clone(),
                from_seq: known + 1,
                count: sample.seq - known - 1,
            };
            self.drive.tell(lost).await?;
        }
        self.count(&sample);
        if sample.last {
            self.fleet.done(&sample.generator);
        }
        // Nobody listens where nothing is scaled on samples.
        if self.drive.samples.send(Arc::clone(&sample)).is_err() {
            tracing::trace!("no autoscaler listens to samples");
        }
        let src = format!("generator.{}", sample.generator);
        self.drive.tell_as(&src, Kind::Sample(Box::new(Sample::clone(&sample)))).await
    }

    fn count(&mut self, sample: &Sample) {
        for phase in &sample.phases {
            for (operation, completed) in &phase.completed_by_operation {
                *self.driven.completed.entry(operation.clone()).or_default() += completed;
            }
            let answered = |cause: &str| cause.starts_with("status ");
            let unknown = phase.failures_by_cause.iter().filter(|(cause, _)| !answered(cause)).map(|(_, n)| n);
            self.driven.indeterminate += unknown.sum::<u64>();
        }
        if sample.last {
            self.driven.indeterminate += sample.in_flight;
        }
    }

    async fn lost(&mut self, generator: &str, reason: &str) -> Result<(), RunError> {
        if !self.fleet.lose(generator) {
            return Ok(());
        }
        let from_seq = self.seen.get(generator).copied().unwrap_or(0) + 1;
        self.drive.tell(Kind::SampleLost { generator: generator.to_owned(), from_seq, count: 1 }).await?;
        self.warn(format!("{generator} was lost: {reason}")).await?;
        if self.fleet.is_dead() {
            return Err(RunError::GeneratorsLost { at_s: self.plan_time().as_secs_f64() });
        }
        self.deal(format!("lost {generator}")).await
    }

    async fn generators_changed(&mut self) -> Result<(), RunError> {
        let ready = self.drive.generators.borrow_and_update().clone();
        match self.fleet.update(&ready).await {
            Ok(true) => self.deal("scaled".to_owned()).await,
            Ok(false) => Ok(()),
            Err(error) => self.warn(format!("a new generator was not taken in: {error}")).await,
        }
    }

    async fn deal(&mut self, cause: String) -> Result<(), RunError> {
        if self.driven.interrupted || self.drive.clock.now() >= self.marks.end {
            return Ok(());
        }
        let from = Span(self.plan_time().0 + span(AHEAD).0);
        let generators = self.fleet.deal(from).await;
        if self.plan_time() > from {
            self.warn(format!("shares were dealt {} late: requests may be missing or doubled", {
                Span(self.plan_time().0 - from.0)
            }))
            .await?;
        }
        self.drive.tell(Kind::SharesDealt { generators, from_ns: from.0, cause }).await
    }

    async fn mark(&mut self) -> Result<(), RunError> {
        for kind in self.marks.take() {
            self.drive.tell(kind).await?;
        }
        Ok(())
    }

    fn keep_leases(&self) {
        for address in self.drive.generators.borrow().iter() {
            if let Ok(client) = GeneratorClient::new(address) {
                // A generator that does not answer is noticed by its reader.
                tokio::spawn(async move { client.status().await.is_ok() });
            }
        }
    }

    fn plan_time(&self) -> Span {
        self.drive.clock.now().since(self.start)
    }

    async fn warn(&self, text: String) -> Result<(), RunError> {
        self.drive.tell(Kind::Warning { text }).await
    }
}

/// The instants at which phases begin and end.
struct Marks {
    /// Ascending; each with what is then told.
    ahead: std::collections::VecDeque<(RunTime, Vec<Kind>)>,
    end: RunTime,
}

impl Marks {
    fn of(plan: &LoadPlan, start: RunTime) -> Self {
        let mut ahead: std::collections::VecDeque<(RunTime, Vec<Kind>)> = std::collections::VecDeque::new();
        let mut at = start;
        let mut ending: Vec<Kind> = Vec::new();
        for (index, phase) in (0u32..).zip(&plan.phases) {
            let mut kinds = std::mem::take(&mut ending);
            kinds.push(Kind::PhaseStarted { index, name: phase.name.clone(), at });
            ahead.push_back((at, kinds));
            at = at.plus(phase.length);
            ending.push(Kind::PhaseEnded { index, name: phase.name.clone(), at });
        }
        ahead.push_back((at, ending));
        Self { ahead, end: at }
    }

    fn next(&self) -> Option<RunTime> {
        self.ahead.front().map(|(at, _)| *at)
    }

    fn take(&mut self) -> Vec<Kind> {
        self.ahead.pop_front().map(|(_, kinds)| kinds).unwrap_or_default()
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
