//! The pane of starts: when each replica was created, started, ready and first answered, on the axis of the lanes.

use std::cmp::Reverse;

use lab_core::model::Replica;
use lab_core::unit::RunTime;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::replicas::{Row, State, counted, rows};
use crate::canvas;
use crate::lane::Place;
use crate::layout;
use crate::look::{Look, Role};
use crate::scene::Scene;
use crate::view::View;

/// Where a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Created,
    Started,
    Ready,
    Answering,
    Draining,
}

impl Stage {
    fn glyph(self, look: Look) -> char {
        let glyphs = look.glyphs();
        match self {
            Self::Created => glyphs.shades[1],
            Self::Started => glyphs.shades[2],
            Self::Ready => glyphs.shades[3],
            Self::Answering => glyphs.horizontal,
            Self::Draining => glyphs.ghost,
        }
    }

    fn role(self) -> Role {
        match self {
            Self::Created => Role::Desired,
            Self::Started => Role::Created,
            Self::Ready | Self::Answering => Role::Done,
            Self::Draining => Role::Dim,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Answering => "answering",
            Self::Draining => "draining",
        }
    }

    /// The stages of a life in order, each from its first instant on.
    fn of(replica: &Replica) -> Vec<(RunTime, Self)> {
        let stages = [
            (replica.created, Self::Created),
            (replica.started, Self::Started),
            (replica.ready, Self::Ready),
            (replica.first_answer, Self::Answering),
            (replica.draining, Self::Draining),
        ];
        let mut latest = RunTime(0);
        let known = stages.into_iter().filter_map(|(at, stage)| Some((at?, stage)));
        // Generators stamp the first answer, the environment stamps readiness: they may cross, a life does not run back.
        known
            .map(|(at, stage)| {
                latest = latest.max(at);
                (latest, stage)
            })
            .collect()
    }
}

/// Draws it.
pub fn draw(scene: &Scene<'_>, view: &View, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    legend(scene, view, Rect { height: 1, ..area }, buf);
    let mut rows = scene.workload_now().map(|w| rows(w, &view.filter)).unwrap_or_default();
    rows.retain(|row| row.replica.created.or(row.replica.started).is_some());
    rows.sort_by_key(|row| (Reverse(row.replica.created.or(row.replica.started)), counted(row.name)));
    let room = usize::from(area.height - 1);
    let fit = if rows.len() <= room { room } else { room.saturating_sub(1) };
    let offset = usize::from(view.scroll).min(rows.len().saturating_sub(fit));
    for (y, row) in (area.top() + 1..).zip(rows.iter().skip(offset).take(fit)) {
        life(scene, row, layout::place(Rect { y, height: 1, ..area }), buf);
    }
    let left_out = rows.len() - rows.len().min(fit);
    if left_out > 0 && room > 0 {
        let older = rows.len() - offset - fit;
        let newer = offset;
        let text = format!("+ {left_out} more: {older} older, {newer} newer");
        let y = area.top() + 1 + fit as u16;
        canvas::put(buf, area, area.left(), y, &text, scene.look.style(Role::Dim));
    }
}

fn legend(scene: &Scene<'_>, view: &View, area: Rect, buf: &mut Buffer) {
    let (look, dim) = (scene.look, scene.look.style(Role::Dim));
    let mut x = canvas::put(buf, area, area.left(), area.top(), "starts of ", look.style(Role::Title));
    x = canvas::put(buf, area, x, area.top(), scene.workload, look.style(Role::Title));
    for stage in [Stage::Created, Stage::Started, Stage::Ready, Stage::Answering, Stage::Draining] {
        let glyph = stage.glyph(look).to_string();
        let parts = [("   ", dim), (glyph.as_str(), look.style(stage.role())), (" ", dim), (stage.word(), dim)];
        let needs = 5 + canvas::width(stage.word());
        if needs > area.right().saturating_sub(x) {
            break;
        }
        x = canvas::line(buf, area, x, area.top(), &parts);
    }
    if !view.filter.is_empty() {
        canvas::put(buf, area, x, area.top(), &format!("   filter: {}", view.filter), look.style(Role::Open));
    }
}

