//! The dashboard as a user meets it: on a terminal, over runs and labs that go on. What a run left early or ended by a signal comes to.

use serde_json::Value;

use super::bench::{Bench, LONG, SHORT, stderr, until};
use super::pty::{DEADLINE, END, ENTER, Ended, LEFT, Terminal};

/// Two phases at a rate that has no scatter, so that the scale of the load is that of the plan.
const TWO_PHASES: &str = "\
question: What goes on when nobody looks?
services:
  user-service: { store: sqlite, work: { create: 1ms, get: 500us }, replicas: 2 }
load:
  target: user-service
  prepare: 5
  arrivals: constant
  phases:
    - { name: first, rate: 50/s, for: 5s }
    - { name: second, rate: 50/s, for: 5s }
expect: [ 'errors < 50%' ]
";

/// An experiment on a terminal, with its dashboard shown and load under way.
fn under_load<'b>(bench: &'b Bench, spec: &str) -> Terminal<'b> {
    let spec = bench.spec("shown.yaml", spec);
    let mut terminal = Terminal::start(bench, &["experiment", &spec]);
    terminal.is_in("LIVE");
    terminal.has_loaded_for(2);
    terminal
}

/// The row of times below the lanes.
fn axis(screen: &str) -> &str {
    screen.lines().find(|row| row.starts_with("since load")).unwrap_or_else(|| panic!("no axis: {screen}"))
}

/// Waits for an event.
fn event(bench: &Bench, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(DEADLINE, || bench.event(&is)).unwrap_or_else(|| panic!("no {what}:\n{}", bench.journal()))
}

