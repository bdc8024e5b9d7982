//! Waiting for keys and signals at once.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyEventKind, MouseButton, MouseEventKind};
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::SigId;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};

use super::Heard;
use super::heed::{ENDING, Heed};

/// Ends the wait of the listener that there is.
static WAKE: Mutex<Option<UnixStream>> = Mutex::new(None);

/// Ends its wait.
pub(super) fn wake() {
    if let Some(wake) = &mut *WAKE.lock().unwrap_or_else(PoisonError::into_inner) {
        // One that is full wakes already.
        wake.write_all(&[0]).ok();
    }
}

/// Ears of a session.
#[derive(Debug)]
pub(super) struct Listener {
    /// Number of the signal that asks the process to end; 0: none did.
    signal: Arc<AtomicUsize>,
    /// Somebody asked the process to stop for a while.
    stopped: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
    /// Readable when there was a signal: it ends a wait.
    woken: UnixStream,
    handlers: Vec<SigId>,
    _heed: Heed,
}

impl Listener {
    /// Listens from now on. Other listeners to the same signals hear them too; what they did by themselves they do no longer.
    pub fn new() -> io::Result<Self> {
        let (woken, wakes) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wakes.set_nonblocking(true)?;
        let (signal, stopped, continued) = (Arc::default(), Arc::default(), Arc::default());
        let mut listener = Self { signal, stopped, continued, woken, handlers: Vec::new(), _heed: Heed::also_stops()? };
        // Its own handlers come first, so that it has seen a resize by which we are woken.
        if !listener.poll(Duration::ZERO)? {
            crossterm::event::poll(Duration::ZERO)?;
        }
        for signal in ENDING {
            let number = usize::try_from(signal).unwrap_or_default();
            let flag = signal_hook::flag::register_usize(signal, Arc::clone(&listener.signal), number)?;
            listener.handlers.push(flag);
        }
        listener.handlers.push(signal_hook::flag::register(SIGTSTP, Arc::clone(&listener.stopped))?);
        listener.handlers.push(signal_hook::flag::register(SIGCONT, Arc::clone(&listener.continued))?);
        // Registered after the flags, so that who is woken finds them set.
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH] {
            listener.handlers.push(signal_hook::low_level::pipe::register(signal, wakes.try_clone()?)?);
        }
        *WAKE.lock().unwrap_or_else(PoisonError::into_inner) = Some(wakes);
        Ok(listener)
    }

    /// What comes next, for at most so long.
    pub fn wait(&self, at_most: Duration, broken: &AtomicBool) -> io::Result<Option<Heard>> {
        let began = Instant::now();
        loop {
            // Before the flags are read: what is set after that wakes the wait below.
            while matches!((&self.woken).read(&mut [0; 64]), Ok(1..)) {}
            if broken.load(Ordering::SeqCst) {
                return Ok(Some(Heard::Panicked));
            }
            match self.signal.swap(0, Ordering::SeqCst) {
                0 => {}
                signal => return Ok(Some(Heard::Signal(i32::try_from(signal).unwrap_or(SIGTERM)))),
            }
            if self.stopped.swap(false, Ordering::SeqCst) {
                return Ok(Some(Heard::Stopped));
            }
            if self.continued.swap(false, Ordering::SeqCst) {
                return Ok(Some(Heard::Continued));
            }
            // crossterm would read from a terminal that is gone for ever.
            if self.poll(Duration::ZERO)? {
                return Ok(Some(Heard::Signal(SIGHUP)));
            }
            if crossterm::event::poll(Duration::ZERO)? {
                match heard(crossterm::event::read()?) {
                    Some(heard) => return Ok(Some(heard)),
                    None => continue,
                }
            }
            let left = at_most.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            if self.poll(left)? {
                return Ok(Some(Heard::Signal(SIGHUP)));
            }
        }
    }

    /// Forgets what the terminal told all who used it while it was not ours: that they were interrupted, stopped, continued.
    pub fn forget(&self) {
        self.stopped.store(false, Ordering::SeqCst);
        self.continued.store(false, Ordering::SeqCst);
        let interrupt = usize::try_from(SIGINT).unwrap_or_default();
        // Another signal stays.
        self.signal.compare_exchange(interrupt, 0, Ordering::SeqCst, Ordering::SeqCst).ok();
    }

    /// Waits until there is something to read. True when the terminal is gone.
    fn poll(&self, at_most: Duration) -> io::Result<bool> {
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
        let time = Timespec { tv_sec: at_most.as_secs().min(3_600) as _, tv_nsec: at_most.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&time)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        WAKE.lock().unwrap_or_else(PoisonError::into_inner).take();
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}

fn heard(event: Event) -> Option<Heard> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(Heard::Key(key)),
        Event::Paste(text) => Some(Heard::Paste(text)),
        Event::Resize(..) => Some(Heard::Resized),
        Event::FocusGained => Some(Heard::Focus(true)),
        Event::FocusLost => Some(Heard::Focus(false)),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Heard::Wheel { up: true }),
            MouseEventKind::ScrollDown => Some(Heard::Wheel { up: false }),
            MouseEventKind::Down(MouseButton::Left) => Some(Heard::Click { x: mouse.column, y: mouse.row }),
            _ => None,
        },
        Event::Key(_) => None,
    }
}
