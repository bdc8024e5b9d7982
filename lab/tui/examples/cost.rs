//! What looking at a run of one hour costs: `cargo run --release -p lab-tui --example cost`. Prints; decides nothing.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab_core::event::{Event, Kind, ReplicaUsage};
use lab_core::fixture::Scenario;
use lab_core::journal;
use lab_core::model::Model;
use lab_core::unit::{RunTime, Span};
use lab_tui::columns::Columns;
use lab_tui::frame::{Instant as Shown, frame};
use lab_tui::look::Look;
use lab_tui::pane::{Extras, Footer, LogLine, Logs};
use lab_tui::terminal::{Frames, show};
use lab_tui::timeline::{History, HistoryError, Place, Timeline};
use lab_tui::view::{Mode, Panel, View};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

const SIZE: (u16, u16) = (160, 45);
const FPS: u32 = 4;

type Failure = Box<dyn std::error::Error>;

/// A file that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn of(events: &[Event], name: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("lab-tui-cost-{name}-{}.ndjson", std::process::id()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        for event in events {
            writeln!(file, "{}", journal::encode(event).trim_end())?;
        }
        file.flush()?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file in the temporary folder that stays is no failure.
        std::fs::remove_file(&self.0).ok();
    }
}

/// A journal as it lies on disk: lines that are decoded when they are read.
struct Lines(std::fs::File);

fn timeline(path: &Path) -> Result<Timeline, Failure> {
    Ok(Timeline::new(Box::new(Lines(std::fs::File::open(path)?))))
}

impl History for Lines {
    fn read(&mut self, from: Place, each: &mut dyn FnMut(Event, Place) -> ControlFlow<()>) -> Result<(), HistoryError> {
        use std::io::{BufRead as _, Seek as _};
        let failed = |error: std::io::Error| HistoryError(Box::new(error));
        self.0.seek(std::io::SeekFrom::Start(from.offset)).map_err(failed)?;
        let mut lines = std::io::BufReader::with_capacity(256 << 10, &self.0);
        let (mut line, mut place) = (String::new(), from);
        while lines.read_line(&mut line).map_err(failed)? > 0 {
            let event = serde_json::from_str(&line).map_err(|error| HistoryError(Box::new(error)))?;
            place = Place { events: place.events + 1, offset: place.offset + line.len() as u64 };
            if each(event, place).is_break() {
                break;
            }
            line.clear();
        }
        Ok(())
    }
}

/// An hour in which the load goes up and down, with a reading of each replica a second.
fn hour(replicas: u32) -> Vec<Event> {
    let mut scenario = Scenario::autoscale(3);
    let steps: [(&str, f64); 6] = [("a", 60.0), ("b", 140.0), ("c", 200.0), ("d", 120.0), ("e", 180.0), ("f", 40.0)];
    scenario.phases = steps.iter().map(|(name, rate)| (*name, *rate, 600, true)).collect();
    scenario.expect = vec!["p99(b) < 250ms", "errors < 0.1%", "recovery(c) < 60s", "replicas(e) <= 4"];
    let mut events = scenario.events();
    if replicas > 0 {
        crowd(&mut events, replicas);
    }
    events
}

/// Adds a service of many replicas that are read once a second.
fn crowd(events: &mut Vec<Event>, replicas: u32) {
    let last = events.iter().map(Event::arrived).max().unwrap_or_default();
    let workload = || "user-service".to_owned();
    let name = |i: u32| format!("user-service-crowd-{i}");
    let said = |t: RunTime, kind| Event { n: 0, t, late: Span::ZERO, src: "env.local".to_owned(), clock: None, kind };
    let mut more = Vec::new();
    for i in 0..replicas {
        let t = RunTime(4_000_000_000 + u64::from(i) * 50_000_000);
        more.push(said(t, Kind::ReplicaCreated { workload: workload(), replica: name(i) }));
        let (address, pid) = ("127.0.0.1:1".to_owned(), None);
        more.push(said(t, Kind::ReplicaStarted { workload: workload(), replica: name(i), address, pid }));
        more.push(said(t, Kind::ReplicaReady { workload: workload(), replica: name(i) }));
    }
    for second in (20..last.0 / 1_000_000_000).step_by(5) {
        let usage = |i| ReplicaUsage {
            replica: name(i),
            cpu_ns: second * 100_000_000 + u64::from(i),
            rss_bytes: 20 << 20,
            throttled_ns: None,
        };
        let usages = (0..replicas).map(usage).collect();
        more.push(said(RunTime(second * 1_000_000_000), Kind::Observed { workload: workload(), replicas: usages }));
    }
    events.splice(events.len() - 1..events.len() - 1, more);
    events.sort_by_key(Event::arrived);
    for (event, n) in events.iter_mut().zip(1..) {
        event.n = n;
    }
}

