//! How long do answers take? Every answer as a heat map on a logarithmic scale, p50 and p99 over it, and the limit.

use lab_core::model::{Cell, HEAT_ROWS, Model, Trial, heat_edge};
use lab_core::unit::Span;
use lab_core::words;

use super::plot::{LEFT, Label, Plot};
use super::svg::{Path, Svg};

/// Shades, by the share of the column's answers that lie in the cell.
const SHADES: [(f64, &str); 6] = [(0.005, "h1"), (0.02, "h2"), (0.06, "h3"), (0.15, "h4"), (0.35, "h5"), (1.1, "h6")];

type Quantile = fn(&Cell) -> Option<Span>;

/// Draws the lane.
pub fn draw(svg: &mut Svg, plot: &Plot<'_>, _: &Model, trial: &Trial) {
    let columns = trial.cells.columns(plot.time.from, plot.time.to, plot.time.columns());
    let limit = trial.main_limit().map(|(_, limit)| limit);
    let scale = Scale::of(plot, &columns, limit);
    plot.gaps(svg, &columns);
    scale.ticks(svg);
    heat(svg, plot, &scale, &columns);
    let line = |of: Quantile| -> Vec<Option<f64>> {
        columns.iter().map(|cell| cell.as_ref().and_then(of).map(|latency| scale.y(latency))).collect()
    };
    let mut labels = Vec::new();
    if let Some(limit) = limit {
        plot.rule(svg, "limit", scale.y(limit));
        labels.push(Label { y: scale.y(limit), class: "limit", text: format!("limit {}", words::duration(limit)) });
    }
    let newest = |of: Quantile| columns.iter().rev().flatten().find_map(of);
    let quantiles: [(_, Quantile); 2] = [("p50", Cell::p50), ("p99", Cell::p99)];
    for (class, of) in quantiles {
        svg.path(class, &plot.line(&line(of)));
        if let Some(last) = newest(of) {
            labels.push(Label { y: scale.y(last), class, text: format!("{class} {}", words::duration(last)) });
        }
    }
    plot.labels(svg, labels);
}

/// Rows of the heat map that have answers, widened to the limit and to whole decades.
struct Scale<'a> {
    plot: &'a Plot<'a>,
    low: f64,
    high: f64,
}

impl<'a> Scale<'a> {
    fn of(plot: &'a Plot<'a>, columns: &[Option<Cell>], limit: Option<Span>) -> Self {
        let rows = columns.iter().flatten().flat_map(|cell| cell.heat().map(|(row, _)| row));
        let (low, high) = rows.fold((HEAT_ROWS, 0), |(low, high), row| (low.min(row), high.max(row + 1)));
        let log = |span: Span| (span.0.max(1) as f64).log10();
        let edges = if low < high { (log(heat_edge(low)), log(heat_edge(high))) } else { (6.0, 9.0) };
        let limit = limit.map_or(edges.0, log);
        let (low, high) = (edges.0.min(limit), edges.1.max(limit + 0.2));
        Self { plot, low: (low * 2.0).floor() / 2.0, high: (high * 2.0).ceil() / 2.0 }
    }

    fn y(&self, latency: Span) -> f64 {
        let share = ((latency.0.max(1) as f64).log10() - self.low) / (self.high - self.low);
        self.plot.bottom() - self.plot.height * share.clamp(0.0, 1.0)
    }

    fn ticks(&self, svg: &mut Svg) {
        for decade in (self.low.ceil() as i32)..=(self.high.floor() as i32) {
            let latency = Span(10f64.powi(decade).round() as u64);
            let y = self.y(latency);
            self.plot.rule(svg, "grid", y);
            self.plot.tick(svg, y, &words::duration(latency));
        }
    }
}

fn heat(svg: &mut Svg, plot: &Plot<'_>, scale: &Scale<'_>, columns: &[Option<Cell>]) {
    let mut shades: [Path; SHADES.len()] = Default::default();
    for (index, cell) in columns.iter().enumerate() {
        let Some(cell) = cell else { continue };
        let total: u64 = cell.heat().map(|(_, count)| count).sum();
        let (left, right) = (plot.time.column_x(index), plot.time.column_x(index + 1));
        for (row, count) in cell.heat() {
            let share = count as f64 / total.max(1) as f64;
            let shade = SHADES.iter().position(|(most, _)| share < *most).unwrap_or(SHADES.len() - 1);
            let (top, bottom) = (scale.y(heat_edge(row + 1)), scale.y(heat_edge(row)));
            shades[shade].cell((left.max(LEFT), top), (right - left, bottom - top));
        }
    }
    for (path, (_, class)) in shades.iter().zip(SHADES) {
        svg.path(class, path);
    }
}
