//! The end of a service: signals, and the hooks that are waited for after the last request.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout_at};

use crate::service::Shared;
use crate::{ServeError, Stage};

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, ServeError> {
        let failed = |source: io::Error| ServeError::System { doing: "listen for signals", source };
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for everything that ends after the last request; all of it has until `deadline`, and every part is tried.
pub(crate) async fn stop_parts(shared: &Shared, deadline: Instant) -> Result<(), ServeError> {
    shared.lifecycle.advance(Stage::Stopping);
    let mut late = None;
    for hook in shared.take_stops() {
        if timeout_at(deadline, hook.done).await.is_err() {
            late.get_or_insert(ServeError::Stop { part: hook.part, limit: shared.args.drain_limit });
        }
    }
    late.map_or(Ok(()), Err)
}
