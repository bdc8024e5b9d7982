//! A small HTTP server on threads whose every answer a test decides, and which can be frozen.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Ok,
    /// 204 with the Location of this key.
    Created(u64),
    Status(u16),
    /// 503 with the promise that nothing happened.
    Shed,
    /// A good answer, then the connection is closed.
    OkAndClose,
    Chunked,
    /// Nothing, ever.
    Silence,
    /// Closed before a byte.
    Close,
    /// Closed inside the body.
    CutShort,
    Reset,
    Garbage,
}

type Decide = dyn Fn(u64, &str) -> Reply + Send + Sync;

#[derive(Default)]
struct Seen {
    /// Request lines in order of arrival.
    lines: Vec<String>,
    connections: u64,
    frozen: bool,
    /// Freezes by itself when so many requests have come, for so long (None: for good).
    freeze_at: Option<(u64, Option<Duration>)>,
    frozen_for: Option<Duration>,
    stopped: bool,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    decide: Box<Decide>,
}

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// `decide` gets the number of the request, from 0, and its head.
    pub fn start(decide: impl Fn(u64, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared { seen: Mutex::default(), changed: Condvar::new(), decide: Box::new(decide) });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if for_acceptor.seen.lock().expect("no panic").stopped {
                    return;
                }
                let shared = Arc::clone(&for_acceptor);
                shared.seen.lock().expect("no panic").connections += 1;
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub fn good() -> Self {
        Self::start(|_, _| Reply::Ok)
    }

    pub fn freeze_at(&self, requests: u64, time: Option<Duration>) {
        self.shared.seen.lock().expect("no panic").freeze_at = Some((requests, time));
    }

    /// How long the freeze has really lasted.
    pub fn frozen_for(&self) -> Option<Duration> {
        self.shared.seen.lock().expect("no panic").frozen_for
    }

    pub fn lines(&self) -> Vec<String> {
        self.shared.seen.lock().expect("no panic").lines.clone()
    }

    pub fn requests(&self) -> u64 {
        self.shared.seen.lock().expect("no panic").lines.len() as u64
    }

    pub fn connections(&self) -> u64 {
        self.shared.seen.lock().expect("no panic").connections
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, requests: u64) {
        let seen = self.shared.seen.lock().expect("no panic");
        let (seen, late) = self
            .shared
            .changed
            .wait_timeout_while(seen, Duration::from_secs(10), |s| (s.lines.len() as u64) < requests)
            .expect("no panic");
        assert!(!late.timed_out(), "{} of {requests} requests within 10 s", seen.lines.len());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut seen = self.shared.seen.lock().expect("no panic");
            seen.stopped = true;
            seen.frozen = false;
        }
        self.shared.changed.notify_all();
        // One more connection wakes the acceptor; it ends then, or has ended already.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
    }
}

impl Shared {
    /// Enters a request; waits while the server is frozen. False when the server stops.
    fn enter(&self, head: &str) -> Option<u64> {
        let mut seen = self.seen.lock().expect("no panic");
        let number = seen.lines.len() as u64;
        seen.lines.push(head.lines().next().unwrap_or_default().to_owned());
        self.changed.notify_all();
        if let Some((_, time)) = seen.freeze_at.take_if(|(at, _)| *at == number) {
            seen.frozen = true;
            let began = Instant::now();
            let time = time.unwrap_or(Duration::from_secs(60));
            (seen, _) = self.changed.wait_timeout_while(seen, time, |s| !s.stopped).expect("no panic");
            seen.frozen_for = Some(began.elapsed());
            seen.frozen = false;
            self.changed.notify_all();
        }
        let seen = self.changed.wait_while(seen, |s| s.frozen && !s.stopped).expect("no panic");
        (!seen.stopped).then_some(number)
    }
}

/// One connection until either side ends it.
fn serve(mut stream: TcpStream, shared: &Shared) {
    stream.set_nodelay(true).expect("a socket");
    let mut bytes = Vec::new();
    loop {
        let Some(head) = read_request(&mut stream, &mut bytes) else { return };
        let Some(number) = shared.enter(&head) else { return };
        let answer = match (shared.decide)(number, &head) {
            Reply::Ok => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Reply::Created(key) => format!("HTTP/1.1 204 No Content\r\nLocation: /get?id={key}\r\n\r\n"),
            Reply::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
            Reply::Shed => {
                "HTTP/1.1 503 X\r\nRetry-After: 1\r\nLab-Effect: none\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
            Reply::OkAndClose => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Reply::Chunked => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
            Reply::Silence => continue,
            Reply::Close => return,
            Reply::CutShort => "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf".to_owned(),
            Reply::Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
                return;
            }
            Reply::Garbage => "\x01\x02 nothing of the sort\r\n\r\n".to_owned(),
        };
        let open = stream.write_all(answer.as_bytes()).is_ok();
        if !open || answer.contains("close") || answer.contains("half") {
            return;
        }
    }
}

/// The head of the next request; its body is read and left out.
fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            if rest.len() >= length.unwrap_or(0) {
                bytes.drain(..head.len() + 4 + length.unwrap_or(0));
                return Some(head.to_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}
