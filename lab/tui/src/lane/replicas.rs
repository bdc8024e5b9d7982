//! The lane of replicas: wanted, existing and ready as steps in whole replicas. The gap between the layers is the scale-up lag.

use lab_core::model::Workload;
use lab_core::unit::{RunTime, Span};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::Role;
use crate::scene::{Scene, Side};

/// A number of replicas holds until it is changed.
const EVER: Span = Span(u64::MAX);

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Replicas;

impl Lane for Replicas {
    fn name(&self) -> &'static str {
        "replicas"
    }

    fn question(&self) -> &'static str {
        "How many replicas are wanted, exist and are ready? The gap between them is how long scaling takes."
    }

    fn rows(&self, tier: Tier) -> (u16, u16) {
        match tier {
            Tier::Line => (0, 0),
            Tier::Small => (1, 4),
            Tier::Normal => (2, 4),
            Tier::Full => (2, 5),
        }
    }

    fn applies(&self, side: &Side<'_>) -> bool {
        side.model.spec(side.trial).is_none_or(|spec| spec.services.workload(side.workload).is_some())
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let plot = place.plot;
        let ghost = scene.ghost.as_ref();
        let most = top(&scene.shown, scene.workload).max(ghost.map_or(0, |side| top(side, scene.workload)));
        let scale = Scale::of(most, plot.height);
        limits(scene, plot, &scale, buf);
        let levels = levels(&scene.shown, scene.workload);
        for (column, level) in (0u16..).zip(&levels) {
            if let Some(level) = level {
                stack(scene, plot, column, *level, &scale, buf);
            }
        }
        if let Some(side) = ghost {
            let row = |n: f64| scale.row(plot, n as u32);
            points(scene, plot, &ready(&self::levels(side, scene.workload)), &ready(&levels), row, buf);
        }
        label(scene, place, &scale, buf);
        values(scene, place, buf);
    }

    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>> {
        ready(&levels(side, side.workload))
    }

    fn tell(&self, number: f64) -> String {
        lab_core::words::digits(number)
    }
}

/// The instant after which nothing of a trial is known, or goes on.
pub(super) fn over(side: &Side<'_>) -> RunTime {
    side.trial.ended.as_ref().map_or(side.until, |end| end.at.min(side.until))
}

/// The other variant's numbers over bars: a point where its bar would end, unless that is the cell in which the own bar ends.
pub(super) fn points(
    scene: &Scene<'_>,
    plot: Rect,
    theirs: &[Option<f64>],
    mine: &[Option<f64>],
    row: impl Fn(f64) -> u16,
    buf: &mut Buffer,
) {
    let (glyph, style) = (scene.look.glyphs().ghost, scene.look.style(Role::Ghost));
    for (column, theirs) in (0u16..).zip(theirs) {
        let mine = mine.get(usize::from(column)).copied().flatten().map(&row);
        if let Some(at) = theirs.map(&row).filter(|at| mine != Some(*at)) {
            canvas::mark(buf, plot, column, at, glyph, style);
        }
    }
}

/// What holds in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    desired: u32,
    created: u32,
    ready: u32,
}

fn levels(side: &Side<'_>, workload: &str) -> Vec<Option<Level>> {
    let Some(workload) = side.trial.workloads.get(workload) else { return Vec::new() };
    let held = |series| side.axis.held(series, EVER, over(side));
    let (desired, created, ready) = (held(&workload.desired), held(&workload.created), held(&workload.ready));
    let level = |((desired, created), ready): ((Option<_>, Option<_>), Option<_>)| {
        let count = |level: Option<lab_core::series::Last<u32>>| level.map(|l| l.0);
        let (desired, created, ready) = (count(desired), count(created), count(ready));
        let (known, or) = (desired.or(created).or(ready).is_some(), |n: Option<u32>| n.unwrap_or(0));
        known.then(|| Level { desired: or(desired), created: or(created), ready: or(ready) })
    };
    desired.into_iter().zip(created).zip(ready).map(level).collect()
}

