//! What keys do on the screen of a run: a state machine without a terminal. A key and the facts of the moment go in, actions come out;
//! what is looked at is kept here as a [`View`].

mod ask;
mod facts;
mod hints;
mod look_around;
mod steer;

use crossterm::event::KeyEvent;
use lab_core::unit::RunTime;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

pub use ask::{Ask, Line, Prompt, Subject};
pub use facts::{Circumstances, Facts, Source, Window};
pub(crate) use hints::answers;

use crate::canvas;
use crate::keys::{Command, Context, Keymap};
use crate::look::Look;
use crate::outside::Steer;
use crate::pane::{Hint, dialog, help};
use crate::view::View;

/// How the dashboard is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Nothing goes on that the user must know of: a replay, or a run that is over.
    Quit,
    /// What is conducted goes on without the dashboard.
    GoOn,
    /// Stop it: drain, report, end; take the lab down.
    Stop,
}

/// What the loop is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Draw a frame: something that is seen has changed.
    Redraw,
    /// Leave the dashboard.
    Leave(Leave),
    /// Do this to the run.
    Steer(Steer),
    /// Keep the frame that is shown.
    Still,
    /// Hand the terminal to the shell until it says to go on.
    Suspend,
    /// Hand the terminal to the report.
    Report,
    /// A replay goes on from this instant, or from its end when that is earlier.
    Seek(RunTime),
    /// A replay plays at this speed from now on.
    Speed(f64),
}

/// What stands over the screen and takes the keys.
#[derive(Debug, Clone, PartialEq)]
enum Over {
    /// A line that is typed.
    Prompt(Prompt),
    /// A question.
    Ask(Ask),
    /// How to leave.
    Leave,
    /// The help, with its first row that is shown.
    Help(u16),
}

/// The screen of a run, as far as keys change it.
#[derive(Debug, Clone)]
pub struct App {
    /// What is looked at.
    pub view: View,
    keymap: Keymap,
    look: Look,
    message: Option<String>,
    over: Option<Over>,
    /// The rate that was asked for last, and the newest instant then: the run may not have said yet that it offers it.
    asked: Option<(f64, RunTime)>,
}

impl App {
    /// A screen that follows the newest instant.
    pub fn new(keymap: Keymap, look: Look) -> Self {
        Self { view: View::default(), keymap, look, message: None, over: None, asked: None }
    }

