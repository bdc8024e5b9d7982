//! The live screen of `lab load`: its samples become the events of a run in memory, steered through the callback of the engine.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use lab_core::control::{LoadChange, Sample};
use lab_core::event::{Event, Kind, Outcome, RunInfo, TrialInfo, VariantInfo};
use lab_core::spec::{AutoscalerSettings, Budget, EnvironmentKind, Load, Phase, Services, Shape, Spec, Target};
use lab_core::unit::{RunTime, Span};
use lab_core::words;
use lab_tui::app::Source;
use lab_tui::dashboard::Left;
use lab_tui::outside::{Outside, Said, Steer, Still};
use lab_tui::pane::Logs;
use lab_tui::timeline::MemoryHistory;
use load_engine::{EngineError, Length, Next, Options};

use crate::args::LookArgs;
use crate::error::LabError;
use crate::out;
use crate::screen::{self, LiveScreen};

/// Wishes and answers that may wait.
const WAITING: usize = 64;
/// Instead of a report.
const NO_REPORT: &str = "the summary is printed when the screen is left";
/// Name of the only phase.
const PHASE: &str = "load";

/// What the user wants of the load.
#[derive(Debug, Clone, PartialEq)]
enum Wish {
    Change(LoadChange),
    Stop,
}

/// A load that is shown.
pub struct Live {
    events: Events,
    /// How long the load is planned to send; None: until its requests are sent.
    length: Option<Span>,
    /// When it began to send; None before its first sample.
    started: Option<RunTime>,
    wishes: Receiver<Wish>,
    screen: Option<LiveScreen>,
    /// Set when the process is asked to end.
    stop: Arc<AtomicBool>,
}

impl Live {
    /// Shows a load that is about to begin. `stop` is set when the screen ends by a signal or with its terminal.
    ///
    /// # Errors
    /// The user's settings cannot be used.
    pub fn begin(options: &Options, look: &LookArgs, stop: Arc<AtomicBool>) -> Result<Self, LabError> {
        let (voice, said) = sync_channel(WAITING);
        let (wish, wishes) = sync_channel(WAITING);
        let outside = Box::new(Engine { wish, voice: voice.clone(), said, paced: options.rate.is_some() });
        let events = Events { began: Instant::now(), history: MemoryHistory::default(), number: Rc::default() };
        let settings = screen::settings(look, Source::Load)?;
        let screen = LiveScreen::open(Box::new(events.history.clone()), outside, voice, settings)?;
        let trial = TrialInfo { trial: 0, variant: 0, block: 0, seed: options.seed };
        events.say(Kind::RunStarted(Box::new(info(options, trial))));
        events.say(Kind::TrialStarted(trial));
        Ok(Self { events, length: length(options), started: None, wishes, screen: Some(screen), stop })
    }

    /// Takes a second in; says how the load goes on.
    pub fn sample(&mut self, sample: &Sample) -> Next {
        if self.started.is_none() {
            let at = self.events.start(sample.to_ns);
            self.started = Some(at);
        }
        self.events.say(Kind::Sample(Box::new(sample.clone())));
        if let Some(left) = self.screen.as_mut().and_then(LiveScreen::has_left) {
            self.screen = None;
            match left {
                Ok(Left::Stop) => return Next::Stop,
                Ok(Left::Signal(_)) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Next::Stop;
                }
                Ok(_) => out::talk("the load goes on; Ctrl-C ends it"),
                Err(why) => out::talk(&format!("the screen is gone ({why}); the load goes on; Ctrl-C ends it")),
            }
        }
        match merged(self.wishes.try_iter()) {
            Some(Wish::Change(change)) => self.change(change),
            Some(Wish::Stop) => Next::Stop,
            None => Next::Go,
        }
    }

    /// A change that becomes an event once the engine has made it.
    fn change(&self, change: LoadChange) -> Next {
        let (events, asked) = (self.events.clone(), change.clone());
        let voice = self.screen.as_ref().map(LiveScreen::voice);
        let answer = move |changed: Result<(), EngineError>| match (changed, voice) {
            (Ok(()), _) => events.say(Kind::LoadChanged { change: asked, by: "user".to_owned() }),
            // A screen that does not listen any more needs no words.
            (Err(why), Some(voice)) => drop(voice.try_send(Said::Message(why.to_string()))),
            (Err(why), None) => out::talk(&why.to_string()),
        };
        Next::Change(change, Box::new(answer))
    }

    /// True once the screen was left before the load was over: sentences are wanted.
    pub fn has_left(&self) -> bool {
        self.screen.is_none()
    }

    /// Shows the end until the user leaves.
    pub fn over(self, words: &str) {
        if let Some(started) = self.started {
            let planned = self.length.map(|length| started.plus(length));
            let now = self.events.now();
            let at = planned.map_or(now, |planned| planned.min(now));
            self.events.say(Kind::PhaseEnded { index: 0, name: PHASE.to_owned(), at });
        }
        self.events.say(Kind::TrialEnded { outcome: Outcome::Completed, error: None });
        self.events.say(Kind::RunEnded { outcome: Outcome::Completed });
        if let Some(screen) = self.screen {
            screen.over(words.to_owned());
        }
    }

    /// Gives the terminal back at once: the load failed, and the words about it come after.
    pub fn fail(self) {
        if let Some(screen) = self.screen {
            screen.say(Said::Leave);
            // It leaves before it comes to these words.
            screen.over(String::new());
        }
    }
}

