//! `lab up`: services to try by hand. In the foreground until Ctrl-C or `lab down`; with `--detach` a supervisor stays.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::SyncSender;

use lab_core::plan::Plan;
use lab_core::spec::{Experiment, Set};
use lab_core::templates;
use lab_env::home::Home;
use lab_run::{Finished, Hold, Interrupt, Sink};
use lab_tui::app::Source;
use lab_tui::outside::Said;

use super::experiment::{left_running, maker, new_run, run_info};
use super::{block_on, status};
use crate::args::{Format, Up};
use crate::cmd::spec;
use crate::error::{Code, LabError};
use crate::out;
use crate::plain::Plain;
use crate::screen::{self, LiveScreen, Telling};
use crate::settings::Settings;
use crate::signals;

/// Brings the lab up.
pub fn run(args: Up, settings: Settings) -> Result<Code, LabError> {
    let experiment = resolve(&args)?;
    let settings = settings.on(Some(&args.environment), args.kubeconfig.as_deref());
    let settings = settings.with_endpoints(&args.endpoints)?.with(&args.with, experiment.spec.environment)?;
    Home::new(&settings.home).lab(&args.name).map_err(|e| LabError::refused("cannot use this name", e))?;
    if args.detach && !args.supervise { detach(&args) } else { block_on(hold(args, settings, experiment))? }
}

fn resolve(args: &Up) -> Result<Experiment, LabError> {
    let mut sets = vec![spec::environment_set(&args.environment)];
    let mut set = |path: &str, value: &Option<String>| {
        if let Some(value) = value {
            sets.push(Set { path: path.to_owned(), value: value.clone() });
        }
    };
    for service in ["user-service", "message-service"] {
        set(&format!("services.{service}.store"), &args.store);
        set(&format!("services.{service}.cache"), &args.cache);
    }
    set("services.message-service.queue", &args.queue);
    set("services.user-service.create", &args.create);
    sets.extend(spec::sets(&args.sets)?);
    spec::from_text("lab.yaml", templates::LAB_UP, &sets)
}

async fn hold(args: Up, settings: Settings, experiment: Experiment) -> Result<Code, LabError> {
    let live = screen::wanted(args.plain || args.supervise || args.format == Format::Json);
    let live = live.then(|| screen::settings(&args.look, Source::Held(args.name.clone()))).transpose()?;
    let dir = new_run(&settings, &args.name)?;
    let info = run_info(&dir, &experiment, &Plan::of(&experiment));
    dir.write_info(&info).map_err(|e| LabError::failed("cannot write the run", e))?;
    let interrupt = Interrupt::new();
    signals::listen(&interrupt).await?;
    let folder = settings.lab(&args.name);
    let live = live.map(|look| LiveScreen::over_run(&dir, folder.clone(), look)).transpose()?;
    let telling = Telling::new(live.is_none());
    let voice = live.as_ref().map(LiveScreen::voice);
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Plain::new(&telling))];
    let (name, make) = (args.name.clone(), maker(&settings));
    let hold = Hold { info, dir, name, folder, make, interrupt: interrupt.clone(), sinks };
    let shown = OnceLock::new();
    let ready = hold.run(|up| announce(&args, up, voice, &shown));
    let goes_on = || print(shown.get().map_or(Ok(()), |addresses: &String| out::data(addresses)));
    let (finished, live) = screen::beside(live, (&telling, &interrupt), "the lab", goes_on, ready).await;
    let finished = finished.map_err(|e| LabError::failed(format!("lab `{}` stopped", args.name), e));
    screen::over(live, last_words(&args.name, &finished)).await;
    let finished = finished?;
    match finished.error {
        Some(error) => Err(LabError::failed(format!("lab `{}` is not up", args.name), error)
            .hint(format!("who holds it: lab status; take it down: lab down --name {}", args.name))),
        None if !finished.left.is_empty() => Ok(left_running(&finished.left)),
        None if finished.interrupted_before_ready => Ok(Code::Interrupted),
        None => Ok(Code::Ok),
    }
}

