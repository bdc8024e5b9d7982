//! What several lanes draw alike: labels, values, bars, gaps, the ghost, the difference.

use std::cmp::Ordering;

use lab_core::model::Cell;
use lab_core::unit::{RunTime, Span};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Lane, Place};
use crate::canvas;
use crate::look::{Look, Role};
use crate::scene::{Scene, Side, newest_second};

/// Samples come a little after their second; before that, a second without one is not missing.
const DUE: Span = Span::from_secs(5);
/// Number of the shown trial over that of the ghost below which they are drawn as equal.
const EQUAL: f64 = 1.07;
/// That ratio at which a difference fills its half of the plot.
const FULL: f64 = 4.0;

/// The lane's name at the top of its label.
pub fn name(scene: &Scene<'_>, place: Place, name: &str, buf: &mut Buffer) {
    canvas::put(buf, place.label, place.label.left(), place.label.top(), name, scene.look.style(Role::Title));
}

/// Text at the left of the label, on a row of the lane: a legend.
pub fn legend(scene: &Scene<'_>, place: Place, row: u16, text: &str, role: Role, buf: &mut Buffer) {
    if row < place.label.height {
        let y = place.label.top().saturating_add(row);
        canvas::put(buf, place.label, place.label.left(), y, text, scene.look.style(role));
    }
}

/// A tick of the scale at the right edge of the label, on a row of the lane.
pub fn tick(scene: &Scene<'_>, place: Place, row: u16, text: &str, role: Role, buf: &mut Buffer) {
    if row < place.label.height {
        canvas::put_right(buf, place.label, row, text, scene.look.style(role));
    }
}

/// A value at the instant, on a row of the lane.
pub fn value(scene: &Scene<'_>, place: Place, row: u16, text: &str, role: Role, buf: &mut Buffer) {
    if row < place.value.height {
        let text = canvas::fit(text, place.value.width, scene.look.glyphs().cut);
        let y = place.value.top().saturating_add(row);
        canvas::put(buf, place.value, place.value.left(), y, &text, scene.look.style(role));
    }
}

/// The newest second of load that was complete at the instant, and whether it is so old that it says nothing of now.
pub fn newest<'a>(scene: &Scene<'a>) -> Option<(&'a Cell, bool)> {
    let newest = newest_second(scene.trial)?;
    Some((&newest.value, scene.now.since(newest.to) > DUE))
}

/// A bar in a column, from the bottom of `area`: `share` of its height, in eighths of a row. What is more than nothing shows.
pub fn bar(buf: &mut Buffer, area: Rect, column: u16, share: f64, look: Look, role: Role) {
    let eighths = eighths(area, share);
    let style = look.style(role);
    for row in 0..area.height {
        let filled = eighths.saturating_sub(row.saturating_mul(8)).min(8);
        if filled > 0 {
            canvas::mark(buf, area, column, area.height - 1 - row, look.glyphs().bars[usize::from(filled)], style);
        }
    }
}

/// A share of the height of `area` in eighths of a row; what is more than nothing is at least one.
pub fn eighths(area: Rect, share: f64) -> u16 {
    let eighths = (share.clamp(0.0, 1.0) * f64::from(area.height) * 8.0).round() as u16;
    if share > 0.0 && area.height > 0 { eighths.max(1) } else { eighths }
}

/// The row at which a share of the height of `area` stands: 0 is the bottom row, 1 the top row.
pub fn row_of(area: Rect, share: f64) -> u16 {
    let rows = f64::from(area.height.max(1));
    area.height.saturating_sub(1).saturating_sub((share.clamp(0.0, 1.0) * rows).min(rows - 1.0) as u16)
}

/// The smallest number with one easy digit (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) times a power of ten that is not below `value`.
pub fn nice_above(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let decade = 10_f64.powf(value.log10().floor());
    // A little slack, because powers of ten are not exact.
    const STEPS: [f64; 11] = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    STEPS.iter().map(|step| step * decade).find(|top| *top >= value * (1.0 - 1e-9)).unwrap_or(value)
}

/// A rule across the plot, under what is drawn later.
pub fn rule(buf: &mut Buffer, area: Rect, row: u16, look: Look, role: Role) {
    for column in 0..area.width {
        canvas::mark(buf, area, column, row, look.glyphs().horizontal, look.style(role));
    }
}

/// A stretch of which nothing is known, inside what was measured.
pub fn gap(buf: &mut Buffer, area: Rect, column: u16, look: Look) {
    for row in 0..area.height {
        canvas::mark(buf, area, column, row, look.glyphs().gap, look.style(Role::Dim));
    }
}

