//! Merges what the workers hand over into one sample a second, numbers and encodes it. It has a thread of its own: encoding takes
//! longer than a send loop may stall. When nobody reads the samples it waits, and the workers' stretches grow meanwhile.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use lab_core::control::{EndpointSample, PhaseSample, Sample};
use lab_core::deliveries::Fates;
use lab_core::numbers::Numbers;

use crate::clock::process_cpu_ns;
use crate::recorder::{EndpointRecord, PhaseRecord, Stretch, Told};

/// What samples say of their plan.
#[derive(Debug)]
pub(crate) struct PlanInfo {
    /// Rises with every plan of this engine.
    pub(crate) serial: u64,
    pub(crate) id: String,
    pub(crate) operations: Vec<String>,
    /// CPU time of the process when the plan was loaded.
    pub(crate) cpu_ns: u64,
}

/// A stretch of one worker.
pub(crate) struct Results {
    pub(crate) worker: usize,
    pub(crate) info: Arc<PlanInfo>,
    pub(crate) stretch: Stretch,
}

/// How far the collector is, for status.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Number of the last sample of the present plan.
    pub(crate) last_sample: AtomicU64,
    /// Serial of the plan whose last sample has been written.
    pub(crate) done: AtomicU64,
}

/// What one worker has handed over and where it stands.
#[derive(Debug, Default)]
struct Inbox {
    stretches: VecDeque<Stretch>,
    queued: u64,
    in_flight: u64,
    ended: bool,
}

/// One plan's samples in the making.
struct Gathering {
    info: Arc<PlanInfo>,
    seq: u64,
    to_ns: u64,
    cpu_ns: u64,
    inboxes: Vec<Inbox>,
    /// Replicas whose first answer has been told.
    answered: HashSet<String>,
}

/// Runs until every worker is gone or nobody reads the samples any more.
pub(crate) fn run(
    generator: &str,
    workers: usize,
    results: &Receiver<Results>,
    samples: &SyncSender<Sample>,
    progress: &Progress,
) {
    let mut present: Option<Gathering> = None;
    while let Ok(Results { worker, info, stretch }) = results.recv() {
        let gathering = match &mut present {
            Some(gathering) if gathering.info.serial == info.serial => gathering,
            other => {
                progress.last_sample.store(0, Ordering::Release);
                other.insert(Gathering::new(info, workers, stretch.from_ns))
            }
        };
        gathering.take(worker, stretch);
        while let Some(sample) = gathering.next_sample(generator) {
            let (seq, last) = (sample.seq, sample.last);
            if samples.send(sample).is_err() {
                return;
            }
            progress.last_sample.store(seq, Ordering::Release);
            if last {
                progress.done.store(gathering.info.serial, Ordering::Release);
            }
        }
    }
}

impl Gathering {
    fn new(info: Arc<PlanInfo>, workers: usize, from_ns: u64) -> Self {
        let inboxes = (0..workers).map(|_| Inbox::default()).collect();
        Self { cpu_ns: info.cpu_ns, info, seq: 0, to_ns: from_ns, inboxes, answered: HashSet::new() }
    }

    fn take(&mut self, worker: usize, stretch: Stretch) {
        if let Some(inbox) = self.inboxes.get_mut(worker) {
            inbox.ended |= stretch.last;
            inbox.stretches.push_back(stretch);
        }
    }

    /// The next sample, once every worker that still drives has reached its end.
    fn next_sample(&mut self, generator: &str) -> Option<Sample> {
        let waiting = self.inboxes.iter().any(|i| i.stretches.is_empty() && !i.ended);
        let to_ns =
            self.inboxes.iter().filter_map(|i| i.stretches.front()).map(|s| s.to_ns).max().filter(|_| !waiting)?;
        let mut merged = Stretch::default();
        for inbox in &mut self.inboxes {
            while let Some(stretch) = inbox.stretches.pop_front_if(|s| s.to_ns <= to_ns) {
                (inbox.queued, inbox.in_flight) = (stretch.queued, stretch.in_flight);
                merged.merge(stretch);
            }
        }
        let cpu_ns = process_cpu_ns();
        self.seq += 1;
        let sample = Sample {
            generator: generator.to_owned(),
            plan: self.info.id.clone(),
            seq: self.seq,
            from_ns: self.to_ns,
            to_ns,
            phases: merged.phases.into_iter().map(|p| phase_sample(p, &self.info.operations)).collect(),
            in_flight_ns: merged.in_flight_ns,
            queued: self.inboxes.iter().map(|i| i.queued).sum(),
            longest_queue: merged.longest_queue,
            in_flight: self.inboxes.iter().map(|i| i.in_flight).sum(),
            cpu_ns: cpu_ns.saturating_sub(self.cpu_ns),
            longest_turn_ns: merged.longest_turn_ns,
            endpoints: merged.endpoints.into_iter().flatten().map(|e| self.endpoint_sample(*e)).collect(),
            fates: fates(merged.fates),
            last: self.inboxes.iter().all(|i| i.ended && i.stretches.is_empty()),
        };
        (self.to_ns, self.cpu_ns) = (to_ns, cpu_ns);
        Some(sample)
    }

    fn endpoint_sample(&mut self, record: EndpointRecord) -> EndpointSample {
        // Each worker has a first answer of its own; only the first of all is told.
        let first_ns = record.first_ns.filter(|_| self.answered.insert(record.replica.clone()));
        EndpointSample {
            replica: record.replica,
            completed: record.completed,
            failed: record.failed,
            first_ns,
            service: record.service.encode(),
        }
    }
}

fn fates(told: Told) -> Fates {
    let [acknowledged, refused, indeterminate] =
        [told.acknowledged, told.refused, told.indeterminate].map(|numbers| Numbers::from(numbers).encode());
    Fates { acknowledged, refused, indeterminate }
}

fn phase_sample(record: PhaseRecord, operations: &[String]) -> PhaseSample {
    let by_operation = operations.iter().cloned().zip(record.by_operation).filter(|(_, count)| *count > 0);
    let mut by_cause = BTreeMap::new();
    for (cause, count) in record.by_cause {
        *by_cause.entry(cause.to_string()).or_default() += count;
    }
    PhaseSample {
        phase: record.phase,
        counts: record.counts,
        response: record.response.encode(),
        service: record.service.encode(),
        send_lag: record.send_lag.encode(),
        failures: record.failures.encode(),
        latency_sum_ns: record.latency_sum_ns,
        completed_by_operation: by_operation.collect(),
        failures_by_cause: by_cause,
    }
}
