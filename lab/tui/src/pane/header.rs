//! header

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::scene::Scene;

/// Draws it.
pub fn draw(_scene: &Scene<'_>, _area: Rect, _buf: &mut Buffer) {}
