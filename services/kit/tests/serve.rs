//! A served listener from its first connection to its drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::routing::get;
use kit::{Routes, ServeArgs, ServeError, Service, Stage};
use lab_core::unit::Span;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Served {
    service: Service,
    address: SocketAddr,
    stop: CancellationToken,
    done: JoinHandle<Result<(), ServeError>>,
    inside: Arc<Notify>,
    release: Arc<Notify>,
}

/// A service with `/hello` and `/slow`, which answers when it is released.
async fn serve(args: ServeArgs) -> Served {
    let service = Service::builder(&args, "example", 1).build();
    let (inside, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (inside, release) = (inside.clone(), release.clone());
        get(move || async move {
            inside.notify_one();
            release.notified().await;
            "slow"
        })
    };
    let app = Routes::new(&service).route("/hello", get(|| async { "hello" })).route("/slow", slow).finish();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let done = tokio::spawn({
        let (service, stop) = (service.clone(), stop.clone());
        async move { kit::serve(&service, listener, app, stop.cancelled_owned()).await }
    });
    Served { service, address, stop, done, inside, release }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the service listens")
    }

    async fn ended(self) -> Result<(), ServeError> {
        tokio::time::timeout(Duration::from_secs(10), self.done).await.expect("it ends").expect("no panic")
    }
}

async fn send(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("an open connection");
}

/// Head and body of the next answer; the body has a content length.
async fn receive(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        let byte = stream.read_u8().await.expect("an answer");
        bytes.push(byte);
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(bytes).expect("a head in text");
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().expect("a number"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a whole body");
    (head, String::from_utf8(body).expect("a body in text"))
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 1]))
        .await
        .expect("a close in time")
        .is_ok_and(|n| n == 0)
}

#[tokio::test]
async fn connections_are_kept() {
    let served = serve(ServeArgs::default()).await;
    let mut stream = served.connect().await;
    for _ in 0..3 {
        send(&mut stream, "/hello").await;
        let (head, body) = receive(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200") && !head.contains("connection: close"), "{head}");
        assert_eq!(body, "hello");
    }
    served.stop.cancel();
    assert!(is_closed(&mut stream).await);
    served.ended().await.expect("a clean end");
}

#[tokio::test]
async fn a_draining_service_is_unready_closes_politely_and_finishes() {
    let served = serve(ServeArgs { drain_delay: Span::from_millis(300), ..ServeArgs::default() }).await;
    let order = Arc::new(AtomicUsize::new(0));
    for expected in 0..2 {
        let order = order.clone();
        served.service.on_stop("part", async move {
            assert_eq!(order.fetch_add(1, Ordering::SeqCst), expected);
        });
    }
    let (mut slow, mut idle, mut late) = (served.connect().await, served.connect().await, served.connect().await);
    send(&mut slow, "/slow").await;
    served.inside.notified().await;
    send(&mut idle, "/hello").await;
    receive(&mut idle).await;

    served.stop.cancel();
    served.service.lifecycle().ending().await;
    let mut fresh = served.connect().await;
    send(&mut fresh, "/readyz").await;
    let (head, body) = receive(&mut fresh).await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("connection: close"), "{head}");
    assert_eq!(body, r#"{"error":"shutting down"}"#);
    assert!(is_closed(&mut fresh).await);

    served.service.lifecycle().reached(Stage::Draining).await;
    // Requests that reach kept connections now are answered, not reset.
    for stream in [&mut idle, &mut late] {
        send(stream, "/hello").await;
        let (head, _) = receive(stream).await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head}");
        assert!(is_closed(stream).await);
    }
    assert_eq!(order.load(Ordering::SeqCst), 0, "a part was stopped before the last request");
    served.release.notify_one();
    let (head, body) = receive(&mut slow).await;
    assert!(head.starts_with("HTTP/1.1 200") && body == "slow", "{head}");
    assert!(TcpStream::connect(served.address).await.is_err(), "the listener is closed");
    served.ended().await.expect("a clean end");
    assert_eq!(order.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_drain_has_a_limit() {
    let served = serve(ServeArgs { drain_limit: Span::from_millis(50), ..ServeArgs::default() }).await;
    let mut slow = served.connect().await;
    send(&mut slow, "/slow").await;
    served.inside.notified().await;
    served.stop.cancel();
    let error = served.ended().await.expect_err("the request cannot end");
    assert!(matches!(error, ServeError::DrainLimit { connections: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_part_that_does_not_stop_is_named() {
    let served = serve(ServeArgs { drain_limit: Span::from_millis(50), ..ServeArgs::default() }).await;
    served.service.on_stop("consumers", std::future::pending());
    served.stop.cancel();
    let error = served.ended().await.expect_err("a part that never ends");
    assert!(matches!(error, ServeError::Stop { part: "consumers", .. }), "{error}");
}

#[tokio::test]
async fn no_request_is_lost_when_the_service_ends_under_load() {
    let served = serve(ServeArgs { drain_delay: Span::from_millis(100), ..ServeArgs::default() }).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, answered) = (served.address, answered.clone());
            tokio::spawn(async move {
                // A refused connection is the listener's end; everything that was sent must be answered.
                while let Ok(mut stream) = TcpStream::connect(address).await {
                    loop {
                        send(&mut stream, "/hello").await;
                        let (head, _) = receive(&mut stream).await;
                        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                        answered.fetch_add(1, Ordering::Relaxed);
                        if head.contains("connection: close") {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 500 {
        tokio::task::yield_now().await;
    }
    served.stop.cancel();
    served.ended().await.expect("a clean end");
    for client in clients {
        client.await.expect("every request was answered with 200");
    }
}

#[tokio::test]
async fn probes_answer_while_the_cpu_is_busy() {
    let served = serve(ServeArgs { chaos: true, ..ServeArgs::default() }).await;
    let busy: Vec<_> = (0..12)
        .map(|_| {
            let address = served.address;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.expect("the service listens");
                send(&mut stream, "/work?cpu=15ms").await;
                receive(&mut stream).await.0
            })
        })
        .collect();
    let mut probe = served.connect().await;
    let mut waits = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        send(&mut probe, "/livez").await;
        receive(&mut probe).await;
        waits.push(begun.elapsed());
    }
    assert!(busy.iter().any(|task| !task.is_finished()), "the work was over before the probes");
    // The median: on a crowded machine a single wait tells of the machine.
    waits.sort_unstable();
    assert!(waits[5] < Duration::from_millis(20), "probes waited {waits:?} beside 180 ms of work");
    for task in busy {
        assert!(task.await.expect("no panic").starts_with("HTTP/1.1 200"));
    }
}
