//! What the loop knows of the run when a key comes. Keys are judged by this alone, so that tests need no run.

use lab_core::model::{Model, Replica, Trial, Workload};
use lab_core::spec::Shape;
use lab_core::unit::{RunTime, Span};
use ratatui::layout::Rect;

use crate::axis::Axis;
use crate::frame::{self, Instant};
use crate::keys::Needs;
use crate::layout::{Layout, Tier, plot_width};
use crate::pane;
use crate::scene::Side;
use crate::view::{Panel, View};

/// Whose run is shown, which decides what leaving means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is conducted by the process that shows it.
    Conducted,
    /// It is a lab that the process that shows it holds: its name.
    Held(String),
    /// It is a load without a run, sent by the process that shows it.
    Load,
    /// It is a lab that somebody else holds: its name.
    Attached(String),
    /// It is recorded.
    Recorded,
}

impl Source {
    /// What goes on in the process that shows it, and would stop with it.
    pub fn of_this_process(&self) -> Option<&'static str> {
        match self {
            Self::Conducted => Some("the run"),
            Self::Held(_) => Some("the lab"),
            Self::Load => Some("the load"),
            Self::Attached(_) | Self::Recorded => None,
        }
    }

    /// What becomes of things when the dashboard is left, a sentence a line.
    pub fn on_leaving(&self, up: usize) -> Vec<String> {
        let replicas = lab_core::words::plural(up as u64, "replica");
        match self {
            Self::Conducted => vec![
                "the run goes on, told in sentences, to its end and its report".to_owned(),
                format!("up now: {replicas}, removed when the run ends"),
            ],
            Self::Held(lab) => vec![
                format!("{lab} stays up with {replicas}, told in sentences"),
                format!("remove it with: Ctrl-C in this terminal · lab down --name {lab}"),
            ],
            Self::Load => vec![
                "the load goes on, told in sentences, to its end and its summary".to_owned(),
                "end it with: Ctrl-C in this terminal".to_owned(),
            ],
            Self::Attached(lab) => vec![
                format!("{lab} stays up with {replicas}"),
                format!("see it again with: lab status · remove it with: lab down --name {lab}"),
            ],
            Self::Recorded => vec!["nothing is up".to_owned()],
        }
    }
}

/// When a trial was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// It began.
    pub from: RunTime,
    /// Its load began, or it began.
    pub zero: RunTime,
    /// Its last instant that is known.
    pub to: RunTime,
}

/// What the loop knows that the run's events do not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    /// Whose run it is.
    pub source: Source,
    /// Somebody conducts it and listens.
    pub steerable: bool,
    /// Speed of a replay.
    pub speed: Option<f64>,
    /// Size of the screen, columns and rows.
    pub size: (u16, u16),
    /// Lines that the panel of events or logs could show.
    pub lines: usize,
}

/// The run at the moment of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The instant that a live frame shows; in a replay, where it plays.
    pub now: RunTime,
    /// The newest instant that is known.
    pub newest: RunTime,
    /// All trials that are known.
    pub trials: Vec<Window>,
    /// Index of the shown one.
    pub shown: Option<usize>,
    /// Index of the one that it can be compared with.
    pub ghost: Option<usize>,
    /// How long a column is.
    pub column: Span,
    /// Where the plots are on the screen, and the axis on them.
    pub plot: (Rect, Axis),
    /// Rate that is offered by the newest word, requests a second; None: no load.
    pub rate: Option<f64>,
    /// The load is paused by hand.
    pub load_paused: bool,
    /// Name of the phase under way.
    pub phase: Option<String>,
    /// Replicas of all workloads that exist, those of the shown workload first.
    pub replicas: Vec<String>,
    /// Rows of the table of replicas, in its order, by name.
    pub rows: Vec<String>,
    /// The run is over.
    pub ended: bool,
    /// Somebody conducts it and listens.
    pub steerable: bool,
    /// Whose run it is.
    pub source: Source,
    /// Speed of a replay; None: it is not one.
    pub speed: Option<f64>,
    /// Size of the screen, columns and rows.
    pub size: (u16, u16),
    /// Lines that the panel of events or logs could show.
    pub lines: usize,
}

