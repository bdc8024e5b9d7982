//! One connection: its socket, what it is doing, and the bytes of a request that the socket did not take at once.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::cause::Cause;
use crate::response::{Head, Parser, Progress};
use crate::schedule::Arrival;

/// What a connection is doing.
#[derive(Debug)]
pub(crate) enum State {
    /// Since a plan time; nothing is written yet.
    Connecting { since_ns: u64 },
    /// Open and free.
    Idle,
    /// Carries a request.
    Busy(InFlight),
}

/// A request on a connection.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) arrival: Arrival,
    /// Plan time at which the connection was given the request.
    pub(crate) given_ns: u64,
    /// Plan time at which its first byte was written.
    pub(crate) written_ns: Option<u64>,
    pub(crate) creates_key: bool,
    /// What becomes of it is told by its number.
    pub(crate) ledger: bool,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing that completes an answer.
    Nothing,
    /// A complete answer.
    Answer {
        head: Head,
        /// The connection can carry another request.
        reusable: bool,
    },
    /// The connection is of no further use.
    Broken(Cause),
}

/// A slot's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    /// Index of its endpoint in the pool.
    pub(crate) endpoint: usize,
    pub(crate) state: State,
    /// To be closed after the answer that is awaited: its endpoint has more connections than its part.
    pub(crate) retiring: bool,
    parser: Parser,
    unsent: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, endpoint: usize, now_ns: u64) -> Self {
        let state = State::Connecting { since_ns: now_ns };
        Self { socket, endpoint, state, retiring: false, parser: Parser::default(), unsent: Vec::new() }
    }

    /// Whether connecting has ended: true when open, false while it goes on.
    pub(crate) fn connected(&self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes a request; what the socket does not take is kept for [`Connection::write_rest`]. The result is how many bytes went.
    pub(crate) fn write(&mut self, bytes: &[u8], to_head: bool) -> io::Result<usize> {
        self.parser.reset(to_head);
        let written = write_some(&mut self.socket, bytes)?;
        self.unsent.clear();
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(written)
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Writes on; the result is how many bytes went.
    pub(crate) fn write_rest(&mut self) -> io::Result<usize> {
        let written = write_some(&mut self.socket, &self.unsent)?;
        self.unsent.drain(..written);
        Ok(written)
    }

    /// Reads what has come of the awaited answer. A short read means that the socket is empty, which saves a system call: the next
    /// byte makes a new event. Not so when the peer has `closed` its side: no further event will tell of the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], closed: bool) -> Found {
        loop {
            let n = match self.socket.read(buffer) {
                Ok(0) => return self.ended(),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Found::Nothing,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Found::Broken(Cause::of_socket(&e)),
            };
            match (self.parser.feed(&buffer[..n]), self.parser.head()) {
                (Ok(Progress::Done { used }), Some(head)) => {
                    // Bytes after the answer, or an answer before the request was out: the two sides no longer agree.
                    let clean = used == n && n < buffer.len() && self.unsent.is_empty();
                    let reusable = head.keep_alive && clean && !closed;
                    return Found::Answer { head, reusable };
                }
                (Ok(_), _) if n < buffer.len() && !closed => return Found::Nothing,
                (Ok(_), _) => {}
                (Err(_), _) => return Found::Broken(Cause::Malformed),
            }
        }
    }

    /// True when an idle connection has been closed by the peer, or was sent something that nobody asked for.
    pub(crate) fn is_spent(&mut self, buffer: &mut [u8]) -> bool {
        !matches!(self.socket.read(buffer), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    fn ended(&mut self) -> Found {
        match (self.parser.end(), self.parser.head()) {
            (Ok(()), Some(head)) => Found::Answer { head, reusable: false },
            _ => Found::Broken(Cause::Closed),
        }
    }
}

fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // What went out before the error was sent: the answer, or its absence, is read as usual.
            Err(_) if written > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(written)
}
