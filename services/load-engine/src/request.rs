//! Requests as bytes: an operation is parsed once into literal text and slots, and written out without allocating.

use lab_core::control::Operation;

/// Longest rendered request that is accepted, bytes.
const LONGEST: usize = 64 * 1024;

/// An operation cannot be sent as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation `{operation}`: {what}")]
pub struct TemplateError {
    /// Its name.
    pub operation: String,
    /// What is wrong and what to change.
    pub what: String,
}

/// What differs between two requests of one operation.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// `{n}`.
    pub n: u64,
    /// `{key}`.
    pub key: u64,
    /// Value of the Host header.
    pub host: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    N,
    Key,
    Host,
    Length,
}

/// An operation ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    head: Vec<Piece>,
    body: Vec<Piece>,
    /// The answer to HEAD has no body, whatever its headers say.
    pub(crate) is_head: bool,
    pub(crate) creates_key: bool,
    pub(crate) ledger: bool,
}

impl Template {
    /// Reads an operation; refuses what would break the framing of HTTP/1.1.
    pub fn new(operation: &Operation) -> Result<Self, TemplateError> {
        check(operation).map_err(|what| TemplateError { operation: operation.name.clone(), what })?;
        let given = |name: &str| operation.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut head = Vec::new();
        text(&mut head, &operation.method);
        text(&mut head, " ");
        slots(&mut head, &operation.path);
        text(&mut head, " HTTP/1.1\r\n");
        if !given("host") {
            text(&mut head, "Host: ");
            head.push(Piece::Host);
            text(&mut head, "\r\n");
        }
        if !given("user-agent") {
            text(&mut head, concat!("User-Agent: lab/", env!("CARGO_PKG_VERSION"), "\r\n"));
        }
        for (name, value) in &operation.headers {
            text(&mut head, name);
            text(&mut head, ": ");
            slots(&mut head, value);
            text(&mut head, "\r\n");
        }
        let mut body = Vec::new();
        slots(&mut body, &operation.body);
        if !body.is_empty() || matches!(operation.method.as_str(), "POST" | "PUT" | "PATCH") {
            text(&mut head, "Content-Length: ");
            head.push(Piece::Length);
            text(&mut head, "\r\n");
        }
        text(&mut head, "\r\n");
        let is_head = operation.method == "HEAD";
        Ok(Self { head, body, is_head, creates_key: operation.creates_key, ledger: operation.ledger })
    }

    /// Appends one request to `out`.
    pub fn render(&self, slots: Slots<'_>, out: &mut Vec<u8>) {
        let length = self.body.iter().map(|piece| piece.length(slots)).sum();
        for piece in self.head.iter().chain(&self.body) {
            match piece {
                Piece::Text(bytes) => out.extend_from_slice(bytes),
                Piece::N => decimal(slots.n, out),
                Piece::Key => decimal(slots.key, out),
                Piece::Host => out.extend_from_slice(slots.host.as_bytes()),
                Piece::Length => decimal(length, out),
            }
        }
    }
}

impl Piece {
    fn length(&self, slots: Slots<'_>) -> u64 {
        match self {
            Self::Text(bytes) => bytes.len() as u64,
            Self::N => digits(slots.n),
            Self::Key => digits(slots.key),
            Self::Host | Self::Length => 0,
        }
    }
}

fn digits(number: u64) -> u64 {
    number.checked_ilog10().map_or(1, |log| u64::from(log) + 1)
}

fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

fn text(pieces: &mut Vec<Piece>, more: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(bytes)) => bytes.extend_from_slice(more.as_bytes()),
        _ => pieces.push(Piece::Text(more.as_bytes().to_vec())),
    }
}

