//! The last row: keys that work now, a message, or where a still comes from; and the lanes that had no room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Footer;
use crate::scene::Scene;

/// Draws it.
pub fn draw(_scene: &Scene<'_>, _footer: Footer<'_>, _dropped: &[&str], _area: Rect, _buf: &mut Buffer) {}
