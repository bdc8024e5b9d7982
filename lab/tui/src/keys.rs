//! Keys and what they do: the bound commands, where each works, and how settings change them. What a command then does is in `app`
//! and `home`.

mod chord;
mod table;

use std::collections::BTreeMap;

use crossterm::event::KeyEvent;
use lab_core::nearest::nearest;

pub use chord::Chord;
pub use table::{Row, TABLE};

/// Rows of a page.
const PAGE: i16 = 10;

/// What a key can do. Each has a row in [`TABLE`], which says what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table has a sentence for each")]
pub enum Command {
    Pause,
    Left,
    Right,
    FarLeft,
    FarRight,
    Start,
    Newest,
    Faster,
    Slower,
    ZoomIn,
    ZoomOut,
    Fit,
    NextTrial,
    Ghost,
    Difference,
    Events,
    Logs,
    Waterfall,
    Replicas,
    Filter,
    Up,
    Down,
    PageUp,
    PageDown,
    Back,
    Report,
    RateUp,
    RateDown,
    SetRate,
    PhasesRate,
    PauseLoad,
    SkipPhase,
    Kill,
    Note,
    Stop,
    Still,
    OpenHelp,
    Suspend,
    Quit,
    NextSection,
    PreviousSection,
    Open,
    OpenReport,
    TakeDown,
    Refresh,
    ClearFilter,
    Yes,
    No,
    LeaveNow,
    LeaveAndStop,
    Stay,
    Accept,
    Cancel,
    Erase,
    EraseWord,
    EraseLine,
    CloseHelp,
}

impl Command {
    /// Its row in the table; None would be a command that nobody can give, which a test rules out.
    pub fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.command == self)
    }

    /// How many rows it moves, if it moves: down is more.
    pub fn rows(self) -> Option<i16> {
        match self {
            Self::Up => Some(-1),
            Self::Down => Some(1),
            Self::PageUp => Some(-PAGE),
            Self::PageDown => Some(PAGE),
            _ => None,
        }
    }
}

/// Where a key is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// On the screen of a run.
    Run,
    /// On the home screen.
    Home,
    /// While a line is typed: characters are text.
    Prompt,
    /// While something asks yes or no.
    Confirm,
    /// While it is asked how to leave.
    Leave,
    /// While the help is shown.
    Help,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Run, Self::Home, Self::Prompt, Self::Confirm, Self::Leave, Self::Help];

    /// How it is named in messages.
    pub fn text(self) -> &'static str {
        match self {
            Self::Run => "the screen of a run",
            Self::Home => "the home screen",
            Self::Prompt => "a line that is typed",
            Self::Confirm => "a question",
            Self::Leave => "the question how to leave",
            Self::Help => "the help",
        }
    }
}

/// What must be so for a command to do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Somebody conducts the run and listens.
    Steerable,
    /// That, and load runs.
    Load,
    /// That, and a phase is under way.
    Phase,
    /// It can be steered, and there are replicas.
    Replicas,
    /// Another variant's trial has begun its load.
    Ghost,
    /// There is more than one trial.
    Trials,
    /// A finished run is replayed.
    Replay,
}

/// Where the help lists a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Which instant is shown.
    Time,
    /// What is shown of it.
    See,
    /// What is done to the run.
    Steer,
    /// Ways out.
    Leave,
    /// The home screen.
    Home,
    /// Questions, lines, help.
    Answer,
}

impl Group {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 6] = [Self::Time, Self::See, Self::Steer, Self::Leave, Self::Home, Self::Answer];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Time => "which instant",
            Self::See => "what is seen of it",
            Self::Steer => "what is done to the run",
            Self::Leave => "ways out",
            Self::Home => "on the home screen",
            Self::Answer => "when something is asked",
        }
    }
}

