//! YAML text to a tree. What can blow up or surprise (aliases, tags, several documents, deep nesting) is refused here.

use serde_saphyr::granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Span};

use super::node::{At, Entry, Node, Value};

/// Collections inside collections; a spec needs eight.
const MAX_DEPTH: usize = 32;
/// Keys of one mapping; a spec needs a dozen. Duplicates are looked for among them one by one.
const MAX_KEYS: usize = 1000;

/// What is wrong with the text itself.
pub(super) struct Fault {
    pub at: At,
    pub message: String,
    pub help: Option<String>,
}

/// A collection that is being filled.
enum Frame {
    List(Vec<Node>, At),
    Map { entries: Vec<Entry>, key: Option<(String, At)>, at: At },
}

struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    faults: Vec<Fault>,
}

/// Reads one document. An empty text is a [`Value::Null`].
///
/// # Errors
/// Everything that is wrong up to the point where the text stops making sense, at least one.
pub(super) fn read(text: &str) -> Result<Node, Vec<Fault>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { open: Vec::new(), root: None, faults: Vec::new() };
    while let Some(event) = parser.next_event() {
        let step = event.map_err(|error| scan_fault(&error)).and_then(|(event, span)| builder.take(event, span));
        if let Err(fault) = step {
            builder.faults.push(fault);
            break;
        }
    }
    match builder.root {
        _ if !builder.faults.is_empty() => Err(builder.faults),
        Some(root) => Ok(root),
        None => Ok(Node { value: Value::Null, at: At::Text { line: 1, column: 1, start: 0, end: 0 } }),
    }
}

impl Builder {
    /// Takes one event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = place(span.start, span.end);
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(..) if self.root.is_some() => Err(fault(
                at,
                "a second document begins here; a spec is one document",
                Some("put each experiment into a file of its own"),
            )),
            Event::DocumentStart(..) => Ok(()),
            Event::Alias(_) | Event::UnresolvedAlias(_) => Err(no_alias(at)),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                Err(no_alias(at))
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                Err(fault(at, "a spec has no tags (`!…`)", Some("write the value without it, in quotes if need be")))
            }
            Event::Scalar(text, style, ..) => self.scalar(text.into_owned(), style, at),
            Event::SequenceStart(..) => self.begin(Frame::List(Vec::new(), at.clone()), at),
            Event::MappingStart(..) => self.begin(Frame::Map { entries: Vec::new(), key: None, at: at.clone() }, at),
            Event::SequenceEnd | Event::MappingEnd => self.end(&at),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, frame: Frame, at: At) -> Result<(), Fault> {
        if let Some(Frame::Map { key: None, .. }) = self.open.last() {
            return Err(fault(at, "a key is a plain word", Some("keys of a spec cannot be lists or mappings")));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.open.push(frame);
        Ok(())
    }

    fn end(&mut self, end: &At) -> Result<(), Fault> {
        let node = match self.open.pop() {
            Some(Frame::List(items, at)) => Node { value: Value::List(items), at: until(at, end) },
            Some(Frame::Map { entries, at, .. }) => Node { value: Value::Map(entries), at: until(at, end) },
            None => return Ok(()),
        };
        self.add(node);
        Ok(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, at: At) -> Result<(), Fault> {
        if let Some(Frame::Map { key: key @ None, entries, .. }) = self.open.last_mut() {
            if entries.len() >= MAX_KEYS {
                return Err(fault(at, &format!("this mapping has more than {MAX_KEYS} keys"), None));
            }
            if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                let help = first.at.line().map(|line| format!("it stands in line {line} already; keep one of the two"));
                self.faults.push(Fault { at: at.clone(), message: format!("`{text}` is given twice"), help });
            }
            *key = Some((text, at));
            return Ok(());
        }
        let plain = matches!(style, ScalarStyle::Plain);
        let empty = plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        self.add(Node { value: if empty { Value::Null } else { Value::Scalar(text) }, at });
        Ok(())
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List(items, _)) => items.push(node),
            Some(Frame::Map { entries, key, .. }) => {
                if let Some((key, at)) = key.take() {
                    entries.push(Entry { key, at, node });
                }
            }
        }
    }
}

impl At {
    fn line(&self) -> Option<usize> {
        match self {
            Self::Text { line, .. } => Some(*line),
            Self::Set(_) => None,
        }
    }
}

fn place(start: Marker, end: Marker) -> At {
    let from = start.byte_offset().unwrap_or(0);
    let to = end.byte_offset().unwrap_or(from).max(from);
    At::Text { line: start.line().max(1), column: start.col() + 1, start: from, end: to }
}

fn until(at: At, last: &At) -> At {
    match (at, last) {
        (At::Text { line, column, start, .. }, At::Text { end, .. }) => {
            At::Text { line, column, start, end: start.max(*end) }
        }
        (at, _) => at,
    }
}

fn fault(at: At, message: &str, help: Option<&str>) -> Fault {
    Fault { at, message: message.to_owned(), help: help.map(str::to_owned) }
}

fn no_alias(at: At) -> Fault {
    fault(
        at,
        "a spec has no anchors (`&…`) and aliases (`*…`)",
        Some("write the value out; variants belong into `matrix`"),
    )
}

fn too_deep(at: At) -> Fault {
    fault(at, &format!("nested deeper than {MAX_DEPTH} levels"), None)
}

fn scan_fault(error: &ScanError) -> Fault {
    let at = place(*error.marker(), *error.marker());
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(at),
        ErrorKind::UnknownAnchor => no_alias(at),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            fault(at, "a tab stands where only spaces may", Some("indent with two spaces"))
        }
        _ => fault(
            at,
            &format!("this is not YAML: {}", error.info()),
            Some("look for a missing quote, bracket, colon or space at or just before this place"),
        ),
    }
}
