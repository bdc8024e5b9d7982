//! What stands around the lanes: what each pane says at an instant, what goes when there is little room, and what is never hidden.

mod support;

use std::sync::OnceLock;

use lab_core::event::{Event, Kind};
use lab_core::fixture::Scenario;
use lab_core::judge::{self, Verdict};
use lab_core::model::Model;
use lab_core::narrate::narrate;
use lab_core::unit::{RunTime, Span};
use lab_tui::columns::Columns;
use lab_tui::frame::{Instant, dump, frame};
use lab_tui::look::{Look, Role};
use lab_tui::pane::{Extras, Footer, Hint, LogLine, Logs, News};
use lab_tui::view::{Mode, Panel, View};
use ratatui::buffer::Buffer;
use support::{at, since_load};

const SIZE: (u16, u16) = (100, 30);

/// A short run: load steps up at 10 s, falls at 40 s and ends at 45 s.
fn events() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let phases = vec![("warm-up", 100.0, 10, false), ("step", 400.0, 30, true), ("cool-down", 50.0, 5, true)];
        Scenario { phases, ..Scenario::autoscale(3) }.events()
    })
}

fn load(seconds: f64) -> RunTime {
    since_load(events(), seconds)
}

fn end() -> RunTime {
    events().last().map(Event::arrived).expect("events")
}

fn rows(buf: &Buffer) -> Vec<String> {
    dump::text(buf).lines().map(str::to_owned).collect()
}

fn at_instant(t: RunTime, size: (u16, u16)) -> Vec<String> {
    drawn(&at(events(), t), t, size)
}

fn drawn(model: &Model, now: RunTime, size: (u16, u16)) -> Vec<String> {
    let instant = Instant { whole: model, model, now, end: now };
    rows(&frame(&instant, &View::default(), size, Look::default(), &Extras::still(), &mut Columns::default()))
}

/// The run at its end and at an instant.
struct Scrub {
    whole: Model,
    model: Model,
    now: RunTime,
}

impl Scrub {
    fn to(seconds: f64) -> Self {
        let now = load(seconds);
        Self { whole: Model::of(events()), model: at(events(), now), now }
    }

    fn draw(&self, view: View, size: (u16, u16), extras: &Extras<'_>) -> Vec<String> {
        let instant = Instant { whole: &self.whole, model: &self.model, now: self.now, end: end() };
        let view = View { mode: Mode::Scrub(self.now), ..view };
        rows(&frame(&instant, &view, size, Look::default(), extras, &mut Columns::default()))
    }
}

fn news() -> Vec<News> {
    let told = |e: &Event| Some(News { at: e.t, arrived: e.arrived(), text: narrate(e)? });
    events().iter().filter_map(told).collect()
}

#[test]
fn the_header_says_how_far_the_trial_is() {
    assert!(at_instant(RunTime(1_000_000_000), SIZE)[0].contains("│ deploying │ LIVE"));
    let row = &at_instant(load(22.9), SIZE)[0];
    assert!(row.starts_with("autoscale-users │ local, 2 replicas, costs nothing │ t+0:22/0:45 ▓▓▓▓"), "{row}");
    assert!(
        row.contains(" replicas, costs nothing │ t+0:22/0:45 ▓▓▓▓░░░░ │ LIVE") || row.contains("▓▓▓░░░░░ │ LIVE"),
        "{row}"
    );
    assert!(at_instant(end(), SIZE)[0].contains("│ over │ ENDED"));
}

#[test]
fn what_does_not_fit_goes_in_order_and_the_mode_stays() {
    let runs = Scenario::matrix(3, 2);
    let runs = Scenario { phases: vec![("warm-up", 20.0, 1, false), ("hold", 20.0, 2, true)], ..runs }.events();
    let t = since_load(&runs, 1.5);
    let model = at(&runs, t);
    let row = |width| drawn(&model, t, (width, 15)).swap_remove(0);
    let wide = row(120);
    assert!(
        wide.starts_with("autoscale-users 1/3 cpu=70% block 2/2 │ local, 1 replica, costs nothing │ t+0:01/0:03 "),
        "{wide}"
    );
    let order = ["▓", "costs", "block", "local", "cpu=", "autoscale-users", "t+"];
    let mut before = 0;
    for width in (60..=120).rev() {
        let row = row(width);
        assert!(row.contains("LIVE"), "{width}: {row}");
        let gone = order.iter().take_while(|text| !row.contains(**text)).count();
        assert!(order[gone..].iter().all(|text| row.contains(text)), "{width}: {row}");
        assert!(gone >= before, "{width}: {row}");
        before = gone;
    }
    assert!(before >= 2, "nothing went at 60 columns");
}

