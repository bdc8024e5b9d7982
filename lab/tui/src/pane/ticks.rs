//! The labels of the shared axis: time since load began, and how long a column is.

use lab_core::unit::Span;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::header::minutes;
use crate::axis::Axis;
use crate::canvas;
use crate::lane::Place;
use crate::look::{Look, Role};
use crate::scene::Scene;

/// Seconds between labels that are easy to count in.
const NICE: [u64; 20] = [
    5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800,
];
/// Blank columns between labels, at least.
const APART: u16 = 4;

/// A label and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    /// Where its mark stands.
    column: u16,
    text: String,
}

/// Draws it.
pub fn draw(scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let (look, axis) = (scene.look, scene.shown.axis);
    let dim = look.style(Role::Dim);
    if place.plot.height == 0 {
        return;
    }
    let since = if scene.shown.trial.load_started.is_some() { "since load" } else { "since start" };
    canvas::put(buf, place.label, place.label.left(), place.label.top(), since, dim);
    let cursor = scene.cursor.map(|column| cursor(scene, column, place.plot.width));
    for label in labels(axis, place.plot.width) {
        let free = cursor.as_ref().is_none_or(|(at, text)| apart(&label, *at, canvas::width(text)));
        if free {
            write(look, place.plot, label.column, &format!("{}{}", corner(look), label.text), Role::Dim, buf);
        }
    }
    if let Some((at, text)) = cursor {
        write(look, place.plot, at, &text, Role::Cursor, buf);
    }
    let text = column(axis.column, place.value.width);
    canvas::put(buf, place.value, place.value.left(), place.value.top(), &text, dim);
}

fn write(look: Look, plot: Rect, column: u16, text: &str, role: Role, buf: &mut Buffer) {
    let style = look.style(role);
    canvas::put(buf, plot, plot.left().saturating_add(column), plot.top(), text, style);
}

/// Stands under the column of a label.
fn corner(look: Look) -> char {
    if look.ascii { '|' } else { '└' }
}

/// The time of the cursor and where it begins: to the right of the cursor, or to its left where the plot ends.
fn cursor(scene: &Scene<'_>, column: u16, width: u16) -> (u16, String) {
    let time = words::clock(scene.now, scene.shown.axis.zero);
    let after = canvas::width(&time);
    if column.saturating_add(after) < width || column < after {
        return (column, format!("{}{time}", corner(scene.look)));
    }
    let corner = if scene.look.ascii { '|' } else { '┘' };
    (column - after, format!("{time}{corner}"))
}

/// A label leaves the text at `at` alone.
fn apart(label: &Label, at: u16, width: u16) -> bool {
    let end = label.column + 1 + canvas::width(&label.text);
    end < at || label.column > at.saturating_add(width)
}

/// Labels at nice multiples since the zero, each whole and apart from the next.
fn labels(axis: Axis, width: u16) -> Vec<Label> {
    let length = axis.column.0.max(1);
    let longest = canvas::width(&minutes(axis.to().since(axis.zero))).saturating_add(1);
    let least = u64::from(longest + APART).saturating_mul(length);
    let steps = NICE.into_iter().map(Span::from_secs).map(|s| s.0);
    let step = steps.filter(|s| s.is_multiple_of(length)).find(|s| *s >= least);
    let tens = || least.checked_next_multiple_of(length.saturating_mul(10)).unwrap_or(u64::MAX);
    let columns = (step.unwrap_or_else(tens) / length).max(1);
    let columns = i64::try_from(columns).unwrap_or(i64::MAX);
    let first = axis.first.max(0);
    let first = first.checked_add(columns - 1).map_or(i64::MAX, |n| n / columns * columns);
    let mut labels = Vec::new();
    let mut number = first;
    while let Some(column) = number.checked_sub(axis.first).and_then(|c| u16::try_from(c).ok()).filter(|c| *c < width) {
        let at = u64::try_from(number).unwrap_or(0).saturating_mul(length);
        let text = minutes(Span(at));
        if column.saturating_add(1 + canvas::width(&text)) <= width {
            labels.push(Label { column, text });
        }
        number = number.saturating_add(columns);
    }
    labels
}

/// `2 s/column`, short where there is little room.
fn column(length: Span, room: u16) -> String {
    let seconds = length.0 / 1_000_000_000;
    let (n, unit) = match seconds {
        s if s > 0 && s.is_multiple_of(3_600) => (s / 3_600, "h"),
        s if s > 0 && s.is_multiple_of(60) => (s / 60, "min"),
        s => (s, "s"),
    };
    let long = format!("{n} {unit}/column");
    if canvas::width(&long) <= room { long } else { format!("{n} {unit}/col") }
}

#[cfg(test)]
mod tests {
    use lab_core::unit::RunTime;

    use super::*;

    fn axis(seconds: u64, first: i64, width: u16) -> Axis {
        Axis { zero: RunTime(3_000_000_000), column: Span::from_secs(seconds), first, width }
    }

    #[test]
    fn labels_stand_under_their_columns_and_never_touch() {
        let found = labels(axis(2, -2, 75), 75);
        let told: Vec<_> = found.iter().map(|l| (l.column, l.text.as_str())).collect();
        assert_eq!(
            told,
            [(2, "0:00"), (12, "0:20"), (22, "0:40"), (32, "1:00"), (42, "1:20"), (52, "1:40"), (62, "2:00")]
        );
        for seconds in [1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 36_000] {
            for first in [-2, 0, 7, 100_000] {
                let found = labels(axis(seconds, first, 75), 75);
                assert!(!found.is_empty(), "{seconds} {first}");
                for pair in found.windows(2) {
                    let end = pair[0].column + 1 + canvas::width(&pair[0].text);
                    assert!(end + 2 <= pair[1].column, "{seconds} {first}: {pair:?}");
                }
                for label in &found {
                    let at = axis(seconds, first, 75).start_of(label.column).since(RunTime(3_000_000_000));
                    assert_eq!(minutes(at), label.text, "{seconds} {first}");
                }
            }
        }
    }

    #[test]
    fn the_length_of_a_column_fits_its_place() {
        assert_eq!(column(Span::from_secs(2), 12), "2 s/column");
        assert_eq!(column(Span::from_secs(600), 12), "10 min/col");
        assert_eq!(column(Span::from_secs(3_600), 9), "1 h/col");
    }
}
