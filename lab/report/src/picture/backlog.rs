//! How much waits in the queue?

use lab_core::model::{Model, Trial};
use lab_core::unit::RunTime;
use lab_core::words;

use super::plot::{Label, Plot, round_up};
use super::svg::{Path, Svg};

const GAUGE: &str = "queue-depth";

/// True when some workload has a queue.
pub fn any(trial: &Trial) -> bool {
    trial.workloads.values().any(|w| w.gauges.contains_key(GAUGE))
}

/// Draws the lane.
pub fn draw(svg: &mut Svg, plot: &Plot<'_>, _: &Model, trial: &Trial) {
    let Some(series) = trial.workloads.values().find_map(|w| w.gauges.get(GAUGE)) else { return };
    let shown = series.stretches().iter().filter(|s| plot.time.shows(s.from));
    let values: Vec<(RunTime, f64)> = shown.map(|s| (s.from, s.value.0)).collect();
    let top = round_up(values.iter().map(|(_, v)| *v).fold(10.0, f64::max));
    let y = |value: f64| plot.bottom() - plot.height * (value / top).clamp(0.0, 1.0);
    plot.tick(svg, y(top), &words::digits(top));
    plot.tick(svg, y(0.0), "0");
    let mut area = Path::default();
    for pair in values.windows(2) {
        let [(at, value), (next, _)] = pair else { continue };
        let (left, right) = (plot.time.x(*at), plot.time.x(*next));
        if *value > 0.0 {
            area.cell((left, y(*value)), (right - left, plot.bottom() - y(*value)));
        }
    }
    svg.path("backlog-area", &area);
    let scaled: Vec<_> = values.iter().map(|(at, v)| (*at, y(*v))).collect();
    if let (Some((last, _)), Some((_, value))) = (scaled.last(), values.last()) {
        svg.path("backlog", &plot.steps(&scaled, *last));
        let text = format!("{} waiting", words::digits(*value));
        plot.labels(svg, vec![Label { y: y(*value), class: "backlog", text }]);
    }
}
