//! What a terminal can do and what its user has set decide what is written to it.

use super::bench::{Bench, stdout};
use super::pty::Terminal;

const ESCAPE: char = '\u{1b}';

#[test]
fn without_a_terminal_for_a_screen_there_are_sentences() {
    let bench = Bench::new();
    let said = stdout(&bench.run(&["replay", "demo"]));
    assert!(said.contains("run is complete") && !said.contains(ESCAPE), "{said}");
    for (args, term) in
        [(&["replay", "demo"][..], "dumb"), (&["replay", "demo"], ""), (&["replay", "demo", "--plain"], "xterm")]
    {
        let ended = Terminal::start_with(&bench, args, &[("TERM", term)]).end();
        assert_eq!(ended.code, 0, "{}", ended.screen);
        assert!(ended.screen.contains("run is complete"), "{}", ended.screen);
        assert!(!ended.bytes.contains(ESCAPE), "{args:?} with TERM={term}: {}", ended.bytes);
    }
}

/// Shows the demo for a moment; all that was written to the terminal.
fn written(bench: &Bench, args: &[&str], env: &[(&str, &str)]) -> String {
    let mut terminal = Terminal::start_with(bench, &[&["replay", "demo", "--speed", "100"], args].concat(), env);
    terminal.is_in("REPLAY 100x");
    terminal.shows("p99");
    terminal.press("?");
    terminal.shows("esc goes back");
    terminal.press("?");
    terminal.press("q");
    let ended = terminal.end();
    assert_eq!(ended.code, 0, "{}", ended.screen);
    ended.bytes
}

/// Parameters of all styles that are set.
fn styles(bytes: &str) -> Vec<u16> {
    let codes = bytes.split("\u{1b}[").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        rest[end..].starts_with('m').then(|| &rest[..end])
    });
    codes.flat_map(|code| code.split(';').map(|number| number.parse().unwrap_or(0))).collect()
}

#[test]
fn no_color_leaves_bold_and_reverse() {
    let bench = Bench::new();
    let coloured = |styles: &[u16]| styles.iter().any(|n| matches!(n, 30..=38 | 40..=48 | 90..=97 | 100..=107));
    let usual = styles(&written(&bench, &[], &[]));
    assert!(coloured(&usual), "{usual:?}");
    let plain = styles(&written(&bench, &[], &[("NO_COLOR", "1")]));
    assert!(!coloured(&plain), "{plain:?}");
    assert!(plain.iter().any(|n| matches!(n, 1 | 7)), "nothing stands out: {plain:?}");
    let chosen = styles(&written(&bench, &["--theme", "safe"], &[("NO_COLOR", "1")]));
    assert!(coloured(&chosen), "a flag is stronger: {chosen:?}");
}

#[test]
fn a_locale_without_unicode_gets_ascii() {
    let bench = Bench::new();
    for (args, env) in [(&[][..], ("LANG", "C")), (&["--ascii"], ("LANG", "C.UTF-8")), (&[], ("LC_ALL", "POSIX"))] {
        let bytes = written(&bench, args, &[env]);
        let others: String = bytes.chars().filter(|c| !c.is_ascii()).collect();
        assert!(others.is_empty(), "{args:?} with {env:?}: {others}");
    }
}

#[test]
fn settings_that_cannot_be_are_refused_before_anything_is_done() {
    let bench = Bench::new();
    let spec = bench.spec("spec.yaml", super::bench::SHORT);
    let settings = [
        ("[dashboard]\ntheme = \"pink\"\n", "pink", "[dashboard] theme, ascii, fps, mouse"),
        ("[dashboard.keys]\npause = [\"nosuchkey\"]\n", "nosuchkey", "? in the dashboard"),
        ("[dashboard.keys]\npuase = [\"b\"]\n", "pause", "? in the dashboard"),
        ("[dashboard.keys]\npause = [\"q\"]\n", "quit", "? in the dashboard"),
    ];
    for (text, said, hint) in settings {
        bench.spec("lab.toml", text);
        for args in [&[][..], &["replay", "demo"], &["experiment", &spec], &["up"]] {
            let ended = Terminal::start(&bench, args).end_of_all();
            assert_eq!(ended.code, 2, "{args:?}: {}", ended.screen);
            let screen = ended.screen.replace('\n', "");
            assert!(screen.contains(said) && screen.contains(hint), "{args:?} {text}: {}", ended.screen);
            assert!(!ended.bytes.contains(ESCAPE), "{args:?}: {}", ended.bytes);
        }
    }
    assert!(!bench.path().join("runs").exists(), "bad settings made a run");
}

#[test]
fn keys_are_what_the_user_has_set() {
    let bench = Bench::new();
    bench.spec("lab.toml", "[dashboard.keys]\npause = [\"b\"]\n");
    let mut terminal = Terminal::start(&bench, &["replay", "demo"]);
    let shown = terminal.is_in("REPLAY 20x");
    assert!(shown.contains("b pause"), "{shown}");
    terminal.press("b");
    terminal.is_in("PAUSED");
    terminal.press("q");
    assert_eq!(terminal.end().code, 0);
}
