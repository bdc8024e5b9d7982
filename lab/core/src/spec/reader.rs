//! Takes values out of a tree. Everything that is wrong is noted and reading goes on with what stands in for it, so that one
//! pass finds all there is to find.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::diagnostic::{Diagnostic, Place};
use super::node::{At, Node, Value};
use super::reference::Field;
use crate::nearest::nearest;
use crate::unit::Span;

/// What reading needs and finds.
pub(super) struct Reading<'a> {
    pub file: &'a str,
    /// Reads a file that a spec names; its error is shown as it is.
    pub load_file: &'a dyn Fn(&str) -> Result<String, String>,
    pub found: Vec<Diagnostic>,
}

/// What is wrong with a scalar: the message, and what to do.
pub(super) struct Wrong(pub String, pub Option<String>);

impl<E: Display> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self(error.to_string(), None)
    }
}

/// Reads a scalar's text.
pub(super) type Scalar<'f, T> = &'f dyn Fn(&str) -> Result<T, Wrong>;

impl Reading<'_> {
    pub(super) fn error(&mut self, at: &At, message: impl Into<String>) {
        self.note(at, message.into(), None);
    }

    pub(super) fn error_with(&mut self, at: &At, message: impl Into<String>, help: impl Into<String>) {
        self.note(at, message.into(), Some(help.into()));
    }

    pub(super) fn note(&mut self, at: &At, message: String, help: Option<String>) {
        let place = match at {
            At::Text { line, column, start, end } => {
                Place::File { file: self.file.to_owned(), line: *line, column: *column, span: *start..*end }
            }
            At::Set(setting) => Place::Set(setting.to_string()),
        };
        self.found.push(Diagnostic { place, message, help });
    }

    /// Opens a mapping with the given fields and notes every key that is not one of them.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str, fields: &'static [Field]) -> Map<'n> {
        let wrong = !matches!(node.value, Value::Map(_) | Value::Null);
        if wrong {
            let help = format!("known fields: {}", names(fields));
            self.error_with(&node.at, format!("{what} is a mapping, found {}", node.kind()), help);
        }
        for entry in node.entries() {
            if !fields.iter().any(|field| field.name == entry.key) {
                self.unknown(&entry.at, &entry.key, what, fields);
            }
        }
        Map { node, at: node.at.clone(), wrong }
    }

    fn unknown(&mut self, at: &At, key: &str, what: &str, fields: &'static [Field]) {
        let near = nearest(key, fields.iter().map(|field| field.name));
        let message = match near {
            Some(name) => format!("{what} has no field `{key}`; did you mean `{name}`?"),
            None => format!("{what} has no field `{key}`"),
        };
        self.error_with(at, message, format!("known fields: {}", names(fields)));
    }

    /// Reads one scalar; `what` begins the message when it cannot be read.
    pub(super) fn scalar<T>(&mut self, node: &Node, what: &str, read: Scalar<'_, T>) -> Option<T> {
        let Value::Scalar(text) = &node.value else {
            self.error(&node.at, format!("{what} is a single value, found {}", node.kind()));
            return None;
        };
        match read(text) {
            Ok(value) => Some(value),
            Err(Wrong(message, help)) => {
                self.note(&node.at, format!("{what}: {message}"), help);
                None
            }
        }
    }

    /// The items of a list; a value that is no list is noted.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Value::List(items) = &node.value {
            return items;
        }
        self.error(&node.at, format!("{what} is a list, found {}", node.kind()));
        &[]
    }
}

fn names(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
}

/// A mapping whose keys were checked.
pub(super) struct Map<'n> {
    node: &'n Node,
    pub at: At,
    /// It is something else, which is noted: that keys are missing would be no news.
    pub wrong: bool,
}

