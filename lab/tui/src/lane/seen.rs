//! The lane of what the autoscaler saw: its metric as a share of the target, a step a decision. It shows what the controller was
//! given, not what was true.

use lab_core::event::SeenMetric;
use lab_core::model::Decision;
use lab_core::spec::{AutoscalerSettings, Spec};
use lab_core::unit::Span;
use lab_core::words;
use ratatui::buffer::Buffer;

use super::replicas::{over, points};
use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::Role;
use crate::scene::{Scene, Side};

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Seen;

impl Lane for Seen {
    fn name(&self) -> &'static str {
        "autoscaler"
    }

    fn question(&self) -> &'static str {
        "What did the autoscaler see, as a share of its target? Of several metrics, the one furthest beyond its target."
    }

    fn rows(&self, tier: Tier) -> (u16, u16) {
        match tier {
            Tier::Line => (0, 0),
            Tier::Small => (1, 2),
            Tier::Normal => (1, 4),
            Tier::Full => (2, 4),
        }
    }

    fn applies(&self, side: &Side<'_>) -> bool {
        let scales = |spec: &Spec| spec.services.names().any(|name| spec.services.is_scaled(name));
        side.model.spec(side.trial).is_none_or(scales)
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        let plot = place.plot;
        draw::name(scene, place, &label(scene, place), buf);
        let tolerance = settings(&scene.shown).tolerance;
        let most = most(&scene.shown, scene.workload);
        let scale =
            Scale::of(plot.height, most.max(scene.ghost.as_ref().map_or(0.0, |s| self::most(s, scene.workload))));
        target(scene, place, &scale, tolerance, buf);
        let columns = columns(&scene.shown, scene.workload);
        let known = draw::known(&columns);
        for (column, seen) in (0u16..).zip(&columns) {
            match seen.flatten() {
                Some(share) => {
                    let role = if share > 1.0 + tolerance { Role::Open } else { Role::Seen };
                    // An idle workload is a low line, so that it differs from one of which nothing was seen.
                    draw::bar(buf, plot, column, (share / scale.top).max(f64::EPSILON), scene.look, role);
                }
                None if known.contains(&usize::from(column)) => draw::gap(buf, plot, column, scene.look),
                None => {}
            }
        }
        if let Some(side) = &scene.ghost {
            let row = |share: f64| draw::row_of(plot, share / scale.top);
            points(scene, plot, &shares(self::columns(side, scene.workload)), &shares(columns), row, buf);
        }
        values(scene, place, tolerance, buf);
    }

    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>> {
        shares(columns(side, side.workload))
    }

    fn tell(&self, number: f64) -> String {
        format!("{}%", words::digits((number * 100.0).round()))
    }
}

fn settings(side: &Side<'_>) -> AutoscalerSettings {
    side.model.spec(side.trial).map(|spec| spec.autoscaler.clone()).unwrap_or_default()
}

/// The metric that is furthest beyond its target, as a share of it; None when none has a usable value.
fn furthest(decision: &Decision) -> Option<(&SeenMetric, f64)> {
    let share = |seen: &SeenMetric| {
        let share = seen.value? / seen.target;
        share.is_finite().then_some(share.max(0.0))
    };
    let all = decision.seen.iter().filter_map(|seen| Some((seen, share(seen)?)));
    all.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The largest share that was ever seen.
fn most(side: &Side<'_>, workload: &str) -> f64 {
    let decisions = side.trial.workloads.get(workload).map_or(&[][..], |w| &w.decisions);
    decisions.iter().filter_map(furthest).map(|(_, share)| share).fold(0.0, f64::max)
}

/// A column each: None without a decision, `Some(None)` when the autoscaler had no usable data. Where a column holds several
/// decisions, the highest share counts. What was seen holds until the next decision; when that is overdue, nothing is known.
fn columns(side: &Side<'_>, workload: &str) -> Vec<Option<Option<f64>>> {
    let Some(workload) = side.trial.workloads.get(workload) else { return Vec::new() };
    let (decisions, until) = (&workload.decisions, over(side));
    let longest = Span(settings(side).sync_period.0.saturating_mul(2));
    let share = |d: &Decision| furthest(d).map(|(_, share)| share);
    let column = |column: u16| {
        let (from, to) = (side.axis.start_of(column), side.axis.start_of(column.saturating_add(1)));
        let end = decisions.partition_point(|d| d.at < to);
        let begin = decisions[..end].partition_point(|d| d.at < from);
        match &decisions[begin..end] {
            _ if from > until => None,
            [] => decisions[..begin].last().filter(|d| to.since(d.at) <= longest).map(share),
            inside => Some(inside.iter().filter_map(share).reduce(f64::max)),
        }
    };
    (0..side.axis.width).map(column).collect()
}

fn shares(columns: Vec<Option<Option<f64>>>) -> Vec<Option<f64>> {
    columns.into_iter().map(Option::flatten).collect()
}

/// The target lies on the border between two rows, so that a bar that breaks through it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// The share at the top of the plot.
    top: f64,
    /// Rows below the target; 0 when a row is not enough for it.
    below: u16,
}

