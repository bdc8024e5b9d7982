//! One trial folded from its events.

use std::collections::BTreeMap;

use crate::control::{EndpointSample, LoadChange, Sample};
use crate::event::{BackingSeen, Event, Kind, Outcome, StepName, TrialInfo};
use crate::series::{Series, Stretch};
use crate::unit::{RunTime, Span};

use super::cell::Cell;
use super::generator::Generator;
use super::phase::{Phase, ReadSample, sane};
use super::workload::{Delivered, Life, Workload};

/// Phases, generators, workloads and texts kept at most, each: far above any real run, so that no journal can fill memory.
const MOST: usize = 1_024;
/// A second of plan time, nanoseconds: generators cut their samples at whole ones, a little late.
const SECOND_NS: u64 = 1_000_000_000;
/// Shares count for a second that begins at most this much before them.
const SAME_SECOND: Span = Span::from_millis(500);
/// How long a second stays open for exact merging of late samples.
const OPEN_FOR: Span = Span::from_secs(30);
/// How far back still open seconds are looked for.
const CLOSE_BACK: Span = Span::from_secs(90);

/// One trial. Without `info` it holds what came outside of any: a lab that is only up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trial {
    /// Which.
    pub info: Option<TrialInfo>,
    /// When it began.
    pub started: RunTime,
    /// How it ended; None while it is under way, or when the journal was cut.
    pub ended: Option<End>,
    /// Steps of bringing up and taking down, in order.
    pub steps: Vec<Step>,
    /// Run time of plan time 0.
    pub load_started: Option<RunTime>,
    /// Results by phase, by index in the spec.
    pub phases: BTreeMap<u32, Phase>,
    /// Results by second.
    pub cells: Series<Cell>,
    /// Load generators by name.
    pub generators: BTreeMap<String, Generator>,
    /// Workloads by name.
    pub workloads: BTreeMap<String, Workload>,
    /// Shares of the schedule as they were dealt, in order.
    pub shares: Vec<Shares>,
    /// Changes of the load by hand.
    pub changes: Vec<(RunTime, LoadChange, String)>,
    /// Faults that were put in on purpose, in order.
    pub faults: Vec<Fault>,
    /// Its backing services as they were found, each once.
    pub backing: Vec<BackingSeen>,
    /// Newest instant of any of its events.
    pub latest: RunTime,
    /// Samples that came twice and were counted once.
    pub repeated_samples: u64,
    /// Samples that came before load began (preparation) and were left out.
    pub early_samples: u64,
    /// Quantile and limit of the response time, by phase.
    pub(super) limits: Vec<Option<(f64, Span)>>,
    /// What one generator may use of CPU, cores.
    pub(super) generator_cores: f64,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: RunTime,
    /// How.
    pub outcome: Outcome,
    /// What went wrong.
    pub error: Option<String>,
}

/// A step of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// When it began.
    pub at: RunTime,
    /// How long it took; None while it is under way.
    pub took: Option<Span>,
}

/// The schedule dealt among generators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// When it was announced.
    pub at: RunTime,
    /// From which plan time on.
    pub from_ns: u64,
    /// The generators, by index.
    pub generators: Vec<String>,
    /// Why.
    pub cause: String,
}

/// Something that was done to a replica on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: RunTime,
    /// The replica.
    pub replica: String,
    /// `killed`.
    pub what: String,
    /// Who: `user`, or a phase of the spec.
    pub by: String,
}

impl Trial {
    /// True when it ran to its end.
    pub fn complete(&self) -> bool {
        self.ended.as_ref().is_some_and(|end| end.outcome == Outcome::Completed)
    }

    /// The quantile and limit of the response time that an expectation sets for this phase, else for another.
    pub fn limit(&self, phase: u32) -> Option<(f64, Span)> {
        self.limits.get(phase as usize).copied().flatten()
    }

    /// The limit that most phases have, as (quantile, limit): the line in pictures.
    pub fn main_limit(&self) -> Option<(f64, Span)> {
        let count = |limit: &(f64, Span)| self.limits.iter().flatten().filter(|l| *l == limit).count();
        self.limits.iter().flatten().max_by_key(|l| count(l)).copied()
    }

    /// What one generator may use of CPU, cores.
    pub fn generator_cores(&self) -> f64 {
        self.generator_cores
    }

    /// The newest second of load of which all generators have told.
    pub fn newest_second(&self) -> Option<&Stretch<Cell>> {
        self.cells.stretches().iter().rev().find(|second| second.value.complete())
    }

