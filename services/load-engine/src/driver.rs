//! A plan being driven by one worker: releases what is due, writes it, reads answers, and sees that every request ends up in the
//! ledger once. It knows plan time only; when to run again is the [`worker`](crate::worker)'s business.

use std::collections::VecDeque;

use lab_core::deliveries::Fate;
use mio::Registry;
use mio::event::Event;

use crate::cause::Cause;
use crate::connection::{Found, InFlight, State};
use crate::plan::Plan;
use crate::pool::{ConnId, Pool};
use crate::recorder::{At, Recorder, Stretch};
use crate::request::Slots;
use crate::response::Head;
use crate::schedule::{Arrival, Change};
use crate::source::Source;
use crate::target::Target;

/// Most bytes read at once.
const READ_BUFFER: usize = 64 * 1024;

/// One worker's part of a plan in progress.
pub(crate) struct Driver {
    pub(crate) plan: Plan,
    pub(crate) source: Source,
    pub(crate) recorder: Recorder,
    /// Plan time 0 on the monotonic clock.
    pub(crate) start_ns: u64,
    pool: Pool,
    /// Requests that wait for a connection, in the order of their intended times.
    queue: VecDeque<Arrival>,
    /// Highest key known to exist.
    keys: u64,
    /// Changes of the number of connections that are still to come: plan time and number.
    caps: Vec<(u64, u32)>,
    read: Vec<u8>,
    write: Vec<u8>,
}

impl Driver {
    pub(crate) fn new(plan: Plan, start_ns: u64, registry: Registry, targets: &[Target]) -> Self {
        let mut pool = Pool::new(registry, plan.wire.connections);
        pool.set_targets(targets);
        Self {
            source: Source::new(&plan),
            recorder: Recorder::new(crate::clock::now_ns().saturating_sub(start_ns)),
            start_ns,
            pool,
            queue: VecDeque::new(),
            keys: plan.wire.keys,
            caps: Vec::new(),
            read: vec![0; READ_BUFFER],
            write: Vec::with_capacity(1024),
            plan,
        }
    }

    /// Plan time of the clock.
    fn now(&self) -> u64 {
        crate::clock::now_ns().saturating_sub(self.start_ns)
    }

    pub(crate) fn set_targets(&mut self, targets: &[Target]) {
        self.pool.set_targets(targets);
    }

    pub(crate) fn change(&mut self, change: Change, connections: Option<u32>) {
        if let Some(connections) = connections {
            self.caps.push((change.from_ns, connections));
            self.caps.sort_by_key(|(from_ns, _)| *from_ns);
        }
        self.source.change(change);
    }

    /// Requests that wait for a connection.
    pub(crate) fn queued(&self) -> u64 {
        self.queue.len() as u64
    }

    /// True when nothing is due any more and nothing is under way.
    pub(crate) fn is_done(&mut self, now_ns: u64) -> bool {
        self.source.over(now_ns) && self.queue.is_empty() && self.recorder.in_flight() == 0
    }

    /// Sends what is due at plan time `now_ns`, and what waits, as far as connections reach.
    pub(crate) fn release(&mut self, now_ns: u64) {
        while self.caps.first().is_some_and(|(from_ns, _)| *from_ns <= now_ns) {
            let (_, cap) = self.caps.remove(0);
            self.pool.set_cap(cap);
        }
        while let Some(arrival) = self.source.take_due(now_ns) {
            self.recorder.arrived(&arrival);
            let free = if self.queue.is_empty() { self.pool.take_idle(now_ns) } else { None };
            match free {
                Some(id) => self.send(id, arrival),
                None if self.queue.len() < self.plan.wire.max_queue as usize => self.queue.push_back(arrival),
                None => self.recorder.dropped(&arrival),
            }
        }
        // Nothing else makes the queue longer, and the loop above never shortens it.
        self.recorder.waiting(self.queued());
        self.pump(now_ns);
    }

