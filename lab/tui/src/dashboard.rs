//! The dashboard as a whole: keys in, events in, frames out. It runs on a thread of its own, waits for most of its time, and draws
//! only what has changed.

mod home;
mod pace;
mod player;
mod run;
mod state;
mod title;

use std::io;
use std::time::Duration;

use lab_core::unit::RunTime;

use crate::app::Source;
use crate::keys::Keymap;
use crate::look::Look;
use crate::outside::Outside;
use crate::terminal::{Marks, Screen, Session};
use crate::timeline::{HistoryError, Timeline};

pub use home::{HomeLeft, HomeSettings, Provider, home_loop, home_loop_on};

/// How it behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Theme and glyphs.
    pub look: Look,
    /// Most frames a second for what comes by itself, and how often a second the run is looked at; what the user does shows at once.
    pub fps: u16,
    /// What keys do.
    pub keymap: Keymap,
    /// Whose run it is.
    pub source: Source,
    /// When the run is over and reported, it leaves after so long without a key. None: never.
    pub leave_after: Option<Duration>,
    /// The run is replayed instead of followed.
    pub replay: Option<Replay>,
    /// What is set beside the screen.
    pub marks: Marks,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            look: Look::default(),
            fps: 4,
            keymap: Keymap::default(),
            source: Source::Recorded,
            leave_after: None,
            replay: None,
            marks: Marks::default(),
        }
    }
}

/// How a run is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// The instant it begins with.
    pub from: RunTime,
    /// Seconds of the run a second.
    pub speed: f64,
}

/// Why it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The user is done; nothing goes on.
    Quit,
    /// The user is done; what is conducted goes on.
    GoOn,
    /// The user wants an end of what is conducted. It was steered so already.
    Stop,
    /// The run is over and nobody touched a key.
    Over,
    /// The world outside wants the terminal back.
    Asked,
    /// The process was asked to end by this signal; SIGHUP also when the terminal is gone.
    Signal(i32),
    /// A thread panicked; its words stand on the terminal.
    Panicked,
}

/// Why it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// The run cannot be read.
    #[error("the dashboard lost the run")]
    History(#[from] HistoryError),
    /// The terminal cannot be used.
    #[error("the dashboard lost the terminal")]
    Terminal(#[from] io::Error),
}

/// A dashboard over a run.
pub struct Dashboard {
    /// The run.
    pub timeline: Timeline,
    /// The world outside.
    pub outside: Box<dyn Outside>,
    /// How it behaves.
    pub settings: Settings,
}

impl Dashboard {
    /// Takes the terminal of the process over and shows the run until it is left. Blocks; give it a thread of its own.
    ///
    /// # Errors
    /// There is no terminal, or the run or the terminal is lost. The terminal is given back in any case.
    pub fn run(self) -> Result<Left, TuiError> {
        let mut session = Session::enter(self.settings.marks)?;
        self.run_on(&mut session)
    }

    /// As [`Self::run`], on any screen.
    ///
    /// # Errors
    /// The run or the screen is lost.
    pub fn run_on(self, screen: &mut impl Screen) -> Result<Left, TuiError> {
        run::run(self, screen)
    }
}

#[cfg(test)]
mod tests;
