//! The home screen: what can be run, what is up, what was run, what is missing. Rows and keys in, one action out; the binary finds
//! the rows and does what is asked.

mod draw;
mod rows;

use crossterm::event::KeyEvent;
use lab_core::judge::Verdict;
use lab_core::unit::Span;
use lab_core::validity::Validity;

pub use draw::draw;

use crate::app::Line;
use crate::keys::{Chord, Command, Context, Keymap};
use crate::look::Look;
use crate::pane::help;

/// Everything that is listed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HomeData {
    /// Experiments that can be started.
    pub experiments: Vec<ExperimentRow>,
    /// What is up.
    pub labs: Vec<LabRow>,
    /// Runs, newest first.
    pub runs: Vec<RunRow>,
    /// What is missing.
    pub findings: Vec<FindingRow>,
}

/// An experiment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExperimentRow {
    /// What it is started by: a name or a file.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// Its last run.
    pub last: Option<LastRun>,
}

/// The last run of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// What came out.
    pub verdict: Verdict,
    /// When it began, for people.
    pub when: String,
    /// Its id.
    pub run: String,
}

/// Something that is up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabRow {
    /// Its name.
    pub name: String,
    /// Its kind: `local`.
    pub kind: String,
    /// When it came up, for people.
    pub since: String,
    /// How long ago that is.
    pub age: Span,
    /// What it costs: `costs nothing`.
    pub cost: String,
    /// The run that it belongs to.
    pub what: String,
    /// Somebody holds it and listens.
    pub steerable: bool,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// Its experiment.
    pub experiment: String,
    /// When it began, for people.
    pub when: String,
    /// What came out; None while that is not known.
    pub verdict: Option<Verdict>,
    /// How far it can be trusted; None while that is not known.
    pub validity: Option<Validity>,
    /// It came to its end and nothing is missing.
    pub complete: bool,
}

/// Something that is missing on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FindingRow {
    /// What.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// Nothing can be run before that.
    pub fatal: bool,
}

/// A part of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Section {
    /// Experiments.
    #[default]
    Experiments,
    /// What is up.
    Labs,
    /// Runs.
    Runs,
    /// What is missing.
    Findings,
}

impl Section {
    /// From top to bottom.
    pub const ALL: [Self; 4] = [Self::Experiments, Self::Labs, Self::Runs, Self::Findings];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Experiments => "experiments",
            Self::Labs => "up",
            Self::Runs => "runs",
            Self::Findings => "findings",
        }
    }

    /// What its rows are called, one of them.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Experiments => "experiment",
            Self::Labs => "lab",
            Self::Runs => "run",
            Self::Findings => "finding",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HomeAction {
    /// Start this experiment.
    Start(String),
    /// Show this lab.
    Attach(String),
    /// Remove this lab; the user has confirmed it.
    TakeDown(String),
    /// Replay this run.
    Replay(String),
    /// Show the report of this run.
    Report(String),
    /// Look at everything again.
    Refresh,
    /// Hand the terminal to the shell until it says to go on.
    Suspend,
    /// Leave.
    Quit,
}

/// The chosen row of a section: by its name, so that it stays the same when rows come and go; by its place when its name is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Chosen {
    at: usize,
    name: String,
}

/// What stands over the screen and takes the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Over {
    /// The filter is typed; the one before is kept.
    Filter { line: Line, before: String },
    /// Whether to remove this lab.
    TakeDown(String),
    /// The help, with its first row that is shown.
    Help(u16),
}

/// The home screen, as far as keys change it.
#[derive(Debug, Clone)]
pub struct Home {
    section: Section,
    chosen: [Chosen; 4],
    filter: String,
    keymap: Keymap,
    look: Look,
    message: Option<String>,
    over: Option<Over>,
}

impl Home {
    /// A screen with the first experiment chosen.
    pub fn new(keymap: Keymap, look: Look) -> Self {
        let chosen = Default::default();
        Self { section: Section::default(), chosen, filter: String::new(), keymap, look, message: None, over: None }
    }

