//! Whole screens, as they are meant to be: a file per scene and size with the characters, and the styles in every theme. When one
//! changes on purpose, look at it, then `just bless`.

mod support;

use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lab_core::event::Event;
use lab_core::model::Model;
use lab_core::narrate::narrate;
use lab_core::unit::{RunTime, Span};
use lab_tui::app::{App, Circumstances, Facts, Source};
use lab_tui::columns::Columns;
use lab_tui::frame::{Instant, dump, frame};
use lab_tui::home::{self, ExperimentRow, FindingRow, Home, HomeData, LabRow, LastRun, RunRow};
use lab_tui::keys::Keymap;
use lab_tui::look::{Look, Theme};
use lab_tui::pane::{Extras, Footer, LogLine, Logs, News};
use lab_tui::view::{Mode, Panel, View, Zoom};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use support::runs::{HOSTILE, counted, messages, troubles, up};
use support::{at, autoscale, live, matrix, since_load};

const SIZES: [(u16, u16); 4] = [(160, 45), (100, 30), (80, 24), (50, 12)];

/// Compares a scene in all sizes and themes with what is kept. `ascii` keeps its characters for plain terminals too.
fn golden(scene: &str, ascii: bool, draw: impl Fn((u16, u16), Look) -> Buffer) {
    for size in SIZES {
        let themes = Theme::ALL.map(|theme| draw(size, Look { theme, ascii: false }));
        let text = dump::text(&themes[0]);
        for (theme, buf) in Theme::ALL.iter().zip(&themes) {
            assert_eq!(dump::text(buf), text, "{scene}: a theme changes styles only, but not {}", theme.name());
        }
        let plain = draw(size, Look { theme: Theme::Mono, ascii: true });
        assert!(plain.content.iter().all(|cell| cell.symbol().is_ascii()), "{scene}: {}", dump::text(&plain));
        let plain = if ascii { format!("\n-- ascii\n{}", dump::text(&plain)) } else { String::new() };
        let kept = format!("{text}\n-- styles\n{}{plain}", styles(&themes));
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{scene}-{}x{}", size.0, size.1), kept);
        });
    }
}

/// The styles of the dark theme, row by row, then what each is in the other themes. One that is not the same everywhere has a mark.
fn styles(themes: &[Buffer; 4]) -> String {
    let cells = themes.each_ref().map(|buf| by_cell(&dump::styles(buf), buf.area));
    let area = themes[0].area;
    let mut names: BTreeMap<[&str; 4], String> = BTreeMap::new();
    let mut rows = String::new();
    for y in 0..area.height {
        let mut runs: Vec<(u16, u16, String)> = Vec::new();
        for x in 0..area.width {
            let style = cells.each_ref().map(|cells| cells[usize::from(y * area.width + x)].as_str());
            let same = names.keys().filter(|other| other[0] == style[0] && **other != style).count();
            let plain = if style[0].is_empty() { "plain" } else { style[0] };
            let name = names.entry(style).or_insert_with(|| format!("{plain}{}", "'".repeat(same))).clone();
            match runs.last_mut() {
                Some((_, last, before)) if *before == name => *last = x,
                _ => runs.push((x, x, name)),
            }
        }
        let told = runs.iter().filter(|run| run.2 != "plain").map(|(from, to, name)| format!("{from}-{to} {name}"));
        let told: Vec<String> = told.collect();
        if !told.is_empty() {
            rows.push_str(&format!("{y}: {}\n", told.join(" · ")));
        }
    }
    let mut legend: Vec<String> = names
        .iter()
        .map(|([_, light, mono, safe], name)| {
            format!("{name} = light {light} · mono {mono} · safe {safe}\n").replace("  ", " ")
        })
        .collect();
    legend.sort();
    rows + &legend.concat()
}

/// The style of each cell, as the dump names it.
fn by_cell(dump: &str, area: Rect) -> Vec<String> {
    let mut cells = vec![String::new(); area.area() as usize];
    for line in dump.lines() {
        let (y, runs) = line.split_once(": ").expect("a row");
        let row = y.parse::<usize>().expect("a number") * usize::from(area.width);
        for run in runs.split(" · ") {
            let (range, style) = run.split_once(' ').expect("a style");
            let (from, to) = range.split_once('-').expect("a range");
            let (from, to): (usize, usize) = (from.parse().expect("a column"), to.parse().expect("a column"));
            cells[row + from..=row + to].fill(style.to_owned());
        }
    }
    cells
}

/// A run and all that is known of it.
struct Run {
    events: Vec<Event>,
    whole: Model,
    end: RunTime,
    news: Vec<News>,
}

