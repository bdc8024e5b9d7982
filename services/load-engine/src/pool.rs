//! The connections of one worker: opened when a request needs one, spread evenly over the endpoints, closed when their endpoint
//! leaves the list. Only addresses of the list are ever connected to. What is sent on them is not decided here.
//!
//! Each endpoint has an equal part of the connections (at least one). Requests go round the endpoints; one that has no free
//! connection lends its turn to the next and gets a further connection, up to its part, so a new endpoint is served from its first
//! turn on. Connections above a part that has shrunk are closed a few at a time, idle ones at once, busy ones after their answer.

mod endpoint;

use std::io;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::cause::Cause;
use crate::connection::{Connection, State};
use crate::target::Target;
use endpoint::EndpointState;

/// Bits of a token that hold the slot; the rest is its generation, so that an event of a closed connection finds nobody.
const SLOT_BITS: u32 = 20;
const GENERATIONS: usize = (usize::MAX >> SLOT_BITS) / 2;

/// Names a connection for as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnId(pub(crate) usize);

#[derive(Debug, Default)]
struct Slot {
    generation: usize,
    connection: Option<Connection>,
}

/// Connections of one worker.
#[derive(Debug)]
pub(crate) struct Pool {
    registry: Registry,
    slots: Vec<Slot>,
    free: Vec<usize>,
    endpoints: Vec<EndpointState>,
    /// Indices of the endpoints in the list.
    active: Vec<usize>,
    cap: u32,
    /// Whose turn it is.
    turn: usize,
    connecting: usize,
    /// Failures to connect that have not been told yet.
    failures: Vec<Cause>,
}

impl Pool {
    pub(crate) fn new(registry: Registry, cap: u32) -> Self {
        Self {
            registry,
            slots: Vec::new(),
            free: Vec::new(),
            endpoints: Vec::new(),
            active: Vec::new(),
            cap,
            turn: 0,
            connecting: 0,
            failures: Vec::new(),
        }
    }

    /// Puts a new list in force. An endpoint that left loses its idle connections now and busy ones after their answer.
    pub(crate) fn set_targets(&mut self, targets: &[Target]) {
        for endpoint in &mut self.endpoints {
            endpoint.relist(targets.contains(&endpoint.target));
        }
        for target in targets {
            if self.endpoints.iter().all(|e| e.target != *target) {
                self.endpoints.push(EndpointState::new(target.clone()));
            }
        }
        self.active = (0..self.endpoints.len()).filter(|i| self.endpoints[*i].listed).collect();
        self.divide();
        for index in 0..self.endpoints.len() {
            if !self.endpoints[index].listed {
                while let Some(id) = self.endpoints[index].idle.pop() {
                    self.close(id);
                }
            }
        }
        let leaving =
            self.ids(|c, pool| matches!(c.state, State::Connecting { .. }) && !pool.endpoints[c.endpoint].listed);
        leaving.into_iter().for_each(|id| self.close(id));
    }

    pub(crate) fn set_cap(&mut self, cap: u32) {
        self.cap = cap;
        self.divide();
    }

