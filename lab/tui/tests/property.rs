//! Whatever a journal says and however it is looked at, a frame is a frame: no panic, nothing that steers a terminal, every row as wide
//! as the screen, and the same again whatever was drawn before.

mod support;

use std::sync::OnceLock;

use lab_core::event::Event;
use lab_core::model::Model;
use lab_core::narrate::narrate;
use lab_core::unit::{RunTime, Span};
use lab_tui::columns::Columns;
use lab_tui::frame::{Instant, dump, frame};
use lab_tui::look::{Look, Theme};
use lab_tui::pane::{Extras, Footer, Hint, LogLine, Logs, News};
use lab_tui::view::{Mode, Panel, View, Zoom};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use serde_json::Value;
use support::runs::{counted, messages, ordered, short, short_matrix, troubles, up};
use unicode_width::UnicodeWidthStr as _;

/// Runs of every kind, each cut to what is quickly folded.
fn runs() -> &'static [Vec<Event>] {
    static RUNS: OnceLock<Vec<Vec<Event>>> = OnceLock::new();
    RUNS.get_or_init(|| {
        let cut = |mut events: Vec<Event>| {
            events.truncate(400);
            events
        };
        vec![short(), short_matrix(), cut(troubles()), cut(messages()), cut(up()), cut(counted())]
    })
}

/// Texts that no name should be.
const TEXTS: [&str; 6] =
    ["", "\u{1b}[2J\u{7}", "日本語の長い名前", "\u{202e}e\u{301}\u{200d}👩‍🔬", "a\nb\tc\r", "❤\u{fe0f}▸│"];

/// Numbers at the edges of what can be written.
fn number(which: usize) -> Value {
    let numbers: [Value; 9] = [
        0_u64.into(),
        1_u64.into(),
        u64::MAX.into(),
        (u64::MAX / 2).into(),
        (-1_i64).into(),
        i64::MIN.into(),
        1e300.into(),
        (-1e-300).into(),
        u32::MAX.into(),
    ];
    numbers[which % numbers.len()].clone()
}

/// Puts something else where the `at`-th number or text stands. Returns how many are left to pass over.
fn corrupt(value: &mut Value, at: usize, with: usize) -> Option<usize> {
    match value {
        Value::Number(_) | Value::String(_) if at == 0 => {
            *value = if value.is_number() { number(with) } else { TEXTS[with % TEXTS.len()].into() };
            None
        }
        Value::Array(values) => values.iter_mut().try_fold(at, |at, value| corrupt(value, at, with)),
        Value::Object(values) => values.values_mut().try_fold(at, |at, value| corrupt(value, at, with)),
        Value::Number(_) | Value::String(_) => Some(at - 1),
        Value::Null | Value::Bool(_) => Some(at),
    }
}

/// An event with something wrong in it; as it was when it would not be one any more.
fn wrong(event: &Event, at: usize, with: usize) -> Event {
    let mut value = serde_json::to_value(event).expect("an event");
    let texts = |value: &Value| value.to_string().matches([':', ',']).count();
    let at = at % texts(&value).max(1);
    corrupt(&mut value, at, with);
    serde_json::from_value(value).unwrap_or_else(|_| event.clone())
}

/// How a journal is spoilt.
#[derive(Debug, Clone)]
struct Spoilt {
    run: usize,
    /// Of 256 events, so many go.
    gone: u8,
    /// Events that change places: from, to.
    moved: Vec<(usize, usize)>,
    /// Events with something wrong in them: which, where, what.
    wrong: Vec<(usize, usize, usize)>,
    seed: u64,
}

