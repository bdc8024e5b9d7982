//! A CPU limit without control groups: a process that has used its share of a period is stopped and continued in the next. One thread
//! for all replicas. It reacts within a millisecond or so; what a process got too much is taken off its next periods.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use lab_core::unit::Millicores;
use rustix::process::Signal;

use super::limit::PERIOD;
use crate::proc::ProcessRef;

/// Shortest time between two looks at a process.
const LOOK: Duration = Duration::from_millis(1);

/// The limiter's thread. It ends, continuing everybody, when this and all [`Held`] are gone.
#[derive(Debug)]
pub(super) struct StopContinue {
    orders: SyncSender<Order>,
}

/// A process under the limiter. Dropping it lets the process run freely.
#[derive(Debug)]
pub(super) struct Held {
    process: ProcessRef,
    stopped_ns: Arc<AtomicU64>,
    frozen: Arc<AtomicBool>,
    orders: SyncSender<Order>,
}

#[derive(Debug)]
enum Order {
    Hold(Entry),
    Release(ProcessRef),
}

#[derive(Debug)]
struct Entry {
    process: ProcessRef,
    /// CPU time of one period, nanoseconds.
    share: i64,
    /// What is left of it; below 0: a debt.
    left: i64,
    cpu_ns: u64,
    stopped: Option<Instant>,
    stopped_ns: Arc<AtomicU64>,
    /// Somebody else stopped it and wants it to stay so.
    frozen: Arc<AtomicBool>,
}

impl StopContinue {
    pub(super) fn start() -> Self {
        let (orders, inbox) = sync_channel(64);
        let thread = std::thread::Builder::new().name("stop-continue".to_owned());
        if let Err(error) = thread.spawn(move || run(&inbox)) {
            // The inbox is gone with the closure, so every `hold` fails and says so.
            tracing::error!(%error, "cannot start the CPU limiter");
        }
        Self { orders }
    }

    /// Limits a process from now on. Blocks only while 64 orders wait.
    ///
    /// # Errors
    /// The process is gone, or the limiter's thread could not be started.
    pub(super) fn hold(&self, process: ProcessRef, limit: Millicores) -> io::Result<Held> {
        let (stopped_ns, frozen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let share = i64::try_from(limit.0.saturating_mul(PERIOD.as_micros() as u64)).unwrap_or(i64::MAX);
        let entry = Entry {
            process,
            share,
            left: share,
            cpu_ns: process.cpu_ns()?,
            stopped: None,
            stopped_ns: Arc::clone(&stopped_ns),
            frozen: Arc::clone(&frozen),
        };
        self.orders.send(Order::Hold(entry)).map_err(|_| io::Error::other("the CPU limiter does not run"))?;
        Ok(Held { process, stopped_ns, frozen, orders: self.orders.clone() })
    }
}

impl Held {
    /// How long it was stopped, nanoseconds.
    pub(super) fn stopped_ns(&self) -> u64 {
        self.stopped_ns.load(Ordering::Relaxed)
    }

    /// Before it is stopped by somebody else, so that it is not continued with its next period; and after.
    pub(super) fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.orders.send(Order::Release(self.process)).is_err() {
            tracing::debug!(pid = self.process.pid, "the CPU limiter ended before its replica");
        }
    }
}

fn run(inbox: &Receiver<Order>) {
    let cores = i64::from(crate::host::cores());
    let mut entries: Vec<Entry> = Vec::new();
    let mut period_end = Instant::now() + PERIOD;
    loop {
        let wait = next_look(&entries, cores, period_end);
        let order = if entries.is_empty() {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(wait)
        };
        match order {
            Ok(Order::Hold(entry)) => entries.push(entry),
            Ok(Order::Release(process)) => {
                if let Some(at) = entries.iter().position(|entry| entry.process == process) {
                    entries.swap_remove(at).go_on();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = Instant::now();
        let mut periods = 0;
        while period_end <= now {
            period_end += PERIOD;
            periods += 1;
        }
        entries.retain_mut(|entry| entry.look(periods));
    }
    for mut entry in entries {
        entry.go_on();
    }
}

/// Until the period ends, or until the first running process could have used up what it has left on all cores.
fn next_look(entries: &[Entry], cores: i64, period_end: Instant) -> Duration {
    let running = entries.iter().filter(|entry| entry.stopped.is_none());
    let soonest =
        running.map(|entry| Duration::from_nanos(entry.left.max(0).unsigned_abs() / cores.unsigned_abs())).min();
    let until_end = period_end.saturating_duration_since(Instant::now());
    soonest.map_or(until_end, |soonest| soonest.max(LOOK).min(until_end))
}

impl Entry {
    /// Charges what was used, grants what new periods bring, stops or continues. False: the process is gone.
    fn look(&mut self, periods: i64) -> bool {
        let Ok(cpu_ns) = self.process.cpu_ns() else { return false };
        let used = cpu_ns.saturating_sub(self.cpu_ns);
        self.cpu_ns = cpu_ns;
        self.left = self.left.saturating_sub_unsigned(used);
        if periods > 0 {
            // A share that was not used is gone with its period, as with the kernel's quota.
            self.left = self.left.saturating_add(self.share.saturating_mul(periods)).min(self.share);
        }
        if self.left <= 0 && self.stopped.is_none() {
            return self.stop();
        }
        if self.left > 0 {
            self.go_on();
        }
        true
    }

    fn stop(&mut self) -> bool {
        self.stopped = Some(Instant::now());
        self.process.signal(Signal::STOP).unwrap_or(false)
    }

    fn go_on(&mut self) {
        let Some(since) = self.stopped.take() else { return };
        let stopped = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stopped_ns.fetch_add(stopped, Ordering::Relaxed);
        if self.frozen.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.process.signal(Signal::CONT) {
            tracing::warn!(%error, pid = self.process.pid, "cannot continue a stopped replica");
        }
    }
}
