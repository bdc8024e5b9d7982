//! What several lanes draw alike: labels, values, bars, the ghost, the difference.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Lane, Place};
use crate::canvas;
use crate::look::{Look, Role};
use crate::scene::Scene;

/// The lane's name at the top of its label.
pub fn name(scene: &Scene<'_>, place: Place, name: &str, buf: &mut Buffer) {
    canvas::put(buf, place.label, place.label.left(), place.label.top(), name, scene.look.style(Role::Title));
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
        let y = place.value.top() + row;
        canvas::put(buf, place.value, place.value.left(), y, &text, scene.look.style(role));
    }
}

/// A bar in a column, from the bottom of `area`: `share` of its height, in eighths of a row. What is more than nothing shows.
pub fn bar(buf: &mut Buffer, area: Rect, column: u16, share: f64, look: Look, role: Role) {
    let eighths = (share.clamp(0.0, 1.0) * f64::from(area.height) * 8.0).round() as u16;
    let eighths = if share > 0.0 { eighths.max(1) } else { eighths };
    let style = look.style(role);
    for row in 0..area.height {
        let filled = eighths.saturating_sub(row * 8).min(8);
        if filled > 0 {
            canvas::mark(buf, area, column, area.height - 1 - row, look.glyphs().bars[usize::from(filled)], style);
        }
    }
}

/// The row at which a share of the height of `area` stands: 0 is the bottom row, 1 the top row.
pub fn row_of(area: Rect, share: f64) -> u16 {
    let rows = f64::from(area.height.max(1));
    area.height.saturating_sub(1).saturating_sub((share.clamp(0.0, 1.0) * rows).min(rows - 1.0) as u16)
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

/// The ghost's numbers as dimmed points; `scale` turns a number into a share of the height.
pub fn ghost(lane: &dyn Lane, scene: &Scene<'_>, place: Place, scale: impl Fn(f64) -> f64, buf: &mut Buffer) {
    let Some(side) = &scene.ghost else { return };
    for (column, number) in (0u16..).zip(lane.numbers(side)) {
        let Some(number) = number else { continue };
        let row = row_of(place.plot, scale(number));
        canvas::mark(buf, place.plot, column, row, scene.look.glyphs().ghost, scene.look.style(Role::Ghost));
    }
}

/// By how much the shown trial differs from the ghost, a column: above the middle where its number is higher, below where it is
/// lower; a full half is a factor of four, or one whole for numbers that count things. Lanes without numbers draw as always.
pub fn difference(lane: &dyn Lane, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let (mine, theirs) = (lane.numbers(&scene.shown), scene.ghost.as_ref().map(|g| lane.numbers(g)));
    let Some(theirs) = theirs.filter(|_| !mine.is_empty()) else { return lane.draw(scene, place, buf) };
    name(scene, place, lane.name(), buf);
    let look = scene.look;
    let middle = place.plot.height / 2;
    rule(buf, place.plot, middle, look, Role::Dim);
    for (column, pair) in (0u16..).zip(mine.iter().zip(&theirs)) {
        let (Some(a), Some(b)) = pair else { continue };
        let weight = (a.max(1e-9) / b.max(1e-9)).log(4.0).clamp(-1.0, 1.0);
        let rows = (weight.abs() * f64::from(middle.max(1))).ceil() as u16;
        let (glyph, role) = match weight {
            w if w > 0.05 => ('+', Role::Bad),
            w if w < -0.05 => ('-', Role::Good),
            _ => ('=', Role::Dim),
        };
        if role == Role::Dim {
            canvas::mark(buf, place.plot, column, middle, glyph, look.style(role));
        }
        for step in 0..rows.max(u16::from(place.plot.height == 1)) {
            if role == Role::Dim {
                break;
            }
            let row = if weight > 0.0 { middle.saturating_sub(step) } else { middle + step };
            canvas::mark(buf, place.plot, column, row, glyph, look.style(role));
        }
    }
    let at = scene.cursor.or_else(|| scene.shown.axis.column_of(scene.now)).map(usize::from);
    let at = at.and_then(|at| (0..=at).rev().find(|c| mine.get(*c).is_some_and(Option::is_some)));
    let pair = at.and_then(|at| Some((mine.get(at).copied()??, theirs.get(at).copied()??)));
    if let Some((a, b)) = pair {
        value(scene, place, 0, &lane.tell(a), Role::Text, buf);
        value(scene, place, 1, &format!("vs {}", lane.tell(b)), Role::Ghost, buf);
    }
}