impl Spoilt {
    fn events(&self) -> Vec<Event> {
        let run = &runs()[self.run % runs().len()];
        let stays = |i: &usize| {
            let draw = (self.seed ^ *i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            *i == 0 || draw >= u64::from(self.gone)
        };
        let mut events: Vec<Event> = (0..run.len()).filter(stays).map(|i| run[i].clone()).collect();
        let n = events.len();
        self.moved.iter().for_each(|(from, to)| events.swap(from % n, to % n));
        for (which, at, with) in &self.wrong {
            events[which % n] = wrong(&events[which % n], *at, *with);
        }
        events
    }
}

fn spoilt() -> impl Strategy<Value = Spoilt> {
    let moved = prop::collection::vec((0..400_usize, 0..400_usize), 0..20);
    let wrong = prop::collection::vec((0..400_usize, 0..200_usize, 0..54_usize), 0..24);
    (0..6_usize, prop_oneof![Just(0_u8), 0..=255_u8], moved, wrong, any::<u64>())
        .prop_map(|(run, gone, moved, wrong, seed)| Spoilt { run, gone, moved, wrong, seed })
}

/// An instant of a run, also before and after it, or one that cannot be.
fn instant(end: RunTime, part: f64) -> RunTime {
    if part > 1.1 { RunTime(u64::MAX) } else { RunTime((end.0.min(1 << 40) as f64 * part * 1.1) as u64) }
}

#[derive(Debug, Clone)]
struct Looked {
    view: View,
    mode: u8,
    look: Look,
    size: (u16, u16),
    silent: Span,
}

fn looked() -> impl Strategy<Value = Looked> {
    let panel = prop::sample::select(vec![Panel::Usual, Panel::Events, Panel::Logs, Panel::Waterfall, Panel::Replicas]);
    let zoom = prop_oneof![
        3 => Just(Zoom::Fit),
        2 => (0..5_000_u64).prop_map(|s| Zoom::Column(Span::from_millis(100 * s))),
        1 => prop::sample::select(vec![Span(0), Span(1), Span(u64::MAX)]).prop_map(Zoom::Column),
    ];
    let size = prop_oneof![
        3 => (1..=250_u16, 1..=70_u16),
        1 => prop::sample::select(vec![(160, 45), (100, 30), (80, 24), (60, 15), (59, 14), (1, 1)]),
    ];
    let look =
        (prop::sample::select(Theme::ALL.to_vec()), any::<bool>()).prop_map(|(theme, ascii)| Look { theme, ascii });
    let chosen = (prop::option::of(0..9_usize), prop::option::of(0..TEXTS.len()), any::<bool>(), any::<bool>());
    let scrolled = (prop_oneof![0..9_u16, Just(u16::MAX)], 0..TEXTS.len() + 1, 0..9_usize);
    let silent = prop_oneof![3 => Just(0_u64), 1 => 0..100_000_u64];
    (panel, zoom, size, look, chosen, scrolled, 0..3_u8, silent).prop_map(
        |(panel, zoom, size, look, (trial, workload, ghost, difference), (scroll, filter, selected), mode, silent)| {
            let filter = TEXTS.get(filter).copied().unwrap_or("user").to_owned();
            let workload = workload.map(|text| TEXTS[text].to_owned());
            let rest = View { trial, workload, ghost, difference, scroll, filter, selected, ..View::default() };
            Looked { view: View { panel, zoom, ..rest }, mode, look, size, silent: Span::from_secs(silent) }
        },
    )
}

fn told(events: &[Event]) -> Vec<News> {
    let news = |e: &Event| Some(News { at: e.t, arrived: e.arrived(), text: narrate(e)? });
    events.iter().filter_map(news).collect()
}

/// What goes beside the run.
struct Beside {
    news: Vec<News>,
    logs: Logs,
    hints: Vec<Hint>,
}

impl Beside {
    fn of(events: &[Event]) -> Self {
        let line = |(i, text): (usize, &&str)| LogLine {
            at: RunTime(i as u64 * 1_000_000_000),
            replica: (*text).to_owned(),
            text: text.repeat(30),
            times: 10_u64.pow(i as u32 * 3),
        };
        let lines = TEXTS.iter().enumerate().map(line).collect();
        let hint = |text: &&str| Hint { keys: (*text).to_owned(), does: (*text).to_owned() };
        let logs = Logs { lines, read: u64::MAX, passed: 3 };
        Self { news: told(events), logs, hints: TEXTS.iter().map(hint).collect() }
    }

    fn extras(&self, which: usize, silent: Span) -> Extras<'_> {
        let footer = [Footer::Source, Footer::Hints(&self.hints), Footer::Message(TEXTS[3])][which % 3];
        let speed = (which % 2 == 1).then_some(8.0);
        Extras { silent, speed, news: &self.news, passed: 0, logs: &self.logs, footer }
    }
}