impl Scale {
    fn of(height: u16, most: f64) -> Self {
        let most = most.max(2.0);
        let below = (f64::from(height) / most) as u16;
        let top = if below == 0 { most.ceil() } else { f64::from(height) / f64::from(below) };
        Self { top, below }
    }
}

/// The rule at 100 %, and the rows that lie wholly within the tolerance.
fn target(scene: &Scene<'_>, place: Place, scale: &Scale, tolerance: f64, buf: &mut Buffer) {
    let plot = place.plot;
    let Some(row) = plot.height.checked_sub(scale.below + 1).filter(|_| scale.below > 0) else { return };
    let within = |from_below: u16| {
        let edge = |n: u16| f64::from(n) / f64::from(scale.below);
        edge(from_below) >= 1.0 - tolerance && edge(from_below.saturating_add(1)) <= 1.0 + tolerance
    };
    for row in (0..plot.height).filter(|row| within(plot.height - 1 - row)) {
        for column in 0..plot.width {
            canvas::mark(buf, plot, column, row, scene.look.glyphs().shades[1], scene.look.style(Role::Dim));
        }
    }
    draw::rule(buf, plot, row, scene.look, Role::Limit);
    if row > 0 {
        draw::tick(scene, place, row, "100%", Role::Limit, buf);
        let plus_minus = if scene.look.ascii { "+-" } else { "±" };
        let band = format!("{plus_minus}{}%", words::digits(tolerance * 100.0));
        draw::tick(scene, place, row + 1, &band, Role::Dim, buf);
    }
}

fn label(scene: &Scene<'_>, place: Place) -> String {
    let spec = scene.shown.model.spec(scene.shown.trial).and_then(|spec| spec.services.workload(scene.workload));
    let metrics = spec.and_then(|w| w.autoscale.as_ref()).map_or(&[][..], |a| &a.metrics);
    let name = match metrics {
        [] => return "autoscaler".to_owned(),
        [one] => one.name(),
        _ => "metrics",
    };
    let long = format!("{name} / target");
    if canvas::width(&long) <= place.label.width { long } else { name.to_owned() }
}

/// Number and unit, as the target's unit is written.
fn parts(metric: &str, value: f64) -> (String, &'static str) {
    match metric {
        "cpu" | "memory" => (words::digits(value.round()), "%"),
        "response-time" | "send-lag" if value >= 1_000.0 => (words::digits(value / 1_000.0), "s"),
        "response-time" | "send-lag" => (words::digits(value), "ms"),
        _ => (words::digits(value), ""),
    }
}

/// `142% of 70%`, or as much of it as fits.
fn told(seen: &SeenMetric, value: f64, width: u16) -> String {
    let ((n, unit), (target, of)) = (parts(&seen.metric, value), parts(&seen.metric, seen.target));
    let mut ways = vec![format!("{n}{unit} of {target}{of}")];
    if unit == of {
        ways.extend([format!("{n} of {target}{of}"), format!("{n}/{target}{of}")]);
    }
    ways.push(format!("{n}{unit}/{target}{of}"));
    let shortest = format!("{n}{unit}");
    ways.into_iter().find(|way| canvas::width(way) <= width).unwrap_or(shortest)
}

fn values(scene: &Scene<'_>, place: Place, tolerance: f64, buf: &mut Buffer) {
    let Some(decision) = scene.workload_now().and_then(|w| w.decisions.last()) else {
        return draw::value(scene, place, 0, "no decision", Role::Dim, buf);
    };
    let Some((seen, share)) = furthest(decision) else {
        return draw::value(scene, place, 0, "no data", Role::Open, buf);
    };
    let role = if share > 1.0 + tolerance { Role::Open } else { Role::Text };
    let text = told(seen, seen.value.unwrap_or(0.0), place.value.width);
    draw::value(scene, place, 0, &text, role, buf);
    let age = scene.now.since(decision.at).0.saturating_add(seen.age.unwrap_or_default().0);
    let age = format!("{} old", words::duration(Span(age / 100_000_000 * 100_000_000)));
    let named = (decision.seen.len() > 1).then(|| seen.metric.clone());
    for (row, text) in (1..).zip(named.into_iter().chain([age])) {
        draw::value(scene, place, row, &text, Role::Dim, buf);
    }
}

