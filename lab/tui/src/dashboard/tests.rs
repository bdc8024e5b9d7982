//! The loop on a screen whose keys are a script and whose clock moves only while it waits.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lab_core::event::Event;
use lab_core::fixture::Scenario;
use lab_core::unit::Span;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::*;
use crate::frame::{Instant, dump, frame};
use crate::outside::{Said, Steer, Still};
use crate::pane::{Extras, Logs};
use crate::terminal::{Heard, Progress, show};
use crate::timeline::{History, MemoryHistory, Place};
use crate::view::{Panel, View, Zoom};

/// What happens at an instant.
enum Do {
    Hear(Heard),
    Size(u16, u16),
    Come(Vec<Event>),
}

/// A terminal that nobody sees.
struct Stage {
    terminal: Terminal<TestBackend>,
    script: VecDeque<(Duration, Do)>,
    history: MemoryHistory,
    now: Duration,
    frames: Vec<(Duration, Buffer)>,
    given_back: Vec<&'static str>,
    marked: Vec<(String, Progress)>,
}

impl Stage {
    fn new(history: &MemoryHistory, script: Vec<(u64, Do)>) -> Self {
        let Ok(terminal) = Terminal::new(TestBackend::new(160, 45));
        let script = script.into_iter().map(|(ms, what)| (Duration::from_millis(ms), what)).collect();
        let history = history.clone();
        Self {
            terminal,
            script,
            history,
            now: Duration::ZERO,
            frames: Vec::new(),
            given_back: Vec::new(),
            marked: Vec::new(),
        }
    }

    fn drawn(&self) -> Vec<u64> {
        self.frames.iter().map(|(at, _)| at.as_millis() as u64).collect()
    }

    fn last(&self) -> &Buffer {
        &self.frames.last().expect("a frame").1
    }
}

impl Screen for Stage {
    fn size(&mut self) -> io::Result<(u16, u16)> {
        let Ok(size) = self.terminal.size();
        Ok((size.width, size.height))
    }

    fn draw(&mut self, buf: &Buffer) -> io::Result<()> {
        let Ok::<(), Infallible>(()) = show(&mut self.terminal, buf);
        self.terminal.backend().assert_buffer(buf);
        self.frames.push((self.now, buf.clone()));
        Ok(())
    }

    fn mark(&mut self, title: &str, progress: Progress) -> io::Result<()> {
        self.marked.push((title.to_owned(), progress));
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> io::Result<Option<Heard>> {
        let until = self.now.saturating_add(at_most);
        while let Some((at, what)) = self.script.pop_front_if(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            match what {
                Do::Hear(heard) => return Ok(Some(heard)),
                Do::Size(width, height) => {
                    self.terminal.backend_mut().resize(width, height);
                    return Ok(Some(Heard::Resized));
                }
                Do::Come(events) => events.into_iter().for_each(|event| self.history.push(event)),
            }
        }
        assert!(!self.script.is_empty(), "nothing ends the script");
        self.now = until;
        Ok(None)
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.given_back.push("shell");
        Ok(())
    }

    fn lend(&mut self, to: &mut dyn FnMut()) -> io::Result<()> {
        self.given_back.push("child");
        to();
        Ok(())
    }
}

/// What reached the world outside.
#[derive(Default)]
struct Reached {
    steered: Vec<Steer>,
    kept: Vec<Still>,
    says: Vec<Said>,
    no_report: bool,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Reached>>);

impl Outside for World {
    fn steerable(&self) -> bool {
        true
    }

    fn steer(&mut self, steer: Steer) {
        self.0.lock().expect("alone").steered.push(steer);
    }

    fn keep(&mut self, still: Still) {
        self.0.lock().expect("alone").kept.push(still);
    }

    fn poll(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.0.lock().expect("alone").says)
    }

    fn logs(&mut self, _: &mut Logs) -> bool {
        false
    }

    fn no_report(&self) -> Option<String> {
        self.0.lock().expect("alone").no_report.then(|| "there is no report yet".to_owned())
    }

    fn report(&mut self) -> Result<(), String> {
        Err("the pager cannot be started".to_owned())
    }
}

fn key(c: char) -> Do {
    code(KeyCode::Char(c))
}

/// A key, with tab and enter by their characters.
fn typed(c: char) -> Do {
    match c {
        '\t' => code(KeyCode::Tab),
        '\n' => code(KeyCode::Enter),
        c => key(c),
    }
}