    /// Samples that are known to be missing.
    pub fn lost_samples(&self) -> u64 {
        self.generators.values().fold(0, |sum, g| sum.saturating_add(g.lost()))
    }

    /// The stretch in which load ran: from plan time 0 to the last sample or phase end. None before load.
    pub fn load_window(&self) -> Option<(RunTime, RunTime)> {
        let from = self.load_started.or_else(|| self.phases.values().filter_map(|p| p.started).min())?;
        let samples = self.cells.stretches().iter().map(|s| s.to).max();
        let phases = self.phases.values().filter_map(|p| p.ended).max();
        Some((from, samples.into_iter().chain(phases).max().unwrap_or(from).max(from)))
    }

    /// Changes by hand of the load that began last, newest first. In a lab that is up several loads may follow one another, and what
    /// was set for one is not in force for the next.
    pub fn newest_changes(&self) -> impl Iterator<Item = &LoadChange> {
        let zero = self.load_started.unwrap_or_default();
        // One that says from when on counts from the load's own beginning, also when it was asked for before that.
        let of_this = move |(at, change, _): &&(RunTime, LoadChange, String)| change.from_ns.is_some() || *at >= zero;
        self.changes.iter().rev().filter(of_this).map(|(_, change, _)| change)
    }

    /// True while load runs whose phases nobody marks, as in a lab that is up: it has begun, and not every generator has sent its last
    /// sample.
    pub fn sends_unmarked(&self) -> bool {
        let marked = self.phases.values().any(|phase| phase.started.is_some());
        let finished = !self.generators.is_empty() && self.generators.values().all(|generator| generator.finished);
        self.load_started.is_some() && !marked && !finished
    }

    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let cells: usize = self.cells.stretches().iter().map(|s| size_of_val(s) + s.value.heap_bytes()).sum();
        let phases: usize = self.phases.values().map(|p| size_of::<Phase>() + p.heap_bytes()).sum();
        cells + phases + self.workloads.values().map(Workload::heap_bytes).sum::<usize>() + 256 * self.generators.len()
    }

    /// Closes all seconds: no more samples are expected.
    pub(super) fn close(&mut self) {
        self.cells.values_mut().for_each(|(_, cell)| cell.close());
    }

    pub(super) fn workload(&mut self, name: &str) -> &mut Workload {
        let known = self.workloads.contains_key(name) || self.workloads.len() < MOST;
        self.workloads.entry(if known { name } else { "other" }.to_owned()).or_default()
    }

    pub(super) fn phase(&mut self, index: u32) -> &mut Phase {
        let known = self.phases.contains_key(&index) || self.phases.len() < MOST;
        self.phases.entry(if known { index } else { u32::MAX }).or_default()
    }

    pub(super) fn step(&mut self, at: RunTime, name: StepName, took: Option<Span>) {
        let open = self.steps.iter().rposition(|s| s.name == name && s.took.is_none());
        match (open, took) {
            (Some(step), Some(_)) => self.steps[step].took = took,
            _ if self.steps.len() >= MOST => {}
            (_, took) => {
                let began = RunTime(at.0.saturating_sub(took.unwrap_or_default().0));
                self.steps.push(Step { name, at: began, took });
            }
        }
    }

    pub(super) fn deal(&mut self, at: RunTime, from_ns: u64, generators: &[String], cause: &str) {
        if self.shares.len() < MOST {
            let generators = generators.to_vec();
            self.shares.push(Shares { at, from_ns, generators, cause: cause.to_owned() });
        }
    }

    pub(super) fn lost(&mut self, generator: &str, from_seq: u64, count: u64) {
        let generator = self.generator(generator);
        generator.highest = generator.highest.max(from_seq.saturating_add(count).saturating_sub(1));
    }

    fn generator(&mut self, name: &str) -> &mut Generator {
        let known = self.generators.contains_key(name) || self.generators.len() < MOST;
        self.generators.entry(if known { name } else { "other" }.to_owned()).or_default()
    }

    /// Generators that should send a sample for a stretch that begins at this plan time.
    fn expected(&self, from_ns: u64) -> u32 {
        let dealt = self.shares.iter().rev().find(|s| s.from_ns <= from_ns.saturating_add(SAME_SECOND.0));
        dealt.map_or(1, |s| s.generators.len().max(1)) as u32
    }

    /// Folds a sample in. `target` is the workload that is called.
    pub(super) fn sample(&mut self, sample: &Sample, target: &str) {
        let Some(zero) = self.load_started else {
            self.early_samples += 1;
            return;
        };
        let over = Span(sample.to_ns.saturating_sub(sample.from_ns));
        let generator = self.generator(&sample.generator);
        if generator.plan != sample.plan {
            // A new plan counts its samples from 1 again.
            (generator.received, generator.highest, generator.finished) = Default::default();
            generator.plan.clone_from(&sample.plan);
        }
        if !generator.received.insert(sample.seq) {
            self.repeated_samples += 1;
            return;
        }
        generator.highest = generator.highest.max(sample.seq);
        generator.finished |= sample.last;
        generator.cpu_ns = generator.cpu_ns.saturating_add(sample.cpu_ns);
        generator.over = Span(generator.over.0.saturating_add(over.0));
        generator.longest_turn = generator.longest_turn.max(Span(sample.longest_turn_ns));
        let queue_empty = generator.queued == 0 && sample.longest_queue == 0 && sample.queued == 0;
        generator.queued = sample.queued;
        let read: Vec<_> = sample.phases.iter().map(ReadSample::of).collect();
        self.add_to_cell(zero, sample, &read);
        for (part, read) in sample.phases.iter().zip(&read) {
            self.phase(part.phase).add(part, read, queue_empty);
        }
        for endpoint in &sample.endpoints {
            self.answered(zero, endpoint, target);
        }
    }

    fn add_to_cell(&mut self, zero: RunTime, sample: &Sample, read: &[ReadSample]) {
        let (from, to) = (zero.plus(Span(second_of(sample))), zero.plus(Span(sample.to_ns)));
        let expected = self.expected(sample.from_ns);
        let cores = self.generator_cores;
        let limits: Vec<_> = sample.phases.iter().map(|part| self.limit(part.phase).map(|(_, limit)| limit)).collect();
        let cell = self.cells.reaching(from, to);
        cell.samples += 1;
        cell.over = cell.over.max(Span(sample.to_ns.saturating_sub(sample.from_ns)));
        cell.expected = cell.expected.max(expected);
        fill(cell, sample, read, &limits, cores);
        let newest = self.cells.last().map_or(from, |s| s.from);
        let before = |span: Span| RunTime(newest.0.saturating_sub(span.0));
        let (old, older) = (before(OPEN_FOR), before(CLOSE_BACK));
        for (_, cell) in
            self.cells.values_mut().rev().skip_while(|(at, _)| *at >= old).take_while(|(at, _)| *at >= older)
        {
            cell.close();
        }
    }

    fn answered(&mut self, zero: RunTime, endpoint: &EndpointSample, target: &str) {
        let owner = self.workloads.iter().find(|(_, w)| w.replicas.contains_key(&endpoint.replica));
        let owner = owner.map_or_else(|| target.to_owned(), |(name, _)| name.clone());
        let workload = self.workload(&owner);
        let replica = workload.replica(&endpoint.replica);
        replica.completed = replica.completed.saturating_add(endpoint.completed);
        replica.failed = replica.failed.saturating_add(endpoint.failed);
        if let Some(first) = endpoint.first_ns {
            workload.live(zero.plus(Span(first)), &endpoint.replica, Life::FirstAnswer);
        }
    }
}

