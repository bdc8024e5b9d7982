//! Load ends when its conductor falls silent, and when the service ends.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, TOKEN, Target, plan, totals};

#[tokio::test]
async fn load_of_a_silent_conductor_is_stopped() {
    let (rig, target) = (Rig::new(&["--lease", "300ms"]), Target::start().await);
    rig.target(1, target.address).await;
    let samples = rig.samples("/load/samples?from=1").await;
    rig.put(&plan("a", 100.0, 60_000)).await;
    let silent = Instant::now();
    // Reading samples is no sign of a conductor that still thinks: only calls count.
    let all = samples.read_all().await;
    assert!(silent.elapsed() >= Duration::from_millis(290) && silent.elapsed() < Duration::from_secs(5));
    let (offered, completed) = totals(&all, 1);
    assert!(offered >= 25 && offered == completed, "{offered} {completed}");
}

#[tokio::test]
async fn the_default_load_hangs_on_nobody() {
    let target = Target::start().await;
    let rig = Rig::new(&["--lease", "100ms", "--target", &target.address.to_string()]);
    let start = Request::get("/start").header("host", "localhost").body(Body::empty()).expect("a request");
    assert_eq!(rig.send(start).await.0, 204);
    let mut samples = rig.samples("/load/samples?from=1").await;
    let sample = samples.next().await.expect("a sample");
    assert!(!sample.last && sample.to_ns >= 1_000_000_000, "it outlived many leases");
    assert!(target.hits() > 20);
}

#[tokio::test]
async fn a_service_that_ends_finishes_its_load_and_its_streams() {
    let (rig, target) = (Rig::new(&[]), Target::start().await);
    rig.target(1, target.address).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, service, app) = (CancellationToken::new(), rig.generator.service.clone(), rig.app.clone());
    let told = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move { kit::serve(&service, listener, app, told).await });
    rig.put(&plan("a", 200.0, 60_000)).await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request =
        format!("GET /load/samples?from=1 HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut text = String::new();
    let mut buffer = [0; 65536];
    while !text.contains("\"seq\":1,") {
        let n = stream.read(&mut buffer).await.expect("open");
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    stop.cancel();
    let rest = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut text)).await;
    rest.expect("the stream ends in time").expect("text");
    assert!(text.contains("\"last\":true"), "the last sample was sent");
    let ended = tokio::time::timeout(Duration::from_secs(10), serving).await.expect("in time").expect("no panic");
    ended.expect("a clean end");
}