    fn divide(&mut self) {
        let count = u32::try_from(self.active.len()).unwrap_or(u32::MAX).max(1);
        for (rank, index) in (0..).zip(&self.active) {
            self.endpoints[*index].part = (self.cap / count + u32::from(rank < self.cap % count)).max(1);
        }
    }

    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.0 & ((1 << SLOT_BITS) - 1))?;
        if slot.generation == id.0 >> SLOT_BITS { slot.connection.as_mut() } else { None }
    }

    pub(crate) fn target(&self, endpoint: usize) -> &Target {
        &self.endpoints[endpoint].target
    }

    /// A free connection, endpoints in turn.
    pub(crate) fn take_idle(&mut self, now_ns: u64) -> Option<ConnId> {
        let count = self.active.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let index = self.active[at];
            if let Some(id) = self.endpoints[index].idle.pop() {
                self.turn = at + 1;
                return Some(id);
            }
            if step == 0 && self.endpoints[index].connecting == 0 && self.endpoints[index].may_open(now_ns) {
                self.open(index, now_ns);
                if let Some(id) = self.endpoints[index].idle.pop() {
                    self.turn = at + 1;
                    return Some(id);
                }
            }
        }
        None
    }

    /// Opens connections until as many are on their way as requests wait; true when one is free at once.
    pub(crate) fn open_for(&mut self, waiting: usize, now_ns: u64) -> bool {
        while self.connecting < waiting {
            let candidates = self.active.iter().copied().filter(|i| self.endpoints[*i].may_open(now_ns));
            let Some(index) = candidates.min_by_key(|i| self.endpoints[*i].open) else { return false };
            self.open(index, now_ns);
            if !self.endpoints[index].idle.is_empty() {
                return true;
            }
        }
        false
    }

    fn open(&mut self, index: usize, now_ns: u64) {
        let result = TcpStream::connect(self.endpoints[index].target.address).and_then(|mut socket| {
            let id = self.next_id();
            self.registry.register(&mut socket, Token(id.0), Interest::READABLE | Interest::WRITABLE)?;
            // Small requests must leave at once; an error here would show in every latency.
            socket.set_nodelay(true)?;
            Ok((id, Connection::new(socket, index, now_ns)))
        });
        match result {
            Ok((id, connection)) => {
                let slot = id.0 & ((1 << SLOT_BITS) - 1);
                self.free.pop();
                self.slots[slot].connection = Some(connection);
                self.connecting += 1;
                self.endpoints[index].open += 1;
                self.endpoints[index].connecting += 1;
                // On loopback the handshake is often over by now, and no event need be awaited.
                self.check_connected(id, now_ns);
            }
            Err(error) => self.failed(index, &error, now_ns),
        }
    }

    /// The id that the next connection gets; its slot stays in the free list until it is filled.
    fn next_id(&mut self) -> ConnId {
        if self.free.is_empty() {
            self.free.push(self.slots.len());
            self.slots.push(Slot::default());
        }
        let slot = self.free.last().copied().unwrap_or(0);
        ConnId(self.slots[slot].generation << SLOT_BITS | slot)
    }

    /// Looks whether a connection that was being opened is open, and makes it free if so.
    pub(crate) fn check_connected(&mut self, id: ConnId, now_ns: u64) {
        let Some(connection) = self.get(id) else { return };
        let index = connection.endpoint;
        match connection.connected() {
            Ok(false) => {}
            Ok(true) => {
                connection.state = State::Idle;
                self.connecting -= 1;
                self.endpoints[index].connecting -= 1;
                self.endpoints[index].backoff.clear();
                self.endpoints[index].idle.push(id);
            }
            Err(error) => {
                self.close(id);
                self.failed(index, &error, now_ns);
            }
        }
    }

    fn failed(&mut self, index: usize, error: &io::Error, now_ns: u64) {
        self.endpoints[index].backoff.failed(now_ns);
        if self.endpoints[index].listed {
            self.failures.push(Cause::of_connect(error));
        }
    }

    /// A failure to connect that has not been told yet.
    pub(crate) fn take_failure(&mut self) -> Option<Cause> {
        self.failures.pop()
    }

    /// True when no listed endpoint has a connection, open or on its way.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.active.iter().all(|i| self.endpoints[*i].open == 0)
    }

    /// May a connection whose answer is complete carry another request?
    pub(crate) fn may_reuse(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.get(id) else { return false };
        let (index, retiring) = (connection.endpoint, connection.retiring);
        !retiring && self.endpoints[index].listed
    }

    /// Makes a connection free.
    pub(crate) fn park(&mut self, id: ConnId) {
        if let Some(connection) = self.get(id) {
            connection.state = State::Idle;
            let index = connection.endpoint;
            self.endpoints[index].idle.push(id);
        }
    }

    /// Closes a connection, whatever it is doing.
    pub(crate) fn close(&mut self, id: ConnId) {
        let slot_index = id.0 & ((1 << SLOT_BITS) - 1);
        let Some(connection) = self.get(id) else { return };
        let (index, retiring) = (connection.endpoint, connection.retiring);
        let connecting = matches!(connection.state, State::Connecting { .. });
        let slot = &mut self.slots[slot_index];
        slot.generation = (slot.generation + 1) % GENERATIONS;
        // Closing the socket also takes it out of the poll set.
        slot.connection = None;
        self.free.push(slot_index);
        self.connecting -= usize::from(connecting);
        let endpoint = &mut self.endpoints[index];
        endpoint.connecting -= u32::from(connecting);
        endpoint.open -= 1;
        endpoint.retiring -= u32::from(retiring);
        endpoint.idle.retain(|other| *other != id);
    }

    /// Closes everything.
    pub(crate) fn close_all(&mut self) {
        self.ids(|_, _| true).into_iter().for_each(|id| self.close(id));
    }

    /// Housekeeping: gives up connecting after `timeout_ns`, closes a few connections where there are too many.
    pub(crate) fn tick(&mut self, now_ns: u64, timeout_ns: u64) {
        let late = |c: &Connection, _: &Self| matches!(c.state, State::Connecting { since_ns } if now_ns.saturating_sub(since_ns) >= timeout_ns);
        let late = if self.connecting > 0 { self.ids(late) } else { Vec::new() };
        for id in late {
            let index = self.get(id).map(|c| c.endpoint);
            self.close(id);
            if let Some(index) = index {
                self.failed(index, &io::ErrorKind::TimedOut.into(), now_ns);
            }
        }
        let few = (self.cap / 50).max(1);
        for at in 0..self.active.len() {
            self.shrink(self.active[at], few);
        }
    }

    /// Brings an endpoint closer to its part by at most `few` connections.
    fn shrink(&mut self, index: usize, few: u32) {
        let mut surplus = self.endpoints[index].surplus().min(few);
        while surplus > 0 {
            let Some(id) = self.endpoints[index].idle.pop() else { break };
            self.close(id);
            surplus -= 1;
        }
        if surplus == 0 {
            return;
        }
        let busy = self.ids(|c, _| c.endpoint == index && !c.retiring && matches!(c.state, State::Busy(_)));
        for id in busy.into_iter().take(surplus as usize) {
            if let Some(connection) = self.get(id) {
                connection.retiring = true;
                self.endpoints[index].retiring += 1;
            }
        }
    }

    /// Connections with a property.
    pub(crate) fn ids(&self, wanted: impl Fn(&Connection, &Self) -> bool) -> Vec<ConnId> {
        let with_id = |(index, slot): (usize, &Slot)| {
            slot.connection.as_ref().filter(|c| wanted(c, self)).map(|_| ConnId(slot.generation << SLOT_BITS | index))
        };
        self.slots.iter().enumerate().filter_map(with_id).collect()
    }
}
