//! Reports of made-up runs: golden text, the same bytes twice, cut anywhere, hostile text, numbers that add up.

use lab_core::event::{Event, Kind};
use lab_core::fixture::Scenario;
use lab_core::model::Model;
use lab_core::unit::Span;
use lab_report::{Report, write};
use proptest::prelude::*;

fn report(events: &[Event]) -> Report {
    write(&Model::of(events)).expect("a report")
}

fn short() -> Scenario {
    Scenario { phases: vec![("warm-up", 60.0, 2, false), ("step", 160.0, 6, true)], ..Scenario::autoscale(5) }
}

#[test]
fn an_autoscaling_run_reads_well() {
    insta::assert_snapshot!("autoscale", report(&Scenario::autoscale(1).events()).markdown);
}

#[test]
fn a_comparison_reads_well() {
    let text = report(&Scenario::matrix(4, 3).events()).markdown;
    let end = text.find("## Trial 2").expect("a second trial");
    insta::assert_snapshot!("comparison", &text[..end]);
}

/// The sections with these headings.
fn sections(text: &str, headings: &[&str]) -> String {
    let of = |heading: &&str| {
        let from = text.find(heading).unwrap_or_else(|| panic!("no {heading} in {text}"));
        let level = heading.split(' ').next().unwrap_or_default();
        let rest = &text[from + heading.len()..];
        let end = [format!("\n{level} "), "\n## ".to_owned()].iter().filter_map(|next| rest.find(next.as_str())).min();
        text[from..].get(..heading.len() + end.unwrap_or(rest.len())).unwrap_or_default().to_owned()
    };
    headings.iter().map(of).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_comparison_of_engines_reads_well() {
    let report = report(&Scenario::queues(11, 3).events());
    let text = &report.markdown;
    let answer = text.lines().find(|line| line.starts_with("**Answer.**")).expect("an answer");
    let shown = sections(text, &["## Comparison", "## Throughput and latency", "## Environment"]);
    insta::assert_snapshot!("engines", format!("{answer}\n\n{shown}"));
    let (name, svg) = &report.pictures[0];
    assert!(name == "throughput-latency.svg" && svg.contains("limit 150 ms") && svg.contains("s1 hollow"), "{svg}");
}

#[test]
fn a_fault_and_a_cache_read_well() {
    let crashed = report(&Scenario::crash(5).events());
    let mut pictures = crashed.pictures.iter();
    assert!(
        pictures.any(|(_, svg)| svg.contains("F fault") && svg.matches("rule-fault").count() > 1),
        "faults are drawn"
    );
    let fault = crashed.markdown;
    let cache = report(&Scenario::caches(2).events()).markdown;
    insta::assert_snapshot!("fault-and-cache", sections(&fault, &["### Faults"]) + &sections(&cache, &["## Cache"]));
}

/// A word that names a winner, wherever the report has one, is followed by a mark that its text explains.
#[test]
fn no_winner_is_named_without_a_note() {
    let text = report(&Scenario::queues(11, 3).events()).markdown;
    let sentence = text.find("Each block ran every variant").expect("the explanation of the words");
    let mut words = 0;
    for word in ["faster", "slower", "cheaper", "dearer", "equivalent"] {
        for (at, _) in text[..sentence].match_indices(word) {
            assert_eq!(text[at + word.len()..].chars().next(), Some('¹'), "{word} at {at}");
            words += 1;
        }
    }
    assert!(words >= 4 && text.contains("\n¹ queue: kafka"), "{words}");
}

#[test]
fn the_same_journal_gives_the_same_bytes() {
    let events = short().events();
    assert_eq!(report(&events), report(&events));
    let lines: Vec<String> = events.iter().map(|e| serde_json::to_string(e).expect("JSON")).collect();
    let read: Vec<Event> = lines.iter().map(|l| serde_json::from_str(l).expect("an event")).collect();
    assert_eq!(report(&read), report(&events), "also after a journey through JSON");
}

#[test]
fn a_run_cut_at_every_event_says_so_with_its_count() {
    let events = short().events();
    for cut in 0..events.len() {
        let report = report(&events[..cut]);
        let said = format!("> **INCOMPLETE.** 0 of {}", if cut == 0 { "0 trials" } else { "1 trial" });
        let ended = cut + 1 == events.len();
        assert!(
            ended || report.markdown.contains(&said),
            "cut {cut}: {}",
            &report.markdown[..400.min(report.markdown.len())]
        );
        let counted = if cut == 1 { "1 event was".to_owned() } else { format!("{cut} event") };
        assert!(
            report.markdown.contains("INCOMPLETE") && (cut == 1 || report.markdown.contains(&counted)),
            "cut {cut}"
        );
        assert!(report.summary_json.contains("\"complete\": false"));
        assert!(!report.markdown.contains("**Verdict: PASS**"), "cut {cut}");
    }
}

#[test]
fn every_ledger_row_sums() {
    let text = report(&Scenario::autoscale(3).events()).markdown;
    let mut rows = 0;
    let table = text.split("| + unfinished |").nth(1).expect("the table of requests");
    for line in table.lines().skip(2).take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = |i: usize| cells[i].replace('\u{202f}', "").parse::<u64>().expect(line);
        assert_eq!(number(3), (4..=7).map(number).sum::<u64>(), "{line}");
        assert_eq!(cells[8], "sums");
        rows += 1;
    }
    assert_eq!(rows, 3);
}

