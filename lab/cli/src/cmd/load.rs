//! `lab load URL`: the load engine alone, as oha or wrk2 would be used.

mod live;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lab_core::spec::Arrivals;
use lab_core::unit::{Rate, Span};
use lab_core::words;
use lab_tui::terminal::Heed;
use load_engine::{Latencies, Length, Next, Options, Summary, Validity, run_once};

use crate::args::{Format, Load};
use crate::error::{Code, LabError};
use crate::out;
use crate::screen;

use live::Live;

/// Drives the load and prints what came of it. Ctrl-C ends it early; what was sent by then is reported.
pub fn run(args: Load) -> Result<Code, LabError> {
    let options = options(&args)?;
    let refused = |e| LabError::refused("cannot drive this load", e);
    options.check().map_err(refused)?;
    let (stop, _heed) = stopper()?;
    let mut told = Instant::now();
    let mut done = 0;
    let live = screen::wanted(args.plain || args.format == Format::Json);
    let mut live = live.then(|| Live::begin(&options, &args.look, Arc::clone(&stop))).transpose()?;
    let summary = run_once(&options, |sample| {
        let next = live.as_mut().map_or(Next::Go, |live| live.sample(sample));
        let shown = live.as_ref().is_some_and(|live| !live.has_left());
        done += sample.phases.iter().map(|phase| phase.counts.completed).sum::<u64>();
        if told.elapsed().as_secs() >= 2 && args.format == Format::Text && !shown {
            told = Instant::now();
            out::talk(&format!(
                "{:>6.1}s  {done} completed, {} in flight",
                sample.to_ns as f64 / 1e9,
                sample.in_flight
            ));
        }
        if stop.load(Ordering::Relaxed) { Next::Stop } else { next }
    });
    match live {
        Some(live) if summary.is_ok() => live.over("the load is over; its summary is printed when this is left"),
        Some(live) => live.fail(),
        None => {}
    }
    let summary = summary.map_err(refused)?;
    let printed = print(args.format, &options, &summary);
    if stop.load(Ordering::Relaxed) {
        // Where the terminal was closed, nothing can be printed there any more; the code still says why the load ended.
        if let Err(e) = printed {
            out::error(&e);
        }
        return Ok(Code::Interrupted);
    }
    printed?;
    if summary.ledger.offered > 0 && summary.ledger.completed == 0 {
        out::talk(&format!("hint: nothing was answered well; is something listening at {}?", options.url));
        return Ok(Code::EnvironmentFailed);
    }
    Ok(if summary.validity == Validity::Invalid { Code::Invalid } else { Code::Ok })
}

fn print(format: Format, options: &Options, summary: &Summary) -> Result<(), LabError> {
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(summary).map_err(|e| LabError::failed("cannot write it", e))?;
            out::line(&text)
        }
        Format::Text => out::data(&text(options, summary)),
    }
}

/// Set by the first SIGINT, SIGTERM or SIGHUP; a second one of the first two ends the process at once. A closed terminal sends SIGHUP
/// more than once, so that counts once.
fn stopper() -> Result<(Arc<AtomicBool>, Heed), LabError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let failed = |e| LabError::failed("cannot listen to signals", e);
    let heed = Heed::begin().map_err(failed)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop)).map_err(failed)?;
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    Ok((stop, heed))
}

fn options(args: &Load) -> Result<Options, LabError> {
    let wrong = |flag: &str, e: lab_core::unit::UnitError| LabError::refused(format!("cannot read {flag}"), e);
    let rate = args.rate.as_deref().map(rate).transpose().map_err(|e| wrong("--rate", e))?;
    let duration = args.duration.parse::<Span>().map_err(|e| wrong("--duration", e))?;
    let mut headers = Vec::new();
    for line in &args.headers {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            LabError::input(format!("`{line}` is no header")).hint("write it like -H \"Name: value\"")
        })?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    headers.extend(args.content_type.iter().map(|kind| ("Content-Type".to_owned(), kind.clone())));
    Ok(Options {
        url: if args.url.contains("://") { args.url.clone() } else { format!("http://{}", args.url) },
        rate,
        connections: args.connections,
        length: args.requests.map_or(Length::For(duration), Length::Requests),
        method: args.method.to_uppercase(),
        headers,
        body: body(args.body.as_deref())?,
        timeout: args.timeout.parse().map_err(|e| wrong("--timeout", e))?,
        arrivals: arrivals(&args.arrivals)?,
        seed: args.seed,
        ..Options::default()
    })
}

/// `500` and `500/s` are the same.
fn rate(text: &str) -> Result<Rate, lab_core::unit::UnitError> {
    if text.parse::<f64>().is_ok() { format!("{text}/s").parse() } else { text.parse() }
}

fn arrivals(text: &str) -> Result<Arrivals, LabError> {
    match text {
        "poisson" => Ok(Arrivals::Poisson),
        "constant" => Ok(Arrivals::Constant),
        other => Err(LabError::input(format!("`{other}` is no spacing of arrivals")).hint("poisson or constant")),
    }
}

fn body(typed: Option<&str>) -> Result<String, LabError> {
    match typed {
        None => Ok(String::new()),
        Some(text) => match text.strip_prefix('@') {
            None => Ok(text.to_owned()),
            Some(file) => {
                fs::read_to_string(file).map_err(|e| LabError::refused(format!("cannot read the body from {file}"), e))
            }
        },
    }
}

fn text(options: &Options, summary: &Summary) -> String {
    let ledger = &summary.ledger;
    let offered = options.rate.map_or_else(
        || format!("as fast as {} connections were answered", options.connections),
        |rate| format!("{rate} offered, open loop, counted from the intended time"),
    );
    let mut text = format!(
        "{}\n{offered}\n\n{} completed in {:.2} s, {}\n{} offered = {} completed + {} failed + {} dropped + {} unfinished\n\n",
        options.url,
        ledger.completed,
        summary.duration_s,
        words::rate(summary.rps),
        ledger.offered,
        ledger.completed,
        ledger.failed,
        ledger.dropped,
        ledger.unfinished,
    );
    text.push_str("              p50       p90       p99     p99.9       max\n");
    for (name, latencies) in
        [("response", &summary.response), ("service", &summary.service), ("send lag", &summary.send_lag)]
    {
        text.push_str(&row(name, latencies));
    }
    for (cause, count) in &summary.failures {
        text.push_str(&format!("\n{count} failed: {cause}"));
    }
    let validity = format!("{:?}", summary.validity).to_lowercase();
    text.push_str(&format!("\n{validity}, {:.2} s of CPU\n", summary.cpu_s));
    for reason in &summary.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text
}

fn row(name: &str, l: &Latencies) -> String {
    let shown = [l.p50_us, l.p90_us, l.p99_us, l.p999_us, l.max_us].map(time);
    format!("{name:<9}{}\n", shown.map(|t| format!("{t:>10}")).concat())
}

fn time(us: Option<f64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| words::duration(Span((us * 1000.0) as u64)))
}