/// A frame of a prefix of the events.
fn drawn(
    (whole, model): (&Model, &Model),
    (now, end): (RunTime, RunTime),
    looked: &Looked,
    extras: &Extras<'_>,
    cols: &mut Columns,
) -> Buffer {
    let (mode, whole, end) = match looked.mode {
        0 => (Mode::Live, model, now),
        1 => (Mode::Paused(now), whole, end),
        _ => (Mode::Scrub(now), whole, end),
    };
    let instant = Instant { whole, model, now, end };
    frame(&instant, &View { mode, ..looked.view.clone() }, looked.size, looked.look, extras, cols)
}

fn sound(buf: &Buffer, looked: &Looked) -> Result<(), TestCaseError> {
    prop_assert_eq!((buf.area.width, buf.area.height), looked.size);
    for y in 0..buf.area.height {
        let mut x = 0;
        while x < buf.area.width {
            let symbol = buf[(x, y)].symbol();
            prop_assert!(!symbol.chars().any(char::is_control), "{:?} at {},{}", symbol, x, y);
            prop_assert!(!looked.look.ascii || symbol.is_ascii(), "{:?} at {},{}", symbol, x, y);
            let width = symbol.width() as u16;
            prop_assert!((1..=2).contains(&width), "{:?} takes {} columns at {},{}", symbol, width, x, y);
            if width == 2 && x + 1 < buf.area.width {
                let covered = buf[(x + 1, y)].symbol();
                prop_assert!(covered.trim().is_empty(), "{:?} covers {:?} at {},{}", symbol, covered, x, y);
            }
            x += width;
        }
        prop_assert_eq!(x, buf.area.width, "row {}: {}", y, dump::text(buf).lines().nth(usize::from(y)).unwrap_or(""));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_of_anything_is_a_frame(
        spoilt in spoilt(),
        looked in looked(),
        part in 0.0..1.2_f64,
        beside in 0..6_usize,
    ) {
        let events = spoilt.events();
        let whole = Model::of(&events);
        let end = events.iter().map(Event::arrived).max().unwrap_or_default();
        let now = instant(end, part);
        let model = Model::of(events.iter().filter(|e| e.arrived() <= now));
        let all = Beside::of(&events);
        let extras = all.extras(beside, looked.silent);
        let draw = |cols: &mut Columns| drawn((&whole, &model), (now, end), &looked, &extras, cols);
        let first = draw(&mut Columns::default());
        sound(&first, &looked)?;
        let mut cols = Columns::default();
        prop_assert_eq!(&draw(&mut cols), &first, "not the same twice");
        prop_assert_eq!(&draw(&mut cols), &first, "the columns of the same frame change it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 500, ..ProptestConfig::default() })]

    /// One cache through a run, its instants and its views.
    #[test]
    fn columns_that_were_drawn_before_change_nothing(
        spoilt in spoilt(),
        steps in prop::collection::vec((looked(), 0.0..1.1_f64, 0.0..1.1_f64), 1..7),
        same_view in any::<bool>(),
    ) {
        let events = ordered(spoilt.events());
        let end = events.last().map(Event::arrived).unwrap_or_default();
        let first = steps[0].0.clone();
        let (mut cols, mut grown) = (Columns::default(), RunTime(0));
        for (looked, part, known) in &steps {
            let looked = if same_view { &first } else { looked };
            // What is known by now, which never becomes less, and the instant that is looked at.
            grown = instant(end, *known).max(grown);
            let known = grown;
            let now = instant(end, *part).min(known);
            let whole = Model::of(events.iter().take_while(|e| e.arrived() <= known));
            let model = Model::of(events.iter().take_while(|e| e.arrived() <= now));
            let draw = |cols: &mut Columns| {
                drawn((&whole, &model), (now, known), looked, &Extras::still(), cols)
            };
            let (fresh, used) = (draw(&mut Columns::default()), draw(&mut cols));
            prop_assert_eq!(dump::text(&used), dump::text(&fresh), "at {:?} of {:?}", now, known);
            prop_assert_eq!(used, fresh);
        }
    }
}
