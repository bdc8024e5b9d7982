//! The state of a run, folded event by event. Dashboard, report, verdict and comparison read this and nothing else; what they make
//! of it is theirs. Any events in any order give some model: what contradicts itself is kept as it came, never a panic.

mod cell;
mod generator;
mod phase;
mod trial;
mod workload;

use crate::event::{Event, Grade, Kind, Outcome, RunInfo, VariantInfo};
use crate::expect::latency_limit;
use crate::spec::Spec;
use crate::unit::{RunTime, Span};

pub use cell::{Cell, HEAT_ROWS, heat_edge, heat_row};
pub use generator::{Generator, Numbers};
pub use phase::Phase;
pub use trial::{End, Fault, Shares, Step, Trial};
pub use workload::{Decision, Delivered, Life, Moment, Replica, Scaling, Workload};

/// Texts kept of each kind.
const MOST_TEXTS: usize = 1_024;
/// Trials kept.
const MOST_TRIALS: usize = 4_096;

/// The run so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// What is known of the run as a whole; None before its first event.
    pub run: Option<Box<RunInfo>>,
    /// Trials in order of their start. One without `info` holds what came outside of any.
    pub trials: Vec<Trial>,
    /// How the run ended; None while it is under way, or when the journal was cut.
    pub ended: Option<(RunTime, Outcome)>,
    /// Warnings, with the index in `trials` of the trial they came in.
    pub warnings: Vec<Remark>,
    /// Notes by the user.
    pub notes: Vec<Remark>,
    /// Frames of the dashboard that were kept.
    pub stills: Vec<Still>,
    /// How far the environment is what it stands for, each statement once.
    pub fidelity: Vec<Fidelity>,
    /// What watching cost.
    pub observer: Observer,
    /// Things that were made and could not be removed.
    pub left_behind: Vec<LeftBehind>,
    /// Highest stop request of the user; 0: none.
    pub interrupted: u32,
    /// Newest instant of any event.
    pub latest: RunTime,
    /// Numbers of the events that were applied.
    pub events: Numbers,
}

/// A sentence and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// When.
    pub at: RunTime,
    /// Index in [`Model::trials`]; None outside of any.
    pub trial: Option<usize>,
    /// The sentence.
    pub text: String,
}

/// A frame of the dashboard that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    /// The instant it shows.
    pub at: RunTime,
    /// Index in [`Model::trials`] of the one that it shows; None before any.
    pub trial: Option<usize>,
    /// Paths inside the run's folder.
    pub files: Vec<String>,
}

/// How far something is what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fidelity {
    /// Index in [`Model::trials`] of the first trial that said so.
    pub trial: Option<usize>,
    /// Variants for which it was said; empty: for the run as a whole.
    pub variants: Vec<u32>,
    /// What.
    pub subject: String,
    /// How far.
    pub grade: Grade,
    /// In what it differs.
    pub note: String,
}

/// What watching cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observer {
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// Time watched.
    pub over: Span,
    /// Largest resident memory, bytes.
    pub peak_rss_bytes: u64,
}

impl Observer {
    /// Mean CPU use in cores.
    pub fn cores(&self) -> Option<f64> {
        (self.over.0 > 0).then(|| self.cpu_ns as f64 / self.over.0 as f64)
    }
}

/// Things that were made and could not be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// One name each.
    pub things: Vec<String>,
    /// The command that removes them.
    pub remedy: String,
}

