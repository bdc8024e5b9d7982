//! Tables of key sequences on the home screen, and its picture at several sizes.

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;
use crate::frame::dump;
use crate::keys::TABLE;

fn data() -> HomeData {
    let experiment =
        |name: &str, question: &str, last| ExperimentRow { name: name.to_owned(), question: question.to_owned(), last };
    let last = |verdict, run: &str| Some(LastRun { verdict, when: "2 h ago".to_owned(), run: run.to_owned() });
    let run = |id: &str, experiment: &str, verdict, validity, complete| RunRow {
        id: id.to_owned(),
        experiment: experiment.to_owned(),
        when: "today 15:30".to_owned(),
        verdict,
        validity,
        complete,
    };
    HomeData {
        experiments: vec![
            experiment(
                "autoscale-users",
                "Does CPU autoscaling keep p99 under 250 ms through a fourfold step?",
                last(Verdict::Pass, "2026-11-24-1530-autoscale-users-k3f"),
            ),
            experiment("cache-effect", "What does a cache in front of reads change?", None),
            experiment(
                "queue-backlog",
                "How long does a queue take to drain?",
                last(Verdict::CannotTell, "2026-11-23-0900-queue-backlog-a1b"),
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
                "2026-11-23-0900-queue-backlog-a1b",
                "queue-backlog",
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

fn home() -> Home {
    Home::new(Keymap::default(), Look::default())
}

fn press(home: &mut Home, keys: &str, data: &HomeData) -> Vec<HomeAction> {
    let chords = keys.split(' ').filter(|word| !word.is_empty()).map(|word| Chord::read(word).expect(word));
    chords.filter_map(|chord| home.key(chord.event(), data, (100, 30))).collect()
}

fn drawn(home: &Home, data: &HomeData, look: Look, size: (u16, u16)) -> String {
    let area = Rect::new(0, 0, size.0, size.1);
    let mut buf = Buffer::empty(area);
    draw(home, data, look, area, &mut buf);
    dump::text(&buf)
}

#[test]
fn keys_choose_and_do() {
    use HomeAction::*;
    let name = |text: &str| text.to_owned();
    let table = [
        ("enter", vec![Start(name("autoscale-users"))]),
        ("down enter", vec![Start(name("cache-effect"))]),
        ("down down down down up enter", vec![Start(name("cache-effect"))]),
        ("pgdn enter", vec![Start(name("queue-backlog"))]),
        ("r", vec![Report(name("2026-11-24-1530-autoscale-users-k3f"))]),
        ("down r", vec![]),
        ("tab enter", vec![Attach(name("lab"))]),
        ("tab r", vec![]),
        ("tab x", vec![]),
        ("tab x y", vec![TakeDown(name("lab"))]),
        ("tab x n", vec![]),
        ("tab x down y", vec![TakeDown(name("lab"))]),
        ("x y", vec![]),
        ("tab tab enter", vec![Replay(name("2026-11-24-1530-autoscale-users-k3f"))]),
        ("tab tab down r", vec![Report(name("2026-11-24-1411-autoscale-users-e5g"))]),
        ("shift-tab enter", vec![]),
        ("right left enter", vec![Start(name("autoscale-users"))]),
        ("tab tab tab tab enter", vec![Start(name("autoscale-users"))]),
        ("/ q u e u e enter enter", vec![Start(name("queue-backlog"))]),
        ("/ q u e u e esc enter", vec![Start(name("autoscale-users"))]),
        ("/ z z z enter enter", vec![]),
        ("/ z z z enter esc enter", vec![Start(name("autoscale-users"))]),
        ("/ q enter q", vec![Quit]),
        ("f5", vec![Refresh]),
        ("? down q q", vec![Quit]),
        ("ctrl-z", vec![Suspend]),
        ("ctrl-c", vec![Quit]),
    ];
    for (keys, actions) in table {
        assert_eq!(press(&mut home(), keys, &data()), actions, "{keys}");
    }
}

#[test]
fn the_chosen_row_stays_when_rows_come_and_go() {
    let mut home = home();
    let mut data = data();
    press(&mut home, "tab tab down", &data);
    data.runs.insert(0, RunRow { id: "2026-11-24-1700-new-aaa".to_owned(), ..RunRow::default() });
    let chosen = "2026-11-24-1411-autoscale-users-e5g".to_owned();
    assert_eq!(press(&mut home, "enter", &data), [HomeAction::Replay(chosen.clone())]);
    data.runs.retain(|row| row.id != chosen);
    assert_eq!(
        press(&mut home, "enter", &data),
        [HomeAction::Replay("2026-11-24-1530-autoscale-users-k3f".to_owned())]
    );
    data.runs.clear();
    assert_eq!(press(&mut home, "enter", &data), []);
}

#[test]
fn four_sections_and_the_question_stand_on_one_screen() {
    for size in [(160, 45), (100, 30), (80, 24)] {
        let text = drawn(&home(), &data(), Look::default(), size);
        for part in [
            "lab  3 experiments, 1 lab, 3 runs, 1 finding",
            "▸ autoscale-users",
            "✓ pass",
            "? cannot tell",
            "not run yet",
            "up 3 h 5 min",
            "costs nothing",
            "2026-11-24-1530-autoscale-users-k3f",
            "incomplete",
            "suspect",
            "CPU limits cannot be set with cgroups here",
            "  Does CPU autoscaling keep p99 under 250 ms through a fourfold step?\n",
            "enter start",
        ] {
            assert!(text.contains(part), "{part} at {size:?}\n{text}");
        }
    }
}

#[test]
fn the_question_is_in_full_on_a_narrow_screen() {
    let text = drawn(&home(), &data(), Look::default(), (32, 16));
    let joined: Vec<&str> = text.split_whitespace().collect();
    assert!(joined.join(" ").contains("Does CPU autoscaling keep p99 under 250 ms through a fourfold step?"), "{text}");
}

#[test]
fn the_chosen_row_is_always_seen() {
    let mut many = data();
    let run = |i: usize| RunRow { id: format!("run-{i:04}"), ..RunRow::default() };
    many.runs = (0..500).map(run).collect();
    for size in [(160, 45), (100, 30), (60, 15), (30, 6), (12, 3), (9, 1)] {
        let mut home = home();
        press(&mut home, "tab tab", &many);
        for keys in ["pgdn pgdn pgdn pgdn", "down", "up up", "pgup", "pgdn down"] {
            press(&mut home, keys, &many);
            let chosen = home.chosen_name(&many).expect("a row");
            let text = drawn(&home, &many, Look::default(), size);
            let seen: String = chosen.chars().take(usize::from(size.0.saturating_sub(3))).collect();
            assert!(text.contains(&format!("▸ {seen}")), "{chosen} at {size:?}\n{text}");
        }
    }
}

#[test]
fn nothing_yet_says_what_to_do() {
    let text = drawn(&home(), &HomeData::default(), Look::default(), (100, 30));
    for part in ["nothing is up", "nothing is missing", "none yet; enter on an experiment starts one"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn what_to_do_names_the_keys_that_are_bound() {
    let keymap = |keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Keymap::with(&[("open".to_owned(), keys)].into()).expect("a map")
    };
    for (keys, end) in [(&["f2"][..], "; f2 on an experiment starts one"), (&[], "")] {
        let home = Home::new(keymap(keys), Look::default());
        let text = drawn(&home, &HomeData::default(), Look::default(), (100, 30));
        assert!(text.contains(&format!("none yet{end}\n")), "{text}");
    }
    let mut home = Home::new(keymap(&["f2"]), Look::default());
    press(&mut home, "down r", &data());
    let text = drawn(&home, &data(), Look::default(), (100, 30));
    assert!(text.contains("this experiment has no run yet; f2 starts one"), "{text}");
}

#[test]
fn foreign_text_and_ascii() {
    let mut odd = data();
    odd.runs[0].id = "a\u{1b}[31m漢字\u{202e}x".to_owned();
    let text = drawn(&home(), &odd, Look::default(), (100, 30));
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let look = Look { ascii: true, ..Look::default() };
    let plain = Home::new(Keymap::default(), look);
    assert!(drawn(&plain, &data(), look, (100, 30)).is_ascii());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_keys_and_no_size_panic_or_trap(
        keys in prop::collection::vec(0..200usize, 0..16),
        size in (0..180u16, 0..50u16),
        rows in 0..40usize,
    ) {
        let chords: Vec<Chord> = TABLE.iter().flat_map(|row| row.chords).filter_map(|text| Chord::read(text)).collect();
        let mut home = home();
        let mut data = data();
        data.runs = data.runs.into_iter().cycle().take(rows).collect();
        for key in keys {
            home.key(chords[key % chords.len()].event(), &data, size);
            drawn(&home, &data, Look::default(), size);
        }
        let esc = Chord::read("esc").expect("a key").event();
        home.key(esc, &data, size);
        prop_assert_eq!(home.context(), Context::Home);
        let quit = home.key(Chord::read("q").expect("a key").event(), &data, size);
        prop_assert_eq!(quit, Some(HomeAction::Quit));
    }
}