#[test]
fn trouble_stands_at_the_top() {
    let mut events = short().events();
    events.retain(|e| !matches!(&e.kind, Kind::Sample(s) if s.seq == 4));
    for event in &mut events {
        if let Kind::Sample(s) = &mut event.kind {
            s.phases.iter_mut().for_each(|p| p.counts.offered += 1);
        }
    }
    let things = vec!["container lab-postgres".to_owned()];
    let last = events.len() - 1;
    let left = Kind::LeftBehind { things, remedy: "lab clean".to_owned() };
    events.insert(last, Event { kind: left, ..events[last].clone() });
    events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
    let text = report(&events).markdown;
    let top = &text[..text.find("**Answer.**").expect("an answer")];
    assert!(top.contains("**INVALID.**") && top.contains("ledger (warm-up)"), "{top}");
    assert!(top.contains("**LEFT RUNNING.** container lab-postgres"), "{top}");
    assert!(text.contains("DOES NOT SUM"));
    assert!(text.contains("answers nothing"));
    assert!(text.contains("remove with `lab clean`"));
}

#[test]
fn text_from_outside_cannot_become_markup() {
    const EVIL: &str = "<script>alert(1)</script> | [a](javascript:b) `c` \u{1b}[2J @all ![x](y)";
    let mut events = short().events();
    let warning = events.iter().position(|e| matches!(e.kind, Kind::LoadStarted { .. })).expect("load");
    events.insert(warning, Event { kind: Kind::Warning { text: EVIL.to_owned() }, ..events[warning].clone() });
    for event in &mut events {
        match &mut event.kind {
            Kind::RunStarted(info) => {
                info.spec.question = EVIL.to_owned();
                info.spec.name = EVIL.to_owned();
                info.variants[0].label = EVIL.to_owned();
                info.variants[0].spec.expect.clear();
                info.host.cpu = EVIL.to_owned();
            }
            Kind::ReplicaCreated { replica, .. } | Kind::ReplicaReady { replica, .. } => *replica = EVIL.to_owned(),
            Kind::ReplicaStopped { replica, exit, .. } => (*replica, *exit) = (EVIL.to_owned(), EVIL.to_owned()),
            Kind::PhaseStarted { name, .. } | Kind::PhaseEnded { name, .. } => *name = EVIL.to_owned(),
            Kind::Fidelity { note, .. } => *note = EVIL.to_owned(),
            Kind::Backing(seen) => {
                (seen.server, seen.address) = (EVIL.to_owned(), EVIL.to_owned());
                seen.promises.durability = EVIL.to_owned();
            }
            Kind::Decided(decided) => decided.decision.why = EVIL.to_owned(),
            Kind::Sample(s) => {
                s.endpoints.iter_mut().for_each(|e| e.replica = EVIL.to_owned());
                s.phases.iter_mut().for_each(|p| {
                    let n = p.counts.failed + 1;
                    p.failures_by_cause = std::iter::once((EVIL.to_owned(), n)).collect();
                });
            }
            Kind::TrialEnded { error, .. } => *error = Some(EVIL.to_owned()),
            _ => {}
        }
    }
    events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
    let report = report(&events);
    let spec = report.markdown.find("## Spec").expect("the spec, which stands in a fence");
    let text = &report.markdown[..spec];
    // What is left when every escaped character is taken out must hold no markup of theirs.
    let mut bare = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next();
        } else {
            bare.push(c);
        }
    }
    for bad in ["<script", "](javascript", "](y", "@all", "\u{1b}"] {
        assert!(!bare.contains(bad), "{bad} in {bare}");
    }
    assert!(!report.markdown.contains('\u{1b}') && report.markdown.matches("```").count() == 2);
    for (name, svg) in &report.pictures {
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}'), "{name}");
    }
    let header = text.lines().find(|l| l.starts_with("| check ")).expect("a table").matches('|').count();
    let row = text.lines().find(|l| l.starts_with("| ledger")).expect("a row").replace("\\|", "").matches('|').count();
    assert_eq!(header, row, "no cell was split");
}

#[test]
fn notes_and_stills_stand_at_their_time_with_links_to_their_files() {
    let mut events = short().events();
    assert!(!report(&events).markdown.contains("still:"));
    let load = events.iter().position(|e| matches!(e.kind, Kind::LoadStarted { .. })).expect("load");
    let at = events[load].t.plus(Span::from_millis(1_500));
    let files = ["stills/1.svg", "stills/a [b].txt", "../../outside"].map(str::to_owned).to_vec();
    let still = Kind::Still { at, size: (100, 30), files };
    let note = Kind::Note { text: "the step <b>".to_owned() };
    for (t, kind) in [(at, still), (events[load].t.plus(Span::from_millis(500)), note)] {
        events.insert(load + 1, Event { t, kind, ..events[load].clone() });
    }
    events.iter_mut().enumerate().for_each(|(i, e)| e.n = i as u64 + 1);
    let text = report(&events).markdown;
    let remarks = text.split("## Remarks").nth(1).and_then(|rest| rest.split("## ").next()).expect("remarks");
    let lines: Vec<&str> = remarks.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(
        lines,
        [
            "- 0:00.5 since load began, note: the step &lt;b&gt;",
            "- 0:01.5 since load began, still: [stills/1.svg](stills/1.svg), [stills/a \\[b\\].txt](stills/a%20%5Bb%5D.txt), \
             ../../outside",
        ]
    );
}

#[test]
fn pictures_are_those_the_text_shows() {
    let report = report(&Scenario::matrix(2, 1).events());
    assert_eq!(report.pictures.len(), 3);
    for (name, svg) in &report.pictures {
        assert!(report.markdown.contains(&format!("]({name})")), "{name}");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn events_in_any_order_give_a_report(order in Just((0..short().events().len()).collect::<Vec<_>>()).prop_shuffle()) {
        let events = short().events();
        let shuffled: Vec<Event> = order.iter().map(|i| events[*i].clone()).collect();
        prop_assert!(report(&shuffled).markdown.contains("**Answer.**"));
    }
}
