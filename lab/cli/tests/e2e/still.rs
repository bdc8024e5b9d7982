//! Replay equals live, end to end: a still that was kept while a run was shown is, byte for byte, what its journal gives at that instant.

use std::fs;

use super::bench::{Bench, stderr, stdout};
use super::pty::Terminal;

/// One replica is too few for the second phase, so it is scaled while load runs.
const SCALED: &str = "\
question: Are stills what the journal gives?
services:
  user-service:
    store: sqlite
    work: { create: 4ms, get: 4ms }
    resources: { cpu: 300m }
    autoscale: { min: 1, max: 2, metrics: [ { cpu: 50% } ] }
autoscaler: { sync-period: 1s, metric-resolution: 1s, cpu-initialization-period: 1s, initial-readiness-delay: 1s }
load:
  target: user-service
  prepare: 5
  phases:
    - { name: warm-up, rate: 10/s, for: 2s, measure: false }
    - { name: step, rate: 60/s, for: 9s }
expect: [ 'errors < 90%' ]
";

/// Columns and rows of the terminal.
const SIZE: &str = "100x30";

#[test]
fn a_still_is_what_the_journal_gives() {
    let bench = Bench::new();
    let spec = bench.spec("scaled.yaml", SCALED);
    let mut shown = Terminal::start(&bench, &["experiment", &spec]);
    shown.is_in("LIVE");
    let mut stills: Vec<Still> = Vec::new();
    for sign in ["t+0:01", "t+0:03", "episode 1: "] {
        shown.shows(sign);
        keep(&mut shown, &[], &mut stills);
    }
    shown.press("e");
    shown.shows("events · ");
    keep(&mut shown, &["--panel", "events"], &mut stills);
    shown.press("e");
    let conducted = stills.len();
    shown.is_in("ENDED");
    shown.shows("verdict: ");
    keep(&mut shown, &[], &mut stills);
    shown.press("q");
    let ended = shown.end_of_all();
    // A machine that keeps the generator waiting makes the run invalid, and its frames as true.
    assert!([0, 4].contains(&ended.code), "{}", ended.screen);

    stills.iter().for_each(|still| drawn_again(&bench, still));
    let journal = bench.journal();
    let noted = journal.lines().filter(|line| line.contains(r#""kind":"still""#)).count();
    assert_eq!(noted, conducted, "what is kept while somebody conducts the run is in its journal: {journal}");
}

/// A still that was kept.
struct Still {
    /// Its files, inside the run's folder, without what tells their formats apart.
    name: String,
    /// What it takes to look at the run as it was looked at.
    view: &'static [&'static str],
}

/// Keeps what is shown.
fn keep(shown: &mut Terminal<'_>, view: &'static [&'static str], stills: &mut Vec<Still>) {
    let newest = |screen: &str| {
        // The panel of events tells of those before.
        let (_, files) = screen.rsplit_once("still kept: ")?;
        let name = files.split_once(".txt")?.0.to_owned();
        stills.iter().all(|still| still.name != name).then_some(name)
    };
    shown.press("s");
    // It is told once its files are written.
    let told = shown.until("a further still", |screen| newest(&screen.contents()).is_some());
    let name = newest(&told).expect("a name");
    stills.push(Still { name, view });
}

fn drawn_again(bench: &Bench, still: &Still) {
    let run = bench.run_dir().expect("a run");
    let kept = |end: &str| fs::read_to_string(run.join(format!("{}.{end}", still.name))).expect("a still");
    let text = kept("txt");
    let source = text.lines().last().and_then(|row| row.split_whitespace().find(|word| word.starts_with("run:")));
    let source = source.unwrap_or_else(|| panic!("the last row names no instant:\n{text}"));
    for (format, end) in [("text", "txt"), ("ansi", "ansi"), ("svg", "svg")] {
        let args = ["frame", "last", "--at", source, "--size", SIZE, "--format", format];
        let mut lab = bench.lab(&[&args[..], still.view].concat());
        lab.env("HOME", bench.path()).env_remove("XDG_CONFIG_HOME").env_remove("LAB_THEME").env_remove("NO_COLOR");
        let ran = lab.output().expect("the binary runs");
        assert_eq!(ran.status.code(), Some(0), "{args:?}: {}", stderr(&ran));
        assert!(stdout(&ran) == kept(end), "{args:?} is not {}.{end}:\n{}\n{text}", still.name, stdout(&ran));
    }
}
