//! What a load wrote, read back: the rows of the target's table, page by page from ready replicas, and the numbers in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab_core::control::{Endpoint, LoadPlan};
use lab_core::spec::{Spec, StoreEngine, Target};
use lab_core::templates;
use serde::Deserialize;
use tokio::sync::watch;

use crate::error::causes;
use crate::http;

/// Most rows of a page.
const PAGE: usize = 10_000;
/// One page.
const PER_PAGE: Duration = Duration::from_secs(10);
/// Between two tries for a page.
const AGAIN: Duration = Duration::from_millis(250);
/// How long one page is asked for, over all replicas: one that died is replaced in that time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rows of a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Numbers of the rows that this load wrote, in no order, one a row.
    pub numbers: Vec<u64>,
    /// Rows that it did not.
    pub others: u64,
}

/// Reads the target's table.
pub struct Export<'a> {
    client: reqwest::Client,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    target: Target,
    /// Whether all replicas see one table.
    shared: bool,
    plan: &'a LoadPlan,
}

/// The last line of a page.
#[derive(Deserialize)]
struct End {
    next: Option<String>,
}

/// A page as it came.
struct Page {
    rows: Vec<String>,
    next: Option<String>,
}

impl<'a> Export<'a> {
    /// Of the replicas that are ready as it is read, for the rows that `plan` writes.
    ///
    /// # Errors
    /// The system's resources for HTTP cannot be had.
    pub fn new(
        endpoints: watch::Receiver<Vec<Endpoint>>,
        spec: &Spec,
        target: Target,
        plan: &'a LoadPlan,
    ) -> Result<Self, String> {
        let services = &spec.services;
        let store = match target {
            Target::UserService => services.user_service.as_ref().map(|service| service.store),
            Target::MessageService => services.message_service.as_ref().map(|service| service.store),
        };
        let shared = store != Some(StoreEngine::Memory);
        let client = http::client(PER_PAGE).map_err(|error| causes(&error))?;
        Ok(Self { client, endpoints, target, shared, plan })
    }

    /// Reads it from beginning to end. What each replica keeps for itself is read from each that is there.
    ///
    /// # Errors
    /// A page did not come, however often it was asked for; or `deadline` has passed.
    pub async fn rows(&mut self, deadline: Instant) -> Result<Rows, String> {
        let mut rows = Rows::default();
        if self.shared {
            self.table(None, deadline, &mut rows).await?;
            return Ok(rows);
        }
        let all = self.endpoints.borrow().clone();
        for endpoint in &all {
            self.table(Some(endpoint), deadline, &mut rows).await?;
        }
        Ok(rows)
    }

    async fn table(&mut self, only: Option<&Endpoint>, deadline: Instant, rows: &mut Rows) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = self.page(only, after.as_deref(), deadline).await?;
            for row in page.rows {
                match templates::number(self.target, &row).filter(|n| self.plan.numbers(*n)) {
                    Some(n) => rows.numbers.push(n),
                    None => rows.others += 1,
                }
            }
            match page.next {
                None => return Ok(()),
                next => after = next,
            }
        }
    }

    /// Asks one replica after the other until one answers.
    async fn page(&mut self, only: Option<&Endpoint>, after: Option<&str>, deadline: Instant) -> Result<Page, String> {
        let mut last = "no replica is ready".to_owned();
        let deadline = deadline.min(Instant::now() + PATIENCE);
        for turn in 0.. {
            if turn > 0 {
                tokio::time::sleep(AGAIN).await;
            }
            if Instant::now() >= deadline {
                break;
            }
            let ready = self.endpoints.borrow_and_update().clone();
            let turns = ready.len().max(1);
            let Some(endpoint) = only.or_else(|| ready.get(turn % turns)) else { continue };
            match self.ask(endpoint, after).await {
                Ok(page) => return Ok(page),
                Err(problem) => last = format!("{} did not give its rows: {problem}", endpoint.replica),
            }
        }
        Err(last)
    }

    async fn ask(&self, endpoint: &Endpoint, after: Option<&str>) -> Result<Page, String> {
        let url = format!("http://{}/export", endpoint.address);
        let mut query =
            BTreeMap::from([("table", templates::table(self.target).to_owned()), ("limit", PAGE.to_string())]);
        query.extend(after.map(|after| ("after", after.to_owned())));
        let url = reqwest::Url::parse_with_params(&url, &query).map_err(|error| error.to_string())?;
        let answer = self.client.get(url).send().await.map_err(|error| causes(&error.without_url()))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| causes(&error.without_url()))?;
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)])));
        }
        read(&body)
    }
}

