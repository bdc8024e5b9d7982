//! Waiting for keys and signals at once.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyEventKind, MouseButton, MouseEventKind};
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::SigId;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use super::Heard;

/// Ears of a session.
#[derive(Debug)]
pub(super) struct Listener {
    /// Number of the signal that asks the process to end; 0: none did.
    signal: Arc<AtomicUsize>,
    continued: Arc<AtomicBool>,
    /// Readable when there was a signal: it ends a wait.
    woken: UnixStream,
    handlers: Vec<SigId>,
}

impl Listener {
    /// Listens from now on. Other listeners to the same signals hear them too; what they did by themselves they do no longer.
    pub fn new() -> io::Result<Self> {
        let (woken, wakes) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let mut listener = Self { signal: Arc::default(), continued: Arc::default(), woken, handlers: Vec::new() };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or_default();
            let flag = signal_hook::flag::register_usize(signal, Arc::clone(&listener.signal), number)?;
            listener.handlers.push(flag);
        }
        listener.handlers.push(signal_hook::flag::register(SIGCONT, Arc::clone(&listener.continued))?);
        // Registered after the flags, so that who is woken finds them set.
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGCONT, SIGWINCH] {
            listener.handlers.push(signal_hook::low_level::pipe::register(signal, wakes.try_clone()?)?);
        }
        Ok(listener)
    }

    /// What comes next, for at most so long.
    pub fn wait(&self, at_most: Duration, broken: &AtomicBool) -> io::Result<Option<Heard>> {
        let began = Instant::now();
        loop {
            if broken.load(Ordering::SeqCst) {
                return Ok(Some(Heard::Panicked));
            }
            match self.signal.swap(0, Ordering::SeqCst) {
                0 => {}
                signal => return Ok(Some(Heard::Signal(i32::try_from(signal).unwrap_or(SIGTERM)))),
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
        let gone = fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        // What is in there says nothing that the flags do not say.
        while matches!((&self.woken).read(&mut [0; 64]), Ok(1..)) {}
        Ok(gone)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
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
            MouseEventKind::Down(MouseButton::Left) => Some(Heard::Click { x: mouse.column }),
            _ => None,
        },
        Event::Key(_) => None,
    }
}
