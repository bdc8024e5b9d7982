//! Answers read incrementally: where one ends and what its head says. Bodies are counted, not kept; nothing is allocated once
//! the small buffer for a head that came in pieces has grown. Chunked bodies are in [`chunked`].

mod chunked;

use std::mem::MaybeUninit;

use lab_core::control::EFFECT;

use chunked::Chunked;

/// Longest head, bytes.
const LONGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 96;
/// Interim answers before the final one.
const MOST_INTERIM: u8 = 16;

/// Bytes that are not an acceptable HTTP/1.x answer. The connection cannot be used further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The head is not one of HTTP/1.0 or 1.1.
    #[error("the answer does not begin as one of HTTP/1.1")]
    NotHttp,
    /// The head is longer than 16 KiB or has more than 96 headers.
    #[error("the head of the answer is too long")]
    LongHead,
    /// Length or encoding of the body contradict each other or cannot be read.
    #[error("the length of the body cannot be told")]
    BadLength,
    /// The framing of a chunked body is broken.
    #[error("the chunked body is broken")]
    BadChunk,
    /// A protocol switch that nobody asked for, or a flood of interim answers.
    #[error("an interim answer that was not asked for")]
    Interim,
    /// The connection ended inside the answer.
    #[error("the connection ended inside the answer")]
    Truncated,
}

/// What the engine keeps of an answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// The connection can carry another request afterwards.
    pub keep_alive: bool,
    /// N of a `Location` that ends in `id=N`: the key of the row that was created.
    pub created: Option<u64>,
    /// The service promises that the request had no effect ([`EFFECT`] is `none`).
    pub no_effect: bool,
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// The answer is complete; so many of the bytes given last belong to it.
    Done {
        /// Bytes of the last feed that belong to the answer.
        used: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of the body that are still to come.
    Counted(u64),
    Chunked(Chunked),
    /// The body ends with the connection.
    ToEnd,
    Done,
}

/// Reads one answer after another from one connection.
#[derive(Debug)]
pub struct Parser {
    state: State,
    to_head: bool,
    interim: u8,
    head: Option<Head>,
    /// Beginning of a head that came in pieces.
    partial: Vec<u8>,
}

impl Default for Parser {
    fn default() -> Self {
        Self { state: State::Head, to_head: false, interim: 0, head: None, partial: Vec::new() }
    }
}

impl Parser {
    /// Makes ready for the next answer; `to_head` when the request was a HEAD.
    pub fn reset(&mut self, to_head: bool) {
        self.state = State::Head;
        self.to_head = to_head;
        self.interim = 0;
        self.head = None;
        self.partial.clear();
    }

