//! Lines of the replicas' logs up to the shown instant.

use lab_core::unit::RunTime;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::news::{Filter, Times, Window, nothing, title};
use super::strip;
use super::{LogLine, Logs};
use crate::canvas;
use crate::look::Role;
use crate::scene::Scene;
use crate::view::View;

/// Widest name of a replica.
const NAME: u16 = 24;

/// Draws it: the newest at the bottom. What was read and is not kept is said. Returns how many lines are below those that are seen.
pub fn draw(scene: &Scene<'_>, view: &View, logs: &Logs, area: Rect, buf: &mut Buffer) -> Option<u16> {
    if area.is_empty() {
        return None;
    }
    let wanted = Filter::of(&view.filter);
    let found = found(logs, view, scene.now);
    let window = Window::of(found.len(), view.scroll, area.height - 1);
    let plain = |n: u64| strip::plain(scene.look, &words::count(n)).into_owned();
    let plural = if logs.read == 1 { "" } else { "s" };
    let mut head =
        vec!["logs".to_owned(), format!("{} line{plural} read, {} passed over", plain(logs.read), plain(logs.passed))];
    if !wanted.is_empty() {
        head.push(format!("{} found", plain(found.len() as u64)));
    }
    title(scene, &head, &wanted, &window, area, buf);
    if found.is_empty() {
        nothing(scene, &wanted, area, buf);
        return Some(0);
    }
    let lines = &found[window.range()];
    let times = Times::of(scene, lines.iter().map(|line| line.at));
    let name = lines.iter().map(|line| canvas::width(&strip::clean(scene.look, &line.replica))).max().unwrap_or(0);
    for (row, text) in (1_u16..).zip(lines) {
        line(scene, text, name.min(NAME), &times, row, area, buf);
    }
    Some(window.below())
}

/// The lines that a view can show at an instant.
pub(crate) fn found<'a>(logs: &'a Logs, view: &View, now: RunTime) -> Vec<&'a LogLine> {
    let wanted = Filter::of(&view.filter);
    let takes = |line: &&LogLine| wanted.takes(&line.text) || wanted.takes(&line.replica);
    logs.lines.iter().filter(|line| line.at <= now).filter(takes).collect()
}

fn line(scene: &Scene<'_>, line: &LogLine, name: u16, times: &Times, row: u16, area: Rect, buf: &mut Buffer) {
    let look = scene.look;
    let x = times.put(scene, area, row, line.at, buf);
    let replica = canvas::fit(&strip::plain(look, &line.replica), name, look.glyphs().cut);
    strip::put(buf, area, x, row, &replica, look, look.style(Role::Seen));
    let x = x.saturating_add(name + 2);
    let times = if line.times > 1 { format!(" ×{}", words::count(line.times)) } else { String::new() };
    let times = strip::clean(look, &times);
    // The text is cut before the number of its repeats is.
    let text = Rect { width: area.width.saturating_sub(canvas::width(&times)), ..area };
    let x = strip::put(buf, text, x, row, &line.text, look, look.style(Role::Text));
    strip::put(buf, area, x, row, &times, look, look.style(Role::Open));
}
