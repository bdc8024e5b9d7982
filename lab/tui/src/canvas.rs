//! Putting text and marks into cells: cut by display width, free of anything that could steer a terminal, never outside its place.

use lab_core::words::visible;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that a text takes.
pub fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// Text of at most `most` columns; what is longer ends with `cut`.
pub fn fit(text: &str, most: u16, cut: char) -> String {
    let text = visible(text);
    if width(&text) <= most {
        return text;
    }
    let mut left = usize::from(most).saturating_sub(cut.width().unwrap_or(1));
    let mut out = String::new();
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        out.push(c);
    }
    if most > 0 {
        out.push(cut);
    }
    out
}

/// Writes one line of text from a cell on, within `area`. Returns the column after it.
pub fn put(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let area = area.intersection(buf.area);
    if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
        return x;
    }
    let room = area.right() - x;
    let text = visible(text);
    buf.set_stringn(x, y, &text, usize::from(room), style);
    x + width(&text).min(room)
}

/// Writes one line of text that ends at the right edge of `area`, on its row `row`.
pub fn put_right(buf: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    let text = fit(text, area.width, '…');
    let x = area.right().saturating_sub(width(&text)).max(area.left());
    put(buf, area, x, area.top().saturating_add(row), &text, style);
}

/// One glyph in the column and row of an area; outside of it, nothing.
pub fn mark(buf: &mut Buffer, area: Rect, column: u16, row: u16, glyph: char, style: Style) {
    let (x, y) = (area.left().saturating_add(column), area.top().saturating_add(row));
    if column < area.width
        && row < area.height
        && let Some(cell) = buf.cell_mut((x, y))
    {
        cell.set_char(glyph).set_style(style);
    }
}

/// Replaces what not every terminal has by its nearest likeness of one column; what has none becomes `?`.
pub fn to_ascii(buf: &mut Buffer) {
    for cell in &mut buf.content {
        if !cell.symbol().is_ascii() {
            let (likeness, _) = cell.symbol().chars().next().map_or(('?', "?"), likeness);
            cell.set_char(likeness);
        }
    }
}

/// A character that not every terminal has in those that all have: in a cell of its own, and in a text, where it may take more.
pub fn likeness(c: char) -> (char, &'static str) {
    match c {
        '\u{202f}' | '\u{a0}' | '\u{2009}' => (' ', " "),
        'µ' | 'μ' => ('u', "u"),
        '→' => ('>', "->"),
        '←' => ('<', "<-"),
        '↑' => ('^', "^"),
        '↓' | '✓' => ('v', "v"),
        '×' | '✗' => ('x', "x"),
        '≤' => ('<', "<="),
        '≥' => ('>', ">="),
        '…' => ('~', "..."),
        '▸' => ('>', ">"),
        '│' => ('|', "|"),
        '·' | '–' | '—' | '−' | '─' => ('-', "-"),
        '┌' | '┐' | '└' | '┘' | '╭' | '╮' | '╰' | '╯' | '├' | '┤' => ('+', "+"),
        _ => ('?', "?"),
    }
}

/// Parts of a line, each with its style, from a cell on. Returns the column after the last.
pub fn line(buf: &mut Buffer, area: Rect, x: u16, y: u16, parts: &[(&str, Style)]) -> u16 {
    parts.iter().fold(x, |x, (text, style)| put(buf, area, x, y, text, *style))
}
