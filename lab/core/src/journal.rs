//! The journal's lines: a header, then one event a line. Written a line at a time, read a line at a time; files are not opened here.

use std::io::{self, BufRead};

use crate::event::{Event, JOURNAL_VERSION, Kind};

/// A line longer than this is no event of ours: it would not fit into memory with its neighbours.
const MAX_LINE: usize = 64 << 20;

/// Why a journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It begins with something else.
    #[error("line 1 is not `{}`: this is not a journal of lab", header())]
    NoHeader,
    /// A later version of `lab` wrote it.
    #[error(
        "the journal has format {found}, this lab reads up to {JOURNAL_VERSION}; read it with the lab that wrote it, or a newer one"
    )]
    Newer {
        /// Its format.
        found: u64,
    },
    /// A whole line is no event.
    #[error("line {line} of the journal is broken")]
    Broken {
        /// 1-based.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An event is missing or out of place.
    #[error("line {line} of the journal has event {found} where {expected} should be")]
    OutOfOrder {
        /// 1-based.
        line: u64,
        /// The number that should be there.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// A line has no end.
    #[error("line {line} of the journal is longer than {MAX_LINE} bytes")]
    TooLong {
        /// 1-based.
        line: u64,
    },
    /// The source failed.
    #[error("the journal could not be read at line {line}")]
    Read {
        /// 1-based.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A whole journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// Its events, in order.
    pub events: Vec<Event>,
    /// The last event is `run-ended`.
    pub complete: bool,
    /// The last line was cut and left out.
    pub torn: bool,
}

/// The first line, without its end.
pub fn header() -> String {
    format!("{{\"lab-journal\":{JOURNAL_VERSION}}}")
}

/// An event as a line, without its end. JSON has no NaN and no infinity: such a gauge is left out, it means nothing anyway.
#[expect(
    clippy::expect_used,
    reason = "an event has string keys only and writes to memory; there is nothing that could fail"
)]
pub fn encode(event: &Event) -> String {
    let text = |event: &Event| serde_json::to_string(event).expect("an event is JSON");
    match &event.kind {
        Kind::Gauges { workload, values } if values.values().any(|value| !value.is_finite()) => {
            let values =
                values.iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (name.clone(), *value));
            let kind = Kind::Gauges { workload: workload.clone(), values: values.collect() };
            text(&Event { kind, ..event.clone() })
        }
        _ => text(event),
    }
}

/// Reads whole lines in order. For those who follow a journal that is still being written.
#[derive(Debug, Default)]
pub struct Decoder {
    line: u64,
    last: u64,
    complete: bool,
}

impl Decoder {
    /// One that goes on after the header and so many events.
    pub fn after(events: u64) -> Self {
        Self { line: events + 1, last: events, complete: false }
    }

    /// Reads the next line from where it stands, without its end, whatever the buffer held. False when the source ended before the
    /// line did: the buffer has what there was of it.
    ///
    /// # Errors
    /// The source failed, or the line is longer than any event.
    pub fn fill(&self, source: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<bool, JournalError> {
        buffer.clear();
        let line = self.line + 1;
        let mut limited = io::Read::take(source, MAX_LINE as u64 + 1);
        limited.read_until(b'\n', buffer).map_err(|source| JournalError::Read { line, source })?;
        let ended = buffer.pop_if(|end| *end == b'\n').is_some();
        if !ended && buffer.len() > MAX_LINE { Err(JournalError::TooLong { line }) } else { Ok(ended) }
    }

    /// Takes the next whole line, without its end. None for the header.
    ///
    /// # Errors
    /// The line is not what must come next. The decoder cannot go on after that.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Event>, JournalError> {
        self.line += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.line == 1 {
            return check_header(line).map(|()| None);
        }
        let event: Event =
            serde_json::from_slice(line).map_err(|source| JournalError::Broken { line: self.line, source })?;
        let expected = self.last + 1;
        if event.n != expected {
            return Err(JournalError::OutOfOrder { line: self.line, expected, found: event.n });
        }
        self.last = event.n;
        self.complete = matches!(event.kind, Kind::RunEnded { .. });
        Ok(Some(event))
    }

    /// True when the last event was `run-ended`.
    pub fn complete(&self) -> bool {
        self.complete
    }
}

fn check_header(line: &[u8]) -> Result<(), JournalError> {
    let value: serde_json::Value = serde_json::from_slice(line).map_err(|_| JournalError::NoHeader)?;
    match value.get("lab-journal").and_then(serde_json::Value::as_u64) {
        None | Some(0) => Err(JournalError::NoHeader),
        Some(found) if found > u64::from(JOURNAL_VERSION) => Err(JournalError::Newer { found }),
        Some(_) => Ok(()),
    }
}

/// Reads a journal to its end, an event at a time, in the memory of one line. Ends after the first error.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    torn: bool,
    over: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the start of a journal.
    pub fn new(source: R) -> Self {
        Self { source, decoder: Decoder::default(), buffer: Vec::new(), torn: false, over: false }
    }

    /// After the end: the last event was `run-ended`.
    pub fn complete(&self) -> bool {
        self.decoder.complete()
    }

    /// After the end: the last line was cut and left out.
    pub fn torn(&self) -> bool {
        self.torn
    }

    /// The next event, or None at the end.
    fn advance(&mut self) -> Result<Option<Event>, JournalError> {
        loop {
            if !self.decoder.fill(&mut self.source, &mut self.buffer)? {
                return self.unended();
            }
            if let Some(event) = self.decoder.line(&self.buffer)? {
                return Ok(Some(event));
            }
        }
    }

    /// What stands after the last line's end: nothing, a whole event whose end is missing, or a cut one.
    fn unended(&mut self) -> Result<Option<Event>, JournalError> {
        self.over = true;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let first = self.decoder.line == 0;
        match self.decoder.line(&self.buffer) {
            Ok(event) => Ok(event),
            Err(JournalError::Broken { .. }) => {
                self.torn = true;
                Ok(None)
            }
            Err(JournalError::NoHeader) if first && header().as_bytes().starts_with(&self.buffer) => {
                self.torn = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.advance().transpose();
        self.over |= !matches!(next, Some(Ok(_)));
        next
    }
}

/// Reads a whole journal into memory.
///
/// # Errors
/// The first thing that is wrong with it. A cut last line is not: it is left out.
pub fn read(source: impl BufRead) -> Result<Journal, JournalError> {
    let mut reader = Reader::new(source);
    let events = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok(Journal { events, complete: reader.complete(), torn: reader.torn() })
}