/// Lines of JSON: texts, then where the next page begins.
fn read(body: &[u8]) -> Result<Page, String> {
    let lines = body.strip_suffix(b"\n").ok_or("the page was cut")?;
    let (rows, end) = lines.iter().rposition(|byte| *byte == b'\n').map_or((&[][..], lines), |at| {
        let (rows, end) = lines.split_at(at);
        (rows, &end[1..])
    });
    let end: End = serde_json::from_slice(end).map_err(|_unread| "the page was cut")?;
    let rows = rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice);
    let rows = rows.collect::<Result<_, _>>().map_err(|error| format!("a row is no text: {error}"))?;
    Ok(Page { rows, next: end.next })
}

#[cfg(test)]
mod tests {
    use lab_core::spec::parse;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SPEC: &str = "
question: q
services: { user-service: { store: sqlite } }
load: { target: user-service, mix: { create: 100% }, phases: [ { name: a, rate: 10/s, for: 1s } ] }";

    /// Answers each request with the body that `answer` makes of its path, 503 for none.
    async fn replica(name: &str, answer: impl Fn(&str) -> Option<String> + Send + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a request"));
                }
                let head = String::from_utf8(head).expect("text");
                let path = head.split(' ').nth(1).expect("a path");
                let (status, body) = answer(path).map_or((503, String::new()), |body| (200, body));
                let length = body.len();
                let text =
                    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(text.as_bytes()).await.expect("sent");
            }
        });
        Endpoint { replica: name.to_owned(), address }
    }

    async fn rows(spec: &str, endpoints: Vec<Endpoint>) -> Result<Rows, String> {
        let spec = parse("t.yaml", spec, &[], &|_| Err("no files".to_owned())).expect("a spec").spec;
        let plan = templates::load_plan(&spec, "run.0", 1).expect("a load");
        let (_sender, endpoints) = watch::channel(endpoints);
        let mut export = Export::new(endpoints, &spec, Target::UserService, &plan).expect("a client");
        let mut rows = export.rows(Instant::now() + Duration::from_secs(20)).await?;
        rows.numbers.iter_mut().for_each(|n| *n -= plan.first_n());
        Ok(rows)
    }

    fn user(n: u64) -> String {
        let spec = parse("t.yaml", SPEC, &[], &|_| Err("no files".to_owned())).expect("a spec").spec;
        format!("\"user {}\"", templates::load_plan(&spec, "run.0", 1).expect("a load").first_n() + n)
    }

    #[tokio::test]
    async fn a_table_is_read_page_by_page_and_a_replica_that_fails_is_passed_over() {
        let away = replica("user-service-1", |_| None).await;
        let there = replica("user-service-2", |path| {
            assert!(
                path.starts_with("/export?") && path.contains("table=users") && path.contains("limit=10000"),
                "{path}"
            );
            Some(match path.split("after=").nth(1).map(|after| after.split('&').next().expect("text")) {
                None => format!("{}\n\"prepared 7\"\n\"user 3\"\n{{\"next\":\"7/é\"}}\n", user(0)),
                Some("7%2F%C3%A9") => format!("{}\n{}\n{{\"next\":null}}\n", user(2), user(2)),
                Some(other) => panic!("{other}"),
            })
        })
        .await;
        let found = rows(SPEC, vec![away, there]).await;
        assert_eq!(found, Ok(Rows { numbers: vec![0, 2, 2], others: 2 }));
    }

    #[tokio::test]
    async fn what_replicas_keep_for_themselves_is_read_from_each() {
        let one = replica("user-service-1", |_| Some(format!("{}\n{{\"next\":null}}\n", user(1)))).await;
        let two = replica("user-service-2", |_| Some(format!("{}\n{{\"next\":null}}\n", user(2)))).await;
        let spec = SPEC.replace("sqlite", "memory");
        assert_eq!(rows(&spec, vec![one, two]).await, Ok(Rows { numbers: vec![1, 2], others: 0 }));
    }

    #[test]
    fn a_cut_page_is_no_page() {
        let whole = "\"a\"\n\"b\\n\"\n{\"next\":\"x\"}\n";
        let page = read(whole.as_bytes()).expect("a page");
        assert_eq!((page.rows, page.next), (vec!["a".to_owned(), "b\n".to_owned()], Some("x".to_owned())));
        for end in 0..whole.len() {
            assert!(read(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(read(b"{\"next\":null}\n").map(|page| page.rows.len()), Ok(0));
    }
}
