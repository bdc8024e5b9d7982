//! The terminal of the process, taken over from the shell and given back on every way out.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture,
};
use crossterm::queue;
use crossterm::style::{ResetColor, force_color_output};
use crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use lab_core::words::visible;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;

use super::frames::Frames;
use super::heed::has_shell;
use super::listen::{Listener, wake};
use super::{Heard, Marks, Progress, Screen, show};

/// The terminal is taken over. What puts it back asks this first, so that it happens once.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// What was asked beyond the screen: title, progress, mouse.
static MARKED: [AtomicBool; 3] = [AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false)];
/// A thread panicked while there was a session.
static BROKEN: AtomicBool = AtomicBool::new(false);
/// There is a session.
static SESSION: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Standard output while the terminal is taken over. What comes after that is dropped: it would stand in the middle of the shell's.
#[derive(Debug)]
struct Taken;

impl Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        if TAKEN.load(Ordering::SeqCst) {
            out.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if TAKEN.load(Ordering::SeqCst) { out.flush() } else { Ok(()) }
    }
}

/// The terminal of the process, taken over. Dropped, it is given back as it was.
#[derive(Debug)]
pub struct Session {
    terminal: Terminal<CrosstermBackend<Frames<Taken>>>,
    frames: Frames<Taken>,
    listener: Listener,
    marks: Marks,
    title: String,
    progress: Progress,
    began: Instant,
}

impl Session {
    /// Takes the terminal over: raw mode, alternate screen, no cursor, pasted text as such, focus told; the mouse stays the terminal's,
    /// so that text can be selected, unless it is asked for. From now on a panic in any thread gives it back before it is told.
    ///
    /// # Errors
    /// Standard input or output is not a terminal, there is a session already, or the terminal refuses.
    pub fn enter(marks: Marks) -> io::Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "input or output is not a terminal; use --plain"));
        }
        if SESSION.swap(true, Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the terminal is taken over already"));
        }
        BROKEN.store(false, Ordering::SeqCst);
        HOOK.call_once(give_back_on_panic);
        Self::begin(marks).inspect_err(|_| end())
    }

    fn begin(marks: Marks) -> io::Result<Self> {
        let listener = Listener::new()?;
        // The look knows of NO_COLOR, and that a theme which was asked for is stronger; crossterm would obey the one alone.
        force_color_output(true);
        take(marks)?;
        let frames = Frames::new(Taken);
        let terminal = Terminal::new(CrosstermBackend::new(frames.clone()))?;
        let (title, progress) = (String::new(), Progress::None);
        Ok(Self { terminal, frames, listener, marks, title, progress, began: Instant::now() })
    }

    /// Takes the terminal over again and draws everything anew. Not after a panic: its words stand there.
    fn again(&mut self) -> io::Result<()> {
        if BROKEN.load(Ordering::SeqCst) {
            return Ok(());
        }
        take(self.marks)?;
        (self.title, self.progress) = (String::new(), Progress::None);
        let size = self.terminal.size()?;
        let frame = self.frames.begin();
        // Not `clear`, which asks the terminal where the cursor is: not every terminal answers.
        self.terminal.resize(size.into())?;
        frame.end()
    }
}

impl Screen for Session {
    fn size(&mut self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    fn draw(&mut self, frame: &Buffer) -> io::Result<()> {
        let synchronized = self.frames.begin();
        show(&mut self.terminal, frame)?;
        synchronized.end()
    }

    fn mark(&mut self, title: &str, progress: Progress) -> io::Result<()> {
        let mut out = self.frames.clone();
        if self.marks.title && self.title != title {
            title.clone_into(&mut self.title);
            write!(out, "\x1b]2;{}\x07", visible(title))?;
        }
        if self.marks.progress && self.progress != progress {
            self.progress = progress;
            write!(out, "{}", osc(progress))?;
        }
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> io::Result<Option<Heard>> {
        let heard = self.listener.wait(at_most, &BROKEN)?;
        if heard == Some(Heard::Continued) {
            // The shell has set the terminal as it likes it: what was taken over before counts no more.
            give_back();
            self.again()?;
        }
        Ok(heard)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn suspend(&mut self) -> io::Result<()> {
        if !has_shell() {
            return Ok(());
        }
        give_back();
        // In this thread, so that it stops here and not some lines later. Not raised: it would be heard here.
        signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
        self.listener.forget();
        self.again()
    }

    fn lend(&mut self, to: &mut dyn FnMut()) -> io::Result<()> {
        give_back();
        to();
        self.listener.forget();
        self.again()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        end();
    }
}

fn end() {
    give_back();
    SESSION.store(false, Ordering::SeqCst);
}

fn give_back_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if SESSION.load(Ordering::SeqCst) {
            BROKEN.store(true, Ordering::SeqCst);
            give_back();
            wake();
        }
        before(panic);
    }));
}

