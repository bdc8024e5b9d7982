//! Tables of key sequences and what they lead to; random ones never trap anybody.

use lab_core::unit::Span;
use proptest::prelude::*;

use super::*;
use crate::axis::Axis;
use crate::keys::{Chord, TABLE};
use crate::view::{Mode, Panel, Zoom};

fn seconds(s: u64) -> RunTime {
    RunTime(s * 1_000_000_000)
}

/// A run of two trials: load from 10 s and from 210 s on; it is 300 s now.
fn facts() -> Facts {
    let window = |from, zero, to| Window { from: seconds(from), zero: seconds(zero), to: seconds(to) };
    Facts {
        now: seconds(300),
        newest: seconds(300),
        trials: vec![window(0, 10, 190), window(200, 210, 300)],
        shown: Some(1),
        ghost: Some(0),
        column: Span::from_secs(2),
        plot: (Rect::new(16, 3, 80, 20), Axis { zero: RunTime(0), column: Span::from_secs(2), first: -2, width: 80 }),
        rate: Some(400.0),
        load_paused: false,
        phase: Some("step".to_owned()),
        replicas: vec!["user-service-1".to_owned(), "user-service-2".to_owned()],
        rows: vec!["user-service-2".to_owned(), "user-service-1".to_owned(), "user-service-0".to_owned()],
        ended: false,
        steerable: true,
        source: Source::Conducted,
        speed: None,
        size: (100, 30),
        lines: 50,
    }
}

fn replay() -> Facts {
    Facts { source: Source::Recorded, steerable: false, ended: true, speed: Some(1.0), now: seconds(250), ..facts() }
}

fn app() -> App {
    App::new(Keymap::default(), Look::default())
}

/// Presses keys, written with blanks between them; `"text"` in quotes is typed. Redraws are left out of what comes back.
fn press(app: &mut App, keys: &str, facts: &Facts) -> Vec<Action> {
    let mut actions = Vec::new();
    for word in keys.split(' ').filter(|word| !word.is_empty()) {
        let chords: Vec<Chord> = match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
            Some(text) => text.chars().filter_map(|c| Chord::read(&c.to_string())).collect(),
            None => vec![Chord::read(word).expect(word)],
        };
        for chord in chords {
            actions.extend(app.key(chord.event(), facts));
        }
    }
    actions.retain(|action| *action != Action::Redraw);
    actions
}

#[test]
fn modes_change_as_keys_say() {
    let paused = Mode::Paused(seconds(300));
    let scrub = |s| Mode::Scrub(seconds(s));
    let table = [
        ("", Mode::Live),
        ("space", paused),
        ("p", paused),
        ("space space", Mode::Live),
        ("left", scrub(298)),
        ("left left right", scrub(298)),
        ("space left", scrub(298)),
        ("shift-left", scrub(280)),
        ("shift-left shift-right shift-right", scrub(300)),
        ("left space", Mode::Live),
        ("left end", Mode::Live),
        ("left esc", Mode::Live),
        ("home", scrub(210)),
        ("home home", scrub(200)),
        ("home left", scrub(208)),
        ("space tab", scrub(100)),
        ("left left tab", scrub(96)),
        ("home tab", scrub(10)),
        ("home tab home left", Mode::Scrub(RunTime(0))),
    ];
    for (keys, mode) in table {
        let mut app = app();
        let facts_of = |app: &App| Facts { shown: Some(app.view.trial.unwrap_or(1)), ..facts() };
        for key in keys.split(' ') {
            let facts = facts_of(&app);
            assert_eq!(press(&mut app, key, &facts), [], "{keys}");
        }
        assert_eq!(app.view.mode, mode, "{keys}");
    }
}

