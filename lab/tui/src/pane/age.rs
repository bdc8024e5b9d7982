//! How old each source of data is at the shown instant, whether the journal is whole, and what watching costs.

use lab_core::model::{Generator, Workload};
use lab_core::unit::{RunTime, Span};
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::strip::{self, Part};
use crate::look::Role;
use crate::scene::{Scene, newest_second};

/// How often replicas, their gauges and the generators are read.
const EVERY_SECOND: Span = Span::from_secs(1);
/// Periods after which data is stale.
const STALE: u64 = 3;

/// Draws it. What does not fit goes in this order: the cost of watching, the journal, the queue, then from the right.
pub fn draw(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut parts = vec![Part::new("", "data age", Role::Title, 1)];
    parts.extend(sources(scene));
    parts.push(journal(scene));
    parts.extend(watching(scene));
    strip::draw(scene.look, area, parts, buf);
}

fn sources(scene: &Scene<'_>) -> Vec<Part> {
    let trial = scene.trial;
    let workload = scene.workload_now();
    let spec = scene.model.spec(trial);
    let read = workload.and_then(|w| w.replicas.values().filter_map(|r| r.read_at).max());
    let mut parts = vec![source(scene, "replicas", read, EVERY_SECOND, 2)];
    if trial.load_started.is_some() || spec.is_some_and(|spec| spec.load.is_some()) {
        let done = |g: &Generator| g.finished;
        let all_in = !trial.generators.is_empty() && trial.generators.values().all(done);
        let newest = newest_second(trial).map(|second| second.to);
        parts.push(if all_in {
            Part::new("  ", "samples all in", Role::Text, 3)
        } else {
            source(scene, "samples", newest, EVERY_SECOND, 3)
        });
    }
    let scaled = spec.and_then(|spec| spec.services.workload(scene.workload)).is_some_and(|w| w.autoscale.is_some());
    let decided = workload.and_then(|w| w.decisions.last()).map(|d| d.at);
    if scaled || decided.is_some() {
        let period = spec.map_or(Span::from_secs(15), |spec| spec.autoscaler.sync_period);
        parts.push(source(scene, "autoscaler", decided, period, 4));
    }
    let depth = |w: &Workload| w.gauges.get("queue-depth").and_then(|gauge| gauge.last()).map(|s| s.from);
    if let Some(at) = trial.workloads.values().filter_map(depth).max() {
        parts.push(source(scene, "queue", Some(at), EVERY_SECOND, 5));
    }
    parts
}

/// `samples 0.9 s`; once the trial is over, as old as it was then.
fn source(scene: &Scene<'_>, name: &str, newest: Option<RunTime>, period: Span, goes: u8) -> Part {
    let Some(newest) = newest else { return Part::new("  ", format!("{name} none yet"), Role::Dim, goes) };
    let end = scene.trial.ended.as_ref().map_or(scene.now, |end| end.at.min(scene.now));
    let age = end.since(newest);
    let stale = age.0 > period.0.saturating_mul(STALE);
    let mut runs = vec![(format!("{name} "), Role::Dim), (tell(age), if stale { Role::Open } else { Role::Text })];
    if stale {
        runs.push((" stale".to_owned(), Role::Open));
    }
    Part { before: "  ", runs, goes }
}

/// Tenths of a second below ten, so that the text does not dance.
fn tell(age: Span) -> String {
    let tenths = age.0 / 100_000_000;
    if tenths < 100 { format!("{}.{} s", tenths / 10, tenths % 10) } else { format!("{} s", tenths / 10) }
}

fn journal(scene: &Scene<'_>) -> Part {
    let missing = scene.model.missing_events();
    let role = if missing > 0 { Role::Open } else { Role::Text };
    let runs = vec![
        ("journal ".to_owned(), Role::Dim),
        (words::plural(scene.model.events.count(), "event"), Role::Text),
        (format!(", {} missing", words::count(missing)), role),
    ];
    Part { before: "  ", runs, goes: if missing > 0 { 1 } else { 6 } }
}

fn watching(scene: &Scene<'_>) -> Option<Part> {
    let observer = &scene.model.observer;
    let text = format!("{} of a core, {}", words::share(observer.cores()?), words::bytes(observer.peak_rss_bytes));
    Some(Part { before: "  ", runs: vec![("lab itself ".to_owned(), Role::Dim), (text, Role::Text)], goes: 7 })
}