/// The report's last lines stand on the terminal, and the exit code is what the report says.
fn concluded(bench: &Bench, ended: &Ended) {
    let run = bench.run_dir().expect("a run");
    let summary = std::fs::read_to_string(run.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let told = |key: &str| summary[key].as_str().expect("a word").to_owned();
    // A machine that kept the generator from its CPU makes any run invalid.
    let code = match (told("validity").as_str(), told("verdict").as_str()) {
        ("invalid", _) => 4,
        (_, "fail") => 1,
        _ => 0,
    };
    let incomplete = if summary["complete"] == true { "" } else { ", incomplete" };
    let verdict = told("verdict").replace('-', " ");
    let words = format!("verdict: {verdict}; measurement: {}{incomplete}", told("validity"));
    assert!(ended.screen.contains(&words), "`{words}` is not in {}", ended.screen);
    let report = format!("report: {}", run.join("report.md").display());
    assert!(ended.screen.contains(&report), "`{report}` is not in {}", ended.screen);
    assert_eq!(ended.code, if incomplete.is_empty() { code } else { 130 }, "{}", ended.screen);
}

/// It was ended early, and in order.
fn drained(bench: &Bench, ended: &Ended) {
    assert_eq!(ended.code, 130, "{}", ended.screen);
    assert!(bench.event(|e| e["kind"] == "sample" && e["last"] == true).is_some(), "not drained");
    assert!(bench.event(|e| e["kind"] == "run-ended" && e["outcome"] == "interrupted").is_some(), "no end");
    concluded(bench, ended);
}

#[test]
fn a_run_is_looked_at_steered_and_left_and_goes_on() {
    let bench = Bench::new();
    let mut terminal = under_load(&bench, TWO_PHASES);
    let live = terminal.shows("60/s");
    assert!(axis(&live).contains("└0:00 ") && live.contains("space pause"), "{live}");
    terminal.press(LEFT);
    let held = terminal.is_in("SCRUB");
    // The cursor's own time stands below its column; the footer names the way back.
    // Only a cursor tells tenths.
    assert!(axis(&held).contains('.') && !axis(&live).contains('.'), "{held}");
    assert!(held.contains("space live"), "{held}");
    terminal.press(END);
    terminal.is_in("LIVE");

    terminal.press("+");
    terminal.shows("rate 55/s from now on");
    let change = event(&bench, "change", |e| e["kind"] == "load-changed");
    assert_eq!((&change["by"], &change["change"]["rate"]), (&Value::from("user"), &Value::from(55.0)), "{change}");
    // The scale of the load leaves a fifth above what is planned by now.
    terminal.shows("66/s");

    terminal.press("q");
    let asked = terminal.shows("leave?");
    assert!(asked.contains("the run goes on, told in sentences"), "{asked}");
    assert!(asked.contains("up now: 3 replicas, removed when the run ends"), "{asked}");
    terminal.press("q");
    terminal.shows("the run goes on; Ctrl-C ends it");
    terminal.is_given_back();
    let ended = terminal.end_of_all();
    for sentence in ["phase second ends", "run is complete"] {
        assert!(ended.screen.contains(sentence), "`{sentence}` is not in {}", ended.screen);
    }
    assert!(ended.screen.contains("measurement: suspect") || ended.code == 4, "steered by hand: {}", ended.screen);
    concluded(&bench, &ended);
}

#[test]
fn a_run_is_stopped_from_the_dashboard() {
    let bench = Bench::new();
    let mut terminal = under_load(&bench, LONG);
    terminal.press("S");
    terminal.shows("stop the run?");
    terminal.press("n");
    terminal.hides("stop the run?");
    terminal.press("S");
    terminal.shows("stop the run?");
    terminal.press("y");
    // Its last words; until somebody leaves they stay.
    terminal.shows("verdict: ");
    terminal.is_in("ENDED");
    assert!(bench.event(|e| e["kind"] == "run-ended").is_some(), "it says so before it is so");
    terminal.press("q");
    drained(&bench, &terminal.end_of_all());
}

#[test]
fn a_run_is_stopped_and_left_at_once() {
    let bench = Bench::new();
    let mut terminal = under_load(&bench, LONG);
    terminal.press("q");
    terminal.shows("leave?");
    terminal.press("S");
    terminal.shows("the run is being stopped; once more tears it down at once");
    terminal.is_given_back();
    drained(&bench, &terminal.end_of_all());
}

#[test]
fn a_run_that_ends_is_read_and_left() {
    let bench = Bench::new();
    let spec = bench.spec("short.yaml", SHORT);
    let pager = bench.spec("pager", "echo \"read $2 on a terminal of $(stty -a | grep -c ' icanon')\"\nread -r line\n");
    let mut terminal = Terminal::start_with(&bench, &["experiment", &spec], &[("PAGER", &format!("sh {pager} -x"))]);
    terminal.is_in("LIVE");
    terminal.press("o");
    terminal.shows("there is no report yet");
    terminal.shows("verdict: ");
    terminal.is_in("ENDED");
    terminal.press("o");
    let report = bench.run_dir().expect("a run").join("report.md");
    terminal.shows(&format!("read {} on a terminal of 1", report.display()));
    terminal.is_given_back();
    terminal.press(ENTER);
    terminal.is_in("ENDED");
    terminal.press("q");
    concluded(&bench, &terminal.end_of_all());
}

#[test]
fn a_signal_ends_the_screen_and_the_run() {
    let bench = Bench::new();
    let terminal = under_load(&bench, LONG);
    terminal.signal(libc::SIGTERM);
    let ended = terminal.end_of_all();
    assert!(ended.screen.contains("the run is being stopped"), "{}", ended.screen);
    drained(&bench, &ended);
}

#[test]
fn a_lab_is_shown_where_it_is_held_and_where_it_is_watched() {
    let bench = Bench::new();
    let mut held = Terminal::start(&bench, &["up"]);
    let ready = held.shows("ready: user-service :");
    assert!(ready.contains(" · load-generator :"), "{ready}");

    let mut watched = Terminal::start(&bench, &["watch"]);
    watched.is_in("LIVE");
    watched.press("n");
    watched.shows("note");
    watched.press("all is quiet");
    watched.press(ENTER);
    watched.shows("noted");
    event(&bench, "note", |e| e["kind"] == "note" && e["text"] == "all is quiet");

    watched.press("x");
    watched.shows("kill user-service-1?");
    watched.press("y");
    watched.shows("user-service-1 is killed");
    let killed = event(&bench, "fault", |e| e["kind"] == "fault" && e["replica"] == "user-service-1")["n"].as_u64();
    event(&bench, "replacement", |e| {
        e["kind"] == "replica-ready" && e["workload"] == "user-service" && e["n"].as_u64() > killed
    });
    for terminal in [&mut watched, &mut held] {
        terminal.press("e");
        terminal.shows("user-service gets a new replica for one that died");
    }

    watched.press("q");
    let asked = watched.shows("leave?");
    assert!(asked.contains("lab stays up with 3 replicas"), "{asked}");
    assert!(asked.contains("remove it with: lab down --name lab"), "{asked}");
    watched.press("q");
    let left = watched.end();
    assert_eq!(left.code, 0, "{}", left.screen);
    assert!(left.screen.contains("lab lab stays up; remove it with: lab down --name lab"), "{}", left.screen);
    held.is_in("LIVE");

    let down = bench.run(&["down"]);
    assert_eq!(down.status.code(), Some(0), "{}", stderr(&down));
    held.shows("lab lab is down");
    held.is_in("ENDED");
    held.press("q");
    let ended = held.end_of_all();
    assert_eq!(ended.code, 0, "{}", ended.screen);
}