impl Model {
    /// A model of all events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut model = Self::default();
        events.into_iter().for_each(|event| model.apply(event));
        model
    }

    /// Folds one event in. An event with a number that was applied before changes nothing.
    pub fn apply(&mut self, event: &Event) {
        if !self.events.insert(event.n) {
            return;
        }
        self.latest = self.latest.max(event.t);
        match &event.kind {
            Kind::RunStarted(info) => self.run = Some(info.clone()),
            Kind::TrialStarted(info) => {
                if let Some(last) = self.trials.last_mut() {
                    last.close();
                }
                self.begin_trial(event.t).info = Some(*info);
                self.set_up_trial();
            }
            Kind::Warning { text } => remark(&mut self.warnings, event.t, self.trials.len(), text),
            Kind::Note { text } => remark(&mut self.notes, event.t, self.trials.len(), text),
            Kind::Still { at, files, .. } if self.stills.len() < MOST_TEXTS => {
                // It may have been kept while a later trial was under way.
                let trial = self.trials.iter().rposition(|trial| trial.started <= *at);
                self.stills.push(Still { at: *at, trial, files: files.clone() });
            }
            Kind::Fidelity { subject, grade, note } => self.fidelity(subject, *grade, note),
            Kind::ObserverCost { cpu_ns, over, rss_bytes } => {
                let o = &mut self.observer;
                o.cpu_ns = o.cpu_ns.saturating_add(*cpu_ns);
                o.over = Span(o.over.0.saturating_add(over.0));
                o.peak_rss_bytes = o.peak_rss_bytes.max(*rss_bytes);
            }
            Kind::LeftBehind { things, remedy } => {
                if self.left_behind.len() < MOST_TEXTS {
                    self.left_behind.push(LeftBehind { things: things.clone(), remedy: remedy.clone() });
                }
            }
            Kind::Interrupted { count } => self.interrupted = self.interrupted.max(*count),
            Kind::RunEnded { outcome } => {
                self.ended = Some((event.t, *outcome));
                self.trials.iter_mut().for_each(Trial::close);
            }
            _ => self.apply_to_trial(event),
        }
    }

    /// True when the run came to its end and no event is missing.
    pub fn complete(&self) -> bool {
        self.ended.is_some_and(|(_, outcome)| outcome == Outcome::Completed)
            && self.missing_events() == 0
            && self.finished_trials() >= self.planned_trials()
    }

    /// Events whose numbers are missing before the newest one.
    pub fn missing_events(&self) -> u64 {
        self.events.highest().unwrap_or(0).saturating_sub(self.events.count())
    }

    /// Trials that the run was to have.
    pub fn planned_trials(&self) -> usize {
        self.run.as_ref().map_or(0, |run| run.order.len())
    }

    /// Trials that ran to their end.
    pub fn finished_trials(&self) -> usize {
        self.trials.iter().filter(|t| t.info.is_some() && t.complete()).count()
    }

    /// The trial under way, or the last one.
    pub fn current(&self) -> Option<&Trial> {
        self.trials.last()
    }

    /// The variant that a trial executes.
    pub fn variant(&self, trial: &Trial) -> Option<&VariantInfo> {
        self.run.as_ref()?.variants.get(trial.info?.variant as usize)
    }

    /// What a variant is called; its number where the journal does not name it.
    pub fn label(&self, variant: u32) -> String {
        let info = self.run.as_ref().and_then(|run| run.variants.get(variant as usize));
        info.map_or_else(|| format!("variant {}", u64::from(variant) + 1), |info| info.label.clone())
    }

    /// The spec of a trial: its variant's, or the run's.
    pub fn spec(&self, trial: &Trial) -> Option<&Spec> {
        self.variant(trial).map(|v| &v.spec).or_else(|| self.run.as_ref().map(|run| &run.spec))
    }

    /// Whether a phase of a trial counts for expectations.
    pub fn measured(&self, trial: &Trial, phase: u32) -> bool {
        let load = self.spec(trial).and_then(|spec| spec.load.as_ref());
        load.and_then(|load| load.phases.get(phase as usize)).is_none_or(|phase| phase.measure)
    }

    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let texts: usize = self.warnings.iter().chain(&self.notes).map(|r| 64 + r.text.len()).sum();
        texts + self.trials.iter().map(|t| size_of::<Trial>() + t.heap_bytes()).sum::<usize>()
    }

    fn begin_trial(&mut self, at: RunTime) -> &mut Trial {
        if self.trials.len() >= MOST_TRIALS {
            self.trials.remove(0);
        }
        self.trials.push(Trial { started: at, latest: at, ..Trial::default() });
        let newest = self.trials.len() - 1;
        &mut self.trials[newest]
    }

    /// What the trial's spec says about its counting.
    fn set_up_trial(&mut self) {
        let Some(last) = self.trials.last() else { return };
        let spec = self.spec(last);
        let phases = spec.and_then(|spec| spec.load.as_ref()).map_or(&[][..], |load| &load.phases);
        let limits = spec.map(|spec| phases.iter().map(|p| latency_limit(&spec.expect, &p.name)).collect());
        let cores = spec.and_then(|spec| spec.services.load_generator.common.resources.cpu);
        if let Some(last) = self.trials.last_mut() {
            last.limits = limits.unwrap_or_default();
            last.generator_cores = cores.map_or(1.0, |cpu| cpu.0 as f64 / 1_000.0);
        }
    }

    fn fidelity(&mut self, subject: &str, grade: Grade, note: &str) {
        let trial = self.trials.len().checked_sub(1);
        let variant = self.trials.last().and_then(|t| t.info).map(|info| info.variant);
        let said = self.fidelity.iter().position(|f| f.subject == subject && f.grade == grade && f.note == note);
        match said {
            Some(at) => {
                let variants = &mut self.fidelity[at].variants;
                variants.extend(variant.filter(|v| !variants.contains(v)));
            }
            None if self.fidelity.len() < MOST_TEXTS => self.fidelity.push(Fidelity {
                trial,
                variants: variant.into_iter().collect(),
                subject: subject.to_owned(),
                grade,
                note: note.to_owned(),
            }),
            None => {}
        }
    }

    fn apply_to_trial(&mut self, event: &Event) {
        if self.trials.is_empty() {
            self.begin_trial(event.t);
            self.set_up_trial();
        }
        let target = self.target();
        if let Some(trial) = self.trials.last_mut() {
            trial.latest = trial.latest.max(event.t);
            trial.apply(event, &target);
        }
    }

    /// The workload that is called, for endpoints that no replica event has named.
    fn target(&self) -> String {
        let load = self.trials.last().and_then(|t| self.spec(t)).and_then(|s| s.load.as_ref());
        load.map_or_else(|| "target".to_owned(), |load| load.target.name().to_owned())
    }
}

fn remark(into: &mut Vec<Remark>, at: RunTime, trials: usize, text: &str) {
    if into.len() < MOST_TEXTS {
        into.push(Remark { at, trial: trials.checked_sub(1), text: text.to_owned() });
    }
}
