//! Other processes for tests: a test starts its own binary again, tells the copy its part, and may kill it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

const PART: &str = "BACKING_TEST_PART";

/// The part this process plays, when it is a copy: the words after the test's name.
pub fn part() -> Option<Vec<String>> {
    let part = std::env::var(PART).ok()?;
    Some(part.split('\u{1f}').map(str::to_owned).collect())
}

/// A copy of this process that runs the named test only. Killed and waited for when dropped.
pub struct Copy {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// Starts a copy in a part.
pub fn start(test: &str, part: &[&str]) -> Copy {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, part.join("\u{1f}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Copy { child, lines }
}

/// Reports to the process that started this one.
pub fn report(word: &str, value: impl std::fmt::Display) {
    println!("\n@{word} {value}");
}

impl Copy {
    /// The next value reported under `word`; None when the copy has ended.
    pub fn next(&mut self, word: &str) -> Option<String> {
        let wanted = format!("@{word} ");
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // A line cut by the kill has no end and does not count.
            if let Some(value) = line.strip_prefix(&wanted).and_then(|value| value.strip_suffix('\n')) {
                return Some(value.to_owned());
            }
        }
    }

    /// SIGKILL; returns what was reported under `word` and not yet read.
    pub fn kill(mut self, word: &str) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.next(word)).collect()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        let mut rest = Vec::new();
        drop(self.lines.read_to_end(&mut rest));
    }
}
