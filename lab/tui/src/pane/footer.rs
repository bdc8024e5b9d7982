//! The last row: keys that work now, a message, or where a still comes from; and the lanes that had no room.

use lab_core::unit::RunTime;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::strip;
use super::{Footer, Hint};
use crate::canvas;
use crate::look::Role;
use crate::scene::Scene;
use crate::view::{Mode, Panel, View, Zoom};

/// Draws it. A message comes before everything, then what is not shown, then the keys.
pub fn draw(scene: &Scene<'_>, view: &View, footer: Footer<'_>, dropped: &[&str], area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let look = scene.look;
    let missing = if dropped.is_empty() { String::new() } else { format!("not shown: {}", dropped.join(", ")) };
    let needs = canvas::width(&missing).saturating_add(2);
    let room = |taken: u16| !missing.is_empty() && area.width.saturating_sub(taken) >= needs;
    let taken = match footer {
        Footer::Message(text) => strip::put(buf, area, area.left(), 0, text, look, look.style(Role::Open)),
        Footer::Source => strip::put(buf, area, area.left(), 0, &source(scene, view), look, look.style(Role::Dim)),
        Footer::Hints(hints) => {
            // At least half of the row belongs to the keys.
            let width = if room(area.width / 2) { area.width - needs } else { area.width };
            keys(scene, hints, Rect { width, ..area }, buf)
        }
    };
    if room(taken - area.left()) {
        canvas::put_right(buf, area, 0, &missing, look.style(Role::Dim));
    }
}

/// Keys as far as there is room for a whole one.
fn keys(scene: &Scene<'_>, hints: &[Hint], area: Rect, buf: &mut Buffer) -> u16 {
    let look = scene.look;
    let mut x = area.left();
    for hint in hints {
        let gap = if x > area.left() { 2 } else { 0 };
        let (key, does) = (strip::clean(look, &hint.keys), strip::clean(look, &hint.does));
        let width = canvas::width(&key).saturating_add(canvas::width(&does)).saturating_add(1 + gap);
        if width > area.right().saturating_sub(x) {
            break;
        }
        x = strip::put(buf, area, x + gap, 0, &key, look, look.style(Role::Key));
        x = strip::put(buf, area, x + 1, 0, &does, look, look.style(Role::Dim));
    }
    x
}

/// The run, the instant and the view, as `lab frame` takes them: `run 2026-11-24-1530-autoscale-users-k3f at run:81.25s --zoom 2s`.
fn source(scene: &Scene<'_>, view: &View) -> String {
    let at = exact(scene.now);
    let flags = flags(view);
    scene.model.run.as_ref().map_or_else(|| format!("at {at}{flags}"), |run| format!("run {} at {at}{flags}", run.run))
}

/// What a view asks for beyond an instant, as the flags of `lab frame`.
fn flags(view: &View) -> String {
    let panel = match view.panel {
        // Logs are not in the journal.
        Panel::Usual | Panel::Logs => None,
        Panel::Events => Some("--panel events"),
        Panel::Waterfall => Some("--panel waterfall"),
        Panel::Replicas => Some("--panel replicas"),
    };
    let zoom = if let Zoom::Column(column) = view.zoom { Some(format!("--zoom {}", seconds(column.0))) } else { None };
    let other = match (view.difference, view.ghost) {
        (true, _) => Some("--difference"),
        (false, true) => Some("--ghost"),
        (false, false) => None,
    };
    let parts = [
        matches!(view.mode, Mode::Scrub(_)).then(|| "--scrub".to_owned()),
        view.trial.map(|index| format!("--trial {}", index.saturating_add(1))),
        zoom,
        other.map(str::to_owned),
        panel.map(str::to_owned),
        (!view.filter.is_empty()).then(|| format!("--filter {}", quoted(&view.filter))),
    ];
    parts.into_iter().flatten().map(|flag| format!(" {flag}")).collect()
}

/// A text as a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=%+,@".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Seconds to the nanosecond, without zeros at the end.
fn exact(at: RunTime) -> String {
    format!("run:{}", seconds(at.0))
}

fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_told_in_flags() {
        assert_eq!(flags(&View::default()), "");
        let view = View {
            zoom: Zoom::Column(lab_core::unit::Span::from_secs(2)),
            trial: Some(1),
            ghost: true,
            difference: true,
            panel: Panel::Events,
            filter: "it's up".to_owned(),
            ..View::default()
        };
        assert_eq!(flags(&view), r" --trial 2 --zoom 2s --difference --panel events --filter 'it'\''s up'");
        let view = View { mode: Mode::Scrub(RunTime(0)), ghost: true, filter: "pod-1".to_owned(), ..View::default() };
        assert_eq!(flags(&view), " --scrub --ghost --filter pod-1");
    }

    #[test]
    fn an_instant_is_written_exactly_and_short() {
        let table = [
            (0, "run:0s"),
            (81_250_000_000, "run:81.25s"),
            (100_000_000_000, "run:100s"),
            (1_000_000_001, "run:1.000000001s"),
            (u64::MAX, "run:18446744073.709551615s"),
        ];
        for (ns, text) in table {
            assert_eq!(exact(RunTime(ns)), text);
        }
    }
}
