//! What every test here stands on: a home of its own, the binary, and a look at the processes that carry its mark.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The events of a journal.
pub fn events(journal: &str) -> Vec<Value> {
    journal.lines().skip(1).map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

/// A spec that runs for four seconds.
pub const SHORT: &str = "\
question: Does one replica answer fifty requests a second?
services:
  user-service: { store: sqlite, work: { create: 1ms, get: 500us } }
load:
  target: user-service
  prepare: 5
  phases:
    - { name: warm-up, rate: 50/s, for: 1s, measure: false }
    - { name: steady, rate: 50/s, for: 3s }
expect: [ 'errors < 1%', 'lost = 0' ]
";

/// The same for a minute, so that something can happen in the middle.
pub const LONG: &str = "\
question: Can this be stopped?
services:
  user-service: { store: sqlite, work: { create: 1ms, get: 500us }, replicas: 2 }
load:
  target: user-service
  prepare: 5
  phases:
    - { name: steady, rate: 100/s, for: 60s }
expect: [ 'errors < 1%' ]
";

/// A home, a folder of runs, and the binary.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a spec and returns its path.
    pub fn spec(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a spec");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    pub fn lab(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command.args(args).current_dir(self.path());
        command.env("LAB_HOME", self.path().join("home")).env("LAB_RUNS", self.path().join("runs"));
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.lab(args).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Starts it; what it says goes to a file.
    pub fn start(&self, args: &[&str]) -> Running {
        let log = self.path().join(format!("talk-{}.txt", args.join("-").replace('/', "_")));
        let file = std::fs::File::create(&log).expect("a log");
        let mut command = self.lab(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Running { child: command.spawn().expect("the binary starts"), log }
    }

    /// The newest run's folder.
    pub fn run_dir(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.path().join("runs")).ok()?;
        entries.filter_map(|e| Some(e.ok()?.path())).max()
    }

    pub fn journal(&self) -> String {
        let run = self.run_dir().expect("a run");
        std::fs::read_to_string(run.join("events.ndjson")).expect("a journal")
    }

    /// The first such event of the newest run that is there by now. A line that is being written is not looked at yet.
    pub fn event(&self, is: impl Fn(&Value) -> bool) -> Option<Value> {
        let text = std::fs::read_to_string(self.run_dir()?.join("events.ndjson")).ok()?;
        let whole = text.get(..=text.rfind('\n')?)?;
        events(whole).into_iter().find(is)
    }

    /// Pids of living processes of this bench: `lab` and its reaper by the home that they name, replicas by their owner's mark.
    pub fn processes(&self) -> BTreeSet<u32> {
        let home = self.path().join("home");
        let owner = std::fs::read_to_string(home.join("install-id")).unwrap_or_default();
        let home = home.to_str().expect("a path in UTF-8").to_owned();
        let marks = [home, format!("LAB_OWNER={}", owner.trim())];
        let marks: Vec<&[u8]> = marks.iter().map(|m| m.as_bytes()).filter(|m| *m != b"LAB_OWNER=").collect();
        let entries = std::fs::read_dir("/proc").expect("/proc");
        let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let ours = |pid: &u32| {
            let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let known = [read("environ"), read("cmdline")].concat();
            marks.iter().any(|mark| known.windows(mark.len()).any(|window| window == *mark))
        };
        pids.filter(ours).collect()
    }
}

impl Drop for Bench {
    /// A failed test leaves nothing behind either.
    fn drop(&mut self) {
        for pid in self.processes() {
            signal(pid, libc::SIGKILL);
        }
    }
}

/// A `lab` that is running.
pub struct Running {
    pub child: Child,
    log: PathBuf,
}

impl Running {
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, number: i32) {
        signal(self.child.id(), number);
    }

    /// Waits for its end and returns the exit code, None after a signal.
    pub fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        let child = &mut self.child;
        let status = until(limit, || child.try_wait().expect("it can be waited for"));
        status.unwrap_or_else(|| panic!("still running after {limit:?}: {}", self.said())).code()
    }

    /// Waits until it said something.
    pub fn says(&self, what: &str) {
        let said = until(Duration::from_secs(60), || self.said().contains(what).then_some(()));
        assert!(said.is_some(), "it never said `{what}`: {}", self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(libc::SIGKILL);
            drop(self.child.wait());
        }
    }
}

/// Sends a signal to a process of ours; one that is gone already is fine.
pub fn signal(pid: u32, number: i32) {
    let pid = i32::try_from(pid).expect("a pid");
    // SAFETY: kill takes any pid and signal; it touches no memory of ours.
    unsafe { libc::kill(pid, number) };
}

/// Asks again and again until there is an answer or the time is over.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if began.elapsed() > limit {
            return None;
        }
        pause();
    }
}

/// Between two looks at a state that nobody announces.
#[expect(clippy::disallowed_methods, reason = "the pause between two looks; the wait itself ends by the state")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How often a costly test repeats: few times as a rule, as often as the variable says when somebody wants to be sure.
pub fn rounds(variable: &str, usual: u32) -> u32 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}
