//! The phases: names over the lanes, alternating stripes behind them, a veil over what is not measured.

use lab_core::model::{Model, Trial};

use super::plot::Time;
use super::svg::{Svg, shortened};

/// Draws names and stripes.
pub fn stripes(svg: &mut Svg, time: &Time, model: &Model, trial: &Trial, top: f64, height: f64) {
    for (number, (index, phase)) in trial.phases.iter().enumerate() {
        let Some((from, to)) = phase.window(trial.latest) else { continue };
        let (left, right) = (time.x(from), time.x(to));
        if number % 2 == 0 {
            svg.rect("stripe", (left, top), (right - left, height));
        }
        let measured = model.measured(trial, *index);
        if !measured {
            svg.rect("unmeasured", (left, top), (right - left, height));
        }
        let room = ((right - left) / 6.5) as usize;
        if room >= 3 {
            let class = if measured { "phase" } else { "muted" };
            svg.text((left + right) / 2.0, top - 6.0, class, "middle", &shortened(&phase.name, room));
        }
    }
}
