//! A table read from its beginning to its end, a page at a time. What a cursor means is its engine's affair.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A part of a table, in the engine's own order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Of each row what a client wrote: the name of a user, the text of a message. At most as many as were asked for; fewer, or
    /// none, do not mean that the table is over.
    pub rows: Vec<String>,
    /// Where the next page begins; None: there was no further row.
    pub next: Option<Cursor>,
}

/// A place in a table between two rows. Good for the store and the table that gave it, in any process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    pub(super) fn at(place: impl fmt::Display) -> Self {
        Self(place.to_string())
    }

    /// The place of `after`, or the beginning.
    pub(super) fn place<T: FromStr>(after: Option<&Self>, beginning: T, operation: &'static str) -> Result<T, Error> {
        after.map_or(Ok(beginning), |cursor| cursor.0.parse().map_err(|_unread| Error::Cursor { operation }))
    }
}

/// From outside, where a cursor is text. One that no store has given is found out when it is used.
impl From<String> for Cursor {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Page {
    /// Of an engine that gives as many rows as it is asked for while there are any, each with its place.
    pub(super) fn of<P: fmt::Display>(rows: Vec<(P, String)>, limit: usize) -> Self {
        let next = rows.last().filter(|_| rows.len() >= limit).map(|(place, _)| Cursor::at(place));
        Self { rows: rows.into_iter().map(|(_, row)| row).collect(), next }
    }
}