fn take(marks: Marks) -> io::Result<()> {
    let mut out = io::stdout().lock();
    TAKEN.store(true, Ordering::SeqCst);
    MARKED[0].store(marks.title, Ordering::SeqCst);
    MARKED[1].store(marks.progress, Ordering::SeqCst);
    MARKED[2].store(marks.mouse, Ordering::SeqCst);
    enable_raw_mode()?;
    out.write_all(&entering(marks))?;
    out.flush()
}

/// Puts the terminal back, if that is not done yet. Whatever of it fails, the rest is tried.
fn give_back() {
    // Waits for the end of a frame that is being written.
    let mut out = io::stdout().lock();
    if TAKEN.swap(false, Ordering::SeqCst) {
        let [title, progress, mouse] = [0, 1, 2].map(|i: usize| MARKED[i].load(Ordering::SeqCst));
        let marks = Marks { title, progress, mouse };
        // The terminal may be gone, and then nobody is left to be told.
        out.write_all(&leaving(marks)).and_then(|()| out.flush()).ok();
        disable_raw_mode().ok();
    }
}

/// What takes a terminal over.
fn entering(marks: Marks) -> Vec<u8> {
    let mut out = Vec::new();
    if marks.title {
        // Puts the title on the terminal's stack.
        out.extend_from_slice(b"\x1b[22;2t");
    }
    // Queueing into memory cannot fail.
    let _infallible = queue!(out, EnterAlternateScreen, Hide, EnableBracketedPaste, EnableFocusChange);
    if marks.mouse {
        let _infallible = queue!(out, EnableMouseCapture);
    }
    out
}

/// What gives it back.
fn leaving(marks: Marks) -> Vec<u8> {
    let mut out = Vec::new();
    // Queueing into memory cannot fail.
    if marks.mouse {
        let _infallible = queue!(out, DisableMouseCapture);
    }
    let _infallible = queue!(
        out,
        EndSynchronizedUpdate,
        ResetColor,
        DisableFocusChange,
        DisableBracketedPaste,
        Show,
        LeaveAlternateScreen
    );
    if marks.progress {
        out.extend_from_slice(osc(Progress::None).as_bytes());
    }
    if marks.title {
        out.extend_from_slice(b"\x1b[23;2t");
    }
    out
}

/// OSC 9;4, which many terminals show on the tab or in the task bar.
fn osc(progress: Progress) -> String {
    let (state, percent) = match progress {
        Progress::None => (0, 0),
        Progress::Percent(percent) => (1, percent.min(100)),
        Progress::Failing(percent) => (2, percent.min(100)),
        Progress::Unknown => (3, 0),
    };
    format!("\x1b]9;4;{state};{percent}\x1b\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_unset() {
        let plain = Marks::default();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("escape codes are text");
        let (enter, leave) = (text(entering(plain)), text(leaving(plain)));
        for mode in ["?1049", "?2004", "?1004"] {
            assert!(enter.contains(&format!("\u{1b}[{mode}h")) && leave.contains(&format!("\u{1b}[{mode}l")), "{mode}");
        }
        assert!(enter.contains("\u{1b}[?25l") && leave.contains("\u{1b}[?25h"));
        assert!(!enter.contains("?1000h") && !enter.contains("?1003h"), "the mouse is the terminal's");
        assert!(
            !leave.contains(']') || !leave.contains("9;4"),
            "a terminal that was not asked gets no marks: {leave:?}"
        );
        let marks = Marks { title: true, progress: true, mouse: true };
        assert!(text(entering(marks)).contains("?1000h") && text(leaving(marks)).contains("?1000l"));
        assert!(text(entering(marks)).contains("[22;2t") && text(leaving(marks)).contains("[23;2t"));
        assert!(text(leaving(marks)).contains("]9;4;0;0"));
        assert_eq!(osc(Progress::Failing(130)), "\u{1b}]9;4;2;100\u{1b}\\");
    }
}
