//! Whether anybody hears the signals that ask the process to end or to stop. While nobody does, they end or stop it, as they would have
//! without us: a handler that was once set stays for good and would swallow them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

/// Signals that ask the process to end.
pub(super) const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

static ENDS: Signals = Signals::new(&ENDING);
static STOPS: Signals = Signals::new(&[SIGTSTP]);

/// Signals that somebody hears, or nobody.
#[derive(Debug)]
struct Signals {
    numbers: &'static [i32],
    unheard: LazyLock<Arc<AtomicBool>>,
    /// How many hear them; None before the first.
    hearing: Mutex<Option<usize>>,
}

impl Signals {
    const fn new(numbers: &'static [i32]) -> Self {
        Self { numbers, unheard: LazyLock::new(Arc::default), hearing: Mutex::new(None) }
    }

    fn begin(&'static self) -> io::Result<Heard> {
        let mut hearing = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        self.unheard.store(false, Ordering::SeqCst);
        if hearing.is_none() {
            for signal in self.numbers {
                signal_hook::flag::register_conditional_default(*signal, Arc::clone(&self.unheard))?;
            }
        }
        *hearing = Some(hearing.unwrap_or(0) + 1);
        Ok(Heard(self))
    }
}

/// Signals are heard by somebody.
#[derive(Debug)]
struct Heard(&'static Signals);

impl Drop for Heard {
    fn drop(&mut self) {
        let mut hearing = self.0.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        let left = hearing.unwrap_or(0).saturating_sub(1);
        *hearing = Some(left);
        self.0.unheard.store(left == 0, Ordering::SeqCst);
    }
}

/// Somebody hears SIGINT, SIGTERM and SIGHUP and will do what they ask. When the last of these is dropped, they end the process again.
/// Who listens beside sessions of the terminal holds one for as long.
#[derive(Debug)]
pub struct Heed {
    _ends: Heard,
    _stops: Option<Heard>,
}

impl Heed {
    /// Begins to hear; to be had before the listening begins.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn begin() -> io::Result<Self> {
        Ok(Self { _ends: ENDS.begin()?, _stops: None })
    }

    /// As [`Self::begin`], with SIGTSTP where a stop has an end.
    pub(super) fn also_stops() -> io::Result<Self> {
        Ok(Self { _ends: ENDS.begin()?, _stops: has_shell().then(|| STOPS.begin()).transpose()? })
    }
}

/// Whether there is somebody on this terminal who can let a stopped process go on.
pub(super) fn has_shell() -> bool {
    let session = |pid| rustix::process::getsid(pid).ok();
    let parent = rustix::process::getppid().and_then(|parent| session(Some(parent)));
    parent.is_some() && parent == session(None)
}