#[cfg(test)]
mod tests {
    use lab_core::event::{Decided, Kind};
    use lab_core::model::Model;

    use super::super::replicas::tests::{QUIET, SERVICE, model, picture, plot};
    use super::*;

    fn metric(name: &str, value: Option<f64>, target: f64) -> SeenMetric {
        SeenMetric { metric: name.to_owned(), value, target, age: Some(Span::from_secs(2)) }
    }

    /// A sync of the made-up run, with this seen; what it decided does not matter here.
    fn decided(at: f64, seen: Vec<SeenMetric>) -> (f64, Kind) {
        let mut kinds = QUIET.iter().map(|e| &e.kind);
        let any = kinds.find_map(|kind| if let Kind::Decided(any) = kind { Some(any.clone()) } else { None });
        let decision = any.expect("a decision").decision;
        (at, Kind::Decided(Box::new(Decided { workload: SERVICE.to_owned(), decision, seen })))
    }

    fn run(values: &[(f64, Option<f64>)]) -> Model {
        model(values.iter().map(|(at, value)| decided(*at, vec![metric("cpu", *value, 70.0)])).collect())
    }

    #[test]
    fn a_step_holds_until_the_next_decision_and_no_data_is_a_gap() {
        let run = run(&[(1.0, Some(35.0)), (6.0, None), (11.0, Some(70.0)), (16.0, Some(105.0))]);
        let drawn = picture(&Seen, &run, 18.0, (22, 2), false);
        assert_eq!(plot(&drawn), ["──────╱╱╱╱╱─────▄▄▄───", " ▄▄▄▄▄╱╱╱╱╱████████   "]);
        assert!(drawn[0].starts_with("cpu / target   │") && drawn[0].ends_with("105% of 70%"), "{drawn:?}");
    }

    #[test]
    fn silence_of_two_periods_is_a_gap() {
        let run = run(&[(1.0, Some(70.0)), (20.0, Some(70.0))]);
        assert_eq!(plot(&picture(&Seen, &run, 21.0, (22, 1), false)), [" ▄▄▄▄▄▄▄▄▄▄╱╱╱╱╱╱╱╱╱▄▄"]);
    }

    #[test]
    fn of_several_metrics_the_one_furthest_beyond_its_target_counts() {
        let seen = vec![metric("cpu", Some(77.0), 70.0), metric("response-time", Some(300.0), 100.0)];
        let drawn = picture(&Seen, &model(vec![decided(0.5, seen)]), 1.0, (3, 3), false);
        assert!(drawn[0].ends_with("300 of 100ms"), "{drawn:?}");
        assert!(drawn[1].ends_with("response-ti…"), "{drawn:?}");
        assert_eq!(plot(&drawn), ["██ ", "██─", "██ "], "three times the target fills the plot");
    }

    #[test]
    fn the_target_is_a_border_between_rows_as_long_as_there_are_rows() {
        for height in 1..20_u16 {
            for most in [0.0, 1.0, 1.7, 2.0, 3.3, 9.9, 123.4] {
                let scale = Scale::of(height, most);
                assert!(scale.top >= most.max(2.0), "{height} {most}: {scale:?}");
                let border = scale.top / f64::from(height) * f64::from(scale.below);
                assert!(scale.below == 0 || (border - 1.0).abs() < 1e-9, "{height} {most}: {scale:?}");
            }
        }
    }

    #[test]
    fn values_are_told_in_the_unit_of_the_target_as_far_as_there_is_room() {
        let cpu = metric("cpu", Some(142.4), 70.0);
        let told = |seen: &SeenMetric, width| told(seen, seen.value.unwrap_or(0.0), width);
        assert_eq!([told(&cpu, 12), told(&cpu, 9), told(&cpu, 4)], ["142% of 70%", "142/70%", "142%"]);
        let slow = metric("response-time", Some(12_345.0), 150.0);
        assert_eq!([told(&slow, 14), told(&slow, 12)], ["12.3s of 150ms", "12.3s/150ms"]);
        assert_eq!(told(&metric("queue-depth", Some(40.0), 10.0), 12), "40 of 10");
    }
}
