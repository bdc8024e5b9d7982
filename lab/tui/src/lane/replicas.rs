//! The lane of replicas.

use ratatui::buffer::Buffer;

use super::{Lane, Place};
use crate::layout::Tier;
use crate::scene::{Scene, Side};

/// See [`Lane::question`].
#[derive(Debug)]
pub struct Replicas;

impl Lane for Replicas {
    fn name(&self) -> &'static str {
        "replicas"
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
