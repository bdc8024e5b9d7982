//! The chunked transfer encoding as a byte machine: it only finds where the body ends.

use super::ResponseError;

/// Longest line of framing (chunk size with extensions, trailer), bytes, and of all trailers together.
const LONGEST_LINE: u16 = 4096;

/// Where in the framing the next byte falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// Hexadecimal digits of a size; so many so far.
    Size { size: u64, digits: u8 },
    /// Rest of the size's line; `size` bytes follow it.
    Extension { size: u64, length: u16 },
    /// Bytes of a chunk that are still to come.
    Data(u64),
    /// CR, then LF after a chunk.
    DataEnd { seen_cr: bool },
    /// Lines after the last chunk until an empty one.
    Trailer { line: u16, total: u16 },
}

impl Default for Chunked {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunked {
    /// Takes bytes: how many were used and whether the body is complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), ResponseError> {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Data(left) = self {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += n;
                *left -= n as u64;
                if *left == 0 {
                    *self = Self::DataEnd { seen_cr: false };
                }
                continue;
            }
            let (next, done) = self.step(bytes[at])?;
            *self = next;
            at += 1;
            if done {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// One byte of framing.
    fn step(self, byte: u8) -> Result<(Self, bool), ResponseError> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Self::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b'\n') => Self::after_size(size),
            (Self::Size { size, digits: 1.. }, b'\r' | b';' | b' ' | b'\t') => Self::Extension { size, length: 0 },
            (Self::Extension { size, .. }, b'\n') => Self::after_size(size),
            (Self::Extension { size, length }, _) if length < LONGEST_LINE => {
                Self::Extension { size, length: length + 1 }
            }
            (Self::DataEnd { seen_cr: false }, b'\r') => Self::DataEnd { seen_cr: true },
            (Self::DataEnd { .. }, b'\n') => Self::default(),
            (Self::Trailer { line: 0, total }, b'\n') => return Ok((Self::Trailer { line: 0, total }, true)),
            (Self::Trailer { line, total }, b'\r') if total < LONGEST_LINE => Self::Trailer { line, total: total + 1 },
            (Self::Trailer { total, .. }, b'\n') => Self::Trailer { line: 0, total },
            (Self::Trailer { line, total }, _) if total < LONGEST_LINE => {
                Self::Trailer { line: line + 1, total: total + 1 }
            }
            _ => return Err(ResponseError::BadChunk),
        };
        Ok((next, false))
    }

    fn after_size(size: u64) -> Self {
        if size == 0 { Self::Trailer { line: 0, total: 0 } } else { Self::Data(size) }
    }
}
