//! The labels of the shared axis: time since load began, and how long a column is.

use ratatui::buffer::Buffer;

use crate::lane::Place;
use crate::scene::Scene;

/// Draws it.
pub fn draw(_scene: &Scene<'_>, _place: Place, _buf: &mut Buffer) {}