/// Splits at `{n}` and `{key}`; any other brace is text.
fn slots(pieces: &mut Vec<Piece>, template: &str) {
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        let (piece, after) = if let Some(after) = from.strip_prefix("{n}") {
            (Some(Piece::N), after)
        } else if let Some(after) = from.strip_prefix("{key}") {
            (Some(Piece::Key), after)
        } else {
            (None, &from[1..])
        };
        match piece {
            Some(piece) => {
                if !before.is_empty() {
                    text(pieces, before);
                }
                pieces.push(piece);
            }
            None => text(pieces, &rest[..=at]),
        }
        rest = after;
    }
    if !rest.is_empty() {
        text(pieces, rest);
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check(operation: &Operation) -> Result<(), String> {
    let Operation { method, path, headers, body, .. } = operation;
    if !is_token(method) || method == "CONNECT" {
        return Err(format!(
            "`{method}` is not a method that can be sent; write GET, POST, PUT, PATCH, DELETE or HEAD"
        ));
    }
    if !path.starts_with('/') || path.bytes().any(|b| b <= b' ' || b >= 0x7f) {
        return Err(format!(
            "`{path}` is not a path; begin with `/` and percent-encode spaces (targets come from PUT /targets)"
        ));
    }
    for (name, value) in headers {
        if !is_token(name) || value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
            return Err(format!(
                "header `{name}` has a character that a header cannot carry; remove line breaks and controls"
            ));
        }
        if ["content-length", "transfer-encoding", "connection", "expect", "upgrade"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            return Err(format!("header `{name}` belongs to the engine; remove it"));
        }
    }
    let size = path.len() + body.len() + headers.iter().map(|(n, v)| n.len() + v.len() + 4).sum::<usize>();
    if size > LONGEST { Err(format!("{size} bytes are more than the {LONGEST} allowed")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: &str, path: &str, body: &str) -> Operation {
        Operation {
            name: "create".into(),
            weight: 1.0,
            method: method.into(),
            path: path.into(),
            headers: vec![("Idempotency-Key".into(), "k-{n}".into())],
            body: body.into(),
            creates_key: true,
            ledger: false,
        }
    }

    fn rendered(operation: &Operation, n: u64, key: u64) -> String {
        let mut out = Vec::new();
        Template::new(operation).expect("valid").render(Slots { n, key, host: "h:1" }, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn slots_are_filled_and_the_length_is_that_of_the_body() {
        let text = rendered(&operation("POST", "/create?x={key}", r#"{"name":"u{n}","k":{key}}"#), 1234, 7);
        let (head, body) = text.split_once("\r\n\r\n").expect("a blank line");
        assert!(head.starts_with("POST /create?x=7 HTTP/1.1\r\nHost: h:1\r\nUser-Agent: lab/"), "{head}");
        assert!(head.contains("\r\nIdempotency-Key: k-1234\r\n"));
        assert_eq!(body, r#"{"name":"u1234","k":7}"#);
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn a_get_has_no_length_and_an_empty_post_has_zero() {
        assert!(!rendered(&operation("GET", "/", ""), 0, 0).contains("Content-Length"));
        assert!(rendered(&operation("POST", "/", ""), 0, 0).contains("Content-Length: 0\r\n"));
        for n in [0, 9, 10, u64::MAX] {
            assert!(
                rendered(&operation("POST", "/", "{n}"), n, 0)
                    .contains(&format!("Content-Length: {}\r\n", n.to_string().len()))
            );
        }
    }

    #[test]
    fn what_would_break_the_framing_is_refused() {
        let bad_header = |name: &str, value: &str| Operation {
            headers: vec![(name.into(), value.into())],
            ..operation("GET", "/", "")
        };
        for wrong in [
            operation("GE T", "/", ""),
            operation("GET", "http://elsewhere/", ""),
            operation("GET", "/a b", ""),
            operation("GET", "/a\r\nX: y", ""),
            bad_header("X", "a\r\nY: b"),
            bad_header("X Y", "a"),
            bad_header("Content-length", "4"),
        ] {
            assert!(Template::new(&wrong).is_err(), "{wrong:?}");
        }
    }
}
