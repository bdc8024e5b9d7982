//! The whole dashboard on a small screen: the newest second, readiness, errors and the verdict, the most important first; where there
//! are more rows, the verdict, the autoscaler's reason, the episode, and in the last one what must be known now.

use lab_core::model::Cell;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::header::{mode, mode_role, silence, stage};
use super::strip::{self, Part};
use super::verdict::Standing;
use super::{Footer, episode, footer, verdict, why};
use crate::look::Role;
use crate::scene::Scene;
use crate::view::{Mode, View};

/// Rows above the last one.
const ROWS: u16 = 4;

/// Draws it. A message stands in the last row even where that takes something else away.
pub fn draw(scene: &Scene<'_>, view: &View, last: Footer<'_>, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let told = area.height > ROWS || matches!(last, Footer::Message(_));
    let above = area.height - u16::from(told);
    let row = |n: u16| Rect { y: area.y.saturating_add(n), height: u16::from(n < above), ..area };
    let standing = Standing::of(scene);
    first(scene, &standing, row(0), buf);
    if above > 1 {
        verdict::row(scene, &standing, row(1), buf);
        why::draw(scene, row(2), buf);
        episode::draw(scene, row(3), buf);
    }
    if told {
        footer::draw(scene, view, last, &[], Rect { y: area.y.saturating_add(above), height: 1, ..area }, buf);
    }
}

/// `p99 412 ms  ready 7/10  err 0.02 %  ✗`
fn first(scene: &Scene<'_>, standing: &Standing, area: Rect, buf: &mut Buffer) {
    let look = scene.look;
    let second = scene.second_now().filter(|_| stage(scene).is_none());
    let mut parts = Vec::new();
    match second.map(Cell::p99) {
        Some(p99) => {
            let text = p99.map_or_else(|| "no answer".to_owned(), words::duration);
            parts.push(Part { before: "", runs: pair("p99 ", text, Role::Text), goes: 1 });
        }
        None => parts.push(Part::new("", stage(scene).unwrap_or("no sample yet"), Role::Text, 1)),
    }
    parts.extend(ready(scene));
    parts.extend(second.and_then(errors));
    let sign = standing.overall(scene);
    parts.extend(sign.map(|(glyph, role)| Part::new(" ", glyph.to_string(), role, 0)));
    parts.extend(silence(scene).map(|text| Part::new("  ", text, Role::Open, 5)));
    if scene.mode != Mode::Live || scene.speed.is_some() {
        parts.push(Part::new("  ", mode(scene), mode_role(scene), 2));
    }
    strip::draw(look, area, parts, buf);
}

fn pair(name: &str, text: String, role: Role) -> Vec<(String, Role)> {
    vec![(name.to_owned(), Role::Dim), (text, role)]
}

/// Ready of desired.
fn ready(scene: &Scene<'_>) -> Option<Part> {
    let workload = scene.workload_now()?;
    let (ready, desired) = (workload.ready_now(), workload.desired.last()?.value.0);
    let role = if ready < desired { Role::Open } else { Role::Text };
    Some(Part { before: " ", runs: pair("ready ", format!("{ready}/{desired}"), role), goes: 3 })
}

/// Failed and dropped of what ended in the second.
fn errors(second: &Cell) -> Option<Part> {
    let bad = second.counts.failed.saturating_add(second.counts.dropped);
    let all = bad.saturating_add(second.counts.completed);
    if all == 0 {
        return None;
    }
    let role = if bad > 0 { Role::Bad } else { Role::Text };
    let text = words::share(bad as f64 / all as f64);
    Some(Part { before: " ", runs: pair("err ", text, role), goes: 4 })
}
