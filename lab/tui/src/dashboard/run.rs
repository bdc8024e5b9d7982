//! The loop: what is heard first, then the world outside, then the run, and a frame when one is due.

use std::time::Duration;

use lab_core::unit::Span;

use super::pace::{Dirty, Pace, SILENCE};
use super::state::State;
use super::{Dashboard, Left, TuiError};
use crate::app::{Action, Leave};
use crate::keys::Context;
use crate::outside::{Said, Steer};
use crate::terminal::{Heard, Marks, Screen};
use crate::view::{Mode, Panel};

/// Events that are read before keys are looked at again.
const AT_ONCE: usize = 500;
/// Things heard that are taken in before anything else is done.
const HEARD_AT_ONCE: usize = 64;

pub(super) fn run<S: Screen>(dashboard: Dashboard, screen: &mut S) -> Result<Left, TuiError> {
    let now = screen.now();
    let pace = Pace::new(dashboard.settings.fps);
    let state = State::new(dashboard, screen.size()?);
    Loop { screen, state, pace, more: true, came: now, played: now, touched: now, reported: false }.run()
}

/// The loop's instants, beside what is shown.
struct Loop<'a, S> {
    screen: &'a mut S,
    state: State,
    pace: Pace,
    /// The last look at the run did not reach its newest event.
    more: bool,
    /// When an event came last.
    came: Duration,
    /// Until when the replay has been played.
    played: Duration,
    /// When a key was pressed last.
    touched: Duration,
    /// The run is over and its report written.
    reported: bool,
}