/// The columns between the first and the last that hold something: what is missing there is a gap, what lies outside is not.
pub fn known<T>(columns: &[Option<T>]) -> std::ops::Range<usize> {
    let first = columns.iter().position(Option::is_some);
    let last = columns.iter().rposition(Option::is_some);
    first.zip(last).map_or(0..0, |(first, last)| first..last + 1)
}

/// Columns in which load ran and of which no sample came: inside what was measured, and up to now while a phase is under way.
pub fn missing(side: &Side<'_>) -> Vec<u16> {
    let axis = &side.axis;
    let column = |t: RunTime| if t < axis.from() { 0 } else { axis.column_of(t).unwrap_or(axis.width) };
    let known = known(side.cells);
    let begin = side.trial.load_started.map_or(known.start, |t| usize::from(column(t)));
    let running =
        side.trial.ended.is_none() && side.trial.phases.values().any(|p| p.started.is_some() && p.ended.is_none());
    let due = running.then(|| usize::from(column(RunTime(side.until.0.saturating_sub(DUE.0)))));
    let measured = side.trial.cells.last().map(|s| RunTime(s.from.0 + s.to.since(s.from).0 / 2));
    let measured = measured.filter(|t| *t >= axis.from()).map(|t| usize::from(column(t)));
    let end = due.max(measured).unwrap_or(0).max(known.end).min(side.cells.len());
    (begin..end).filter(|c| side.cells[*c].is_none()).filter_map(|c| u16::try_from(c).ok()).collect()
}

/// The ghost's numbers as dimmed points, where they stand in another row than those of the shown trial; `scale` turns a number into
/// a share of the height.
pub fn ghost(lane: &dyn Lane, scene: &Scene<'_>, place: Place, scale: impl Fn(f64) -> f64, buf: &mut Buffer) {
    let Some(side) = &scene.ghost else { return };
    let row = |number: f64| row_of(place.plot, scale(number));
    let mine = lane.numbers(&scene.shown);
    for (column, number) in (0u16..).zip(lane.numbers(side)) {
        let Some(theirs) = number.map(row) else { continue };
        if mine.get(usize::from(column)).copied().flatten().map(row) != Some(theirs) {
            let (glyph, style) = (scene.look.glyphs().ghost, scene.look.style(Role::Ghost));
            canvas::mark(buf, place.plot, column, theirs, glyph, style);
        }
    }
}

/// By how much the shown trial differs from the ghost, a column: above the middle where its number is higher, below where it is
/// lower; a factor of [`FULL`] fills a half. Lanes without numbers draw as always.
pub fn difference(lane: &dyn Lane, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let (mine, theirs) = (lane.numbers(&scene.shown), scene.ghost.as_ref().map(|g| lane.numbers(g)));
    let Some(theirs) = theirs.filter(|_| !mine.is_empty()) else { return lane.draw(scene, place, buf) };
    name(scene, place, lane.name(), buf);
    let middle = place.plot.height / 2;
    if place.plot.height > 2 {
        tick(scene, place, 0, "4x", Role::Dim, buf);
        tick(scene, place, middle, "same", Role::Dim, buf);
        tick(scene, place, place.plot.height - 1, "1/4", Role::Dim, buf);
    }
    rule(buf, place.plot, middle, scene.look, Role::Dim);
    for (column, pair) in (0u16..).zip(mine.iter().zip(&theirs)) {
        if let (Some(a), Some(b)) = pair {
            compared(lane, scene.look, place.plot, column, (*a, *b), buf);
        }
    }
    let axis = &scene.shown.axis;
    let newest = || if scene.now < axis.to() { axis.column_of(scene.now) } else { axis.width.checked_sub(1) };
    let at = scene.cursor.or_else(newest).map(usize::from);
    let at = at.and_then(|at| (0..=at).rev().find(|c| mine.get(*c).is_some_and(Option::is_some)));
    let pair = at.and_then(|at| Some((mine.get(at).copied()??, theirs.get(at).copied()??)));
    match pair {
        Some((a, b)) if place.value.height < 2 => {
            value(scene, place, 0, &format!("{}/{}", lane.tell(a), lane.tell(b)), Role::Text, buf);
        }
        Some((a, b)) => {
            value(scene, place, 0, &lane.tell(a), Role::Text, buf);
            value(scene, place, 1, &format!("vs {}", lane.tell(b)), Role::Ghost, buf);
        }
        None => {}
    }
}

