//! What is wrong with a spec, where, and what to do: plain values, drawn by whoever shows them.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// Where.
    pub place: Place,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it, where that is not plain from the message.
    pub help: Option<String>,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the spec's file.
    File {
        /// As it was named by the caller.
        file: String,
        /// 1-based.
        line: usize,
        /// 1-based, in characters.
        column: usize,
        /// In bytes of the text; empty where only a point is known.
        span: Range<usize>,
    },
    /// In a setting of the command line, `path=value`.
    Set(String),
}

impl Place {
    /// File places in reading order, then settings.
    fn order(&self) -> (bool, usize, usize) {
        match self {
            Self::File { line, column, .. } => (false, *line, *column),
            Self::Set(_) => (true, 0, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column, .. } => write!(f, "{file}:{line}:{column}"),
            Self::Set(setting) => write!(f, "--set {setting}"),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Puts diagnostics in reading order and drops repetitions.
pub(super) fn in_order(mut all: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut seen = std::collections::HashSet::new();
    all.retain(|diagnostic| seen.insert(diagnostic.clone()));
    all.sort_by_key(|diagnostic| diagnostic.place.order());
    all
}