    /// The sentence for the last row, until the next key.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Sets the sentence for the last row.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some(text.into());
    }

    /// Where a key that comes now is pressed.
    pub fn context(&self) -> Context {
        match self.over {
            None => Context::Run,
            Some(Over::Prompt(_)) => Context::Prompt,
            Some(Over::Ask(_)) => Context::Confirm,
            Some(Over::Leave) => Context::Leave,
            Some(Over::Help(_)) => Context::Help,
        }
    }

    /// The instant that is shown.
    pub fn at(&self, facts: &Facts) -> RunTime {
        look_around::at(&self.view, facts)
    }

    /// Keys that work now, for the last row, the most useful first.
    pub fn hints(&self, facts: &Facts) -> Vec<Hint> {
        hints::hints(&self.keymap, self.context(), &self.view, facts, self.look.ascii)
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent, facts: &Facts) -> Vec<Action> {
        let context = self.context();
        let command = self.keymap.command(context, key);
        let typed = crate::keys::Chord::of(key).and_then(crate::keys::Chord::typed);
        if let (None, Some(c), Context::Prompt) = (command, typed, context) {
            return self.paste(c.encode_utf8(&mut [0; 4]));
        }
        match command {
            Some(command) => self.command(command, facts),
            None => self.message.take().map(|_| Action::Redraw).into_iter().collect(),
        }
    }

    /// Takes pasted text: into the line that is typed, else nowhere. Line breaks and control characters are left out.
    pub fn paste(&mut self, text: &str) -> Vec<Action> {
        let Some(Over::Prompt(prompt)) = &mut self.over else { return Vec::new() };
        prompt.line.insert(text);
        if let Subject::Filter { .. } = prompt.subject {
            self.view.filter = prompt.line.text().to_owned();
            self.view.scroll = 0;
            self.view.selected = 0;
        }
        vec![Action::Redraw]
    }

    /// Takes a step of the wheel: as the keys for a row up or down, where they mean that.
    pub fn wheel(&mut self, up: bool, facts: &Facts) -> Vec<Action> {
        match self.context() {
            Context::Run | Context::Help => self.command(if up { Command::Up } else { Command::Down }, facts),
            _ => Vec::new(),
        }
    }

    /// Takes a click on a cell of the screen: inside the plots it puts the cursor on the end of that column.
    pub fn click(&mut self, x: u16, y: u16, facts: &Facts) -> Vec<Action> {
        let (place, axis) = facts.plot;
        if self.context() != Context::Run || !place.contains(Position { x, y }) {
            return Vec::new();
        }
        let next = axis.start_of(x - place.x).plus(facts.column);
        // The instant where the next column begins stands in that one.
        self.scrub(RunTime(next.0.saturating_sub(1)), facts);
        vec![Action::Redraw]
    }

    /// Does what a command says where the keys go now.
    pub fn command(&mut self, command: Command, facts: &Facts) -> Vec<Action> {
        self.message = None;
        let mut actions = match self.over.take() {
            Some(Over::Prompt(prompt)) => self.in_prompt(prompt, command, facts),
            Some(Over::Ask(ask)) => self.in_ask(ask, command, facts),
            Some(Over::Leave) => self.in_leave(command, facts),
            Some(Over::Help(scroll)) => self.in_help(scroll, command, facts),
            None => self.on_screen(command, facts),
        };
        let leaves = actions.iter().any(|action| matches!(action, Action::Leave(_)));
        if !leaves && !actions.contains(&Action::Redraw) {
            actions.push(Action::Redraw);
        }
        actions
    }

    /// Draws what stands over the screen, if anything does.
    pub fn draw_over(&self, facts: &Facts, area: Rect, buf: &mut Buffer) {
        let hints = self.hints(facts);
        match &self.over {
            None => {}
            Some(Over::Help(scroll)) => help::draw(&self.keymap, *scroll, self.look, area, buf),
            Some(Over::Prompt(prompt)) if matches!(prompt.subject, Subject::Filter { .. }) => {
                dialog::last_row(prompt.title(), prompt.line.text(), &hints, self.look, area, buf);
            }
            Some(Over::Prompt(prompt)) => {
                let body = [prompt.line.text().to_owned()];
                dialog::draw(&dialog::Dialog::line(prompt.title(), &body, &hints), self.look, area, buf);
            }
            Some(Over::Ask(ask)) => {
                let body = ask.body(&self.keymap, self.look.ascii);
                dialog::draw(&dialog::Dialog::question(&ask.title(), &body, &hints), self.look, area, buf);
            }
            Some(Over::Leave) => {
                let body = facts.source.on_leaving(facts.replicas.len());
                dialog::draw(&dialog::Dialog::question("leave?", &body, &hints), self.look, area, buf);
            }
        }
        if self.look.ascii {
            canvas::to_ascii(buf);
        }
    }

    fn on_screen(&mut self, command: Command, facts: &Facts) -> Vec<Action> {
        let needs = command.row().map(|row| row.needs);
        if let Some(missing) = needs.and_then(|needs| facts.missing(needs)) {
            self.say(missing);
            return Vec::new();
        }
        match command {
            Command::OpenHelp => self.over = Some(Over::Help(0)),
            // A process that stops would stop what it conducts with it.
            Command::Suspend if !facts.nothing_goes_on() && facts.source.of_this_process().is_some() => {
                let what = facts.source.of_this_process().unwrap_or_default();
                let quit = self.keymap.first(Command::Quit, self.look.ascii).unwrap_or_default();
                self.say(format!("suspending would stop {what} as well; leave with {quit} and it goes on"));
            }
            Command::Suspend => return vec![Action::Suspend],
            Command::Report => return vec![Action::Report],
            Command::Still => return vec![Action::Still],
            Command::Quit if facts.nothing_goes_on() => return vec![Action::Leave(Leave::Quit)],
            Command::Quit => self.over = Some(Over::Leave),
            Command::Filter => self.over = Some(Over::Prompt(Prompt::filter(&self.view.filter))),
            _ => return self.steering(command, facts).unwrap_or_else(|| self.looking(command, facts)),
        }
        Vec::new()
    }

    fn in_leave(&mut self, command: Command, facts: &Facts) -> Vec<Action> {
        match command {
            Command::LeaveNow if facts.nothing_goes_on() => vec![Action::Leave(Leave::Quit)],
            Command::LeaveNow => vec![Action::Leave(Leave::GoOn)],
            Command::LeaveAndStop if facts.missing(crate::keys::Needs::Steerable).is_none() => {
                vec![Action::Leave(Leave::Stop)]
            }
            Command::LeaveAndStop => {
                self.say(facts.missing(crate::keys::Needs::Steerable).unwrap_or_default());
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn in_help(&mut self, scroll: u16, command: Command, facts: &Facts) -> Vec<Action> {
        let most = help::most_scroll(&self.keymap, self.look, facts.size);
        self.over = command.rows().map(|by| Over::Help(scroll.min(most).saturating_add_signed(by).min(most)));
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