#[test]
fn a_click_puts_the_cursor_where_the_column_is_and_the_wheel_turns_lines() {
    let facts = Facts { plot: (Rect::new(16, 3, 80, 20), Axis { zero: seconds(210), ..facts().plot.1 }), ..facts() };
    let mut app = app();
    for (x, y) in [(15, 10), (96, 10), (28, 2), (28, 23)] {
        assert_eq!(app.click(x, y, &facts), [], "{x}, {y} is outside of the plots");
    }
    assert_eq!(app.view.mode, Mode::Live);
    for y in [3, 22] {
        assert_eq!(app.click(18 + 10, y, &facts), [Action::Redraw]);
        let Mode::Scrub(at) = app.view.mode else { panic!("{:?}", app.view.mode) };
        assert_eq!(facts.plot.1.column_of(at), Some(2 + 10), "the cursor stands where it was clicked");
        assert_eq!(at, RunTime(seconds(210 + 22).0 - 1), "at the end of the column");
    }
    press(&mut app, "e", &facts);
    app.wheel(true, &facts);
    assert_eq!(app.view.scroll, 1);
    app.wheel(false, &facts);
    assert_eq!(app.view.scroll, 0);
}

#[test]
fn a_replay_goes_on_from_the_instant_that_is_shown() {
    let table = [
        ("space", vec![]),
        ("space space", vec![Action::Seek(seconds(250))]),
        ("left space", vec![Action::Seek(seconds(248))]),
        ("end", vec![Action::Seek(RunTime(u64::MAX))]),
        ("left esc", vec![Action::Seek(seconds(248))]),
        ("> < <", vec![Action::Speed(2.0), Action::Speed(0.5), Action::Speed(0.5)]),
        ("q", vec![Action::Leave(Leave::Quit)]),
        ("ctrl-c", vec![Action::Leave(Leave::Quit)]),
    ];
    for (keys, actions) in table {
        assert_eq!(press(&mut app(), keys, &replay()), actions, "{keys}");
    }
    let compared = Facts { shown: Some(0), ghost: Some(1), now: seconds(250), ..replay() };
    let mut app = app();
    let there = [Action::Seek(seconds(50))];
    assert_eq!(press(&mut app, "tab", &replay()), there, "as long after the start of load");
    assert_eq!((app.view.mode, app.view.trial), (Mode::Live, None), "it plays on into what follows");
    assert_eq!(press(&mut app, "g tab", &compared), []);
    assert_eq!((app.view.mode, app.view.trial), (Mode::Live, Some(1)), "the other of the two");
    let mut app = self::app();
    press(&mut app, "right right", &Facts { now: seconds(298), ..replay() });
    assert_eq!(app.view.mode, Mode::Scrub(seconds(300)), "the end of the recording is the last instant");
}

#[test]
fn what_is_looked_at_changes_as_keys_say() {
    let view = |change: fn(&mut View)| {
        let mut view = View::default();
        change(&mut view);
        view
    };
    let table = [
        ("[", view(|v| v.zoom = Zoom::Column(Span::from_secs(1)))),
        ("]", view(|v| v.zoom = Zoom::Column(Span::from_secs(3)))),
        ("] 0", view(|_| ())),
        ("e", view(|v| v.panel = Panel::Events)),
        ("e e", view(|_| ())),
        ("e l", view(|v| v.panel = Panel::Logs)),
        ("w esc", view(|_| ())),
        ("t", view(|v| v.panel = Panel::Replicas)),
        ("e up up down", view(|v| (v.panel, v.scroll) = (Panel::Events, 1))),
        ("e pgup pgup pgup pgup pgup pgup", view(|v| (v.panel, v.scroll) = (Panel::Events, 49))),
        ("e down", view(|v| v.panel = Panel::Events)),
        (
            "t down down down down",
            view(|v| (v.panel, v.selected, v.chosen) = (Panel::Replicas, 2, "user-service-0".to_owned())),
        ),
        ("down down down down up", view(|v| v.scroll = 1)),
        ("t down up up", view(|v| (v.panel, v.chosen) = (Panel::Replicas, "user-service-2".to_owned()))),
        ("g", view(|v| v.ghost = true)),
        ("d", view(|v| (v.ghost, v.difference) = (true, true))),
        ("d g", view(|_| ())),
        ("d d", view(|v| v.ghost = true)),
        ("d esc esc", view(|_| ())),
        ("tab", view(|v| v.trial = Some(0))),
        ("g tab", view(|v| (v.ghost, v.trial) = (true, Some(0)))),
        ("/ \"dead\" enter", view(|v| v.filter = "dead".to_owned())),
        ("/ \"dead\" esc", view(|_| ())),
        ("/ \"dead\" enter / ctrl-u esc", view(|v| v.filter = "dead".to_owned())),
        ("/ \"dead\" enter / ctrl-u enter", view(|_| ())),
        ("/ \"dead\" enter esc", view(|_| ())),
        ("/ \"q\" backspace \"x\" enter", view(|v| v.filter = "x".to_owned())),
        ("? down down esc e", view(|v| v.panel = Panel::Events)),
        ("? q", view(|_| ())),
    ];
    for (keys, expected) in table {
        let mut app = app();
        assert_eq!(press(&mut app, keys, &facts()), [], "{keys}");
        assert_eq!(app.view, expected, "{keys}");
        assert_eq!(app.context(), Context::Run, "{keys}");
    }
}

