//! Drives one trial's load: deals the schedule, marks the phases, passes the samples on, deals anew when generators come and go,
//! makes the changes that are asked for.

mod marks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lab_core::control::{LoadChange, LoadPlan, Sample};
use lab_core::deliveries::Fates;
use lab_core::event::Kind;
use lab_core::unit::{RunTime, Span};
use lab_env::{EventSink, GeneratorAddress, Seen};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use crate::clock::RunClock;
use crate::error::RunError;
use crate::faults::Under;
use crate::fleet::{Fleet, Loss, Report};
use crate::interrupt::Interrupt;
use crate::steer::{Done, Turn};

use self::marks::Marks;

/// Time between telling the generators and the first intended request, and before a new deal or a change is in force.
const AHEAD: Duration = Duration::from_millis(600);
/// What may pass after the plan's end and its drain before the last sample is given up.
const GRACE: Duration = Duration::from_secs(5);
/// Time between two calls that keep the generators' leases.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a load waits for a generator when it has none: a new one is started and becomes ready in that time.
const NEWCOMER: Duration = Duration::from_secs(40);
/// Who finishes so shortly before the plan's end has finished with it: clocks differ a little.
const SAME_END: Duration = Duration::from_secs(1);

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
    /// Changes that are asked for while load is driven.
    pub turns: mpsc::Receiver<Turn>,
    /// Where it says which phase is under way.
    pub under: watch::Sender<Under>,
}

/// What was sent and answered, for the check of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driven {
    /// What became of each write, as the samples told it.
    pub fates: Vec<Fates>,
    /// Samples that did not come.
    pub untold: u64,
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
        let mut fleet = Fleet::new(self.clock, plan.clone(), reports);
        let ready = self.generators.borrow_and_update().clone();
        let updated = fleet.update(&ready).await;
        self.warn_all(updated.problems).await?;
        // Only now: measuring the clocks takes time, too.
        let start = self.clock.now().plus(span(AHEAD));
        fleet.start_at(start);
        let dealt = fleet.deal(Span::ZERO).await;
        let late = self.clock.now().since(start);
        self.warn_all(dealt.lost.iter().map(|(generator, reason, _)| not_told(generator, reason))).await?;
        if dealt.generators.is_empty() {
            return Err(RunError::NoGenerator);
        }
        self.tell(Kind::LoadStarted { at: start }).await?;
        self.tell(Kind::SharesDealt { generators: dealt.generators, from_ns: 0, cause: "start".to_owned() }).await?;
        if late > Span::ZERO {
            let text = format!("the generators had the plan {late} after its start: the first requests were sent late");
            self.warn(text).await?;
        }
        let marks = Marks::of(&plan, start);
        let end = self.given_up(&marks, plan.drain);
        Loop {
            drive: self,
            fleet,
            inbox,
            marks,
            start,
            drain: plan.drain,
            end,
            seen: BTreeMap::new(),
            alone: None,
            driven: Driven::default(),
        }
        .run()
        .await
    }

    /// When the last sample is no longer waited for.
    fn given_up(&self, marks: &Marks, drain: Span) -> Instant {
        (self.clock.instant(marks.end()) + drain.to_duration() + GRACE).into()
    }

    async fn tell(&self, kind: Kind) -> Result<(), RunError> {
        self.tell_as("run", kind).await
    }

    async fn warn(&self, text: String) -> Result<(), RunError> {
        self.tell(Kind::Warning { text }).await
    }

    async fn warn_all(&self, texts: impl IntoIterator<Item = String>) -> Result<(), RunError> {
        for text in texts {
            self.warn(text).await?;
        }
        Ok(())
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
    drain: Span,
    end: Instant,
    /// Generator to its plan and the number of its last sample.
    seen: BTreeMap<String, (String, u64)>,
    /// Since when nobody has a share.
    alone: Option<Instant>,
    driven: Driven,
}