fn ready(levels: &[Option<Level>]) -> Vec<Option<f64>> {
    levels.iter().map(|level| level.map(|l| f64::from(l.ready))).collect()
}

/// The most that the scale must hold: what the spec allows, or more if there was more.
fn top(side: &Side<'_>, workload: &str) -> u32 {
    let spec = side.model.spec(side.trial).and_then(|spec| spec.services.workload(workload));
    let allowed = spec.map_or(1, |w| w.autoscale.as_ref().map_or(w.replicas, |a| a.max));
    let known = side.trial.workloads.get(workload);
    let most = |w: &Workload| [&w.desired, &w.created].iter().flat_map(|s| s.stretches()).map(|s| s.value.0).max();
    allowed.max(known.and_then(most).unwrap_or(0)).max(1)
}

/// Rows in whole replicas, so that a step is a step: a row stands for `per_row` of them, or each takes `each` rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scale {
    top: u32,
    per_row: u32,
    each: u16,
}

impl Scale {
    fn of(top: u32, height: u16) -> Self {
        let (top, height) = (top.max(1), u32::from(height.max(1)));
        let each = u16::try_from(height / top).unwrap_or(1).max(1);
        Self { top, per_row: top.div_ceil(height), each }
    }

    /// The row of the plot, from its top, in which the n-th replica ends.
    fn row(&self, plot: Rect, n: u32) -> u16 {
        let from_below = match (n, self.per_row) {
            (0, _) => 0,
            (n, 1) => n.saturating_mul(u32::from(self.each)) - 1,
            (n, per_row) => (n - 1) / per_row,
        };
        let last = plot.height.saturating_sub(1);
        last.saturating_sub(u16::try_from(from_below).unwrap_or(u16::MAX))
    }

    /// The replicas that a row stands for, counted from the bottom.
    fn replicas(&self, row: u16) -> (u32, u32) {
        let low = u32::from(row / self.each).saturating_mul(self.per_row);
        (low, low.saturating_add(self.per_row))
    }
}

/// One column. A row that stands for several replicas shows how far the last of them is: solid only when all are ready.
fn stack(scene: &Scene<'_>, plot: Rect, column: u16, level: Level, scale: &Scale, buf: &mut Buffer) {
    let glyphs = scene.look.glyphs();
    let existing = level.created.max(level.ready);
    let all = existing.max(level.desired);
    for from_below in 0..plot.height {
        let (low, high) = scale.replicas(from_below);
        if all <= low {
            break;
        }
        let here = all.min(high);
        let (glyph, role) = if level.ready >= here {
            let eighths = (8 * (here - low)).div_ceil(scale.per_row).min(8);
            (glyphs.bars[eighths as usize], Role::Done)
        } else if existing >= here {
            (glyphs.shades[2], Role::Created)
        } else {
            (glyphs.shades[1], Role::Desired)
        };
        canvas::mark(buf, plot, column, plot.height - 1 - from_below, glyph, scene.look.style(role));
    }
}

/// What the autoscaler may not go below or above.
fn limits(scene: &Scene<'_>, plot: Rect, scale: &Scale, buf: &mut Buffer) {
    let spec = scene.shown.model.spec(scene.shown.trial).and_then(|spec| spec.services.workload(scene.workload));
    let Some(autoscale) = spec.and_then(|w| w.autoscale.as_ref()).filter(|_| plot.height > 1) else { return };
    for limit in [autoscale.min, autoscale.max].into_iter().filter(|n| *n > 0) {
        draw::rule(buf, plot, scale.row(plot, limit), scene.look, Role::Dim);
    }
}

