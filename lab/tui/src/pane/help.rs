//! The help: every bound command with its keys, and what each lane answers. Made from the keymap and the lanes, so it cannot be
//! out of date.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};

use super::{paragraph, strip};
use crate::canvas;
use crate::keys::{Command, Group, Keymap, TABLE};
use crate::lane;
use crate::look::{Look, Role};

/// Narrowest screen with two columns of help.
const TWO: u16 = 110;
/// Columns of keys, with the blanks after them.
const KEYS: u16 = 18;
/// Columns between two columns of help.
const BETWEEN: u16 = 3;

/// Something in the help.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Heading(&'static str),
    /// A command's keys, or a lane's name, and what it is.
    Item(String, &'static str),
}

/// A row of the help: what stands left, what stands right of it, and whether it is a heading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Row {
    left: String,
    right: String,
    heading: bool,
}

/// The commands that the help lists.
pub fn listed(keymap: &Keymap) -> Vec<Command> {
    let all = Group::ALL.into_iter().flat_map(|group| TABLE.iter().filter(move |row| row.group == group));
    all.map(|row| row.command).filter(|command| !keymap.chords(*command).is_empty()).collect()
}

/// What one needs first comes first: keys of the screen, then how to read it, then keys of other places.
fn entries(keymap: &Keymap, look: Look) -> Vec<Entry> {
    let mut entries = Vec::new();
    for group in Group::ALL {
        if group == Group::Home {
            entries.push(Entry::Heading("what the lanes answer"));
            entries.extend(lane::ALL.iter().map(|lane| Entry::Item(lane.name().to_owned(), lane.question())));
        }
        let commands = listed(keymap).into_iter().filter_map(Command::row).filter(|row| row.group == group);
        let items: Vec<_> = commands.map(|row| Entry::Item(keys(keymap, row.command, look), row.help)).collect();
        if !items.is_empty() {
            entries.push(Entry::Heading(group.title()));
            entries.extend(items);
        }
    }
    entries
}

fn keys(keymap: &Keymap, command: Command, look: Look) -> String {
    let keys: Vec<_> = keymap.chords(command).iter().map(|chord| chord.shown(look.ascii)).collect();
    keys.join(" ")
}

/// All rows, for a column so wide.
fn rows(keymap: &Keymap, look: Look, width: u16) -> Vec<Row> {
    let mut rows = Vec::new();
    let left = KEYS.min(width / 2);
    for entry in entries(keymap, look) {
        match entry {
            Entry::Heading(title) => {
                if !rows.is_empty() {
                    rows.push(Row::default());
                }
                rows.push(Row { left: title.to_owned(), right: String::new(), heading: true });
            }
            Entry::Item(keys, text) => {
                let keys = paragraph::wrap(&keys, left.saturating_sub(1));
                let texts = paragraph::wrap(text, width - left);
                for i in 0..keys.len().max(texts.len()) {
                    let of = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
                    rows.push(Row { left: of(&keys), right: of(&texts), heading: false });
                }
            }
        }
    }
    rows
}

/// Columns of help on a screen, and how wide each is.
fn columns(width: u16) -> (u16, u16) {
    if width >= TWO { (2, (width - BETWEEN) / 2) } else { (1, width) }
}

/// How far the help can be scrolled on a screen of this size, rows.
pub fn most_scroll(keymap: &Keymap, look: Look, (width, height): (u16, u16)) -> u16 {
    let (columns, width) = columns(width);
    let room = usize::from(height.saturating_sub(1)) * usize::from(columns);
    u16::try_from(rows(keymap, look, width).len().saturating_sub(room)).unwrap_or(u16::MAX)
}

