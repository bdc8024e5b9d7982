//! The loop of the home screen: looks again every few seconds and when it is asked to.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::TuiError;
use super::pace::{Dirty, Pace};
use crate::home::{Home, HomeAction, HomeData, draw};
use crate::keys::Keymap;
use crate::look::Look;
use crate::terminal::{Heard, Marks, Progress, Screen, Session};

/// How often it looks again.
const EVERY: Duration = Duration::from_secs(2);

/// Looks at everything that is listed. Must be quick: keys wait for it.
pub type Provider = Box<dyn FnMut() -> HomeData + Send>;

/// How the home screen behaves.
#[derive(Debug, Clone, Default)]
pub struct HomeSettings {
    /// Theme and glyphs.
    pub look: Look,
    /// What keys do.
    pub keymap: Keymap,
    /// What is set beside the screen.
    pub marks: Marks,
    /// A sentence for the last row: how what was done last has ended.
    pub message: Option<String>,
}

/// Why the home screen was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HomeLeft {
    /// To do this, never [`HomeAction::Refresh`] or [`HomeAction::Suspend`].
    Action(HomeAction),
    /// The process was asked to end by this signal; SIGHUP also when the terminal is gone.
    Signal(i32),
    /// A thread panicked; its words stand on the terminal.
    Panicked,
}

/// Takes the terminal of the process over and shows the home screen until something is chosen. The terminal is given back then.
///
/// # Errors
/// There is no terminal, or it is lost.
pub fn home_loop(provider: Provider, settings: HomeSettings) -> Result<HomeLeft, TuiError> {
    let mut session = Session::enter(settings.marks)?;
    home_loop_on(provider, settings, &mut session)
}

/// As [`home_loop`], on any screen.
///
/// # Errors
/// The screen is lost.
pub fn home_loop_on(
    provider: Provider,
    settings: HomeSettings,
    screen: &mut impl Screen,
) -> Result<HomeLeft, TuiError> {
    match show(provider, settings, screen) {
        // A terminal that is gone fails before its signal is seen.
        Err(TuiError::Terminal(error)) => match screen.wait(Duration::ZERO) {
            Ok(Some(Heard::Signal(signal))) => Ok(HomeLeft::Signal(signal)),
            _ => Err(error.into()),
        },
        left => left,
    }
}

fn show(mut provider: Provider, settings: HomeSettings, screen: &mut impl Screen) -> Result<HomeLeft, TuiError> {
    let mut home = Home::new(settings.keymap, settings.look);
    if let Some(message) = settings.message {
        home.say(message);
    }
    let (mut data, mut seen) = (provider(), screen.now());
    let mut pace = Pace::new(1);
    loop {
        if pace.draw(screen.now()) {
            let (width, height) = screen.size()?;
            let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
            draw(&home, &data, settings.look, buf.area, &mut buf);
            screen.mark("lab", Progress::None)?;
            screen.draw(&buf)?;
        }
        let next = (seen + EVERY).saturating_sub(screen.now());
        let action = match screen.wait(next)? {
            None => Some(HomeAction::Refresh),
            Some(Heard::Key(key)) => {
                pace.soil(Dirty::Now);
                home.key(key, &data, screen.size()?)
            }
            Some(Heard::Paste(text)) => {
                pace.soil(Dirty::Now);
                home.paste(&text);
                None
            }
            Some(Heard::Stopped) => Some(HomeAction::Suspend),
            Some(Heard::Resized | Heard::Continued) => {
                pace.soil(Dirty::Now);
                None
            }
            Some(Heard::Focus(_) | Heard::Wheel { .. } | Heard::Click { .. }) => None,
            Some(Heard::Signal(signal)) => return Ok(HomeLeft::Signal(signal)),
            Some(Heard::Panicked) => return Ok(HomeLeft::Panicked),
        };
        match action {
            None => {}
            Some(HomeAction::Suspend) => {
                screen.suspend()?;
                pace.soil(Dirty::Now);
            }
            Some(HomeAction::Refresh) => {
                let now = provider();
                seen = screen.now();
                if now != data {
                    data = now;
                    pace.soil(Dirty::Now);
                }
            }
            Some(action) => return Ok(HomeLeft::Action(action)),
        }
    }
}
