//! The lane of load: is the offered work done? What lies between the two bars waits or is lost.

use std::cmp::Ordering;

use lab_core::model::Cell;
use lab_core::unit::Span;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::{Look, Role};
use crate::scene::{Scene, Side};

/// Room above the highest planned rate.
const ROOM: f64 = 1.2;
/// Share of the offered requests that may be undone before it is shown at any price: some are always on their way.
const UNDONE: f64 = 0.1;

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Load;

impl Lane for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn question(&self) -> &'static str {
        "Is the offered work done? Solid is done; the light shade above it waits or is lost"
    }

    fn rows(&self, tier: Tier) -> (u16, u16) {
        match tier {
            Tier::Line | Tier::Small => (1, 2),
            Tier::Normal => (2, 3),
            Tier::Full => (3, 4),
        }
    }

    fn applies(&self, _side: &Side<'_>) -> bool {
        true
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let (look, plot) = (scene.look, place.plot);
        let top = scene.ghost.iter().fold(top(&scene.shown), |most, ghost| most.max(top(ghost)));
        labels(scene, place, top, buf);
        draw::missing(&scene.shown).into_iter().for_each(|column| draw::gap(buf, plot, column, look));
        for (column, cell) in (0u16..).zip(scene.shown.cells) {
            if let Some(bars) = cell.as_ref().and_then(Bars::of) {
                bars.draw(buf, plot, column, top, look);
            }
        }
        draw::ghost(self, scene, place, |rate| rate / top, buf);
        values(scene, place, buf);
    }

    /// What was done: what was offered is the same in all variants.
    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>> {
        side.cells.iter().map(|cell| cell.as_ref().and_then(|cell| rate(cell, cell.counts.completed))).collect()
    }

    fn tell(&self, number: f64) -> String {
        format!("{}/s", per_second(number))
    }

    fn better(&self) -> Option<Ordering> {
        Some(Ordering::Greater)
    }
}

/// Both rates of a column, requests a second.
struct Bars {
    offered: f64,
    done: f64,
    /// Enough is undone to be shown at any price.
    undone: bool,
    complete: bool,
}

impl Bars {
    /// None over no time.
    fn of(cell: &Cell) -> Option<Self> {
        let counts = &cell.counts;
        let (offered, done) = (rate(cell, counts.offered)?, rate(cell, counts.completed)?);
        let left = counts.offered.saturating_sub(counts.completed);
        let undone = left > 1 && left as f64 >= UNDONE * counts.offered as f64;
        Some(Self { offered, done, undone, complete: cell.complete() })
    }

    fn draw(&self, buf: &mut Buffer, plot: Rect, column: u16, top: f64, look: Look) {
        let (offered, done) = (draw::eighths(plot, self.offered / top), draw::eighths(plot, self.done / top));
        let glyphs = look.glyphs();
        if !self.complete {
            // Its counts are known to be too low: how far the bar goes is open.
            draw::bar(buf, plot, column, self.done / top, look, Role::Dim);
            let row =
                draw::row_of(plot, offered.max(done).saturating_sub(1) as f64 / f64::from(plot.height.max(1)) / 8.0);
            return canvas::mark(buf, plot, column, row, glyphs.gap, look.style(Role::Dim));
        }
        draw::bar(buf, plot, column, self.done / top, look, Role::Done);
        let light = (undone(look), look.style(Role::Offered));
        let rows = (0..plot.height).filter(|row| shaded(*row, done, offered));
        let mut shade: Vec<u16> = rows.collect();
        if self.undone && shade.is_empty() {
            if plot.height == 1 {
                // One cell for both: the lighter its shade, the less of it is done.
                let level = (4.0 * self.done / self.offered.max(1e-9)).floor().clamp(0.0, 3.0) as usize;
                let shade = glyphs.shades.get(level).copied().filter(|_| level > 1).unwrap_or(light.0);
                return canvas::mark(buf, plot, column, 0, shade, light.1);
            }
            shade.push(offered.saturating_sub(1) / 8);
        }
        for row in shade {
            canvas::mark(buf, plot, column, plot.height.saturating_sub(row.saturating_add(1)), light.0, light.1);
        }
    }
}

/// The shade of undone work: the lightest that no bar looks like.
fn undone(look: Look) -> char {
    look.glyphs().shades[if look.ascii { 2 } else { 1 }]
}

/// Whether a row, counted from the bottom, shows undone work rather than done: the larger part of it is, and it is a half at least.
fn shaded(row: u16, done: u16, offered: u16) -> bool {
    let part = |eighths: u16| eighths.saturating_sub(row.saturating_mul(8)).min(8);
    let (done, offered) = (part(done), part(offered));
    let undone = offered.saturating_sub(done);
    undone >= 4 && undone > done
}

