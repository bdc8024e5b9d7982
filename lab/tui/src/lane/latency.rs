//! The lane of latency: how long do answers take? All of them as a heat map on a logarithmic scale, p50 and p99 over it, the limit
//! under it.

use std::cmp::Ordering;

use lab_core::model::{Cell, Trial, heat_edge};
use lab_core::unit::Span;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::{Look, Role};
use crate::scene::{Scene, Side};

/// Shares of a column's answers at which a cell gets the next shade; logarithmic, so that one answer in a thousand still shows.
const SHADES: [f64; 3] = [0.03, 0.15, 0.4];

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Latency;

impl Lane for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn question(&self) -> &'static str {
        "How long do answers take, counted from when each request was due? The darker, the more answers; points are p50 and p99"
    }

    fn rows(&self, tier: Tier) -> (u16, u16) {
        match tier {
            Tier::Line => (1, 1),
            Tier::Small => (3, 8),
            Tier::Normal => (5, 10),
            Tier::Full => (8, 12),
        }
    }

    fn applies(&self, _side: &Side<'_>) -> bool {
        true
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let (look, plot) = (scene.look, place.plot);
        let scale = scene.ghost.iter().fold(Scale::of(scene.shown.trial), |s, ghost| s.with(Scale::of(ghost.trial)));
        labels(scene, place, scale, buf);
        for (column, limit) in (0u16..).zip(limits(&scene.shown)) {
            if let Some(limit) = limit {
                let (rule, style) = (look.glyphs().horizontal, look.style(Role::Limit));
                canvas::mark(buf, plot, column, scale.row(plot, limit), rule, style);
            }
        }
        draw::missing(&scene.shown).into_iter().for_each(|column| draw::gap(buf, plot, column, look));
        for (column, cell) in (0u16..).zip(scene.shown.cells) {
            if let Some(cell) = cell {
                heat(buf, plot, column, cell, scale, look);
            }
        }
        draw::ghost(self, scene, place, |ns| scale.share(Span(ns as u64)), buf);
        for (column, cell) in (0u16..).zip(scene.shown.cells) {
            if let Some(cell) = cell {
                points(buf, plot, column, cell, scale, look);
            }
        }
        values(scene, place, buf);
    }

    /// The 99th percentile, nanoseconds.
    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>> {
        let p99 = |cell: &Cell| cell.p99().map(|p99| p99.0 as f64);
        side.cells.iter().map(|cell| cell.as_ref().and_then(p99)).collect()
    }

    fn tell(&self, number: f64) -> String {
        short(Span(number as u64))
    }

    fn better(&self) -> Option<Ordering> {
        Some(Ordering::Less)
    }
}

/// Whole decades, as exponents of ten of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    /// 1 ms to 10 s; a decade more at an end beyond which the trial has answers or its limit. As answers stay, it only grows.
    fn of(trial: &Trial) -> Self {
        let responses = || trial.phases.values().map(|phase| &phase.response);
        let least = responses().filter_map(|r| r.at_rank(1)).chain(trial.main_limit().map(|(_, l)| l)).min();
        let most = responses()
            .filter_map(lab_core::distribution::Distribution::max)
            .chain(trial.main_limit().map(|(_, l)| l))
            .max();
        let low = if least.is_some_and(|least| least < Span::from_millis(1)) { 5 } else { 6 };
        let high = if most.is_some_and(|most| most >= Span::from_secs(10)) { 11 } else { 10 };
        Self { low, high }
    }

    fn with(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Where a latency stands between the lowest and the highest.
    fn share(self, latency: Span) -> f64 {
        // A hair above, so that a whole decade stands in the row that begins with it.
        ((latency.0.max(1) as f64).log10() + 1e-9 - f64::from(self.low)) / f64::from(self.high - self.low)
    }

    fn row(self, plot: Rect, latency: Span) -> u16 {
        draw::row_of(plot, self.share(latency))
    }
}

