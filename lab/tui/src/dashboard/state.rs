//! What is shown, and all it is drawn from.

use lab_core::unit::{RunTime, Span};
use ratatui::buffer::Buffer;

use super::pace::SILENCE;
use super::player::Player;
use super::{Dashboard, Settings};
use crate::app::{App, Circumstances, Facts};
use crate::columns::Columns;
use crate::frame::{Instant, dump, frame};
use crate::outside::{Outside, Still};
use crate::pane::{Extras, Footer, Logs, News};
use crate::timeline::{HistoryError, Known, Timeline};
use crate::view::{Mode, Panel};

/// Everything but the terminal and its clock.
pub(super) struct State {
    pub app: App,
    pub timeline: Timeline,
    pub outside: Box<dyn Outside>,
    pub settings: Settings,
    /// Where a replay is.
    pub player: Option<Player>,
    pub logs: Logs,
    columns: Columns,
    /// Columns and rows.
    pub size: (u16, u16),
    /// No event has come for so long; whole seconds, zero while they come.
    pub silent: Span,
}

/// The shown instant, with what else a frame of it tells.
struct Shown<'a> {
    instant: Instant<'a>,
    news: &'a [News],
    silent: Span,
    /// The instant that a live frame shows; in a replay, where it plays.
    live: RunTime,
}

impl State {
    pub fn new(dashboard: Dashboard, size: (u16, u16)) -> Self {
        let Dashboard { timeline, outside, settings } = dashboard;
        Self {
            app: App::new(settings.keymap.clone(), settings.look),
            timeline,
            outside,
            player: settings.replay.map(|replay| Player { at: replay.from, speed: replay.speed }),
            settings,
            logs: Logs::default(),
            columns: Columns::default(),
            size,
            silent: Span::ZERO,
        }
    }

    /// What keys are judged by.
    pub fn facts(&mut self) -> Result<Facts, HistoryError> {
        let given = self.given();
        let shown = shown(&mut self.timeline, self.player, self.silent, self.app.view.mode)?;
        Ok(Facts::of(&shown.instant, shown.live, &self.app.view, given))
    }

    /// What is on the screen.
    pub fn frame(&mut self) -> Result<Buffer, HistoryError> {
        let given = self.given();
        let Self { app, timeline, player, silent, logs, columns, size, settings, .. } = self;
        let shown = shown(timeline, *player, *silent, app.view.mode)?;
        let facts = Facts::of(&shown.instant, shown.live, &app.view, given);
        let hints = app.hints(&facts);
        let extras = Extras {
            silent: shown.silent,
            speed: player.filter(|_| app.view.mode == Mode::Live).map(|player| player.speed),
            news: shown.news,
            logs,
            footer: app.message().map_or(Footer::Hints(&hints), Footer::Message),
        };
        let mut buf = frame(&shown.instant, &app.view, *size, settings.look, &extras, columns);
        let area = buf.area;
        app.draw_over(&facts, area, &mut buf);
        Ok(buf)
    }

    /// The frame without what is only of the moment, so that it can be drawn again from the journal.
    pub fn still(&mut self) -> Result<Still, HistoryError> {
        let Self { app, timeline, player, silent, size, settings, .. } = self;
        let shown = shown(timeline, *player, *silent, app.view.mode)?;
        let extras = Extras { news: shown.news, ..Extras::still() };
        let buf = frame(&shown.instant, &app.view, *size, settings.look, &extras, &mut Columns::default());
        Ok(Still {
            at: shown.instant.now,
            size: *size,
            text: dump::text(&buf),
            ansi: dump::ansi(&buf),
            svg: dump::svg(&buf, settings.look),
        })
    }

    fn given(&self) -> Circumstances {
        let lines = match self.app.view.panel {
            Panel::Logs => self.logs.lines.len(),
            _ => self.timeline.news(RunTime(u64::MAX)).len(),
        };
        Circumstances {
            source: self.settings.source.clone(),
            steerable: self.outside.steerable(),
            speed: self.player.map(|player| player.speed),
            size: self.size,
            lines,
        }
    }
}

/// The instant that a mode shows. A live frame shows the arrival of the newest event, and whole seconds beyond it once nothing has
/// come for a while: never a clock that the journal does not hold. A replay does the same from where it plays.
fn shown(timeline: &mut Timeline, player: Option<Player>, silent: Span, mode: Mode) -> Result<Shown<'_>, HistoryError> {
    let end = timeline.end();
    let playing = player.map_or(RunTime(u64::MAX), |player| player.at);
    let unplayed = player.map_or_else(|| end.plus(silent), |player| player.at);
    match mode {
        Mode::Live => {
            let Known { whole, model, arrived, news } = timeline.at(playing)?;
            let silent = player.map_or(silent, |player| quiet(player.at.since(arrived)));
            let now = arrived.plus(silent);
            Ok(Shown { instant: Instant { whole, model, now, end }, news, silent, live: now })
        }
        // What came later is not seen while it is paused, and in the lanes only while a cursor moves: `frame` knows.
        Mode::Paused(t) | Mode::Scrub(t) => {
            let Known { whole, model, news, .. } = timeline.at(t)?;
            Ok(Shown { instant: Instant { whole, model, now: t, end }, news, silent: Span::ZERO, live: unplayed })
        }
    }
}

/// Whole seconds of silence, once there are enough.
fn quiet(since: Span) -> Span {
    Span::from_secs(if since.to_duration() >= SILENCE { since.to_duration().as_secs() } else { 0 })
}
