//! Panes: what stands around the lanes. A file is named after what is on the screen.

pub mod age;
pub mod dialog;
pub mod episode;
pub mod footer;
pub mod header;
pub mod help;
pub mod logs;
pub mod news;
pub mod oneline;
pub mod paragraph;
pub mod replicas;
pub mod strip;
pub mod ticks;
pub mod verdict;
pub mod waterfall;
pub mod why;

use lab_core::unit::{RunTime, Span};

/// Something that happened, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// When it happened.
    pub at: RunTime,
    /// When it was known.
    pub arrived: RunTime,
    /// The sentence, from `narrate`.
    pub text: String,
}

/// A line of a replica's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, as far as the line tells; else when it was read.
    pub at: RunTime,
    /// Who wrote it.
    pub replica: String,
    /// The line.
    pub text: String,
    /// How many equal lines followed one another and stand here as one.
    pub times: u64,
}

/// Lines of logs, oldest first, and what became of the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logs {
    /// The newest lines.
    pub lines: Vec<LogLine>,
    /// Lines that were read, in all.
    pub read: u64,
    /// Lines that are no longer kept here; the files have them.
    pub passed: u64,
}

/// A key and what it does, for the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// `space`, `←→`.
    pub keys: String,
    /// `pause`.
    pub does: String,
}

/// The last row.
#[derive(Debug, Clone, Copy)]
pub enum Footer<'a> {
    /// Keys that work now.
    Hints(&'a [Hint]),
    /// Something that the user must know or answer.
    Message(&'a str),
    /// Where a still comes from, so that it can be drawn again.
    Source,
}

/// What a frame shows beyond the run itself.
#[derive(Debug, Clone, Copy)]
pub struct Extras<'a> {
    /// No event has come for so long.
    pub silent: Span,
    /// Speed of a replay that plays.
    pub speed: Option<f64>,
    /// What has happened up to the newest instant, in order of arrival.
    pub news: &'a [News],
    /// Sentences before those that are no longer kept.
    pub passed: u64,
    /// Logs.
    pub logs: &'a Logs,
    /// The last row.
    pub footer: Footer<'a>,
}

impl Extras<'static> {
    /// Those of a still.
    pub fn still() -> Self {
        static NONE: Logs = Logs { lines: Vec::new(), read: 0, passed: 0 };
        Self { silent: Span::ZERO, speed: None, news: &[], passed: 0, logs: &NONE, footer: Footer::Source }
    }
}
