//! A run's directory: `runs/<id>/` with `run.json`, `events.ndjson`, `logs/`. Ids sort by time and can be read aloud.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lab_core::event::RunInfo;

/// One run's place on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    id: String,
    path: PathBuf,
}

/// A run's directory could not be made, found or read.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// `create`, `write`, `read`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No run has this id or a beginning of it.
    #[error("there is no run `{wanted}` in {}", root.display())]
    Unknown {
        /// As typed.
        wanted: String,
        /// Where runs are.
        root: PathBuf,
    },
    /// Several runs begin so.
    #[error("`{wanted}` is the beginning of {count} runs in {}", root.display())]
    Ambiguous {
        /// As typed.
        wanted: String,
        /// How many.
        count: usize,
        /// Where runs are.
        root: PathBuf,
    },
}

impl RunDir {
    /// Makes `root/<id>/` for a run of `name` that begins at `now` (UTC).
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create(root: &Path, name: &str, now: jiff::Timestamp) -> Result<Self, RunDirError> {
        let minute = now.strftime("%Y-%m-%d-%H%M");
        // Letters that cannot be mistaken for one another; the sub-minute time makes ids of one minute sort by age.
        const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
        let base = LETTERS.len() as i64;
        let first = (now.as_millisecond().rem_euclid(60_000)) * base * base * base / 60_000;
        for n in first..first + base * base {
            let letter = |place: i64| char::from(LETTERS[usize::try_from(n / place % base).unwrap_or(0)]);
            let id = format!("{minute}-{name}-{}{}{}", letter(base * base), letter(base), letter(1));
            let path = root.join(&id);
            let made = fs::create_dir_all(root).and_then(|()| fs::create_dir(&path));
            match made {
                Ok(()) => {
                    let logs = path.join("logs");
                    fs::create_dir(&logs).map_err(|source| RunDirError::Io { doing: "create", path: logs, source })?;
                    return Ok(Self { id, path });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.exists() => {}
                Err(source) => return Err(RunDirError::Io { doing: "create", path, source }),
            }
        }
        Err(RunDirError::Io { doing: "create", path: root.to_owned(), source: io::ErrorKind::AlreadyExists.into() })
    }

    /// Finds a run by its id, a beginning or an end of it, its path, or `last`.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(root: &Path, wanted: &str) -> Result<Self, RunDirError> {
        let direct = Path::new(wanted);
        if direct.join("events.ndjson").is_file()
            && let Some(id) = direct.file_name().or_else(|| root.file_name()).and_then(|n| n.to_str())
        {
            return Ok(Self { id: id.to_owned(), path: direct.to_owned() });
        }
        let mut runs = list_runs(root)?;
        if wanted == "last" {
            return runs.pop().ok_or_else(|| unknown(root, wanted));
        }
        if let Some(exact) = runs.iter().find(|r| r.id == wanted) {
            return Ok(exact.clone());
        }
        runs.retain(|r| r.id.starts_with(wanted) || r.id.ends_with(wanted));
        match (runs.pop(), runs.len()) {
            (Some(only), 0) => Ok(only),
            (Some(_), more) => {
                Err(RunDirError::Ambiguous { wanted: wanted.to_owned(), count: more + 1, root: root.to_owned() })
            }
            (None, _) => Err(unknown(root, wanted)),
        }
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("events.ndjson")
    }

