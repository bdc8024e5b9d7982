//! What the engines of this room promise; the words are those of the parity table.

/// What an engine promises. Each field is one phrase for a table cell.
pub type Promises = lab_core::parity::Promises<&'static str>;
