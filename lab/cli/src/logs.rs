//! The replicas' logs of a run, read as they grow. The work of one call is bounded, whatever was written since the last: what cannot be
//! kept anyway is counted and not looked at.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lab_core::unit::RunTime;
use lab_tui::pane::{LogLine, Logs};
use serde_json::Value;

/// Lines that are kept.
const KEPT: usize = 2_000;
/// Bytes that a call reads.
const BYTES: u64 = 4 << 20;
/// Bytes that a call reads of a file at least, however many files there are; a longer line is taken in pieces.
const LEAST: u64 = 64 << 10;
/// Lines that a call looks into.
const LOOKED_AT: usize = KEPT;
/// Characters kept of a line.
const LONGEST: usize = 400;

/// Reads the logs of a run.
#[derive(Debug)]
pub struct LogReader {
    run: PathBuf,
    /// Wall-clock time of run time 0, from the run's `run.json`; without it every line is of the beginning.
    began: Option<Timestamp>,
    files: BTreeMap<PathBuf, LogFile>,
    /// Where the next call begins, so that one busy replica does not hide the others.
    turn: usize,
}

#[derive(Debug, Default)]
struct LogFile {
    offset: u64,
    /// When the newest line with a time was written; lines without one came with it.
    at: RunTime,
}

impl LogReader {
    /// Of the run in a folder. Nothing is read yet.
    pub fn new(run: &Path) -> Self {
        Self { run: run.to_owned(), began: None, files: BTreeMap::new(), turn: 0 }
    }

    /// Takes in what was written since the last call, or as much of it as one call may. True when there was any.
    pub fn read(&mut self, into: &mut Logs) -> bool {
        let paths = paths(&self.run.join("logs"));
        let grown: Vec<_> = paths.iter().filter(|path| self.grown(path)).collect();
        if grown.is_empty() {
            return false;
        }
        self.began = self.began.or_else(|| began(&self.run));
        let share = (BYTES / grown.len() as u64).max(LEAST);
        let looked_at = (LOOKED_AT / grown.len()).max(1);
        let (mut left, mut any) = (BYTES, false);
        for n in 0..grown.len() {
            let path = grown[(self.turn + n) % grown.len()];
            if left < LEAST {
                self.turn = (self.turn + n) % grown.len();
                break;
            }
            let read = self.read_file(path, share.min(left), looked_at, into);
            any |= read > 0;
            left = left.saturating_sub(read);
        }
        settle(into);
        any
    }

    /// True when a file has something that was not read; one that became shorter begins anew.
    fn grown(&mut self, path: &Path) -> bool {
        let Ok(length) = fs::metadata(path).map(|meta| meta.len()) else { return false };
        let file = self.files.entry(path.to_owned()).or_default();
        if length < file.offset {
            file.offset = 0;
        }
        length > file.offset
    }

    /// Reads whole lines of a file, `most` bytes of it. Returns how many bytes that were.
    fn read_file(&mut self, path: &Path, most: u64, looked_at: usize, into: &mut Logs) -> u64 {
        let file = self.files.entry(path.to_owned()).or_default();
        let Some(bytes) = chunk(path, file.offset, most) else { return 0 };
        let full = bytes.len() as u64 >= most;
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if full => bytes.len(),
            None => return 0,
        };
        file.offset += end as u64;
        let text = bytes[..end].strip_suffix(b"\n").unwrap_or(&bytes[..end]);
        let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
        let passed = lines.saturating_sub(looked_at);
        into.read += lines as u64;
        into.passed += passed as u64;
        let replica = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut newest = Vec::new();
        for line in text.rsplit(|byte| *byte == b'\n').take(looked_at) {
            newest.push(line);
        }
        for line in newest.into_iter().rev() {
            let (at, text) = compact(line, self.began);
            file.at = at.unwrap_or(file.at);
            add(into, LogLine { at: file.at, replica: replica.clone(), text, times: 1 });
        }
        end as u64
    }
}

/// When a run began, to the millisecond.
fn began(run: &Path) -> Option<Timestamp> {
    let info: Value = serde_json::from_slice(&fs::read(run.join("run.json")).ok()?).ok()?;
    info.get("started_at")?.as_str()?.parse().ok()
}

/// The log files, by name.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> =
        entries.map(|e| e.path()).filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    paths.sort();
    paths
}

/// Bytes of a file; None when it cannot be read, which the next call tries again.
fn chunk(path: &Path, offset: u64, most: u64) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Adds a line, to its replica's last one if that says the same.
fn add(into: &mut Logs, line: LogLine) {
    match into.lines.iter_mut().rev().find(|last| last.replica == line.replica) {
        Some(last) if last.text == line.text => {
            last.times += line.times;
            last.at = line.at;
        }
        _ => into.lines.push(line),
    }
}

/// Brings lines of several files into the order of time, and lets the oldest go.
fn settle(into: &mut Logs) {
    into.lines.sort_by_key(|line| line.at);
    let over = into.lines.len().saturating_sub(KEPT);
    into.passed += into.lines.drain(..over).map(|line| line.times).sum::<u64>();
}

