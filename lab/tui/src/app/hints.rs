//! The keys that work now, for the last row.

use super::facts::{Facts, Source};
use crate::keys::{Command, Context, Keymap, TABLE};
use crate::pane::Hint;
use crate::view::{Mode, View};

/// Commands of the screen of a run by how much they help, beside those that what is shown calls for.
const USEFUL: [&[Command]; 17] = [
    &[Command::Pause],
    &[Command::Left, Command::Right],
    &[Command::Faster, Command::Slower],
    &[Command::OpenHelp],
    &[Command::Quit],
    &[Command::RateUp, Command::RateDown],
    &[Command::NextTrial],
    &[Command::ZoomIn, Command::ZoomOut],
    &[Command::Ghost],
    &[Command::Events],
    &[Command::Logs],
    &[Command::Note],
    &[Command::Still],
    &[Command::Kill],
    &[Command::SkipPhase],
    &[Command::Waterfall],
    &[Command::Filter],
];

/// What works in a place.
pub(super) fn hints(keymap: &Keymap, context: Context, view: &View, facts: &Facts, ascii: bool) -> Vec<Hint> {
    if context != Context::Run {
        return answers(keymap, context, ascii);
    }
    let works = |commands: &&&[Command]| {
        let needs = commands.first().and_then(|command| command.row()).map(|row| row.needs);
        needs.is_some_and(|needs| facts.missing(needs).is_none())
    };
    let told = |commands: &&[Command]| {
        let short = word(*commands.first()?, view, facts)?;
        hint(keymap, commands, short, ascii)
    };
    USEFUL.iter().filter(works).filter_map(told).collect()
}

/// What can be given only in a place that asks something.
pub(crate) fn answers(keymap: &Keymap, context: Context, ascii: bool) -> Vec<Hint> {
    let rows = TABLE.iter().filter(|row| row.contexts == [context] && !row.short.is_empty());
    rows.filter_map(|row| hint(keymap, &[row.command], row.short, ascii)).collect()
}

/// What a command does now, in a word.
fn word(command: Command, view: &View, facts: &Facts) -> Option<&'static str> {
    let held = view.mode != Mode::Live;
    Some(match command {
        Command::Pause if held && facts.speed.is_some() => "play",
        Command::Pause if !held && facts.played_out() => "play again",
        Command::Pause if held => "live",
        Command::Faster => "speed",
        Command::NextTrial if view.ghost => "swap",
        Command::Quit if !facts.nothing_goes_on() && matches!(facts.source, Source::Held(_) | Source::Attached(_)) => {
            "leave"
        }
        command => command.row()?.short,
    })
}

/// Keys of commands that belong together; None when none of them is bound.
fn hint(keymap: &Keymap, commands: &[Command], does: &str, ascii: bool) -> Option<Hint> {
    let keys: Vec<String> = commands.iter().filter_map(|command| keymap.first(*command, ascii)).collect();
    let glue = if keys.iter().all(|key| key.chars().count() == 1) { "" } else { " " };
    (!keys.is_empty()).then(|| Hint { keys: keys.join(glue), does: does.to_owned() })
}
