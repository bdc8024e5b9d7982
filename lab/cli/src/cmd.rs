//! One file a verb. This one sends the words to the right file and builds the runtime that it needs.

mod backing;
mod clean;
mod completions;
mod doctor;
mod down;
mod experiment;
mod frame;
mod home;
mod hpa;
mod image;
mod load;
mod overview;
mod plan;
mod reap;
mod replay;
mod report;
mod runs;
mod secrets;
mod serve;
mod spec;
mod status;
mod up;
mod watch;

use std::future::Future;

use crate::args::{Args, Verb};
use crate::error::{Code, LabError};
use crate::screen;
use crate::settings::Settings;

/// Does what the words say.
///
/// # Errors
/// Whatever kept it from being done.
pub fn run(args: Args) -> Result<Code, LabError> {
    let Some(verb) = args.verb else { return start(&Settings::read()?) };
    match verb {
        Verb::Up(args) => up::run(args, Settings::read()?),
        Verb::Down(args) => block_on(down::run(args, Settings::read()?))?,
        Verb::Status(args) => block_on(status::run(args, Settings::read()?))?,
        Verb::Experiment(args) => block_on(experiment::run(args, Settings::read()?))?,
        Verb::Plan(args) => block_on(plan::run(args, Settings::read()?))?,
        Verb::Load(args) => load::run(args),
        Verb::Runs(args) => runs::run(&args, &Settings::read()?),
        Verb::Report(args) => report::run(&args, &Settings::read()?),
        Verb::Replay(args) => replay::run(&args, &Settings::read()?),
        Verb::Watch(args) => watch::run(&args, &Settings::read()?),
        Verb::Frame(args) => frame::run(&args, &Settings::read()?),
        Verb::Serve(args) => serve::run(*args),
        Verb::Image(args) => block_on(image::run(args, Settings::read()?))?,
        Verb::Doctor(args) => block_on(doctor::run(args, Settings::read()?))?,
        Verb::Clean(args) => block_on(clean::run(args, Settings::read()?))?,
        Verb::Hpa(args) => hpa::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Reap(args) => reap::run(&args),
        Verb::Backing(args) => block_on(backing::run(args))?,
        Verb::Secrets(args) => block_on(secrets::run(args))?,
    }
}

/// Without words: the home screen on a terminal, a list elsewhere.
fn start(settings: &Settings) -> Result<Code, LabError> {
    if screen::wanted(false) { home::run(settings) } else { overview::run(settings) }
}

/// Runs the conductor's side of things: one thread is plenty, and leaves the cores to what is measured.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| LabError::failed("cannot start the runtime", e))?;
    Ok(runtime.block_on(work))
}