impl Facts {
    /// The facts of a view of a run; `now` is the instant that a live frame shows. A held frame may know of nothing later than its
    /// instant, so the newest one is whichever of the two is later.
    pub fn of(instant: &Instant<'_>, now: RunTime, view: &View, given: Circumstances) -> Self {
        let whole = instant.whole;
        let newest = instant.end.max(now);
        let shown = frame::shown_index(instant, view);
        let (lanes, until) = instant.of_lanes(view.mode);
        let trial = shown.and_then(|i| lanes.trials.get(i));
        let current = whole.current().filter(|trial| trial.ended.is_none());
        let empty = Trial::default();
        let then = shown.and_then(|i| instant.model.trials.get(i)).unwrap_or(&empty);
        let workload = frame::workload(instant.model, then, view);
        let width = plot_width(given.size.0);
        let second = Axis { zero: RunTime(0), column: Span::from_secs(1), first: 0, width };
        let axis = |trial| frame::axis(lanes, trial, view, width, until, instant.now);
        let axis = trial.map_or(second, axis);
        let area = Rect::new(0, 0, given.size.0, given.size.1);
        let plots = trial.filter(|_| Tier::of(area) > Tier::Line).map(|trial| {
            let side = Side { model: lanes, trial, workload: &workload, axis, cells: &[], until };
            Layout::of(area, &side, view.panel != Panel::Usual).plots()
        });
        let plots = plots.unwrap_or_default();
        let table = then.workloads.get(&workload).map(|w| pane::replicas::rows(w, &view.filter));
        Self {
            now,
            newest,
            trials: windows(whole, newest),
            shown,
            ghost: shown.and_then(|i| frame::ghost_of(lanes, i)),
            column: axis.column,
            plot: (plots, axis),
            rate: current.and_then(|trial| offered(whole, trial)),
            load_paused: current.is_some_and(paused),
            phase: current.and_then(|trial| under_way(trial).map(|(_, name)| name)),
            replicas: current.map(|trial| alive(trial, &workload)).unwrap_or_default(),
            rows: table.into_iter().flatten().map(|row| row.name.to_owned()).collect(),
            ended: whole.ended.is_some(),
            steerable: given.steerable,
            source: given.source,
            speed: given.speed,
            size: given.size,
            lines: given.lines,
        }
    }

    /// A replay that has come to its end.
    pub fn played_out(&self) -> bool {
        self.speed.is_some() && self.now >= self.newest
    }

    /// True when leaving leaves nothing behind.
    pub fn nothing_goes_on(&self) -> bool {
        self.ended || self.source == Source::Recorded
    }

    /// The shown trial's instants.
    pub fn window(&self) -> Option<Window> {
        self.trials.get(self.shown?).copied()
    }

    /// Why a command with such needs can do nothing now; None when it can.
    pub fn missing(&self, needs: Needs) -> Option<&'static str> {
        let steerable = match () {
            () if self.source == Source::Recorded => Some("this is a recording: what happened cannot be changed"),
            () if self.ended => Some("the run is over"),
            () if !self.steerable => Some("nobody listens: the run cannot be steered from here"),
            () => None,
        };
        match needs {
            Needs::Nothing => None,
            Needs::Steerable => steerable,
            Needs::Load => steerable.or(self.rate.is_none().then_some("no load runs")),
            Needs::Phase => steerable.or(self.phase.is_none().then_some("no phase is under way")),
            Needs::Replicas => steerable.or(self.replicas.is_empty().then_some("there are no replicas")),
            Needs::Ghost => self.ghost.is_none().then_some("no other variant has begun its load"),
            Needs::Trials => (self.trials.len() < 2).then_some("there is only this trial"),
            Needs::Replay => self.speed.is_none().then_some("only a replay has a speed"),
        }
    }
}

fn windows(model: &Model, newest: RunTime) -> Vec<Window> {
    let window = |(trial, next): (&Trial, Option<&Trial>)| {
        let ended = trial.ended.as_ref().map(|end| end.at);
        let to = ended.or(next.map(|next| next.started)).unwrap_or(newest);
        Window { from: trial.started, zero: frame::zero(trial), to: to.max(trial.started) }
    };
    let nexts = model.trials.iter().skip(1).map(Some).chain([None]);
    model.trials.iter().zip(nexts).map(window).collect()
}

/// The phase under way: its index and name. One that nobody marked is known by its samples alone, which do not name it.
fn under_way(trial: &Trial) -> Option<(u32, String)> {
    if trial.sends_unmarked() {
        let index = *trial.phases.keys().next_back()?;
        return Some((index, "under way".to_owned()));
    }
    let runs = trial.phases.iter().rev().find(|(_, phase)| phase.started.is_some() && phase.ended.is_none());
    runs.map(|(index, phase)| (*index, phase.name.clone()))
}

/// What is offered: what was set by hand, else what the phase plans all along, else what the newest second had. None when no load runs.
fn offered(model: &Model, trial: &Trial) -> Option<f64> {
    let zero = trial.load_started?;
    let phase = under_way(trial);
    if phase.is_none() && !trial.phases.is_empty() {
        return None;
    }
    let by_hand = trial.newest_changes().find_map(|change| change.rate).filter(|rate| *rate >= 0.0);
    let planned = || {
        let (index, _) = phase?;
        match model.spec(trial)?.load.as_ref()?.phases.get(index as usize)?.rate {
            Shape::Constant(rate) => Some(rate.0),
            Shape::Ramp { .. } | Shape::Trace { .. } => None,
        }
    };
    let seen = || {
        let mut of_this_load = trial.cells.stretches().iter().rev().take_while(|s| s.from >= zero);
        let cell = &of_this_load.find(|s| s.value.complete())?.value;
        cell.per_second(cell.counts.offered)
    };
    by_hand.or_else(planned).or_else(seen)
}

fn paused(trial: &Trial) -> bool {
    trial.newest_changes().find_map(|change| change.pause).unwrap_or(false)
}

