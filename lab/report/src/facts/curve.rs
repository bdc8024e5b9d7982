//! What each rate cost in response time, and the largest rate at which the limits hold.

use serde::Serialize;

use lab_core::compare::labelled;
use lab_core::curve::{Curve, Point};
use lab_core::expect::Expectation;
use lab_core::model::Model;
use lab_core::parity::Footnotes;
use lab_core::words;

/// Name of the picture.
pub(crate) const PICTURE: &str = "throughput-latency.svg";

#[derive(Serialize)]
pub(crate) struct Facts {
    picture: Option<&'static str>,
    points: Vec<PointFacts>,
    capacities: Vec<CapacityFacts>,
    blocks: bool,
}

#[derive(Serialize)]
struct PointFacts {
    variant: String,
    phase: String,
    offered: String,
    completed: String,
    p50: String,
    p99: String,
    errors: String,
    kept_up: &'static str,
    /// Word of a verdict; empty without limits.
    holds: &'static str,
}

#[derive(Serialize)]
struct CapacityFacts {
    variant: String,
    mark: String,
    limits: Vec<String>,
    text: String,
}

impl Facts {
    /// Capacities stand beside one another, so that they carry the marks of a comparison.
    pub(crate) fn of(model: &Model, curves: &[Curve], footnotes: &mut Footnotes) -> Self {
        let points = curves.iter().flat_map(|curve| curve.points.iter().map(|p| PointFacts::of(model, curve, p)));
        let capacities = curves.iter().filter_map(|curve| {
            let capacity = curve.capacity.as_ref()?;
            Some(CapacityFacts {
                variant: model.label(curve.variant),
                mark: curve.marks(footnotes),
                limits: limits(curve),
                text: labelled(capacity.text(), curve.grade),
            })
        });
        Self {
            picture: crate::picture::curve(model, curves).map(|_| PICTURE),
            points: points.collect(),
            capacities: capacities.collect(),
            blocks: curves.iter().flat_map(|c| &c.points).any(|p| p.p99.interval.is_some()),
        }
    }
}

impl PointFacts {
    fn of(model: &Model, curve: &Curve, point: &Point) -> Self {
        Self {
            variant: model.label(curve.variant),
            phase: point.phase.clone(),
            offered: words::rate(point.offered),
            completed: point.completed.map_or_else(|| "–".to_owned(), words::rate),
            p50: labelled(point.p50.text(), curve.grade),
            p99: labelled(point.p99.text(), curve.grade),
            errors: words::share(point.errors),
            kept_up: match (point.kept_up, point.suspect) {
                (true, false) => "yes",
                (true, true) => "yes, suspect",
                (false, false) => "NO",
                (false, true) => "NO, suspect",
            },
            holds: point.holds.map_or("", |verdict| verdict.text()),
        }
    }
}

/// The limits of all points, each once.
fn limits(curve: &Curve) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for limit in curve.points.iter().flat_map(|point| &point.limits) {
        let text = Expectation { phase: None, ..limit.clone() }.to_string();
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}
