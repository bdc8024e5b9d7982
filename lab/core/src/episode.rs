//! Scaling episodes: what happened between a change of load and the moment all was well again, as instants with their source and
//! precision, and the time between them as a critical path.

mod recovery;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Life, Model, Scaling, Trial, Workload};
use crate::spec::{Load, Shape};
use crate::unit::{RunTime, Span};

pub use recovery::{Recovery, STAYING, recovery};

/// Which way a workload was scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

/// The instants of an episode, in the order of the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// The offered load changed.
    LoadChanged,
    /// The first sample beyond target and tolerance was taken, of those that the autoscaler saw.
    SampleSeen,
    /// The decision that called for the last replica that was needed (up), or that sent the last one away (down).
    Decided,
    /// That replica is being made.
    Created,
    /// Its process runs.
    Started,
    /// It is ready.
    Ready,
    /// It gave its first good answer.
    FirstAnswer,
    /// The latency limit holds again and goes on to hold.
    Recovered,
    /// The replica that was sent away gets no new requests.
    Draining,
    /// It is gone.
    Stopped,
}

impl Point {
    /// What is waited for on the way to this point.
    pub fn leg(self) -> &'static str {
        match self {
            Self::LoadChanged => "",
            Self::SampleSeen => "waiting for a sample",
            Self::Decided => "deciding",
            Self::Created => "creating",
            Self::Started => "starting",
            Self::Ready => "becoming ready",
            Self::FirstAnswer => "waiting for its first request",
            Self::Recovered => "draining the backlog",
            Self::Draining => "choosing who goes",
            Self::Stopped => "finishing what was in flight",
        }
    }
}

/// An instant, who stamped it, and how far it may be off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What.
    pub point: Point,
    /// When.
    pub at: RunTime,
    /// Who stamped it.
    pub source: &'static str,
    /// It happened at most this much earlier than stamped.
    pub precision: Span,
}

/// A part of the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// Where it ends.
    pub to: Point,
    /// How long it took.
    pub took: Span,
}

/// One scaling.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// The workload.
    pub workload: String,
    /// Which way.
    pub direction: Direction,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// The replica that the critical path follows.
    pub replica: Option<String>,
    /// Decisions that changed the number.
    pub decisions: usize,
    /// Known instants on the critical path, in its order, never falling.
    pub marks: Vec<Mark>,
    /// What became of the latency limit; [`Recovery::Unknown`] without a limit and on the way down.
    pub recovery: Recovery,
}

impl Episode {
    /// The time between its instants. They sum to [`Self::length`].
    pub fn path(&self) -> Vec<Leg> {
        let pairs = self.marks.iter().zip(self.marks.iter().skip(1));
        pairs.map(|(a, b)| Leg { to: b.point, took: b.at.since(a.at) }).collect()
    }

    /// From the first known instant to the last.
    pub fn length(&self) -> Span {
        self.marks.last().zip(self.marks.first()).map_or(Span::ZERO, |(last, first)| last.at.since(first.at))
    }

    /// The instant of a point.
    pub fn at(&self, point: Point) -> Option<RunTime> {
        self.marks.iter().find(|m| m.point == point).map(|m| m.at)
    }

    /// From the change of load until the limit held again: t8 − t0.
    pub fn recovered_after(&self) -> Option<Span> {
        Some(self.at(Point::Recovered)?.since(self.at(Point::LoadChanged)?))
    }