fn code(code: KeyCode) -> Do {
    Do::Hear(Heard::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn end() -> Do {
    Do::Hear(Heard::Signal(15))
}

fn play(stage: &mut Stage, world: &World, settings: Settings) -> Left {
    let timeline = Timeline::new(Box::new(stage.history.clone()));
    let dashboard = Dashboard { timeline, outside: Box::new(world.clone()), settings };
    dashboard.run_on(stage).expect("memory")
}

fn events() -> Vec<Event> {
    Scenario::autoscale(3).events()
}

/// The first half of a run, which is in its step then.
fn half() -> Vec<Event> {
    let mut events = events();
    events.truncate(events.len() / 2);
    events
}

fn conducted() -> Settings {
    Settings { source: Source::Conducted, ..Settings::default() }
}

#[test]
fn a_run_that_is_over_is_drawn_once() {
    let history = MemoryHistory::new(events());
    let mut stage = Stage::new(&history, vec![(60_000, end())]);
    assert_eq!(play(&mut stage, &World::default(), Settings::default()), Left::Signal(15));
    let after_reading = stage.drawn().into_iter().filter(|at| *at > 1_000).count();
    assert_eq!(after_reading, 0, "{:?}", stage.drawn());
    assert!(stage.frames.len() <= 2, "{:?}", stage.drawn());
}

#[test]
fn silence_is_told_after_three_seconds_and_once_a_second() {
    let history = MemoryHistory::new(half());
    let mut stage = Stage::new(&history, vec![(10_500, end())]);
    play(&mut stage, &World::default(), conducted());
    let drawn: Vec<u64> = stage.drawn().into_iter().filter(|at| *at > 1_000).collect();
    assert_eq!(drawn.len(), 8, "3 s to 10 s: {drawn:?}");
    assert!(drawn.iter().zip(3..).all(|(at, second)| (second * 1_000..second * 1_000 + 250).contains(at)), "{drawn:?}");
}

#[test]
fn keys_and_resizes_are_drawn_at_once() {
    let history = MemoryHistory::new(events());
    let script = vec![
        (5_003, code(KeyCode::Left)),
        (5_010, code(KeyCode::Left)),
        (6_000, Do::Size(80, 24)),
        (7_000, Do::Hear(Heard::Key(KeyEvent::new(KeyCode::F(11), KeyModifiers::NONE)))),
        (8_000, end()),
    ];
    let mut stage = Stage::new(&history, script);
    play(&mut stage, &World::default(), Settings::default());
    let drawn: Vec<u64> = stage.drawn().into_iter().filter(|at| *at > 1_000).collect();
    assert_eq!(drawn, [5_003, 5_010, 6_000], "a key that is not bound changes nothing");
    assert_eq!((stage.last().area.width, stage.last().area.height), (80, 24));
}

#[test]
fn a_burst_of_events_is_drawn_at_the_rate_of_frames() {
    let all = events();
    let history = MemoryHistory::new(all[..100].to_vec());
    // An event each 5 ms for 3.5 s.
    let mut script: Vec<(u64, Do)> =
        all[100..800].iter().zip(0..).map(|(event, i)| (1_000 + 5 * i, Do::Come(vec![event.clone()]))).collect();
    script.push((4_500, end()));
    for (fps, most) in [(4_u16, 16), (1, 5), (10, 37)] {
        let history = MemoryHistory::new(all[..100].to_vec());
        let script = script.iter().map(|(at, what)| match what {
            Do::Come(events) => (*at, Do::Come(events.clone())),
            _ => (*at, end()),
        });
        let mut stage = Stage::new(&history, script.collect());
        play(&mut stage, &World::default(), Settings { fps, ..conducted() });
        let drawn = stage.drawn().into_iter().filter(|at| *at >= 1_000).count();
        assert!((most - 3..=most).contains(&drawn), "{fps} fps: {:?}", stage.drawn());
    }
    let mut behind = Stage::new(&history, script);
    behind.script.push_front((Duration::from_millis(999), Do::Hear(Heard::Focus(false))));
    play(&mut behind, &World::default(), conducted());
    assert!(behind.drawn().into_iter().filter(|at| *at >= 1_000).count() <= 5, "{:?}", behind.drawn());
}

#[test]
fn a_paused_frame_stays_and_the_newest_comes_back() {
    let all = events();
    let history = MemoryHistory::new(half());
    let rest = Do::Come(all[all.len() / 2..].to_vec());
    let script = vec![(1_000, key(' ')), (2_000, rest), (4_000, key(' ')), (5_000, end())];
    let mut stage = Stage::new(&history, script);
    play(&mut stage, &World::default(), conducted());
    let between = stage.drawn().into_iter().filter(|at| (1_001..4_000).contains(at)).count();
    assert_eq!(between, 0, "{:?}", stage.drawn());
    assert!(stage.drawn().contains(&4_000));
}

/// The frame that the journal gives, live at the instant of a still.
fn drawn_again(still: &Still, events: Vec<Event>, view: View) -> String {
    let mut whole = Timeline::new(Box::new(MemoryHistory::new(events)));
    while whole.read(usize::MAX).expect("memory") {}
    let known = whole.at(still.at).expect("memory");
    let instant = Instant { whole: known.model, model: known.model, now: still.at, end: still.at };
    let extras = Extras { news: known.news, ..Extras::still() };
    let mut columns = crate::columns::Columns::default();
    dump::ansi(&frame(&instant, &view, still.size, Look::default(), &extras, &mut columns))
}

#[test]
fn a_still_is_the_frame_that_the_journal_gives() {
    let history = MemoryHistory::new(half());
    let world = World::default();
    let keys =
        [key('s'), key(' '), key('s'), code(KeyCode::Left), key('e'), code(KeyCode::Up), key('s'), key('l'), key('s')];
    let mut script: Vec<(u64, Do)> = keys.into_iter().zip(0..).map(|(key, i)| (1_000 + 10 * i, key)).collect();
    script.push((2_000, end()));
    let mut stage = Stage::new(&history, script);
    play(&mut stage, &world, conducted());
    let kept = &world.0.lock().expect("alone").kept;
    let panels = [Panel::Usual, Panel::Usual, Panel::Events, Panel::Usual];
    assert_eq!(kept.len(), panels.len());
    for (still, panel) in kept.iter().zip(panels) {
        assert_eq!(still.ansi, drawn_again(still, events(), View { panel, ..View::default() }));
        assert!(!still.text.contains("events · 0"), "{}", still.text);
    }
    assert!(kept[2].text.contains("--panel events") && kept[2].at < kept[1].at, "{}", kept[2].text);
}

#[test]
fn a_still_keeps_what_is_looked_at_and_names_it() {
    let events = Scenario::matrix(3, 2).events();
    let history = MemoryHistory::new(events.clone());
    let world = World::default();
    let mut script: Vec<(u64, Do)> = "\te/up\n]ds".chars().zip(0..).map(|(c, i)| (1_000 + 10 * i, typed(c))).collect();
    script.push((2_000, end()));
    let mut stage = Stage::new(&history, script);
    play(&mut stage, &world, Settings::default());
    let kept = &world.0.lock().expect("alone").kept;
    let text = &kept[0].text;
    let source = text.lines().last().expect("a footer");
    for flag in ["--trial 1", "--zoom ", "--difference", "--panel events", "--filter up"] {
        assert!(source.contains(flag), "{flag}: {source}");
    }
    let seconds =
        source.split("--zoom ").nth(1).and_then(|rest| rest.split('s').next()?.parse().ok()).expect("seconds");
    let view = View {
        trial: Some(0),
        zoom: Zoom::Column(Span::from_secs(seconds)),
        ghost: true,
        difference: true,
        panel: Panel::Events,
        filter: "up".to_owned(),
        ..View::default()
    };
    assert_eq!(kept[0].ansi, drawn_again(&kept[0], events, view));
}

#[test]
fn a_scrolled_list_stands_still_while_lines_come_and_goes_no_further_than_its_first() {
    let history = MemoryHistory::new(half());
    let mut script = vec![(1_000, key('e'))];
    script.extend((0..9).map(|i| (1_100 + i, code(KeyCode::PageUp))));
    script.push((1_500, code(KeyCode::Down)));
    script.push((2_000, Do::Come(events()[events().len() / 2..].to_vec())));
    script.push((8_000, end()));
    let mut stage = Stage::new(&history, script);
    play(&mut stage, &World::default(), conducted());
    let list = |frame: &Buffer| {
        let text = dump::text(frame);
        let rows: Vec<String> =
            text.lines().skip_while(|row| !row.starts_with("events ·")).map(str::to_owned).collect();
        rows[1..rows.len() - 1].to_vec()
    };
    let before: Vec<&Buffer> = stage.frames.iter().filter(|(at, _)| at.as_millis() < 2_000).map(|(_, f)| f).collect();
    let (first, scrolled) = (list(before[before.len() - 2]), list(before[before.len() - 1]));
    assert_eq!(first[1..], scrolled[..scrolled.len() - 1], "one row down is one row down");
    assert_eq!(list(stage.last()), scrolled);
    assert_ne!(dump::text(stage.last()), dump::text(before[before.len() - 1]), "more came");
}

#[test]
fn a_replay_that_is_over_says_so_and_can_be_played_again() {
    let all = events();
    let end_of_run = all.last().expect("events").arrived();
    let history = MemoryHistory::new(all);
    let replay = Some(Replay { from: RunTime(end_of_run.0 - 5_000_000_000), speed: 1.0 });
    let script = vec![(8_000, key(' ')), (9_000, end())];
    let mut stage = Stage::new(&history, script);
    play(&mut stage, &World::default(), Settings { replay, ..Settings::default() });
    let texts: Vec<(u128, String)> = stage.frames.iter().map(|(at, f)| (at.as_millis(), dump::text(f))).collect();
    let over = texts.iter().rev().find(|(at, _)| *at < 8_000).expect("frames");
    assert!(!over.1.contains("REPLAY") && over.1.contains("play again"), "{}", over.1);
    let again = texts.iter().find(|(at, _)| *at >= 8_000).expect("frames");
    assert!(again.1.contains("REPLAY 1x") && !again.1.contains("PAUSED"), "{}", again.1);
}

#[test]
fn pausing_a_replay_holds_it_where_it_is() {
    let history = MemoryHistory::new(events());
    let from = RunTime(60_000_000_000);
    let script = (0..20).map(|i| (1_000 + 100 * i, key(' '))).chain([(4_000, key('s')), (4_001, end())]);
    let mut stage = Stage::new(&history, script.collect());
    let world = World::default();
    play(&mut stage, &world, Settings { replay: Some(Replay { from, speed: 1.0 }), ..Settings::default() });
    let at = world.0.lock().expect("alone").kept[0].at;
    // 1 s, then 10 times 100 ms, then 1.1 s; events come a few a second.
    let played = at.since(from).as_secs_f64();
    assert!((2.5..=3.11).contains(&played), "{played}");
}

#[test]
fn what_stands_beside_a_replay_is_where_it_plays() {
    let history = MemoryHistory::new(events());
    let mut stage = Stage::new(&history, vec![(3_000, end())]);
    let marks = Marks { title: true, progress: true, mouse: false };
    let replay = Some(Replay { from: RunTime(60_000_000_000), speed: 1.0 });
    play(&mut stage, &World::default(), Settings { replay, marks, ..Settings::default() });
    let (title, progress) = stage.marked.last().expect("a title").clone();
    assert!(title.starts_with("p99 ") && matches!(progress, Progress::Percent(10..90)), "{title} {progress:?}");
}

#[test]
fn it_does_not_leave_while_somebody_looks_closely() {
    let over = Settings { leave_after: Some(Duration::from_secs(30)), ..conducted() };
    for looks in [code(KeyCode::Left), key('?')] {
        let world = World::default();
        world.0.lock().expect("alone").says.push(Said::Over("the report is written".to_owned()));
        let back = if matches!(&looks, Do::Hear(Heard::Key(k)) if k.code == KeyCode::Left) {
            key(' ')
        } else {
            code(KeyCode::Esc)
        };
        let history = MemoryHistory::new(events());
        let mut stage = Stage::new(&history, vec![(20_000, looks), (100_000, back), (999_999, end())]);
        assert_eq!(play(&mut stage, &world, over.clone()), Left::Over);
        assert_eq!(stage.now, Duration::from_secs(130));
    }
}

#[test]
fn a_replay_plays_at_its_speed_and_stops_at_the_end() {
    let history = MemoryHistory::new(events());
    let length = events().last().expect("events").arrived();
    let mut stage = Stage::new(&history, vec![(60_000, end())]);
    let replay = Some(Replay { from: RunTime(0), speed: 20.0 });
    play(&mut stage, &World::default(), Settings { replay, ..Settings::default() });
    let last = *stage.drawn().last().expect("frames");
    let needed = (length.as_secs_f64() / 20.0 * 1_000.0) as u64;
    assert!((needed..needed + 500).contains(&last), "{last} ms for {needed} ms");
    assert!(stage.frames.len() as u64 <= needed / 250 + 3, "{}", stage.frames.len());
}

#[test]
fn leaving_tells_what_becomes_of_the_run() {
    let over = Settings { leave_after: Some(Duration::from_secs(30)), ..conducted() };
    let history = MemoryHistory::new(events());
    let world = World::default();
    world.0.lock().expect("alone").says.push(Said::Over("the report is written".to_owned()));
    let mut stage = Stage::new(&history, vec![(20_000, code(KeyCode::F(9))), (999_999, end())]);
    assert_eq!(play(&mut stage, &world, over.clone()), Left::Over);
    assert_eq!(stage.now, Duration::from_secs(50), "a key begins the time anew");
    let mut stage = Stage::new(&history, vec![(1_000, key('q')), (999_999, end())]);
    assert_eq!(play(&mut stage, &World::default(), over), Left::Quit);
    let history = MemoryHistory::new(half());
    let mut stage = Stage::new(&history, vec![(1_000, key('q')), (1_100, key('q')), (9_999, end())]);
    assert_eq!(play(&mut stage, &World::default(), conducted()), Left::GoOn);
    let world = World::default();
    let mut stage = Stage::new(&history, vec![(1_000, key('q')), (1_100, key('S')), (9_999, end())]);
    assert_eq!(play(&mut stage, &world, conducted()), Left::Stop);
    assert_eq!(world.0.lock().expect("alone").steered, [Steer::Stop]);
    let world = World::default();
    world.0.lock().expect("alone").says.push(Said::Leave);
    let mut stage = Stage::new(&history, vec![(9_999, end())]);
    assert_eq!(play(&mut stage, &world, conducted()), Left::Asked);
}

#[test]
fn the_terminal_is_lent_and_what_went_wrong_is_said() {
    let history = MemoryHistory::new(events());
    let suspend = Do::Hear(Heard::Key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)));
    let mut stage = Stage::new(&history, vec![(1_000, suspend), (2_000, key('o')), (3_000, end())]);
    play(&mut stage, &World::default(), Settings::default());
    assert_eq!(stage.given_back, ["shell", "child"]);
    assert!(dump::text(stage.last()).contains("the pager cannot be started"), "{}", dump::text(stage.last()));
    let (world, mut stage) = (World::default(), Stage::new(&history, vec![(100, key('o')), (200, end())]));
    world.0.lock().expect("alone").no_report = true;
    play(&mut stage, &world, conducted());
    assert!(stage.given_back.is_empty(), "nothing to be shown: the terminal is kept");
    assert!(dump::text(stage.last()).contains("there is no report yet"), "{}", dump::text(stage.last()));
}

