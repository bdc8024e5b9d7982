//! The newest decision of the autoscaler about the shown workload, in the engine's own words.

use lab_core::words;
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
    let decision = scene.workload_now().and_then(|w| w.decisions.last());
    let Some(decision) = decision else {
        let text = if follows(scene) {
            format!("the autoscaler has not decided about {} yet", scene.workload)
        } else {
            format!("no autoscaler follows {}", scene.workload)
        };
        strip::put(buf, area, area.left(), 0, &text, look, look.style(Role::Dim));
        return;
    };
    let time = format!("{} ", words::clock(decision.at, scene.shown.axis.zero));
    let x = strip::put(buf, area, area.left(), 0, &time, look, look.style(Role::Dim));
    let role = if decision.desired == decision.current { Role::Text } else { Role::Desired };
    let x = strip::put(buf, area, x, 0, &format!("{} ", scene.workload), look, look.style(role));
    strip::put(buf, area, x, 0, &decision.why, look, look.style(Role::Text));
}

fn follows(scene: &Scene<'_>) -> bool {
    let spec = scene.model.spec(scene.trial);
    spec.and_then(|spec| spec.services.workload(scene.workload)).is_some_and(|workload| workload.autoscale.is_some())
}
