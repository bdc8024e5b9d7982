//! The one task that orders events: it gives each its number and time, writes it to the journal, folds it into the model
//! and hands it to the sinks, in that order.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use lab_core::event::Event;
use lab_core::journal;
use lab_core::model::Model;
use lab_core::unit::{RunTime, Span};
use lab_env::{EventSink, Seen};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::RunClock;
use crate::error::RunError;

/// Events that may wait for the conductor before their senders wait.
const WAITING: usize = 1024;

/// Somebody who is told of every event after it is on disk.
pub trait Sink: Send {
    /// Takes an event; must not block for long.
    fn event(&mut self, event: &Event, model: &Model);
}

/// Handle on the running task.
#[derive(Debug)]
pub struct Conductor {
    /// Where events go in.
    pub events: EventSink,
    task: JoinHandle<Result<(), RunError>>,
    close: CancellationToken,
}

impl Conductor {
    /// Opens the journal and starts the task.
    ///
    /// # Errors
    /// The journal cannot be opened or its first line not be written.
    pub fn start(journal: &Path, clock: RunClock, sinks: Vec<Box<dyn Sink>>) -> Result<Self, RunError> {
        let mut file = JournalFile::create(journal)?;
        file.line(&journal::header())?;
        // Whoever kills the run before its first event leaves a journal that can be read.
        file.flush()?;
        let (events, inbox) = mpsc::channel(WAITING);
        let order = Order { file, clock, model: Model::default(), sinks, last: 0, now: RunTime(0) };
        let close = CancellationToken::new();
        let closing = close.clone();
        // Once the journal cannot be written the inbox is gone, and every sender knows: the run must not go on unrecorded.
        let task = tokio::spawn(order.run(inbox, closing));
        Ok(Self { events, task, close })
    }

    /// Takes no more events and waits until every one that was sent before is on disk. Senders that are left get an error.
    ///
    /// # Errors
    /// The journal could not be written.
    pub async fn finish(self) -> Result<(), RunError> {
        drop(self.events);
        self.close.cancel();
        self.task.await.map_err(|_| RunError::ConductorGone)?
    }
}

struct Order {
    file: JournalFile,
    clock: RunClock,
    model: Model,
    sinks: Vec<Box<dyn Sink>>,
    last: u64,
    /// When the last event was ordered.
    now: RunTime,
}

impl Order {
    async fn run(mut self, mut inbox: mpsc::Receiver<Seen>, close: CancellationToken) -> Result<(), RunError> {
        loop {
            let seen = tokio::select! {
                biased;
                () = close.cancelled(), if !inbox.is_closed() => {
                    // What waits in the channel still comes out of it.
                    inbox.close();
                    continue;
                }
                seen = inbox.recv() => seen,
            };
            let Some(seen) = seen else { break };
            self.order(seen)?;
            if inbox.is_empty() {
                self.file.flush()?;
            }
        }
        self.file.finish()
    }

    fn order(&mut self, seen: Seen) -> Result<(), RunError> {
        self.last += 1;
        // A clock that stands for an instant must not give two events the same one.
        self.now = self.clock.now().max(self.now.plus(Span(1)));
        let t = seen.at.map_or(self.now, |at| self.clock.at(at).min(self.now));
        let late = self.now.since(t);
        let event = Event { n: self.last, t, late, src: seen.src, clock: None, kind: seen.kind };
        self.file.line(&journal::encode(&event))?;
        // A pixel may show the event at once, so it must be out of this process first.
        if !self.sinks.is_empty() {
            self.file.flush()?;
        }
        self.model.apply(&event);
        for sink in &mut self.sinks {
            sink.event(&event, &self.model);
        }
        Ok(())
    }
}

struct JournalFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl JournalFile {
    fn create(path: &Path) -> Result<Self, RunError> {
        let file = File::create_new(path).map_err(|source| RunError::Journal { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), out: BufWriter::new(file) })
    }

    fn line(&mut self, line: &str) -> Result<(), RunError> {
        let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|source| self.failed(source))
    }

    fn flush(&mut self) -> Result<(), RunError> {
        self.out.flush().map_err(|source| self.failed(source))
    }

    fn finish(mut self) -> Result<(), RunError> {
        self.flush()?;
        self.out.get_ref().sync_all().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> RunError {
        RunError::Journal { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use lab_core::event::Kind;

    use super::*;

    fn warning(text: &str) -> Seen {
        Seen { src: "run".to_owned(), at: None, kind: Kind::Warning { text: text.to_owned() } }
    }

    #[tokio::test]
    async fn the_header_is_there_at_once_and_a_sender_that_stays_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let conductor = Conductor::start(&path, RunClock::start(), Vec::new()).expect("a conductor");
        let text = std::fs::read_to_string(&path).expect("a journal");
        assert_eq!(text, format!("{}\n", journal::header()));
        let stays = conductor.events.clone();
        for n in 0..100 {
            stays.send(warning(&n.to_string())).await.expect("taken");
        }
        conductor.finish().await.expect("written");
        assert!(stays.send(warning("late")).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("a journal").lines().count(), 101);
    }
}
