//! Is the offered work done? Two lines; what lies between them waits or is lost.

use lab_core::model::{Cell, Model, Trial};
use lab_core::words;

use super::plot::{Label, Plot, round_up};
use super::svg::{Path, Svg};

/// Draws the lane.
pub fn draw(svg: &mut Svg, plot: &Plot<'_>, _: &Model, trial: &Trial) {
    let columns = trial.cells.columns(plot.time.from, plot.time.to, plot.time.columns());
    let of = |count: fn(&Cell) -> u64| -> Vec<Option<f64>> {
        columns.iter().map(|cell| cell.as_ref().and_then(|c| c.per_second(count(c)))).collect()
    };
    let (offered, completed) = (of(|c| c.counts.offered), of(|c| c.counts.completed));
    let bad = of(|c| c.counts.failed + c.counts.dropped);
    let top = round_up(offered.iter().chain(&completed).flatten().copied().fold(1.0, f64::max) * 1.05);
    let y = |value: f64| plot.bottom() - plot.height * (value / top).clamp(0.0, 1.0);
    plot.gaps(svg, &columns);
    plot.tick(svg, y(top), &words::digits(top));
    plot.tick(svg, y(0.0), "0");
    svg.path("done-area", &area(plot, &completed, &y));
    svg.path("failed-area", &area(plot, &bad, &y));
    let scaled = |values: &[Option<f64>]| -> Vec<Option<f64>> { values.iter().map(|v| v.map(&y)).collect() };
    svg.path("offered", &plot.line(&scaled(&offered)));
    svg.path("completed", &plot.line(&scaled(&completed)));
    let label = |class, name: &str, values: &[Option<f64>]| {
        let last = values.iter().rev().skip(1).flatten().next().copied()?;
        Some(Label { y: y(last), class, text: name.to_owned() })
    };
    let mut labels: Vec<_> = [label("offered", "offered", &offered), label("completed", "completed", &completed)]
        .into_iter()
        .flatten()
        .collect();
    if bad.iter().flatten().any(|v| *v > 0.0) {
        labels.extend(label("failed", "failed, dropped", &bad));
    }
    plot.labels(svg, labels);
}

/// Bars from zero, one a column.
fn area(plot: &Plot<'_>, values: &[Option<f64>], y: &impl Fn(f64) -> f64) -> Path {
    let mut path = Path::default();
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|v| *v > 0.0) else { continue };
        let (left, right) = (plot.time.column_x(index), plot.time.column_x(index + 1));
        path.cell((left, y(value)), (right - left, plot.bottom() - y(value)));
    }
    path
}
