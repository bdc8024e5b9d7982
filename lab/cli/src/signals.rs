//! SIGINT, SIGTERM and SIGHUP become requests to stop: the first drains and reports, the second tears down, the third leaves. The run
//! itself tells of them.

use lab_run::Interrupt;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::LabError;

/// Listens from now on; each signal raises the interrupt.
///
/// # Errors
/// The system refuses a handler.
pub fn listen(interrupt: &Interrupt) -> Result<(), LabError> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(|e| LabError::failed("cannot listen to signals", e))?;
        let interrupt = interrupt.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                interrupt.raise();
            }
        });
    }
    Ok(())
}