/// The beginning of the second that a sample belongs to, plan time: that of its middle, so that the part of a second that a generator
/// has after it joined is not taken for the next one; of a sample that is longer, that of its beginning.
fn second_of(sample: &Sample) -> u64 {
    let half = (sample.to_ns.saturating_sub(sample.from_ns) / 2).min(SECOND_NS / 2);
    let inside = sample.from_ns.saturating_add(half);
    inside - inside % SECOND_NS
}

fn fill(cell: &mut Cell, sample: &Sample, read: &[ReadSample], limits: &[Option<Span>], cores: f64) {
    for ((part, read), limit) in sample.phases.iter().zip(read).zip(limits) {
        let counts = &part.counts;
        for (sum, n) in [
            (&mut cell.counts.offered, counts.offered),
            (&mut cell.counts.started, counts.started),
            (&mut cell.counts.completed, counts.completed),
            (&mut cell.counts.failed, counts.failed),
            (&mut cell.counts.dropped, counts.dropped),
        ] {
            *sum += sane(n);
        }
        cell.within_limit += limit.map_or(0, |limit| read.response.count_at_or_below(limit));
        cell.service_ns += read.service.sum_ns();
        cell.failure_ns += read.failures.sum_ns();
        if !read.response.is_empty() {
            cell.add_responses(&read.response);
        }
    }
    cell.in_flight_ns = cell.in_flight_ns.saturating_add(sample.in_flight_ns);
    cell.in_flight += sane(sample.in_flight);
    cell.queued += sane(sample.queued);
    let over = sample.to_ns.saturating_sub(sample.from_ns);
    if over > 0 {
        cell.generator_cpu = cell.generator_cpu.max(sample.cpu_ns as f64 / over as f64 / cores.max(1e-3));
    }
    cell.longest_turn = cell.longest_turn.max(Span(sample.longest_turn_ns));
}

