//! The lane of what waits: messages in the queue of a workload that has one, else requests that wait for a connection or an answer.

use std::cmp::Ordering;

use lab_core::model::Cell;
use lab_core::spec::Spec;
use lab_core::unit::Span;
use lab_core::words;
use ratatui::buffer::Buffer;

use super::replicas::{over, points};
use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::Role;
use crate::scene::{Scene, Side};

/// Queues are read once a second; a depth that was read longer ago says nothing about now.
const HOLDS: Span = Span::from_secs(3);
/// The gauge that environments report.
const GAUGE: &str = "queue-depth";

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Backlog;

impl Lane for Backlog {
    fn name(&self) -> &'static str {
        "backlog"
    }

    fn question(&self) -> &'static str {
        "How much waits: messages in the queue, or requests without an answer yet? Each step of the scale is ten times the one below."
    }

    fn rows(&self, tier: Tier) -> (u16, u16) {
        match tier {
            Tier::Line => (0, 0),
            Tier::Small => (1, 1),
            Tier::Normal => (1, 2),
            Tier::Full => (1, 3),
        }
    }

    fn applies(&self, side: &Side<'_>) -> bool {
        let waits =
            |spec: &Spec| spec.load.is_some() || spec.services.names().any(|name| spec.services.is_queued(name));
        side.model.spec(side.trial).is_none_or(waits)
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let mine = columns(&scene.shown, scene.workload);
        let theirs = scene.ghost.as_ref().map(|side| columns(side, scene.workload)).unwrap_or_default();
        let top = mine.iter().chain(&theirs).flatten().map(|depth| depth.count).fold(0.0, f64::max);
        let top = decade(top);
        let share = |count: f64| count.ln_1p() / top.ln_1p();
        for (column, depth) in (0u16..).zip(&mine) {
            let Some(depth) = depth else { continue };
            let role = if depth.partial || depth.count == 0.0 { Role::Dim } else { Role::Backlog };
            // Nothing that waits is a low line, so that it differs from nothing that is known.
            draw::bar(buf, place.plot, column, share(depth.count).max(f64::EPSILON), scene.look, role);
        }
        for column in gaps(scene, &mine) {
            draw::gap(buf, place.plot, column, scene.look);
        }
        let row = |count: f64| draw::row_of(place.plot, share(count));
        points(scene, place.plot, &whole(&theirs), &whole(&mine), row, buf);
        draw::name(scene, place, self.name(), buf);
        draw::tick(scene, place, 0, &short(top), Role::Dim, buf);
        let what = if queued(&scene.shown, scene.workload) { "queue, log" } else { "requests, log" };
        draw::legend(scene, place, 1, what, Role::Dim, buf);
        values(scene, place, buf);
    }

    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>> {
        whole(&columns(side, side.workload))
    }

    fn tell(&self, number: f64) -> String {
        short(number)
    }

    fn better(&self) -> Option<Ordering> {
        Some(Ordering::Less)
    }
}

/// What waits in one column.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Depth {
    count: f64,
    /// Something is missing in it: it is at least this much.
    partial: bool,
}

/// What is known in full.
fn whole(columns: &[Option<Depth>]) -> Vec<Option<f64>> {
    columns.iter().map(|depth| depth.filter(|d| !d.partial).map(|d| d.count)).collect()
}

/// Columns in which something waited and nobody looked.
fn gaps(scene: &Scene<'_>, columns: &[Option<Depth>]) -> Vec<u16> {
    if !queued(&scene.shown, scene.workload) {
        return draw::missing(&scene.shown);
    }
    let within = draw::known(columns).filter(|column| columns[*column].is_none());
    within.filter_map(|column| u16::try_from(column).ok()).collect()
}

fn queued(side: &Side<'_>, workload: &str) -> bool {
    side.model.spec(side.trial).is_some_and(|spec| spec.services.is_queued(workload))
}

fn columns(side: &Side<'_>, workload: &str) -> Vec<Option<Depth>> {
    if queued(side, workload) {
        return depths(side, workload);
    }
    let depth =
        |cell: &Cell| Depth { count: (cell.queued.saturating_add(cell.in_flight)) as f64, partial: !cell.complete() };
    side.cells.iter().map(|cell| cell.as_ref().map(depth)).collect()
}