/// The end of the scale: known in advance from the plan and what was set by hand, so that it does not move; beyond that, or without
/// a plan, a round number above what was seen.
fn top(side: &Side<'_>) -> f64 {
    let load = side.model.spec(side.trial).and_then(|spec| spec.load.as_ref());
    let planned = load.iter().flat_map(|load| &load.phases).map(|phase| phase.rate.peak(phase.length).0);
    let by_hand = side.trial.changes.iter().filter_map(|(_, change, _)| change.rate);
    let planned = ROOM * planned.chain(by_hand).filter(|rate| rate.is_finite()).fold(0.0, f64::max);
    let most = |cell: &Cell| rate(cell, cell.counts.offered.max(cell.counts.completed));
    let seen = side.cells.iter().flatten().filter_map(most).fold(0.0, f64::max);
    if planned > 0.0 && seen <= planned { planned } else { draw::nice_above(seen) }
}

fn labels(scene: &Scene<'_>, place: Place, top: f64, buf: &mut Buffer) {
    let (done, undone) = (scene.look.glyphs().bars[8], undone(scene.look));
    let rows = place.label.height;
    if rows == 1 {
        return draw::name(scene, place, if place.label.width > 12 { "offered/done" } else { "load" }, buf);
    }
    draw::name(scene, place, Load.name(), buf);
    draw::tick(scene, place, 0, &Load.tell(top), Role::Dim, buf);
    draw::legend(scene, place, rows.saturating_sub(1), &format!("{done} done"), Role::Done, buf);
    if rows > 2 {
        draw::legend(scene, place, 1, &format!("{undone} undone"), Role::Offered, buf);
    }
}

fn values(scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let Some((cell, stale)) = draw::newest(scene) else { return };
    let Some(bars) = Bars::of(cell) else { return };
    let role = match () {
        () if stale => Role::Dim,
        () if bars.undone => Role::Bad,
        () => Role::Text,
    };
    let unit = if place.value.width >= 12 { "offered/done" } else { "off./done" };
    draw::value(scene, place, 0, &format!("{}/{}", per_second(bars.offered), per_second(bars.done)), role, buf);
    draw::value(scene, place, 1, unit, Role::Dim, buf);
    draw::value(scene, place, 2, "per second", Role::Dim, buf);
}

/// Requests a second. The rest of a second that a load ends in counts as a whole one: of a few answers in a few milliseconds no rate
/// can be told.
fn rate(cell: &Cell, count: u64) -> Option<f64> {
    (cell.over.0 > 0).then(|| count as f64 / cell.over.max(Span::from_secs(1)).as_secs_f64())
}

/// A rate in few characters.
fn per_second(rate: f64) -> String {
    match rate {
        r if r >= 99_999.5 => format!("{}k", words::digits((r / 1_000.0).round())),
        r if r >= 9.95 => words::digits(r.round()),
        r => words::digits((r * 10.0).round() / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::draw::tests::{drawn, events, without};

    const ASCII: Look = Look { theme: crate::look::Theme::Mono, ascii: true };

    #[test]
    fn the_scale_is_known_from_the_plan() {
        let early: Vec<_> = events().into_iter().take(40).collect();
        for events in [events(), early] {
            let rows = drawn(&Load, &events, false, (20, 3), Look::default());
            assert_eq!(rows[0][0], "load      480/s");
        }
    }

    #[test]
    fn undone_work_shows_without_colour() {
        let rows = drawn(&Load, &events(), false, (20, 4), Look::default());
        assert!(rows.iter().any(|row| row[1].contains('░')), "{rows:?}");
        assert!(!rows[3][1].contains('░'), "some was always done: {rows:?}");
        let rows = drawn(&Load, &events(), false, (20, 1), ASCII);
        assert!(rows[0][1].contains([':', '+']), "{rows:?}");
        assert_eq!(rows[0][0], "offered/done");
    }

    #[test]
    fn a_gap_is_a_gap_and_a_part_is_open() {
        let rows = drawn(&Load, &without(events(), 2..=2, None), false, (20, 3), Look::default());
        assert!(rows.iter().all(|row| row[1].chars().nth(3) == Some('╱')), "{rows:?}");
        let rows = drawn(&Load, &without(events(), 2..=2, Some("load-generator-1")), false, (20, 3), Look::default());
        let hatched = rows.iter().filter(|row| row[1].chars().nth(3) == Some('╱'));
        assert_eq!(hatched.count(), 1, "{rows:?}");
    }

    #[test]
    fn the_larger_part_of_a_row_is_what_it_shows() {
        let shown = |done, offered| [0, 1, 2].map(|row| shaded(row, done, offered));
        assert_eq!(shown(8, 24), [false, true, true]);
        assert_eq!(shown(3, 16), [true, true, false]);
        assert_eq!(shown(13, 16), [false, false, false]);
        assert_eq!(shown(8, 10), [false, false, false]);
    }

    #[test]
    fn rates_are_short() {
        assert_eq!(
            [0.04, 3.26, 9.96, 412.4, 99_999.0, 123_456.0].map(per_second),
            ["0", "3.30", "10", "412", "99999", "123k"]
        );
    }
}
