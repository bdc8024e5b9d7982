//! Every command with its keys, as data: the help, the footer and the settings are made from this table.

use super::Command::{self, *};
use super::Context::{self, *};
use super::{Group, Needs};

/// A command and how it is given.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The command.
    pub command: Command,
    /// Its name in settings.
    pub name: &'static str,
    /// Where it can be given.
    pub contexts: &'static [Context],
    /// Its keys, unless settings say otherwise.
    pub chords: &'static [&'static str],
    /// What it does, for the help.
    pub help: &'static str,
    /// What it does, in a word for the footer; empty: not there.
    pub short: &'static str,
    /// What must be so for it to do anything.
    pub needs: Needs,
    /// Where the help lists it.
    pub group: Group,
    /// It keeps a way out open: settings cannot leave it without a key.
    pub way_out: bool,
}

const fn row(
    command: Command,
    name: &'static str,
    contexts: &'static [Context],
    chords: &'static [&'static str],
    (help, short): (&'static str, &'static str),
    needs: Needs,
    group: Group,
) -> Row {
    Row { command, name, contexts, chords, help, short, needs, group, way_out: false }
}

const fn way_out(row: Row) -> Row {
    Row { way_out: true, ..row }
}

const RUN: &[Context] = &[Run];
const HOME: &[Context] = &[Home];
const SCREENS: &[Context] = &[Run, Home];
const ROWS: &[Context] = &[Run, Home, Help, Confirm];

