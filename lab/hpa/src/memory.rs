//! What an autoscaler remembers between syncs: recommendations, scale events, and whether it brought the target to 0.

use serde::{Deserialize, Serialize};

use crate::behavior::Filled;

/// Recommendations younger than this are kept even if no window reaches back so far, so that a window that is made
/// longer while the autoscaler runs finds them.
const KEEP_MS: i64 = 3_600_000;

/// A size that the metrics asked for, before stabilization and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// When.
    pub at_ms: i64,
    /// The size.
    pub replicas: i32,
}

/// A change of size that the autoscaler made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleEvent {
    /// When.
    pub at_ms: i64,
    /// By how many replicas, above 0 in both directions.
    pub change: i32,
    /// Its place may be taken by a new event; until then it still counts.
    #[serde(default)]
    pub outdated: bool,
}

/// All that outlives one sync. A controller that restarts begins with an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the metrics asked for.
    pub recommendations: Vec<Recommendation>,
    /// Rises, in the order of the list, which is not always that of time.
    pub scale_up_events: Vec<ScaleEvent>,
    /// Falls, likewise.
    pub scale_down_events: Vec<ScaleEvent>,
    /// The autoscaler itself brought the target to 0, so it may wake it.
    pub scaled_to_zero: bool,
}

impl Memory {
    /// The first sync of all records the size it finds, so that a restart does not scale down at once.
    pub(crate) fn begin(&mut self, now_ms: i64, current: i32) {
        if self.recommendations.is_empty() {
            self.recommendations.push(Recommendation { at_ms: now_ms, replicas: current });
        }
    }

    pub(crate) fn recommend(&mut self, now_ms: i64, replicas: i32, longest_window_ms: i64) {
        let keep = longest_window_ms.max(KEEP_MS);
        self.recommendations.retain(|r| now_ms.saturating_sub(r.at_ms) <= keep);
        self.recommendations.push(Recommendation { at_ms: now_ms, replicas });
    }

    pub(crate) fn scaled(&mut self, now_ms: i64, from: i32, to: i32, rules: &Filled) {
        let (events, longest) = if to > from {
            (&mut self.scale_up_events, rules.up.longest_period_ms())
        } else {
            (&mut self.scale_down_events, rules.down.longest_period_ms())
        };
        for event in events.iter_mut() {
            event.outdated |= now_ms.saturating_sub(event.at_ms) > longest;
        }
        let change = to.saturating_sub(from).saturating_abs();
        let new = ScaleEvent { at_ms: now_ms, change, outdated: false };
        match events.iter_mut().rev().find(|event| event.outdated) {
            Some(outdated) => *outdated = new,
            None => events.push(new),
        }
    }

    /// The size a period ago, as far as the autoscaler itself changed it.
    pub(crate) fn size_before(&self, now_ms: i64, current: i32, period_ms: i64) -> i64 {
        let sum = |events: &[ScaleEvent]| -> i64 {
            let recent = events.iter().filter(|event| now_ms.saturating_sub(event.at_ms) < period_ms);
            recent.map(|event| i64::from(event.change)).fold(0, i64::saturating_add)
        };
        i64::from(current).saturating_sub(sum(&self.scale_up_events)).saturating_add(sum(&self.scale_down_events))
    }
}
