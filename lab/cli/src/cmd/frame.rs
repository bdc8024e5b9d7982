//! `lab frame RUN --at T`: what the live screen showed at an instant, printed. For reports of bugs, documents and comparisons: the same
//! journal, instant and flags give the same bytes.

use lab_core::model::{Model, Trial};
use lab_core::words;
use lab_tui::columns::Columns;
use lab_tui::frame::{Instant, dump, frame};
use lab_tui::look::{Look, Theme};
use lab_tui::pane::Extras;
use lab_tui::view::{Mode, Panel, View, Zoom};

use crate::args::{Frame, FrameFormat, PanelName};
use crate::config::Config;
use crate::error::{Code, LabError};
use crate::follow::Source;
use crate::instant::Size;
use crate::out;
use crate::settings::Settings;

/// Prints it.
pub fn run(args: &Frame, settings: &Settings) -> Result<Code, LabError> {
    let source = Source::find(settings, &args.run)?;
    let look = look(args)?;
    let mut timeline = source.timeline()?;
    let (trial, end) = (args.trial.map(|number| number.get() - 1), timeline.end());
    let now = source.instant(args.at, chosen(timeline.newest(), trial, &source)?, end)?;
    let news = timeline.news(if args.scrub { end } else { now }).to_vec();
    let known = timeline.at(now).map_err(|e| source.unreadable(e))?;
    chosen(known.model, trial, &source).map_err(|e| e.hint("it had not begun at that time"))?;
    let view = View {
        mode: if args.scrub { Mode::Scrub(now) } else { Mode::Live },
        trial,
        panel: args.panel.map_or(Panel::Usual, Panel::from),
        zoom: args.zoom.map_or(Zoom::Fit, Zoom::Column),
        ghost: args.ghost || args.difference,
        difference: args.difference,
        filter: args.filter.clone().unwrap_or_default(),
        ..View::default()
    };
    let instant = match args.scrub {
        true => Instant { whole: known.whole, model: known.model, now, end },
        false => Instant { whole: known.model, model: known.model, now, end: now },
    };
    let extras = Extras { news: &news, passed: known.passed, ..Extras::still() };
    let Size(width, height) = args.size;
    let buf = frame(&instant, &view, (width, height), look, &extras, &mut Columns::default());
    out::data(&match args.format {
        FrameFormat::Text => dump::text(&buf),
        FrameFormat::Ansi => dump::ansi(&buf),
        FrameFormat::Svg => dump::svg(&buf, look),
    })?;
    Ok(Code::Ok)
}

/// Where colours are seen, the user's settings count; a picture has those that were asked for, wherever it is made.
fn look(args: &Frame) -> Result<Look, LabError> {
    let flag = args.look.theme;
    let theme = match args.format {
        FrameFormat::Ansi => Config::read()?.look(flag, args.look.ascii)?.theme,
        FrameFormat::Text | FrameFormat::Svg => flag.map_or(Theme::Dark, Theme::from),
    };
    Ok(Look { theme, ascii: args.look.ascii })
}

impl From<PanelName> for Panel {
    fn from(name: PanelName) -> Self {
        match name {
            PanelName::Events => Self::Events,
            PanelName::Waterfall => Self::Waterfall,
            PanelName::Replicas => Self::Replicas,
        }
    }
}

/// The trial of an index, else the newest; None in a run without any.
fn chosen<'a>(model: &'a Model, index: Option<usize>, source: &Source) -> Result<Option<&'a Trial>, LabError> {
    let Some(index) = index else { return Ok(model.trials.last()) };
    let missing = || {
        let has = words::plural(model.trials.len() as u64, "trial");
        LabError::input(format!("run `{}` has {has}, and no trial {}", source.name(), index + 1))
    };
    model.trials.get(index).map(Some).ok_or_else(missing)
}
