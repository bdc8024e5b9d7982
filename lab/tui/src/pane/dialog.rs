//! A box in the middle of the screen: a question or a line that is typed, with the keys that answer it. A line that changes what is
//! seen while it is typed stands in the last row instead, where it hides nothing.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::border;
use ratatui::widgets::{Block, Clear, Widget as _};

use super::{Hint, paragraph};
use crate::canvas;
use crate::look::{Look, Role};

/// Widest box, columns.
const WIDEST: u16 = 76;
/// Columns of a box beside its text: a rule and a blank on each side.
const BESIDE: u16 = 4;

/// The border where only plain characters may be used.
const ASCII: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// What stands in a box.
#[derive(Debug, Clone, Copy)]
pub struct Dialog<'a> {
    title: &'a str,
    body: &'a [String],
    hints: &'a [Hint],
    typed: bool,
}

impl<'a> Dialog<'a> {
    /// A question, what it means a sentence a line, and the keys that answer it.
    pub fn question(title: &'a str, body: &'a [String], hints: &'a [Hint]) -> Self {
        Self { title, body, hints, typed: false }
    }

    /// A line that is typed, `body[0]`.
    pub fn line(title: &'a str, body: &'a [String], hints: &'a [Hint]) -> Self {
        Self { title, body, hints, typed: true }
    }
}

/// Draws it over what is there.
pub fn draw(dialog: &Dialog<'_>, look: Look, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let widest_keys = keys(dialog.hints, u16::MAX);
    let body = body(dialog, look, area.width.min(WIDEST).saturating_sub(BESIDE));
    let texts = body.iter().map(String::as_str).chain([dialog.title]).chain(widest_keys.iter().map(String::as_str));
    let widest = texts.map(canvas::width).max().unwrap_or(0);
    let room = if dialog.typed { WIDEST } else { widest.saturating_add(BESIDE).clamp(24, WIDEST) };
    let keys = keys(dialog.hints, room.min(area.width).saturating_sub(BESIDE));
    let rows = u16::try_from(body.len() + keys.len() + 1).unwrap_or(u16::MAX).saturating_add(2);
    let place = middle(area, room, rows);
    Clear.render(place, buf);
    if place.height < 3 || place.width <= BESIDE {
        canvas::put(buf, place, place.left(), place.top(), &narrow(dialog, place.width), look.style(Role::Open));
        return;
    }
    let set = if look.ascii { ASCII } else { border::PLAIN };
    Block::bordered().border_set(set).border_style(look.style(Role::Dim)).render(place, buf);
    let title = canvas::fit(dialog.title, place.width - BESIDE, look.glyphs().cut);
    canvas::put(buf, place, place.left() + 1, place.top(), &format!(" {title} "), look.style(Role::Title));
    inside(&body, &keys, look, place, buf);
}

/// Draws a line that is typed over the last row, with as many of the keys as there is room for.
pub fn last_row(title: &str, line: &str, hints: &[Hint], look: Look, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let row = Rect { y: area.bottom() - 1, height: 1, ..area };
    Clear.render(row, buf);
    let title = canvas::fit(title, row.width / 2, look.glyphs().cut);
    let x = canvas::put(buf, row, row.x, row.y, &format!("{title} "), look.style(Role::Title));
    let typed = typed(line, look, row.right().saturating_sub(x));
    let x = canvas::put(buf, row, x, row.y, &typed, look.style(Role::Text));
    let keys = format!("  {}", keys(hints, u16::MAX).concat());
    if canvas::width(&keys) <= row.right().saturating_sub(x) {
        canvas::put_right(buf, row, 0, &keys, look.style(Role::Key));
    }
}

