//! The stream of samples: server-sent events of one generator, made anew from the first missing number when the connection breaks.

use std::time::Duration;

use futures_util::Stream;
use lab_core::control::Sample;
use reqwest::{Method, Response};
use tokio::time::{Instant, sleep, timeout};

use super::{CALL, GeneratorClient, Refused, accepted, failed};
use crate::EnvError;

/// How long reconnecting is tried before the stream is given up.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// A connection that carries nothing for so long is made anew, as it may be half open: a running plan gives a sample every second.
const SILENT: Duration = Duration::from_secs(5);
/// Longest event that is believed: a sample of every endpoint with its histograms is far below.
const LONGEST: usize = 16 << 20;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the connection failed")]
    Http(#[source] reqwest::Error),
    #[error("it refused")]
    Refused(#[source] Refused),
    #[error("it sent something that is no sample")]
    NoSample(#[source] serde_json::Error),
    #[error("it sent an event of more than {LONGEST} bytes")]
    TooLong,
    #[error("it ended the stream before the last sample")]
    Ended,
    #[error("it did not answer within {CALL:?}")]
    NoAnswer,
    #[error("it sent nothing for {SILENT:?}")]
    Silent,
}

struct Reader {
    client: GeneratorClient,
    /// The first number that is wanted.
    next: u64,
    connection: Option<(Response, Events)>,
    broken_since: Option<Instant>,
    over: bool,
}

pub(super) fn stream(
    client: GeneratorClient,
    from: u64,
) -> impl Stream<Item = Result<Sample, EnvError>> + Send + use<> {
    let reader = Reader { client, next: from, connection: None, broken_since: None, over: false };
    futures_util::stream::unfold(reader, |mut reader| async move {
        if reader.over {
            return None;
        }
        let item = reader.next().await;
        reader.over = item.as_ref().map_or(true, |sample| sample.last);
        Some((item, reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Sample, EnvError> {
        loop {
            match self.read().await {
                Ok(sample) => {
                    self.broken_since = None;
                    self.next = sample.seq + 1;
                    return Ok(sample);
                }
                // A plan that waits for its start is silent; whether its generator lives is for the caller to ask.
                Err(Broken::Silent) => self.connection = None,
                Err(broken) => {
                    self.connection = None;
                    let since = *self.broken_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= GIVE_UP {
                        return Err(failed(&self.client.replica, "stream its samples", broken));
                    }
                    tracing::debug!(generator = self.client.replica, %broken, "samples broke off; connecting again");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Sample, Broken> {
        let (response, events) = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert((connect(&self.client, self.next).await?, Events::default())),
        };
        loop {
            while let Some(data) = events.next() {
                let sample: Sample = serde_json::from_str(&data).map_err(Broken::NoSample)?;
                if sample.seq >= self.next {
                    return Ok(sample);
                }
            }
            let chunk = timeout(SILENT, response.chunk()).await.map_err(|_| Broken::Silent)?.map_err(Broken::Http)?;
            events.push(&chunk.ok_or(Broken::Ended)?)?;
        }
    }
}

async fn connect(client: &GeneratorClient, from: u64) -> Result<Response, Broken> {
    let request = client.request(Method::GET, &format!("/load/samples?from={from}"));
    let answer = timeout(CALL, request.send()).await.map_err(|_| Broken::NoAnswer)?;
    accepted(answer.map_err(|error| Broken::Http(error.without_url()))?).await.map_err(Broken::Refused)
}

/// Cuts bytes into events and keeps the data of each; ids, names and comments are passed over.
#[derive(Debug, Default)]
struct Events {
    buffer: Vec<u8>,
    data: String,
}

impl Events {
    fn push(&mut self, chunk: &[u8]) -> Result<(), Broken> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() + self.data.len() > LONGEST { Err(Broken::TooLong) } else { Ok(()) }
    }

    /// The data of the next whole event that has any.
    fn next(&mut self) -> Option<String> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                return Some(std::mem::take(&mut self.data));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::GeneratorAddress;

    #[test]
    fn events_are_whole_however_the_bytes_are_cut() {
        let text =
            ": hello\n\nid: 1\nevent: sample\ndata: {\"a\":1}\n\ndata:two\r\ndata: lines\r\n\r\ndata: unfinished\n";
        for size in 1..text.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                events.push(chunk).unwrap();
                found.extend(std::iter::from_fn(|| events.next()));
            }
            assert_eq!(found, ["{\"a\":1}", "two\nlines"], "chunks of {size}");
        }
    }

    fn sample(seq: u64, last: bool) -> Sample {
        Sample {
            generator: "load-generator-1".to_owned(),
            plan: "p".to_owned(),
            seq,
            from_ns: 0,
            to_ns: 1,
            phases: Vec::new(),
            in_flight_ns: 0,
            queued: 0,
            longest_queue: 0,
            in_flight: 0,
            cpu_ns: 0,
            longest_turn_ns: 0,
            endpoints: Vec::new(),
            fates: lab_core::deliveries::Fates::default(),
            last,
        }
    }

    /// Answers each connection with one of these, and tells what it was asked.
    async fn server(answers: Vec<String>) -> (GeneratorClient, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let mut caller = BufReader::new(listener.accept().await.unwrap().0);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    caller.read_line(&mut head).await.unwrap();
                }
                assert!(head.contains("authorization: Bearer secret\r\n"), "{head}");
                asked.push(head.lines().next().unwrap().to_owned());
                caller.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        let address =
            GeneratorAddress { replica: "load-generator-1".to_owned(), url, token: "secret".to_owned().into() };
        (GeneratorClient::new(&address).unwrap(), asked)
    }

    fn events(samples: &[Sample]) -> String {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned();
        samples
            .iter()
            .fold(head, |text, s| format!("{text}id: {}\ndata: {}\n\n", s.seq, serde_json::to_string(s).unwrap()))
    }

    #[tokio::test]
    async fn a_broken_stream_goes_on_where_it_broke() {
        let cut = events(&[sample(1, false), sample(2, false), sample(3, false)]);
        let cut = cut[..cut.len() - 40].to_owned();
        let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
        let rest = events(&[sample(2, false), sample(3, false), sample(4, true), sample(5, false)]);
        let (client, asked) = server(vec![cut, busy, rest]).await;
        let samples: Vec<_> = client.samples(1).map(|sample| sample.unwrap().seq).collect().await;
        assert_eq!(samples, [1, 2, 3, 4], "none twice, none after the last");
        let asked: Vec<String> = asked.await.unwrap();
        let from = |n: u64| format!("GET /load/samples?from={n} HTTP/1.1");
        assert_eq!(asked, [from(1), from(3), from(3)]);
    }
}
