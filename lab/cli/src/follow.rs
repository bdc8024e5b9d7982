//! A run's events from where they are kept: a journal on disk, also while it is being written, or the run that comes with the binary.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Seek as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::read::GzDecoder;
use lab_core::event::Event;
use lab_core::journal::{Decoder, JournalError};
use lab_core::model::Trial;
use lab_core::unit::RunTime;
use lab_core::words::clock;
use lab_run::RunDir;
use lab_tui::axis::zero;
use lab_tui::timeline::{History, HistoryError, Place, Timeline};

use crate::error::LabError;
use crate::instant::At;
use crate::settings::Settings;

/// The word for the run that comes with the binary.
pub const DEMO: &str = "demo";
/// It, as a compressed journal: `gzip -9n < runs/ID/events.ndjson` of a run of `autoscale-users`.
const DEMO_JOURNAL: &[u8] = include_bytes!("../demo/autoscale-users.ndjson.gz");
/// Bytes read from a file at once.
const BUFFER: usize = 256 << 10;

/// Where a run that was asked for by a word is.
#[derive(Debug, Clone)]
pub enum Source {
    /// On disk.
    Folder(RunDir),
    /// In the binary.
    Demo,
}

impl Source {
    /// Finds a run by `demo`, its id, a beginning or an end of it, its folder, or `last`.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(settings: &Settings, word: &str) -> Result<Self, LabError> {
        if word == DEMO {
            return Ok(Self::Demo);
        }
        let found = RunDir::find(&settings.runs, word).map_err(|e| {
            LabError::refused(format!("cannot find run `{word}`"), e).hint("see what there is: lab runs, or take: demo")
        });
        found.map(Self::Folder)
    }

    /// What it is called in sentences.
    pub fn name(&self) -> &str {
        match self {
            Self::Folder(dir) => dir.id(),
            Self::Demo => DEMO,
        }
    }

    /// Its events.
    ///
    /// # Errors
    /// The run that comes with the binary cannot be unpacked.
    pub fn history(&self) -> Result<Box<dyn History>, LabError> {
        Ok(match self {
            Self::Folder(dir) => Box::new(JournalHistory::new(dir.journal())),
            Self::Demo => Box::new(TextHistory::demo()?),
        })
    }

    /// All that is there now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn timeline(&self) -> Result<Timeline, LabError> {
        let mut timeline = Timeline::new(self.history()?);
        timeline.read(usize::MAX).map_err(|e| self.unreadable(e))?;
        Ok(timeline)
    }

    /// Passes on all events that are there now.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn each(&self, mut each: impl FnMut(Event)) -> Result<(), LabError> {
        let mut pass = |event, _| {
            each(event);
            ControlFlow::Continue(())
        };
        self.history()?.read(Place::default(), &mut pass).map_err(|e| self.unreadable(e))
    }

    /// The instant that was asked for, in a run that was read up to `end`.
    ///
    /// # Errors
    /// It is not within the run.
    pub fn instant(&self, at: At, trial: Option<&Trial>, end: RunTime) -> Result<RunTime, LabError> {
        let zero = trial.map_or(RunTime(0), zero);
        at.within(zero, end).ok_or_else(|| {
            let (first, last) = (clock(RunTime(0), zero), clock(end, zero));
            let hint =
                format!("it goes from {first} to {last} since the load began, that is run:0s to {}", At::Run(end));
            LabError::input(format!("{at} is not within run `{}`", self.name())).hint(hint)
        })
    }

    /// The error of a history of this run.
    pub fn unreadable(&self, error: HistoryError) -> LabError {
        LabError::refused(format!("cannot read run `{}`", self.name()), error)
    }
}

/// Follows a journal on disk. Only whole lines are taken; what a writer has not ended yet waits for the next call.
#[derive(Debug)]
pub struct JournalHistory {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// Nothing more could be read at this place while the file was so long.
    seen: Option<(Place, u64)>,
}