fn milliseconds(mut times: Vec<Duration>) -> String {
    times.sort();
    let at =
        |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or_default();
    let ms = |t: Duration| t.as_secs_f64() * 1e3;
    format!("median {:.2} ms, p95 {:.2} ms, worst {:.2} ms", ms(at(0.5)), ms(at(0.95)), ms(at(1.0)))
}

/// Resident memory of this process, its peak, MiB; nothing where /proc is not.
fn resident() -> Option<(f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let of = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1_024.0)
    };
    Some((of("VmRSS")?, of("VmHWM")?))
}

/// A screen that writes nowhere.
struct Screen(Terminal<CrosstermBackend<Frames<std::io::Sink>>>, Frames<std::io::Sink>);

impl Screen {
    fn new() -> Result<Self, Failure> {
        let frames = Frames::new(std::io::sink());
        let viewport = Viewport::Fixed(Rect::new(0, 0, SIZE.0, SIZE.1));
        let terminal = Terminal::with_options(CrosstermBackend::new(frames.clone()), TerminalOptions { viewport })?;
        Ok(Self(terminal, frames))
    }

    fn draw(
        &mut self,
        timeline: &mut Timeline,
        view: &View,
        logs: &Logs,
        columns: &mut Columns,
    ) -> Result<(), Failure> {
        let end = timeline.end();
        let now = if let Mode::Scrub(t) = view.mode { t } else { end };
        let known = timeline.at(now)?;
        let shown = Shown { whole: known.whole, model: known.model, now, end };
        let extras = Extras {
            silent: Span::ZERO,
            speed: None,
            news: known.news,
            passed: known.passed,
            logs,
            footer: Footer::Hints(&[]),
        };
        let buf = frame(&shown, view, SIZE, Look::default(), &extras, columns);
        let synchronized = self.1.begin();
        show(&mut self.0, &buf)?;
        Ok(synchronized.end()?)
    }
}

