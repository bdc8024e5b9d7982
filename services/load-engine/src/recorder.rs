//! What one worker counts in a stretch of about a second. Every request enters by `arrived` and leaves once, by `completed`,
//! `failed` or `dropped`; what has not left is unfinished, so the ledger sums whenever one looks.

use lab_core::control::Counts;
use lab_core::deliveries::Fate;
use lab_core::histogram::Histogram;
use lab_core::ledger::Ledger;
use lab_core::unit::Span;

use crate::cause::Cause;
use crate::schedule::Arrival;

/// Results of a stretch, not yet encoded: they merge exactly.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    pub(crate) phases: Vec<PhaseRecord>,
    pub(crate) endpoints: Vec<Option<Box<EndpointRecord>>>,
    pub(crate) in_flight_ns: u64,
    pub(crate) queued: u64,
    pub(crate) longest_queue: u64,
    pub(crate) in_flight: u64,
    pub(crate) longest_turn_ns: u64,
    pub(crate) fates: Told,
    pub(crate) last: bool,
}

/// Numbers of requests whose fate became known, in the order in which it did.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) acknowledged: Vec<u64>,
    pub(crate) refused: Vec<u64>,
    pub(crate) indeterminate: Vec<u64>,
}

/// Results of one phase in a stretch.
#[derive(Debug, Default)]
pub(crate) struct PhaseRecord {
    pub(crate) phase: u32,
    pub(crate) counts: Counts,
    pub(crate) response: Histogram,
    pub(crate) service: Histogram,
    pub(crate) send_lag: Histogram,
    pub(crate) failures: Histogram,
    pub(crate) latency_sum_ns: u64,
    /// By index of the operation.
    pub(crate) by_operation: Vec<u64>,
    pub(crate) by_cause: Vec<(Cause, u64)>,
}

/// Answers of one endpoint in a stretch.
#[derive(Debug, Default)]
pub(crate) struct EndpointRecord {
    pub(crate) replica: String,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    /// Plan time of the first completed request of this worker from this endpoint.
    pub(crate) first_ns: Option<u64>,
    pub(crate) service: Histogram,
}

/// The endpoint of a request, as far as it had one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) index: usize,
    pub(crate) replica: &'a str,
}

/// Counts for one worker. All times are plan times.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    stretch: Stretch,
    totals: Ledger,
    /// Requests in flight since `in_flight_since`.
    in_flight: u64,
    in_flight_since: u64,
    /// Endpoints that have completed a request.
    answered: Vec<bool>,
}