/// The highest reading of each column: a peak matters, also when time is zoomed out.
fn depths(side: &Side<'_>, workload: &str) -> Vec<Option<Depth>> {
    let Some(gauge) = side.trial.workloads.get(workload).and_then(|w| w.gauges.get(GAUGE)) else { return Vec::new() };
    let until = over(side);
    let column = |column: u16| {
        let (from, to) = (side.axis.start_of(column), side.axis.start_of(column.saturating_add(1)));
        if from > until || to <= from {
            return None;
        }
        let within = gauge.between(from, to).iter().map(|s| s.value.0).filter(|n| n.is_finite());
        let held = || gauge.before(from).filter(|s| to.since(s.from) <= HOLDS).map(|s| s.value.0);
        let count = within.reduce(f64::max).or_else(held).filter(|n| n.is_finite())?;
        Some(Depth { count: count.max(0.0), partial: false })
    };
    (0..side.axis.width).map(column).collect()
}

/// The power of ten at or above, and at least 10: a scale that seldom changes.
fn decade(most: f64) -> f64 {
    let mut top = 10.0;
    while top < most && top < 1e15 {
        top *= 10.0;
    }
    top
}

/// A count in at most five characters: `9999`, `12.3k`, `1M`.
fn short(n: f64) -> String {
    match n {
        n if n >= 999_500.0 => format!("{}M", words::digits(n / 1e6)),
        n if n >= 10_000.0 => format!("{}k", words::digits(n / 1e3)),
        n => words::digits(n.round()),
    }
}

/// A count and what it is, or the count alone where there is no room for both.
fn told(n: f64, what: &str, place: Place) -> String {
    let long = format!("{} {what}", short(n));
    if canvas::width(&long) <= place.value.width { long } else { short(n) }
}

fn values(scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    if queued(&scene.shown, scene.workload) {
        let gauge = scene.workload_now().and_then(|w| w.gauges.get(GAUGE));
        let read = gauge.and_then(|gauge| gauge.before(scene.now)).filter(|s| s.value.0.is_finite());
        if let Some(read) = read {
            let role = if scene.now.since(read.from) <= HOLDS { Role::Text } else { Role::Dim };
            draw::value(scene, place, 0, &told(read.value.0, "queued", place), role, buf);
        }
        return;
    }
    let Some((cell, stale)) = draw::newest(scene) else { return };
    let role = if stale { Role::Dim } else { Role::Text };
    let (waiting, in_flight) = (cell.queued as f64, cell.in_flight as f64);
    let of_in_flight = told(in_flight, "in flight", place);
    let texts = match (cell.queued, place.value.height) {
        (0, _) => vec![of_in_flight],
        (_, 0 | 1) => vec![told(waiting + in_flight, "open", place)],
        _ => vec![told(waiting, "waiting", place), of_in_flight],
    };
    for (row, text) in (0..).zip(&texts) {
        draw::value(scene, place, row, text, role, buf);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lab_core::event::Kind;

    use super::super::replicas::tests::{SERVICE, model, picture, plot};
    use super::*;

    fn depth(at: f64, depth: f64) -> (f64, Kind) {
        let values = BTreeMap::from([(GAUGE.to_owned(), depth)]);
        (at, Kind::Gauges { workload: SERVICE.to_owned(), values })
    }

    #[test]
    fn tens_and_thousands_are_legible_together_and_a_gap_is_a_gap() {
        let read = [(0.5, 0.0), (1.5, 9.0), (2.5, 99.0), (3.5, 999.0), (9.5, f64::NAN), (12.5, 9.0), (12.9, 4.0)];
        let run = model(read.into_iter().map(|(at, n)| depth(at, n)).collect());
        let drawn = picture(&Backlog, &run, 14.0, (15, 3), false);
        assert_eq!(plot(&drawn), ["   ███╱╱╱╱╱╱   ", "  ████╱╱╱╱╱╱   ", "▁█████╱╱╱╱╱╱█▆▆"]);
        assert!(drawn[0].starts_with("backlog    1000│") && drawn[0].ends_with("4 queued"), "{drawn:?}");
        assert!(drawn[1].starts_with("queue, log"), "{drawn:?}");
    }

    #[test]
    fn counts_are_short_and_the_scale_is_a_power_of_ten() {
        assert_eq!([0.0, 9_999.0, 12_345.0, 1_000_000.0].map(short), ["0", "9999", "12.3k", "1M"]);
        assert_eq!([0.0, 10.0, 11.0, 1e6].map(decade), [10.0, 10.0, 100.0, 1e6]);
    }
}
