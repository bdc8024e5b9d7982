//! Ctrl-C and worse: what was begun is finished or removed, and the journal stays readable.

use std::process::Command;
use std::time::Duration;

use super::bench::{Bench, LONG, Running, SHORT, events, rounds, signal, stderr, until};

/// Starts a long experiment and waits until load runs.
fn under_load(bench: &Bench) -> Running {
    let spec = bench.spec("long.yaml", LONG);
    let running = bench.start(&["experiment", &spec]);
    let loaded = until(Duration::from_secs(60), || {
        let journal = bench.run_dir()?.join("events.ndjson");
        std::fs::read_to_string(journal).ok()?.contains("\"kind\":\"sample\"").then_some(())
    });
    assert!(loaded.is_some(), "no load: {}", running.said());
    // `lab`, its reaper, two replicas and a generator: what the other assertions find gone is seen here.
    assert!(bench.processes().len() >= 5, "{:?}", bench.processes());
    running
}

#[test]
fn ctrl_c_once_drains_reports_and_removes() {
    let bench = Bench::new();
    let mut lab = under_load(&bench);
    lab.signal(libc::SIGINT);
    assert_eq!(lab.ends_within(Duration::from_secs(30)), Some(130), "{}", lab.said());
    assert!(bench.processes().is_empty(), "something runs on");
    let run = bench.run_dir().expect("a run");
    assert!(run.join("report.md").is_file(), "no report: {}", lab.said());
    let events = events(&bench.journal());
    assert_eq!(events.last().expect("events")["kind"], "run-ended");
    assert!(events.iter().any(|e| e["kind"] == "sample" && e["last"] == true), "not drained");
}

#[test]
fn ctrl_c_ends_also_when_a_replica_is_stopped() {
    let bench = Bench::new();
    let mut lab = under_load(&bench);
    let pid = events(&bench.journal())
        .iter()
        .find(|e| e["kind"] == "replica-started" && e["workload"] == "user-service")
        .and_then(|e| e["pid"].as_u64())
        .expect("a replica's pid");
    signal(u32::try_from(pid).expect("a pid"), libc::SIGSTOP);
    lab.signal(libc::SIGINT);
    assert_eq!(lab.ends_within(Duration::from_secs(30)), Some(130), "{}", lab.said());
    assert!(bench.processes().is_empty(), "something runs on");
}

#[test]
fn ctrl_c_twice_tears_down_at_once() {
    let bench = Bench::new();
    let mut lab = under_load(&bench);
    lab.signal(libc::SIGINT);
    lab.says("once more tears everything down");
    lab.signal(libc::SIGINT);
    assert_eq!(lab.ends_within(Duration::from_secs(30)), Some(130), "{}", lab.said());
    assert!(bench.processes().is_empty(), "something runs on");
}

#[test]
fn ctrl_c_three_times_leaves_at_once_and_the_reaper_removes() {
    let bench = Bench::new();
    let mut lab = under_load(&bench);
    // A replica that hangs keeps the second request from being done at once.
    for pid in bench.processes().into_iter().filter(|pid| *pid != lab.child.id()) {
        let serves = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&serves).contains("user-service") {
            signal(pid, libc::SIGSTOP);
        }
    }
    for said in ["interrupted: finishing", "interrupted again", "interrupted a third time"] {
        lab.signal(libc::SIGINT);
        lab.says(said);
    }
    let code = lab.ends_within(Duration::from_secs(10));
    assert!(matches!(code, Some(5 | 130)), "{code:?}: {}", lab.said());
    let gone = until(Duration::from_secs(15), || bench.processes().is_empty().then_some(()));
    assert!(gone.is_some(), "still there: {:?}", bench.processes());
}

/// `LAB_TEST_KILLS=20` for the full round.
#[test]
fn after_kill_9_at_any_moment_nothing_stays_and_the_run_can_be_read() {
    let bench = Bench::new();
    let mut foreign = Command::new("sleep").arg("600").spawn().expect("a foreign process");
    let spec = bench.spec("long.yaml", LONG);
    let kills = rounds("LAB_TEST_KILLS", 4);
    for round in 0..kills {
        let mut lab = bench.start(&["experiment", &spec]);
        // Spread over start-up and the first seconds of load, at places that no two rounds share.
        let moment = Duration::from_millis(u64::from(round) * 5000 / u64::from(kills) + u64::from(round * 37 % 100));
        assert!(until(moment, || lab.child.try_wait().expect("a state")).is_none(), "{}", lab.said());
        lab.signal(libc::SIGKILL);
        lab.child.wait().expect("it ends");
        let gone = until(Duration::from_secs(15), || bench.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "killed after {moment:?}, still there: {:?}", bench.processes());
        assert!(foreign.try_wait().expect("a state").is_none(), "a foreign process was ended");
        readable(&bench, moment);
    }
    foreign.kill().expect("ours to end");
    foreign.wait().expect("it ends");
    let short = bench.spec("short.yaml", SHORT);
    let next = bench.run(&["experiment", &short]);
    // On a machine that is busy with others its measurement may be invalid, which is not the question here.
    assert!(matches!(next.status.code(), Some(0 | 4)), "the next run: {}", stderr(&next));
}

/// The killed run's report is marked incomplete; a run that was killed before its journal began has none.
fn readable(bench: &Bench, moment: Duration) {
    let Some(run) = bench.run_dir().filter(|run| run.join("events.ndjson").is_file()) else { return };
    let text = std::fs::read_to_string(run.join("events.ndjson")).expect("a journal");
    if text.lines().count() < 2 {
        return;
    }
    let reported = bench.run(&["report", run.to_str().expect("a path")]);
    assert!(matches!(reported.status.code(), Some(0 | 1 | 4)), "killed after {moment:?}: {}", stderr(&reported));
    let report = std::fs::read_to_string(run.join("report.md")).expect("a report");
    assert!(report.to_lowercase().contains("incomplete"), "killed after {moment:?}: {report}");
}
