//! What was live is what the journal gives: every still that was kept while a run came in event by event is drawn again, byte for byte,
//! from the events that had arrived at its instant.

mod support;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lab_core::event::Event;
use lab_core::narrate::narrate;
use lab_core::unit::RunTime;
use lab_tui::app::Source;
use lab_tui::columns::Columns;
use lab_tui::dashboard::{Dashboard, Left, Settings};
use lab_tui::frame::{Instant, dump, frame};
use lab_tui::look::{Look, Theme};
use lab_tui::outside::{Outside, Said, Steer, Still};
use lab_tui::pane::{Extras, Logs, News};
use lab_tui::terminal::{Heard, Progress, Screen};
use lab_tui::timeline::{MemoryHistory, Timeline};
use lab_tui::view::{Panel, View};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use support::at;
use support::runs::{counted, messages, short, short_matrix, troubles, up};

/// What happens next on the stage.
#[derive(Debug, Clone)]
enum Do {
    /// So many events come, each when it arrives.
    Come(usize),
    /// Nothing comes for so long: what would have come does not happen.
    Nothing(Duration),
    Press(KeyCode),
    Resize(u16, u16),
}

/// A screen that nobody sees, on which a run comes in and keys are pressed. Its clock is that of the run.
struct Stage {
    script: VecDeque<Do>,
    coming: VecDeque<Event>,
    came: Vec<Event>,
    history: MemoryHistory,
    size: (u16, u16),
    now: Duration,
}

impl Stage {
    /// One event, at its time. None when there are no more.
    fn come(&mut self) -> Option<()> {
        let event = self.coming.pop_front()?;
        self.now = self.now.max(Duration::from_nanos(event.arrived().0));
        self.came.push(event.clone());
        self.history.push(event);
        Some(())
    }
}

impl Screen for Stage {
    fn size(&mut self) -> io::Result<(u16, u16)> {
        Ok(self.size)
    }

    fn draw(&mut self, _: &Buffer) -> io::Result<()> {
        Ok(())
    }

    fn mark(&mut self, _: &str, _: Progress) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> io::Result<Option<Heard>> {
        match self.script.pop_front() {
            None => return Ok(Some(Heard::Signal(15))),
            Some(Do::Press(code)) => return Ok(Some(Heard::Key(KeyEvent::new(code, KeyModifiers::NONE)))),
            Some(Do::Resize(width, height)) => {
                self.size = (width, height);
                return Ok(Some(Heard::Resized));
            }
            Some(Do::Come(0)) => {}
            Some(Do::Come(events)) => {
                let more = self.come().map_or(0, |()| events - 1);
                self.script.push_front(Do::Come(more));
            }
            Some(Do::Nothing(left)) => {
                let step = left.min(at_most);
                self.now += step;
                let now = RunTime(self.now.as_nanos() as u64);
                while self.coming.front().is_some_and(|event| event.arrived() <= now) {
                    self.coming.pop_front();
                }
                if left > step {
                    self.script.push_front(Do::Nothing(left - step));
                }
            }
        }
        Ok(None)
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn lend(&mut self, to: &mut dyn FnMut()) -> io::Result<()> {
        to();
        Ok(())
    }
}

/// A world outside that keeps what it is given.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Vec<Still>>>);

impl Outside for World {
    fn steerable(&self) -> bool {
        true
    }

    fn steer(&mut self, _: Steer) {}

    fn keep(&mut self, still: Still) {
        self.0.lock().expect("alone").push(still);
    }

    fn poll(&mut self) -> Vec<Said> {
        Vec::new()
    }

    fn logs(&mut self, _: &mut Logs) -> bool {
        false
    }