/// A column shows the stage in which it begins; that in which the life begins shows the first one.
fn life(scene: &Scene<'_>, row: &Row<'_>, place: Place, buf: &mut Buffer) {
    let (look, axis) = (scene.look, scene.shown.axis);
    let name = tail(row.name, place.label.width, look.glyphs().cut);
    canvas::put(buf, place.label, place.label.left(), place.label.top(), &name, look.style(Role::Text));
    let stages = Stage::of(row.replica);
    let Some(begin) = stages.first().map(|(at, _)| *at) else { return };
    let end = row.replica.stopped.map_or(scene.now, |at| at.min(scene.now));
    for column in 0..place.plot.width.min(axis.width) {
        let (from, to) = (axis.start_of(column), axis.start_of(column.saturating_add(1)));
        if to <= begin || from > end || to <= from {
            continue;
        }
        let stage = stages.iter().rev().find(|(at, _)| *at <= from.max(begin)).map(|(_, stage)| *stage);
        if let Some(stage) = stage {
            canvas::mark(buf, place.plot, column, 0, stage.glyph(look), look.style(stage.role()));
        }
    }
    if let Some(column) = row.replica.stopped.filter(|at| *at <= scene.now).and_then(|at| axis.column_of(at)) {
        let (glyph, role) = if row.replica.died { (look.glyphs().fail, Role::Bad) } else { ('|', Role::Dim) };
        canvas::mark(buf, place.plot, column, 0, glyph, look.style(role));
    }
    value(scene, row, begin, place, buf);
}

/// How long it took to be ready, or how long it has been on its way.
fn value(scene: &Scene<'_>, row: &Row<'_>, begin: RunTime, place: Place, buf: &mut Buffer) {
    let (text, role) = match (row.replica.ready, row.state) {
        (_, State::Died) => ("died".to_owned(), Role::Bad),
        (Some(ready), _) => {
            let took = words::duration(ready.since(begin));
            let long = format!("ready {took}");
            (if canvas::width(&long) <= place.value.width { long } else { took }, Role::Text)
        }
        (None, State::Stopped) => ("never ready".to_owned(), Role::Dim),
        (None, state) => (format!("{} {:.0} s", state.word(), scene.now.since(begin).as_secs_f64()), Role::Created),
    };
    let text = canvas::fit(&text, place.value.width, scene.look.glyphs().cut);
    canvas::put(buf, place.value, place.value.left(), place.value.top(), &text, scene.look.style(role));
}

/// The end of a name that is too long: what tells replicas apart is the number at the end.
fn tail(name: &str, most: u16, cut: char) -> String {
    let name = words::visible(name);
    if canvas::width(&name) <= most {
        return name;
    }
    let chars: Vec<char> = name.chars().collect();
    let tails = (1..chars.len()).map(|skip| chars[skip..].iter().collect::<String>());
    let fits = |tail: &String| canvas::width(tail) < most;
    tails.into_iter().find(fits).map(|tail| format!("{cut}{tail}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use lab_core::event::Event;
    use lab_core::fixture::Scenario;
    use lab_core::model::Model;

    use super::*;
    use crate::columns::Columns;
    use crate::frame::{Instant, dump, frame};
    use crate::pane::Extras;
    use crate::view::Panel;

    fn rows_at(seconds: f64) -> Vec<String> {
        static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| Scenario::autoscale(3).events());
        let events = &*EVENTS;
        let zero = Model::of(events).trials[0].load_started.expect("load");
        let now = RunTime(zero.0 + (seconds * 1e9) as u64);
        let model = Model::of(events.iter().take_while(|e| e.arrived() <= now));
        let instant = Instant { whole: &model, model: &model, now, end: now };
        let view = View { panel: Panel::Waterfall, ..View::default() };
        let buf = frame(&instant, &view, (100, 30), Look::default(), &Extras::still(), &mut Columns::default());
        let all: Vec<String> = dump::text(&buf).lines().map(str::to_owned).collect();
        let legend = all.iter().position(|row| row.starts_with("starts of user-service")).expect("the pane");
        all[legend + 1..].to_vec()
    }

    #[test]
    fn the_newest_start_comes_first_and_stands_in_the_columns_of_the_lanes() {
        let rows = rows_at(62.0);
        let names: Vec<&str> = rows.iter().take(4).map(|row| row.split(' ').next().unwrap_or("")).collect();
        assert_eq!(names, ["user-service-4", "user-service-3", "user-service-2", "user-service-1"]);
        assert!(rows[0].contains("░▒─") && rows[0].ends_with("ready 1.49 s"), "{rows:?}");
        // Three seconds a column, two columns before load: 35 s is in column 13, the plot begins at 16.
        assert_eq!(rows[1].chars().position(|c| c == '░'), Some(16 + 13), "{rows:?}");
    }

    #[test]
    fn one_that_is_not_ready_yet_says_how_long_it_has_been_on_its_way() {
        let rows = rows_at(35.5);
        assert!(rows[0].ends_with("starting 1 s"), "{rows:?}");
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(tail("user-service-canary-12", 10, '…'), "…canary-12");
        assert_eq!(tail("short", 10, '…'), "short");
        assert_eq!(tail("宽宽宽宽", 4, '…'), "…宽");
        assert_eq!(tail("anything", 0, '…'), "");
    }
}
