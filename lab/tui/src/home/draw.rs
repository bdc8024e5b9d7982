//! Drawing the home screen.
//!
//! ```text
//! title       how many of each
//! experiments ▸ name   last verdict   when   question
//! up            name   kind   age   cost   run
//! runs          id     verdict   validity   when
//! findings      problem   remedy
//! detail      the chosen row in full: an experiment's question
//! footer      keys that work now
//! ```

use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::rows::{self, Row};
use super::{Home, HomeData, Over, Section};
use crate::app::answers;
use crate::canvas;
use crate::keys::{Command, Context};
use crate::look::{Look, Role};
use crate::pane::{Hint, dialog, help, paragraph};

/// Fewest rows with all sections on the screen; below, only the one in use is drawn.
const ALL_SECTIONS: u16 = 12;
/// Columns between columns.
const BETWEEN: u16 = 2;
/// Narrowest column that still says something.
const FEWEST: u16 = 6;
/// Columns left of a row, for the sign of the chosen one.
const SIGN: u16 = 2;

/// Draws it into `area`, whatever its size.
pub fn draw(home: &Home, data: &HomeData, look: Look, area: Rect, buf: &mut Buffer) {
    screen(home, data, look, area, buf);
    if look.ascii {
        canvas::to_ascii(buf);
    }
}

fn screen(home: &Home, data: &HomeData, look: Look, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    if let Some(Over::Help(scroll)) = home.over {
        return help::draw(&home.keymap, scroll, look, area, buf);
    }
    let row = |y: u16, height: u16| Rect { y, height, ..area };
    let footer = u16::from(area.height >= 3);
    let title = u16::from(area.height >= 5);
    let detail = detail(home, data, area);
    let below = u16::try_from(detail.len()).unwrap_or(0);
    let body = row(area.y + title, area.height - title - footer - below);
    if title > 0 {
        draw_title(home, data, look, row(area.y, 1), buf);
    }
    let mut y = body.y;
    for (section, height) in heights(home, data, body.height) {
        draw_section(home, data, section, look, row(y, height), buf);
        y += height;
    }
    for (y, text) in (body.bottom()..area.bottom()).zip(&detail) {
        canvas::put(buf, area, area.x.saturating_add(SIGN), y, text, look.style(Role::Title));
    }
    if footer > 0 {
        draw_footer(home, data, look, row(area.bottom() - 1, 1), buf);
    }
    draw_over(home, look, area, buf);
}

/// The chosen row in full, in at most a third of the screen; as many rows as any of its section needs, so that nothing jumps.
fn detail(home: &Home, data: &HomeData, area: Rect) -> Vec<String> {
    let width = area.width.saturating_sub(SIGN);
    let names = rows::names(home.section, data, &home.filter);
    let lines = |name: &str| -> Vec<String> {
        let texts = rows::detail(home.section, data, name);
        texts.iter().flat_map(|text| paragraph::wrap(text, width)).collect()
    };
    let most = names.iter().map(|name| lines(name).len()).max().unwrap_or(0).min(usize::from(area.height / 3));
    let mut shown = home.chosen_at(home.section, &names).map(|at| lines(names[at])).unwrap_or_default();
    shown.resize(most, String::new());
    shown
}

/// The sections that are drawn, each with its rows and its heading.
fn heights(home: &Home, data: &HomeData, room: u16) -> Vec<(Section, u16)> {
    if room < ALL_SECTIONS {
        return vec![(home.section, room)];
    }
    let wanted = |section| {
        let rows = rows::names(section, data, &home.filter).len().max(1);
        u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2)
    };
    // A heading, a row and a blank each; then row by row, the section in use first.
    let mut heights = Section::ALL.map(|section| (section, 3));
    let mut spare = room - 12;
    while spare > 0 {
        let mut order: Vec<_> = heights.iter_mut().filter(|(section, height)| *height < wanted(*section)).collect();
        if order.is_empty() {
            break;
        }
        order.sort_by_key(|(section, _)| *section != home.section);
        for (_, height) in order {
            *height += u16::from(spare > 0);
            spare = spare.saturating_sub(1);
        }
    }
    heights.into()
}

fn draw_title(home: &Home, data: &HomeData, look: Look, area: Rect, buf: &mut Buffer) {
    let count = |section: Section| rows::names(section, data, "").len() as u64;
    let told: Vec<_> =
        Section::ALL.iter().map(|s| words::plural(count(*s), s.noun()).replace('\u{202f}', " ")).collect();
    let end = canvas::put(buf, area, area.x, area.y, "lab", look.style(Role::Title));
    let rest = format!("  {}", told.join(", "));
    let end = canvas::put(buf, area, end, area.y, &rest, look.style(Role::Dim));
    if !home.filter.is_empty() {
        let filter = format!("  only those with: {}", home.filter);
        canvas::put(buf, area, end, area.y, &filter, look.style(Role::Open));
    }
}