    /// The head, once it is complete.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Takes the next bytes. After `Done` or an error only [`Parser::reset`] makes sense.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress, ResponseError> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match &mut self.state {
                State::Done => return Ok(Progress::Done { used }),
                State::ToEnd => return Ok(Progress::More),
                _ if rest.is_empty() => return Ok(Progress::More),
                State::Head => match self.read_head(rest)? {
                    Some(n) => used += n,
                    None => return Ok(Progress::More),
                },
                State::Counted(left) => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    used += n;
                    *left -= n as u64;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                }
                State::Chunked(chunked) => {
                    let (n, done) = chunked.feed(rest)?;
                    used += n;
                    if done {
                        self.state = State::Done;
                    }
                }
            }
        }
    }

    /// The connection ended: fine for a body without a length, an error anywhere else.
    pub fn end(&mut self) -> Result<(), ResponseError> {
        match self.state {
            State::ToEnd | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(ResponseError::Truncated),
        }
    }

    /// Reads a head from `bytes`, after what was kept of it. The result is how many of `bytes` belong to it.
    fn read_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, ResponseError> {
        if self.partial.is_empty() {
            return match self.parse_head(bytes)? {
                Some(n) => Ok(Some(n)),
                None => {
                    self.partial.extend_from_slice(bytes);
                    Ok(None)
                }
            };
        }
        let before = self.partial.len();
        let room = LONGEST_HEAD.saturating_sub(before);
        let taken = &bytes[..bytes.len().min(room)];
        self.partial.extend_from_slice(taken);
        // A head ends with a line feed, so only a piece with one can complete it: bytes trickling in stay cheap.
        if before > 16 && !taken.contains(&b'\n') {
            return if taken.len() == room { Err(ResponseError::LongHead) } else { Ok(None) };
        }
        let mut kept = std::mem::take(&mut self.partial);
        let parsed = self.parse_head(&kept);
        match parsed {
            Ok(None) => {
                self.partial = kept;
                Ok(None)
            }
            Ok(Some(length)) => {
                kept.clear();
                self.partial = kept;
                Ok(Some(length.saturating_sub(before)))
            }
            Err(e) => Err(e),
        }
    }

    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, ResponseError> {
        let mut headers = [MaybeUninit::<httparse::Header<'_>>::uninit(); MOST_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) if length <= LONGEST_HEAD => length,
            Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::LongHead),
            Err(_) => return Err(ResponseError::NotHttp),
        };
        let status = response.code.ok_or(ResponseError::NotHttp)?;
        if status < 200 {
            self.interim += 1;
            let flood = self.interim > MOST_INTERIM;
            return if status < 100 || status == 101 || flood { Err(ResponseError::Interim) } else { Ok(Some(length)) };
        }
        let fields = Fields::read(response.headers, response.version == Some(1))?;
        self.state = fields.body(status, self.to_head);
        let keep_alive = fields.keep_alive && self.state != State::ToEnd;
        let Fields { created, no_effect, .. } = fields;
        self.head = Some(Head { status, keep_alive, created, no_effect });
        Ok(Some(length))
    }
}

/// The headers that matter.
struct Fields {
    length: Option<u64>,
    chunked: bool,
    /// A transfer encoding other than chunked comes last, so the body ends with the connection.
    encoded_to_end: bool,
    keep_alive: bool,
    created: Option<u64>,
    no_effect: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>], http_1_1: bool) -> Result<Self, ResponseError> {
        let mut fields = Self {
            length: None,
            chunked: false,
            encoded_to_end: false,
            keep_alive: http_1_1,
            created: None,
            no_effect: false,
        };
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = whole_number(header.value).ok_or(ResponseError::BadLength)?;
                if fields.length.is_some_and(|other| other != length) {
                    return Err(ResponseError::BadLength);
                }
                fields.length = Some(length);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                let last = header.value.rsplit(|b| *b == b',').next().unwrap_or_default();
                fields.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                fields.encoded_to_end = !fields.chunked;
            } else if header.name.eq_ignore_ascii_case("connection") {
                for token in header.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        fields.keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") && !http_1_1 {
                        fields.keep_alive = true;
                    }
                }
            } else if header.name.eq_ignore_ascii_case("location") {
                fields.created = created(header.value);
            } else if header.name.eq_ignore_ascii_case(EFFECT) {
                fields.no_effect = header.value.trim_ascii().eq_ignore_ascii_case(b"none");
            }
        }
        if fields.chunked && fields.length.is_some() {
            // Two lengths are how answers are smuggled: the encoding holds, the connection is not used again.
            fields.keep_alive = false;
        }
        Ok(fields)
    }

    fn body(&self, status: u16, to_head: bool) -> State {
        match self.length {
            _ if to_head || status == 204 || status == 304 => State::Done,
            _ if self.chunked => State::Chunked(Chunked::default()),
            _ if self.encoded_to_end => State::ToEnd,
            Some(0) => State::Done,
            Some(length) => State::Counted(length),
            None => State::ToEnd,
        }
    }
}

fn whole_number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, b| sum.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// N of `…id=N` at the end of a location.
fn created(location: &[u8]) -> Option<u64> {
    let at = location.iter().rposition(|b| *b == b'=')?;
    let name = &location[..at];
    let separated = name.len() == 2 || name.iter().rev().nth(2).is_some_and(|b| *b == b'?' || *b == b'&');
    (name.ends_with(b"id") && separated).then(|| whole_number(&location[at + 1..]))?
}

#[cfg(test)]
mod tests;