    fn report(&mut self) -> Result<(), String> {
        Err("there is no report yet".to_owned())
    }
}

/// Plays a script over a run. Returns what was kept, and the run's journal: what came, and what was still to come.
fn played(events: &[Event], script: Vec<Do>, look: Look) -> (Vec<Still>, Vec<Event>) {
    let (history, world) = (MemoryHistory::default(), World::default());
    let mut stage = Stage {
        script: script.into(),
        coming: events.to_vec().into(),
        came: Vec::new(),
        history: history.clone(),
        size: (100, 30),
        now: Duration::ZERO,
    };
    let settings = Settings { source: Source::Conducted, look, ..Settings::default() };
    let timeline = Timeline::new(Box::new(history));
    let dashboard = Dashboard { timeline, outside: Box::new(world.clone()), settings };
    assert_eq!(dashboard.run_on(&mut stage).expect("memory"), Left::Signal(15));
    let stills = std::mem::take(&mut *world.0.lock().expect("alone"));
    let journal = stage.came.into_iter().chain(stage.coming).collect();
    (stills, journal)
}

/// The still as the whole journal gives it.
fn again(events: &[Event], still: &Still, view: &View, look: Look) -> Buffer {
    let model = at(events, still.at);
    let instant = Instant { whole: &model, model: &model, now: still.at, end: still.at };
    let told = |e: &Event| Some(News { at: e.t, arrived: e.arrived(), text: narrate(e)? });
    let news: Vec<News> = events.iter().filter_map(told).collect();
    let extras = Extras { news: &news, ..Extras::still() };
    frame(&instant, view, still.size, look, &extras, &mut Columns::default())
}

fn same(events: &[Event], still: &Still, view: &View, look: Look) -> Result<(), TestCaseError> {
    let buf = again(events, still, view, look);
    prop_assert_eq!(&still.text, &dump::text(&buf), "at {:?}", still.at);
    prop_assert_eq!(&still.ansi, &dump::ansi(&buf), "at {:?}", still.at);
    prop_assert_eq!(&still.svg, &dump::svg(&buf, look), "at {:?}", still.at);
    Ok(())
}

/// A stretch of a session, with the panels of the stills that are kept in it.
fn stretch() -> impl Strategy<Value = (Vec<Do>, Vec<Panel>)> {
    let press = |keys: &str| keys.chars().map(|c| Do::Press(key(c))).collect::<Vec<_>>();
    let panels = vec![("s", Panel::Usual), ("ese", Panel::Events), ("wsw", Panel::Waterfall), ("tst", Panel::Replicas)];
    let held = vec![(" ", " "), ("<<<", "$"), (" <><", "$"), ("^", "$")];
    // The user looks around and comes back, which must leave nothing behind.
    let around = vec!["<>$", "<<$", "[[0", "]<$0", "dg", "gg", "??", "  ", "^$", "/x\u{1b}", "n\u{1b}"];
    prop_oneof![
        8 => (1..60_usize).prop_map(|events| (vec![Do::Come(events)], Vec::new())),
        3 => prop::sample::select(around).prop_map(move |keys| (press(keys), Vec::new())),
        2 => (1..9_u64).prop_map(|s| (vec![Do::Nothing(Duration::from_millis(700 * s))], Vec::new())),
        2 => (20..180_u16, 3..50_u16).prop_map(|(width, height)| (vec![Do::Resize(width, height)], Vec::new())),
        6 => prop::sample::select(panels).prop_map(move |(keys, panel)| (press(keys), vec![panel])),
        // What is held, or looked at with the cursor, is kept as it was live then.
        2 => (1..60_usize, prop::sample::select(held)).prop_map(move |(events, (before, after))| {
            let keys = [press(before), vec![Do::Come(events)], press("s"), press(after)].concat();
            (keys, vec![Panel::Usual])
        }),
    ]
}

fn key(c: char) -> KeyCode {
    match c {
        '<' => KeyCode::Left,
        '>' => KeyCode::Right,
        '^' => KeyCode::Home,
        '$' => KeyCode::End,
        '\u{1b}' => KeyCode::Esc,
        c => KeyCode::Char(c),
    }
}

fn runs() -> &'static [Vec<Event>] {
    static RUNS: OnceLock<Vec<Vec<Event>>> = OnceLock::new();
    RUNS.get_or_init(|| vec![short(), short_matrix(), troubles(), messages(), up(), counted()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_still_of_a_live_run_is_a_frame_of_its_journal(
        run in 0..6_usize,
        begins in 1..300_usize,
        stretches in prop::collection::vec(stretch(), 4..24),
        theme in prop::sample::select(Theme::ALL.to_vec()),
        ascii in any::<bool>(),
    ) {
        let look = Look { theme, ascii };
        let (script, shown): (Vec<_>, Vec<_>) = stretches.into_iter().unzip();
        let script = [vec![Do::Come(begins)], script.concat(), vec![Do::Press(KeyCode::Char('s'))]].concat();
        let shown = [shown.concat(), vec![Panel::Usual]].concat();
        let (stills, journal) = played(&runs()[run], script, look);
        prop_assert_eq!(stills.len(), shown.len());
        for (still, panel) in stills.iter().zip(shown) {
            same(&journal, still, &View { panel, ..View::default() }, look)?;
        }
    }
}
