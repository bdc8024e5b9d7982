//! Who joins, leaves and is lost, and that all who drive a load have the same changes. Generators are made up.

use std::sync::Mutex;
use std::time::Duration;

use lab_core::control::{LoadState, Status};
use lab_core::ledger::Ledger;
use lab_core::spec::Arrivals;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn address(name: &str) -> GeneratorAddress {
    // Bound and let go at once: nobody answers there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    GeneratorAddress { replica: name.to_owned(), url, token: "t".to_owned().into() }
}

/// A fleet of which every member has the plan and does not answer.
fn fleet(names: &[&str]) -> Fleet {
    let plan = LoadPlan {
        id: "p".to_owned(),
        start_at_ns: None,
        operations: Vec::new(),
        arrivals: Arrivals::Poisson,
        phases: Vec::new(),
        connections: 1,
        timeout: Span::from_secs(1),
        max_queue: 1,
        seed: 1,
        share: Share { index: 0, count: 1 },
        joins_at_ns: 0,
        keys: 0,
        drain: Span::ZERO,
    };
    let mut fleet = Fleet::new(RunClock::start(), plan, mpsc::channel(1).0);
    fleet.members = names
        .iter()
        .map(|name| Member {
            name: (*name).to_owned(),
            client: Arc::new(GeneratorClient::new(&address(name)).expect("a client")),
            offset: 0,
            standing: Standing::Sharing,
            has_plan: true,
            unlisted: false,
            release: None,
            joined: 1,
            stop: CancellationToken::new(),
        })
        .collect();
    fleet
}

#[tokio::test]
async fn who_cannot_be_told_is_named_with_what_is_lost() {
    let mut fleet = fleet(&["a"]);
    let dealt = fleet.deal(Span::ZERO).await;
    assert!(dealt.generators.is_empty());
    assert!(matches!(&dealt.lost[..], [(name, _, Loss::Share)] if name == "a"), "{dealt:?}");
    assert_eq!(fleet.lose("a"), Loss::None, "its reader's report comes second");
}

#[tokio::test]
async fn a_generator_that_vanished_and_is_then_lost_has_lost_samples() {
    let mut fleet = fleet(&["a", "b"]);
    assert!(fleet.update(&[address("b")]).await.changed);
    assert_eq!((fleet.lose("a"), fleet.lose("a")), (Loss::Samples, Loss::None));
    fleet.done("b");
    assert_eq!(fleet.lose("b"), Loss::None);
}

#[tokio::test]
async fn a_generator_that_is_ready_again_in_time_goes_on() {
    let mut fleet = fleet(&["a"]);
    assert!(fleet.update(&[]).await.changed);
    assert!(!fleet.is_sharing() && !fleet.is_over());
    assert_eq!(fleet.update(&[address("a")]).await, Updated { changed: true, problems: Vec::new() });
    assert!(fleet.is_sharing());
}

#[tokio::test]
async fn a_newcomer_that_does_not_answer_hides_no_change_and_is_told_once() {
    let mut fleet = fleet(&["a"]);
    let first = fleet.update(&[address("b")]).await;
    assert!(first.changed && first.problems.len() == 1, "{first:?}");
    assert_eq!(fleet.update(&[address("b")]).await, Updated::default());
}

/// A generator that writes down what it is told.
pub(crate) struct Fake {
    pub(crate) address: GeneratorAddress,
    told: Arc<Mutex<Vec<(String, Value)>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Fake {
    /// `refuses` says which changes it answers with a refusal.
    pub(crate) async fn start(name: &str, refuses: fn(&Value) -> bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), refuses));
            }
        });
        Self { address: GeneratorAddress { replica: name.to_owned(), url, token: "t".to_owned().into() }, told, server }
    }

    pub(crate) async fn good(name: &str) -> Self {
        Self::start(name, |_| false).await
    }

    /// Plans and changes that it was told, in order.
    fn told(&self) -> Vec<(String, Value)> {
        self.told.lock().expect("the log").clone()
    }

    pub(crate) fn changes(&self) -> Vec<LoadChange> {
        let changes = self.told().into_iter().filter(|(method, _)| method == "PATCH");
        changes.map(|(_, body)| serde_json::from_value(body).expect("a change")).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers one request; a stream of samples stays open without any.
async fn serve(stream: TcpStream, log: Arc<Mutex<Vec<(String, Value)>>>, refuses: fn(&Value) -> bool) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.expect("a line") == 0 {
            return;
        }
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.expect("a body");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = head.split(' ').next().unwrap_or_default().to_owned();
    if head.contains("/load/samples") {
        return std::future::pending().await;
    }
    let refused = method == "PATCH" && refuses(&body);
    if method != "GET" {
        log.lock().expect("the log").push((method, body));
    }
    let status = Status {
        now_ns: 1,
        state: LoadState::Running,
        plan: None,
        plan_ns: None,
        rate: 0.0,
        targets_version: 0,
        ledger: Ledger::default(),
        last_sample: 0,
    };
    let (line, json) = match refused {
        true => ("422 No", serde_json::json!({"error": "that is too much"}).to_string()),
        false => ("200 OK", serde_json::to_string(&status).expect("JSON")),
    };
    let answer = format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{json}", json.len());
    stream.write_all(answer.as_bytes()).await.expect("written");
}

