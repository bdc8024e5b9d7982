//! The newest scaling, from what called for it to recovery, as its critical path.

use lab_core::episode::{self, Episode, Recovery};
use lab_core::model::Trial;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::strip;
use crate::look::Role;
use crate::scene::Scene;

/// Draws it.
pub fn draw(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let look = scene.look;
    let episodes = episode::episodes(scene.model, scene.trial);
    let begun = |e: &&Episode| e.marks.first().is_some_and(|mark| mark.at <= scene.now);
    let Some((episode, number)) = episodes.iter().zip(1_usize..).filter(|(e, _)| begun(e)).last() else {
        strip::put(buf, area, area.left(), 0, &none(scene), look, look.style(Role::Dim));
        return;
    };
    let x = strip::put(buf, area, area.left(), 0, &format!("episode {number}"), look, look.style(Role::Title));
    let (from, to, arrow) = (episode.from, episode.to, look.glyphs().arrow);
    let text = format!(": {} {from} {arrow} {to}, {}", episode.workload, told(scene.trial, episode));
    strip::put(buf, area, x, 0, &text, look, look.style(Role::Text));
}

/// Without an episode: nothing was scaled, or no change of load is known that called for it, as in a lab that is only up.
fn none(scene: &Scene<'_>) -> String {
    let scaled = scene.trial.workloads.values().flat_map(|workload| &workload.scalings);
    match scaled.filter(|s| s.cause == "autoscaler" && s.at <= scene.now).count() {
        0 => "no scaling so far".to_owned(),
        1 => "scaled once; no change of load is known that called for it".to_owned(),
        times => format!("scaled {times} times; no change of load is known that called for it"),
    }
}

/// The sentence of the episode; while seconds that belong to it may still come, it does not speak of its end.
fn told(trial: &Trial, episode: &Episode) -> String {
    let sentence = episode.sentence();
    let so_far = match episode.recovery {
        Recovery::Held => "the latency limit has held so far",
        Recovery::NotBefore(_) => "the latency limit is not met again yet",
        Recovery::At(_) | Recovery::Unknown => return sentence,
    };
    match sentence.split_once("; ") {
        Some((path, _)) if goes_on(trial, episode) => format!("{path}; {so_far}"),
        _ => sentence,
    }
}

/// The load has not changed since, and the trial is not over.
fn goes_on(trial: &Trial, episode: &Episode) -> bool {
    let Some(begin) = episode.marks.first().map(|mark| mark.at) else { return false };
    let phases = trial.phases.values().filter_map(|phase| phase.started);
    let by_hand = trial.changes.iter().filter(|(_, change, _)| change.rate.is_some()).map(|(at, ..)| *at);
    trial.ended.is_none() && !phases.chain(by_hand).any(|at| at > begin)
}