    /// Writes `run.json`: what was resolved before anything began.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_info(&self, info: &RunInfo) -> Result<(), RunDirError> {
        let path = self.path.join("run.json");
        let written = serde_json::to_vec_pretty(info).map_err(io::Error::other).and_then(|text| fs::write(&path, text));
        written.map_err(|source| RunDirError::Io { doing: "write", path, source })
    }

    /// Keeps what a dashboard showed under `stills/`: one file an ending. A name that is taken gets a number. Returns their paths
    /// inside the run's folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_still(&self, name: &str, texts: &[(&str, &str)]) -> Result<Vec<String>, RunDirError> {
        let folder = self.path.join("stills");
        let failed = |doing, path: &Path, source| RunDirError::Io { doing, path: path.to_owned(), source };
        fs::create_dir_all(&folder).map_err(|source| failed("create", &folder, source))?;
        let mut taken = 1;
        let mut stem = format!("stills/{name}");
        let mut files = Vec::new();
        for (end, text) in texts {
            let mut made = fs::File::create_new(self.path.join(format!("{stem}.{end}")));
            // The first file takes the name for all.
            while files.is_empty() && made.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists) {
                taken += 1;
                stem = format!("stills/{name}-{taken}");
                made = fs::File::create_new(self.path.join(format!("{stem}.{end}")));
            }
            let file = format!("{stem}.{end}");
            let written = made.and_then(|mut made| made.write_all(text.as_bytes()));
            written.map_err(|source| failed("write", &self.path.join(&file), source))?;
            files.push(file);
        }
        Ok(files)
    }
}

fn unknown(root: &Path, wanted: &str) -> RunDirError {
    RunDirError::Unknown { wanted: wanted.to_owned(), root: root.to_owned() }
}

/// Every run below `root`, oldest first. A missing `root` has none.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn list_runs(root: &Path) -> Result<Vec<RunDir>, RunDirError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RunDirError::Io { doing: "read", path: root.to_owned(), source }),
    };
    let mut runs: Vec<RunDir> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("events.ndjson").is_file())
        .filter_map(|entry| Some(RunDir { id: entry.file_name().to_str()?.to_owned(), path: entry.path() }))
        .collect();
    runs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(second: &str) -> jiff::Timestamp {
        format!("2026-11-24T15:30:{second}Z").parse().expect("a timestamp")
    }

    fn make(root: &Path, name: &str, second: &str) -> RunDir {
        let run = RunDir::create(root, name, stamp(second)).expect("a run");
        fs::write(run.journal(), "").expect("a journal");
        run
    }

    #[test]
    fn ids_sort_by_time_and_never_clash() {
        let root = tempfile::tempdir().expect("a folder");
        let ids: Vec<_> = ["05", "05", "05", "31", "59.9"]
            .iter()
            .map(|second| make(root.path(), "autoscale-users", second).id().to_owned())
            .collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids[0].starts_with("2026-11-24-1530-autoscale-users-"), "{}", ids[0]);
        assert_eq!(list_runs(root.path()).expect("a list").len(), 5);
    }

    #[test]
    fn a_still_of_the_same_instant_takes_nobodys_place() {
        let root = tempfile::tempdir().expect("a folder");
        let run = make(root.path(), "one", "05");
        for (text, end) in [("first", ""), ("second", "-2"), ("third", "-3")] {
            let files = run.write_still("1.000s-80x24", &[("txt", text), ("svg", text)]).expect("files");
            assert_eq!(files, ["txt", "svg"].map(|kind| format!("stills/1.000s-80x24{end}.{kind}")));
            let kept = files.iter().map(|file| fs::read_to_string(run.path().join(file)).expect("a text"));
            assert!(kept.into_iter().all(|kept| kept == text));
        }
    }

    #[test]
    fn a_run_is_found_by_part_of_its_id() {
        let root = tempfile::tempdir().expect("a folder");
        let one = make(root.path(), "one", "05");
        let two = make(root.path(), "two", "45");
        assert_eq!(RunDir::find(root.path(), one.id()).expect("by id"), one);
        assert_eq!(RunDir::find(root.path(), "2026-11-24-1530-two").expect("by its beginning"), two);
        assert_eq!(RunDir::find(root.path(), "last").expect("the last"), two);
        assert!(matches!(RunDir::find(root.path(), "2026"), Err(RunDirError::Ambiguous { count: 2, .. })));
        assert!(matches!(RunDir::find(root.path(), "nope"), Err(RunDirError::Unknown { .. })));
    }
}
