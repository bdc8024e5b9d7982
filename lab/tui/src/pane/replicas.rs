//! The pane of replicas: a table of the shown workload's, as they were at the instant, and a line for each other workload.

use std::cmp::Reverse;

use lab_core::model::{Replica, Workload};
use lab_core::spec::Resources;
use lab_core::unit::{RunTime, Span};
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::canvas;
use crate::look::{Look, Role};
use crate::scene::Scene;
use crate::view::{Panel, View};

/// A reading that is older than this is not the present any more.
const FRESH: Span = Span::from_secs(5);
/// Columns between two columns of the table.
const DISTANCE: u16 = 2;
/// Most columns of a name.
const LONGEST_NAME: u16 = 28;

/// What a replica is at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its readiness probe stopped answering.
    Unready,
    /// It ended by itself.
    Died,
    /// It is being made.
    Creating,
    /// Its process runs and is not ready yet.
    Starting,
    /// It is ready.
    Ready,
    /// It gets no new requests.
    Draining,
    /// It ended as it should.
    Stopped,
    /// Only its answers are known.
    Answers,
}

impl State {
    /// In the order in which a summary names them.
    const ALL: [Self; 8] = [
        Self::Unready,
        Self::Died,
        Self::Ready,
        Self::Starting,
        Self::Creating,
        Self::Draining,
        Self::Stopped,
        Self::Answers,
    ];

    /// The state of a replica.
    pub fn of(replica: &Replica) -> Self {
        match replica {
            r if r.stopped.is_some() && r.died => Self::Died,
            r if r.stopped.is_some() => Self::Stopped,
            r if r.draining.is_some() => Self::Draining,
            r if r.is_ready => Self::Ready,
            r if r.ready.is_some() => Self::Unready,
            r if r.started.is_some() => Self::Starting,
            r if r.created.is_some() => Self::Creating,
            _ => Self::Answers,
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unready => "unready",
            Self::Died => "died",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Answers => "answers",
        }
    }

    /// Its colour.
    pub fn role(self) -> Role {
        match self {
            Self::Unready | Self::Died => Role::Bad,
            Self::Creating | Self::Starting | Self::Draining => Role::Created,
            Self::Ready => Role::Done,
            Self::Stopped => Role::Dim,
            Self::Answers => Role::Text,
        }
    }

    /// Trouble first, what is gone last; between them nothing moves when a state changes.
    fn rank(self) -> u8 {
        match self {
            Self::Unready => 0,
            Self::Died => 1,
            Self::Stopped => 3,
            _ => 2,
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The replica's name.
    pub name: &'a str,
    /// What is known of it.
    pub replica: &'a Replica,
    /// What it is.
    pub state: State,
}

/// All rows that a filter lets through, in the order in which `View::selected_of` counts them: not ready and dead ones first, stopped ones
/// last, else by name. The newest of what is gone comes first.
pub fn rows<'a>(workload: &'a Workload, filter: &str) -> Vec<Row<'a>> {
    let filter = filter.to_lowercase();
    let passes = |row: &Row<'_>| {
        filter.is_empty() || row.name.to_lowercase().contains(&filter) || row.state.word().contains(&filter)
    };
    let all = workload.replicas.iter().map(|(name, replica)| Row { name, replica, state: State::of(replica) });
    let mut rows: Vec<Row<'_>> = all.filter(passes).collect();
    rows.sort_by_key(|row| (row.state.rank(), row.replica.stopped.map(Reverse), counted(row.name)));
    rows
}

/// A name by its text and then by the number at its end: 10 comes after 9.
pub(super) fn counted(name: &str) -> (&str, u64, &str) {
    let text = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (text, name[text.len()..].parse().unwrap_or(u64::MAX), name)
}

/// `180 ready, 8 starting`.
fn summary<'a>(rows: impl Iterator<Item = &'a Row<'a>> + Clone) -> String {
    let count = |state: State| rows.clone().filter(|row| row.state == state).count();
    let all = State::ALL.into_iter().map(|state| (state, count(state))).filter(|(_, n)| *n > 0);
    all.map(|(state, n)| format!("{n} {}", state.word())).collect::<Vec<_>>().join(", ")
}

/// Draws it.
pub fn draw(scene: &Scene<'_>, view: &View, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let empty = Workload::default();
    let workload = scene.workload_now().unwrap_or(&empty);
    let rows = rows(workload, &view.filter);
    let others: Vec<String> = others(scene).collect();
    let mut y = title(scene, view, workload, area, buf);
    // The table matters more than the other workloads: it keeps a header and two rows.
    let for_others = (others.len() as u16).min(area.bottom().saturating_sub(y).saturating_sub(3));
    let table = Rect { y, height: area.bottom() - y - for_others, ..area };
    y += self::table(scene, view, &rows, table, buf);
    for text in others.iter().take(usize::from(for_others)) {
        canvas::put(buf, area, area.left(), y, text, scene.look.style(Role::Dim));
        y += 1;
    }
}

