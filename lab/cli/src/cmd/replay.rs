//! `lab replay RUN`: a run again, from its journal. On a terminal the live screen plays it; elsewhere its sentences are printed.

use lab_core::model::Model;
use lab_core::unit::RunTime;
use lab_tui::app;
use lab_tui::dashboard::{self, Dashboard, Left};
use lab_tui::timeline::Timeline;

use crate::args::Replay;
use crate::console::Console;
use crate::error::{Code, LabError};
use crate::follow::Source;
use crate::out;
use crate::plain::Teller;
use crate::screen;
use crate::settings::Settings;

/// Seconds of the demo that pass in one.
const DEMO_SPEED: f64 = 20.0;

/// Plays it.
pub fn run(args: &Replay, settings: &Settings) -> Result<Code, LabError> {
    let source = Source::find(settings, &args.run)?;
    let timeline = source.timeline()?;
    let from = match args.at {
        Some(at) => source.instant(at, timeline.newest().trials.last(), timeline.end())?,
        None => RunTime(0),
    };
    if !screen::wanted(args.plain) {
        return tell(&source, from);
    }
    play(args, &source, timeline, from)
}

/// On the live screen.
fn play(args: &Replay, source: &Source, timeline: Timeline, from: RunTime) -> Result<Code, LabError> {
    let (dir, usual) = match source {
        Source::Folder(dir) => (Some(dir.clone()), 1.0),
        Source::Demo => (None, DEMO_SPEED),
    };
    let mut settings = screen::settings(&args.look, app::Source::Recorded)?;
    settings.replay = Some(dashboard::Replay { from, speed: args.speed.unwrap_or(usual) });
    let dashboard = Dashboard { timeline, outside: Box::new(Console::new(dir, None)), settings };
    let left = dashboard.run().map_err(|e| LabError::failed("the replay ended early", e))?;
    Ok(match left {
        Left::Signal(_) => Code::Interrupted,
        Left::Panicked => Code::EnvironmentFailed,
        _ => Code::Ok,
    })
}

/// Every sentence from an instant on.
fn tell(source: &Source, from: RunTime) -> Result<Code, LabError> {
    let (mut teller, mut model) = (Teller::default(), Model::default());
    let mut text = String::new();
    source.each(|event| {
        model.apply(&event);
        if let Some(line) = teller.line(&event, &model)
            && event.arrived() >= from
        {
            text.push_str(&line);
            text.push('\n');
        }
    })?;
    out::data(&text)?;
    Ok(Code::Ok)
}
