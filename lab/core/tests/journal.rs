//! Journals: what was written is read, wherever it was cut; what is not a journal is refused with its line.

use std::collections::BTreeMap;

use lab_core::event::{Event, Kind, Outcome, StepName};
use lab_core::journal::{Decoder, JournalError, Reader, encode, header, read};
use lab_core::unit::{RunTime, Span};
use proptest::prelude::*;

fn event(n: u64, kind: Kind) -> Event {
    Event { n, t: RunTime(n * 1_000), src: "run".to_owned(), late: Span::ZERO, clock: None, kind }
}

fn numbered(kinds: Vec<Kind>) -> Vec<Event> {
    (1..).zip(kinds).map(|(n, kind)| event(n, kind)).collect()
}

fn ended() -> Kind {
    Kind::RunEnded { outcome: Outcome::Completed }
}

fn warning(text: &str) -> Kind {
    Kind::Warning { text: text.to_owned() }
}

fn write(events: &[Event]) -> String {
    let lines = std::iter::once(header()).chain(events.iter().map(encode));
    lines.map(|line| line + "\n").collect()
}

#[test]
fn a_line_looks_like_the_format_says() {
    assert_eq!(header(), r#"{"lab-journal":1}"#);
    let ready = Kind::ReplicaReady { workload: "user-service".to_owned(), replica: "user-service-1".to_owned() };
    let ready = Event {
        n: 12,
        t: RunTime(81_250_000_000),
        src: "env.local".to_owned(),
        late: Span::ZERO,
        clock: None,
        kind: ready,
    };
    assert_eq!(
        encode(&ready),
        r#"{"n":12,"t":81250000000,"src":"env.local","kind":"replica-ready","workload":"user-service","replica":"user-service-1"}"#
    );
}

#[test]
fn a_whole_journal_is_complete() {
    let events = numbered(vec![warning("a\nb"), ended()]);
    let journal = read(write(&events).as_bytes()).expect("a journal");
    assert_eq!(journal.events, events);
    assert!(journal.complete && !journal.torn);
    let journal = read(write(&events[..1]).as_bytes()).expect("a journal");
    assert!(!journal.complete && !journal.torn);
}

#[test]
fn a_gauge_that_json_cannot_hold_is_a_gap() {
    let values = BTreeMap::from([("rows".to_owned(), f64::NAN), ("queue-depth".to_owned(), 3.0)]);
    let text = encode(&event(1, Kind::Gauges { workload: "message-service".to_owned(), values }));
    assert_eq!(
        text,
        r#"{"n":1,"t":1000,"src":"run","kind":"gauges","workload":"message-service","values":{"queue-depth":3.0}}"#
    );
}

#[test]
fn a_journal_cut_anywhere_is_readable() {
    let events = numbered(vec![
        warning("grüße"),
        Kind::Step { step: StepName::Up, took: Some(Span::from_millis(1500)) },
        ended(),
    ]);
    let text = write(&events);
    for cut in 0..=text.len() {
        let part = &text.as_bytes()[..cut];
        let journal = read(part).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        let whole = part.iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
        // A last event whose line lacks only its end is whole too.
        assert!((whole..=whole + 1).contains(&journal.events.len()), "cut at {cut}");
        assert_eq!(journal.events, events[..journal.events.len()]);
        assert_eq!(journal.complete, journal.events.len() == events.len());
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let error = |text: &str| read(text.as_bytes()).expect_err(text);
    let text = write(&numbered(vec![warning("a"), warning("b"), ended()]));
    let lines: Vec<&str> = text.lines().collect();

    let broken = format!("{}\n{}\n{{\"n\":2,\n{}\n", lines[0], lines[1], lines[3]);
    assert!(matches!(error(&broken), JournalError::Broken { line: 3, .. }));
    let unknown = format!("{}\n{{\"n\":1,\"t\":0,\"src\":\"run\",\"kind\":\"no-such-kind\"}}\n", lines[0]);
    assert!(matches!(error(&unknown), JournalError::Broken { line: 2, .. }));
    let missing = format!("{}\n{}\n{}\n", lines[0], lines[1], lines[3]);
    assert!(matches!(error(&missing), JournalError::OutOfOrder { line: 3, expected: 2, found: 3 }));
    let newer = text.replace("{\"lab-journal\":1}", "{\"lab-journal\":2}");
    assert_eq!(
        error(&newer).to_string(),
        "the journal has format 2, this lab reads up to 1; read it with the lab that wrote it, or a newer one"
    );
    for not_ours in ["hello\n", "{}\n", "hello", "{\"lab-journal\":0}\n", "[1]\n"] {
        assert!(matches!(error(not_ours), JournalError::NoHeader), "{not_ours}");
    }
    assert!(matches!(read(&b"\xff\xfe\n"[..]), Err(JournalError::NoHeader)));
}

#[test]
fn a_reader_stops_at_its_first_error() {
    let text = format!("{}\nbroken\n{}\n", header(), encode(&event(1, ended())));
    let mut reader = Reader::new(text.as_bytes());
    assert!(matches!(reader.next(), Some(Err(JournalError::Broken { line: 2, .. }))));
    assert!(reader.next().is_none());
    assert!(!reader.complete());
}

#[test]
fn a_journal_can_be_followed_line_by_line() {
    let mut decoder = Decoder::default();
    assert!(decoder.line(header().as_bytes()).expect("the header").is_none());
    let last = event(1, ended());
    assert_eq!(decoder.line(encode(&last).as_bytes()).expect("an event"), Some(last));
    assert!(decoder.complete());
}

fn kind() -> impl Strategy<Value = Kind> {
    let text = || any::<String>();
    prop_oneof![
        text().prop_map(|text| Kind::Note { text }),
        (text(), any::<u32>(), any::<u32>()).prop_map(|(workload, from, to)| Kind::Scaled {
            workload,
            from,
            to,
            cause: "user".to_owned()
        }),
        (text(), any::<u64>()).prop_map(|(name, at)| Kind::PhaseStarted { index: 0, name, at: RunTime(at) }),
        (text(), any::<f64>().prop_filter("finite", |v| v.is_finite())).prop_map(|(name, value)| Kind::Gauges {
            workload: "w".to_owned(),
            values: BTreeMap::from([(name, value)])
        }),
        (0_u64..1 << 53).prop_map(|ns| Kind::Step { step: StepName::Drive, took: Some(Span(ns)) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_journal_reads_back(kinds in prop::collection::vec(kind(), 0..20), cut in any::<prop::sample::Index>()) {
        let events = numbered(kinds);
        let text = write(&events);
        let journal = read(text.as_bytes()).expect("a journal");
        prop_assert_eq!(&journal.events, &events);
        let part = read(&text.as_bytes()[..cut.index(text.len())]).expect("a cut journal");
        prop_assert_eq!(&part.events[..], &events[..part.events.len()]);
    }

    #[test]
    fn no_bytes_make_a_panic(bytes in any::<Vec<u8>>()) {
        let mut after_header = header().into_bytes();
        after_header.push(b'\n');
        after_header.extend(&bytes);
        for text in [bytes, after_header] {
            prop_assert!(read(&text[..]).map_or(true, |journal| !journal.complete && journal.events.is_empty()));
        }
    }
}