impl Loop {
    async fn run(mut self) -> Result<Driven, RunError> {
        let interrupt = self.drive.interrupt.clone();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        while !self.is_over() {
            let alone = self.alone_until();
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
                Some(Turn { change, done }) = self.drive.turns.recv() => {
                    let answer = self.turn(change).await?;
                    // Who asked may have gone away.
                    done.send(answer).ok();
                }
                () = sleep_until(next_mark), if next_mark.is_some() => self.mark().await?,
                changed = self.drive.generators.changed() => {
                    if changed.is_err() {
                        return Err(RunError::NoGenerator);
                    }
                    self.generators_changed().await?;
                }
                _ = heartbeat.tick() => {
                    self.fleet.keep_leases();
                    self.generators_changed().await?;
                }
                () = sleep_until(alone), if alone.is_some() => return Err(self.all_lost()),
                () = tokio::time::sleep_until(self.end) => {
                    self.driven.untold += 1;
                    self.drive.warn("a generator did not send its last sample in time".to_owned()).await?;
                    break;
                }
            }
        }
        if self.alone_until().is_some() {
            return Err(self.all_lost());
        }
        while self.marks.next().is_some() && !self.driven.interrupted {
            self.mark().await?;
        }
        Ok(self.driven)
    }

    /// True when nobody has anything left to report, and nobody can come any more.
    fn is_over(&self) -> bool {
        self.fleet.is_over() && self.dealing_is_over()
    }

    /// When the load is given up because nobody sends it; None while somebody does, or when it is as good as over.
    fn alone_until(&mut self) -> Option<Instant> {
        if self.driven.interrupted || self.fleet.is_sharing() {
            self.alone = None;
            return None;
        }
        let since = *self.alone.get_or_insert_with(Instant::now);
        let end = Instant::from_std(self.drive.clock.instant(self.marks.end()));
        (since + SAME_END < end).then(|| since + NEWCOMER)
    }

    fn all_lost(&self) -> RunError {
        RunError::GeneratorsLost { at_s: self.plan_time().as_secs_f64() }
    }

    async fn cut_short(&mut self) {
        self.driven.interrupted = true;
        self.end = self.end.min(Instant::now() + Duration::from_secs(10));
        self.fleet.stop_load().await;
    }

    async fn sample(&mut self, sample: Arc<Sample>) -> Result<(), RunError> {
        let newest = (sample.plan.clone(), sample.seq);
        let known = match self.seen.insert(sample.generator.clone(), newest) {
            Some((plan, seq)) if plan == sample.plan => seq,
            _ => 0,
        };
        if sample.seq > known + 1 {
            let lost = Kind::SampleLost {
                generator: sample.generator.clone(),
                from_seq: known + 1,
                count: sample.seq - known - 1,
            };
            self.driven.untold += sample.seq - known - 1;
            self.drive.tell(lost).await?;
        }
        if !sample.fates.is_empty() {
            self.driven.fates.push(sample.fates.clone());
        }
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

    async fn lost(&mut self, generator: &str, reason: &str) -> Result<(), RunError> {
        let loss = self.fleet.lose(generator);
        if loss == Loss::None {
            return Ok(());
        }
        self.sample_lost(generator).await?;
        self.drive.warn(format!("{generator} was lost: {reason}")).await?;
        if loss == Loss::Share { self.deal(format!("lost {generator}")).await } else { Ok(()) }
    }

    async fn sample_lost(&mut self, generator: &str) -> Result<(), RunError> {
        self.driven.untold += 1;
        let from_seq = self.seen.get(generator).map_or(0, |(_, seq)| *seq) + 1;
        self.drive.tell(Kind::SampleLost { generator: generator.to_owned(), from_seq, count: 1 }).await
    }

    async fn generators_changed(&mut self) -> Result<(), RunError> {
        if self.dealing_is_over() {
            return Ok(());
        }
        let ready = self.drive.generators.borrow_and_update().clone();
        let updated = self.fleet.update(&ready).await;
        self.drive.warn_all(updated.problems).await?;
        if updated.changed { self.deal("scaled".to_owned()).await } else { Ok(()) }
    }

    fn dealing_is_over(&self) -> bool {
        self.driven.interrupted || self.drive.clock.now() >= self.marks.end()
    }

    async fn deal(&mut self, cause: String) -> Result<(), RunError> {
        if self.dealing_is_over() {
            return Ok(());
        }
        let from = Span(self.plan_time().0 + span(AHEAD).0);
        let dealt = self.fleet.deal(from).await;
        if self.plan_time() > from {
            self.drive
                .warn(format!("shares were dealt {} late: requests may be missing or doubled", {
                    Span(self.plan_time().0 - from.0)
                }))
                .await?;
        }
        self.left_out(&dealt.lost, not_told).await?;
        self.drive.tell(Kind::SharesDealt { generators: dealt.generators, from_ns: from.0, cause }).await
    }

    /// Tells of generators that were lost because they could not be told something.
    async fn left_out(
        &mut self,
        lost: &[(String, String, Loss)],
        sentence: impl Fn(&str, &str) -> String,
    ) -> Result<(), RunError> {
        for (generator, reason, loss) in lost {
            if *loss != Loss::None {
                self.sample_lost(generator).await?;
            }
            self.drive.warn(sentence(generator, reason)).await?;
        }
        Ok(())
    }

    /// Makes a change on all generators at one plan time, far enough ahead that each of them hears of it before.
    async fn turn(&mut self, change: LoadChange) -> Result<Done, RunError> {
        let now = self.plan_time();
        let from = Span(now.0 + span(AHEAD).0);
        let at = self.start.plus(from);
        if self.driven.interrupted || at >= self.marks.end() {
            return Ok(Err("the load is over, or ends before it could be changed".to_owned()));
        }
        let skip = change.skip == Some(true);
        if let Some(why) = self.marks.cannot_skip(self.start.plus(now), at).filter(|_| skip) {
            return Ok(Err(why));
        }
        let change = LoadChange { from_ns: Some(from.0), ..change };
        let changed = self.fleet.change(&change).await;
        if changed.refused.is_none() {
            self.changed(change, at).await?;
        }
        let left_out =
            |generator: &str, why: &str| format!("{generator} did not take the change and is left out: {why}");
        self.left_out(&changed.lost, left_out).await?;
        if let Some((generator, ..)) = changed.lost.iter().find(|(_, _, loss)| *loss == Loss::Share) {
            self.deal(format!("lost {generator}")).await?;
        }
        Ok(changed.refused.map_or(Ok(()), Err))
    }

    async fn changed(&mut self, change: LoadChange, at: RunTime) -> Result<(), RunError> {
        let late = self.drive.clock.now().since(at);
        if late > Span::ZERO {
            let text = format!("the load was changed {late} late: requests may be missing or doubled");
            self.drive.warn(text).await?;
        }
        if change.skip == Some(true) {
            self.marks.skip(at);
            self.end = self.end.min(self.drive.given_up(&self.marks, self.drain));
        }
        self.drive.tell_as("user", Kind::LoadChanged { change, by: "user".to_owned() }).await
    }

    async fn mark(&mut self) -> Result<(), RunError> {
        for kind in self.marks.take() {
            match &kind {
                Kind::PhaseStarted { index, at, .. } => {
                    self.drive.under.send_replace(Some((*index as usize, *at)));
                }
                Kind::PhaseEnded { .. } => {
                    self.drive.under.send_replace(None);
                }
                _ => {}
            }
            self.drive.tell(kind).await?;
        }
        Ok(())
    }

    fn plan_time(&self) -> Span {
        self.drive.clock.now().since(self.start)
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn not_told(generator: &str, reason: &str) -> String {
    format!("{generator} could not be told its share and is left out: {reason}")
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
