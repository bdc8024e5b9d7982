//! Why a service could not start, or did not end as it should.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use lab_core::unit::Span;

/// Why something that a service needs could not be opened.
pub type OpenError = Box<dyn Error + Send + Sync>;

/// Why a service could not start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, foreign or forbidden.
    #[error("cannot listen on {address}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The operating system refused.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Flags that do not fit together or name something unknown.
    #[error("{0}")]
    Config(String),
    /// A store, queue, cache or file that the flags name.
    #[error("cannot open the {role} `{address}`")]
    Open {
        /// `store`, `queue`, …
        role: &'static str,
        /// As given.
        address: String,
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// Requests were still in flight when the drain limit ended; their connections were cut.
    #[error("{connections} connections were cut when the drain limit of {limit} ended; raise --drain-limit")]
    DrainLimit {
        /// How many.
        connections: usize,
        /// `--drain-limit`.
        limit: Span,
    },
    /// A part of the service did not end within the drain limit.
    #[error("{part} did not stop within {limit}")]
    Stop {
        /// Which part.
        part: &'static str,
        /// How long was waited.
        limit: Span,
    },
    /// A second signal came while draining.
    #[error("a second signal cut the drain short")]
    Interrupted,
}

/// An error with everything that caused it, on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_every_cause_once() {
        let source = io::Error::other("no such device");
        let error = ServeError::System { doing: "open the poller", source };
        assert_eq!(chain(&error), "cannot open the poller: no such device");
    }
}
