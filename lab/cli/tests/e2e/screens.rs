//! The screens beside that of a run that goes on: home, a run that is played again, a load without a lab.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::bench::{Bench, stderr};
use super::pty::{ENTER, LEFT, Terminal};

/// Puts the run that comes with the binary among the bench's own.
fn recorded(bench: &Bench, id: &str) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/autoscale-users.ndjson.gz");
    let folder = bench.path().join("runs").join(id);
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut journal = std::fs::File::create(folder.join("events.ndjson")).expect("a journal");
    let packed = std::fs::File::open(packed).expect("the demo");
    std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut journal).expect("it unpacks");
    let reported = bench.run(&["report", id]);
    assert_eq!(reported.status.code(), Some(0), "{}", stderr(&reported));
}

#[test]
fn from_home_a_run_is_found_and_played_and_what_stays_up_is_named() {
    let bench = Bench::new();
    recorded(&bench, "2026-01-02-0304-autoscale-users-abc");
    let up = bench.run(&["up", "--detach"]);
    assert_eq!(up.status.code(), Some(0), "{}", stderr(&up));

    let mut home = Terminal::start(&bench, &[]);
    let listed = home.shows("enter start");
    for row in [" experiments, 1 lab, 2 runs", "queue-backlog", "lab  local  up", "2026-01-02-0304-autoscale-users-abc"]
    {
        assert!(listed.contains(row), "`{row}` is not in {listed}");
    }
    let own = bench.run_dir().expect("the lab's run");
    let own = own.file_name().and_then(|name| name.to_str()).expect("an id").to_owned();
    home.press("/");
    home.press("autoscale-users");
    home.shows("only those with: autoscale-users");
    home.press(ENTER);
    let filtered = home.hides("enter ok");
    assert!(filtered.contains("2026-01-02-0304-autoscale-users-abc") && !filtered.contains(&own), "{filtered}");

    home.press("\t\t");
    home.shows("enter replay");
    home.press(ENTER);
    home.is_in("REPLAY 1x");
    home.press("q");
    home.shows(" experiments, 1 lab, 2 runs");
    home.press("q");
    let left = home.end();
    assert_eq!(left.code, 0, "{}", left.screen);
    let last = left.screen.lines().rfind(|line| !line.starts_with("[exit code")).expect("a line");
    assert_eq!(last, "lab lab stays up; remove it with: lab down --name lab");
    let down = bench.run(&["down"]);
    assert_eq!(down.status.code(), Some(0), "{}", stderr(&down));
}

#[test]
fn the_demo_is_played_to_its_end_in_seconds() {
    let bench = Bench::new();
    let began = Instant::now();
    let mut terminal = Terminal::start(&bench, &["replay", "demo"]);
    terminal.is_in("REPLAY 20x");
    terminal.press(" ");
    let paused = terminal.is_in("PAUSED");
    assert!(paused.contains("space play"), "{paused}");
    terminal.press(" ");
    terminal.is_in("REPLAY 20x");
    terminal.is_in("│ over │");
    assert!(began.elapsed() < Duration::from_secs(12), "after {:?}", began.elapsed());
    terminal.press(LEFT);
    terminal.is_in("SCRUB");
    terminal.press("+");
    terminal.shows("this is a recording: what happened cannot be changed");
    terminal.press("q");
    let ended = terminal.end_of_all();
    assert_eq!(ended.code, 0, "{}", ended.screen);
}

/// Answers every request with 204 until its listener's last connection is closed.
fn target() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // Both end with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        request.extend_from_slice(&chunk[..n]);
        while let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            request.drain(..end + 4);
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_load_is_shown_and_its_summary_stays() {
    let bench = Bench::new();
    let url = format!("http://{}/", target());
    let mut terminal = Terminal::start(&bench, &["load", &url, "-r", "200", "-d", "5s", "--arrivals", "constant"]);
    terminal.is_in("LIVE");
    let shown = terminal.has_loaded_for(3);
    for lane in ["load      240/s", "latency", "backlog", "errors", "generator"] {
        assert!(shown.contains(lane), "`{lane}` is not in {shown}");
    }
    terminal.shows("the load is over; its summary is printed when this is left");
    terminal.press("q");
    let ended = terminal.end_of_all();
    for line in ["200/s offered, open loop", " completed + 0 failed + ", "p99", "s of CPU"] {
        assert!(ended.screen.contains(line), "`{line}` is not in {}", ended.screen);
    }
    // A machine that kept the generator from its CPU makes it invalid.
    let expected = if ended.screen.contains("\ninvalid, ") { 4 } else { 0 };
    assert_eq!(ended.code, expected, "{}", ended.screen);
}
