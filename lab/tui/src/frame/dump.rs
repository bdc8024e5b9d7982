//! A frame as text: plain, with escape codes for a terminal, as a picture, and as a list of styles for tests.

mod ansi;
mod palette;
mod svg;

pub use ansi::ansi;
pub use svg::svg;

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier, Style};

/// Modifiers with their names and the codes that terminals know them by.
const MODIFIERS: [(Modifier, &str, u8); 6] = [
    (Modifier::BOLD, "bold", 1),
    (Modifier::DIM, "dim", 2),
    (Modifier::ITALIC, "italic", 3),
    (Modifier::UNDERLINED, "underline", 4),
    (Modifier::REVERSED, "reverse", 7),
    (Modifier::CROSSED_OUT, "crossed-out", 9),
];

/// A cell that is shown: those that are covered by a wide character before them are not.
struct Shown<'a> {
    /// Its column, from the left edge of the frame.
    column: u16,
    /// Columns that it takes.
    width: u16,
    /// Its character; a blank for what could steer a terminal or break a document.
    symbol: &'a str,
    /// Its style.
    style: Style,
}

/// The shown cells of a row.
fn row(buf: &Buffer, y: u16) -> impl Iterator<Item = Shown<'_>> {
    let mut next = buf.area.left();
    (buf.area.left()..buf.area.right()).filter_map(move |x| {
        let cell = buf.cell((x, y)).filter(|_| x >= next)?;
        let symbol = symbol(cell);
        let width = crate::canvas::width(symbol).max(1);
        next = x.saturating_add(width);
        Some(Shown { column: x - buf.area.left(), width, symbol, style: cell.style() })
    })
}

fn symbol(cell: &Cell) -> &str {
    let symbol = cell.symbol();
    let safe = !symbol.is_empty() && !symbol.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    if safe { symbol } else { " " }
}

/// The characters, a line a row; blanks at the end of rows are left out.
pub fn text(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in buf.area.top()..buf.area.bottom() {
        let line: String = row(buf, y).map(|cell| cell.symbol).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The styles, a line a row that has any: `3: 0-9 bold 203 · 12-40 78`; a background as `on 24`.
pub fn styles(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in buf.area.top()..buf.area.bottom() {
        let mut runs: Vec<(u16, u16, String)> = Vec::new();
        for cell in row(buf, y) {
            let (style, end) = (name(cell.style), cell.column + cell.width - 1);
            match runs.last_mut() {
                Some((_, last, same)) if *same == style => *last = end,
                _ => runs.push((cell.column, end, style)),
            }
        }
        let told: Vec<String> =
            runs.iter().filter(|r| !r.2.is_empty()).map(|(a, b, style)| format!("{a}-{b} {style}")).collect();
        if !told.is_empty() {
            // Writing to a string cannot fail.
            let _infallible = writeln!(out, "{y}: {}", told.join(" · "));
        }
    }
    out
}

fn name(style: Style) -> String {
    let set = MODIFIERS.iter().filter(|(modifier, ..)| style.add_modifier.contains(*modifier));
    let mut parts: Vec<String> = set.map(|(_, name, _)| (*name).to_owned()).collect();
    let color = |color: Option<Color>| color.filter(|c| *c != Color::Reset).map(|c| c.to_string().to_lowercase());
    parts.extend(color(style.fg));
    parts.extend(color(style.bg).map(|c| format!("on {c}")));
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    /// A frame with everything that is odd: a wide character, a control character, colours, blanks that are reversed.
    pub(super) fn odd() -> Buffer {
        let mut buf = Buffer::empty(Rect::new(0, 0, 8, 3));
        buf.set_string(0, 0, "日本 <&>", Style::new().fg(Color::Indexed(203)).add_modifier(Modifier::BOLD));
        buf.set_string(0, 1, "  ", Style::new().add_modifier(Modifier::REVERSED));
        buf.set_string(4, 1, "▄█", Style::new().fg(Color::Rgb(1, 2, 3)).bg(Color::Indexed(16)));
        if let Some(cell) = buf.cell_mut((0, 2)) {
            cell.set_char('\u{1b}');
        }
        buf
    }

    #[test]
    fn text_and_styles_tell_all_that_is_there() {
        assert_eq!(text(&odd()), "日本 <&>\n    ▄█\n\n");
        assert_eq!(styles(&odd()), "0: 0-7 bold 203\n1: 0-1 reverse · 4-5 #010203 on 16\n");
    }
}