/// Names of the replicas that exist, those of one workload first.
fn alive(trial: &Trial, first: &str) -> Vec<String> {
    let exists = |r: &&Replica| r.stopped.is_none() && r.created.or(r.started).or(r.ready).is_some();
    let of = |w: &Workload| -> Vec<String> {
        w.replicas.iter().filter(|(_, r)| exists(r)).map(|(name, _)| name.clone()).collect()
    };
    let mut workloads: Vec<_> = trial.workloads.iter().collect();
    workloads.sort_by_key(|(name, _)| name.as_str() != first);
    workloads.into_iter().flat_map(|(_, workload)| of(workload)).collect()
}

#[cfg(test)]
mod tests {
    use lab_core::fixture::Scenario;

    use super::*;

    fn given() -> Circumstances {
        Circumstances { source: Source::Conducted, steerable: true, speed: None, size: (100, 30), lines: 0 }
    }

    fn at(events: &[lab_core::event::Event], seconds: u64) -> Facts {
        let t = RunTime(seconds * 1_000_000_000);
        let model = Model::of(events.iter().take_while(|event| event.arrived() <= t));
        let instant = Instant { whole: &model, model: &model, now: t, end: t };
        Facts::of(&instant, t, &View::default(), given())
    }

    #[test]
    fn the_facts_are_those_of_the_run() {
        let events = Scenario::autoscale(3).events();
        let zero = Model::of(&events).trials[0].load_started.expect("load");
        let begin = zero.0 / 1_000_000_000;
        let before = at(&events, 1);
        assert_eq!((before.rate, before.phase, before.ended), (None, None, false));
        let step = at(&events, begin + 60);
        assert_eq!((step.rate, step.phase.as_deref()), (Some(400.0), Some("step")));
        assert!(step.replicas.len() > 2 && step.replicas[0].starts_with("user-service"), "{:?}", step.replicas);
        assert_eq!(step.window().map(|w| w.zero), Some(zero));
        assert_eq!(step.ghost, None);
        assert!(step.rows.iter().all(|row| step.replicas.contains(row)), "{:?}", step.rows);
        let over = at(&events, 10_000);
        assert!(over.ended && over.rate.is_none() && over.replicas.is_empty());
    }

    #[test]
    fn a_rate_by_hand_is_what_is_offered_until_the_phases_have_it_again() {
        let mut events = Scenario::autoscale(3).events();
        let t = RunTime(60_000_000_000);
        events.retain(|event| event.t <= t);
        let mut offered_after = |rate: f64, pause: bool| {
            let change = lab_core::control::LoadChange { rate: Some(rate), pause: Some(pause), ..Default::default() };
            let n = events.len() as u64 + 1;
            let kind = lab_core::event::Kind::LoadChanged { change, by: "user".to_owned() };
            events.push(lab_core::event::Event { n, t, src: "run".to_owned(), late: Span::ZERO, clock: None, kind });
            let facts = at(&events, 60);
            (facts.rate, facts.load_paused)
        };
        assert_eq!(offered_after(250.0, true), (Some(250.0), true));
        assert_eq!(offered_after(-1.0, false), (Some(400.0), false));
    }

    #[test]
    fn load_whose_phases_nobody_marks_can_be_steered_and_each_load_is_for_itself() {
        use lab_core::control::LoadChange;
        use lab_core::event::{Event, Kind};
        let mark = |kind: &Kind| {
            matches!(
                kind,
                Kind::PhaseStarted { .. } | Kind::PhaseEnded { .. } | Kind::TrialEnded { .. } | Kind::RunEnded { .. }
            )
        };
        let mut events = Scenario::autoscale(3).events();
        events.retain(|event| !mark(&event.kind));
        let over = at(&events, 10_000);
        assert_eq!((over.rate, over.phase), (None, None), "every generator has sent its last sample");
        let seconds = |s: u64| RunTime(s * 1_000_000_000);
        events.retain(|event| event.t <= seconds(60));
        let runs = at(&events, 60);
        assert!(runs.rate.is_some() && runs.phase.is_some(), "{:?}", runs.missing(Needs::Load));
        let change = LoadChange { rate: Some(250.0), pause: Some(true), ..LoadChange::default() };
        let mut then = |s: u64, kind: Kind| {
            let n = events.last().map_or(1, |event| event.n + 1);
            events.push(Event { n, t: seconds(s), src: "run".to_owned(), late: Span::ZERO, clock: None, kind });
            at(&events, s)
        };
        let by_hand = then(61, Kind::LoadChanged { change, by: "user".to_owned() });
        assert_eq!((by_hand.rate, by_hand.load_paused), (Some(250.0), true));
        let again = then(62, Kind::LoadStarted { at: seconds(62) });
        assert!(again.rate != Some(250.0) && !again.load_paused, "{:?}", again.rate);
    }

    #[test]
    fn trials_follow_one_another() {
        let events = Scenario::matrix(3, 2).events();
        let facts = at(&events, 10_000);
        assert_eq!(facts.trials.len(), 6);
        assert!(facts.trials.iter().all(|w| w.from <= w.zero && w.zero < w.to));
        assert!(facts.trials.windows(2).all(|pair| pair[0].to <= pair[1].from));
        assert!(facts.ghost.is_some());
    }
}