    /// The critical path in one line, without a full stop.
    pub fn sentence(&self) -> String {
        let mut parts = Vec::new();
        for leg in self.path() {
            let seconds = leg.took.as_secs_f64();
            if seconds < 0.05 {
                continue;
            }
            let several = leg.to == Point::Decided && self.decisions > 1;
            let steps = if several { format!(" (in {} steps)", self.decisions) } else { String::new() };
            parts.push(format!("{seconds:.1} {}{steps}", leg.to.leg()));
        }
        let end = match (self.direction, self.recovery) {
            (Direction::Up, Recovery::Held) => "; the latency limit held throughout",
            (Direction::Up, Recovery::NotBefore(_)) => "; the latency limit was not met again",
            _ => "",
        };
        format!("{:.1} s: {}{end}", self.length().as_secs_f64(), parts.join(", "))
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// A stretch between two changes of load, and what the limit is judged by.
struct Window {
    from: RunTime,
    until: RunTime,
    /// Whether load rises; None when that is not known.
    rises: Option<bool>,
    quantile: Option<f64>,
}

/// All episodes of a trial, in order of time. A workload is looked at when an autoscaler follows it.
pub fn episodes(model: &Model, trial: &Trial) -> Vec<Episode> {
    let tolerance = model.spec(trial).map_or(0.1, |spec| spec.autoscaler.tolerance);
    let mut found = Vec::new();
    for window in windows(model, trial) {
        for (name, workload) in &trial.workloads {
            let scalings: Vec<_> = workload
                .scalings
                .iter()
                .filter(|s| s.cause == "autoscaler" && window.from <= s.at && s.at < window.until)
                .collect();
            for direction in [Direction::Up, Direction::Down] {
                let up = direction == Direction::Up;
                let mine: Vec<_> =
                    scalings.iter().copied().filter(|s| s.to != s.from && (s.to > s.from) == up).collect();
                if let (Some(first), Some(last)) = (mine.first(), mine.last()) {
                    let scene = Scene { trial, workload, window: &window, tolerance, first, last, scalings: &mine };
                    found.push(if up { scene.up(name) } else { scene.down(name) });
                }
            }
        }
    }
    found.sort_by_key(|e| e.marks.first().map(|m| m.at));
    found
}

/// The stretches between changes of the offered load, by phase and by hand.
fn windows(model: &Model, trial: &Trial) -> Vec<Window> {
    let load = model.spec(trial).and_then(|spec| spec.load.as_ref());
    let quantile = |limit: Option<(f64, Span)>| limit.map(|(q, _)| q);
    let mut starts: Vec<Window> = Vec::new();
    for (index, phase) in &trial.phases {
        let change = load.map(|load| rate_change(load, *index as usize));
        if let (Some(from), false) = (phase.started, change == Some(None)) {
            let (rises, quantile) = (change.flatten(), quantile(trial.limit(*index)));
            starts.push(Window { from, until: RunTime(u64::MAX), rises, quantile });
        }
    }
    let by_hand = trial.changes.iter().filter(|(_, change, _)| change.rate.is_some());
    let quantile = quantile(trial.main_limit());
    starts.extend(by_hand.map(|(from, ..)| Window { from: *from, until: RunTime(u64::MAX), rises: None, quantile }));
    starts.sort_by_key(|w| w.from);
    for i in 1..starts.len() {
        starts[i - 1].until = starts[i].from;
    }
    starts
}

/// Whether the offered rate rises (true) or falls at the start of a phase, or in the course of it; None when it stays.
fn rate_change(load: &Load, index: usize) -> Option<bool> {
    let phase = load.phases.get(index)?;
    let (begins, ends) = edge_rates(&phase.rate, phase.length);
    let before = index.checked_sub(1).and_then(|i| load.phases.get(i)).map_or(0.0, |p| edge_rates(&p.rate, p.length).1);
    let changes = |from: f64, to: f64| ((to - from).abs() > 0.01 * from).then_some(to > from);
    changes(before, begins).or_else(|| changes(begins, ends))
}

fn edge_rates(shape: &Shape, length: Span) -> (f64, f64) {
    match shape {
        Shape::Constant(rate) => (rate.0, rate.0),
        Shape::Ramp { from, to } => (from.0, to.0),
        Shape::Trace { offsets, .. } => {
            let mean = offsets.len() as f64 / length.as_secs_f64().max(1e-9);
            (mean, mean)
        }
    }
}

/// All that one episode is made from.
struct Scene<'a> {
    trial: &'a Trial,
    workload: &'a Workload,
    window: &'a Window,
    tolerance: f64,
    first: &'a Scaling,
    last: &'a Scaling,
    scalings: &'a [&'a Scaling],
}

const RUN: &str = "the run";
const AUTOSCALER: &str = "the autoscaler's input";
const ENVIRONMENT: &str = "the environment";
const GENERATOR: &str = "the generator";

