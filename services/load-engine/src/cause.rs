//! Why a request failed, as the text that samples and reports carry.

use std::fmt;
use std::io;

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// Nobody listens at the endpoint.
    Refused,
    /// The connection could not be opened for another reason.
    Connect(io::ErrorKind),
    /// No connection within the plan's timeout.
    ConnectTimeout,
    /// The peer reset the connection.
    Reset,
    /// The peer closed the connection before the answer was complete.
    Closed,
    /// No complete answer within the plan's timeout.
    Timeout,
    /// An answer with a status outside 200–399.
    Status(u16),
    /// Bytes that are not an HTTP/1.1 answer.
    Malformed,
    /// Another error of the socket.
    Socket(io::ErrorKind),
}

impl Cause {
    /// The cause behind an error of an established connection.
    pub(crate) fn of_socket(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            kind => Self::Socket(kind),
        }
    }

    /// The cause behind an error of connecting.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            kind => Self::Connect(kind),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Connect(kind) => write!(f, "cannot connect: {kind}"),
            Self::ConnectTimeout => f.write_str("connect timeout"),
            Self::Reset => f.write_str("connection reset"),
            Self::Closed => f.write_str("connection closed early"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Malformed => f.write_str("malformed answer"),
            Self::Socket(kind) => write!(f, "socket error: {kind}"),
        }
    }
}
