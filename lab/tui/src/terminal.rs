//! The terminal: taken over, drawn on frame by frame, listened to, and given back whatever happens. What stands in a frame is none of
//! its business.

mod frames;
mod heed;
mod listen;
mod session;

use std::io;
use std::time::Duration;

use crossterm::event::KeyEvent;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::buffer::Buffer;

pub use frames::{Frames, Synchronized};
pub use heed::Heed;
pub use session::Session;

/// Something that came from the terminal or from the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A key was pressed, or repeated itself.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The wheel was turned by a step, up or down.
    Wheel {
        /// Towards the top.
        up: bool,
    },
    /// A cell was clicked.
    Click {
        /// Its column.
        x: u16,
        /// Its row.
        y: u16,
    },
    /// The terminal has another size.
    Resized,
    /// The terminal's window came to the front, or went from it.
    Focus(bool),
    /// The process is asked to stop for a while, as by the key for it.
    Stopped,
    /// The process was stopped and goes on: whatever was on the screen is gone.
    Continued,
    /// The process was asked to end by this signal, or the terminal is gone, which is SIGHUP.
    Signal(i32),
    /// A thread panicked. The terminal was given back so that its words can be read.
    Panicked,
}

/// How far a run is, for the terminal's own display of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// Nothing to show.
    #[default]
    None,
    /// So many percent.
    Percent(u8),
    /// So many percent, and something is wrong.
    Failing(u8),
    /// Under way, nobody knows how far.
    Unknown,
}

/// What is asked of the terminal beyond the screen. It is for terminals that know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// The window's title.
    pub title: bool,
    /// Progress on the tab or in the task bar: OSC 9;4.
    pub progress: bool,
    /// Wheel and clicks come here; the terminal selects no text then, unless its own key is held.
    pub mouse: bool,
}

/// A terminal as the loop uses it, so that tests can hold one whose keys are a script and whose clock stands still.
pub trait Screen {
    /// Columns and rows.
    ///
    /// # Errors
    /// The terminal is gone.
    fn size(&mut self) -> io::Result<(u16, u16)>;

    /// Shows a frame.
    ///
    /// # Errors
    /// The terminal is gone.
    fn draw(&mut self, frame: &Buffer) -> io::Result<()>;

    /// Sets what stands beside the screen, with the next frame.
    ///
    /// # Errors
    /// The terminal is gone.
    fn mark(&mut self, title: &str, progress: Progress) -> io::Result<()>;

    /// What is heard next, for at most so long.
    ///
    /// # Errors
    /// The terminal cannot be read.
    fn wait(&mut self, at_most: Duration) -> io::Result<Option<Heard>>;

    /// Time since some instant that stays the same.
    fn now(&self) -> Duration;

    /// Gives the terminal back to the shell until it says to go on.
    ///
    /// # Errors
    /// The terminal cannot be taken over again.
    fn suspend(&mut self) -> io::Result<()>;

    /// Lends the terminal to something else that draws on it.
    ///
    /// # Errors
    /// The terminal cannot be taken over again.
    fn lend(&mut self, to: &mut dyn FnMut()) -> io::Result<()>;
}

/// Puts a frame on a terminal. One that has another size than the terminal by now is shown as far as it goes: a resize follows.
///
/// # Errors
/// Those of the backend.
pub fn show<B: Backend>(terminal: &mut Terminal<B>, frame: &Buffer) -> Result<(), B::Error> {
    terminal.draw(|on| {
        let to = on.buffer_mut();
        if to.area == frame.area {
            to.content.clone_from_slice(&frame.content);
        } else {
            let common = to.area.intersection(frame.area);
            for position in common.positions() {
                if let (Some(to), Some(from)) = (to.cell_mut(position), frame.cell(position)) {
                    to.clone_from(from);
                }
            }
        }
    })?;
    Ok(())
}