impl Run {
    fn of(events: Vec<Event>) -> Self {
        let whole = Model::of(&events);
        let end = events.last().map(Event::arrived).expect("events");
        let told = |e: &Event| Some(News { at: e.t, arrived: e.arrived(), text: narrate(e)? });
        let news = events.iter().filter_map(told).collect();
        Self { events, whole, end, news }
    }

    fn load(&self, seconds: f64) -> RunTime {
        since_load(&self.events, seconds)
    }

    /// Compares what is seen at an instant: all that is known then, or, for a cursor, all that is known.
    fn golden(&self, scene: &str, view: &View, now: RunTime) {
        self.golden_with(scene, view, now, &Extras { news: &self.news, ..Extras::still() });
    }

    fn golden_with(&self, scene: &str, view: &View, now: RunTime, extras: &Extras<'_>) {
        let model = at(&self.events, now);
        let scrubs = matches!(view.mode, Mode::Scrub(_));
        let (whole, end) = if scrubs { (&self.whole, self.end) } else { (&model, now) };
        let instant = Instant { whole, model: &model, now, end };
        golden(scene, false, |size, look| frame(&instant, view, size, look, extras, &mut Columns::default()));
    }

    /// Compares a screen with something over it, after keys.
    fn golden_under(&self, scene: &str, now: RunTime, keys: &[KeyCode]) {
        let model = at(&self.events, now);
        let instant = Instant { whole: &model, model: &model, now, end: now };
        golden(scene, false, |size, look| {
            let mut app = App::new(Keymap::default(), look);
            let (source, lines) = (Source::Conducted, self.news.len());
            let given = || Circumstances { source: source.clone(), steerable: true, speed: None, size, lines };
            for key in keys {
                let facts = Facts::of(&instant, now, &app.view, given());
                app.key(KeyEvent::new(*key, KeyModifiers::NONE), &facts);
            }
            let facts = Facts::of(&instant, now, &app.view, given());
            let hints = app.hints(&facts);
            let footer = app.message().map_or(Footer::Hints(&hints), Footer::Message);
            let extras = Extras { news: &self.news, footer, ..Extras::still() };
            let mut buf = frame(&instant, &app.view, size, look, &extras, &mut Columns::default());
            app.draw_over(&facts, buf.area, &mut buf);
            buf
        });
    }
}

fn panel(panel: Panel) -> View {
    View { panel, ..View::default() }
}

fn compared(difference: bool) -> View {
    View { ghost: true, difference, ..View::default() }
}

fn keys(text: &str) -> Vec<KeyCode> {
    text.chars().map(|c| if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) }).collect()
}

#[test]
fn live_in_the_step() {
    let events = autoscale();
    let now = since_load(&events, 48.0);
    golden("step", true, |size, look| live(&events, now, &View::default(), size, look));
}

#[test]
fn before_the_load() {
    let run = Run::of(autoscale());
    run.golden("before-load", &View::default(), RunTime(1_000_000_000));
}

#[test]
fn the_run_has_ended() {
    let run = Run::of(autoscale());
    run.golden("ended", &View::default(), run.end);
}

#[test]
fn a_cursor_in_the_middle() {
    let run = Run::of(autoscale());
    let now = run.load(38.0);
    run.golden("cursor", &View { mode: Mode::Scrub(now), ..View::default() }, now);
}

#[test]
fn paused_closer_up_and_nothing_comes() {
    let run = Run::of(autoscale());
    let now = run.load(38.0);
    let zoom = Zoom::Column(Span::from_secs(1));
    run.golden("paused", &View { mode: Mode::Paused(now), zoom, ..View::default() }, now);
    let silent = Extras { silent: Span::from_secs(12), ..Extras::still() };
    run.golden_with("silent", &View::default(), now, &silent);
    let replayed = Extras { speed: Some(8.0), ..Extras::still() };
    run.golden_with("replayed", &View::default(), now, &replayed);
}

#[test]
fn beside_another_variant() {
    let run = Run::of(matrix());
    // The last block's second trial: another variant's of the same block is behind it.
    let now = run.load(9.0);
    run.golden("ghost", &compared(false), now);
    run.golden("difference", &compared(true), now);
}

