//! A view of a run at an instant, as cells. The same model, view, instant, size and look give the same frame, whoever asks and when.

pub mod dump;

use lab_core::model::{Cell, Model, Trial};
use lab_core::spec::Target;
use lab_core::unit::{RunTime, Span};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::axis::Axis;
use crate::canvas;
use crate::columns::Columns;
use crate::layout::{Tier, plot_width};
use crate::look::Look;
use crate::pane::Extras;
use crate::scene::{Scene, Side};
use crate::screen;
use crate::view::{Mode, View, Zoom};

/// Seconds that are seen before load begins, in columns.
const LEAD: i64 = 2;

/// A run at an instant.
#[derive(Debug, Clone, Copy)]
pub struct Instant<'a> {
    /// All that is known by now.
    pub whole: &'a Model,
    /// What was known at the instant: the same as `whole` when that is now.
    pub model: &'a Model,
    /// The instant.
    pub now: RunTime,
    /// The newest instant of `whole`.
    pub end: RunTime,
}

impl<'a> Instant<'a> {
    /// What the lanes show, and until when that is known: in SCRUB everything.
    pub(crate) fn of_lanes(&self, mode: Mode) -> (&'a Model, RunTime) {
        match mode {
            Mode::Scrub(_) => (self.whole, self.end),
            Mode::Live | Mode::Paused(_) => (self.model, self.now),
        }
    }
}

/// Draws a frame. `columns` remembers merged columns from frame to frame; a fresh one gives the same frame.
pub fn frame(
    instant: &Instant<'_>,
    view: &View,
    size: (u16, u16),
    look: Look,
    extras: &Extras<'_>,
    columns: &mut Columns,
) -> Buffer {
    frame_and_below(instant, view, size, look, extras, columns).0
}

/// As [`frame`], with how many lines of a list of events or logs are below those that are seen.
pub(crate) fn frame_and_below(
    instant: &Instant<'_>,
    view: &View,
    size: (u16, u16),
    look: Look,
    extras: &Extras<'_>,
    columns: &mut Columns,
) -> (Buffer, Option<u16>) {
    let area = Rect::new(0, 0, size.0, size.1);
    let mut buf = Buffer::empty(area);
    let empty = Trial::default();
    let index = shown_index(instant, view);
    let trial_now = index.and_then(|i| instant.model.trials.get(i)).unwrap_or(&empty);
    let (shown_model, until) = instant.of_lanes(view.mode);
    let shown_trial = index.and_then(|i| shown_model.trials.get(i)).unwrap_or(&empty);
    let axis = axis(shown_model, shown_trial, view, plot_width(size.0), until, instant.now);
    let other = view.ghost.then(|| index.and_then(|i| ghost_of(shown_model, i))).flatten();
    let cells = columns.update(index, shown_trial, axis, until, other.map(|i| (i, &shown_model.trials[i])));
    let workload = workload(instant.model, trial_now, view);
    let workload = workload.as_str();
    let shown = Side { model: shown_model, trial: shown_trial, workload, axis, cells: cells.shown, until };
    let ghost = other.map(|i| {
        let trial = &shown_model.trials[i];
        let until = trial.ended.as_ref().map_or(until, |end| end.at);
        Side { model: shown_model, trial, workload, axis: shifted(axis, trial), cells: cells.ghost, until }
    });
    let scene = Scene {
        shown,
        ghost,
        difference: view.difference && ghost.is_some(),
        model: instant.model,
        trial: trial_now,
        now: instant.now,
        cursor: matches!(view.mode, Mode::Scrub(_)).then(|| axis.column_of(instant.now)).flatten(),
        workload,
        mode: view.mode,
        tier: Tier::of(area),
        look,
        silent: extras.silent,
        speed: extras.speed,
    };
    let below = screen::run::draw(&scene, view, extras, area, &mut buf);
    if look.ascii {
        canvas::to_ascii(&mut buf);
    }
    (buf, below)
}

/// The trial that a view looks at.
pub fn shown_index(instant: &Instant<'_>, view: &View) -> Option<usize> {
    let newest = instant.model.trials.len().checked_sub(1)?;
    Some(view.trial.unwrap_or(newest).min(newest))
}

/// The trial that a shown one is compared with: another variant's, of the same block if there is one, that has begun its load.
pub fn ghost_of(model: &Model, shown: usize) -> Option<usize> {
    let mine = model.trials.get(shown)?.info?;
    let others = model.trials.iter().enumerate().filter_map(|(i, t)| Some((i, t.info?, t.load_started?)));
    let of_others = others.filter(|(_, info, _)| info.variant != mine.variant);
    of_others.min_by_key(|(i, info, _)| (info.block != mine.block, i.abs_diff(shown))).map(|(i, ..)| i)
}

