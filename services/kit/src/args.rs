//! The flags that all services have, and the runtime that they ask for.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use clap::Args;
use lab_core::unit::Span;
use tokio::runtime::{Builder, Runtime};

use crate::ServeError;

const MAX_IN_FLIGHT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
const ONE_THREAD: NonZeroUsize = NonZeroUsize::MIN;
const DRAIN_LIMIT: Span = Span::from_secs(10);

/// Flags that all services have.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Name of this replica in logs and samples [default: the service's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Address to listen on; port 0 takes a free one, which the first line on stdout tells [default: 127.0.0.1 and the service's port]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Worker threads
    #[arg(long, default_value_t = ONE_THREAD)]
    pub threads: NonZeroUsize,
    /// Requests in work at once; further ones are answered 503 at once
    #[arg(long, default_value_t = MAX_IN_FLIGHT)]
    pub max_in_flight: NonZeroUsize,
    /// Time between becoming unready and closing the listener
    #[arg(long, default_value_t = Span::ZERO, value_name = "TIME")]
    pub drain_delay: Span,
    /// Longest wait for requests in flight at shutdown
    #[arg(long, default_value_t = DRAIN_LIMIT, value_name = "TIME")]
    pub drain_limit: Span,
    /// Serve /chaos/latency, /chaos/errors and /work
    #[arg(long)]
    pub chaos: bool,
}

impl Default for ServeArgs {
    fn default() -> Self {
        Self {
            name: None,
            listen: None,
            threads: ONE_THREAD,
            max_in_flight: MAX_IN_FLIGHT,
            drain_delay: Span::ZERO,
            drain_limit: DRAIN_LIMIT,
            chaos: false,
        }
    }
}

impl ServeArgs {
    /// The runtime that `--threads` asks for: everything on the calling thread for 1.
    ///
    /// # Errors
    /// [`ServeError::System`] when the operating system gives no threads or no poller.
    pub fn runtime(&self) -> Result<Runtime, ServeError> {
        let mut builder =
            if self.threads == ONE_THREAD { Builder::new_current_thread() } else { Builder::new_multi_thread() };
        if self.threads != ONE_THREAD {
            builder.worker_threads(self.threads.get());
        }
        builder
            .enable_all()
            .thread_name("service")
            .build()
            .map_err(|source| ServeError::System { doing: "start the runtime", source })
    }

    /// The address to listen on, with the service's own port as default.
    pub(crate) fn address(&self, default_port: u16) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, default_port)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    #[test]
    fn flags_without_values_equal_the_default() {
        let parsed = Command::try_parse_from(["serve"]).expect("no flag is required").serve;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", ServeArgs::default()));
        assert_eq!(parsed.address(8081).to_string(), "127.0.0.1:8081");
    }

    #[test]
    fn flags_are_read() {
        let line = "serve --name a-1 --listen 127.0.0.1:0 --threads 2 --max-in-flight 8 --drain-delay 5s --drain-limit 3s --chaos";
        let parsed = Command::try_parse_from(line.split(' ')).expect("valid flags").serve;
        assert_eq!(parsed.name.as_deref(), Some("a-1"));
        assert_eq!((parsed.threads.get(), parsed.max_in_flight.get()), (2, 8));
        assert_eq!((parsed.drain_delay, parsed.drain_limit), (Span::from_secs(5), Span::from_secs(3)));
        assert!(parsed.chaos && parsed.address(1).port() == 0);
        assert!(Command::try_parse_from(["serve", "--threads", "0"]).is_err());
    }
}