impl<S: Screen> Loop<'_, S> {
    fn run(&mut self) -> Result<Left, TuiError> {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(left)) => return Ok(left),
                // A terminal that is gone fails before its signal is seen.
                Err(TuiError::Terminal(error)) => match self.screen.wait(Duration::ZERO) {
                    Ok(Some(Heard::Signal(signal))) => return Ok(Left::Signal(signal)),
                    _ => return Err(error.into()),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn turn(&mut self) -> Result<Option<Left>, TuiError> {
        if let Some(left) = self.listen()? {
            return Ok(Some(left));
        }
        let now = self.screen.now();
        let looks = self.pace.look(now, self.goes_on());
        if looks && let Some(left) = self.ask_outside(now) {
            return Ok(Some(left));
        }
        if looks || self.more {
            self.follow(now)?;
        }
        self.play(now);
        if self.pace.draw(now) {
            self.draw()?;
        }
        Ok(self.deserted(now).then_some(Left::Over))
    }

    /// True while frames may change by themselves.
    fn goes_on(&self) -> bool {
        match self.state.player {
            Some(player) => self.more || (self.plays() && player.at < self.state.timeline.end()),
            None => !self.state.timeline.over(),
        }
    }

    fn plays(&self) -> bool {
        self.state.app.view.mode == Mode::Live
    }

    /// Waits until there is something to do, and takes in what is heard meanwhile.
    fn listen(&mut self) -> Result<Option<Left>, TuiError> {
        let now = self.screen.now();
        let idle = if self.more { Duration::ZERO } else { self.pace.idle(now, self.goes_on()) };
        let idle = self.deadline().map_or(idle, |deadline| idle.min(deadline.saturating_sub(now)));
        let mut heard = self.screen.wait(idle)?;
        for more in (0..HEARD_AT_ONCE).rev() {
            let Some(this) = heard.take() else { break };
            if let Some(left) = self.hear(this)? {
                return Ok(Some(left));
            }
            if more > 0 {
                heard = self.screen.wait(Duration::ZERO)?;
            }
        }
        Ok(None)
    }

    fn hear(&mut self, heard: Heard) -> Result<Option<Left>, TuiError> {
        let actions = match heard {
            Heard::Key(key) => {
                let facts = self.state.facts()?;
                self.state.app.key(key, &facts)
            }
            Heard::Paste(text) => self.state.app.paste(&text),
            Heard::Wheel { up } => {
                let facts = self.state.facts()?;
                self.state.app.wheel(up, &facts)
            }
            Heard::Click { x, y } => {
                let facts = self.state.facts()?;
                self.state.app.click(x, y, &facts)
            }
            Heard::Resized => {
                self.state.size = self.screen.size()?;
                vec![Action::Redraw]
            }
            Heard::Stopped => vec![Action::Suspend],
            Heard::Continued => {
                self.played = self.screen.now();
                self.state.size = self.screen.size()?;
                vec![Action::Redraw]
            }
            Heard::Focus(focused) => {
                self.pace.focused = focused;
                Vec::new()
            }
            Heard::Signal(signal) => return Ok(Some(Left::Signal(signal))),
            Heard::Panicked => return Ok(Some(Left::Panicked)),
        };
        self.touched = self.screen.now();
        for action in actions {
            if let Some(left) = self.act(action)? {
                return Ok(Some(left));
            }
        }
        Ok(None)
    }

    fn act(&mut self, action: Action) -> Result<Option<Left>, TuiError> {
        match action {
            Action::Redraw => {}
            Action::Leave(Leave::Quit) => return Ok(Some(Left::Quit)),
            Action::Leave(Leave::GoOn) => return Ok(Some(Left::GoOn)),
            Action::Leave(Leave::Stop) => {
                self.state.outside.steer(Steer::Stop);
                return Ok(Some(Left::Stop));
            }
            Action::Steer(steer) => self.state.outside.steer(steer),
            Action::Still => {
                let still = self.state.still()?;
                self.state.outside.keep(still);
            }
            Action::Suspend => {
                self.screen.suspend()?;
                self.back()?;
            }
            Action::Report => match self.state.outside.no_report() {
                Some(why) => self.state.app.say(why),
                None => self.show_report()?,
            },
            Action::Seek(at) => {
                if let Some(player) = &mut self.state.player {
                    player.at = at.min(self.state.timeline.end());
                }
            }
            Action::Speed(speed) => {
                if let Some(player) = &mut self.state.player {
                    player.speed = speed;
                }
            }
        }
        self.pace.soil(Dirty::Now);
        Ok(None)
    }

    fn show_report(&mut self) -> Result<(), TuiError> {
        let (outside, mut said) = (&mut self.state.outside, Ok(()));
        self.screen.lend(&mut || said = outside.report())?;
        if let Err(why) = said {
            self.state.app.say(why);
        }
        self.back()
    }

    /// The terminal was somebody else's for a while, in which nothing was played.
    fn back(&mut self) -> Result<(), TuiError> {
        self.played = self.screen.now();
        self.touched = self.played;
        self.state.size = self.screen.size()?;
        Ok(())
    }

    fn ask_outside(&mut self, now: Duration) -> Option<Left> {
        for said in self.state.outside.poll() {
            match said {
                Said::Message(text) => self.state.app.say(text),
                Said::Over(text) => {
                    self.state.app.say(text);
                    (self.reported, self.touched) = (true, now);
                }
                Said::Leave => return Some(Left::Asked),
            }
            self.pace.soil(Dirty::Now);
        }
        let State { app, outside, logs, .. } = &mut self.state;
        if app.view.panel == Panel::Logs && outside.logs(logs) && app.view.mode == Mode::Live {
            self.pace.soil(Dirty::Soon);
        }
        None
    }

    /// Reads what is new of the run, and tells silence when nothing is.
    fn follow(&mut self, now: Duration) -> Result<(), TuiError> {
        let State { timeline, player, silent, app, .. } = &mut self.state;
        if timeline.over() || (player.is_some() && !self.more) {
            (self.more, *silent) = (false, Span::ZERO);
            return Ok(());
        }
        let before = timeline.events();
        let new = timeline.read(AT_ONCE)?;
        self.more = timeline.events() - before >= AT_ONCE as u64;
        if new {
            self.came = now;
        }
        let quiet = now.saturating_sub(self.came);
        let told = player.is_none() && !timeline.over() && quiet >= SILENCE;
        let told = Span::from_secs(if told { quiet.as_secs() } else { 0 });
        let was = std::mem::replace(silent, told);
        let seen = new || told != was;
        if seen && !matches!(app.view.mode, Mode::Paused(_)) {
            self.pace.soil(Dirty::Soon);
        }
        Ok(())
    }

    fn play(&mut self, now: Duration) {
        let passed = now.saturating_sub(std::mem::replace(&mut self.played, now));
        let (plays, end) = (self.plays(), self.state.timeline.end());
        if let Some(player) = &mut self.state.player
            && plays
            && player.play(passed, end)
        {
            self.pace.soil(Dirty::Soon);
        }
    }

    fn draw(&mut self) -> Result<(), TuiError> {
        if self.state.settings.marks != Marks::default() {
            let (title, progress) = self.state.beside()?;
            self.screen.mark(&title, progress)?;
        }
        let frame = self.state.frame()?;
        Ok(self.screen.draw(&frame)?)
    }

    /// When it leaves by itself: not while somebody looks closely.
    fn deadline(&self) -> Option<Duration> {
        let State { app, settings, .. } = &self.state;
        let idle = app.view.mode == Mode::Live && app.context() == Context::Run;
        settings.leave_after.filter(|_| self.reported && idle).map(|after| self.touched + after)
    }

    fn deserted(&self, now: Duration) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}