fn draw_section(home: &Home, data: &HomeData, section: Section, look: Look, area: Rect, buf: &mut Buffer) {
    let here = section == home.section;
    let rows = rows::rows(section, data, &home.filter, look);
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    let chosen = home.chosen_at(section, &names);
    let heading = u16::from(area.height >= 2);
    // The blank row after a section, where all are drawn.
    let blank = u16::from(area.height >= 3);
    let body = Rect { y: area.y + heading, height: area.height - heading - blank, ..area };
    let first = first(chosen.unwrap_or(0), names.len(), body.height);
    if heading > 0 {
        let role = if here { Role::Title } else { Role::Dim };
        let end = canvas::put(buf, area, area.x, area.y, section.title(), look.style(role));
        let last = names.len().min(first + usize::from(body.height));
        if last - first < names.len() {
            let part = format!("  {} to {last} of {}", first + 1, names.len());
            canvas::put(buf, area, end, area.y, &part, look.style(Role::Dim));
        }
    }
    if names.is_empty() {
        let text = if home.filter.is_empty() { none(home, section) } else { "none with that in it".to_owned() };
        canvas::put(buf, body, body.x.saturating_add(SIGN), body.y, &text, look.style(Role::Dim));
        return;
    }
    let widths = widths(&rows, body.width.saturating_sub(SIGN));
    for (y, (i, row)) in (body.top()..body.bottom()).zip(rows.iter().enumerate().skip(first)) {
        draw_row(row, &widths, here && chosen == Some(i), look, Rect { y, height: 1, ..body }, buf);
    }
}

/// First row that is shown, so that the chosen one is.
fn first(chosen: usize, rows: usize, height: u16) -> usize {
    let height = usize::from(height.max(1));
    let most = rows.saturating_sub(height);
    (chosen + 1).saturating_sub(height).min(most)
}

fn none(home: &Home, section: Section) -> String {
    match section {
        Section::Experiments => "none; an experiment is a file under experiments/".to_owned(),
        Section::Labs => "nothing is up".to_owned(),
        Section::Runs => format!("none yet{}", home.how(Command::Open, "on an experiment starts one")),
        Section::Findings => "nothing is missing".to_owned(),
    }
}

/// How wide each column is: as its widest text, as far as there is room; where next to none is left, it goes.
fn widths(rows: &[Row<'_>], room: u16) -> Vec<u16> {
    let count = rows.iter().map(|row| row.columns.len()).max().unwrap_or(0);
    let mut left = room;
    let mut widths = Vec::new();
    for column in 0..count {
        let widest = rows.iter().filter_map(|row| row.columns.get(column)).map(|(text, _)| canvas::width(text)).max();
        let widest = widest.unwrap_or(0);
        let width = if column > 0 && left < widest.min(FEWEST) { 0 } else { widest.min(left) };
        widths.push(width);
        left = left.saturating_sub(width + u16::from(width > 0) * BETWEEN);
    }
    widths
}

fn draw_row(row: &Row<'_>, widths: &[u16], chosen: bool, look: Look, area: Rect, buf: &mut Buffer) {
    let glyphs = look.glyphs();
    if chosen {
        canvas::put(buf, area, area.x, area.y, &glyphs.selected.to_string(), look.style(Role::Key));
    }
    let mut x = area.x.saturating_add(SIGN);
    for ((text, role), width) in row.columns.iter().zip(widths) {
        let text = canvas::fit(text, *width, glyphs.cut);
        canvas::put(buf, area, x, area.y, &text, look.style(*role));
        x = x.saturating_add(*width).saturating_add(u16::from(*width > 0) * BETWEEN);
    }
    if chosen {
        buf.set_style(area, look.style(Role::Selected));
    }
}

fn draw_footer(home: &Home, data: &HomeData, look: Look, area: Rect, buf: &mut Buffer) {
    if let Some(message) = &home.message {
        let text = canvas::fit(message, area.width, look.glyphs().cut);
        canvas::put(buf, area, area.x, area.y, &text, look.style(Role::Open));
        return;
    }
    let mut x = area.x;
    for hint in hints(home, data) {
        let end =
            x.saturating_add(canvas::width(&hint.keys)).saturating_add(canvas::width(&hint.does)).saturating_add(1);
        if end > area.right() {
            break;
        }
        let parts = [
            (hint.keys.as_str(), look.style(Role::Key)),
            (" ", look.style(Role::Dim)),
            (&hint.does, look.style(Role::Dim)),
        ];
        x = canvas::line(buf, area, x, area.y, &parts).saturating_add(BETWEEN);
    }
}

/// Keys that work now, the most useful first.
fn hints(home: &Home, data: &HomeData) -> Vec<Hint> {
    let chosen = home.chosen_name(data).is_some();
    let mut commands = Vec::new();
    match home.section {
        Section::Experiments if chosen => commands.extend([(Command::Open, "start"), (Command::OpenReport, "report")]),
        Section::Labs if chosen => commands.extend([(Command::Open, "attach"), (Command::TakeDown, "take down")]),
        Section::Runs if chosen => commands.extend([(Command::Open, "replay"), (Command::OpenReport, "report")]),
        _ => {}
    }
    commands.extend([
        (Command::NextSection, "section"),
        (Command::Filter, "filter"),
        (Command::Refresh, "refresh"),
        (Command::OpenHelp, "help"),
        (Command::Quit, "quit"),
    ]);
    let told = |(command, does): (Command, &str)| {
        Some(Hint { keys: home.keymap.first(command, home.look.ascii)?, does: does.to_owned() })
    };
    commands.into_iter().filter_map(told).collect()
}

fn draw_over(home: &Home, look: Look, area: Rect, buf: &mut Buffer) {
    let answers = |context| answers(&home.keymap, context, look.ascii);
    match &home.over {
        Some(Over::TakeDown(lab)) => {
            let title = format!("take {lab} down?");
            let body = ["its services drain and end, and what was made for them is removed".to_owned()];
            dialog::draw(&dialog::Dialog::question(&title, &body, &answers(Context::Confirm)), look, area, buf);
        }
        Some(Over::Filter { line, .. }) => {
            dialog::last_row("only rows with", line.text(), &answers(Context::Prompt), look, area, buf);
        }
        Some(Over::Help(_)) | None => {}
    }
}