/// A fleet of these, with a share each.
async fn sharing(fakes: &[&Fake]) -> Fleet {
    let mut fleet = fleet(&[]);
    let addresses: Vec<_> = fakes.iter().map(|fake| fake.address.clone()).collect();
    assert!(fleet.update(&addresses).await.changed);
    assert_eq!(fleet.deal(Span::ZERO).await.generators.len(), fakes.len());
    fleet
}

fn rate(from_ns: u64, rate: f64) -> LoadChange {
    LoadChange { from_ns: Some(from_ns), rate: Some(rate), ..LoadChange::default() }
}

#[tokio::test]
async fn all_have_the_same_changes_and_a_newcomer_gets_them_after_its_plan() {
    let fakes = [Fake::good("a").await, Fake::good("b").await];
    let mut fleet = sharing(&[&fakes[0], &fakes[1]]).await;
    let skip = LoadChange { from_ns: Some(7), skip: Some(true), ..LoadChange::default() };
    let changes = [rate(5, 800.0), skip, rate(9, -1.0)];
    for change in &changes {
        let changed = fleet.change(change).await;
        assert!(changed.refused.is_none() && changed.lost.is_empty(), "{changed:?}");
    }
    assert_eq!(fakes[0].changes(), changes);
    assert_eq!(fakes[1].changes(), changes);

    let newcomer = Fake::good("c").await;
    let ready = [fakes[0].address.clone(), fakes[1].address.clone(), newcomer.address.clone()];
    assert!(fleet.update(&ready).await.changed);
    assert_eq!(fleet.deal(Span(50)).await.generators, ["a", "b", "c"]);
    let told = newcomer.told();
    assert_eq!((told[0].0.as_str(), &told[0].1["joins_at_ns"]), ("PUT", &serde_json::json!(50)));
    assert_eq!(newcomer.changes(), changes, "its numbering is the others'");
    let last = fakes[0].changes().pop().expect("changes");
    assert_eq!((last.share, last.from_ns), (Some(Share { index: 0, count: 3 }), Some(50)));
}

#[tokio::test]
async fn what_all_refuse_is_as_it_was() {
    let no_rate: fn(&Value) -> bool = |body| body["rate"].is_number();
    let fakes = [Fake::start("a", no_rate).await, Fake::start("b", no_rate).await];
    let mut fleet = sharing(&[&fakes[0], &fakes[1]]).await;
    let changed = fleet.change(&rate(5, 1e9)).await;
    assert!(changed.refused.is_some_and(|why| why.contains("that is too much")));
    assert!(changed.lost.is_empty() && fleet.is_sharing());
    let newcomer = Fake::good("c").await;
    let ready = [fakes[0].address.clone(), fakes[1].address.clone(), newcomer.address.clone()];
    fleet.update(&ready).await;
    fleet.deal(Span(50)).await;
    assert!(newcomer.changes().is_empty(), "what was not done is not repeated");
}

#[tokio::test]
async fn who_alone_refuses_a_change_is_lost_and_stopped() {
    let fakes = [Fake::good("a").await, Fake::start("b", |body| body["rate"].is_number()).await];
    let mut fleet = sharing(&[&fakes[0], &fakes[1]]).await;
    let changed = fleet.change(&rate(5, 1e9)).await;
    assert!(changed.refused.is_none());
    assert!(matches!(&changed.lost[..], [(name, _, Loss::Share)] if name == "b"), "{changed:?}");
    assert_eq!(fleet.deal(Span(50)).await.generators, ["a"]);
    let stopped = async {
        while !fakes[1].told().iter().any(|(method, _)| method == "DELETE") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), stopped).await.expect("it is stopped");
}

#[tokio::test]
async fn a_change_that_nobody_answers_loses_them_and_one_for_nobody_is_refused() {
    let mut fleet = fleet(&["a"]);
    let changed = fleet.change(&rate(5, 1.0)).await;
    assert!(changed.refused.is_some());
    assert!(matches!(&changed.lost[..], [(name, _, Loss::Share)] if name == "a"), "{changed:?}");
    let changed = fleet.change(&rate(5, 1.0)).await;
    assert!(changed.refused.is_some_and(|why| why.contains("no load-generator")) && changed.lost.is_empty());
}
