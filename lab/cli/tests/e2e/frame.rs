//! What was seen of a run, seen again: frames from its journal, the same bytes whenever they are asked for.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::bench::{Bench, stderr, stdout};

/// Pictures of the demo that documents show, and how they are made.
const STILLS: [(&str, &[&str]); 3] = [
    ("dashboard-dark.svg", &["--at", "2:50", "--size", "120x34", "--theme", "dark"]),
    ("dashboard-light.svg", &["--at", "2:50", "--size", "120x34", "--theme", "light"]),
    ("dashboard-cursor.svg", &["--at", "0:46", "--scrub", "--panel", "events", "--size", "120x36"]),
];

fn frame(bench: &Bench, run: &str, args: &[&str]) -> String {
    let ran = bench.lab(&[&["frame", run], args].concat()).env_remove("NO_COLOR").output().expect("the binary runs");
    assert_eq!(ran.status.code(), Some(0), "{run} {args:?}: {}", stderr(&ran));
    stdout(&ran)
}

#[test]
fn a_frame_names_where_it_comes_from_and_is_drawn_again_from_that() {
    let bench = Bench::new();
    for args in [&["--at", "1:10"][..], &["--at", "-1s", "--size", "80x24"], &["--at", "0:41.4", "--scrub"], &[]] {
        let text = frame(&bench, "demo", args);
        let source = text.split_whitespace().find(|word| word.starts_with("run:")).unwrap_or_else(|| panic!("{text}"));
        let others = args.iter().position(|arg| *arg == "--at").map_or(args, |at| &args[at + 2..]);
        assert_eq!(frame(&bench, "demo", &[&["--at", source], others].concat()), text, "{args:?}");
    }
    assert_eq!(frame(&bench, "demo", &["--size", "37x3"]).lines().count(), 3);
    let view = ["--panel", "events", "--zoom", "2s", "--filter", "user-service-1 is ready", "--scrub"];
    let text = frame(&bench, "demo", &[&["--size", "160x45", "--at", "1:10"][..], &view].concat());
    let footer = text.lines().last().expect("a footer");
    assert!(footer.contains("--scrub --zoom 2s --panel events --filter 'user-service-1 is ready'"), "{footer}");
    assert!(text.contains("filter: user-service-1 is ready") && text.contains("2 s/column"), "{text}");
}

#[test]
fn a_frame_of_a_run_is_what_was_live() {
    let bench = Bench::new();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/autoscale-users.ndjson.gz");
    let mut journal = String::new();
    let file = fs::File::open(packed).expect("the demo");
    flate2::read::GzDecoder::new(file).read_to_string(&mut journal).expect("it unpacks");
    let lines: Vec<&str> = journal.split_inclusive('\n').collect();
    for known in [40, 300, 301, 640] {
        let folder = bench.path().join(format!("runs/{known}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("events.ndjson"), lines[..known].concat()).expect("a journal");
        let live = frame(&bench, &known.to_string(), &["--at", "end", "--size", "160x45", "--format", "ansi"]);
        let source =
            live.split_whitespace().find_map(|word| word.find("run:").map(|at| &word[at..])).expect("a source");
        let source = source.split('\u{1b}').next().expect("an instant");
        let later = frame(&bench, "demo", &["--at", source, "--size", "160x45", "--format", "ansi"]);
        assert_eq!(later, live, "after {known} lines");
    }
}

#[test]
fn no_color_is_obeyed_where_colours_are_seen() {
    let bench = Bench::new();
    let ansi = |env: &str, args: &[&str]| {
        let args = [&["frame", "demo", "--format", "ansi"], args].concat();
        let mut lab = bench.lab(&args);
        lab.env("HOME", bench.path()).env_remove("XDG_CONFIG_HOME").env_remove("LAB_THEME").env("NO_COLOR", env);
        stdout(&lab.output().expect("the binary runs"))
    };
    assert!(ansi("", &[]).contains("38;5;"));
    assert!(!ansi("1", &[]).contains("38;5;"));
    assert!(ansi("1", &["--theme", "safe"]).contains("38;5;"), "a flag is meant");
}

#[test]
fn what_cannot_be_shown_is_named() {
    let bench = Bench::new();
    let cases: [(&[&str], &str); 7] = [
        (&["frame", "nope"], "lab runs"),
        (&["frame", "demo", "--at", "9:00"], "9:00.0 since the load began is not within run `demo`"),
        (&["frame", "demo", "--at", "run:500s"], "it goes from"),
        (&["frame", "demo", "--at", "soon"], "1:19.5"),
        (&["frame", "demo", "--size", "0x30"], "1 to 1000"),
        (&["frame", "demo", "--trial", "2"], "1 trial"),
        (&["frame", "demo", "--zoom", "0s"], "a column is so long"),
    ];
    for (args, said) in cases {
        let ran = bench.run(args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(said), "{args:?} does not say `{said}`: {}", stderr(&ran));
        assert!(stdout(&ran).is_empty(), "{args:?} talks on stdout");
    }
    let folder = bench.path().join("runs/broken");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("events.ndjson"), "{\"lab-journal\":1}\n{}\n").expect("a journal");
    let ran = bench.run(&["frame", "broken"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(stderr(&ran).contains("line 2 of the journal is broken"), "{}", stderr(&ran));
}

/// `LAB_BLESS=1` writes the pictures anew.
#[test]
fn pictures_in_documents_are_frames_of_the_demo() {
    let bench = Bench::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, args) in STILLS {
        let svg = frame(&bench, "demo", &[args, &["--format", "svg"]].concat());
        let path = docs.join(name);
        if std::env::var_os("LAB_BLESS").is_some_and(|v| v == "1") {
            fs::write(&path, &svg).expect("a picture");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == svg, "docs/{name} is not what `lab frame demo {}` draws; bless it: just bless", args.join(" "));
    }
}