/// The limit that held in each column: that of its phase, else the one most phases have.
fn limits(side: &Side<'_>) -> Vec<Option<Span>> {
    let main = side.trial.main_limit().map(|(_, limit)| limit);
    let mut phases: Vec<_> = side
        .trial
        .phases
        .iter()
        .filter_map(|(index, phase)| Some((side.axis.column_of(phase.started?)?, side.trial.limit(*index)?.1)))
        .filter(|(_, limit)| Some(*limit) != main)
        .collect();
    if phases.is_empty() {
        return vec![main; usize::from(side.axis.width)];
    }
    phases.sort_unstable();
    let limit = |column: u16| {
        let phase =
            side.trial.phases.iter().filter(|(_, p)| p.started.is_some_and(|t| t <= side.axis.start_of(column)));
        let phase = phase.max_by_key(|(_, p)| p.started).map(|(index, _)| *index);
        phase.and_then(|index| side.trial.limit(index)).map(|(_, limit)| limit).or(main)
    };
    (0..side.axis.width).map(limit).collect()
}

/// The answers of a column, shaded by the share of them that lies in each row.
fn heat(buf: &mut Buffer, plot: Rect, column: u16, cell: &Cell, scale: Scale, look: Look) {
    let mut rows = vec![0_u64; usize::from(plot.height)];
    let mut total = 0_u64;
    for (row, count) in cell.heat() {
        // The middle of a row of the model's heat map, geometrically.
        let middle = (heat_edge(row).0 as f64 * heat_edge(row + 1).0 as f64).sqrt();
        if let Some(sum) = rows.get_mut(usize::from(scale.row(plot, Span(middle as u64)))) {
            *sum = sum.saturating_add(count);
        }
        total = total.saturating_add(count);
    }
    for (row, count) in (0u16..).zip(rows).filter(|(_, count)| *count > 0) {
        let share = count as f64 / total as f64;
        let level = SHADES.iter().filter(|least| share >= **least).count();
        let role = if cell.complete() { Role::Heat(level as u8) } else { Role::Dim };
        canvas::mark(buf, plot, column, row, look.glyphs().shades[level + 1], look.style(role));
    }
}

/// The two quantiles. What a part of the answers says of them is left out.
fn points(buf: &mut Buffer, plot: Rect, column: u16, cell: &Cell, scale: Scale, look: Look) {
    if !cell.complete() {
        return;
    }
    for (latency, role) in [(cell.p50(), Role::Median), (cell.p99(), Role::Tail)] {
        if let Some(latency) = latency {
            canvas::mark(buf, plot, column, scale.row(plot, latency), look.glyphs().point, look.style(role));
        }
    }
}

/// Name, legend, the limit and as many decades as have a row of their own.
fn labels(scene: &Scene<'_>, place: Place, scale: Scale, buf: &mut Buffer) {
    draw::name(scene, place, Latency.name(), buf);
    let mut taken = Vec::new();
    if let Some((_, limit)) = scene.trial.main_limit().or_else(|| scene.shown.trial.main_limit()) {
        let row = scale.row(place.plot, limit);
        draw::tick(scene, place, row, &short(limit), Role::Limit, buf);
        taken.push(row);
    }
    for decade in (scale.low..=scale.high).rev() {
        let latency = Span(10_u64.saturating_pow(decade.unsigned_abs()));
        let row = scale.row(place.plot, latency);
        if !taken.contains(&row) {
            draw::tick(scene, place, row, &short(latency), Role::Dim, buf);
            taken.push(row);
        }
    }
    if place.label.height > 3 {
        let point = scene.look.glyphs().point;
        draw::legend(scene, place, 1, &format!("{point} p99"), Role::Tail, buf);
        draw::legend(scene, place, 2, &format!("{point} p50"), Role::Median, buf);
    }
}

/// Both quantiles of the newest second, and the limit.
fn values(scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let limit = scene.trial.main_limit();
    if let Some((cell, stale)) = draw::newest(scene) {
        let tell = |quantile: Option<Span>| quantile.map_or_else(|| "none".to_owned(), short);
        let of = |role| if stale { Role::Dim } else { role };
        let tail = if limit.is_some_and(|limit| above(cell, limit)) { Role::Bad } else { Role::Tail };
        draw::value(scene, place, 0, &format!("p99 {}", tell(cell.p99())), of(tail), buf);
        draw::value(scene, place, 1, &format!("p50 {}", tell(cell.p50())), of(Role::Median), buf);
    }
    if let Some((quantile, limit)) = limit {
        let text = match place.value.width {
            _ if (quantile - 0.99).abs() > 1e-9 => format!("p{}<{}", words::digits(quantile * 100.0), short(limit)),
            11.. => format!("limit {}", short(limit)),
            _ => format!("lim {}", short(limit)),
        };
        draw::value(scene, place, 2, &text, Role::Limit, buf);
    }
}