#[test]
fn what_holds_so_far_is_open_until_the_trial_ends() {
    let half = at(events(), load(25.0));
    let trial = half.current().expect("trial");
    let fails = judge::trial(&half, trial).iter().any(|j| j.verdict == Verdict::Fail);
    let row = &at_instant(load(25.0), (300, 30))[1];
    assert!(row.starts_with(if fails { "verdict ✗ fail  " } else { "verdict ? cannot tell yet  " }), "{row}");
    assert!(row.contains("errors < 0.1% ? ") && row.contains("? is told when the trial ends"), "{row}");
    assert!(row.ends_with("valid so far") || row.contains("suspect: "), "{row}");
    let row = &at_instant(end(), (300, 30))[1];
    let whole = Model::of(events());
    for judged in judge::trial(&whole, whole.current().expect("trial")) {
        let sign = match judged.verdict {
            Verdict::Pass => "✓",
            Verdict::Fail => "✗",
            Verdict::CannotTell => "?",
        };
        assert!(row.contains(&format!("{} {sign} {}", judged.expectation, judged.measured)), "{row}");
    }
    assert!(!row.contains("when the trial ends"), "{row}");
}

#[test]
fn a_measurement_is_not_doubted_before_its_first_sample_can_be_there() {
    let trust = |t: f64, model: &Model| {
        let row = drawn(model, load(t), (300, 30)).swap_remove(1);
        ["invalid: ", "valid so far"].into_iter().find(|word| row.contains(word))
    };
    assert_eq!(trust(0.5, &at(events(), load(0.5))), None);
    assert_eq!(trust(2.9, &at(events(), load(2.9))), Some("valid so far"));
    let silent = events().iter().filter(|event| !matches!(event.kind, Kind::Sample(_)) && event.arrived() <= load(2.9));
    let silent = Model::of(silent);
    assert_eq!(trust(2.9, &silent), None);
    assert_eq!(trust(3.1, &silent), Some("invalid: "), "a second has passed of which nothing came");
}