#[test]
fn the_run_is_steered_as_keys_say() {
    let kill = |name: &str| Action::Steer(Steer::Kill(name.to_owned()));
    let note = |text: &str| Action::Steer(Steer::Note(text.to_owned()));
    let rate = |rate| Action::Steer(Steer::Rate(rate));
    let table = [
        ("+", vec![rate(440.0)]),
        ("-", vec![rate(364.0)]),
        ("+ +", vec![rate(440.0), rate(484.0)]),
        ("r \"250\" enter", vec![rate(250.0)]),
        ("r \"250/s\" enter +", vec![rate(250.0), rate(275.0)]),
        ("r \"fast\" enter", vec![]),
        ("r \"-5\" enter", vec![]),
        ("r \"nan\" enter", vec![]),
        ("r \"250\" esc", vec![]),
        ("L", vec![Action::Steer(Steer::RateOfPhases)]),
        ("z", vec![Action::Steer(Steer::Pause(true))]),
        ("k", vec![]),
        ("k y", vec![Action::Steer(Steer::SkipPhase)]),
        ("k n", vec![]),
        ("x", vec![]),
        ("x x x", vec![]),
        ("x enter", vec![]),
        ("x y", vec![kill("user-service-1")]),
        ("x down y", vec![kill("user-service-2")]),
        ("t x y", vec![kill("user-service-2")]),
        ("t x up y", vec![kill("user-service-1")]),
        ("t down x y", vec![kill("user-service-1")]),
        ("t down down x y", vec![]),
        ("x down down down up y", vec![kill("user-service-1")]),
        ("x esc y", vec![]),
        ("S", vec![]),
        ("S y", vec![Action::Steer(Steer::Stop)]),
        ("S n", vec![]),
        ("n \"queue\" space \"grows\" enter", vec![note("queue grows")]),
        ("n space enter", vec![]),
        ("s", vec![Action::Still]),
        ("o", vec![Action::Report]),
        ("ctrl-z", vec![]),
    ];
    for (keys, actions) in table {
        assert_eq!(press(&mut app(), keys, &facts()), actions, "{keys}");
    }
}

#[test]
fn only_what_conducts_nothing_is_suspended() {
    let mut conducting = app();
    assert_eq!(press(&mut conducting, "ctrl-z", &facts()), []);
    assert_eq!(conducting.message(), Some("suspending would stop the run as well; leave with q and it goes on"));
    for (source, what) in [(Source::Held("lab".to_owned()), "the lab"), (Source::Load, "the load")] {
        press(&mut conducting, "ctrl-z", &Facts { source, ..facts() });
        assert!(conducting.message().is_some_and(|said| said.contains(what)), "{what}");
    }
    let attached = Facts { source: Source::Attached("lab".to_owned()), ..facts() };
    for facts in [attached, replay(), Facts { ended: true, ..facts() }] {
        assert_eq!(press(&mut app(), "ctrl-z", &facts), [Action::Suspend], "{:?}", facts.source);
    }
}