/// Whether a second was slower than a limit on one of its quantiles.
fn above(cell: &Cell, (quantile, limit): (f64, Span)) -> bool {
    if (quantile - 0.99).abs() < 1e-9 {
        return cell.p99().is_some_and(|p99| p99 > limit);
    }
    (cell.within_limit as f64) < quantile * cell.counts.completed as f64
}

/// A length of time without the blank before its unit.
fn short(span: Span) -> String {
    words::duration(span).replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::draw::tests::{drawn, events, without};
    use lab_core::event::{Event, Kind};
    use lab_core::histogram::Histogram;
    use lab_core::model::Model;

    /// The run with all its answers after this long.
    fn answered_after(span: Span) -> Vec<Event> {
        let mut events = events();
        for event in &mut events {
            let Kind::Sample(sample) = &mut event.kind else { continue };
            for phase in &mut sample.phases {
                let mut histogram = Histogram::new();
                (0..phase.counts.completed).for_each(|_| histogram.record(span));
                phase.response = histogram.encode();
            }
        }
        events
    }

    fn scale(events: &[Event]) -> Scale {
        Scale::of(&Model::of(events).trials[0])
    }

    #[test]
    fn decades_are_fixed_and_grow_only_for_answers() {
        assert_eq!(Scale::of(&Trial::default()), Scale { low: 6, high: 10 });
        assert_eq!(scale(&answered_after(Span::from_millis(40))), Scale { low: 6, high: 10 });
        assert_eq!(scale(&answered_after(Span(300_000))), Scale { low: 5, high: 10 });
        assert_eq!(scale(&answered_after(Span::from_secs(12))), Scale { low: 6, high: 11 });
    }

    #[test]
    fn whole_decades_begin_rows() {
        let (plot, scale) = (Rect::new(0, 0, 1, 8), Scale { low: 6, high: 10 });
        let rows = [1, 10, 100, 1_000, 10_000, 60_000].map(|ms| scale.row(plot, Span::from_millis(ms)));
        assert_eq!(rows, [7, 5, 3, 1, 0, 0]);
        assert_eq!(scale.row(plot, Span(0)), 7);
    }

    #[test]
    fn the_limit_lies_under_the_answers_and_is_labelled() {
        let rows = drawn(&Latency, &answered_after(Span::from_millis(40)), false, (30, 8), Look::default());
        let limit = rows.iter().find(|row| row[0].ends_with("250ms")).expect("its label");
        assert_eq!(limit[1], "─".repeat(30));
        assert_eq!(rows[2][2], "limit 250ms");
        assert!(rows[0][2].starts_with("p99 40"), "{rows:?}");
        let rows = drawn(&Latency, &answered_after(Span::from_millis(240)), false, (30, 8), Look::default());
        let limit = rows.iter().find(|row| row[0].ends_with("250ms")).expect("its label");
        assert!(limit[1].starts_with("──•••") && limit[1].ends_with("──"), "{rows:?}");
    }

    #[test]
    fn seconds_without_samples_are_hatched_and_parts_have_no_quantiles() {
        let rows = drawn(&Latency, &without(events(), 2..=2, None), false, (20, 6), Look::default());
        assert!(rows.iter().all(|row| row[1].chars().nth(3) == Some('╱')), "{rows:?}");
        let rows =
            drawn(&Latency, &without(events(), 2..=2, Some("load-generator-1")), false, (20, 6), Look::default());
        let column: String = rows.iter().filter_map(|row| row[1].chars().nth(3)).collect();
        assert!(!column.contains('•') && column.contains(['░', '▒', '▓', '█']), "{rows:?}");
    }
}
