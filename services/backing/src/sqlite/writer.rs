//! The one thread of this process that writes to a file. What waits is committed together and shares one fsync;
//! nobody is answered before the commit.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::Turn;
use crate::Error;

/// Most calls in one commit: what keeps the last one's wait, and the turn of other processes, short.
const MOST_TOGETHER: usize = 512;

/// How much may wait, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub deadline: Duration,
    pub max_waiting: usize,
}

/// How far a commit must have come before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// On the disk.
    Disk,
    /// Seen by every process; a power cut may take it back.
    Memory,
}

/// A handle on the writer thread.
pub(crate) struct Writer {
    // None once closed.
    sender: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    // Its sender lives in the thread: a closed channel means the thread has ended.
    ended: watch::Receiver<()>,
    limits: Limits,
}

impl Writer {
    /// Starts the thread. It ends when the handle is closed or dropped, after what was handed over.
    pub(crate) fn start(name: &str, connection: Connection, turn: Turn, limits: Limits) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(limits.max_waiting.max(1));
        let (alive, ended) = watch::channel(());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            write_until_closed(connection, &turn, receiver);
            drop(alive);
        })?;
        Ok(Self { sender: Mutex::new(Some(sender)), ended, limits })
    }

    /// Runs `work` inside the next commit and returns what it returned once that commit holds.
    /// When `work` fails nothing of it stays; what others do in the same commit is not touched.
    pub(crate) async fn call<T, F>(&self, operation: &'static str, reach: Reach, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + self.limits.deadline;
        let call = Call { operation, reach, until, work: Some(work), output: None, reply };
        self.hand_over(operation, Box::new(call))?;
        match timeout(self.limits.deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_gone)) => Err(Error::Closed { operation }),
            Err(_elapsed) => Err(Error::Timeout { operation, limit: self.limits.deadline }),
        }
    }

    fn hand_over(&self, operation: &'static str, job: Box<dyn Job>) -> Result<(), Error> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = sender.as_ref().ok_or(Error::Closed { operation })?;
        sender.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded { operation, waiting: self.limits.max_waiting },
            mpsc::error::TrySendError::Closed(_) => Error::Closed { operation },
        })
    }

    /// Takes no more calls and waits until those handed over are done.
    pub(crate) async fn close(&self, operation: &'static str) -> Result<(), Error> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut ended = self.ended.clone();
        let ended = timeout(self.limits.deadline, async { while ended.changed().await.is_ok() {} });
        ended.await.map_err(|_elapsed| Error::Timeout { operation, limit: self.limits.deadline })
    }
}

/// Why a commit failed, for all who were in it.
type Failure = Arc<dyn StdError + Send + Sync>;

/// A call as the thread sees it.
trait Job: Send {
    /// False when its caller has gone or stopped waiting.
    fn wanted(&self, now: Instant) -> bool;
    fn reach(&self) -> Reach;
    /// Does the work and keeps the result; false when it failed and must leave no trace.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Gives the kept result, or the reason why the commit failed.
    fn answer(self: Box<Self>, committed: &Result<(), Failure>);
}

struct Call<T, F> {
    operation: &'static str,
    reach: Reach,
    until: Instant,
    work: Option<F>,
    output: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Error> + Send,
{
    fn wanted(&self, now: Instant) -> bool {
        now < self.until && !self.reply.is_closed()
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn run(&mut self, connection: &Connection) -> bool {
        self.output = self.work.take().map(|work| work(connection));
        matches!(self.output, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: &Result<(), Failure>) {
        let Self { operation, output, reply, .. } = *self;
        let answer = match (committed, output) {
            (Err(source), _) => Err(Error::Engine { operation, source: source.clone() }),
            (Ok(()), Some(output)) => output,
            (Ok(()), None) => Err(Error::Closed { operation }),
        };
        // A caller that has gone does not want to know.
        drop(reply.send(answer));
    }
}

fn write_until_closed(mut connection: Connection, turn: &Turn, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
    let mut reached = Reach::Disk;
    while let Some(first) = waiting.blocking_recv() {
        let more = std::iter::from_fn(|| waiting.try_recv().ok()).take(MOST_TOGETHER - 1);
        let mut together: Vec<_> = std::iter::once(first).chain(more).collect();
        let now = Instant::now();
        together.retain(|job| job.wanted(now));
        if together.is_empty() {
            continue;
        }
        let committed = commit_together(&mut connection, turn, &mut reached, &mut together).map_err(Failure::from);
        if let Err(error) = &committed {
            tracing::warn!(%error, calls = together.len(), "commit failed");
        }
        for job in together {
            job.answer(&committed);
        }
    }
}

fn commit_together(
    connection: &mut Connection,
    turn: &Turn,
    reached: &mut Reach,
    together: &mut [Box<dyn Job>],
) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let wanted = if together.iter().any(|job| job.reach() == Reach::Disk) { Reach::Disk } else { Reach::Memory };
    if wanted != *reached {
        let level = if wanted == Reach::Disk { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", level)?;
        *reached = wanted;
    }
    let held = turn.take()?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in together {
        change.prepare_cached("SAVEPOINT one")?.execute([])?;
        if !job.run(&change) {
            change.prepare_cached("ROLLBACK TO one")?.execute([])?;
        }
        change.prepare_cached("RELEASE one")?.execute([])?;
    }
    change.commit()?;
    drop(held);
    Ok(())
}