impl Trial {
    /// Folds in an event that belongs to a trial. `target` is the workload that is called.
    pub(super) fn apply(&mut self, event: &Event, target: &str) {
        let at = event.t;
        match &event.kind {
            Kind::Step { step, took } => self.step(at, *step, *took),
            Kind::LoadStarted { at } => self.load_started = Some(*at),
            Kind::PhaseStarted { index, name, at } => {
                let phase = self.phase(*index);
                (phase.name, phase.started) = (name.clone(), Some(*at));
            }
            Kind::PhaseEnded { index, name, at } => {
                let phase = self.phase(*index);
                (phase.name, phase.ended) = (name.clone(), Some(*at));
            }
            Kind::LoadChanged { change, by } if self.changes.len() < MOST => {
                self.changes.push((at, change.clone(), by.clone()));
            }
            Kind::Fault { replica, what, by, .. } if self.faults.len() < MOST => {
                self.faults.push(Fault { at, replica: replica.clone(), what: what.clone(), by: by.clone() });
            }
            Kind::Backing(seen) if self.backing.len() < MOST => {
                self.backing.retain(|known| known.name != seen.name);
                self.backing.push((**seen).clone());
            }
            Kind::SharesDealt { generators, from_ns, cause } => self.deal(at, *from_ns, generators, cause),
            Kind::Sample(sample) => self.sample(sample, target),
            Kind::SampleLost { generator, from_seq, count } => self.lost(generator, *from_seq, *count),
            Kind::TrialEnded { outcome, error } => {
                self.ended = Some(End { at, outcome: *outcome, error: error.clone() });
                self.close();
            }
            _ => self.apply_to_workload(event),
        }
    }

    fn apply_to_workload(&mut self, event: &Event) {
        let at = event.t;
        match &event.kind {
            Kind::Scaled { workload, from, to, cause } => self.workload(workload).scaled(at, *from, *to, cause),
            Kind::ReplicaCreated { workload, replica } => self.workload(workload).live(at, replica, Life::Created),
            Kind::ReplicaStarted { workload, replica, address, .. } => {
                let workload = self.workload(workload);
                workload.live(at, replica, Life::Started);
                workload.replica(replica).address.clone_from(address);
            }
            Kind::ReplicaReady { workload, replica } => self.workload(workload).live(at, replica, Life::Ready),
            Kind::ReplicaUnready { workload, replica, .. } => self.workload(workload).live(at, replica, Life::Unready),
            Kind::ReplicaDraining { workload, replica } => self.workload(workload).live(at, replica, Life::Draining),
            Kind::ReplicaStopped { workload, replica, exit, expected } => {
                let workload = self.workload(workload);
                workload.live(at, replica, Life::Stopped);
                let replica = workload.replica(replica);
                (replica.exit, replica.died) = (Some(exit.clone()), !expected);
            }
            Kind::EndpointsChanged { workload, version, endpoints } => {
                let workload = self.workload(workload);
                if workload.endpoints.as_ref().is_none_or(|(known, _)| known <= version) {
                    workload.endpoints = Some((*version, endpoints.clone()));
                }
            }
            Kind::Observed { workload, replicas } => self.workload(workload).observed(at, replicas),
            Kind::Gauges { workload, values } => self.workload(workload).gauges(at, values),
            Kind::EndToEnd { workload, over, delays } => self.workload(workload).delivered_in(at, *over, delays),
            Kind::Decided(decided) => self.workload(&decided.workload).decided(at, decided),
            Kind::Conserved(conserved) => {
                let list = &mut self.workload(&conserved.workload).conserved;
                if list.len() < MOST {
                    list.push((**conserved).clone());
                }
            }
            Kind::Delivered { workload, what, acknowledged, indeterminate, applied } => {
                let list = &mut self.workload(workload).delivered;
                if list.len() < MOST {
                    list.push(Delivered {
                        what: what.clone(),
                        acknowledged: *acknowledged,
                        indeterminate: *indeterminate,
                        applied: *applied,
                    });
                }
            }
            _ => {}
        }
    }
}
