//! What happened, sentence by sentence, up to the shown instant.

use lab_core::unit::RunTime;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::strip;
use super::{Extras, News};
use crate::canvas;
use crate::look::Role;
use crate::scene::Scene;
use crate::timeline::passed_of;
use crate::view::View;

/// Draws it: the newest at the bottom. What was told and is not kept is said. Returns how many sentences are below those that are seen.
pub fn draw(scene: &Scene<'_>, view: &View, extras: &Extras<'_>, area: Rect, buf: &mut Buffer) -> Option<u16> {
    if area.is_empty() {
        return None;
    }
    let wanted = Filter::of(&view.filter);
    let known = known(extras.news, scene.now);
    let found = found(extras.news, view, scene.now);
    let window = Window::of(found.len(), view.scroll, area.height - 1);
    let told = extras.passed.saturating_add(known.len() as u64);
    let mut head = vec!["events".to_owned(), count(scene, found.len() as u64, told, &wanted)];
    // As many as when this instant was the newest: the frame stays what it was.
    let passed = if known.is_empty() { extras.passed } else { passed_of(told).min(extras.passed) };
    if passed > 0 {
        head.push(format!("{} passed over", strip::plain(scene.look, &words::count(passed))));
    }
    title(scene, &head, &wanted, &window, area, buf);
    if found.is_empty() {
        nothing(scene, &wanted, area, buf);
        return Some(0);
    }
    let lines = &found[window.range()];
    let times = Times::of(scene, lines.iter().map(|n| n.at));
    for (row, line) in (1_u16..).zip(lines) {
        let x = times.put(scene, area, row, line.at, buf);
        let role = if line.text.starts_with("warning: ") { Role::Open } else { Role::Text };
        strip::put(buf, area, x, row, &line.text, scene.look, scene.look.style(role));
    }
    Some(window.below())
}

/// What was known at an instant.
fn known(news: &[News], now: RunTime) -> &[News] {
    &news[..news.partition_point(|n| n.arrived <= now)]
}

/// The sentences that a view can show at an instant.
pub(crate) fn found<'a>(news: &'a [News], view: &View, now: RunTime) -> Vec<&'a News> {
    let wanted = Filter::of(&view.filter);
    known(news, now).iter().filter(|n| wanted.takes(&n.text)).collect()
}

/// `312`, or `120 of 312` with a filter.
fn count(scene: &Scene<'_>, found: u64, all: u64, wanted: &Filter) -> String {
    let text = |n: u64| strip::plain(scene.look, &words::count(n)).into_owned();
    if wanted.is_empty() { text(all) } else { format!("{} of {}", text(found), text(all)) }
}

/// The title of a list: its parts, the filter, and how far it is scrolled from its end.
pub(super) fn title(
    scene: &Scene<'_>,
    head: &[String],
    wanted: &Filter,
    window: &Window,
    area: Rect,
    buf: &mut Buffer,
) {
    let look = scene.look;
    let mut parts: Vec<String> = head.to_vec();
    if !wanted.is_empty() {
        parts.push(format!("filter: {}", wanted.shown));
    }
    if window.below > 0 {
        parts.push(format!("{} below", words::count(window.below as u64)));
    }
    let mut x = area.left();
    for (i, part) in parts.iter().enumerate() {
        let (before, role) = if i == 0 { ("", Role::Title) } else { (" · ", Role::Dim) };
        x = strip::put(buf, area, x, 0, &format!("{before}{part}"), look, look.style(role));
    }
}

/// Says that a list is empty.
pub(super) fn nothing(scene: &Scene<'_>, wanted: &Filter, area: Rect, buf: &mut Buffer) {
    let text = if wanted.is_empty() { "nothing up to this instant" } else { "nothing up to this instant has it" };
    strip::put(buf, area, area.left(), 1, text, scene.look, scene.look.style(Role::Dim));
}

/// Which lines are wanted: those that contain a text, whatever the case.
#[derive(Debug)]
pub(super) struct Filter {
    shown: String,
    lower: String,
}

impl Filter {
    pub(super) fn of(text: &str) -> Self {
        Self { shown: text.to_owned(), lower: text.to_lowercase() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }

    pub(super) fn takes(&self, text: &str) -> bool {
        self.is_empty() || text.to_lowercase().contains(&self.lower)
    }
}

/// The lines of a list that are seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    first: usize,
    end: usize,
    /// Lines after the last that is seen.
    below: usize,
}

impl Window {
    /// The last `rows` of `all`, less `scroll` at the end; no further than to the first full page.
    pub(super) fn of(all: usize, scroll: u16, rows: u16) -> Self {
        let rows = usize::from(rows);
        let below = usize::from(scroll).min(all.saturating_sub(rows));
        let end = all - below;
        Self { first: end.saturating_sub(rows), end, below }
    }

    /// Lines after the last that is seen.
    pub(super) fn below(&self) -> u16 {
        u16::try_from(self.below).unwrap_or(u16::MAX)
    }

    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.first..self.end
    }
}

/// The column of times.
#[derive(Debug)]
pub(super) struct Times {
    zero: RunTime,
    width: u16,
}

impl Times {
    pub(super) fn of(scene: &Scene<'_>, times: impl Iterator<Item = RunTime>) -> Self {
        let zero = scene.shown.axis.zero;
        let width = times.map(|at| canvas::width(&words::clock(at, zero))).max().unwrap_or(0);
        Self { zero, width }
    }

    /// Writes one on a row; returns where the line goes on.
    pub(super) fn put(&self, scene: &Scene<'_>, area: Rect, row: u16, at: RunTime, buf: &mut Buffer) -> u16 {
        let text = format!("{:>width$}  ", words::clock(at, self.zero), width = usize::from(self.width));
        strip::put(buf, area, area.left(), row, &text, scene.look, scene.look.style(Role::Dim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Columns;
    use crate::frame::{Instant, dump, frame};
    use crate::look::Look;
    use crate::view::Panel;
    use lab_core::model::Model;

    #[test]
    fn what_is_no_longer_kept_is_said_as_it_was_when_the_instant_was_the_newest() {
        let news = |n: u64| News { at: RunTime(n), arrived: RunTime(n), text: format!("note: {n}") };
        let kept: Vec<News> = (5_001..=25_000).map(news).collect();
        let model = Model::default();
        let head = |now: u64, passed: u64| {
            let view = View { panel: Panel::Events, ..View::default() };
            let now = RunTime(now);
            let instant = Instant { whole: &model, model: &model, now, end: now };
            let extras = Extras { news: &kept, passed, ..Extras::still() };
            let buf = frame(&instant, &view, (100, 30), Look::default(), &extras, &mut Columns::default());
            dump::text(&buf).lines().find(|row| row.starts_with("events ·")).expect("a title").replace('\u{202f}', " ")
        };
        assert_eq!(head(25_000, 5_000), "events · 25 000 · 5 000 passed over");
        assert_eq!(head(20_000, 5_000), "events · 20 000");
        assert_eq!(head(20_001, 5_000), "events · 20 001 · 1 000 passed over");
        assert_eq!(head(17, 5_000), "events · 5 000 · 5 000 passed over");
        assert_eq!(head(25_000, 0), "events · 20 000", "where all are kept nothing is passed over");
    }
}