/// The newest rate and the newest pause in one change; a stop goes before all.
fn merged(wishes: impl Iterator<Item = Wish>) -> Option<Wish> {
    wishes.reduce(|sum, wish| match (sum, wish) {
        (Wish::Stop, _) | (_, Wish::Stop) => Wish::Stop,
        (Wish::Change(old), Wish::Change(new)) => {
            let (rate, pause) = (new.rate.or(old.rate), new.pause.or(old.pause));
            Wish::Change(LoadChange { rate, pause, ..LoadChange::default() })
        }
    })
}

/// The events of the run in memory.
#[derive(Clone)]
struct Events {
    began: Instant,
    history: MemoryHistory,
    number: Rc<Cell<u64>>,
}

impl Events {
    fn now(&self) -> RunTime {
        RunTime(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn say(&self, kind: Kind) {
        let n = self.number.get() + 1;
        self.number.set(n);
        self.history.push(Event { n, t: self.now(), late: Span::ZERO, src: "load".to_owned(), clock: None, kind });
    }

    /// Says that the load began, so long before now.
    fn start(&self, before: u64) -> RunTime {
        let at = RunTime(self.now().0.saturating_sub(before));
        self.say(Kind::LoadStarted { at });
        self.say(Kind::PhaseStarted { index: 0, name: PHASE.to_owned(), at });
        at
    }
}

fn length(options: &Options) -> Option<Span> {
    match options.length {
        Length::For(length) => Some(length),
        Length::Requests(_) => None,
    }
}

/// What a run of one load is called and plans.
fn info(options: &Options, trial: TrialInfo) -> RunInfo {
    let phase = |(length, rate)| Phase {
        name: PHASE.to_owned(),
        rate: Shape::Constant(rate),
        length,
        measure: true,
        replicas: BTreeMap::new(),
        faults: Vec::new(),
    };
    let load = Load {
        target: Target::UserService,
        mix: BTreeMap::new(),
        arrivals: options.arrivals,
        connections: options.connections,
        timeout: options.timeout,
        prepare: 0,
        // Without a rate nothing is planned that could be held against what was sent. A load of so many requests ends when they are
        // sent; its axis follows.
        phases: length(options).zip(options.rate).into_iter().map(phase).collect(),
    };
    let spec = Spec {
        name: options.url.clone(),
        question: String::new(),
        environment: EnvironmentKind::Local,
        services: Services::default(),
        autoscaler: AutoscalerSettings::default(),
        load: Some(load),
        expect: Vec::new(),
        repeats: 1,
        seed: options.seed,
        budget: Budget { wall: Span(u64::MAX), usd: 0.0 },
    };
    RunInfo {
        run: format!("load {}", options.url),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: jiff::Timestamp::now().to_string(),
        variants: vec![VariantInfo { label: options.url.clone(), cell: BTreeMap::new(), spec: spec.clone() }],
        spec,
        order: vec![trial],
        host: lab_env::host::host(),
    }
}

/// What can be done to a load of this process: its rate, a pause, an end.
struct Engine {
    wish: SyncSender<Wish>,
    voice: SyncSender<Said>,
    said: Receiver<Said>,
    /// The load has a rate.
    paced: bool,
}

impl Engine {
    fn say(&self, text: impl Into<String>) {
        // A screen that does not listen any more needs no words.
        self.voice.try_send(Said::Message(text.into())).ok();
    }
}

impl Outside for Engine {
    fn steerable(&self) -> bool {
        true
    }

    fn steer(&mut self, steer: Steer) {
        let change = |change| Some(Wish::Change(change));
        let (wish, words) = match steer {
            Steer::Rate(_) | Steer::RateOfPhases if !self.paced => {
                (None, "this load has no rate: it sends as fast as it is answered; begin it with --rate".to_owned())
            }
            Steer::Rate(r) => (change(LoadChange::to_rate(r)), format!("rate {} within a second", words::rate(r))),
            Steer::RateOfPhases => {
                (change(LoadChange::to_rate_of_phases()), "the rate of the command line within a second".to_owned())
            }
            Steer::Pause(pause) => (
                change(LoadChange::to_pause(pause)),
                if pause { "paused within a second" } else { "resumed within a second" }.to_owned(),
            ),
            Steer::Stop => (Some(Wish::Stop), "stopping: what is in flight is awaited".to_owned()),
            Steer::SkipPhase | Steer::Kill(_) | Steer::Note(_) => {
                (None, "this load has one phase, no replicas and no journal".to_owned())
            }
        };
        match wish.map(|wish| self.wish.try_send(wish)) {
            Some(Err(_)) => self.say("the load is over, or has enough to do"),
            _ => self.say(words),
        }
    }

    fn keep(&mut self, _still: Still) {
        self.say("a load without a run has no folder to keep a still in");
    }

    fn poll(&mut self) -> Vec<Said> {
        self.said.try_iter().collect()
    }

    fn logs(&mut self, _into: &mut Logs) -> bool {
        false
    }

    fn no_report(&self) -> Option<String> {
        Some(NO_REPORT.to_owned())
    }

    fn report(&mut self) -> Result<(), String> {
        Err(NO_REPORT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use lab_tui::timeline::Timeline;

    use super::*;

    fn rate(rate: f64) -> Wish {
        Wish::Change(LoadChange { rate: Some(rate), ..LoadChange::default() })
    }

    fn pause(pause: bool) -> Wish {
        Wish::Change(LoadChange { pause: Some(pause), ..LoadChange::default() })
    }

    #[test]
    fn wishes_of_a_second_become_one_and_a_stop_goes_before_all() {
        assert_eq!(merged([].into_iter()), None);
        let both = LoadChange { rate: Some(3.0), pause: Some(false), ..LoadChange::default() };
        let wishes = [rate(1.0), pause(true), rate(2.0), pause(false), rate(3.0)];
        assert_eq!(merged(wishes.into_iter()), Some(Wish::Change(both)));
        assert_eq!(merged([rate(1.0), Wish::Stop, rate(2.0)].into_iter()), Some(Wish::Stop));
    }

    #[test]
    fn a_load_without_a_rate_can_be_paused_and_stopped_only() {
        for paced in [false, true] {
            let (voice, said) = sync_channel(WAITING);
            let (wish, wishes) = sync_channel(WAITING);
            let mut engine = Engine { wish, voice, said, paced };
            for steer in [Steer::Rate(5.0), Steer::RateOfPhases] {
                engine.steer(steer);
                assert_eq!(wishes.try_recv().is_ok(), paced);
                let told = |said: &Said| matches!(said, Said::Message(text) if text.contains("has no rate"));
                assert_eq!(engine.poll().iter().any(told), !paced);
            }
            engine.steer(Steer::Pause(true));
            assert_eq!(wishes.try_recv(), Ok(pause(true)));
            engine.steer(Steer::Stop);
            assert_eq!(wishes.try_recv(), Ok(Wish::Stop));
        }
    }

    #[test]
    fn the_axis_begins_with_the_load() {
        let events = Events { began: Instant::now(), history: MemoryHistory::default(), number: Rc::default() };
        assert_eq!(events.start(u64::MAX), RunTime(0), "never before the run");
        let at = events.start(1);
        assert!(at.0 > 0 && at < events.now());
        assert_eq!(events.number.get(), 4);
    }

    #[test]
    fn without_a_rate_nothing_is_held_against_what_was_sent() {
        let rate = lab_core::unit::Rate(100.0);
        for (rate, length, phases) in [
            (None, Length::For(Span::from_secs(2)), 0),
            (Some(rate), Length::For(Span::from_secs(2)), 1),
            (Some(rate), Length::Requests(50), 0),
        ] {
            let options = Options { url: "http://127.0.0.1".to_owned(), rate, length, ..Options::default() };
            let trial = TrialInfo { trial: 0, variant: 0, block: 0, seed: 1 };
            let events = Events { began: Instant::now(), history: MemoryHistory::default(), number: Rc::default() };
            events.say(Kind::RunStarted(Box::new(info(&options, trial))));
            events.say(Kind::TrialStarted(trial));
            let at = events.start(0);
            events.say(Kind::PhaseEnded { index: 0, name: PHASE.to_owned(), at: at.plus(Span::from_secs(2)) });
            let mut timeline = Timeline::new(Box::new(events.history.clone()));
            timeline.read(100).expect("it reads");
            let model = timeline.newest();
            let checks = lab_core::validity::checks(model, &model.trials[0]);
            assert_eq!(
                checks.iter().filter(|check| check.name == "offered as planned").count(),
                phases,
                "{rate:?} {length:?}"
            );
        }
    }
}