/// Follows the last five minutes of a run as if they came now, a frame every quarter of a second. The times of reading and drawing.
fn live(
    events: &[Event],
    timeline: &mut Timeline,
    view: &View,
    logs: &mut dyn FnMut(&mut Logs),
) -> Result<Vec<Duration>, Failure> {
    let (mut screen, mut columns, mut times) = (Screen::new()?, Columns::default(), Vec::new());
    let last = events.last().map_or(RunTime(0), Event::arrived);
    let mut until = RunTime(last.0.saturating_sub(Span::from_secs(300).0));
    let behind = |until: RunTime| events.partition_point(|e| e.arrived() <= until);
    while timeline.read(behind(until) - timeline.events() as usize)? && timeline.events() < behind(until) as u64 {}
    let mut lines = Logs::default();
    screen.draw(timeline, view, &lines, &mut columns)?;
    while until < last {
        until = until.plus(Span(1_000_000_000 / u64::from(FPS)));
        let new = behind(until) - timeline.events() as usize;
        logs(&mut lines);
        let began = Instant::now();
        timeline.read(new)?;
        screen.draw(timeline, view, &lines, &mut columns)?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn main() -> Result<(), Failure> {
    if let [_, path] = std::env::args().collect::<Vec<_>>().as_slice() {
        return memory(Path::new(path));
    }
    let events = hour(0);
    let journal = Scratch::of(&events, "hour")?;
    let megabytes = std::fs::metadata(&journal.0)?.len() as f64 / 1e6;
    println!("one hour: {} events, {megabytes:.1} MB of journal", events.len());
    let mut run = timeline(&journal.0)?;
    let times = live(&events, &mut run, &View::default(), &mut |_| {})?;
    let busy: Duration = times.iter().sum();
    let share = busy.as_secs_f64() / (times.len() as f64 / f64::from(FPS));
    println!("live frame with its events, {}x{}: {}", SIZE.0, SIZE.1, milliseconds(times));
    println!("share of a core at {FPS} frames a second: {:.2} %", share * 100.0);
    parts(&mut run)?;
    per_event(&events)?;
    scrub(&mut run)?;
    crowded()?;
    let alone = std::process::Command::new(std::env::current_exe()?).arg(&journal.0).output()?;
    print!("{}", String::from_utf8_lossy(&alone.stdout));
    Ok(())
}

/// Where a frame's time goes.
fn parts(timeline: &mut Timeline) -> Result<(), Failure> {
    let model = timeline.newest().clone();
    let Some(trial) = model.current() else { return Ok(()) };
    let time = |what: &str, each: &mut dyn FnMut()| {
        let began = Instant::now();
        for _ in 0..20 {
            each();
        }
        println!("  {what}: {:.3} ms", began.elapsed().as_secs_f64() * 1e3 / 20.0);
    };
    time("judge::trial", &mut || drop(std::hint::black_box(lab_core::judge::trial(&model, trial))));
    time("episode::episodes", &mut || drop(std::hint::black_box(lab_core::episode::episodes(&model, trial))));
    time("validity::checks", &mut || drop(std::hint::black_box(lab_core::validity::checks(&model, trial))));
    time("Model::clone", &mut || drop(std::hint::black_box(model.clone())));
    time("Model::heap_bytes", &mut || {
        std::hint::black_box(model.heap_bytes());
    });
    let (mut screen, mut columns) = (Screen::new()?, Columns::default());
    let view = View::default();
    let mut failed = None;
    time("the same frame again", &mut || {
        failed = screen.draw(timeline, &view, &Logs::default(), &mut columns).err().or(failed.take());
    });
    failed.map_or(Ok(()), Err)
}

/// What reading and folding one event takes.
fn per_event(events: &[Event]) -> Result<(), Failure> {
    let lines: Vec<String> = events.iter().map(journal::encode).collect();
    let began = Instant::now();
    for line in &lines {
        std::hint::black_box(serde_json::from_str::<Event>(line)?);
    }
    let decoded = began.elapsed();
    let began = Instant::now();
    std::hint::black_box(Model::of(events));
    let folded = began.elapsed();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / events.len() as f64;
    println!("an event: {:.1} µs to decode, {:.1} µs to fold", each(decoded), each(folded));
    Ok(())
}

/// 200 instants in an order without order.
fn scrub(timeline: &mut Timeline) -> Result<(), Failure> {
    let (mut screen, mut columns, logs) = (Screen::new()?, Columns::default(), Logs::default());
    let (mut seed, mut whole, mut fold) = (88_172_645_463_325_252_u64, Vec::new(), Vec::new());
    for _ in 0..200 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let t = RunTime(seed % timeline.end().0);
        let began = Instant::now();
        timeline.at(t)?;
        fold.push(began.elapsed());
        screen.draw(timeline, &View { mode: Mode::Scrub(t), ..View::default() }, &logs, &mut columns)?;
        whole.push(began.elapsed());
    }
    println!("scrub to a random instant: {} (of that the model: {})", milliseconds(whole), milliseconds(fold));
    println!(
        "keyframes: {:.1} MiB; the model: {:.1} MiB",
        timeline.keyframe_bytes() as f64 / 1_048_576.0,
        timeline.newest().heap_bytes() as f64 / 1_048_576.0
    );
    Ok(())
}

/// 200 replicas, and 10,000 lines of logs a second of which equal ones were merged.
fn crowded() -> Result<(), Failure> {
    let events = hour(200);
    let journal = Scratch::of(&events, "crowd")?;
    let mut number = 0_u64;
    let mut more = |logs: &mut Logs| {
        for _ in 0..250 {
            number += 1;
            let (replica, text) =
                (format!("user-service-crowd-{}", number % 200), format!("request {number} answered"));
            logs.lines.push(LogLine { at: RunTime(u64::MAX), replica, text, times: 10 });
        }
        logs.read += 2_500;
        let gone = logs.lines.len().saturating_sub(2_000);
        logs.lines.drain(..gone);
        logs.passed += gone as u64;
    };
    for (name, panel) in [("table", Panel::Usual), ("logs", Panel::Logs), ("waterfall", Panel::Waterfall)] {
        let view = View { panel, ..View::default() };
        let times = live(&events, &mut timeline(&journal.0)?, &view, &mut more)?;
        println!("200 replicas, 10,000 log lines a second, {name}: {}", milliseconds(times));
    }
    Ok(())
}

/// What a process holds that has read, drawn and scrubbed through an hour.
fn memory(path: &Path) -> Result<(), Failure> {
    let mut run = timeline(path)?;
    while run.read(1_000)? {}
    let read = resident();
    println!("in a process of its own:");
    scrub(&mut run)?;
    if let (Some(read), Some(after)) = (read, resident()) {
        println!(
            "resident: {:.1} MiB when all is read, {:.1} MiB after scrubbing, at most {:.1} MiB",
            read.0, after.0, after.1
        );
    }
    Ok(())
}
