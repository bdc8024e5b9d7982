//! waterfall

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::scene::Scene;
use crate::view::View;

/// Draws it.
pub fn draw(_scene: &Scene<'_>, _view: &View, _area: Rect, _buf: &mut Buffer) {}