/// What is listed; returns the next row.
fn title(scene: &Scene<'_>, view: &View, workload: &Workload, area: Rect, buf: &mut Buffer) -> u16 {
    let all = self::rows(workload, "");
    let states = if all.is_empty() { "no replicas yet".to_owned() } else { summary(all.iter()) };
    let filter = if view.filter.is_empty() { String::new() } else { format!("   filter: {}", view.filter) };
    let parts = [
        (scene.workload, scene.look.style(Role::Title)),
        ("   ", Style::new()),
        (states.as_str(), scene.look.style(Role::Text)),
        (filter.as_str(), scene.look.style(Role::Open)),
    ];
    canvas::line(buf, area, area.left(), area.top(), &parts);
    area.top() + 1
}

/// A line for each workload that is not shown as a table.
fn others<'a>(scene: &Scene<'a>) -> impl Iterator<Item = String> + 'a {
    let (shown, trial) = (scene.workload, scene.trial);
    let others = trial.workloads.iter().filter(move |(name, w)| name.as_str() != shown && !w.replicas.is_empty());
    others.map(|(name, workload)| {
        let rows = rows(workload, "");
        let cores = rows.iter().filter(|row| row.replica.stopped.is_none()).filter_map(|row| row.replica.cores);
        let cores = cores.reduce(|a, b| a + b).map(|cores| format!(", {} cores", words::digits(cores)));
        format!("{name}   {}{}", summary(rows.iter()), cores.unwrap_or_default())
    })
}

/// Draws header and rows from the top of `area`; returns the rows that were used.
fn table(scene: &Scene<'_>, view: &View, rows: &[Row<'_>], area: Rect, buf: &mut Buffer) -> u16 {
    let columns = columns(scene, rows, area.width);
    if area.height == 0 || rows.is_empty() {
        return 0;
    }
    let mut x = area.left().saturating_add(2);
    for column in &columns {
        cell(scene.look, area, x, column, &column.head, Role::Dim, buf);
        x = x.saturating_add(column.width + DISTANCE);
    }
    let room = usize::from(area.height - 1);
    let selected = (view.panel == Panel::Replicas).then(|| view.selected_of(rows.iter().map(|row| row.name)));
    let (offset, fit) = window(view.scroll, selected, rows.len(), room);
    for (y, (index, row)) in (area.top() + 1..).zip(rows.iter().enumerate().skip(offset).take(fit)) {
        self::row(scene, &columns, row, selected == Some(index), Rect { y, height: 1, ..area }, buf);
    }
    let hidden = rows.len() - rows.len().min(fit);
    if hidden == 0 || room == 0 {
        return 1 + fit.min(rows.len()) as u16;
    }
    let rest = rows.iter().enumerate().filter(|(i, _)| *i < offset || *i >= offset + fit).map(|(_, row)| row);
    let text = format!("+ {hidden} more: {}", summary(rest));
    canvas::put(buf, area, area.left() + 2, area.top() + 1 + fit as u16, &text, scene.look.style(Role::Dim));
    2 + fit as u16
}

/// The first row that is drawn and how many; a row is kept for what is left out. The selected one is never below the last.
fn window(scroll: u16, selected: Option<usize>, rows: usize, room: usize) -> (usize, usize) {
    if rows <= room {
        return (0, room);
    }
    let fit = room.saturating_sub(1);
    let least = (selected.unwrap_or(0) + 1).saturating_sub(fit.max(1));
    (usize::from(scroll).max(least).min(rows - fit), fit)
}

/// A column of the table.
struct Column {
    head: String,
    width: u16,
    right: bool,
    text: Text,
}

