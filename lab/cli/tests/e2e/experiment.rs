//! A whole experiment, from a spec to a report that can be written again.

use std::fs;

use serde_json::{Value, json};

use super::bench::{Bench, SHORT, events, stderr, stdout};

#[test]
fn a_short_experiment_ends_with_a_report_that_adds_up() {
    let bench = Bench::new();
    let spec = bench.spec("short.yaml", SHORT);
    let ran = bench.run(&["experiment", &spec]);
    assert_eq!(ran.status.code(), Some(0), "{}\n{}", stdout(&ran), stderr(&ran));
    assert!(bench.processes().is_empty(), "something runs on");

    let run = bench.run_dir().expect("a run");
    for file in ["run.json", "events.ndjson", "report.md", "summary.json"] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    let report = fs::read_to_string(run.join("report.md")).expect("a report");
    assert!(report.contains("Does one replica answer fifty requests a second?"), "{report}");
    let offered = offered_in(&bench.journal());
    assert!((120..280).contains(&offered), "200 requests were to be offered, {offered} were");

    let timed = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && line.starts_with(' ');
    let (live, talk) = (bench.run(&["replay", "last"]), stderr(&ran));
    assert_eq!(stdout(&live).lines().collect::<Vec<_>>(), talk.lines().filter(timed).collect::<Vec<_>>());

    let again = bench.run(&["report", "last"]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert_eq!(fs::read_to_string(run.join("report.md")).expect("a report"), report, "not the same twice");
}

#[test]
fn a_journal_cut_anywhere_is_an_incomplete_run() {
    let bench = Bench::new();
    let spec = bench.spec("short.yaml", SHORT);
    assert_eq!(bench.run(&["experiment", &spec]).status.code(), Some(0));
    let run = bench.run_dir().expect("a run");
    let journal = fs::read_to_string(run.join("events.ndjson")).expect("a journal");
    let cut = bench.path().join("runs/cut");
    fs::create_dir(&cut).expect("a folder");
    let step = (journal.len() / 12).max(1);
    for end in (step..journal.len() - 1).step_by(step) {
        fs::write(cut.join("events.ndjson"), &journal.as_bytes()[..end]).expect("a cut journal");
        let reported = bench.run(&["report", cut.to_str().expect("a path")]);
        assert!(matches!(reported.status.code(), Some(0 | 1 | 4)), "cut at {end}: {}", stderr(&reported));
        let report = fs::read_to_string(cut.join("report.md")).expect("a report");
        assert!(report.to_lowercase().contains("incomplete"), "cut at {end}: {report}");
    }
}

#[test]
fn a_failed_expectation_is_exit_code_one() {
    let bench = Bench::new();
    let spec = bench.spec("strict.yaml", &SHORT.replace("'lost = 0'", "'p50(steady) < 1us'"));
    let ran = bench.run(&["experiment", &spec, "--format", "json"]);
    assert_eq!(ran.status.code(), Some(1), "{}", stderr(&ran));
    let summary: Value = serde_json::from_str(&stdout(&ran)).expect("JSON on stdout");
    assert_eq!(summary["verdict"], "fail", "{summary}");
}

#[test]
fn queued_messages_are_all_stored() {
    let bench = Bench::new();
    let spec = bench.spec(
        "messages.yaml",
        "\
question: Does every message arrive?
services:
  message-service: { store: sqlite, queue: sqlite, consumers: 2, work: { send: 100us, consume: 1ms } }
load:
  target: message-service
  mix: { send: 80%, messages: 20% }
  phases: [ { name: steady, rate: 100/s, for: 4s } ]
expect: [ 'lost = 0', 'unexpected = 0', 'duplicates = 0', 'errors = 0%' ]
",
    );
    let ran = bench.run(&["experiment", &spec]);
    // A busy machine may make the measurement of times invalid, which says nothing of deliveries.
    assert!(matches!(ran.status.code(), Some(0 | 4)), "{}\n{}", stdout(&ran), stderr(&ran));
    let ledger = events(&bench.journal()).into_iter().find(|e| e["kind"] == "conserved").expect("a delivery ledger");
    for none in ["lost", "unexpected", "duplicated"] {
        assert_eq!(ledger[none], json!({ "count": 0 }), "{ledger}");
    }
    assert!(ledger["acknowledged"].as_u64().expect("a count") > 100, "{ledger}");
    assert_eq!((&ledger["drained"], &ledger["redelivered"], &ledger["repeated"]), (&json!(true), &json!(0), &json!(0)));
}

/// Requests offered in all samples of a journal; each sample's counts must sum.
fn offered_in(journal: &str) -> i64 {
    let samples = events(journal).into_iter().filter(|e| e["kind"] == "sample");
    let mut offered = 0;
    for sample in samples {
        for phase in sample["phases"].as_array().expect("phases") {
            let count = |key: &str| phase["counts"][key].as_i64().expect("a count");
            let fates: i64 = ["completed", "failed", "dropped", "unfinished"].iter().map(|key| count(key)).sum();
            assert_eq!(count("offered"), fates, "{phase}");
            offered += count("offered");
        }
    }
    offered
}