    /// Brings waiting requests and free connections together, opening connections while that helps.
    fn pump(&mut self, now_ns: u64) {
        loop {
            while self.waiting(now_ns) > 0 {
                let Some(id) = self.pool.take_idle(now_ns) else { break };
                if let Some(arrival) = self.next_work(now_ns) {
                    self.send(id, arrival);
                } else {
                    self.pool.park(id);
                    break;
                }
            }
            let opened = self.pool.open_for(self.waiting(now_ns), now_ns);
            while let Some(cause) = self.pool.take_failure() {
                self.cannot_connect(cause);
            }
            if !opened {
                return;
            }
        }
    }

    /// Requests that could be sent now if there were connections for them.
    fn waiting(&self, now_ns: u64) -> usize {
        self.queue.len().saturating_add(self.source.wanted(now_ns))
    }

    /// The request that has waited longest, or at closed pace a new one.
    fn next_work(&mut self, now_ns: u64) -> Option<Arrival> {
        self.queue.pop_front().or_else(|| {
            let arrival = self.source.take_now(now_ns)?;
            self.recorder.arrived(&arrival);
            Some(arrival)
        })
    }

    /// A connection that a request needed could not be opened: that request failed, as it would for any client. While nothing else
    /// is left to send on, so did all that wait.
    fn cannot_connect(&mut self, cause: Cause) {
        let now_ns = self.now();
        let several = if self.pool.is_cut_off() { usize::MAX } else { 1 };
        for _ in 0..several {
            let waiting = if self.source.is_closed() && self.queue.is_empty() {
                self.next_work(now_ns)
            } else {
                self.queue.pop_front()
            };
            let Some(arrival) = waiting else { return };
            self.recorder.failed(&arrival, cause, now_ns);
            if self.source.is_closed() {
                return;
            }
        }
    }

    fn send(&mut self, id: ConnId, arrival: Arrival) {
        let Some(template) = self.plan.templates.get(arrival.operation as usize) else { return };
        let Some(endpoint) = self.pool.get(id).map(|c| c.endpoint) else { return };
        let slots = Slots {
            n: self.plan.first_n + arrival.k,
            key: key(arrival.draw, self.keys),
            host: &self.pool.target(endpoint).endpoint.address,
        };
        self.write.clear();
        template.render(slots, &mut self.write);
        let (is_head, creates_key, ledger) = (template.is_head, template.creates_key, template.ledger);
        let given_ns = self.now();
        self.recorder.dispatched(given_ns);
        let Some(connection) = self.pool.get(id) else { return };
        connection.state = State::Busy(InFlight { arrival, given_ns, written_ns: None, creates_key, ledger });
        match connection.write(&self.write, is_head) {
            Ok(0) => {}
            Ok(_) => self.wrote(id, given_ns),
            Err(error) => self.fail(id, Cause::of_socket(&error)),
        }
    }

    /// The first bytes of a request have gone out.
    fn wrote(&mut self, id: ConnId, now_ns: u64) {
        if let Some(State::Busy(flight)) = self.pool.get(id).map(|c| &mut c.state)
            && flight.written_ns.is_none()
        {
            flight.written_ns = Some(now_ns);
            let arrival = flight.arrival;
            self.recorder.started(&arrival, now_ns);
        }
    }

    /// Something happened on a socket. A connection that became free is used by the next [`Driver::release`].
    pub(crate) fn on_event(&mut self, event: &Event) {
        let id = ConnId(event.token().0);
        let Some(connection) = self.pool.get(id) else { return };
        match connection.state {
            State::Connecting { .. } => {
                let now_ns = self.now();
                self.pool.check_connected(id, now_ns);
            }
            State::Idle => {
                if (event.is_readable() || event.is_read_closed()) && connection.is_spent(&mut self.read) {
                    self.pool.close(id);
                }
            }
            State::Busy(_) => self.on_busy(id, event),
        }
    }

    fn on_busy(&mut self, id: ConnId, event: &Event) {
        let given_ns = self.now();
        let Some(connection) = self.pool.get(id) else { return };
        if event.is_writable() && connection.has_unsent() {
            match connection.write_rest() {
                Ok(0) => {}
                Ok(_) => self.wrote(id, given_ns),
                Err(error) => return self.fail(id, Cause::of_socket(&error)),
            }
        }
        let closed = event.is_read_closed() || event.is_error();
        if !(event.is_readable() || closed) {
            return;
        }
        let Some(connection) = self.pool.get(id) else { return };
        match connection.read(&mut self.read, closed) {
            Found::Nothing => {}
            Found::Answer { head, reusable } => self.answered(id, head, reusable),
            Found::Broken(cause) => self.fail(id, cause),
        }
    }

