//! What the engine costs and how punctual it is, on this machine: `cargo run --release -p load-engine --example bench`.
//!
//! A trivial server answers on a thread of another core; the engine drives it at closed pace, then at fixed rates. CPU is the
//! engine thread's own, so requests per CPU-second do not depend on what the server costs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use lab_core::spec::Arrivals;
use lab_core::unit::{Rate, Span};
use load_engine::{Length, Options, run_once};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::thread::{CpuSet, sched_setaffinity};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n\
    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = serve()?;
    println!(
        "{:<24}{:>12}{:>14}{:>12}{:>12}{:>12}{:>12}{:>10}",
        "load", "answers/s", "answers/CPU-s", "CPU %", "p50 us", "p99 us", "lag p99 us", "validity"
    );
    for connections in [1, 64] {
        report(&format!("closed, {connections} connections"), &options(address, connections, None))?;
    }
    for rate in [1_000.0, 5_000.0, 20_000.0] {
        report(&format!("constant {rate}/s"), &options(address, 64, Some(rate)))?;
    }
    Ok(())
}

fn options(address: SocketAddr, connections: u32, rate: Option<f64>) -> Options {
    Options {
        url: format!("http://{address}/"),
        connections,
        rate: rate.map(Rate),
        length: Length::For(Span::from_secs(5)),
        warmup: Span::from_secs(1),
        arrivals: Arrivals::Constant,
        ..Options::default()
    }
}

fn report(name: &str, options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    // The process' CPU time is mostly the engine's: the server's thread is subtracted.
    let before = engine_cpu()?;
    let summary = run_once(options, |_| true)?;
    let cpu = engine_cpu()? - before;
    let all_s = summary.duration_s + options.warmup.as_secs_f64();
    let per_cpu = summary.rps * all_s / cpu;
    let us = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.0}"));
    println!(
        "{name:<24}{:>12.0}{per_cpu:>14.0}{:>12.1}{:>12}{:>12}{:>12}{:>10}",
        summary.rps,
        100.0 * cpu / all_s,
        us(summary.response.p50_us),
        us(summary.response.p99_us),
        us(summary.send_lag.p99_us),
        format!("{:?}", summary.validity),
    );
    for reason in &summary.reasons {
        println!("    {reason}");
    }
    Ok(())
}

/// CPU seconds of all threads of this process but the server's.
fn engine_cpu() -> Result<f64, Box<dyn std::error::Error>> {
    let ticks = |path: &str| -> Result<f64, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string(path)?;
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let times: Vec<f64> = fields.skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
        Ok(times.iter().sum::<f64>() / 100.0)
    };
    let mut server = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        // A thread of the engine may end between the listing and the look.
        if std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "server") {
            server += ticks(&path.join("stat").to_string_lossy())?;
        }
    }
    Ok(ticks("/proc/self/stat")? - server)
}

/// Keeps the calling thread on the last core.
fn pin() -> std::io::Result<()> {
    let mut last = CpuSet::new();
    last.set(thread::available_parallelism()?.get() - 1);
    Ok(sched_setaffinity(None, &last)?)
}

fn serve() -> Result<SocketAddr, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    thread::Builder::new().name("server".to_owned()).spawn(move || {
        if let Err(error) = pin().and_then(|()| answer(listener)) {
            eprintln!("the server failed: {error}");
        }
    })?;
    Ok(address)
}

/// One answer for each request; a request is taken to come in one piece, which the engine's do.
fn answer(listener: TcpListener) -> std::io::Result<()> {
    const LISTENER: Token = Token(usize::MAX);
    let mut poll = Poll::new()?;
    let mut listener = mio::net::TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(256);
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(60)))?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(connections.len()), Interest::READABLE)?;
                    connections.push(Some(stream));
                }
                continue;
            }
            let slot = &mut connections[event.token().0];
            let Some(stream) = slot else { continue };
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => stream.write_all(ANSWER)?,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => *slot = None,
            }
        }
    }
}