/// Draws it over the whole area. `scroll` is the first row that is shown.
pub fn draw(keymap: &Keymap, scroll: u16, look: Look, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    Clear.render(area, buf);
    let most = most_scroll(keymap, look, (area.width, area.height));
    let scroll = scroll.min(most);
    title(keymap, (scroll, most), look, area, buf);
    let (count, width) = columns(area.width);
    let body = Rect { y: area.y.saturating_add(1), height: area.height - 1, ..area };
    let rows = rows(keymap, look, width);
    let shown: Vec<&Row> = rows.iter().skip(usize::from(scroll)).collect();
    for (column, rows) in (0..count).zip(shown.chunks(usize::from(body.height.max(1)))) {
        let place = Rect { x: body.x + column * (width + BETWEEN), width, ..body };
        for (y, row) in (place.top()..place.bottom()).zip(rows) {
            let role = if row.heading { Role::Title } else { Role::Key };
            canvas::put(buf, place, place.left(), y, &row.left, look.style(role));
            let right = place.left().saturating_add(KEYS.min(width / 2));
            canvas::put(buf, place, right, y, &row.right, look.style(Role::Text));
        }
    }
}

fn title(keymap: &Keymap, (scroll, most): (u16, u16), look: Look, area: Rect, buf: &mut Buffer) {
    let back = keymap.first(Command::CloseHelp, look.ascii).unwrap_or_default();
    let further = match (scroll, most) {
        (_, 0) => String::new(),
        (scroll, most) if scroll < most => {
            format!(" · {} more below", lab_core::words::plural((most - scroll).into(), "row"))
        }
        _ => " · the end".to_owned(),
    };
    let text = format!("help · {back} goes back{further}");
    strip::put(buf, area, area.left(), 0, &text, look, look.style(Role::Dim));
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::frame::dump;
    use crate::keys::Context;

    fn drawn(keymap: &Keymap, scroll: u16, look: Look, size: (u16, u16)) -> String {
        let area = Rect::new(0, 0, size.0, size.1);
        let mut buf = Buffer::empty(area);
        draw(keymap, scroll, look, area, &mut buf);
        dump::text(&buf)
    }

    #[test]
    fn it_lists_exactly_the_bound_commands() {
        let unbound = BTreeMap::from([("ghost".to_owned(), Vec::new())]);
        for (keymap, missing) in [(Keymap::default(), 0), (Keymap::with(&unbound).expect("a map"), 1)] {
            let listed: Vec<_> = listed(&keymap);
            let set: BTreeSet<_> = listed.iter().copied().collect();
            assert_eq!(set.len(), listed.len(), "a command twice");
            let bound: BTreeSet<_> = TABLE
                .iter()
                .flat_map(|row| keymap.chords(row.command).iter().map(move |chord| (row, *chord)))
                .filter_map(|(row, chord)| keymap.command(*row.contexts.first()?, chord.event()))
                .collect();
            assert_eq!(set, bound);
            assert_eq!(set.len() + missing, TABLE.len());
            assert_eq!(set.contains(&Command::Ghost), missing == 0);
            assert!(Context::ALL.iter().all(|c| TABLE.iter().any(|row| row.contexts.contains(c))));
        }
    }

    #[test]
    fn every_sentence_and_key_is_seen_by_scrolling() {
        let keymap = Keymap::default();
        for size in [(160, 45), (100, 30), (80, 24), (60, 15), (30, 6)] {
            let most = most_scroll(&keymap, Look::default(), size);
            let pages: Vec<String> = (0..=most).map(|at| drawn(&keymap, at, Look::default(), size)).collect();
            assert!(pages.iter().all(|page| page.lines().count() == usize::from(size.1)));
            for row in TABLE {
                let begin: String = paragraph::wrap(row.help, 12)[0].clone();
                assert!(pages.iter().any(|page| page.contains(&begin)), "{} at {size:?}", row.name);
            }
            assert!(most == 0 || size.0 < 60 || pages[0].contains("more below"), "{}", pages[0]);
            assert_eq!(drawn(&keymap, u16::MAX, Look::default(), size), pages[usize::from(most)]);
        }
    }

    #[test]
    fn it_is_plain_where_it_must_be_and_stands_any_area() {
        let look = Look { ascii: true, ..Look::default() };
        assert!(drawn(&Keymap::default(), 0, look, (160, 45)).is_ascii());
        for width in 0..25 {
            for height in 0..6 {
                drawn(&Keymap::default(), 3, look, (width, height));
            }
        }
    }
}
