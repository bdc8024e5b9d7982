//! YAML as a tree that knows where each key and value stands. Nothing here knows what a spec is.

use std::rc::Rc;

/// Where a key or value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// The spec's text.
    Text {
        /// 1-based.
        line: usize,
        /// 1-based, in characters.
        column: usize,
        /// Bytes.
        start: usize,
        /// Bytes.
        end: usize,
    },
    /// A setting `path=value`.
    Set(Rc<str>),
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub value: Value,
    pub at: At,
}

/// A value. Scalars keep their text: what they mean is settled by who reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub at: At,
    pub node: Node,
}

impl Node {
    /// What it is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a key; None when the key is absent or holds nothing.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node).filter(|node| node.value != Value::Null)
    }

    /// Takes a key out of a mapping.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let Value::Map(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(index))
    }

    /// The value on one line, as flow YAML would write it, for labels and messages.
    pub(super) fn text(&self) -> String {
        match &self.value {
            Value::Null => "none".to_owned(),
            Value::Scalar(text) => text.clone(),
            Value::List(items) => format!("[{}]", items.iter().map(Self::text).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let fields = entries.iter().map(|entry| format!("{}: {}", entry.key, entry.node.text()));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Gives everything in the tree the same place.
    pub(super) fn placed(mut self, at: &At) -> Self {
        self.at = at.clone();
        self.value = match self.value {
            Value::List(items) => Value::List(items.into_iter().map(|item| item.placed(at)).collect()),
            Value::Map(entries) => {
                let place = |entry: Entry| Entry { key: entry.key, at: at.clone(), node: entry.node.placed(at) };
                Value::Map(entries.into_iter().map(place).collect())
            }
            scalar => scalar,
        };
        self
    }
}
