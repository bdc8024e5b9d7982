//! The lane of the load generator itself: whether what the other lanes show can be trusted.

use std::cmp::Ordering;

use lab_core::model::Cell;
use lab_core::validity::{self, Validity};
use lab_core::words;
use ratatui::buffer::Buffer;

use super::{Lane, Place, draw};
use crate::canvas;
use crate::layout::Tier;
use crate::look::Role;
use crate::scene::{Scene, Side};

/// Checks of the measurement that are about the generator.
const ITS_CHECKS: [&str; 4] = ["send lag", "stalls", "samples", "generator CPU"];

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Generator;

impl Lane for Generator {
    fn name(&self) -> &'static str {
        "generator"
    }

    fn question(&self) -> &'static str {
        "Was the load generator itself too busy to be believed? Bars: its CPU, as a share of what it may use; ! where it stood still."
    }

    fn rows(&self, tier: Tier) -> (u16, u16) {
        match tier {
            Tier::Line => (0, 0),
            Tier::Small | Tier::Normal => (1, 1),
            Tier::Full => (1, 2),
        }
    }

    fn applies(&self, side: &Side<'_>) -> bool {
        side.model.spec(side.trial).is_none_or(|spec| spec.load.is_some())
    }

    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
        for (column, cell) in (0u16..).zip(scene.shown.cells) {
            if let Some(cell) = cell {
                second(scene, place, column, cell, buf);
            }
        }
        for column in draw::missing(&scene.shown) {
            draw::gap(buf, place.plot, column, scene.look);
        }
        draw::ghost(self, scene, place, |share| share, buf);
        draw::name(scene, place, self.name(), buf);
        if place.label.height > 1 {
            draw::tick(scene, place, 0, "100%", Role::Dim, buf);
        }
        values(scene, place, buf);
    }

    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>> {
        let whole = |cell: &Option<Cell>| cell.as_ref().filter(|c| c.complete()).map(|c| c.generator_cpu);
        side.cells.iter().map(whole).collect()
    }

    fn tell(&self, number: f64) -> String {
        format!("{}%", words::digits((number * 100.0).round()))
    }

    fn better(&self) -> Option<Ordering> {
        Some(Ordering::Less)
    }
}

/// A second by the bounds of the trial's checks: how much it says about the generator.
fn grade(cell: &Cell) -> Validity {
    match cell {
        c if c.generator_cpu > validity::CPU_INVALID || c.longest_turn > validity::LONG_STALL => Validity::Invalid,
        c if c.generator_cpu > validity::CPU_SUSPECT || c.longest_turn > validity::STALL => Validity::Suspect,
        _ => Validity::Valid,
    }
}

fn role(grade: Validity) -> Role {
    match grade {
        Validity::Valid => Role::Good,
        Validity::Suspect => Role::Open,
        Validity::Invalid => Role::Bad,
    }
}

fn second(scene: &Scene<'_>, place: Place, column: u16, cell: &Cell, buf: &mut Buffer) {
    let role = if cell.complete() { role(grade(cell)) } else { Role::Dim };
    draw::bar(buf, place.plot, column, cell.generator_cpu, scene.look, role);
    // A bar cannot show that the generator stood still, and colour alone is not for everybody.
    if cell.longest_turn > validity::STALL {
        canvas::mark(buf, place.plot, column, 0, '!', scene.look.style(role));
    }
}

fn values(scene: &Scene<'_>, place: Place, buf: &mut Buffer) {
    let Some((cell, stale)) = draw::newest(scene) else { return };
    let its = scene.checks.iter().filter(|check| ITS_CHECKS.contains(&check.name)).map(|check| check.grade);
    let worst = its.max().unwrap_or(Validity::Valid);
    let word = match worst {
        Validity::Valid => "ok",
        Validity::Suspect => "busy",
        Validity::Invalid => "bad",
    };
    let cpu = format!("{}%", words::digits((cell.generator_cpu * 100.0).round()));
    let ways = [format!("{word} {cpu} cpu"), format!("{word} {cpu}")];
    let text = ways.iter().find(|way| canvas::width(way) <= place.value.width).map_or(word, String::as_str);
    let role = if stale { Role::Dim } else { role(worst) };
    draw::value(scene, place, 0, text, role, buf);
    draw::value(scene, place, 1, &format!("turn {}", words::duration(cell.longest_turn)), Role::Dim, buf);
}

#[cfg(test)]
mod tests {
    use lab_core::control::Sample;
    use lab_core::event::Kind;
    use lab_core::unit::RunTime;

    use super::super::replicas::tests::{model, picture, plot};
    use super::*;

    /// A second of the only generator: its CPU in percent of the core it may use, and its longest turn in milliseconds.
    fn sample(second: u64, cpu: u64, turn: u64) -> (f64, Kind) {
        let sample = Sample {
            generator: "load-generator-1".to_owned(),
            plan: "plan".to_owned(),
            seq: second + 1,
            from_ns: second * 1_000_000_000,
            to_ns: (second + 1) * 1_000_000_000,
            phases: Vec::new(),
            in_flight_ns: 0,
            queued: 0,
            longest_queue: 0,
            in_flight: 0,
            cpu_ns: cpu * 10_000_000,
            longest_turn_ns: turn * 1_000_000,
            endpoints: Vec::new(),
            fates: lab_core::deliveries::Fates::default(),
            last: false,
        };
        (second as f64 + 1.0, Kind::Sample(Box::new(sample)))
    }

    #[test]
    fn its_cpu_is_a_bar_a_stall_shows_without_colour_and_a_lost_second_is_a_gap() {
        let begin = (0.0, Kind::LoadStarted { at: RunTime(0) });
        let run = model(vec![begin, sample(0, 12, 1), sample(1, 100, 1), sample(2, 50, 60), sample(4, 50, 1)]);
        let drawn = picture(&Generator, &run, 5.0, (6, 1), false);
        assert_eq!(plot(&drawn), ["▁█!╱▄ "]);
        assert!(drawn[0].ends_with("50% cpu"), "{drawn:?}");
    }

    #[test]
    fn seconds_are_judged_by_the_bounds_of_the_checks() {
        let cell = |cpu, ms| {
            let mut cell = Cell::default();
            (cell.generator_cpu, cell.longest_turn) = (cpu, lab_core::unit::Span::from_millis(ms));
            cell
        };
        let grades = [cell(0.85, 50), cell(0.86, 0), cell(0.1, 51), cell(0.99, 0), cell(0.1, 251)].map(|c| grade(&c));
        use Validity::{Invalid, Suspect, Valid};
        assert_eq!(grades, [Valid, Suspect, Suspect, Invalid, Invalid]);
    }
}