impl Scene<'_> {
    fn up(&self, name: &str) -> Episode {
        let quantile = self.window.quantile;
        let recovery =
            quantile.map_or(Recovery::Unknown, |q| recovery(self.trial, self.window.from, self.window.until, q));
        let recovered = if let Recovery::At(at) = recovery { Some(at) } else { None };
        let replica = self.last_needed(recovered);
        let at = |what| replica.as_ref().and_then(|(replica, created)| self.moment(replica, what, *created));
        let created = replica.as_ref().map(|(_, at)| *at);
        let called =
            created.and_then(|at| self.scalings.iter().rev().find(|s| s.at <= at)).map_or(self.last.at, |s| s.at);
        let marks = [
            self.load_changed(true),
            self.sample_seen(true),
            Some(mark(Point::Decided, called, RUN, Span::ZERO)),
            created.map(|at| mark(Point::Created, at, ENVIRONMENT, Span::ZERO)),
            at(Life::Started).map(|at| mark(Point::Started, at, ENVIRONMENT, Span::ZERO)),
            at(Life::Ready).map(|at| mark(Point::Ready, at, ENVIRONMENT, Span::ZERO)),
            at(Life::FirstAnswer).map(|at| mark(Point::FirstAnswer, at, GENERATOR, Span::ZERO)),
            recovered.map(|at| mark(Point::Recovered, at, GENERATOR, Span::from_secs(1))),
        ];
        let called_by = self.scalings.iter().filter(|s| s.at <= called).count();
        self.episode(name, Direction::Up, replica.map(|(name, _)| name), called_by.max(1), marks, recovery)
    }

    fn down(&self, name: &str) -> Episode {
        let within = |at: RunTime| self.first.at <= at && at < self.window.until;
        // Later stops belong to whatever came after, such as the end of the trial.
        let sent_away = self.first.from.saturating_sub(self.last.to) as usize;
        let mut stopped: Vec<_> =
            self.workload.moments.iter().filter(|m| m.what == Life::Stopped && within(m.at)).collect();
        stopped.sort_by_key(|m| m.at);
        let gone = stopped.into_iter().take(sent_away).next_back();
        let draining = gone.and_then(|gone| {
            let same =
                |m: &&crate::model::Moment| m.replica == gone.replica && m.what == Life::Draining && m.at <= gone.at;
            self.workload.moments.iter().rev().find(same)
        });
        let marks = [
            self.load_changed(false),
            self.sample_seen(false),
            Some(mark(Point::Decided, self.last.at, RUN, Span::ZERO)),
            draining.map(|m| mark(Point::Draining, m.at, ENVIRONMENT, Span::ZERO)),
            gone.map(|m| mark(Point::Stopped, m.at, ENVIRONMENT, Span::ZERO)),
        ];
        let replica = gone.map(|m| m.replica.clone());
        self.episode(name, Direction::Down, replica, self.scalings.len(), marks, Recovery::Unknown)
    }

    fn episode(
        &self,
        name: &str,
        direction: Direction,
        replica: Option<String>,
        decisions: usize,
        marks: impl IntoIterator<Item = Option<Mark>>,
        recovery: Recovery,
    ) -> Episode {
        let mut marks: Vec<Mark> = marks.into_iter().flatten().collect();
        let mut latest = RunTime(0);
        for mark in &mut marks {
            // Stamps of different sources may cross by their precision; time on the path never runs back.
            latest = latest.max(mark.at);
            mark.at = latest;
        }
        let workload = name.to_owned();
        Episode { workload, direction, from: self.first.from, to: self.last.to, replica, decisions, marks, recovery }
    }

    /// The change of load, where it goes the way of the scaling. A fall while load is high has another cause.
    fn load_changed(&self, up: bool) -> Option<Mark> {
        (self.window.rises != Some(!up)).then(|| mark(Point::LoadChanged, self.window.from, RUN, Span::ZERO))
    }

    /// The first sample beyond target and tolerance among those the autoscaler was given up to its first change, and since it last
    /// changed anything else.
    fn sample_seen(&self, above: bool) -> Option<Mark> {
        let until = self.first.at;
        let before = self.workload.scalings.iter().rev().find(|s| s.at < until).map_or(self.window.from, |s| s.at);
        let from = self.window.from.max(before);
        let mut decisions = self.workload.decisions.iter().filter(|d| from <= d.at && d.at <= until);
        decisions.find_map(|decision| {
            let beyond = decision.seen.iter().find(|seen| {
                let ratio = seen.value.map(|value| value / seen.target);
                ratio.is_some_and(|r| if above { r > 1.0 + self.tolerance } else { r < 1.0 - self.tolerance })
            })?;
            let age = beyond.age.unwrap_or_default();
            let taken = RunTime(decision.at.0.saturating_sub(age.0)).max(self.window.from);
            let earlier = self.workload.decisions.iter().rev().find(|d| d.at < decision.at);
            let interval = earlier.map_or(Span::ZERO, |d| decision.at.since(d.at));
            Some(mark(Point::SampleSeen, taken, AUTOSCALER, if beyond.age.is_some() { Span::ZERO } else { interval }))
        })
    }

    /// The replica that became ready last, of those that were ready by the time of recovery; else the one created last.
    fn last_needed(&self, recovered: Option<RunTime>) -> Option<(String, RunTime)> {
        let created = self
            .workload
            .moments
            .iter()
            .filter(|m| m.what == Life::Created && self.first.at <= m.at && m.at < self.window.until);
        let candidates: Vec<_> =
            created.map(|m| (m.replica.clone(), m.at, self.moment(&m.replica, Life::Ready, m.at))).collect();
        let in_time = |ready: &Option<RunTime>| ready.is_some_and(|at| recovered.is_none_or(|by| at <= by));
        let ready = candidates.iter().filter(|(.., ready)| in_time(ready)).max_by_key(|(.., ready)| *ready);
        let last = ready.or_else(|| candidates.iter().max_by_key(|(_, at, _)| *at));
        last.map(|(name, at, _)| (name.clone(), *at))
    }

    fn moment(&self, replica: &str, what: Life, after: RunTime) -> Option<RunTime> {
        let at = self.workload.moments.iter().find(|m| m.replica == replica && m.what == what && m.at >= after)?.at;
        (at < self.window.until).then_some(at)
    }
}

fn mark(point: Point, at: RunTime, source: &'static str, precision: Span) -> Mark {
    Mark { point, at, source, precision }
}