#[test]
fn every_panel() {
    let run = Run::of(autoscale());
    let now = run.load(48.0);
    for (name, which) in [("events", Panel::Events), ("waterfall", Panel::Waterfall), ("replicas", Panel::Replicas)] {
        run.golden(&format!("panel-{name}"), &panel(which), now);
    }
    let line = |seconds: f64, replica: &str, text: &str, times| LogLine {
        at: run.load(seconds),
        replica: replica.to_owned(),
        text: text.to_owned(),
        times,
    };
    let lines = vec![
        line(30.1, "user-service-1", "INFO request done path=/users/17 status=200 took=5.2ms", 1),
        line(30.2, "user-service-1", "WARN queue is long depth=112", 1_204),
        line(40.25, "user-service-2", "INFO ready on 127.0.0.1:43002", 1),
        line(41.0, HOSTILE, "\u{1b}]0;title\u{7}ERROR größer als erlaubt: 日本語 \u{202e}txet", 2),
        line(47.9, "user-service-3", &"a very long line ".repeat(20), 3),
        line(60.0, "user-service-3", "not yet written", 1),
    ];
    let logs = Logs { lines, read: 12_345, passed: 9_800 };
    run.golden_with("panel-logs", &panel(Panel::Logs), now, &Extras { logs: &logs, ..Extras::still() });
}

#[test]
fn trouble() {
    let run = Run::of(troubles());
    let now = run.load(95.0);
    run.golden("trouble", &View::default(), now);
    run.golden("trouble-events", &View { filter: "e".to_owned(), scroll: 2, ..panel(Panel::Events) }, now);
    run.golden("trouble-replicas", &View { selected: 1, ..panel(Panel::Replicas) }, run.load(50.0));
    run.golden("trouble-waterfall", &panel(Panel::Waterfall), now);
}

#[test]
fn a_queue_that_is_followed() {
    let run = Run::of(messages());
    run.golden("messages", &View::default(), run.load(60.0));
}

#[test]
fn load_without_a_plan() {
    let run = Run::of(up());
    run.golden("up", &View::default(), run.load(48.0));
    let run = Run::of(counted());
    run.golden("counted", &View::default(), run.load(48.0));
}

#[test]
fn what_stands_over_the_screen() {
    let run = Run::of(autoscale());
    let now = run.load(48.0);
    run.golden_under("hints", now, &[]);
    run.golden_under("help", now, &keys("?"));
    run.golden_under("note", now, &keys("nlook at the größer 日本"));
    run.golden_under("filter", now, &keys("e/ready"));
    run.golden_under("kill", now, &keys("x"));
    run.golden_under("leave", now, &keys("q"));
    run.golden_under("message", now, &keys("+"));
}

#[test]
fn home() {
    let draw = |data: &HomeData, size: (u16, u16), look: Look| {
        let mut buf = Buffer::empty(Rect::new(0, 0, size.0, size.1));
        home::draw(&Home::new(Keymap::default(), look), data, look, buf.area, &mut buf);
        buf
    };
    golden("home", false, |size, look| draw(&listed(), size, look));
    golden("home-empty", false, |size, look| draw(&HomeData::default(), size, look));
}

fn listed() -> HomeData {
    use lab_core::judge::Verdict;
    use lab_core::validity::Validity;

    let run = |id: &str, experiment: &str, verdict, validity, complete| RunRow {
        id: id.to_owned(),
        experiment: experiment.to_owned(),
        when: "today 15:30".to_owned(),
        verdict,
        validity,
        complete,
    };
    let experiment = |name: &str, question: &str, last: Option<Verdict>| ExperimentRow {
        name: name.to_owned(),
        question: question.to_owned(),
        last: last.map(|verdict| LastRun { verdict, when: "2 h ago".to_owned(), run: format!("run-of-{name}") }),
    };
    HomeData {
        experiments: vec![
            experiment(
                "autoscale-users",
                "Does CPU autoscaling keep p99 under 250 ms through a fourfold step?",
                Some(Verdict::Pass),
            ),
            experiment("cache-effect", "What does a cache in front of reads change?", None),
            experiment(
                "größer-日本語",
                "Is a name \u{1b}[2J of wide characters cut where it must be?",
                Some(Verdict::Fail),
            ),
        ],
        labs: vec![LabRow {
            name: "lab".to_owned(),
            kind: "local".to_owned(),
            since: "13:25".to_owned(),
            age: Span::from_secs(11_100),
            cost: "costs nothing".to_owned(),
            what: "2026-11-24-1325-lab-x7q".to_owned(),
            steerable: true,
        }],
        runs: vec![
            run(
                "2026-11-24-1530-autoscale-users-k3f",
                "autoscale-users",
                Some(Verdict::Pass),
                Some(Validity::Valid),
                true,
            ),
            run("2026-11-24-1411-autoscale-users-e5g", "autoscale-users", None, None, false),
            run(
                "2026-11-23-0900-cache-effect-a1b",
                "cache-effect",
                Some(Verdict::CannotTell),
                Some(Validity::Suspect),
                true,
            ),
        ],
        findings: vec![FindingRow {
            problem: "CPU limits cannot be set with cgroups here".to_owned(),
            remedy: "run as root".to_owned(),
            fatal: false,
        }],
    }
}
