//! What does a rate cost in response time? The 99th percentile over the offered rate, a line and a shape of mark a variant, with
//! its interval over blocks and the limit. Hollow marks are not what they seem.

use lab_core::curve::{Curve, Point};
use lab_core::model::Model;
use lab_core::unit::{RunTime, Span};
use lab_core::words;

use super::WIDTH;
use super::plot::{LEFT, Label, Plot, RIGHT, Time, round_up};
use super::svg::{Path, Svg, shortened};

const TOP: f64 = 44.0;
const HEIGHT: f64 = 330.0;
const BOTTOM: f64 = 74.0;
/// Half the size of a mark.
const MARK: f64 = 4.5;
/// Variants of the same rate stand this far apart, so that their intervals do not cover one another.
const APART: f64 = 5.0;

/// Class of lines and text, class of filled marks, the mark's shape beside a name. From the seventh variant on they come again.
const SERIES: [(&str, &str, char); 6] = [
    ("s0", "s0 f0", '●'),
    ("s1", "s1 f1", '■'),
    ("s2", "s2 f2", '◆'),
    ("s3", "s3 f3", '▲'),
    ("s4", "s4 f4", '▼'),
    ("s5", "s5 f5", '✚'),
];
const HOLLOW: [&str; 6] = ["s0 hollow", "s1 hollow", "s2 hollow", "s3 hollow", "s4 hollow", "s5 hollow"];

/// Draws all curves; None when no point has a 99th percentile.
pub(crate) fn curve(model: &Model, curves: &[Curve]) -> Option<String> {
    let scale = Scale::of(curves)?;
    let mut svg = Svg::new(WIDTH, TOP + HEIGHT + BOTTOM);
    svg.describe(
        "Throughput and latency",
        "The 99th percentile of the response time over the offered rate, a line a variant",
    );
    svg.text(LEFT, 16.0, "title", "start", "Throughput and latency");
    let question = model.run.as_ref().map_or("", |run| run.spec.question.as_str());
    svg.text(WIDTH - 12.0, 16.0, "muted", "end", &shortened(question, 95));
    // Only the frame and the places of names are taken from it, not its time.
    let time = Time { from: RunTime(0), to: RunTime(1) };
    let plot = Plot { time: &time, y: TOP, height: HEIGHT };
    scale.grid(&mut svg, &plot);
    plot.frame(&mut svg, "p99\nresponse\ntime");
    let mut labels = limits(&mut svg, &plot, &scale, curves);
    for (number, curve) in curves.iter().enumerate() {
        let shift = (number as f64 - (curves.len() as f64 - 1.0) / 2.0) * APART;
        labels.extend(line(&mut svg, model, &scale, curve, number, shift));
    }
    plot.labels(&mut svg, labels);
    let below = TOP + HEIGHT;
    svg.text((LEFT + WIDTH - RIGHT) / 2.0, below + 36.0, "lane", "middle", "offered requests a second");
    let legend = "filled: kept up with · hollow: less than 95 % completed in time, or suspect · at the upper edge: beyond measure";
    svg.text((LEFT + WIDTH - RIGHT) / 2.0, below + 58.0, "muted", "middle", legend);
    Some(svg.finish())
}

/// Rates from 0 on, times on a logarithmic scale of half decades.
struct Scale {
    step: f64,
    most: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(curves: &[Curve]) -> Option<Self> {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let times = points().flat_map(|point| {
            let ends = point.p99.interval.into_iter().flat_map(|(low, high)| [low, high]);
            point.p99.value.into_iter().chain(ends)
        });
        let limits = points().filter_map(Point::p99_limit).map(|limit| limit.0 as f64);
        let logs: Vec<f64> = times.chain(limits).filter(|ns| *ns >= 1.0 && ns.is_finite()).map(f64::log10).collect();
        points().find_map(|point| point.p99.value)?;
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logs.iter().copied().fold(0.0, f64::max);
        let most = points().map(|point| point.offered).fold(0.0, f64::max) * 1.02;
        let step = round_up(most / 8.0);
        let half = |log: f64, to: fn(f64) -> f64| to(log * 2.0) / 2.0;
        Some(Self {
            step,
            most: (most / step).ceil() * step,
            low: half(low - 0.05, f64::floor),
            high: half(high + 0.1, f64::ceil),
        })
    }

