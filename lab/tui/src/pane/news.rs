//! What happened, sentence by sentence, up to the shown instant.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::News;
use crate::scene::Scene;
use crate::view::View;

/// Draws it.
pub fn draw(_scene: &Scene<'_>, _view: &View, _news: &[News], _area: Rect, _buf: &mut Buffer) {}
