//! The live screen beside something that goes on: a run that is conducted here, a lab that is held here. It has a thread of its own;
//! when it is left early, or fails, what goes on is told in sentences.

use std::env;
use std::future::Future;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use lab_run::{Interrupt, RunDir};
use lab_tui::app::Source;
use lab_tui::dashboard::{Dashboard, Left, Settings as Dash, TuiError};
use lab_tui::keys::Keymap;
use lab_tui::outside::{Outside, Said};
use lab_tui::terminal::Marks;
use lab_tui::timeline::{History, Timeline};
use signal_hook::consts::SIGHUP;
use tokio::sync::oneshot;

use crate::args::LookArgs;
use crate::config::Config;
use crate::console::Console;
use crate::error::LabError;
use crate::follow::JournalHistory;
use crate::out;

/// How long a screen whose run is over waits for a key.
const LEAVE_AFTER: Duration = Duration::from_secs(20);

/// A screen whose thread is gone.
const FAILED: &str = "the screen failed; its last words stand above";

/// Whether there is a terminal for a live screen, and nobody asked for sentences.
pub fn wanted(plain: bool) -> bool {
    let term = env::var("TERM").unwrap_or_default();
    !plain && !term.is_empty() && term != "dumb" && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// How the user wants the dashboard.
///
/// # Errors
/// A file or a variable of the environment says something that cannot be.
pub fn settings(look: &LookArgs, source: Source) -> Result<Dash, LabError> {
    let config = Config::read()?;
    let keymap = Keymap::with(&config.dashboard.keys).map_err(|e| {
        LabError::refused("cannot use [dashboard.keys] of lab.toml", e)
            .hint("the commands and their keys: ? in the dashboard")
    })?;
    Ok(Dash {
        look: config.look(look.theme, look.ascii)?,
        fps: config.dashboard.fps.unwrap_or(4),
        keymap,
        source,
        marks: Marks {
            title: true,
            progress: env::var_os("TMUX").is_none(),
            mouse: config.dashboard.mouse.unwrap_or(false),
        },
        ..Dash::default()
    })
}

/// Whether sentences are told: shared with the sink that tells them.
#[derive(Debug, Clone)]
pub struct Telling(Arc<AtomicBool>);

impl Telling {
    /// Told, or not until [`Self::begin`].
    pub fn new(told: bool) -> Self {
        Self(Arc::new(AtomicBool::new(told)))
    }

    /// From now on.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Now.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A screen that is shown.
pub struct LiveScreen {
    voice: SyncSender<Said>,
    left: oneshot::Receiver<Result<Left, TuiError>>,
}

impl LiveScreen {
    /// Shows a run that is conducted by this process. `lab` is where its conductor listens.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn over_run(dir: &RunDir, lab: PathBuf, settings: Dash) -> Result<Self, LabError> {
        let settings = Dash { leave_after: Some(LEAVE_AFTER), ..settings };
        let console = Console::new(Some(dir.clone()), Some(lab));
        let voice = console.voice();
        Self::open(Box::new(JournalHistory::new(dir.journal())), Box::new(console), voice, settings)
    }

    /// Shows a history.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn open(
        history: Box<dyn History>,
        outside: Box<dyn Outside>,
        voice: SyncSender<Said>,
        settings: Dash,
    ) -> Result<Self, LabError> {
        let (tell, left) = oneshot::channel();
        let show = move || {
            let dashboard = Dashboard { timeline: Timeline::new(history), outside, settings };
            if tell.send(dashboard.run()).is_err() {
                tracing::debug!("nobody waits for the screen any more");
            }
        };
        let thread = std::thread::Builder::new().name("dashboard".to_owned()).spawn(show);
        thread.map_err(|e| LabError::failed("cannot start the screen", e))?;
        Ok(Self { voice, left })
    }

    /// Says something in its last row.
    pub fn say(&self, said: Said) {
        if self.voice.try_send(said).is_err() {
            tracing::debug!("the screen is gone or has enough to say");
        }
    }

    /// Where others say something.
    pub fn voice(&self) -> SyncSender<Said> {
        self.voice.clone()
    }

    /// How it was left; None while it is shown.
    pub fn has_left(&mut self) -> Option<Result<Left, String>> {
        match self.left.try_recv() {
            Ok(left) => Some(left.map_err(|e| chain(&e))),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(FAILED.to_owned())),
        }
    }

    /// Says the last words and waits until it is left. Not for async code.
    pub fn over(self, words: String) {
        self.say(Said::Over(words));
        if let Ok(Err(error)) = self.left.blocking_recv() {
            out::talk(&format!("the screen is gone: {}", chain(&error)));
        }
    }

    /// Waits until it is left.
    async fn left(&mut self) -> Result<Left, String> {
        match (&mut self.left).await {
            Ok(Ok(left)) => Ok(left),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(FAILED.to_owned()),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

/// Waits for work while the screen is shown. When it is left before the work is done, sentences begin: with those of `goes_on` unless
/// it is to stop. Gives the screen back when it is still shown.
pub async fn beside<T>(
    screen: Option<LiveScreen>,
    (telling, interrupt): (&Telling, &Interrupt),
    what: &str,
    goes_on: impl FnOnce(),
    work: impl Future<Output = T>,
) -> (T, Option<LiveScreen>) {
    let Some(mut screen) = screen else { return (work.await, None) };
    tokio::pin!(work);
    let left = tokio::select! {
        done = &mut work => return (done, Some(screen)),
        left = screen.left() => left,
    };
    telling.begin();
    match left {
        Ok(Left::Stop | Left::Signal(_)) => {
            // Any other signal has raised it, and would count twice.
            if let Ok(Left::Stop | Left::Signal(SIGHUP)) = left {
                interrupt.raise_once();
            }
            out::talk(&format!("{what} is being stopped; once more tears it down at once"));
        }
        Ok(_) => {
            goes_on();
            out::talk(&format!("{what} goes on; Ctrl-C ends it"));
        }
        Err(why) => {
            goes_on();
            out::talk(&format!("the screen is gone ({why}); {what} goes on in sentences; Ctrl-C ends it"));
        }
    }
    (work.await, None)
}

/// Says the last words on a screen that is still shown, and waits until it is left.
pub async fn over(screen: Option<LiveScreen>, words: String) {
    let Some(mut screen) = screen else { return };
    screen.say(Said::Over(words));
    if let Err(why) = screen.left().await {
        out::talk(&format!("the screen is gone: {why}"));
    }
}