impl<'n> Map<'n> {
    /// The value of a key; None when the key is absent or holds nothing.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.node.get(key)
    }

    /// Where a key's value stands, or else the mapping.
    pub(super) fn at(&self, key: &str) -> At {
        self.get(key).map_or(&self.at, |node| &node.at).clone()
    }

    /// Reads a key; None when absent or wrong.
    pub(super) fn read<T>(&self, r: &mut Reading<'_>, key: &str, read: Scalar<'_, T>) -> Option<T> {
        r.scalar(self.get(key)?, &format!("`{key}`"), read)
    }

    /// Reads a key that must be there.
    pub(super) fn require<T>(&self, r: &mut Reading<'_>, key: &str, what: &str, read: Scalar<'_, T>) -> Option<T> {
        if self.get(key).is_none() && !self.wrong {
            r.error(&self.at, format!("{what} needs `{key}`"));
        }
        self.read(r, key, read)
    }
}

/// A quantity or a name: anything whose error says what is accepted.
pub(super) fn parsed<T>(text: &str) -> Result<T, Wrong>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(Wrong::from)
}

/// A whole number within bounds.
pub(super) fn whole(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, Wrong> {
    move |text| {
        let (least, most) = (*range.start(), *range.end());
        let Ok(number) = text.parse::<u64>() else {
            return Err(Wrong(format!("`{text}` is not a whole number from {least} to {most}"), None));
        };
        if range.contains(&number) {
            Ok(number)
        } else {
            Err(Wrong(format!("{number} is outside {least} to {most}"), None))
        }
    }
}

/// A whole number within bounds, for fields of 32 bits.
pub(super) fn whole32(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, Wrong> {
    let wide = whole(u64::from(*range.start())..=u64::from(*range.end()));
    move |text| wide(text).and_then(|number| u32::try_from(number).map_err(Wrong::from))
}

/// A number within bounds.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&str) -> Result<f64, Wrong> {
    move |text| {
        let found = text.parse::<f64>().ok().filter(|number| range.contains(number));
        found.ok_or_else(|| Wrong(format!("`{text}` is not a number from {} to {}", range.start(), range.end()), None))
    }
}

/// A duration within bounds.
pub(super) fn duration(range: RangeInclusive<Span>) -> impl Fn(&str) -> Result<Span, Wrong> {
    move |text| {
        let span: Span = parsed(text)?;
        if range.contains(&span) {
            return Ok(span);
        }
        Err(Wrong(format!("{span} is outside {} to {}", range.start(), range.end()), None))
    }
}

/// `true` or `false`.
pub(super) fn flag(text: &str) -> Result<bool, Wrong> {
    text.parse().map_err(|_| Wrong(format!("`{text}` is neither `true` nor `false`"), None))
}

/// One of these words.
pub(super) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, Wrong> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let near = nearest(text, known.iter().copied()).map(|word| format!("did you mean `{word}`?"));
            let known = format!("one of {}", known.join(", "));
            Wrong(format!("`{text}` is not {known}"), near)
        })
    }
}

/// One line of text without control characters.
pub(super) fn line(most: usize) -> impl Fn(&str) -> Result<String, Wrong> {
    move |text| {
        let text = text.trim();
        if text.is_empty() {
            Err(Wrong("it is empty".to_owned(), None))
        } else if text.chars().count() > most {
            Err(Wrong(format!("it is longer than {most} characters"), None))
        } else if text.chars().any(char::is_control) {
            Err(Wrong("it holds control characters; write one line of text".to_owned(), None))
        } else {
            Ok(text.to_owned())
        }
    }
}

/// A word of letters, digits, `-`, `_` and `.`: safe in labels, file names and expectations.
pub(super) fn word(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty()
        && text.len() <= 60
        && text.chars().all(fits)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Ok(text.to_owned());
    }
    let help = "use up to 60 letters, digits, `-`, `_` and `.`, beginning with a letter or digit";
    Err(Wrong(format!("`{}` is not a name", text.escape_debug()), Some(help.to_owned())))
}
