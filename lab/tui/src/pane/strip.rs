//! A row of parts of which the least important go when there is no room, and text in the characters that the look allows.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::canvas;
use crate::look::{Look, Role};

/// One part of a row.
#[derive(Debug, Clone)]
pub struct Part {
    /// What stands before it when it is not the first.
    pub before: &'static str,
    /// Pieces of text, each with what it is.
    pub runs: Vec<(String, Role)>,
    /// When it goes: the highest first, of equal ones the rightmost; what is 0 stays.
    pub goes: u8,
}

impl Part {
    /// A part of one piece.
    pub fn new(before: &'static str, text: impl Into<String>, role: Role, goes: u8) -> Self {
        Self { before, runs: vec![(text.into(), role)], goes }
    }

    fn width(&self, look: Look) -> u16 {
        let text = |(text, _): &(String, Role)| canvas::width(&clean(look, text));
        self.runs.iter().map(text).fold(canvas::width(self.before), u16::saturating_add)
    }
}

/// Columns that parts take in a row.
pub fn width(look: Look, parts: &[Part]) -> u16 {
    let lead = parts.first().map_or(0, |first| canvas::width(first.before));
    parts.iter().map(|p| p.width(look)).fold(0, u16::saturating_add).saturating_sub(lead)
}

/// The parts that fit into so many columns, in their order.
pub fn fitting(look: Look, mut parts: Vec<Part>, room: u16) -> Vec<Part> {
    while width(look, &parts) > room {
        let last = (0..parts.len()).max_by_key(|i| parts[*i].goes).filter(|i| parts[*i].goes > 0);
        let Some(last) = last else { break };
        parts.remove(last);
    }
    parts
}

/// Writes the parts that fit on the first row of `area`. Returns the column after the last.
pub fn draw(look: Look, area: Rect, parts: Vec<Part>, buf: &mut Buffer) -> u16 {
    let mut x = area.left();
    for (i, part) in fitting(look, parts, area.width).iter().enumerate() {
        if i > 0 {
            x = put(buf, area, x, 0, part.before, look, look.style(Role::Dim));
        }
        for (text, role) in &part.runs {
            x = put(buf, area, x, 0, text, look, look.style(*role));
        }
    }
    x
}

/// Writes a text from a column on, on a row of `area`; what is cut says so. Returns the column after it.
pub fn put(buf: &mut Buffer, area: Rect, x: u16, row: u16, text: &str, look: Look, style: Style) -> u16 {
    if row >= area.height {
        return x;
    }
    let room = area.right().saturating_sub(x);
    let text = canvas::fit(&plain(look, text), room, look.glyphs().cut);
    canvas::put(buf, area, x, area.top().saturating_add(row), &text, style)
}

/// A text as it will stand in cells.
pub fn clean(look: Look, text: &str) -> String {
    lab_core::words::visible(&plain(look, text))
}

/// A text in characters that every terminal has, where the look asks for that; a character without a likeness becomes `?`.
pub fn plain(look: Look, text: &str) -> Cow<'_, str> {
    if !look.ascii || text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            c => out.push_str(canvas::likeness(c).1),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        vec![
            Part::new("", "name", Role::Title, 3),
            Part::new(" | ", "where", Role::Text, 9),
            Part::new(" | ", "when", Role::Text, 1),
            Part::new(" | ", "MODE", Role::Text, 0),
        ]
    }

    #[test]
    fn the_least_important_goes_first_and_the_last_stays() {
        let left = |room| {
            let parts = fitting(Look::default(), parts(), room);
            parts.iter().flat_map(|p| &p.runs).map(|(text, _)| text.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left(26), "name where when MODE");
        assert_eq!(left(25), "name when MODE");
        assert_eq!(left(17), "when MODE");
        assert_eq!(left(10), "MODE");
        assert_eq!(left(1), "MODE");
    }

    #[test]
    fn what_every_terminal_has_is_ascii() {
        let look = Look { ascii: true, ..Look::default() };
        let text = clean(look, "1\u{202f}234 µs → größer × 2 · \u{1b}[2J");
        assert!(text.is_ascii(), "{text}");
        assert_eq!(text, "1 234 us -> gr??er x 2 - \\u{1b}[2J");
    }
}