#[test]
fn leaving_asks_while_something_goes_on_and_says_what() {
    let table = [
        ("q", vec![]),
        ("q q", vec![Action::Leave(Leave::GoOn)]),
        ("ctrl-c ctrl-c", vec![Action::Leave(Leave::GoOn)]),
        ("q S", vec![Action::Leave(Leave::Stop)]),
        ("q esc", vec![]),
        ("q esc q q", vec![Action::Leave(Leave::GoOn)]),
    ];
    for (keys, actions) in table {
        assert_eq!(press(&mut app(), keys, &facts()), actions, "{keys}");
    }
    assert_eq!(press(&mut app(), "q", &Facts { ended: true, ..facts() }), [Action::Leave(Leave::Quit)]);
    let keys = ["q leave", "S stop", "esc stay"];
    let lab = || "lab".to_owned();
    let table: [(Source, &[&str]); 4] = [
        (Source::Conducted, &["the run goes on", "report", "2 replicas, removed"]),
        (Source::Held(lab()), &["lab stays up with 2 replicas", "Ctrl-C", "lab down --name lab"]),
        (Source::Load, &["the load goes on", "its summary", "Ctrl-C"]),
        (Source::Attached(lab()), &["lab stays up with 2 replicas", "lab down --name lab"]),
    ];
    for (source, parts) in table {
        let facts = Facts { source, ..facts() };
        let text = over(&mut app(), "q", &facts);
        for part in parts.iter().chain(&keys) {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(facts.source == Source::Conducted || !text.contains("the run"), "{text}");
    }
}

#[test]
fn stopping_says_what_is_stopped() {
    let lab = || "lab".to_owned();
    let table = [
        (Source::Conducted, "stop the run?"),
        (Source::Held(lab()), "take lab down?"),
        (Source::Load, "stop the load?"),
        (Source::Attached(lab()), "take lab down?"),
    ];
    for (source, title) in table {
        let text = over(&mut app(), "S", &Facts { source, ..facts() });
        assert!(text.contains(title), "{title}\n{text}");
    }
}

#[test]
fn a_question_names_the_keys_that_are_bound() {
    let bound = |up: &[&str], down: &[&str]| {
        let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let keys = [("up".to_owned(), owned(up)), ("down".to_owned(), owned(down))].into();
        App::new(Keymap::with(&keys).expect("a map"), Look::default())
    };
    assert!(over(&mut app(), "x", &facts()).contains("1 of 2; ↑ ↓ choose another"));
    assert!(over(&mut bound(&["u"], &["j"]), "x", &facts()).contains("1 of 2; u j choose another"));
    let text = over(&mut bound(&[], &[]), "x", &facts());
    assert!(text.contains("1 of 2") && !text.contains("choose"), "{text}");
}

/// What stands over an empty screen after keys.
fn over(app: &mut App, keys: &str, facts: &Facts) -> String {
    press(app, keys, facts);
    let area = Rect::new(0, 0, 100, 30);
    let mut buf = Buffer::empty(area);
    app.draw_over(facts, area, &mut buf);
    crate::frame::dump::text(&buf)
}

#[test]
fn what_cannot_be_done_says_why() {
    let deaf = Facts { steerable: false, ..facts() };
    let idle = Facts { rate: None, phase: None, replicas: Vec::new(), ghost: None, ..facts() };
    let table = [
        ("+", replay(), "this is a recording: what happened cannot be changed"),
        ("S", Facts { ended: true, ..facts() }, "the run is over"),
        ("x", deaf.clone(), "nobody listens: the run cannot be steered from here"),
        ("q S", deaf, "nobody listens: the run cannot be steered from here"),
        ("+", idle.clone(), "no load runs"),
        ("k", idle.clone(), "no phase is under way"),
        ("x", idle.clone(), "there are no replicas"),
        ("g", idle, "no other variant has begun its load"),
        (">", facts(), "only a replay has a speed"),
        ("r \"fast\" enter", facts(), "`fast` is not a rate; write requests a second, 0 to 10000000, like 250"),
    ];
    for (keys, facts, message) in table {
        let mut app = app();
        assert_eq!(press(&mut app, keys, &facts), [], "{keys}");
        assert_eq!(app.message(), Some(message), "{keys}");
        press(&mut app, "f9", &facts);
        assert_eq!(app.message(), None, "the next key clears it");
    }
}

#[test]
fn the_selected_replica_stays_when_rows_change_places() {
    let mut app = app();
    press(&mut app, "t down", &facts());
    let mut turned = facts();
    turned.rows.reverse();
    assert_eq!(press(&mut app, "x y", &turned), [Action::Steer(Steer::Kill("user-service-1".to_owned()))]);
    assert_eq!(app.view.selected_of(turned.rows.iter().map(String::as_str)), 1);
    turned.rows.rotate_left(1);
    assert_eq!(app.view.selected_of(turned.rows.iter().map(String::as_str)), 0);
    press(&mut app, "down down x", &facts());
    assert_eq!(app.message(), Some("that replica is gone"), "no other one is offered instead");
    assert_eq!(app.context(), Context::Run);
}

#[test]
fn an_answer_that_came_too_late_does_nothing() {
    let mut app = app();
    press(&mut app, "x", &facts());
    let gone = Facts { replicas: vec!["user-service-2".to_owned()], ..facts() };
    assert_eq!(press(&mut app, "y", &gone), []);
    assert_eq!(app.message(), Some("that replica is gone"));
    press(&mut app, "k", &facts());
    assert_eq!(press(&mut app, "y", &Facts { phase: Some("cool-down".to_owned()), ..facts() }), []);
    assert_eq!(app.message(), Some("that phase is over"));
    press(&mut app, "S", &facts());
    assert_eq!(press(&mut app, "y", &Facts { ended: true, ..facts() }), []);
}

#[test]
fn what_was_asked_is_believed_until_the_run_says_what_it_offers() {
    let mut app = app();
    assert_eq!(press(&mut app, "+", &facts()), [Action::Steer(Steer::Rate(440.0))]);
    let later = Facts { newest: seconds(304), rate: Some(100.0), ..facts() };
    assert_eq!(press(&mut app, "+", &later), [Action::Steer(Steer::Rate(110.0))]);
}

#[test]
fn pasted_text_goes_into_a_line_and_nowhere_else() {
    let mut app = app();
    assert_eq!(app.paste("qyS"), []);
    assert_eq!(app.context(), Context::Run);
    press(&mut app, "n", &facts());
    app.paste("a\u{1b}[31m\nb\u{7}\u{9b}");
    assert_eq!(press(&mut app, "enter", &facts()), [Action::Steer(Steer::Note("a[31m b".to_owned()))]);
    press(&mut app, "n", &facts());
    app.paste(&"x".repeat(10_000));
    let actions = press(&mut app, "enter", &facts());
    assert_eq!(actions, [Action::Steer(Steer::Note("x".repeat(500)))]);
}

#[test]
fn hints_are_the_keys_that_work_now() {
    let told = |app: &App, facts: &Facts| -> String {
        let hints: Vec<_> = app.hints(facts).iter().map(|h| format!("{} {}", h.keys, h.does)).collect();
        hints.join(", ")
    };
    let mut app = app();
    assert_eq!(
        told(&app, &facts()),
        "space pause, ←→ cursor, ? help, q quit, +- rate, tab trial, [] zoom, g ghost, e events, l logs, n note, s still, \
         x kill, k skip phase, w waterfall, / filter"
    );
    assert_eq!(
        told(&app, &replay()),
        "space pause, ←→ cursor, >< speed, ? help, q quit, tab trial, [] zoom, g ghost, e events, l logs, s still, \
         w waterfall, / filter"
    );
    press(&mut app, "left", &facts());
    assert!(told(&app, &facts()).starts_with("space live"));
    assert!(told(&app, &replay()).starts_with("space play"));
    press(&mut app, "x", &facts());
    assert_eq!(told(&app, &facts()), "y yes, n no");
    press(&mut app, "esc q", &facts());
    assert_eq!(told(&app, &facts()), "q leave, S stop, esc stay");
    press(&mut app, "esc n", &facts());
    assert_eq!(told(&app, &facts()), "enter ok, esc cancel");
    let mut plain = App::new(Keymap::default(), Look { ascii: true, ..Look::default() });
    assert!(told(&plain, &facts()).is_ascii());
    press(&mut plain, "?", &facts());
    assert_eq!(told(&plain, &facts()), "esc back");
}

fn any_key() -> impl Strategy<Value = Chord> {
    let bound: Vec<Chord> = TABLE.iter().flat_map(|row| row.chords).filter_map(|text| Chord::read(text)).collect();
    let other = "abcdefghij 0123456789~ü漢".chars().filter_map(|c| Chord::read(&c.to_string()));
    let all: Vec<Chord> = bound.into_iter().chain(other).collect();
    prop::sample::select(all)
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let parts = (0..6usize, any::<u64>(), any::<u64>(), any::<(bool, bool, bool)>(), 0..5usize, (0..200u16, 0..60u16));
    parts.prop_map(|(trials, now, newest, (steerable, ended, paused), source, size)| {
        let window = |i: usize| {
            let at = |k: u64| RunTime(newest.wrapping_mul(i as u64 + k));
            Window { from: at(1), zero: at(2), to: at(3) }
        };
        let lab = || "lab".to_owned();
        let (held, attached) = (Source::Held(lab()), Source::Attached(lab()));
        let sources = [Source::Conducted, attached, Source::Recorded, held, Source::Load];
        Facts {
            now: RunTime(now),
            newest: RunTime(newest),
            trials: (0..trials).map(window).collect(),
            shown: trials.checked_sub(1),
            ghost: (trials > 1).then_some(0),
            column: Span(now % 7_200_000_000_000),
            plot: (
                Rect::new(16, 3, 80, 20),
                Axis { zero: RunTime(0), column: Span(now % 7_200_000_000_000), first: -2, width: 80 },
            ),
            rate: (now % 3 > 0).then_some(now as f64),
            load_paused: paused,
            phase: ended.then(|| "step".to_owned()),
            replicas: (0..trials).map(|i| format!("r{i}")).collect(),
            rows: (0..trials).map(|i| format!("r{}", trials - i)).collect(),
            ended,
            steerable,
            source: sources[source].clone(),
            speed: (source == 2).then_some(1.0),
            size,
            lines: trials * 100,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_keys_panic_or_trap(keys in prop::collection::vec((any_key(), any_facts()), 1..24)) {
        let mut app = app();
        for (chord, facts) in &keys {
            app.key(chord.event(), facts);
            let area = Rect::new(0, 0, facts.size.0, facts.size.1);
            app.draw_over(facts, area, &mut Buffer::empty(area));
            let context = app.context();
            prop_assert!(context == Context::Run || !app.hints(facts).is_empty(), "no way out of {context:?}");
            let mut out = app.clone();
            out.key(Chord::read("esc").expect("a key").event(), facts);
            prop_assert_eq!(out.context(), Context::Run, "esc leaves {:?}", context);
        }
        let (_, facts) = &keys[keys.len() - 1];
        let mut actions = Vec::new();
        for key in ["esc", "q", "q"] {
            actions.extend(app.key(Chord::read(key).expect("a key").event(), facts));
        }
        prop_assert!(actions.iter().any(|a| matches!(a, Action::Leave(_))), "esc q q leaves from anywhere");
    }

    #[test]
    fn no_single_key_destroys(chord in any_key(), facts in any_facts()) {
        let actions = app().key(chord.event(), &facts);
        let destroys = |a: &Action| matches!(a, Action::Steer(Steer::Kill(_) | Steer::Stop | Steer::SkipPhase) | Action::Leave(Leave::Stop));
        prop_assert!(!actions.iter().any(destroys));
    }
}