fn label(scene: &Scene<'_>, place: Place, scale: &Scale, buf: &mut Buffer) {
    draw::name(scene, place, Replicas.name(), buf);
    let height = place.label.height;
    draw::tick(scene, place, scale.row(place.plot, scale.top), &scale.top.to_string(), Role::Dim, buf);
    if height > 1 {
        draw::tick(scene, place, height - 1, "0", Role::Dim, buf);
    }
    // Beside a legend there is still room for a tick.
    if place.label.width < 14 {
        return;
    }
    let (shades, style) = (scene.look.glyphs().shades, |role| scene.look.style(role));
    let [want, made, solid] = [shades[1], shades[2], shades[4]].map(String::from);
    let dim = style(Role::Dim);
    let want =
        [(want.as_str(), style(Role::Desired)), ("want ", dim), (made.as_str(), style(Role::Created)), ("made", dim)];
    let ready = [(solid.as_str(), style(Role::Done)), ("ready", dim)];
    for (row, parts) in [(1, &want[..]), (2, &ready[..])] {
        // The last row has the tick of 0.
        if row + 1 < height {
            let label = place.label;
            canvas::line(buf, label, label.left(), label.top().saturating_add(row), parts);
        }
    }
}

fn values(scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let Some(workload) = scene.workload_now() else { return };
    let at =
        |series: &lab_core::series::Series<lab_core::series::Last<u32>>| series.before(scene.now).map(|s| s.value.0);
    let (Some(want), ready) = (at(&workload.desired), at(&workload.ready).unwrap_or(0)) else { return };
    let existing = at(&workload.created).unwrap_or(0);
    let role = if ready < want { Role::Open } else { Role::Done };
    if place.value.height < 2 {
        let long = format!("ready {ready}/{want}");
        let text = if canvas::width(&long) <= place.value.width { long } else { format!("{ready}/{want}") };
        return draw::value(scene, place, 0, &text, role, buf);
    }
    draw::value(scene, place, 0, &format!("want {want}"), Role::Text, buf);
    draw::value(scene, place, 1, &format!("ready {ready}"), role, buf);
    if existing != ready {
        draw::value(scene, place, 2, &format!("made {existing}"), Role::Created, buf);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use lab_core::event::{Event, Kind};
    use lab_core::fixture::Scenario;
    use lab_core::model::Model;
    use proptest::prelude::*;

    use super::*;
    use crate::axis::Axis;
    use crate::frame::dump;
    use crate::look::Look;
    use crate::view::Mode;

    /// The made-up run with next to no load, so that it is made fast.
    pub static QUIET: LazyLock<Vec<Event>> = LazyLock::new(|| {
        let mut scenario = Scenario::autoscale(1);
        scenario.phases.iter_mut().for_each(|phase| phase.1 = 1.0);
        scenario.events()
    });

    pub const SERVICE: &str = "user-service";

    pub fn second(n: f64) -> RunTime {
        RunTime((n * 1e9) as u64)
    }

    /// A trial of the made-up spec (1 to 4 replicas, 70 % CPU, a queue, syncs every 5 s) in which this happens at these seconds.
    pub fn model(kinds: Vec<(f64, Kind)>) -> Model {
        let begin = QUIET.iter().take(2).cloned();
        let then = kinds.into_iter().map(|(at, kind)| (second(at), kind));
        let all = begin.map(|e| (RunTime(0), e.kind)).chain(then).zip(1..);
        let event = |((t, kind), n)| Event { n, t, late: Span::ZERO, src: "test".to_owned(), clock: None, kind };
        Model::of(&all.map(event).collect::<Vec<_>>())
    }

    /// A lane as it is drawn at `now`, a column a second: `label│plot│value` a row.
    pub fn picture(lane: &dyn Lane, model: &Model, now: f64, size: (u16, u16), ascii: bool) -> Vec<String> {
        let trial = model.trials.last().expect("a trial");
        let axis = Axis { zero: RunTime(0), column: Span::from_secs(1), first: 0, width: size.0 };
        let cells = axis.columns(&trial.cells);
        let scene = Scene {
            shown: Side { model, trial, workload: "user-service", axis, cells: &cells, until: second(now) },
            ghost: None,
            difference: false,
            model,
            trial,
            checks: &lab_core::validity::checks(model, trial),
            now: second(now),
            cursor: None,
            workload: SERVICE,
            mode: Mode::Live,
            tier: Tier::Normal,
            look: Look { ascii, ..Look::default() },
            silent: Span::ZERO,
            speed: None,
        };
        let rect = |x, width| Rect { x, y: 0, width, height: size.1 };
        let place = Place { label: rect(0, 15), plot: rect(16, size.0), value: rect(17 + size.0, 12) };
        let mut buf = Buffer::empty(Rect::new(0, 0, 29 + size.0, size.1));
        lane.draw(&scene, place, &mut buf);
        for y in 0..size.1 {
            for x in [15, 16 + size.0] {
                canvas::mark(&mut buf, rect(0, 29 + size.0), x, y, '│', scene.look.style(Role::Dim));
            }
        }
        dump::text(&buf).lines().map(str::to_owned).collect()
    }

    /// The plot alone.
    pub fn plot(picture: &[String]) -> Vec<&str> {
        picture.iter().filter_map(|row| row.split('│').nth(1)).collect()
    }

    fn scaled(at: f64, from: u32, to: u32) -> (f64, Kind) {
        (at, Kind::Scaled { workload: SERVICE.to_owned(), from, to, cause: "autoscaler".to_owned() })
    }

    fn created(at: f64, n: u32) -> (f64, Kind) {
        (at, Kind::ReplicaCreated { workload: SERVICE.to_owned(), replica: format!("{SERVICE}-{n}") })
    }

    fn ready(at: f64, n: u32) -> (f64, Kind) {
        (at, Kind::ReplicaReady { workload: SERVICE.to_owned(), replica: format!("{SERVICE}-{n}") })
    }

    fn step() -> Model {
        model(vec![
            scaled(0.1, 0, 1),
            created(0.2, 1),
            ready(0.9, 1),
            scaled(3.0, 1, 3),
            created(5.0, 2),
            created(5.0, 3),
            ready(7.0, 2),
            ready(9.0, 3),
        ])
    }

    #[test]
    fn the_gap_between_layers_is_the_lag_of_scaling() {
        let drawn = picture(&Replicas, &step(), 11.0, (14, 4), false);
        assert_eq!(plot(&drawn), ["──────────────", "   ░░▒▒▒▒███  ", "   ░░▒▒█████  ", "████████████──"]);
        assert!(drawn[0].starts_with("replicas      4│"), "{drawn:?}");
        assert!(drawn[0].ends_with("want 3") && drawn[1].ends_with("ready 3"), "{drawn:?}");
        let ascii = picture(&Replicas, &step(), 8.0, (14, 4), true);
        assert_eq!(plot(&ascii), ["--------------", "   ..::::     ", "   ..::##     ", "#########-----"]);
        assert!(ascii[2].ends_with("made 3"), "{ascii:?}");
    }

    #[test]
    fn a_row_of_several_replicas_is_solid_only_when_all_are_ready() {
        let drawn = picture(&Replicas, &step(), 11.0, (12, 2), false);
        assert_eq!(plot(&drawn), ["───░░▒▒▒▒▄▄▄", "▄▄▄░░▒▒█████"]);
        let one = picture(&Replicas, &step(), 11.0, (12, 1), false);
        assert_eq!(plot(&one), ["▂▂▂░░▒▒▒▒▆▆▆"]);
        assert!(one[0].ends_with("ready 3/3"), "{one:?}");
    }

    #[test]
    fn what_was_seen_beyond_the_allowed_stretches_the_scale() {
        let drawn = picture(&Replicas, &model(vec![scaled(0.0, 0, 6)]), 1.0, (2, 6), false);
        assert!(drawn[0].starts_with("replicas      6│"), "{drawn:?}");
    }

    proptest! {
        #[test]
        fn each_row_stands_for_whole_replicas(top in 0_u32..500, height in 1_u16..40) {
            let scale = Scale::of(top, height);
            let plot = Rect::new(0, 0, 1, height);
            for n in 1..=top {
                let row = scale.row(plot, n);
                let (low, high) = scale.replicas(height - 1 - row);
                prop_assert!(low < n && n <= high, "{n} in {low}..{high}");
            }
        }
    }
}
