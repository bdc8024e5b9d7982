//! A frame as text: plain, with escape codes for a terminal, as a picture, and as a list of styles for tests.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// The characters, a line a row; blanks at the end of rows are left out.
pub fn text(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in buf.area.top()..buf.area.bottom() {
        let mut row = String::new();
        let mut skip = 0;
        for x in buf.area.left()..buf.area.right() {
            let symbol = buf.cell((x, y)).map_or(" ", ratatui::buffer::Cell::symbol);
            if skip > 0 {
                skip -= 1;
                continue;
            }
            skip = crate::canvas::width(symbol).saturating_sub(1);
            row.push_str(symbol);
        }
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}

/// The styles, a line a row that has any: `3: 0-9 bold 203 · 12-40 78`.
pub fn styles(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in buf.area.top()..buf.area.bottom() {
        let mut runs: Vec<(u16, u16, String)> = Vec::new();
        for x in buf.area.left()..buf.area.right() {
            let style = buf.cell((x, y)).map(|cell| name(cell.style())).unwrap_or_default();
            match runs.last_mut() {
                Some((_, last, same)) if *same == style && *last + 1 == x => *last = x,
                _ => runs.push((x, x, style)),
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
    let mut parts = Vec::new();
    for (modifier, name) in [(Modifier::BOLD, "bold"), (Modifier::DIM, "dim"), (Modifier::REVERSED, "reverse")] {
        if style.add_modifier.contains(modifier) {
            parts.push(name.to_owned());
        }
    }
    if let Some(Color::Indexed(index)) = style.fg {
        parts.push(index.to_string());
    }
    parts.join(" ")
}