/// Why bindings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeymapError {
    /// A command that there is not.
    #[error("keys: there is no command `{found}`{}", near(*.nearest))]
    Command {
        /// As it was written.
        found: String,
        /// The nearest there is.
        nearest: Option<&'static str>,
    },
    /// A key that there is not.
    #[error("keys: `{found}` of `{command}` is no key; write it like `q`, `ctrl-x`, `shift-left`, `pgup` or `f1`{}", near(*.nearest))]
    Chord {
        /// The command it was to give.
        command: &'static str,
        /// As it was written.
        found: String,
        /// The nearest name of a key.
        nearest: Option<&'static str>,
    },
    /// One key for two commands.
    #[error("keys: `{chord}` gives both `{first}` and `{second}` on {}; give one of them another key", .context.text())]
    Taken {
        /// The key.
        chord: Chord,
        /// Where both would work.
        context: Context,
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A character that would then be missing from typed lines.
    #[error(
        "keys: `{chord}` of `{command}` is needed for typing; take a key that types nothing, like `enter` or `ctrl-x`"
    )]
    Typed {
        /// The command.
        command: &'static str,
        /// The key.
        chord: Chord,
    },
    /// A way out without a key.
    #[error("keys: `{command}` needs a key, for without it there is no way out")]
    WayOut {
        /// The command.
        command: &'static str,
    },
}