impl Recorder {
    /// Counting from plan time `from_ns` on.
    pub(crate) fn new(from_ns: u64) -> Self {
        let stretch = Stretch { from_ns, ..Stretch::default() };
        Self { stretch, in_flight_since: from_ns, ..Self::default() }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Totals since the plan began.
    pub(crate) fn totals(&self) -> Ledger {
        self.totals
    }

    /// A request fell due.
    pub(crate) fn arrived(&mut self, arrival: &Arrival) {
        let counts = &mut self.phase(arrival.phase).counts;
        counts.offered += 1;
        counts.unfinished += 1;
        self.totals.offered += 1;
        self.totals.unfinished += 1;
    }

    /// A request was given to a connection.
    pub(crate) fn dispatched(&mut self, now_ns: u64) {
        self.integrate(now_ns);
        self.in_flight += 1;
    }

    /// Its first byte was written.
    pub(crate) fn started(&mut self, arrival: &Arrival, now_ns: u64) {
        let phase = self.phase(arrival.phase);
        phase.counts.started += 1;
        phase.send_lag.record(Span(now_ns.saturating_sub(arrival.intended_ns)));
        self.totals.started += 1;
    }

    /// Its answer is complete and good.
    pub(crate) fn completed(&mut self, arrival: &Arrival, written_ns: u64, now_ns: u64, at: At<'_>) {
        self.integrate(now_ns);
        self.in_flight = self.in_flight.saturating_sub(1);
        let response = now_ns.saturating_sub(arrival.intended_ns);
        let service = Span(now_ns.saturating_sub(written_ns));
        let phase = self.phase(arrival.phase);
        phase.counts.completed += 1;
        phase.counts.unfinished -= 1;
        phase.response.record(Span(response));
        phase.service.record(service);
        phase.latency_sum_ns = phase.latency_sum_ns.saturating_add(response);
        let operation = arrival.operation as usize;
        if phase.by_operation.len() <= operation {
            phase.by_operation.resize(operation + 1, 0);
        }
        phase.by_operation[operation] += 1;
        self.totals.completed += 1;
        self.totals.unfinished -= 1;
        let first = !self.answered.get(at.index).copied().unwrap_or(false);
        let endpoint = self.endpoint(at);
        endpoint.completed += 1;
        endpoint.service.record(service);
        if first {
            endpoint.first_ns = Some(now_ns);
            self.answered.resize(self.answered.len().max(at.index + 1), false);
            self.answered[at.index] = true;
        }
    }

    /// A request in flight failed.
    pub(crate) fn failed_in_flight(&mut self, arrival: &Arrival, cause: Cause, now_ns: u64, at: At<'_>) {
        self.integrate(now_ns);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.endpoint(at).failed += 1;
        self.failed(arrival, cause, now_ns);
    }

    /// A request failed before it got a connection.
    pub(crate) fn failed(&mut self, arrival: &Arrival, cause: Cause, now_ns: u64) {
        let latency = now_ns.saturating_sub(arrival.intended_ns);
        let phase = self.phase(arrival.phase);
        phase.counts.failed += 1;
        phase.counts.unfinished -= 1;
        phase.failures.record(Span(latency));
        phase.latency_sum_ns = phase.latency_sum_ns.saturating_add(latency);
        match phase.by_cause.iter_mut().find(|(c, _)| *c == cause) {
            Some((_, count)) => *count += 1,
            None => phase.by_cause.push((cause, 1)),
        }
        self.totals.failed += 1;
        self.totals.unfinished -= 1;
    }

    /// What became of a request of which at least a byte was written.
    pub(crate) fn fate(&mut self, n: u64, fate: Fate) {
        let fates = &mut self.stretch.fates;
        let told = match fate {
            Fate::Acknowledged => &mut fates.acknowledged,
            Fate::Refused => &mut fates.refused,
            Fate::Indeterminate => &mut fates.indeterminate,
        };
        told.push(n);
    }

    /// A request found the queue full.
    pub(crate) fn dropped(&mut self, arrival: &Arrival) {
        let counts = &mut self.phase(arrival.phase).counts;
        counts.dropped += 1;
        counts.unfinished -= 1;
        self.totals.dropped += 1;
        self.totals.unfinished -= 1;
    }

    /// So many requests wait for a connection after the queue has grown.
    pub(crate) fn waiting(&mut self, queued: u64) {
        self.stretch.longest_queue = self.stretch.longest_queue.max(queued);
    }

    /// A turn of the loop, or a sleep that overslept, took so long.
    pub(crate) fn turn(&mut self, length_ns: u64) {
        self.stretch.longest_turn_ns = self.stretch.longest_turn_ns.max(length_ns);
    }

    /// Ends the stretch and begins the next.
    pub(crate) fn cut(&mut self, now_ns: u64, queued: u64, last: bool) -> Stretch {
        self.integrate(now_ns);
        let next = Stretch { from_ns: now_ns, longest_queue: queued, ..Stretch::default() };
        let mut done = std::mem::replace(&mut self.stretch, next);
        done.to_ns = now_ns;
        done.queued = queued;
        done.in_flight = self.in_flight;
        done.last = last;
        done
    }

    /// Takes back a stretch that nobody could receive: the next one will hold both. Only right after `cut`.
    pub(crate) fn resume(&mut self, stretch: Stretch) {
        self.stretch = stretch;
    }

    fn integrate(&mut self, now_ns: u64) {
        let length = now_ns.saturating_sub(self.in_flight_since);
        self.stretch.in_flight_ns = self.stretch.in_flight_ns.saturating_add(length.saturating_mul(self.in_flight));
        self.in_flight_since = self.in_flight_since.max(now_ns);
    }

    fn phase(&mut self, phase: u32) -> &mut PhaseRecord {
        let phases = &mut self.stretch.phases;
        let at = phases.iter().position(|p| p.phase == phase).unwrap_or_else(|| {
            phases.push(PhaseRecord { phase, ..PhaseRecord::default() });
            phases.len() - 1
        });
        &mut phases[at]
    }

    fn endpoint(&mut self, at: At<'_>) -> &mut EndpointRecord {
        let endpoints = &mut self.stretch.endpoints;
        if endpoints.len() <= at.index {
            endpoints.resize_with(at.index + 1, || None);
        }
        endpoints[at.index].get_or_insert_with(|| {
            Box::new(EndpointRecord { replica: at.replica.to_owned(), ..EndpointRecord::default() })
        })
    }
}

impl Stretch {
    /// Adds a stretch of another worker, or a later one of the same.
    pub(crate) fn merge(&mut self, other: Self) {
        self.in_flight_ns = self.in_flight_ns.saturating_add(other.in_flight_ns);
        self.longest_queue = self.longest_queue.max(other.longest_queue);
        self.longest_turn_ns = self.longest_turn_ns.max(other.longest_turn_ns);
        self.fates.merge(other.fates);
        for record in other.phases {
            match self.phases.iter_mut().find(|p| p.phase == record.phase) {
                Some(ours) => ours.merge(record),
                None => self.phases.push(record),
            }
        }
        for record in other.endpoints.into_iter().flatten() {
            match self.endpoints.iter_mut().flatten().find(|e| e.replica == record.replica) {
                Some(ours) => ours.merge(&record),
                None => self.endpoints.push(Some(record)),
            }
        }
    }
}

impl Told {
    fn merge(&mut self, other: Self) {
        let Self { acknowledged, refused, indeterminate } = other;
        self.acknowledged.extend(acknowledged);
        self.refused.extend(refused);
        self.indeterminate.extend(indeterminate);
    }
}

impl PhaseRecord {
    fn merge(&mut self, other: Self) {
        let (ours, theirs) = (&mut self.counts, other.counts);
        ours.offered += theirs.offered;
        ours.started += theirs.started;
        ours.completed += theirs.completed;
        ours.failed += theirs.failed;
        ours.dropped += theirs.dropped;
        ours.unfinished += theirs.unfinished;
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.send_lag.merge(&other.send_lag);
        self.failures.merge(&other.failures);
        self.latency_sum_ns = self.latency_sum_ns.saturating_add(other.latency_sum_ns);
        self.by_operation.resize(self.by_operation.len().max(other.by_operation.len()), 0);
        for (ours, theirs) in self.by_operation.iter_mut().zip(other.by_operation) {
            *ours += theirs;
        }
        for (cause, count) in other.by_cause {
            match self.by_cause.iter_mut().find(|(c, _)| *c == cause) {
                Some((_, ours)) => *ours += count,
                None => self.by_cause.push((cause, count)),
            }
        }
    }
}

impl EndpointRecord {
    fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.service.merge(&other.service);
        self.first_ns = match (self.first_ns, other.first_ns) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}
