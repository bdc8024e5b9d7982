//! The pictures of a report. One of all curves is in `curve`. One per trial: lanes that share one time axis, so that a column is the same instant in all of them. Each lane answers one
//! question and has its own file below; what is drawn comes from the model alone.
//!
//! ```text
//!   gutter 118│ plot 704                                                       │ gutter 138
//!   ──────────┼────────────────────────────────────────────────────────────────┼──────────
//!   phases    │ warm-up │ steady │ step              │ hold        │ cool-down │
//!   offered   │ two lines; the gap between them is work that was not done      │ newest
//!   latency   │ heat map, p50 and p99 over it, the limit                       │ values
//!   replicas  │ wanted, ready, max                                             │ beside
//!   seen      │ what the autoscaler saw, its target and tolerance              │ the lines
//!   backlog   │ messages waiting, where there is a queue                       │
//!   time      └────────────────────────────────────────────────────────────────┘
//! ```

mod backlog;
mod curve;
mod latency;
mod load;
mod phases;
mod plot;
mod replicas;
mod seen;
mod svg;

use lab_core::model::{Model, Trial};

pub(crate) use self::curve::curve;
use self::plot::{Plot, Time};
use self::svg::Svg;

/// Width of every picture.
const WIDTH: f64 = 960.0;
/// Space above the first lane, between lanes, and below the last for the time axis.
const TOP: f64 = 44.0;
const GAP: f64 = 18.0;
const BOTTOM: f64 = 54.0;

/// Draws one trial as SVG; None for a trial without load.
pub fn picture(model: &Model, trial: &Trial) -> Option<String> {
    let (from, to) = trial.load_window()?;
    if to <= from {
        return None;
    }
    let lanes = lanes(model, trial);
    let below = replicas::more_below(trial);
    let height = TOP + lanes.iter().map(|lane| lane.height + GAP).sum::<f64>() - GAP + BOTTOM + below;
    let time = Time { from, to };
    let mut svg = Svg::new(WIDTH, height);
    let title = model.variant(trial).map_or_else(|| "one trial".to_owned(), |v| v.label.clone());
    svg.describe(
        &title,
        "Offered and completed requests, response times, replicas and what the autoscaler saw, over time",
    );
    heading(&mut svg, model, trial, &title);
    let plot_height = height - TOP - BOTTOM - below;
    phases::stripes(&mut svg, &time, model, trial, TOP, plot_height);
    time.grid(&mut svg, TOP, plot_height);
    let mut y = TOP;
    for lane in &lanes {
        let plot = Plot { time: &time, y, height: lane.height };
        plot.frame(&mut svg, lane.title);
        (lane.draw)(&mut svg, &plot, model, trial);
        y += lane.height + GAP;
    }
    replicas::rules(&mut svg, &time, trial, TOP, plot_height);
    time.axis(&mut svg, TOP + plot_height);
    Some(svg.finish())
}

type Draw = Box<dyn Fn(&mut Svg, &Plot<'_>, &Model, &Trial)>;

struct Lane {
    title: &'static str,
    height: f64,
    draw: Draw,
}

fn lanes(model: &Model, trial: &Trial) -> Vec<Lane> {
    let lane = |title, height, draw: Draw| Lane { title, height, draw };
    let mut lanes = vec![
        lane("requests\na second", 84.0, Box::new(load::draw)),
        lane("response\ntime", 168.0, Box::new(latency::draw)),
    ];
    for name in scaled(model, trial) {
        let (wanted, looked) = (name.clone(), name.clone());
        lanes.push(lane("replicas", 76.0, Box::new(move |s, p, m, t| replicas::draw(s, p, m, t, &wanted))));
        let metrics = trial.workloads.get(&looked).map_or(0, seen::metrics);
        for index in 0..metrics {
            let name = looked.clone();
            lanes.push(lane("metric\nseen", 76.0, Box::new(move |s, p, m, t| seen::draw(s, p, m, t, &name, index))));
        }
    }
    if backlog::any(trial) {
        lanes.push(lane("queue", 64.0, Box::new(backlog::draw)));
    }
    lanes
}

/// Workloads whose replicas are drawn: those that an autoscaler follows, else the one that is loaded.
fn scaled(model: &Model, trial: &Trial) -> Vec<String> {
    let followed: Vec<_> =
        trial.workloads.iter().filter(|(_, w)| !w.decisions.is_empty()).map(|(name, _)| name.clone()).collect();
    if !followed.is_empty() {
        return followed;
    }
    let target = model.spec(trial).and_then(|spec| spec.load.as_ref()).map(|load| load.target.name().to_owned());
    target.filter(|name| trial.workloads.contains_key(name)).into_iter().collect()
}

fn heading(svg: &mut Svg, model: &Model, trial: &Trial, title: &str) {
    let question = model.run.as_ref().map_or("", |run| run.spec.question.as_str());
    let which = trial.info.map_or_else(String::new, |info| format!("  trial {}", info.trial + 1));
    svg.text(plot::LEFT, 16.0, "title", "start", &format!("{title}{which}"));
    svg.text(WIDTH - 12.0, 16.0, "muted", "end", &svg::shortened(question, 95));
}
