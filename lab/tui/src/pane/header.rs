//! The first row: which run and trial, where it runs and what it holds, how far it is, and how the instant was chosen.
//!
//! What does not fit goes in this order: the bar, the cost, the block, where it runs, the variant, the name, the time, the
//! silence. The mode stays.

use lab_core::event::{Outcome, RunInfo, StepName};
use lab_core::spec::EnvironmentKind;
use lab_core::unit::Span;
use lab_core::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::strip::{self, Part};
use crate::axis::{planned, zero};
use crate::look::Role;
use crate::scene::Scene;
use crate::view::Mode;

/// Columns of the bar.
const BAR: usize = 8;

/// Draws it.
pub fn draw(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    let group = if scene.look.ascii { " | " } else { " │ " };
    let mut parts = Vec::new();
    which(scene, group, &mut parts);
    place(scene, group, &mut parts);
    how_far(scene, group, &mut parts);
    parts.extend(silence(scene).map(|text| Part::new(group, text, Role::Open, 1)));
    parts.push(Part::new(group, mode(scene), mode_role(scene), 0));
    strip::draw(scene.look, area, parts, buf);
}

/// Name, variant and block; the latter two where there is more than one.
fn which(scene: &Scene<'_>, group: &'static str, parts: &mut Vec<Part>) {
    let Some(run) = &scene.model.run else {
        return parts.push(Part::new(group, "no run", Role::Dim, 3));
    };
    parts.push(Part::new(group, run.spec.name.clone(), Role::Title, 3));
    let Some(info) = scene.trial.info else { return };
    if run.variants.len() > 1 {
        let label = scene.model.variant(scene.trial).map_or("", |variant| variant.label.as_str());
        let text = format!("{}/{} {label}", info.variant.saturating_add(1), run.variants.len());
        parts.push(Part::new(" ", text.trim_end(), Role::Text, 4));
        parts.extend(ghost(scene).map(|label| Part::new(" ", format!("vs {label}"), Role::Ghost, 4)));
    }
    let blocks = blocks(run);
    if blocks > 1 {
        parts.push(Part::new(" ", format!("block {}/{blocks}", info.block.saturating_add(1)), Role::Text, 6));
    }
}

/// What the variant behind is called.
fn ghost<'a>(scene: &Scene<'a>) -> Option<&'a str> {
    let side = scene.ghost?;
    side.model.variant(side.trial).map(|variant| variant.label.as_str())
}

fn blocks(run: &RunInfo) -> u32 {
    run.order.iter().map(|trial| trial.block.saturating_add(1)).max().unwrap_or(0)
}

/// The environment, how many replicas exist, and what they have cost.
fn place(scene: &Scene<'_>, group: &'static str, parts: &mut Vec<Part>) {
    let Some(spec) = scene.model.spec(scene.trial) else { return };
    let exist = |w: &lab_core::model::Workload| w.created.last().map_or(0, |s| u64::from(s.value.0));
    let replicas: u64 = scene.trial.workloads.values().map(exist).sum();
    let text = format!("{}, {}", spec.environment.name(), words::plural(replicas, "replica"));
    parts.push(Part::new(group, text, Role::Text, 5));
    let cost = match spec.environment {
        EnvironmentKind::Local | EnvironmentKind::Docker => "costs nothing",
        EnvironmentKind::Kubernetes => "at the cluster's cost",
    };
    parts.push(Part::new(", ", cost, Role::Dim, 7));
}

/// Time since load began, over what was planned; without load under way, what is being done instead.
fn how_far(scene: &Scene<'_>, group: &'static str, parts: &mut Vec<Part>) {
    let passed = scene.now.since(zero(scene.trial));
    let stage = stage(scene);
    // A load of so many requests has a plan without a length.
    let planned = planned(scene.model, scene.trial).filter(|planned| !planned.is_zero());
    match (&stage, planned) {
        (Some(stage), _) => parts.push(Part::new(group, *stage, Role::Text, 2)),
        (None, Some(planned)) => {
            let text = format!("t+{}/{}", minutes(passed), minutes(planned));
            parts.push(Part::new(group, text, Role::Text, 2));
            parts.push(Part { before: " ", runs: bar(scene, passed, planned), goes: 8 });
        }
        (None, None) => parts.push(Part::new(group, format!("t+{}", minutes(passed)), Role::Text, 2)),
    }
}

fn bar(scene: &Scene<'_>, passed: Span, planned: Span) -> Vec<(String, Role)> {
    let share = passed.0 as f64 / planned.0.max(1) as f64;
    let full = ((share * BAR as f64) as usize).min(BAR);
    let shades = scene.look.glyphs().shades;
    let piece = |glyph: char, columns: usize| glyph.to_string().repeat(columns);
    vec![(piece(shades[3], full), Role::Done), (piece(shades[1], BAR - full), Role::Dim)]
}

/// What is being done while no load runs: the step under way, or how it ended. None while load runs, and for a lab that is up without
/// a load planned.
pub(super) fn stage(scene: &Scene<'_>) -> Option<&'static str> {
    let trial = scene.trial;
    if let Some(end) = &trial.ended {
        return Some(match end.outcome {
            Outcome::Completed => "over",
            Outcome::Interrupted => "interrupted",
            Outcome::Failed => "failed",
        });
    }
    let open = trial.steps.iter().rev().find(|step| step.took.is_none());
    let Some(step) = open.or(trial.steps.last()) else {
        return trial.load_started.is_none().then_some("beginning");
    };
    let idle = step.took.is_some() && planned(scene.model, trial).is_none();
    match step.name {
        StepName::Drain => Some("draining"),
        StepName::Down => Some("going down"),
        _ if trial.load_started.is_some() || idle => None,
        StepName::Check => Some("checking"),
        StepName::Up => Some("coming up"),
        StepName::Deploy => Some("deploying"),
        StepName::Prepare => Some("preparing data"),
        StepName::Drive => Some("starting load"),
    }
}

/// Minutes and whole seconds.
pub(super) fn minutes(span: Span) -> String {
    let seconds = span.0 / 1_000_000_000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// `no event for 12 s`, while silence is told.
pub(super) fn silence(scene: &Scene<'_>) -> Option<String> {
    let seconds = scene.silent.0 / 1_000_000_000;
    (seconds > 0).then(|| format!("no event for {seconds} s"))
}

/// How the instant was chosen, as a word.
pub(super) fn mode(scene: &Scene<'_>) -> String {
    match (scene.mode, scene.speed) {
        (Mode::Paused(_), _) => "PAUSED".to_owned(),
        (Mode::Scrub(_), _) => "SCRUB".to_owned(),
        (Mode::Live, Some(speed)) => format!("REPLAY {}x", words::digits(speed)),
        (Mode::Live, None) if scene.model.ended.is_some() => "ENDED".to_owned(),
        (Mode::Live, None) => "LIVE".to_owned(),
    }
}

pub(super) fn mode_role(scene: &Scene<'_>) -> Role {
    if scene.mode == Mode::Live { Role::Good } else { Role::Open }
}
