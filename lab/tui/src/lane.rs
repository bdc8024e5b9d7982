//! Lanes: one question each, all on the same axis. A new lane is one file below here and one line in [`ALL`].

mod backlog;
pub mod draw;
mod errors;
mod events;
mod generator;
mod latency;
mod load;
mod replicas;
mod seen;

use std::cmp::Ordering;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::layout::Tier;
use crate::scene::{Scene, Side};

pub use events::{Mark, marks};

/// Where a lane is drawn. All three have its height; the plots of all lanes have the same columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Its name and the ticks of its scale.
    pub label: Rect,
    /// Its picture.
    pub plot: Rect,
    /// Its value at the instant.
    pub value: Rect,
}

/// A question about a trial over time.
pub trait Lane: Sync {
    /// Its name, as it stands at its left.
    fn name(&self) -> &'static str;

    /// What it answers, for the help.
    fn question(&self) -> &'static str;

    /// Fewest and most rows on a screen of this size; (0, 0) where it is left out.
    fn rows(&self, tier: Tier) -> (u16, u16);

    /// Whether this run can have anything in it, by its spec and not by what has come so far: the layout must not jump.
    fn applies(&self, side: &Side<'_>) -> bool;

    /// The picture.
    fn draw(&self, scene: &Scene<'_>, place: Place, buf: &mut Buffer);

    /// The number it stands for, a column, for the ghost and the difference; None is a gap. Empty when it stands for none.
    fn numbers(&self, side: &Side<'_>) -> Vec<Option<f64>>;

    /// Such a number with its unit.
    fn tell(&self, number: f64) -> String;

    /// Whether a higher number is better ([`Ordering::Greater`]) or a lower one; None: neither.
    fn better(&self) -> Option<Ordering> {
        None
    }
}

/// All lanes, from top to bottom.
pub const ALL: [&dyn Lane; 8] = [
    &events::Events,
    &load::Load,
    &latency::Latency,
    &replicas::Replicas,
    &seen::Seen,
    &backlog::Backlog,
    &errors::Errors,
    &generator::Generator,
];