/// When a line was written, as far as it tells, and what it says: level, message and fields of a structured line, else the line itself.
fn compact(line: &[u8], began: Option<Timestamp>) -> (Option<RunTime>, String) {
    let raw = || String::from_utf8_lossy(line).trim_end().chars().take(LONGEST).collect();
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(line) else { return (None, raw()) };
    let at = fields.get("timestamp").and_then(Value::as_str).and_then(|stamp| since(stamp, began?));
    let mut parts = Vec::new();
    for key in ["level", "message"] {
        parts.extend(fields.get(key).map(plain));
    }
    let others = fields.iter().filter(|(key, _)| !matches!(key.as_str(), "timestamp" | "level" | "message" | "target"));
    parts.extend(others.map(|(key, value)| format!("{key}={}", plain(value))));
    (at, parts.join(" ").chars().take(LONGEST).collect())
}

fn since(stamp: &str, began: Timestamp) -> Option<RunTime> {
    let elapsed = stamp.parse::<Timestamp>().ok()?.duration_since(began);
    Some(RunTime(u64::try_from(elapsed.as_nanos()).unwrap_or(0)))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const INFO: &str = r#"{"run":"x","started_at":"2026-11-24T15:30:00.250Z"}"#;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("run.json"), INFO).expect("run.json");
            fs::create_dir(folder.path().join("logs")).expect("a folder");
            Self(folder)
        }

        fn write(&self, replica: &str, text: &str) {
            let file = fs::OpenOptions::new().append(true).create(true).open(self.path(replica));
            file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a log");
        }

        fn path(&self, replica: &str) -> PathBuf {
            self.0.path().join(format!("logs/{replica}.log"))
        }

        fn reader(&self) -> LogReader {
            LogReader::new(self.0.path())
        }
    }

    fn line(second: f64, message: &str) -> String {
        format!(
            "{{\"timestamp\":\"2026-11-24T15:30:{second:09.6}Z\",\"level\":\"INFO\",\"message\":\"{message}\",\"n\":3,\"target\":\"kit\"}}\n"
        )
    }

    fn texts(logs: &Logs) -> Vec<(u64, &str, &str, u64)> {
        logs.lines.iter().map(|l| (l.at.0 / 1_000_000, l.replica.as_str(), l.text.as_str(), l.times)).collect()
    }

    fn accounted(logs: &Logs) -> u64 {
        logs.passed + logs.lines.iter().map(|line| line.times).sum::<u64>()
    }

    #[test]
    fn lines_of_all_replicas_stand_in_the_order_of_time() {
        let (folder, mut logs) = (Folder::new(), Logs::default());
        let mut reader = folder.reader();
        assert!(!reader.read(&mut logs), "nothing there");
        folder.write("b-1", &(line(2.25, "serving") + "not JSON \u{1b}[31m\n"));
        folder.write("a-1", &(line(1.25, "serving") + &line(4.25, "draining")));
        folder.write("notes", "");
        assert!(reader.read(&mut logs));
        assert_eq!(
            texts(&logs),
            [
                (1_000, "a-1", "INFO serving n=3", 1),
                (2_000, "b-1", "INFO serving n=3", 1),
                (2_000, "b-1", "not JSON \u{1b}[31m", 1),
                (4_000, "a-1", "INFO draining n=3", 1)
            ]
        );
        assert_eq!((logs.read, logs.passed), (4, 0));
        assert!(!reader.read(&mut logs), "nothing new");
    }

    #[test]
    fn a_line_is_taken_when_it_is_whole_and_equal_ones_become_one() {
        let (folder, mut logs) = (Folder::new(), Logs::default());
        let mut reader = folder.reader();
        let (whole, half) = (line(1.25, "slow"), line(2.25, "slow"));
        folder.write("a-1", &(whole + &half[..30]));
        reader.read(&mut logs);
        assert_eq!(texts(&logs), [(1_000, "a-1", "INFO slow n=3", 1)]);
        folder.write("a-1", &half[30..]);
        folder.write("b-1", &line(3.25, "slow"));
        reader.read(&mut logs);
        assert_eq!(texts(&logs), [(2_000, "a-1", "INFO slow n=3", 2), (3_000, "b-1", "INFO slow n=3", 1)]);
        assert_eq!(logs.read, 3);
        fs::write(folder.path("a-1"), line(5.25, "anew")).expect("a log");
        reader.read(&mut logs);
        assert_eq!(texts(&logs).last(), Some(&(5_000, "a-1", "INFO anew n=3", 1)), "a file that became shorter");
    }

    #[test]
    fn a_flood_is_counted_and_its_newest_lines_kept() {
        let (folder, mut logs) = (Folder::new(), Logs::default());
        let mut reader = folder.reader();
        let flood: String = (0..30_000).map(|n| line(1.25, &format!("request {n}"))).collect();
        folder.write("a-1", &flood);
        folder.write("b-1", &line(1.25, "serving"));
        let mut calls = 0;
        while reader.read(&mut logs) {
            calls += 1;
            assert!(logs.lines.len() <= KEPT && accounted(&logs) == logs.read, "call {calls}");
        }
        assert!(calls >= 2, "more than a call may read was read at once");
        assert_eq!(logs.read, 30_001);
        assert!(logs.lines.iter().any(|l| l.text.contains("request 29999")), "the newest is there");
        folder.write("c-1", &"x".repeat(LEAST as usize * 2));
        reader.read(&mut logs);
        assert!(accounted(&logs) == logs.read);
        assert!(logs.lines.iter().all(|l| l.text.chars().count() <= LONGEST));
    }
}