    /// An answer is complete.
    fn answered(&mut self, id: ConnId, head: Head, reusable: bool) {
        let now_ns = self.now();
        let Some((flight, endpoint)) = self.end_flight(id) else { return };
        let at = At { index: endpoint, replica: &self.pool.target(endpoint).endpoint.replica };
        if flight.ledger {
            self.recorder.fate(self.plan.first_n + flight.arrival.k, fate(&head));
        }
        if (200..400).contains(&head.status) {
            self.recorder.completed(&flight.arrival, flight.written_ns.unwrap_or(flight.given_ns), now_ns, at);
            if let Some(key) = head.created {
                self.keys = self.keys.max(key);
            } else if flight.creates_key {
                self.keys += 1;
            }
        } else {
            self.recorder.failed_in_flight(&flight.arrival, Cause::Status(head.status), now_ns, at);
        }
        if !(reusable && self.pool.may_reuse(id)) {
            self.pool.close(id);
        } else if let Some(arrival) = self.next_work(now_ns) {
            self.send(id, arrival);
        } else {
            self.pool.park(id);
        }
    }

    /// The request of a connection failed, and the connection with it.
    fn fail(&mut self, id: ConnId, cause: Cause) {
        let now_ns = self.now();
        if let Some((flight, endpoint)) = self.end_flight(id) {
            let at = At { index: endpoint, replica: &self.pool.target(endpoint).endpoint.replica };
            self.recorder.failed_in_flight(&flight.arrival, cause, now_ns, at);
            self.without_answer(&flight);
        }
        self.pool.close(id);
    }

    /// Tells the fate of a request that gets no answer: open as soon as a byte of it was written.
    fn without_answer(&mut self, flight: &InFlight) {
        if flight.ledger && flight.written_ns.is_some() {
            self.recorder.fate(self.plan.first_n + flight.arrival.k, Fate::Indeterminate);
        }
    }

    fn end_flight(&mut self, id: ConnId) -> Option<(InFlight, usize)> {
        let connection = self.pool.get(id)?;
        match std::mem::replace(&mut connection.state, State::Idle) {
            State::Busy(flight) => Some((flight, connection.endpoint)),
            other => {
                connection.state = other;
                None
            }
        }
    }

    /// Housekeeping, some dozens of times a second: time-outs, connections per endpoint, further attempts to connect.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        let timeout_ns = self.plan.wire.timeout.0;
        let late = self.pool.ids(|c, _| {
            matches!(&c.state, State::Busy(f) if now_ns.saturating_sub(f.written_ns.unwrap_or(f.given_ns)) >= timeout_ns)
        });
        for id in late {
            self.fail(id, Cause::Timeout);
        }
        self.pool.tick(now_ns, timeout_ns);
    }

    /// Ends the stretch of results at plan time `now_ns`.
    pub(crate) fn cut(&mut self, now_ns: u64, last: bool) -> Stretch {
        let queued = self.queued();
        self.recorder.cut(now_ns, queued, last)
    }

    /// Ends everything: what is under way stays unfinished.
    pub(crate) fn finish(&mut self, now_ns: u64) -> Stretch {
        for id in self.pool.ids(|c, _| matches!(c.state, State::Busy(_))) {
            if let Some((flight, _)) = self.end_flight(id) {
                self.without_answer(&flight);
            }
        }
        let stretch = self.cut(now_ns, true);
        self.pool.close_all();
        stretch
    }
}

/// What an answer says of the request's effect.
fn fate(head: &Head) -> Fate {
    match head.status {
        200..300 => Fate::Acknowledged,
        400..500 => Fate::Refused,
        _ if head.no_effect => Fate::Refused,
        _ => Fate::Indeterminate,
    }
}

/// A key in 1..=keys from random bits; 1 when none is known.
fn key(draw: u64, keys: u64) -> u64 {
    1 + u64::try_from((u128::from(draw) * u128::from(keys)) >> 64).unwrap_or(0)
}