/// Breaks after some events.
struct Torn(MemoryHistory, u64);

impl History for Torn {
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError> {
        if from.events >= self.1 {
            return Err(HistoryError("line 12 is not an event".into()));
        }
        let most = self.1;
        self.0.read(from, &mut |event, place| match place.events <= most {
            true => each(event, place),
            false => ControlFlow::Break(()),
        })
    }
}

#[test]
fn a_history_that_cannot_be_read_ends_it_with_the_reason() {
    let history = MemoryHistory::new(half());
    let mut stage = Stage::new(&history, vec![(9_999, end())]);
    let timeline = Timeline::new(Box::new(Torn(history.clone(), 50)));
    let dashboard = Dashboard { timeline, outside: Box::new(World::default()), settings: conducted() };
    let error = dashboard.run_on(&mut stage).expect_err("it is torn");
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    let told: Vec<String> = chain.map(ToString::to_string).collect();
    assert_eq!(told, ["the dashboard lost the run", "the run's events cannot be read", "line 12 is not an event"]);
}

#[test]
fn the_home_screen_is_drawn_when_something_has_changed() {
    use crate::home::{ExperimentRow, HomeAction, HomeData};

    let row = |name: &str| ExperimentRow { name: name.to_owned(), ..ExperimentRow::default() };
    let mut looks = 0;
    let provider = Box::new(move || {
        looks += 1;
        let names = if looks < 4 { &["first"][..] } else { &["first", "second"] };
        HomeData { experiments: names.iter().map(|name| row(name)).collect(), ..HomeData::default() }
    });
    let script = vec![(9_000, code(KeyCode::Down)), (9_100, code(KeyCode::Enter)), (99_000, end())];
    let mut stage = Stage::new(&MemoryHistory::default(), script);
    let left = home_loop_on(provider, HomeSettings::default(), &mut stage).expect("memory");
    assert_eq!(left, HomeLeft::Action(HomeAction::Start("second".to_owned())));
    assert_eq!(stage.drawn(), [0, 6_000, 9_000], "every two seconds it looks, and draws what is new");
    let mut stage = Stage::new(&MemoryHistory::default(), vec![(1_000, end())]);
    let left = home_loop_on(Box::new(HomeData::default), HomeSettings::default(), &mut stage).expect("memory");
    assert_eq!(left, HomeLeft::Signal(15));
}
