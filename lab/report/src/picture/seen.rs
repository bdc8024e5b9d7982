//! What did the autoscaler go by? The value it was given at each sync, as steps with its readings, the target, and the tolerance.

use lab_core::model::{Model, Trial, Workload};
use lab_core::unit::RunTime;
use lab_core::words;

use super::WIDTH;
use super::plot::{LEFT, Label, Plot, RIGHT, round_up};
use super::svg::{Path, Svg};

/// How many metrics a workload's autoscaler follows.
pub fn metrics(workload: &Workload) -> usize {
    workload.decisions.iter().map(|d| d.seen.len()).max().unwrap_or(0)
}

/// Draws one metric of one workload.
pub fn draw(svg: &mut Svg, plot: &Plot<'_>, model: &Model, trial: &Trial, name: &str, index: usize) {
    let Some(workload) = trial.workloads.get(name) else { return };
    let seen = || workload.decisions.iter().filter_map(|d| d.seen.get(index).map(|s| (d.at, s)));
    let Some((_, first)) = seen().next() else { return };
    let (metric, target) = (first.metric.as_str(), first.target);
    let values: Vec<(RunTime, f64)> =
        seen().filter(|(at, _)| plot.time.shows(*at)).filter_map(|(at, s)| Some((at, s.value?))).collect();
    let top = round_up(values.iter().map(|(_, v)| *v).fold(target * 1.3, f64::max));
    let y = |value: f64| plot.bottom() - plot.height * (value / top).clamp(0.0, 1.0);
    let unit = Unit::of(metric);
    plot.tick(svg, y(top), &unit.text(top));
    plot.tick(svg, y(0.0), "0");
    let tolerance = model.spec(trial).map_or(0.1, |spec| spec.autoscaler.tolerance);
    let (high, low) = (y(target * (1.0 + tolerance)), y(target * (1.0 - tolerance)));
    svg.rect("band", (LEFT, high), (WIDTH - LEFT - RIGHT, low - high));
    plot.rule(svg, "limit", y(target));
    let scaled: Vec<_> = values.iter().map(|(at, v)| (*at, y(*v))).collect();
    if let Some((last, _)) = scaled.last() {
        svg.path("seen", &plot.steps(&scaled, *last));
    }
    let mut dots = Path::default();
    for (at, y) in &scaled {
        dots.cell((plot.time.x(*at) - 1.5, y - 1.5), (3.0, 3.0));
    }
    svg.path("dot", &dots);
    let mut labels = vec![Label { y: y(target), class: "limit", text: format!("target {}", unit.text(target)) }];
    if let Some((_, value)) = values.last() {
        labels.push(Label { y: y(*value), class: "seen", text: format!("{metric} {}", unit.text(*value)) });
    }
    plot.labels(svg, labels);
    svg.text(12.0, plot.y + 42.0, "muted", "start", metric);
}

/// How a metric's numbers are written.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Percent,
    Milliseconds,
    Count,
}

impl Unit {
    fn of(metric: &str) -> Self {
        match metric {
            "cpu" | "memory" => Self::Percent,
            "response-time" | "send-lag" => Self::Milliseconds,
            _ => Self::Count,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{} %", words::digits(value.round())),
            Self::Milliseconds => words::duration(lab_core::unit::Span((value * 1e6) as u64)),
            Self::Count => words::digits(value),
        }
    }
}