#[test]
fn expectations_that_have_no_room_are_counted() {
    let (now, model) = (load(25.0), at(events(), load(25.0)));
    for width in 60..200 {
        let row = &drawn(&model, now, (width, 15))[1];
        let shown = row.matches(['<', '=']).count() - row.matches("<=").count();
        let gone = row.split("+ ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok()).unwrap_or(0);
        assert_eq!(shown + gone, 6, "{width}: {row}");
    }
}

#[test]
fn old_data_is_called_stale() {
    let model = at(events(), load(20.0));
    let now = load(32.0);
    let instant = Instant { whole: &model, model: &model, now, end: now };
    let extras = Extras { silent: Span::from_secs(12), ..Extras::still() };
    let buf = frame(&instant, &View::default(), (140, 30), Look::default(), &extras, &mut Columns::default());
    let rows = rows(&buf);
    assert!(rows[0].contains("│ no event for 12 s │ LIVE"), "{}", rows[0]);
    assert!(rows[2].contains("replicas 12 s stale  samples 1"), "{}", rows[2]);
    let column = rows[2].find("12 s").expect("age");
    let style = buf[(column as u16, 2)].style();
    assert_eq!(style.fg, Look::default().style(Role::Open).fg);
    let fresh = &at_instant(load(20.0), (140, 30))[2];
    assert!(!fresh.contains("stale") && fresh.contains(", 0 missing"), "{fresh}");
}

#[test]
fn the_reason_is_the_engines_own_and_the_episode_does_not_run_ahead() {
    let model = at(events(), load(30.0));
    let decision = model.current().and_then(|t| t.workloads["user-service"].decisions.last()).expect("decision");
    let frame = at_instant(load(30.0), (160, 45)).join("\n");
    assert!(frame.contains(&format!(" user-service {}", decision.why)), "{frame}");
    assert!(frame.contains("episode 1: user-service 1 → "), "{frame}");
    assert!(!frame.contains("was not met again") && !frame.contains("held throughout"), "{frame}");
    let first = at_instant(load(1.0), (160, 45)).join("\n");
    assert!(first.contains("no scaling so far"), "{first}");
}

#[test]
fn the_footer_shows_whole_keys_messages_and_the_source() {
    let hint = |(keys, does): (&str, &str)| Hint { keys: keys.to_owned(), does: does.to_owned() };
    let hints = [("space", "pause"), ("←→", "cursor"), ("[ ]", "zoom"), ("q", "quit"), ("w", "waterfall")].map(hint);
    let scrub = Scrub::to(1.25);
    let last = |width, footer| {
        let extras = Extras { footer, ..Extras::still() };
        scrub.draw(View::default(), (width, 15), &extras).pop().expect("rows")
    };
    let hints = Footer::Hints(&hints);
    assert!(last(200, hints).starts_with("space pause  ←→ cursor  [ ] zoom  q quit  w waterfall"));
    for width in 60..120 {
        let row = last(width, hints);
        let keys = row.split("not shown").next().unwrap_or("").trim_end();
        assert!(["pause", "cursor", "zoom", "quit", "waterfall"].iter().any(|end| keys.ends_with(end)), "{row}");
    }
    assert!(last(60, Footer::Message("stop \u{1b}[2J?")).starts_with("stop \\u{1b}[2J?"));
    let seconds = load(1.25).0 as f64 / 1e9;
    let source = last(100, Footer::Source);
    assert!(source.starts_with(&format!("run 2026-11-24-1530-autoscale-users-k3f at run:{seconds}s")), "{source}");
}

#[test]
fn events_end_at_the_instant_are_filtered_and_scrolled() {
    let news = news();
    let scrub = Scrub::to(20.0);
    let known = news.iter().filter(|n| n.arrived <= scrub.now).count();
    let draw = |filter: &str, scroll| {
        let view = View { panel: Panel::Events, filter: filter.to_owned(), scroll, ..View::default() };
        let extras = Extras { news: &news, ..Extras::still() };
        scrub.draw(view, SIZE, &extras)
    };
    let all = draw("", 0);
    assert!(all.iter().any(|row| row == &format!("events · {known}")), "{all:?}");
    let newest = |rows: &[String]| rows[..rows.len() - 1].iter().rfind(|row| !row.is_empty()).cloned();
    assert!(newest(&all).expect("line").ends_with(&news[known - 1].text));
    assert!(newest(&draw("", 3)).expect("line").ends_with(&news[known - 4].text));
    let ready = draw("IS READY", 0);
    let found = news[..known].iter().filter(|n| n.text.contains("is ready")).count();
    assert!(ready.iter().any(|row| row == &format!("events · {found} of {known} · filter: IS READY")), "{ready:?}");
    assert!(draw("", u16::MAX).iter().any(|row| row.ends_with(&news[0].text)), "scrolling stops at the oldest");
}

#[test]
fn logs_say_what_is_not_there() {
    let text = format!("\u{1b}[31m{}", "long ".repeat(80));
    let line = |s: f64, times| LogLine { at: load(s), replica: "user-service-1".to_owned(), text: text.clone(), times };
    let logs = Logs { lines: vec![line(1.0, 1), line(2.0, 12), line(30.0, 1)], read: 12_345, passed: 9_800 };
    let extras = Extras { logs: &logs, ..Extras::still() };
    let scrub = Scrub::to(20.0);
    let draw = |filter: &str| {
        let view = View { panel: Panel::Logs, filter: filter.to_owned(), ..View::default() };
        scrub.draw(view, SIZE, &extras)
    };
    let rows = draw("");
    let title = rows.iter().position(|row| row.starts_with("logs · ")).expect("title");
    assert_eq!(rows[title], "logs · 12\u{202f}345 lines read, 9\u{202f}800 passed over");
    assert!(rows[title + 1].starts_with("0:01.0  user-service-1  \\u{1b}[31mlong long"), "{}", rows[title + 1]);
    assert!(rows[title + 2].ends_with("… ×12"), "{}", rows[title + 2]);
    assert!(rows[title + 3].is_empty(), "{}", rows[title + 3]);
    assert!(draw("SERVICE-2").iter().any(|row| row.ends_with("· 0 found · filter: SERVICE-2")));
}

#[test]
fn a_small_screen_says_the_most_important() {
    let (now, model) = (load(35.0), at(events(), load(35.0)));
    let row = |size| drawn(&model, now, size).swap_remove(0);
    let wide = row((59, 1));
    assert!(wide.starts_with("p99 ") && wide.contains(" ready ") && wide.contains(" err "), "{wide}");
    assert!(row((1, 1)).chars().all(|c| "✓✗?".contains(c)));
    assert!(drawn(&model, now, (59, 3))[2].contains("user-service"));
    assert!(at_instant(RunTime(1_000_000_000), (59, 1))[0].starts_with("deploying"));
}

#[test]
fn a_message_is_seen_on_the_smallest_screen() {
    let (now, model) = (load(35.0), at(events(), load(35.0)));
    let instant = Instant { whole: &model, model: &model, now, end: now };
    let extras = Extras { footer: Footer::Message("nobody listens"), ..Extras::still() };
    for size in [(59, 1), (40, 2), (30, 4), (59, 14), (250, 3)] {
        let rows = rows(&frame(&instant, &View::default(), size, Look::default(), &extras, &mut Columns::default()));
        assert_eq!(rows.last().expect("a row"), "nobody listens", "{size:?}");
        assert_eq!(rows[0].starts_with("p99 "), size.1 > 1, "{rows:?}");
    }
}

#[test]
fn an_instant_before_load_has_one_time_under_a_cursor() {
    let (whole, now) = (Model::of(events()), RunTime(load(0.0).0 - 500_000_000));
    let scrub = Scrub { whole, model: at(events(), now), now };
    assert_eq!(scrub.model.trials[0].load_started, None);
    let (news, view) = (news(), View { mode: Mode::Scrub(now), panel: Panel::Events, ..View::default() });
    let rows = scrub.draw(view, SIZE, &Extras { news: &news, ..Extras::still() });
    let newest = news.iter().rfind(|line| line.arrived <= now).expect("a line");
    let time = lab_core::words::clock(newest.at, load(0.0));
    let row = rows.iter().rfind(|row| row.ends_with(&newest.text)).expect("a row");
    assert!(row.trim_start().starts_with(&time), "{time}: {row}");
}

#[test]
fn any_size_and_an_empty_run_can_be_drawn() {
    let news = [News { at: RunTime(5), arrived: RunTime(5), text: "größer → \u{1b}[2J".to_owned() }];
    let line =
        LogLine { at: RunTime(3), replica: "\u{202e}x".repeat(40), text: "日本語".repeat(50), times: u64::MAX };
    let logs = Logs { lines: vec![line], read: 1, passed: 0 };
    let extras = Extras { news: &news, logs: &logs, ..Extras::still() };
    let look = Look { ascii: true, ..Look::default() };
    let (empty, half) = (Model::default(), at(events(), load(20.0)));
    for model in [&empty, &half] {
        for size in [(0, 0), (1, 1), (3, 40), (59, 14), (60, 15), (61, 16), (80, 24), (160, 45), (250, 3)] {
            for panel in [Panel::Usual, Panel::Events, Panel::Logs] {
                let now = RunTime(model.latest.0.max(10));
                let instant = Instant { whole: model, model, now, end: now };
                let view = View { panel, scroll: 7, ..View::default() };
                let buf = frame(&instant, &view, size, look, &extras, &mut Columns::default());
                assert_eq!((buf.area.width, buf.area.height), size);
            }
        }
    }
}