    fn x(&self, rate: f64) -> f64 {
        LEFT + (rate / self.most).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Of nanoseconds.
    fn y(&self, ns: f64) -> f64 {
        let share = (ns.max(1.0).log10() - self.low) / (self.high - self.low);
        TOP + HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }

    fn place(&self, point: &Point) -> Option<(f64, f64)> {
        let beyond = (point.p99.beyond > 0).then_some(TOP);
        Some((self.x(point.offered), point.p99.value.map(|ns| self.y(ns)).or(beyond)?))
    }

    fn grid(&self, svg: &mut Svg, plot: &Plot<'_>) {
        for decade in (self.low.floor() as i32)..=(self.high.ceil() as i32) {
            for part in [1.0, 2.0, 5.0] {
                let ns = part * 10_f64.powi(decade);
                if (self.low - 1e-9..=self.high + 1e-9).contains(&ns.log10()) {
                    plot.rule(svg, "grid", self.y(ns));
                    plot.tick(svg, self.y(ns), &words::duration(Span(ns.round() as u64)));
                }
            }
        }
        for n in 0..=(self.most / self.step + 1e-9) as u32 {
            let rate = f64::from(n) * self.step;
            svg.line("grid", (self.x(rate), TOP), (self.x(rate), TOP + HEIGHT));
            svg.text(self.x(rate), TOP + HEIGHT + 16.0, "tick", "middle", &words::digits(rate));
        }
    }
}

/// Limits on the 99th percentile, each once.
fn limits(svg: &mut Svg, plot: &Plot<'_>, scale: &Scale, curves: &[Curve]) -> Vec<Label> {
    let mut all: Vec<Span> = curves.iter().flat_map(|curve| &curve.points).filter_map(Point::p99_limit).collect();
    all.sort();
    all.dedup();
    let labels = all.into_iter().map(|limit| {
        let y = scale.y(limit.0 as f64);
        plot.rule(svg, "limit", y);
        Label { y, class: "limit", text: format!("limit {}", words::duration(limit)) }
    });
    labels.collect()
}

/// One variant; the label of its line. A point whose percentile is not known is a gap.
fn line(svg: &mut Svg, model: &Model, scale: &Scale, curve: &Curve, number: usize, shift: f64) -> Option<Label> {
    let (class, filled, shape) = SERIES[number % SERIES.len()];
    let (mut path, mut whiskers, mut drawing) = (Path::default(), Path::default(), false);
    for point in &curve.points {
        let place = scale.place(point).map(|(x, y)| (x + shift, y));
        match place {
            Some((x, y)) if drawing => path.line_to(x, y),
            Some((x, y)) => path.move_to(x, y),
            None => {}
        }
        drawing = place.is_some();
        if let (Some((x, _)), Some((low, high))) = (place, point.p99.interval) {
            whisker(&mut whiskers, x, (scale.y(low), scale.y(high)));
        }
    }
    svg.path(class, &path);
    svg.path(class, &whiskers);
    let places = curve.points.iter().filter_map(|point| Some((point, scale.place(point)?)));
    let places: Vec<(&Point, (f64, f64))> = places.map(|(point, (x, y))| (point, (x + shift, y))).collect();
    for (point, place) in &places {
        let solid = point.solid() && point.p99.value.is_some();
        svg.path(if solid { filled } else { HOLLOW[number % HOLLOW.len()] }, &mark(number, *place));
    }
    let name = model.label(curve.variant);
    let (_, (_, y)) = places.last()?;
    Some(Label { y: *y, class, text: format!("{shape} {}", shortened(&name, 18)) })
}

fn whisker(path: &mut Path, x: f64, (low, high): (f64, f64)) {
    path.move_to(x, low);
    path.line_to(x, high);
    for y in [low, high] {
        path.move_to(x - 3.0, y);
        path.line_to(x + 3.0, y);
    }
}

/// The shape of a variant's marks, told apart without colour.
fn mark(number: usize, (x, y): (f64, f64)) -> Path {
    let mut path = Path::default();
    let corners: &[(f64, f64)] = match number % SERIES.len() {
        0 => {
            path.circle((x, y), MARK);
            return path;
        }
        1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2 => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        3 => &[(0.0, -1.2), (1.2, 0.9), (-1.2, 0.9)],
        4 => &[(0.0, 1.2), (1.2, -0.9), (-1.2, -0.9)],
        _ => &[
            (-0.4, -1.2),
            (0.4, -1.2),
            (0.4, -0.4),
            (1.2, -0.4),
            (1.2, 0.4),
            (0.4, 0.4),
            (0.4, 1.2),
            (-0.4, 1.2),
            (-0.4, 0.4),
            (-1.2, 0.4),
            (-1.2, -0.4),
            (-0.4, -0.4),
        ],
    };
    for (at, (dx, dy)) in corners.iter().enumerate() {
        let (x, y) = (x + dx * MARK, y + dy * MARK);
        if at == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path.close();
    path
}
