//! The lane of events.

use ratatui::buffer::Buffer;

use super::{Lane, Place};
use crate::layout::Tier;
use crate::scene::{Scene, Side};

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Events;

impl Lane for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn question(&self) -> &'static str {
        ""
    }

    fn rows(&self, _tier: Tier) -> (u16, u16) {
        (1, 2)
    }

    fn applies(&self, _side: &Side<'_>) -> bool {
        true
    }

    fn draw(&self, _scene: &Scene<'_>, _place: Place, _buf: &mut Buffer) {}

    fn numbers(&self, _side: &Side<'_>) -> Vec<Option<f64>> {
        Vec::new()
    }

    fn tell(&self, number: f64) -> String {
        lab_core::words::digits(number)
    }
}

/// Something that happened to the trial, as a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: lab_core::unit::RunTime,
    /// `L` load step, `M` metric beyond its target, `D` desired changed, `P` a replica started, `R` ready, `K` died, `F` fault,
    /// `S` still, `A` note.
    pub letter: char,
}

/// Everything that happened in a trial that a rule is drawn for, in order of time.
pub fn marks(_side: &Side<'_>) -> Vec<Mark> {
    Vec::new()
}