/// All commands, a line each so that it reads as the table it is. Within a group they stand in the order of the help.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(Pause, "pause", RUN, &["space", "p"], ("hold the picture, or follow the run again; in a replay, stop or play", "pause"), Needs::Nothing, Group::Time),
    row(Left, "left", RUN, &["left"], ("put the cursor a column back", "cursor"), Needs::Nothing, Group::Time),
    row(Right, "right", RUN, &["right"], ("put the cursor a column on", "cursor"), Needs::Nothing, Group::Time),
    row(FarLeft, "far-left", RUN, &["shift-left"], ("ten columns back", ""), Needs::Nothing, Group::Time),
    row(FarRight, "far-right", RUN, &["shift-right"], ("ten columns on", ""), Needs::Nothing, Group::Time),
    row(Start, "start", RUN, &["home"], ("where load begins, or further back where the trial begins", ""), Needs::Nothing, Group::Time),
    row(Newest, "newest", RUN, &["end"], ("the newest instant, and follow", ""), Needs::Nothing, Group::Time),
    row(Faster, "faster", RUN, &[">"], ("replay at twice the speed", "faster"), Needs::Replay, Group::Time),
    row(Slower, "slower", RUN, &["<"], ("replay at half the speed", "slower"), Needs::Replay, Group::Time),

    row(ZoomIn, "zoom-in", RUN, &["["], ("shorter columns", "zoom"), Needs::Nothing, Group::See),
    row(ZoomOut, "zoom-out", RUN, &["]"], ("longer columns", "zoom"), Needs::Nothing, Group::See),
    row(Fit, "fit", RUN, &["0"], ("columns so long that all the load fits", ""), Needs::Nothing, Group::See),
    row(NextTrial, "next-trial", RUN, &["tab"], ("the next trial; with a ghost, swap the two", "trial"), Needs::Trials, Group::See),
    row(Ghost, "ghost", RUN, &["g"], ("another variant's trial behind this one, dimmed, from the same start of load", "ghost"), Needs::Ghost, Group::See),
    row(Difference, "difference", RUN, &["d"], ("by how much the two differ", "difference"), Needs::Ghost, Group::See),
    row(Events, "events", RUN, &["e"], ("what happened, sentence by sentence", "events"), Needs::Nothing, Group::See),
    row(Logs, "logs", RUN, &["l"], ("the replicas' logs", "logs"), Needs::Nothing, Group::See),
    row(Waterfall, "waterfall", RUN, &["w"], ("how each replica came up, step by step", "waterfall"), Needs::Nothing, Group::See),
    row(Replicas, "replicas", RUN, &["t"], ("the table of replicas", "replicas"), Needs::Nothing, Group::See),
    row(Filter, "filter", SCREENS, &["/"], ("only lines and rows with a word in them", "filter"), Needs::Nothing, Group::See),
    row(Up, "up", ROWS, &["up"], ("a row up", ""), Needs::Nothing, Group::See),
    row(Down, "down", ROWS, &["down"], ("a row down", ""), Needs::Nothing, Group::See),
    row(PageUp, "page-up", ROWS, &["pgup"], ("ten rows up", ""), Needs::Nothing, Group::See),
    row(PageDown, "page-down", ROWS, &["pgdn"], ("ten rows down", ""), Needs::Nothing, Group::See),
    row(Back, "back", RUN, &["esc"], ("undo a step of looking closer: filter, panel, difference, ghost, cursor", ""), Needs::Nothing, Group::See),
    row(Report, "report", RUN, &["o"], ("read the report", "report"), Needs::Nothing, Group::See),

    row(RateUp, "rate-up", RUN, &["+", "="], ("offer a tenth more", "rate"), Needs::Load, Group::Steer),
    row(RateDown, "rate-down", RUN, &["-"], ("offer a tenth less", "rate"), Needs::Load, Group::Steer),
    row(SetRate, "set-rate", RUN, &["r"], ("offer so many requests a second", ""), Needs::Load, Group::Steer),
    row(PhasesRate, "phases-rate", RUN, &["L"], ("offer what the phases say again", ""), Needs::Load, Group::Steer),
    row(PauseLoad, "pause-load", RUN, &["z"], ("send nothing until this is pressed again; the phases go on", ""), Needs::Load, Group::Steer),
    row(SkipPhase, "skip-phase", RUN, &["k"], ("end this phase now and begin the next; asks", "skip phase"), Needs::Phase, Group::Steer),
    row(Kill, "kill", RUN, &["x"], ("kill a replica without warning; asks which", "kill"), Needs::Replicas, Group::Steer),
    row(Note, "note", RUN, &["n"], ("write a remark into the run", "note"), Needs::Steerable, Group::Steer),
    row(Stop, "stop", RUN, &["S"], ("drain, write the report and end; of a lab that is up, take it down; asks", "stop"), Needs::Steerable, Group::Steer),
    row(Still, "still", RUN, &["s"], ("keep this frame as text, ANSI and SVG in the run's folder", "still"), Needs::Nothing, Group::Steer),

    row(OpenHelp, "help", SCREENS, &["?", "f1"], ("this page", "help"), Needs::Nothing, Group::Leave),
    row(Suspend, "suspend", SCREENS, &["ctrl-z"], ("back to the shell; fg returns", ""), Needs::Nothing, Group::Leave),
    way_out(row(Quit, "quit", SCREENS, &["q", "ctrl-c"], ("leave; says what goes on without you", "quit"), Needs::Nothing, Group::Leave)),

    row(NextSection, "next-section", HOME, &["tab", "right"], ("the next section", "section"), Needs::Nothing, Group::Home),
    row(PreviousSection, "previous-section", HOME, &["shift-tab", "left"], ("the section before", ""), Needs::Nothing, Group::Home),
    row(Open, "open", HOME, &["enter"], ("start the experiment, attach to the lab, replay the run", ""), Needs::Nothing, Group::Home),
    row(OpenReport, "open-report", HOME, &["r", "o"], ("read the report of the run, or of the experiment's last run", ""), Needs::Nothing, Group::Home),
    row(TakeDown, "take-down", HOME, &["x"], ("remove the lab; asks", ""), Needs::Nothing, Group::Home),
    row(Refresh, "refresh", HOME, &["f5", "ctrl-l"], ("look again at everything", ""), Needs::Nothing, Group::Home),
    row(ClearFilter, "clear-filter", HOME, &["esc"], ("show all rows again", ""), Needs::Nothing, Group::Home),

    row(Yes, "yes", &[Confirm], &["y"], ("yes, do it", "yes"), Needs::Nothing, Group::Answer),
    way_out(row(No, "no", &[Confirm], &["n", "esc", "q", "ctrl-c"], ("no", "no"), Needs::Nothing, Group::Answer)),
    row(LeaveNow, "leave-now", &[Leave], &["q", "ctrl-c"], ("leave, what runs goes on", "leave"), Needs::Nothing, Group::Answer),
    row(LeaveAndStop, "leave-and-stop", &[Leave], &["S"], ("stop it, then leave", "stop"), Needs::Nothing, Group::Answer),
    way_out(row(Stay, "stay", &[Leave], &["esc", "n"], ("stay here", "stay"), Needs::Nothing, Group::Answer)),
    row(Accept, "accept", &[Prompt], &["enter"], ("take the line", "ok"), Needs::Nothing, Group::Answer),
    way_out(row(Cancel, "cancel", &[Prompt], &["esc", "ctrl-c"], ("leave the line as it was", "cancel"), Needs::Nothing, Group::Answer)),
    row(Erase, "erase", &[Prompt], &["backspace", "ctrl-h"], ("take away the last character", ""), Needs::Nothing, Group::Answer),
    row(EraseWord, "erase-word", &[Prompt], &["ctrl-w"], ("take away the last word", ""), Needs::Nothing, Group::Answer),
    row(EraseLine, "erase-line", &[Prompt], &["ctrl-u"], ("take away the whole line", ""), Needs::Nothing, Group::Answer),
    way_out(row(CloseHelp, "close-help", &[Help], &["esc", "q", "?", "f1", "ctrl-c"], ("back to the screen", "back"), Needs::Nothing, Group::Answer)),
];