impl JournalHistory {
    /// Follows the journal of this path, which need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, seen: None }
    }

    /// The file; None while there is none.
    fn open(&mut self) -> io::Result<Option<&mut BufReader<File>>> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(BufReader::with_capacity(BUFFER, file)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
        }
        Ok(self.file.as_mut())
    }

    fn follow(
        &mut self,
        from: Place,
        each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>,
    ) -> Result<(), FollowError> {
        let seen = self.seen;
        let Some(file) = self.open().map_err(FollowError::System)? else { return Ok(()) };
        let length = file.get_ref().metadata().map_err(FollowError::System)?.len();
        if length < from.offset {
            return Err(FollowError::Shorter { length, offset: from.offset });
        }
        if length == from.offset || seen == Some((from, length)) {
            return Ok(());
        }
        let at = file.stream_position().map_err(FollowError::System)?;
        // A move within what is buffered keeps the buffer; what was written behind it since is read when it ends.
        file.seek_relative(from.offset.cast_signed() - at.cast_signed()).map_err(FollowError::System)?;
        let place = lines(file, from, each)?;
        self.seen = place.map(|place| (place, length));
        Ok(())
    }
}

impl History for JournalHistory {
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError> {
        self.follow(from, each).map_err(|e| HistoryError(e.into()))
    }
}