/// Where a trial's time is 0.
pub fn zero(trial: &Trial) -> RunTime {
    trial.load_started.unwrap_or(trial.started)
}

/// How long the load of a trial was planned; None for a lab that is only up.
pub fn planned(model: &Model, trial: &Trial) -> Option<Span> {
    model.spec(trial)?.load.as_ref().map(lab_core::spec::Load::length)
}

/// The axis of a view on a trial.
pub(crate) fn axis(model: &Model, trial: &Trial, view: &View, width: u16, until: RunTime, now: RunTime) -> Axis {
    let zero = zero(trial);
    let planned = planned(model, trial);
    let until_its_end = |t: RunTime| trial.ended.as_ref().map_or(t, |end| t.min(end.at));
    let passed = until_its_end(until).since(zero);
    let columns = width.saturating_sub(LEAD as u16).max(1);
    match (view.zoom, planned) {
        (Zoom::Fit, Some(planned)) => {
            let column = Axis::fitting(planned.max(passed), columns);
            Axis { zero, column, first: -LEAD, width }
        }
        (zoom, _) => {
            let column = if let Zoom::Column(column) = zoom { column } else { Span::from_secs(1) };
            // A cursor stands in the middle, the newest instant of the trial at the right.
            let (at, right) = match view.mode {
                Mode::Scrub(_) => (now, i64::from(width / 2)),
                Mode::Live | Mode::Paused(_) => (until_its_end(now), 1),
            };
            let at = i64::try_from(at.since(zero).0 / column.0.max(1)).unwrap_or(i64::MAX / 2);
            let first = (at + right - i64::from(width)).max(-LEAD);
            Axis { zero, column, first, width }
        }
    }
}

/// The same columns since another trial's load began.
fn shifted(axis: Axis, trial: &Trial) -> Axis {
    Axis { zero: zero(trial), ..axis }
}

/// The workload that panes and the replicas' lane show.
pub(crate) fn workload(model: &Model, trial: &Trial, view: &View) -> String {
    if let Some(chosen) = &view.workload {
        return chosen.clone();
    }
    let spec = model.spec(trial);
    let scaled = spec.and_then(|spec| {
        let scales = |name: &&str| spec.services.workload(name).is_some_and(|w| w.autoscale.is_some());
        spec.services.names().find(scales)
    });
    // A lab without a load of its own begins with one at its users, when it is asked to.
    let target = spec.and_then(|spec| {
        let name = spec.load.as_ref().map_or(Target::UserService, |load| load.target).name();
        spec.services.workload(name).map(|_| name)
    });
    let known = || trial.workloads.keys().next().map(String::as_str);
    scaled.or(target).or_else(known).unwrap_or("user-service").to_owned()
}

/// Merged cells of an axis.
pub(crate) fn merged(trial: &Trial, axis: &Axis) -> Vec<Option<Cell>> {
    axis.columns(&trial.cells)
}

#[cfg(test)]
mod tests {
    use lab_core::fixture::Scenario;

    use super::*;

    #[test]
    fn an_earlier_trial_is_seen_at_any_length_of_a_column() {
        let model = Model::of(&Scenario::matrix(3, 2).events());
        let (first, now) = (&model.trials[0], model.latest);
        let end = first.ended.as_ref().expect("it is over").at;
        for mode in [Mode::Live, Mode::Paused(now)] {
            let view = View { mode, trial: Some(0), zoom: Zoom::Column(Span::from_secs(1)), ..View::default() };
            let axis = axis(&model, first, &view, 80, now, now);
            assert!(axis.column_of(end).is_some() && merged(first, &axis).iter().any(Option::is_some), "{axis:?}");
        }
    }

    #[test]
    fn keys_are_judged_by_the_axis_that_is_drawn() {
        use crate::app::{Circumstances, Facts, Source};

        let events = Scenario::autoscale(3).events();
        let whole = Model::of(&events);
        let then = RunTime(60_000_000_000);
        let model = Model::of(events.iter().take_while(|event| event.arrived() <= then));
        let instant = Instant { whole: &whole, model: &model, now: then, end: whole.latest };
        for (mode, until) in [(Mode::Live, then), (Mode::Paused(then), then), (Mode::Scrub(then), whole.latest)] {
            for zoom in [Zoom::Fit, Zoom::Column(Span::from_secs(1))] {
                let view = View { mode, zoom, ..View::default() };
                let lines = 0;
                let given =
                    Circumstances { source: Source::Recorded, steerable: false, speed: None, size: (100, 30), lines };
                let (of_keys, (lanes, to)) = (Facts::of(&instant, then, &view, given).plot.1, instant.of_lanes(mode));
                assert_eq!((to, of_keys), (until, axis(lanes, &lanes.trials[0], &view, plot_width(100), to, then)));
            }
        }
    }
}