/// The rows between the border: the body from the top, the keys in the last rows; keys win where there is not room for both.
fn inside(body: &[String], keys: &[String], look: Look, place: Rect, buf: &mut Buffer) {
    let inner = Rect { x: place.x + 2, y: place.y + 1, width: place.width - BESIDE, height: place.height - 2 };
    let below = inner.height.min(u16::try_from(keys.len()).unwrap_or(u16::MAX));
    let above = Rect { height: inner.height - below, ..inner };
    for (y, text) in (above.top()..above.bottom()).zip(body) {
        canvas::put(buf, above, above.left(), y, text, look.style(Role::Text));
    }
    for (y, text) in (above.bottom()..inner.bottom()).zip(keys) {
        canvas::put(buf, inner, inner.left(), y, text, look.style(Role::Key));
    }
}

/// The keys that answer, as many to a line as fit.
fn keys(hints: &[Hint], width: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for hint in hints {
        let told = format!("{} {}", hint.keys, hint.does);
        match lines.last_mut() {
            Some(line) if canvas::width(line).saturating_add(canvas::width(&told) + 3) <= width => {
                line.push_str("   ");
                line.push_str(&told);
            }
            _ => lines.push(told),
        }
    }
    lines
}

fn body(dialog: &Dialog<'_>, look: Look, width: u16) -> Vec<String> {
    if dialog.typed {
        return vec![typed(dialog.body.first().map_or("", String::as_str), look, width)];
    }
    dialog.body.iter().flat_map(|text| paragraph::wrap(text, width)).collect()
}

/// The end of a line that is typed, and where the next character goes.
fn typed(line: &str, look: Look, width: u16) -> String {
    let end = if look.ascii { "_" } else { "▏" };
    format!("{}{end}", paragraph::tail(line, width.saturating_sub(1)))
}

/// The one line of a screen that has no room for a box.
fn narrow(dialog: &Dialog<'_>, width: u16) -> String {
    match dialog.body.first() {
        Some(line) if dialog.typed => paragraph::tail(line, width),
        _ => {
            let keys: Vec<&str> = dialog.hints.iter().map(|hint| hint.keys.as_str()).collect();
            format!("{} {}", dialog.title, keys.join(" "))
        }
    }
}

fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::dump;

    fn hints() -> Vec<Hint> {
        let hint = |keys: &str, does: &str| Hint { keys: keys.to_owned(), does: does.to_owned() };
        vec![hint("y", "yes"), hint("n", "no")]
    }

    fn drawn(dialog: &Dialog<'_>, look: Look, size: (u16, u16)) -> String {
        let area = Rect::new(0, 0, size.0, size.1);
        let mut buf = Buffer::filled(area, ratatui::buffer::Cell::new("."));
        draw(dialog, look, area, &mut buf);
        dump::text(&buf)
    }

    #[test]
    fn a_question_stands_in_the_middle_with_its_keys() {
        let body = ["at once and without warning".to_owned()];
        let hints = hints();
        let text = drawn(&Dialog::question("kill user-service-2?", &body, &hints), Look::default(), (44, 8));
        assert_eq!(
            text,
            "............................................\n\
             ......┌ kill user-service-2? ───────┐.......\n\
             ......│ at once and without warning │.......\n\
             ......│                             │.......\n\
             ......│ y yes   n no                │.......\n\
             ......└─────────────────────────────┘.......\n\
             ............................................\n\
             ............................................\n"
        );
    }

    #[test]
    fn the_end_of_a_long_line_is_seen_while_it_is_typed() {
        let body = [format!("{}END", "x".repeat(300))];
        let hints = hints();
        let look = Look { ascii: true, ..Look::default() };
        let text = drawn(&Dialog::line("note", &body, &hints), look, (100, 10));
        assert!(text.contains("xxxEND_"), "{text}");
        assert!(text.is_ascii());
    }

    #[test]
    fn the_keys_are_seen_on_any_screen_that_has_room_for_a_box() {
        let body = ["a sentence that needs several rows on a narrow screen".to_owned()];
        let hints = hints();
        for width in 0..30 {
            for height in 0..12 {
                let text = drawn(&Dialog::question("kill a?", &body, &hints), Look::default(), (width, height));
                assert_eq!(text.lines().count(), usize::from(height));
                assert!(width < 18 || height < 3 || text.contains("y yes"), "{width}x{height}\n{text}");
            }
        }
    }
}