/// Why a journal cannot be followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("the journal cannot be read")]
    System(#[source] io::Error),
    #[error("the journal has {length} bytes, and {offset} were read before: it is not the same any more")]
    Shorter { length: u64, offset: u64 },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A journal in memory.
#[derive(Debug, Clone)]
pub struct TextHistory {
    text: Arc<[u8]>,
}

impl TextHistory {
    /// The run that comes with the binary.
    ///
    /// # Errors
    /// It cannot be unpacked.
    pub fn demo() -> Result<Self, LabError> {
        let mut text = Vec::new();
        let unpacked = GzDecoder::new(DEMO_JOURNAL).read_to_end(&mut text);
        unpacked.map_err(|e| LabError::failed("cannot unpack the demo", e))?;
        Ok(Self { text: text.into() })
    }
}

impl History for TextHistory {
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError> {
        let mut text = Cursor::new(&self.text[..]);
        text.set_position(from.offset);
        lines(&mut text, from, each).map(drop).map_err(|e| HistoryError(e.into()))
    }
}

/// Passes on the events of whole lines. Returns the place after the last of them; None when `each` broke off.
fn lines(
    source: &mut impl BufRead,
    from: Place,
    each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>,
) -> Result<Option<Place>, JournalError> {
    let mut decoder = if from.offset == 0 { Decoder::default() } else { Decoder::after(from.events) };
    let (mut place, mut line) = (from, Vec::new());
    while decoder.fill(source, &mut line)? {
        place.offset += line.len() as u64 + 1;
        let Some(event) = decoder.line(&line)? else { continue };
        place.events += 1;
        if each(event, place).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lab_core::event::Kind;
    use lab_core::journal::{encode, header};
    use lab_core::unit::Span;

    use super::*;

    fn note(n: u64) -> Event {
        let kind = Kind::Note { text: format!("note {n}") };
        Event { n, t: RunTime(n), late: Span::ZERO, src: "user".to_owned(), clock: None, kind }
    }

    fn line(n: u64) -> String {
        encode(&note(n)) + "\n"
    }

    /// What is new, and where it ends.
    fn news(history: &mut dyn History, from: Place) -> Result<(Vec<u64>, Place), String> {
        let (mut numbers, mut place) = (Vec::new(), from);
        let read = history.read(from, &mut |event, after| {
            numbers.push(event.n);
            place = after;
            ControlFlow::Continue(())
        });
        let chain = |e: HistoryError| format!("{e}: {}", e.0);
        read.map(|()| (numbers, place)).map_err(chain)
    }

    #[test]
    fn a_journal_is_followed_while_it_is_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.ndjson");
        let mut history = JournalHistory::new(path.clone());
        let begin = Place::default();
        assert_eq!(news(&mut history, begin), Ok((vec![], begin)), "not there yet");
        let mut file = File::create(&path).expect("a journal");
        let mut write = |text: &str| file.write_all(text.as_bytes()).expect("it is written");
        assert_eq!(news(&mut history, begin), Ok((vec![], begin)), "empty");
        write(&header()[..5]);
        assert_eq!(news(&mut history, begin), Ok((vec![], begin)), "half a header");
        write(&header()[5..]);
        write("\n");
        write(&line(1));
        let (numbers, place) = news(&mut history, begin).expect("events");
        assert_eq!((numbers, place.events), (vec![1], 1));
        let (half, rest) = (line(2), line(2).split_off(20));
        write(&half[..20]);
        assert_eq!(news(&mut history, place), Ok((vec![], place)), "half a line");
        assert_eq!(news(&mut history, place), Ok((vec![], place)), "and nothing new");
        write(&rest);
        write(&line(3));
        let (numbers, end) = news(&mut history, place).expect("events");
        assert_eq!((numbers, end.events), (vec![2, 3], 3));
        assert_eq!(news(&mut history, end), Ok((vec![], end)));
        assert_eq!(news(&mut history, place).expect("again").0, [2, 3], "from any place");
        assert_eq!(news(&mut history, begin).expect("again").0, [1, 2, 3]);
        drop(file);
        File::create(&path).expect("a journal");
        let error = news(&mut history, end).expect_err("shorter");
        assert!(error.contains("not the same any more"), "{error}");
    }

    #[test]
    fn reading_stops_where_it_is_told_to_and_goes_on_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.ndjson");
        std::fs::write(&path, header() + "\n" + &line(1) + &line(2)).expect("a journal");
        let mut history = JournalHistory::new(path);
        let mut place = Place::default();
        let read = history.read(place, &mut |_, after| {
            place = after;
            ControlFlow::Break(())
        });
        assert!(read.is_ok());
        assert_eq!(news(&mut history, place).expect("the rest").0, [2]);
    }

    #[test]
    fn what_is_broken_is_named_with_its_line_from_wherever_it_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.ndjson");
        let begin = header() + "\n" + &line(1) + &line(2);
        let after_one = Place { events: 1, offset: (header().len() + 1 + line(1).len()) as u64 };
        for (tail, said) in
            [("{}\n", "line 4 of the journal is broken"), (&line(7), "line 4 of the journal has event 7")]
        {
            std::fs::write(&path, begin.clone() + tail).expect("a journal");
            for place in [Place::default(), after_one] {
                let error = news(&mut JournalHistory::new(path.clone()), place).expect_err(tail);
                assert!(error.contains(said), "{error}");
            }
        }
        std::fs::write(&path, "hello\n").expect("a file");
        let error = news(&mut JournalHistory::new(path), Place::default()).expect_err("no journal");
        assert!(error.contains("not a journal of lab"), "{error}");
    }

    #[test]
    fn the_demo_is_a_whole_run_that_tells_nothing_of_where_it_was_made() {
        let demo = TextHistory::demo().expect("it unpacks");
        let text = String::from_utf8(demo.text.to_vec()).expect("UTF-8");
        for private in ["/work", "/tmp", "/root", "/home", "token", "secret", "password", "Bearer", "LAB_"] {
            assert!(!text.contains(private), "`{private}` is in the demo");
        }
        assert!(DEMO_JOURNAL.len() < 400 << 10, "{} bytes", DEMO_JOURNAL.len());
        let timeline = Source::Demo.timeline().expect("it reads");
        assert!(timeline.newest().complete(), "it is not complete");
        let conclusion = lab_core::judge::conclude(timeline.newest());
        assert_eq!(conclusion.verdict, lab_core::judge::Verdict::Pass, "{conclusion:?}");
        assert_eq!(conclusion.validity, lab_core::validity::Validity::Valid, "{conclusion:?}");
    }
}