fn near(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Which key gives which command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keymap {
    /// The chords of each row of the table.
    chords: Vec<Vec<Chord>>,
}

impl Default for Keymap {
    fn default() -> Self {
        let read = |row: &Row| row.chords.iter().filter_map(|text| Chord::read(text)).collect();
        Self { chords: TABLE.iter().map(read).collect() }
    }
}

impl Keymap {
    /// The default bindings with some replaced: name of a command to its keys, all of them; none unbinds it.
    ///
    /// # Errors
    /// A name that is no command or no key, a key with two meanings in one place, a way out without a key.
    pub fn with(overrides: &BTreeMap<String, Vec<String>>) -> Result<Self, KeymapError> {
        let mut map = Self::default();
        for (name, chords) in overrides {
            let found = TABLE.iter().position(|row| row.name == name);
            let Some(at) = found else {
                let nearest = nearest(name, TABLE.iter().map(|row| row.name));
                return Err(KeymapError::Command { found: name.clone(), nearest });
            };
            map.chords[at] = chords.iter().map(|text| read(&TABLE[at], text)).collect::<Result<_, _>>()?;
        }
        map.check()?;
        Ok(map)
    }

    /// The command that a key gives, if it gives one there.
    pub fn command(&self, context: Context, key: KeyEvent) -> Option<Command> {
        let chord = Chord::of(key)?;
        self.bound(context).find(|(_, bound)| *bound == chord).map(|(row, _)| row.command)
    }

    /// The keys of a command; none when it is not bound.
    pub fn chords(&self, command: Command) -> &[Chord] {
        let at = TABLE.iter().position(|row| row.command == command);
        at.and_then(|at| self.chords.get(at)).map_or(&[], Vec::as_slice)
    }

    /// Its first key, as it is shown; None when it is not bound.
    pub fn first(&self, command: Command, ascii: bool) -> Option<String> {
        self.chords(command).first().map(|chord| chord.shown(ascii))
    }

    fn bound(&self, context: Context) -> impl Iterator<Item = (&'static Row, Chord)> + '_ {
        let rows = TABLE.iter().zip(&self.chords).filter(move |(row, _)| row.contexts.contains(&context));
        rows.flat_map(|(row, chords)| chords.iter().map(move |chord| (row, *chord)))
    }

    fn check(&self) -> Result<(), KeymapError> {
        for (row, chords) in TABLE.iter().zip(&self.chords) {
            let command = row.name;
            if row.way_out && chords.is_empty() {
                return Err(KeymapError::WayOut { command });
            }
            let typed = chords.iter().find(|chord| row.contexts.contains(&Context::Prompt) && chord.typed().is_some());
            if let Some(chord) = typed {
                return Err(KeymapError::Typed { command, chord: *chord });
            }
        }
        for context in Context::ALL {
            let bound: Vec<_> = self.bound(context).collect();
            for (i, (second, chord)) in bound.iter().enumerate() {
                if let Some((first, _)) =
                    bound[..i].iter().find(|(first, other)| other == chord && first.name != second.name)
                {
                    return Err(KeymapError::Taken { chord: *chord, context, first: first.name, second: second.name });
                }
            }
        }
        Ok(())
    }
}

fn read(row: &Row, text: &str) -> Result<Chord, KeymapError> {
    Chord::read(text).ok_or_else(|| KeymapError::Chord {
        command: row.name,
        found: text.to_owned(),
        nearest: Chord::nearest(text),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn overrides(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect();
        pairs.iter().map(|(name, keys)| ((*name).to_owned(), owned(keys))).collect()
    }

    fn press(text: &str) -> KeyEvent {
        Chord::read(text).expect(text).event()
    }

    #[test]
    fn every_command_is_reached_by_each_of_its_keys_where_it_works() {
        let map = Keymap::default();
        let mut commands = BTreeSet::new();
        for row in TABLE {
            assert!(commands.insert(row.command), "{} has two rows", row.name);
            assert!(!row.chords.is_empty() && !row.contexts.is_empty() && !row.help.is_empty(), "{}", row.name);
            for chord in row.chords {
                for context in row.contexts {
                    assert_eq!(map.command(*context, press(chord)), Some(row.command), "{chord} on {}", context.text());
                }
            }
        }
        assert_eq!(Command::CloseHelp as usize + 1, commands.len(), "a command has no row");
    }

    #[test]
    fn names_and_keys_are_unique_and_the_defaults_pass_their_own_check() {
        assert_eq!(Keymap::with(&BTreeMap::new()), Ok(Keymap::default()));
        assert_eq!(Keymap::default().check(), Ok(()));
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }

    #[test]
    fn an_override_replaces_all_keys_of_a_command() {
        let map = Keymap::with(&overrides(&[("still", &["ctrl-s", "f2"]), ("ghost", &[])])).expect("a map");
        assert_eq!(map.command(Context::Run, press("s")), None);
        assert_eq!(map.command(Context::Run, press("ctrl-s")), Some(Command::Still));
        assert_eq!(map.command(Context::Run, press("f2")), Some(Command::Still));
        assert_eq!(map.command(Context::Run, press("g")), None);
        assert!(map.chords(Command::Ghost).is_empty());
        assert_eq!(map.command(Context::Run, press("q")), Some(Command::Quit));
    }

    #[test]
    fn two_commands_can_change_keys() {
        let map = Keymap::with(&overrides(&[("events", &["l"]), ("logs", &["e"])])).expect("a map");
        assert_eq!(map.command(Context::Run, press("l")), Some(Command::Events));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_the_nearest() {
        let table: [(&str, &[&str], &str); 6] = [
            ("stil", &["x"], "keys: there is no command `stil`; did you mean `still`?"),
            (
                "still",
                &["pgupp"],
                "keys: `pgupp` of `still` is no key; write it like `q`, `ctrl-x`, `shift-left`, `pgup` or `f1`; did you mean `pgup`?",
            ),
            (
                "still",
                &["x"],
                "keys: `x` gives both `kill` and `still` on the screen of a run; give one of them another key",
            ),
            (
                "accept",
                &["y"],
                "keys: `y` of `accept` is needed for typing; take a key that types nothing, like `enter` or `ctrl-x`",
            ),
            ("quit", &[], "keys: `quit` needs a key, for without it there is no way out"),
            (
                "cancel",
                &["enter"],
                "keys: `enter` gives both `accept` and `cancel` on a line that is typed; give one of them another key",
            ),
        ];
        for (name, keys, message) in table {
            let error = Keymap::with(&overrides(&[(name, keys)])).expect_err(name);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn no_single_unasked_key_destroys() {
        for chord in ["ctrl-d", "ctrl-k", "ctrl-b", "ctrl-a", "d", "j", "h", "enter", "delete", "backspace"] {
            let given = Keymap::default().command(Context::Run, press(chord));
            assert!(!matches!(given, Some(Command::Kill | Command::Stop | Command::SkipPhase | Command::PauseLoad)));
        }
    }
}