/// What a row has in a column at an instant.
type Text = fn(&Look, &Row<'_>, RunTime) -> String;

/// The columns for which there is room, in the order of the table.
fn columns(scene: &Scene<'_>, rows: &[Row<'_>], width: u16) -> Vec<Column> {
    let spec = scene.model.spec(scene.trial).and_then(|spec| spec.services.workload(scene.workload));
    let limits = spec.map_or_else(Resources::default, |w| w.resources);
    let of =
        |what: &str, limit: Option<String>| limit.map_or_else(|| what.to_owned(), |limit| format!("{what} of {limit}"));
    let cores = of("cores", limits.cpu.map(|cpu| (cpu.0 as f64 / 1_000.0).to_string()));
    let memory = of("memory", limits.memory.map(|bytes| bytes.to_string()));
    let name = rows.iter().map(|row| canvas::width(row.name)).max().unwrap_or(0).clamp(7, LONGEST_NAME);
    let column = |head: &str, width, right, text| Column { head: head.to_owned(), width, right, text };
    let number = |head: &str, text| column(head, canvas::width(head).max(9), true, text);
    // Each with its rank: the highest go first where there is no room.
    let all: [(u8, Column); 9] = [
        (0, column("replica", name, false, |_, row, _| row.name.to_owned())),
        (1, column("state", 8, false, |_, row, _| row.state.word().to_owned())),
        (3, column("age", 7, true, age)),
        (2, number(&cores, cores_used)),
        (6, number(&memory, memory_used)),
        (7, number("throttled", throttled)),
        (4, number("completed", |_, row, _| row.replica.completed.to_string())),
        (5, number("failed", |_, row, _| row.replica.failed.to_string())),
        (8, column("address, exit", 21, false, whereabouts)),
    ];
    // The last column needs no distance to a next one.
    let room = width.saturating_sub(2).saturating_add(DISTANCE);
    let taken = |rank: u8| all.iter().filter(|(r, _)| *r <= rank).map(|(_, c)| c.width + DISTANCE).sum::<u16>();
    let last = (0..9).rev().find(|rank| taken(*rank) <= room).unwrap_or(0);
    all.into_iter().filter(|(rank, _)| *rank <= last).map(|(_, column)| column).collect()
}

/// What is not known.
fn absent(look: &Look) -> String {
    if look.ascii { "-" } else { "–" }.to_owned()
}

