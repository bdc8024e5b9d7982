//! The live screen of `lab load`: its samples become the events of a run in memory, steered through the callback of the engine.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Instant;

use lab_core::control::{LoadChange, Sample};
use lab_core::event::{Event, Kind, Outcome, RunInfo, TrialInfo, VariantInfo};
use lab_core::spec::{AutoscalerSettings, Budget, EnvironmentKind, Load, Phase, Services, Shape, Spec, Target};
use lab_core::unit::{Rate, RunTime, Span};
use lab_core::words;
use lab_tui::app::Source;
use lab_tui::dashboard::Left;
use lab_tui::outside::{Outside, Said, Steer, Still};
use lab_tui::pane::Logs;
use lab_tui::timeline::MemoryHistory;
use load_engine::{Length, Next, Options};

use crate::args::LookArgs;
use crate::error::LabError;
use crate::out;
use crate::screen::{self, LiveScreen};

/// Wishes and answers that may wait.
const WAITING: usize = 64;

/// A load that is shown.
pub struct Live {
    began: Instant,
    history: MemoryHistory,
    events: u64,
    wishes: Receiver<Next>,
    screen: Option<LiveScreen>,
}

impl Live {
    /// Shows a load that is about to begin.
    ///
    /// # Errors
    /// The user's settings cannot be used.
    pub fn begin(options: &Options, look: &LookArgs) -> Result<Self, LabError> {
        let (voice, said) = sync_channel(WAITING);
        let (wish, wishes) = sync_channel(WAITING);
        let outside = Box::new(Engine { wish, voice: voice.clone(), said });
        let history = MemoryHistory::default();
        let settings = screen::settings(look, Source::Conducted)?;
        let screen = LiveScreen::open(Box::new(history.clone()), outside, voice, settings)?;
        let mut live = Self { began: Instant::now(), history, events: 0, wishes, screen: Some(screen) };
        let trial = TrialInfo { trial: 0, variant: 0, block: 0, seed: options.seed };
        live.say(Kind::RunStarted(Box::new(info(options, trial))));
        live.say(Kind::TrialStarted(trial));
        let at = live.now();
        live.say(Kind::LoadStarted { at });
        live.say(Kind::PhaseStarted { index: 0, name: "load".to_owned(), at });
        Ok(live)
    }

    /// Takes a second in; says how the load goes on.
    pub fn sample(&mut self, sample: &Sample) -> Next {
        self.say(Kind::Sample(Box::new(sample.clone())));
        if let Some(left) = self.screen.as_mut().and_then(LiveScreen::has_left) {
            self.screen = None;
            match left {
                Ok(Left::Stop | Left::Signal(_)) => return Next::Stop,
                Ok(_) => out::talk("the load goes on; Ctrl-C ends it"),
                Err(why) => out::talk(&format!("the screen is gone ({why}); the load goes on; Ctrl-C ends it")),
            }
        }
        match self.wishes.try_recv() {
            Ok(Next::Change(change)) => {
                self.say(Kind::LoadChanged { change: change.clone(), by: "user".to_owned() });
                Next::Change(change)
            }
            Ok(next) => next,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Next::Go,
        }
    }

    /// True once the screen was left before the load was over: sentences are wanted.
    pub fn has_left(&self) -> bool {
        self.screen.is_none()
    }

    /// Shows the end until the user leaves.
    pub fn over(mut self, words: &str) {
        let at = self.now();
        self.say(Kind::PhaseEnded { index: 0, name: "load".to_owned(), at });
        self.say(Kind::TrialEnded { outcome: Outcome::Completed, error: None });
        self.say(Kind::RunEnded { outcome: Outcome::Completed });
        if let Some(screen) = self.screen.take() {
            screen.over(words.to_owned());
        }
    }

    fn now(&self) -> RunTime {
        RunTime(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn say(&mut self, kind: Kind) {
        self.events += 1;
        let event =
            Event { n: self.events, t: self.now(), late: Span::ZERO, src: "load".to_owned(), clock: None, kind };
        self.history.push(event);
    }
}

/// What a run of one load is called and plans.
fn info(options: &Options, trial: TrialInfo) -> RunInfo {
    let length = match options.length {
        Length::For(length) => Some(length),
        Length::Requests(_) => None,
    };
    let phase = |length| Phase {
        name: "load".to_owned(),
        rate: Shape::Constant(options.rate.unwrap_or(Rate(0.0))),
        length,
        measure: true,
    };
    let load = Load {
        target: Target::UserService,
        mix: BTreeMap::new(),
        arrivals: options.arrivals,
        connections: options.connections,
        timeout: options.timeout,
        prepare: 0,
        // A load of so many requests ends when they are sent; its axis follows.
        phases: length.into_iter().map(phase).collect(),
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
    wish: SyncSender<Next>,
    voice: SyncSender<Said>,
    said: Receiver<Said>,
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
        let change = |change| Some(Next::Change(change));
        let rate = |rate| change(LoadChange { rate: Some(rate), ..LoadChange::default() });
        let (next, words) = match steer {
            Steer::Rate(r) => (rate(r), format!("rate {} within a second", words::rate(r))),
            Steer::RateOfPhases => (rate(-1.0), "the rate of the command line within a second".to_owned()),
            Steer::Pause(pause) => (
                change(LoadChange { pause: Some(pause), ..LoadChange::default() }),
                if pause { "paused within a second" } else { "resumed within a second" }.to_owned(),
            ),
            Steer::Stop => (Some(Next::Stop), "stopping: what is in flight is awaited".to_owned()),
            Steer::SkipPhase | Steer::Kill(_) | Steer::Note(_) => {
                (None, "this load has one phase, no replicas and no journal".to_owned())
            }
        };
        match next.map(|next| self.wish.try_send(next)) {
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

    fn report(&mut self) -> Result<(), String> {
        Err("the summary is printed when the screen is left".to_owned())
    }
}
