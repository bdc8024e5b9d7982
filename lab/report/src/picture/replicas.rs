//! How many replicas are there, and how many are wanted? The gap between the two lines is the lag of a scaling. Decisions and
//! readiness are also ruled through all lanes.

use lab_core::model::{Life, Model, Trial};
use lab_core::unit::RunTime;

use super::plot::{Label, Plot, Time};
use super::svg::{Path, Svg};

/// Draws one workload's lane.
pub fn draw(svg: &mut Svg, plot: &Plot<'_>, model: &Model, trial: &Trial, name: &str) {
    let Some(workload) = trial.workloads.get(name) else { return };
    let spec = model.spec(trial).and_then(|spec| spec.services.workload(name));
    let max = spec.and_then(|w| w.autoscale.as_ref()).map(|a| a.max);
    let read = |series: &lab_core::series::Series<lab_core::series::Last<u32>>| -> Vec<(RunTime, u32)> {
        let before = series.before(plot.time.from).map(|s| (plot.time.from, s.value.0));
        let inside = series.stretches().iter().filter(|s| plot.time.shows(s.from)).map(|s| (s.from, s.value.0));
        before.into_iter().chain(inside).collect()
    };
    let (wanted, ready) = (read(&workload.desired), read(&workload.ready));
    let most = wanted.iter().chain(&ready).map(|(_, n)| *n).max().unwrap_or(0).max(max.unwrap_or(0)).max(1);
    let y = |n: u32| plot.bottom() - plot.height * f64::from(n) / (f64::from(most) + 0.5);
    for n in (0..=most).step_by((most as usize / 4).max(1)) {
        plot.tick(svg, y(n), &n.to_string());
    }
    let scaled =
        |values: &[(RunTime, u32)]| -> Vec<(RunTime, f64)> { values.iter().map(|(t, n)| (*t, y(*n))).collect() };
    svg.path("ready-area", &area(plot, &scaled(&ready)));
    svg.path("ready", &plot.steps(&scaled(&ready), plot.time.to));
    svg.path("wanted", &plot.steps(&scaled(&wanted), plot.time.to));
    let mut labels = Vec::new();
    if let Some(max) = max {
        plot.rule(svg, "bound", y(max));
        labels.push(Label { y: y(max), class: "offered", text: format!("max {max}") });
    }
    let newest = |class, name: &str, values: &[(RunTime, u32)]| {
        values.last().map(|(_, n)| Label { y: y(*n), class, text: format!("{name} {n}") })
    };
    labels.extend(newest("wanted", "wanted", &wanted));
    labels.extend(newest("ready", "ready", &ready));
    plot.labels(svg, labels);
    svg.text(12.0, plot.y + 28.0, "muted", "start", &super::svg::shortened(name, 15));
}

fn area(plot: &Plot<'_>, readings: &[(RunTime, f64)]) -> Path {
    let mut path = Path::default();
    let ends = readings.iter().skip(1).map(|(at, _)| *at).chain([plot.time.to]);
    for ((at, y), end) in readings.iter().zip(ends) {
        let (left, right) = (plot.time.x(*at), plot.time.x(end));
        if right > left && *y < plot.bottom() {
            path.cell((left, *y), (right - left, plot.bottom() - *y));
        }
    }
    path
}

/// What the third row of letters adds to the height of a picture, where there is one.
pub fn more_below(trial: &Trial) -> f64 {
    if trial.faults.is_empty() { 0.0 } else { 13.0 }
}

/// Rules at decisions that changed a size (D), at replicas that became ready after one (R), and at faults (F).
pub fn rules(svg: &mut Svg, time: &Time, trial: &Trial, top: f64, height: f64) {
    for workload in trial.workloads.values() {
        let decided = workload.scalings.iter().filter(|s| s.cause == "autoscaler").map(|s| s.at);
        let ready = workload.moments.iter().filter(|m| m.what == Life::Ready).map(|m| m.at);
        let x = |at: RunTime| time.shows(at).then(|| time.x(at));
        mark(svg, decided.filter_map(x), ("rule-decided", "mark-decided", "D"), (top, height, 30.0));
        mark(svg, ready.filter_map(x), ("rule-ready", "mark-ready", "R"), (top, height, 43.0));
    }
    svg.text(12.0, top + height + 30.0, "mark-decided", "start", "D decided");
    svg.text(12.0, top + height + 43.0, "mark-ready", "start", "R ready");
    if !trial.faults.is_empty() {
        let hit = trial.faults.iter().map(|fault| fault.at).filter(|at| time.shows(*at)).map(|at| time.x(at));
        mark(svg, hit, ("rule-fault", "mark-fault", "F"), (top, height, 56.0));
        svg.text(12.0, top + height + 56.0, "mark-fault", "start", "F fault, or its end");
    }
}

/// A rule and a letter each; of letters that would cover one another, the first stands for all.
fn mark(
    svg: &mut Svg,
    places: impl Iterator<Item = f64>,
    (rule, class, letter): (&str, &str, &str),
    (top, height, below): (f64, f64, f64),
) {
    let mut last = f64::NEG_INFINITY;
    for x in places {
        svg.line(rule, (x, top), (x, top + height));
        if x - last > 9.0 {
            svg.text(x, top + height + below, class, "middle", letter);
            last = x;
        }
    }
}