fn age(look: &Look, row: &Row<'_>, now: RunTime) -> String {
    let Some(from) = row.replica.created.or(row.replica.started) else { return absent(look) };
    let seconds = row.replica.stopped.map_or(now, |at| at.min(now)).since(from).0 / 1_000_000_000;
    match seconds {
        0..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

/// What is gone uses nothing.
fn cores_used(look: &Look, row: &Row<'_>, _now: RunTime) -> String {
    let used = row.replica.cores.filter(|_| row.replica.stopped.is_none());
    used.map_or_else(|| absent(look), |cores| format!("{cores:.3}"))
}

fn memory_used(look: &Look, row: &Row<'_>, _now: RunTime) -> String {
    if row.replica.rss_bytes == 0 { absent(look) } else { words::bytes(row.replica.rss_bytes) }
}

fn throttled(look: &Look, row: &Row<'_>, _now: RunTime) -> String {
    row.replica.throttled_ns.map_or_else(|| absent(look), |ns| words::duration(Span(ns)))
}

fn whereabouts(_look: &Look, row: &Row<'_>, _now: RunTime) -> String {
    row.replica.exit.clone().unwrap_or_else(|| row.replica.address.clone())
}

fn cell(look: Look, area: Rect, x: u16, column: &Column, text: &str, role: Role, buf: &mut Buffer) {
    let text = canvas::fit(text, column.width, look.glyphs().cut);
    let before = if column.right { column.width - canvas::width(&text).min(column.width) } else { 0 };
    canvas::put(buf, area, x.saturating_add(before), area.top(), &text, look.style(role));
}

fn row(scene: &Scene<'_>, columns: &[Column], row: &Row<'_>, selected: bool, area: Rect, buf: &mut Buffer) {
    let look = scene.look;
    let stale = row.replica.read_at.is_none_or(|at| scene.now.since(at) > FRESH);
    let gone = row.replica.stopped.is_some();
    let mut x = area.left().saturating_add(2);
    for column in columns {
        let role = match column.head.as_str() {
            "state" => row.state.role(),
            "failed" if row.replica.failed > 0 => Role::Bad,
            head if head.starts_with("cores") && stale && !gone => Role::Dim,
            _ if gone => Role::Dim,
            _ => Role::Text,
        };
        cell(look, area, x, column, &(column.text)(&look, row, scene.now), role, buf);
        x = x.saturating_add(column.width + DISTANCE);
    }
    if selected {
        canvas::mark(buf, area, 0, 0, look.glyphs().selected, look.style(Role::Selected));
        buf.set_style(area.intersection(buf.area), look.style(Role::Selected));
    }
}

#[cfg(test)]
mod tests {
    use lab_core::event::{Event, Kind};
    use lab_core::fixture::Scenario;
    use lab_core::model::Model;

    use super::*;
    use crate::columns::Columns;
    use crate::frame::{Instant, dump, frame};
    use crate::pane::Extras;

    const SERVICE: &str = "user-service";

    fn model(kinds: Vec<Kind>) -> Model {
        let mut scenario = Scenario::autoscale(1);
        scenario.phases = vec![("step", 1.0, 180, true)];
        let begin = scenario.events().into_iter().take(2).map(|e| e.kind);
        let event = |(kind, n): (Kind, u64)| {
            let (t, src) = (RunTime(n * 1_000_000), "test".to_owned());
            Event { n, t, late: Span::ZERO, src, clock: None, kind }
        };
        Model::of(&begin.chain(kinds).zip(1..).map(event).collect::<Vec<_>>())
    }

    fn life(replica: &str) -> [Kind; 3] {
        let (workload, replica) = (SERVICE.to_owned(), replica.to_owned());
        [
            Kind::ReplicaCreated { workload: workload.clone(), replica: replica.clone() },
            Kind::ReplicaStarted {
                workload: workload.clone(),
                replica: replica.clone(),
                address: "a:1".to_owned(),
                pid: None,
            },
            Kind::ReplicaReady { workload, replica },
        ]
    }

    fn died(replica: &str) -> Kind {
        let (workload, exit) = (SERVICE.to_owned(), "signal 9".to_owned());
        Kind::ReplicaStopped { workload, replica: replica.to_owned(), exit, expected: false }
    }

    fn screen(model: &Model, view: &View, size: (u16, u16)) -> Vec<String> {
        let now = RunTime(60_000_000_000);
        let instant = Instant { whole: model, model, now, end: now };
        let buf = frame(&instant, view, size, Look::default(), &Extras::still(), &mut Columns::default());
        dump::text(&buf).lines().map(str::to_owned).collect()
    }

    fn table(filter: &str, scroll: u16, selected: usize) -> View {
        View { panel: Panel::Replicas, filter: filter.to_owned(), scroll, selected, ..View::default() }
    }

    #[test]
    fn trouble_comes_first_then_names_by_their_number_and_what_is_gone_last() {
        let mut kinds: Vec<Kind> = ["b-10", "b-9", "b-2", "b-11"].iter().flat_map(|name| life(name)).collect();
        kinds.push(Kind::ReplicaUnready {
            workload: SERVICE.to_owned(),
            replica: "b-11".to_owned(),
            reason: "r".to_owned(),
        });
        let exit = "exit 0".to_owned();
        kinds.push(Kind::ReplicaStopped {
            workload: SERVICE.to_owned(),
            replica: "b-2".to_owned(),
            exit,
            expected: true,
        });
        let [created, ..] = life("b-1");
        kinds.extend([created, life("b-3")[0].clone(), died("b-3")]);
        let model = model(kinds);
        let workload = &model.trials[0].workloads[SERVICE];
        let told: Vec<_> = rows(workload, "").iter().map(|r| format!("{} {}", r.name, r.state.word())).collect();
        assert_eq!(told, ["b-11 unready", "b-3 died", "b-1 creating", "b-9 ready", "b-10 ready", "b-2 stopped"]);
        let ready: Vec<_> = rows(workload, "READY").iter().map(|r| r.name).collect();
        assert_eq!(ready, ["b-11", "b-9", "b-10"]);
    }

    #[test]
    fn two_hundred_replicas_are_a_few_rows_and_a_summary() {
        let names: Vec<String> = (1..=200).map(|n| format!("{SERVICE}-{n}")).collect();
        let kinds = names.iter().flat_map(|name| life(name).into_iter().take(if name.ends_with('7') { 2 } else { 3 }));
        let model = model(kinds.chain([died("user-service-150")]).collect());
        let drawn = screen(&model, &table("", 0, 0), (100, 30)).join("\n");
        assert!(drawn.contains("user-service   1 died, 179 ready, 20 starting"), "{drawn}");
        assert!(drawn.contains("▸ user-service-150  died"), "{drawn}");
        assert!(drawn.contains("+ 192 more: 173 ready, 19 starting"), "{drawn}");
        let starts = View { panel: Panel::Waterfall, scroll: 3, ..View::default() };
        let starts = screen(&model, &starts, (100, 30)).join("\n");
        assert!(starts.contains("+ 191 more: 188 older, 3 newer"), "{starts}");
        let last = screen(&model, &table("", 0, 199), (100, 30)).join("\n");
        assert!(last.contains("▸ user-service-200  ready"), "{last}");
        let found = screen(&model, &table("-199", 0, 0), (100, 30)).join("\n");
        assert!(found.contains("▸ user-service-199  ready") && !found.contains("more:"), "{found}");
    }

    #[test]
    fn foreign_names_and_small_places_do_no_harm() {
        let names = ["\u{1b}[31mred", "宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽", "", "9"];
        let model = model(names.iter().flat_map(|name| life(name)).collect());
        for size in [(60, 15), (61, 16), (80, 24), (160, 45), (250, 70)] {
            for panel in [Panel::Replicas, Panel::Waterfall, Panel::Usual] {
                for row in screen(&model, &View { panel, scroll: 3, selected: 9, ..View::default() }, size) {
                    assert!(!row.chars().any(char::is_control), "{row:?}");
                }
            }
        }
    }
}
