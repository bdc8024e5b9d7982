//! Lines of the replicas' logs up to the shown instant.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Logs;
use crate::scene::Scene;
use crate::view::View;

/// Draws it.
pub fn draw(_scene: &Scene<'_>, _view: &View, _logs: &Logs, _area: Rect, _buf: &mut Buffer) {}