/// One column of a difference.
fn compared(lane: &dyn Lane, look: Look, plot: Rect, column: u16, (a, b): (f64, f64), buf: &mut Buffer) {
    let middle = plot.height / 2;
    let weight = (a.max(1e-9) / b.max(1e-9)).log(FULL).clamp(-1.0, 1.0);
    let (glyph, higher) = match weight {
        w if w >= EQUAL.log(FULL) => ('+', Ordering::Greater),
        w if w <= -EQUAL.log(FULL) => ('-', Ordering::Less),
        _ => return canvas::mark(buf, plot, column, middle, '=', look.style(Role::Dim)),
    };
    let role = match lane.better() {
        Some(better) if better == higher => Role::Good,
        Some(_) => Role::Bad,
        None => Role::Text,
    };
    let rows = (weight.abs() * f64::from(middle.max(1))).ceil() as u16;
    for step in 0..rows.max(1) {
        // The middle row is the rule; a lane of one row has no other.
        let step = if plot.height > 2 { step.saturating_add(1) } else { step };
        let row = if higher == Ordering::Greater { middle.checked_sub(step) } else { middle.checked_add(step) };
        if let Some(row) = row {
            canvas::mark(buf, plot, column, row, glyph, look.style(role));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lab_core::event::{Event, Kind};
    use lab_core::fixture::Scenario;
    use lab_core::model::Model;

    use super::*;
    use crate::axis::Axis;
    use crate::layout::Tier;
    use crate::view::Mode;

    /// A short run: 3 s at 100/s, 8 s at 400/s, which one replica cannot do.
    pub fn events() -> Vec<Event> {
        let phases = vec![("warm-up", 100.0, 3, false), ("step", 400.0, 8, true)];
        Scenario { phases, ..Scenario::autoscale(3) }.events()
    }

    /// Without the samples of some seconds, counted from 1; of one generator or of all.
    pub fn without(events: Vec<Event>, seconds: std::ops::RangeInclusive<u64>, generator: Option<&str>) -> Vec<Event> {
        let lost = |event: &Event| match &event.kind {
            Kind::Sample(s) => seconds.contains(&s.seq) && generator.is_none_or(|name| s.generator == name),
            _ => false,
        };
        events.into_iter().filter(|e| !lost(e)).collect()
    }

    /// What a lane draws of the last trial of a run at 1 s a column, as text: label, plot and value of each row. With a ghost, the
    /// first trial is it.
    pub fn drawn(
        lane: &dyn Lane,
        events: &[Event],
        ghost: bool,
        (width, height): (u16, u16),
        look: Look,
    ) -> Vec<[String; 3]> {
        let model = Model::of(events);
        let now = model.latest;
        let trial = model.trials.last().expect("a trial");
        let axis_of = |trial| Axis { zero: crate::frame::zero(trial), column: Span::from_secs(1), first: -2, width };
        let side = |trial, cells| Side {
            model: &model,
            trial,
            workload: "user-service",
            axis: axis_of(trial),
            cells,
            until: now,
        };
        let cells = crate::frame::merged(trial, &axis_of(trial));
        let theirs = crate::frame::merged(&model.trials[0], &axis_of(&model.trials[0]));
        let scene = Scene {
            shown: side(trial, &cells),
            ghost: ghost.then(|| side(&model.trials[0], &theirs)),
            difference: false,
            model: &model,
            trial,
            now,
            cursor: None,
            workload: "user-service",
            mode: Mode::Live,
            tier: Tier::Normal,
            look,
            silent: Span::ZERO,
            speed: None,
        };
        let label = Rect::new(0, 0, 15, height);
        let plot = Rect { x: 16, width, ..label };
        let value = Rect { x: 17 + width, width: 12, ..label };
        let mut buf = Buffer::empty(Rect::new(0, 0, width + 29, height));
        lane.draw(&scene, Place { label, plot, value }, &mut buf);
        let text = |area: Rect, y| (area.left()..area.right()).map(|x| buf[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| [label, plot, value].map(|area| text(area, y).trim_end().to_owned())).collect()
    }

    #[test]
    fn scales_end_at_round_numbers() {
        let tops = [(0.0, 1.0), (0.011, 0.012), (1.0, 1.0), (556.0, 600.0), (1_000.0, 1_000.0), (f64::NAN, 1.0)];
        for (value, top) in tops {
            assert!((nice_above(value) - top).abs() < 1e-9, "{value}: {}", nice_above(value));
        }
    }

    #[test]
    fn bars_and_rows_stay_inside_of_any_area() {
        for height in [0, 1, 3] {
            let area = Rect::new(0, 0, 2, height);
            let mut buf = Buffer::empty(area);
            for share in [-1.0, 0.0, 1e-9, 0.5, 1.0, 9.0, f64::NAN] {
                bar(&mut buf, area, 1, share, Look::default(), Role::Done);
                assert!(row_of(area, share) < height.max(1));
            }
        }
        let area = Rect::new(0, 0, 1, 2);
        assert_eq!([0.0, 1e-9, 0.5, 1.0].map(|share| eighths(area, share)), [0, 1, 8, 16]);
    }

    #[test]
    fn lost_samples_are_missing_and_what_lies_outside_of_the_load_is_not() {
        let events = without(events(), 5..=6, None);
        let model = Model::of(&events);
        let trial = &model.trials[0];
        let axis = Axis { zero: crate::frame::zero(trial), column: Span::from_secs(1), first: -2, width: 40 };
        let cells = crate::frame::merged(trial, &axis);
        let side = Side { model: &model, trial, workload: "user-service", axis, cells: &cells, until: model.latest };
        assert_eq!(missing(&side), [6, 7]);
    }

    #[test]
    fn a_generator_that_falls_silent_under_load_leaves_a_gap_up_to_now() {
        let all = events();
        let zero = Model::of(&all).trials[0].load_started.expect("load");
        let events: Vec<_> =
            without(all, 4..=99, None).into_iter().filter(|e| e.t < zero.plus(Span::from_secs(10))).collect();
        let model = Model::of(&events);
        let trial = &model.trials[0];
        let axis = Axis { zero, column: Span::from_secs(1), first: -2, width: 40 };
        let cells = crate::frame::merged(trial, &axis);
        let side = Side {
            model: &model,
            trial,
            workload: "user-service",
            axis,
            cells: &cells,
            until: zero.plus(Span::from_secs(10)),
        };
        assert_eq!(missing(&side), [5, 6]);
    }

    /// Two variants, the second with slower answers.
    fn pair() -> Vec<Event> {
        let mut scenario = Scenario { phases: vec![("hold", 100.0, 6, true)], ..Scenario::matrix(3, 1) };
        scenario.variants.truncate(2);
        scenario.variants[1].work = Span::from_millis(30);
        scenario.events()
    }

    #[test]
    fn the_ghost_shows_where_it_differs() {
        let ghosts = |ghost, lane: &dyn Lane| {
            let rows = drawn(lane, &pair(), ghost, (12, 10), Look::default());
            rows.iter().map(|row| row[1].matches('·').count()).sum::<usize>()
        };
        assert!(ghosts(true, &crate::lane::latency::Latency) >= 4);
        assert_eq!(ghosts(true, &crate::lane::errors::Errors), 0, "neither has any");
        assert_eq!(ghosts(false, &crate::lane::latency::Latency), 0);
    }

    #[test]
    fn differences_say_which_way_and_whether_it_is_better() {
        let look = Look::default();
        let plot = Rect::new(0, 0, 4, 5);
        let mut buf = Buffer::empty(plot);
        let lane = crate::lane::latency::Latency;
        for (column, pair) in [(4.0, 1.0), (1.0, 4.0), (1.0, 1.05), (1.5, 1.0)].into_iter().enumerate() {
            compared(&lane, look, plot, column as u16, pair, &mut buf);
        }
        let rows: Vec<String> = (0..5).map(|y| (0..4).map(|x| buf[(x, y)].symbol()).collect()).collect();
        assert_eq!(rows, ["+   ", "+  +", "  = ", " -  ", " -  "]);
        assert_eq!(buf[(0, 0)].fg, look.style(Role::Bad).fg.expect("a colour"));
        assert_eq!(buf[(1, 4)].fg, look.style(Role::Good).fg.expect("a colour"));
    }

    #[test]
    fn lanes_stand_any_size() {
        let lanes: [&dyn Lane; 4] = [
            &crate::lane::events::Events,
            &crate::lane::load::Load,
            &crate::lane::latency::Latency,
            &crate::lane::errors::Errors,
        ];
        let (events, nothing) = (events(), [events()[0].clone(), events()[1].clone()]);
        for size in [(0, 0), (1, 0), (0, 1), (1, 1), (3, 2), (200, 30)] {
            for lane in lanes {
                assert_eq!(drawn(lane, &events, true, size, Look::default()).len(), usize::from(size.1));
                drawn(lane, &nothing, false, size, Look::default());
            }
        }
    }
}
