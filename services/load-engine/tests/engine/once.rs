//! The front for a command line.

use std::cell::RefCell;
use std::rc::Rc;

use lab_core::control::LoadChange;
use lab_core::event::{Event, Kind};
use lab_core::model::Model;
use lab_core::unit::{Rate, RunTime, Span};
use load_engine::{Length, Next, OnceError, Options, Validity, run_once};

use crate::server::{Reply, Server};

fn options(server: &Server, path: &str) -> Options {
    Options { url: format!("http://{}{path}", server.address), connections: 4, ..Options::default() }
}

#[test]
fn a_number_of_requests_at_closed_pace() {
    let server = Server::start(|n, _| if n % 10 == 0 { Reply::Status(500) } else { Reply::Ok });
    let summary =
        run_once(&Options { length: Length::Requests(500), ..options(&server, "/x?y={n}") }, |_| true).expect("a load");
    assert_eq!((summary.requests, summary.errors, summary.ledger.completed), (500, 50, 450));
    assert_eq!(server.requests(), 500);
    assert_eq!(server.connections(), 4);
    assert!(summary.rps > 0.0 && summary.response.p99_us >= summary.response.p50_us);
    let json = serde_json::to_value(&summary).expect("JSON");
    for field in ["requests", "errors", "duration_s", "rps", "offered", "completed", "failed", "dropped", "unfinished"]
    {
        assert!(json[field].is_number(), "{field}: {json}");
    }
    assert!(json["response"]["p999_us"].is_number() && json["send_lag"]["max_us"].is_number());
}

#[test]
fn a_rate_with_warm_up_counts_the_measured_part_only() {
    let server = Server::good();
    let summary = run_once(
        &Options {
            rate: Some(Rate(500.0)),
            warmup: Span::from_millis(200),
            length: Length::For(Span::from_millis(400)),
            arrivals: lab_core::spec::Arrivals::Constant,
            ..options(&server, "/")
        },
        |_| true,
    )
    .expect("a load");
    assert_eq!((summary.ledger.offered, summary.ledger.completed), (200, 200));
    assert_eq!(server.requests(), 300);
    assert!((summary.rps - 500.0).abs() < 1.0, "{}", summary.rps);
    assert_ne!(summary.validity, Validity::Invalid, "{:?}", summary.reasons);
}

#[test]
fn samples_fold_into_a_model_as_they_come() {
    let server = Server::good();
    let paced = Options {
        rate: Some(Rate(200.0)),
        warmup: Span::from_millis(1_000),
        length: Length::For(Span::from_millis(1_500)),
        arrivals: lab_core::spec::Arrivals::Constant,
        ..options(&server, "/")
    };
    let unpaced = Options { rate: None, ..paced.clone() };
    for options in [paced, unpaced] {
        let event = |n, at_ns, kind| Event {
            n,
            t: RunTime(at_ns),
            late: Span::ZERO,
            src: "generator.load".to_owned(),
            clock: None,
            kind,
        };
        let mut model = Model::of(&[event(1, 0, Kind::LoadStarted { at: RunTime(0) })]);
        let summary = run_once(&options, |sample| {
            model.apply(&event(sample.seq + 1, sample.to_ns, Kind::Sample(Box::new(sample.clone()))));
            true
        })
        .expect("a load");
        let trial = model.current().expect("a trial");
        assert_eq!((trial.early_samples, trial.repeated_samples, trial.lost_samples()), (0, 0, 0));
        let cells = trial.cells.stretches();
        assert!(cells.iter().all(|c| c.value.complete()));
        let beginnings: Vec<u64> = cells.iter().map(|c| c.from.0 / 1_000_000_000).collect();
        assert_eq!(beginnings, (0..beginnings.len() as u64).collect::<Vec<_>>(), "a cell a second, from 0 on");
        assert!(trial.phases.values().all(|p| p.imbalance() == 0));
        let measured = &trial.phases[&1];
        assert_eq!(measured.ledger(), summary.ledger);
        assert_eq!(measured.response.count(), summary.ledger.completed);
        let offered: u64 = trial.phases.values().map(|p| p.ledger().offered).sum();
        assert_eq!(cells.iter().map(|c| c.value.counts.offered).sum::<u64>(), offered);
        assert!(trial.generators["load"].finished);
    }
}

#[test]
fn a_reader_that_has_enough_stops_the_load() {
    let server = Server::good();
    let long = Options { rate: Some(Rate(100.0)), length: Length::For(Span::from_secs(600)), ..options(&server, "/") };
    let summary = run_once(&long, |sample| sample.seq < 1).expect("a load");
    assert!(summary.ledger.offered < 1_000 && summary.ledger.sums());
}

#[test]
fn a_change_that_is_refused_is_answered_and_leaves_the_load_as_it_is() {
    let server = Server::good();
    let length = Length::For(Span::from_millis(2_200));
    for (rate, accepted) in [(None, false), (Some(Rate(50.0)), true)] {
        let answers = Rc::new(RefCell::new(Vec::new()));
        let summary = run_once(&Options { rate, length, ..options(&server, "/") }, |sample| {
            if sample.seq > 1 {
                return Next::Go;
            }
            let answers = Rc::clone(&answers);
            let change = LoadChange { rate: Some(100.0), ..LoadChange::default() };
            Next::Change(change, Box::new(move |changed| answers.borrow_mut().push(changed.map_err(|e| e.to_string()))))
        })
        .expect("the load goes on");
        let answers = answers.borrow();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].is_ok(), accepted, "{answers:?}");
        assert!(accepted || answers[0].as_ref().is_err_and(|e| e.contains("closed pace")), "{answers:?}");
        assert!(summary.duration_s > 2.0 && summary.ledger.completed > 0, "{summary:?}");
    }
}

#[test]
fn urls_that_cannot_be_called_say_why() {
    for (url, why) in [
        ("https://example.com/", "only http works today"),
        ("ftp://example.com/", "only http works today"),
        ("http://", "write http://host:port/path"),
        ("http://user:secret@host/", "without user or password"),
    ] {
        let options = Options { url: url.into(), ..Options::default() };
        for error in [run_once(&options, |_| true).expect_err(url), options.check().expect_err(url)] {
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    let both = Options {
        warmup: Span::from_secs(1),
        length: Length::Requests(1),
        url: "http://127.0.0.1:1".into(),
        ..Options::default()
    };
    assert!(matches!(run_once(&both, |_| true), Err(OnceError::WarmupOfRequests)));
    let length = Length::For(Span::from_secs(1));
    let good = Options { length, ..both };
    assert!(good.check().is_ok());
    let none = Options { connections: 0, ..good };
    assert!(matches!(none.check(), Err(OnceError::Engine(_))));
}