    /// Sets the sentence for the last row, until the next key.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some(text.into());
    }

    /// The section whose rows the keys choose from.
    pub fn section(&self) -> Section {
        self.section
    }

    /// Where a key that comes now is pressed.
    pub fn context(&self) -> Context {
        match self.over {
            None => Context::Home,
            Some(Over::Filter { .. }) => Context::Prompt,
            Some(Over::TakeDown(_)) => Context::Confirm,
            Some(Over::Help(_)) => Context::Help,
        }
    }

    /// Takes a key; `size` is that of the screen. The screen may look different afterwards in any case.
    pub fn key(&mut self, key: KeyEvent, data: &HomeData, size: (u16, u16)) -> Option<HomeAction> {
        self.message = None;
        let context = self.context();
        match (self.keymap.command(context, key), Chord::of(key).and_then(Chord::typed)) {
            (Some(command), _) => self.command(command, data, size),
            (None, Some(c)) if context == Context::Prompt => {
                self.paste(c.encode_utf8(&mut [0; 4]));
                None
            }
            _ => None,
        }
    }

    /// Takes pasted text: into the filter while it is typed, else nowhere.
    pub fn paste(&mut self, text: &str) {
        if let Some(Over::Filter { line, .. }) = &mut self.over {
            line.insert(text);
            line.text().clone_into(&mut self.filter);
        }
    }

    fn command(&mut self, command: Command, data: &HomeData, size: (u16, u16)) -> Option<HomeAction> {
        match self.over.take() {
            None => self.on_screen(command, data),
            Some(Over::TakeDown(lab)) => match command {
                Command::Yes => Some(HomeAction::TakeDown(lab)),
                Command::No => None,
                _ => {
                    self.over = Some(Over::TakeDown(lab));
                    None
                }
            },
            Some(Over::Filter { mut line, before }) => {
                let stays = line.edit(command);
                self.filter = if command == Command::Cancel { before.clone() } else { line.text().to_owned() };
                self.over = stays.then_some(Over::Filter { line, before });
                None
            }
            Some(Over::Help(scroll)) => {
                let most = help::most_scroll(&self.keymap, self.look, size);
                self.over = Some(Over::Help(scroll.min(most).saturating_add_signed(command.rows()?).min(most)));
                None
            }
        }
    }

    fn on_screen(&mut self, command: Command, data: &HomeData) -> Option<HomeAction> {
        match command {
            Command::Quit => return Some(HomeAction::Quit),
            Command::Suspend => return Some(HomeAction::Suspend),
            Command::Refresh => return Some(HomeAction::Refresh),
            Command::Open => return self.open(data),
            Command::OpenReport => return self.open_report(data),
            Command::TakeDown => self.take_down(data),
            Command::NextSection => self.turn(1),
            Command::PreviousSection => self.turn(Section::ALL.len() - 1),
            Command::ClearFilter => self.filter.clear(),
            Command::OpenHelp => self.over = Some(Over::Help(0)),
            Command::Filter => {
                self.over = Some(Over::Filter { line: Line::of(&self.filter), before: self.filter.clone() });
            }
            command => self.choose(command.rows().unwrap_or(0), data),
        }
        None
    }

    fn turn(&mut self, by: usize) {
        let next = (self.section as usize + by) % Section::ALL.len();
        self.section = Section::ALL[next];
    }

    fn choose(&mut self, by: i16, data: &HomeData) {
        let names = rows::names(self.section, data, &self.filter);
        let at = self.chosen_at(self.section, &names).unwrap_or(0);
        let at = at.saturating_add_signed(by.into()).min(names.len().saturating_sub(1));
        let name = names.get(at).map_or_else(String::new, |name| (*name).to_owned());
        self.chosen[self.section as usize] = Chosen { at, name };
    }

    /// Place of the chosen row among those that are shown; None when there are none.
    fn chosen_at(&self, section: Section, names: &[&str]) -> Option<usize> {
        let chosen = &self.chosen[section as usize];
        let last = names.len().checked_sub(1)?;
        Some(names.iter().position(|name| *name == chosen.name).unwrap_or(chosen.at.min(last)))
    }

    /// Name of the chosen row of the section.
    fn chosen_name(&self, data: &HomeData) -> Option<String> {
        let names = rows::names(self.section, data, &self.filter);
        self.chosen_at(self.section, &names).map(|at| names[at].to_owned())
    }

    fn open(&mut self, data: &HomeData) -> Option<HomeAction> {
        let name = self.chosen_name(data);
        let action = match self.section {
            Section::Experiments => name.map(HomeAction::Start),
            Section::Labs => name.map(HomeAction::Attach),
            Section::Runs => name.map(HomeAction::Replay),
            Section::Findings => None,
        };
        if action.is_none() {
            self.say(match self.section {
                Section::Findings => "a finding cannot be opened; what to do stands below",
                _ => "nothing is chosen here",
            });
        }
        action
    }

    fn open_report(&mut self, data: &HomeData) -> Option<HomeAction> {
        let run = self.chosen_name(data).and_then(|name| match self.section {
            Section::Runs => Some(name),
            Section::Experiments => {
                let row = data.experiments.iter().find(|row| row.name == name)?;
                row.last.as_ref().map(|last| last.run.clone())
            }
            Section::Labs | Section::Findings => None,
        });
        if run.is_none() {
            let starts = self.how(Command::Open, "starts one");
            self.say(match self.section {
                Section::Experiments => format!("this experiment has no run yet{starts}"),
                Section::Runs => "nothing is chosen here".to_owned(),
                _ => "only runs and experiments have reports".to_owned(),
            });
        }
        run.map(HomeAction::Report)
    }

    /// `; enter starts one`: what the key of a command does; nothing when it has none.
    fn how(&self, command: Command, does: &str) -> String {
        let key = self.keymap.first(command, self.look.ascii);
        key.map(|key| format!("; {key} {does}")).unwrap_or_default()
    }

    fn take_down(&mut self, data: &HomeData) {
        match self.chosen_name(data).filter(|_| self.section == Section::Labs) {
            Some(lab) => self.over = Some(Over::TakeDown(lab)),
            None => self.say("choose a lab under `up` first"),
        }
    }
}

#[cfg(test)]
mod tests;