/// What the live screen says when all is over.
fn last_words(name: &str, finished: &Result<Finished, LabError>) -> String {
    match finished {
        Err(error) => error.to_string(),
        Ok(Finished { error: Some(error), .. }) => format!("lab {name} is not up: {error}"),
        Ok(Finished { left, .. }) if !left.is_empty() => format!("left running: {}", left.join(", ")),
        Ok(_) => format!("lab {name} is down"),
    }
}

/// Everything is ready: addresses to stdout, the rest to stderr, or all of it to the live screen, and to `shown` for when that is left.
/// A supervisor always writes JSON, to the process that left it.
fn announce(args: &Up, up: &lab_run::Up, voice: Option<SyncSender<Said>>, shown: &OnceLock<String>) {
    let Ok(entry) = serde_json::to_value(up) else { return };
    // One row has to do for all of them: their ports, as all are on this machine.
    let port = |url: &str| url.rsplit_once(':').map(|(_, port)| format!(":{port}"));
    let doors = up.services.iter().filter_map(|s| Some(format!("{} {}", s.name, port(s.url.as_deref()?)?)));
    let doors = format!("ready: {}", doors.collect::<Vec<_>>().join(" · "));
    // When the screen is gone already, the sentences go on and so do the addresses.
    if voice.is_some_and(|voice| voice.try_send(Said::Message(doors)).is_ok()) {
        shown.get_or_init(|| status::text(&entry));
        return;
    }
    print(if args.supervise || args.format == Format::Json {
        out::line(&entry.to_string())
    } else {
        out::talk(&format!("ready; Ctrl-C or `lab down --name {}` ends it", up.name));
        out::data(&status::text(&entry))
    });
}

/// A lab that is up stays so, also when nobody can be told.
fn print(written: Result<(), LabError>) {
    if let Err(error) = written {
        out::error(&error);
    }
}

/// Starts the same again as a process of its own, and waits until it is ready or has failed.
fn detach(args: &Up) -> Result<Code, LabError> {
    let exe = std::env::current_exe().map_err(|e| LabError::failed("cannot find this program's own path", e))?;
    let mut command = Command::new(exe);
    command.args(std::env::args_os().skip(1)).arg("--supervise");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|e| LabError::failed("cannot start the supervisor", e))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(LabError::failed("cannot start the supervisor", "its output is not a pipe"));
    };
    let talk = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            out::talk(&line);
        }
    });
    // Until it is ready it is ours: what stops us stops it, and its code is ours.
    pass_on_signals(child.id())?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(|e| LabError::failed("the supervisor was not heard", e))?;
    if line.trim().is_empty() {
        let status = child.wait().map_err(|e| LabError::failed("the supervisor was not heard", e))?;
        // Its last words are on their way through the pipe.
        drop(talk.join());
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        return Ok(code.map_or(Code::EnvironmentFailed, Code::of));
    }
    let entry: serde_json::Value = serde_json::from_str(&line)
        .map_err(|e| LabError::failed("the supervisor said something unexpected", e).hint("lab status"))?;
    if args.format == Format::Json {
        out::data(&line)?
    } else {
        out::data(&status::text(&entry))?
    }
    Ok(Code::Ok)
}

/// Passes SIGINT, SIGTERM and SIGHUP on to a child, for as long as this process lives.
fn pass_on_signals(child: u32) -> Result<(), LabError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|e| LabError::failed("cannot listen to signals", e))?;
    std::thread::spawn(move || {
        let child = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
        for _ in &mut signals {
            if let Some(child) = child {
                // A child that is gone needs no signal.
                rustix::process::kill_process(child, rustix::process::Signal::TERM).ok();
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use lab_core::event::Outcome;
    use lab_run::RunError;

    use super::*;

    #[test]
    fn the_last_words_tell_how_it_ended() {
        let finished = |error, left: &[&str]| {
            let left = left.iter().map(ToString::to_string).collect();
            Ok(Finished { outcome: Outcome::Completed, error, left, interrupted_before_ready: false })
        };
        let failed = last_words("x", &finished(Some(RunError::NoGenerator), &[]));
        assert!(failed.starts_with("lab x is not up: "), "{failed}");
        assert_eq!(last_words("x", &finished(None, &["user-service-1"])), "left running: user-service-1");
        assert_eq!(last_words("x", &finished(None, &[])), "lab x is down");
        assert_eq!(last_words("x", &Err(LabError::input("no journal"))), "no journal");
    }
}
