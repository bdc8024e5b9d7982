//! What signals come to. While something is conducted, SIGINT, SIGTERM and SIGHUP become requests to stop: the first drains and reports,
//! the second tears down, the third leaves; the run itself tells of them. Between screens they end the process as usual.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab_run::Interrupt;
use lab_tui::terminal::Heed;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::LabError;

/// Long enough for the runtime to look at what came before.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Listens from now on; each signal raises the interrupt. A terminal that is closed sends SIGHUP more than once, so that counts only
/// when it is the first.
///
/// # Errors
/// The system refuses a handler.
pub async fn listen(interrupt: &Interrupt) -> Result<(), LabError> {
    // What came while nobody listened, as in a pager, was meant for somebody else: a new runtime still has it to tell.
    tokio::time::sleep(A_MOMENT).await;
    let heed = Arc::new(Heed::begin().map_err(refused)?);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(refused)?;
        let (interrupt, heed) = (interrupt.clone(), Arc::clone(&heed));
        tokio::spawn(async move {
            let _heard_until_the_runtime_ends = heed;
            while signals.recv().await.is_some() {
                if kind == SignalKind::hangup() {
                    interrupt.raise_once();
                } else {
                    interrupt.raise();
                }
            }
        });
    }
    Ok(())
}

/// What signals do to a process that shows one screen after the other. Each screen hears them too; once one has, they do nothing by
/// themselves any more.
#[derive(Debug)]
pub struct BetweenScreens {
    /// SIGTERM or SIGHUP came, whoever heard it.
    asked: Arc<AtomicBool>,
    /// SIGTERM and SIGHUP end the process at once.
    ends: Arc<AtomicBool>,
    /// So does SIGINT.
    interrupts: Arc<AtomicBool>,
    _heed: Heed,
}

impl BetweenScreens {
    /// Listens from now on, for as long as the process lives.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn listen() -> Result<Self, LabError> {
        let (asked, ends, interrupts) = (Arc::default(), Arc::default(), Arc::default());
        let this = Self { asked, ends, interrupts, _heed: Heed::begin().map_err(refused)? };
        for (signal, ends) in [(SIGINT, &this.interrupts), (SIGTERM, &this.ends), (SIGHUP, &this.ends)] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(ends)).map_err(refused)?;
        }
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&this.asked)).map_err(refused)?;
        }
        Ok(this)
    }

    /// Whether the process was asked to end.
    pub fn asked_to_end(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Does what leaves nothing behind when the process ends in the middle of it.
    pub fn ending<T>(&self, work: impl FnOnce() -> T) -> T {
        self.interrupts.store(true, Ordering::SeqCst);
        let done = self.lending(work);
        self.interrupts.store(false, Ordering::SeqCst);
        done
    }

    /// As [`Self::ending`], while Ctrl-C belongs to a program that has the terminal.
    pub fn lending<T>(&self, work: impl FnOnce() -> T) -> T {
        self.ends.store(true, Ordering::SeqCst);
        let done = work();
        self.ends.store(false, Ordering::SeqCst);
        done
    }
}

fn refused(error: std::io::Error) -> LabError {
    LabError::failed("cannot listen to signals", error)
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::raise;

    use super::*;

    /// Listens in a runtime of its own, raises signals, and counts what was asked once `at_least` of it is there.
    fn asked(signals: &[i32], at_least: u32) -> u32 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let interrupt = Interrupt::new();
            listen(&interrupt).await.expect("handlers");
            for &signal in signals {
                raise(signal).expect("a signal");
                // Signals that nobody has looked at yet become one.
                tokio::time::sleep(A_MOMENT).await;
            }
            tokio::time::timeout(Duration::from_secs(10), interrupt.reached(at_least)).await.expect("in time");
            interrupt.count()
        })
    }

    #[test]
    fn a_closed_terminal_counts_once_and_what_came_before_not_at_all() {
        // As the home screen does, or the signal between two runs would end this process.
        let _between = Heed::begin().expect("handlers");
        assert_eq!(asked(&[SIGHUP, SIGHUP, SIGHUP], 1), 1);
        raise(SIGINT).expect("a signal");
        assert_eq!(asked(&[], 0), 0);
        assert_eq!(asked(&[SIGHUP, SIGTERM, SIGINT], 3), 3);
    }
}
