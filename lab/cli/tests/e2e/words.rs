//! Words in, exit code out: help, wrong input, and the verbs that need no environment.

use std::fs;
use std::path::Path;

use super::bench::{Bench, stderr, stdout};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn help_and_the_overview_are_stable() {
    let bench = Bench::new();
    let help = bench.run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    insta::assert_snapshot!("help", stdout(&help));
    let overview = bench.run(&[]);
    assert_eq!(overview.status.code(), Some(0));
    insta::assert_snapshot!("overview", stdout(&overview));
}

#[test]
fn wrong_words_are_exit_code_two_and_name_the_remedy() {
    let bench = Bench::new();
    let cases: [(&[&str], &str); 9] = [
        (&["frobnicate"], "unrecognized subcommand"),
        (&["experiment", "autoscale-user"], "did you mean `autoscale-users`"),
        (&["experiment", "missing.yaml"], "cannot read missing.yaml"),
        (&["experiment", "autoscale-users", "--set", "load.conections=3"], "connections"),
        (&["experiment", "autoscale-users", "--set", "nonsense"], "PATH=VALUE"),
        (&["report", "nope"], "lab runs"),
        (&["hpa", "--replay", "missing.jsonl"], "cannot read missing.jsonl"),
        (&["load", "https://localhost:1/"], "http"),
        (&["up", "--store", "postgras"], "did you mean `postgres`"),
    ];
    for (args, remedy) in cases {
        let ran = bench.run(args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(remedy), "{args:?} does not say `{remedy}`: {}", stderr(&ran));
        assert!(stdout(&ran).is_empty(), "{args:?} talks on stdout");
    }
    assert!(!bench.path().join("runs").exists(), "bad input made a run");
}

#[test]
fn every_broken_spec_is_refused_with_its_lines() {
    let bench = Bench::new();
    let folder = repository().join("lab/core/tests/broken");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the folder").map(|e| e.expect("an entry").path()) {
        if entry.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        count += 1;
        let ran = bench.run(&["plan", entry.to_str().expect("a path")]);
        assert_eq!(ran.status.code(), Some(2), "{}: {}", entry.display(), stdout(&ran));
        let place = format!("{}:", entry.display());
        assert!(stderr(&ran).contains(&place), "{}: {}", entry.display(), stderr(&ran));
    }
    assert!(count >= 30, "only {count} broken specs");
}

#[test]
fn a_broken_spec_is_drawn_with_all_its_errors() {
    let bench = Bench::new();
    let spec = bench.spec(
        "broken.yaml",
        "\
question: What is wrong here?
services:
  user-service: { stor: sqlite, replicas: many }
load:
  target: user-service
  phases:
    - { name: a, rate: 100, for: 10s }
    - { name: a, rate: 5/s, for: soon }
",
    );
    let ran = bench.run(&["plan", &spec]);
    assert_eq!(ran.status.code(), Some(2));
    let said = stderr(&ran).replace(bench.path().to_str().expect("a path"), "");
    insta::assert_snapshot!("broken", said);
}

#[test]
fn too_large_a_spec_is_not_read() {
    let bench = Bench::new();
    let spec = bench.spec("large.yaml", &format!("question: {}\n", "x".repeat(10 << 20)));
    let ran = bench.run(&["experiment", &spec]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(stderr(&ran).contains("at most"), "{}", stderr(&ran));
}

#[test]
fn every_bundled_experiment_can_be_planned() {
    let bench = Bench::new();
    for entry in fs::read_dir(repository().join("experiments")).expect("the folder") {
        let file = entry.expect("an entry").file_name();
        let name = file.to_str().and_then(|f| f.strip_suffix(".yaml")).expect("a YAML file");
        let planned = bench.run(&["plan", name, "--format", "json"]);
        assert_eq!(planned.status.code(), Some(0), "{name}: {}", stderr(&planned));
        let plan: serde_json::Value = serde_json::from_str(&stdout(&planned)).expect("JSON");
        assert_eq!(plan["plan"]["experiment"], name);
    }
    assert!(!bench.path().join("runs").exists(), "planning made a run");
}

#[test]
fn recorded_autoscaling_cases_are_answered_exactly() {
    let bench = Bench::new();
    for kind in ["replicas", "behavior", "reconcile"] {
        let file = repository().join(format!("lab/hpa/tests/vectors/{kind}.jsonl"));
        let ran = bench.run(&["hpa", "--replay", file.to_str().expect("a path")]);
        assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
        let recorded = fs::read_to_string(&file).expect("vectors");
        assert_eq!(stdout(&ran).lines().count(), recorded.lines().count(), "{kind}: a result a line");
    }
    let broken = bench.spec("broken.jsonl", "{\"id\":\"a\"}\n");
    let ran = bench.run(&["hpa", "--replay", &broken]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(stderr(&ran).contains("line 1"), "{}", stderr(&ran));
}

#[test]
fn load_accounts_for_every_request_when_nobody_answers() {
    let bench = Bench::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = format!("http://{free}/");
    let ran = bench.run(&["load", &url, "-r", "100", "-d", "1s", "-c", "4", "--format", "json"]);
    let summary: serde_json::Value =
        serde_json::from_str(&stdout(&ran)).unwrap_or_else(|e| panic!("{e}: {}", stderr(&ran)));
    let count = |key: &str| summary[key].as_u64().expect("a count");
    assert!(count("offered") > 0, "{summary}");
    let fates = count("completed") + count("failed") + count("dropped") + count("unfinished");
    assert_eq!(count("offered"), fates, "{summary}");
    assert_eq!(count("completed"), 0, "{summary}");
}
