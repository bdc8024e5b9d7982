//! The screen of a run: lanes on one axis, panes around them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::canvas;
use crate::lane::{self, ALL, Place};
use crate::layout::{Layout, Tier};
use crate::look::Role;
use crate::pane::{self, Extras};
use crate::scene::Scene;
use crate::view::{Panel, View};

/// Draws it. Returns how many lines of a list of events or logs are below those that are seen.
pub fn draw(scene: &Scene<'_>, view: &View, extras: &Extras<'_>, area: Rect, buf: &mut Buffer) -> Option<u16> {
    if scene.tier == Tier::Line {
        pane::oneline::draw(scene, view, extras.footer, area, buf);
        return None;
    }
    let layout = Layout::of(area, &scene.shown, view.panel != Panel::Usual);
    pane::header::draw(scene, layout.header, buf);
    pane::verdict::draw(scene, layout.verdict, buf);
    pane::age::draw(scene, layout.age, buf);
    for (index, place) in &layout.lanes {
        rules(scene, *place, buf);
        if scene.difference && *index > 0 {
            lane::draw::difference(ALL[*index], scene, *place, buf);
        } else {
            ALL[*index].draw(scene, *place, buf);
        }
    }
    marks(scene, &layout, buf);
    pane::ticks::draw(scene, layout.ticks, buf);
    pane::episode::draw(scene, layout.episode, buf);
    pane::why::draw(scene, layout.why, buf);
    pane::footer::draw(scene, view, extras.footer, &layout.dropped, layout.footer, buf);
    match view.panel {
        Panel::Usual | Panel::Replicas => pane::replicas::draw(scene, view, layout.panel, buf),
        Panel::Waterfall => pane::waterfall::draw(scene, view, layout.panel, buf),
        Panel::Events => return pane::news::draw(scene, view, extras, layout.panel, buf),
        Panel::Logs => return pane::logs::draw(scene, view, extras.logs, layout.panel, buf),
    }
    None
}

/// The rules left and right of a plot.
fn rules(scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let (glyph, style) = (scene.look.glyphs().vertical.to_string(), scene.look.style(Role::Dim));
    for y in place.plot.rows().map(|row| row.y) {
        canvas::put(buf, buf.area, place.plot.left().saturating_sub(1), y, &glyph, style);
        canvas::put(buf, buf.area, place.plot.right(), y, &glyph, style);
    }
}

/// A faint rule through all lanes where something happened, and the cursor's column.
fn marks(scene: &Scene<'_>, layout: &Layout, buf: &mut Buffer) {
    let columns: Vec<u16> = lane::marks(&scene.shown).iter().filter_map(|m| scene.shown.axis.column_of(m.at)).collect();
    let (rule, dim) = (scene.look.glyphs().vertical, scene.look.style(Role::Dim));
    for (_, place) in &layout.lanes {
        for y in place.plot.top()..place.plot.bottom() {
            for column in &columns {
                let x = place.plot.left() + column;
                if let Some(cell) = buf.cell_mut((x, y)).filter(|cell| cell.symbol() == " ") {
                    cell.set_char(rule).set_style(dim);
                }
            }
            if let Some(cell) = scene.cursor.and_then(|column| buf.cell_mut((place.plot.left() + column, y))) {
                cell.set_style(scene.look.style(Role::Cursor));
            }
        }
    }
}
