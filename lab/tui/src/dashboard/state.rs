//! What is shown, and all it is drawn from.

use lab_core::unit::{RunTime, Span};
use ratatui::buffer::Buffer;

use super::pace::SILENCE;
use super::player::Player;
use super::{Dashboard, Settings, title};
use crate::app::{App, Circumstances, Facts};
use crate::columns::Columns;
use crate::frame::{Instant, dump, frame, frame_and_below, shown_index};
use crate::outside::{Outside, Still};
use crate::pane::{Extras, Footer, Logs, News, logs, news};
use crate::terminal::Progress;
use crate::timeline::{HistoryError, Known, Timeline};
use crate::view::{Mode, Panel, View};

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
    /// What a scrolled list is held by.
    held: Option<Held>,
    /// Columns and rows.
    pub size: (u16, u16),
    /// No event has come for so long; whole seconds, zero while they come.
    pub silent: Span,
}

/// The last line of a scrolled list that is seen, by which the text stands still while lines come.
struct Held {
    panel: Panel,
    filter: String,
    line: (RunTime, String),
    /// Lines after it.
    below: u16,
}

/// The shown instant, with what else a frame of it tells.
struct Shown<'a> {
    instant: Instant<'a>,
    news: &'a [News],
    /// Sentences before those.
    passed: u64,
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
            held: None,
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
        let Self { app, timeline, player, silent, logs, columns, held, size, settings, .. } = self;
        let playing = player.filter(|player| app.view.mode == Mode::Live && player.at < timeline.end());
        let shown = shown(timeline, *player, *silent, app.view.mode)?;
        let lines = lines(&app.view, &shown, logs);
        if let Some(held) = held {
            held.move_along(&lines, &mut app.view);
        }
        let facts = Facts::of(&shown.instant, shown.live, &app.view, given);
        let hints = app.hints(&facts);
        let extras = Extras {
            silent: shown.silent,
            speed: playing.map(|player| player.speed),
            news: shown.news,
            passed: shown.passed,
            logs,
            footer: app.message().map_or(Footer::Hints(&hints), Footer::Message),
        };
        let (mut buf, below) = frame_and_below(&shown.instant, &app.view, *size, settings.look, &extras, columns);
        if let Some(below) = below {
            // No further than it can be seen.
            app.view.scroll = below;
        }
        *held = below.filter(|below| *below > 0).and_then(|below| Held::of(&lines, &app.view, below));
        let area = buf.area;
        app.draw_over(&facts, area, &mut buf);
        Ok(buf)
    }

    /// The frame without what is only of the moment, so that it can be drawn again from the journal: as it was live at the shown
    /// instant.
    pub fn still(&mut self) -> Result<Still, HistoryError> {
        let Self { app, timeline, player, silent, size, settings, .. } = self;
        let shown = shown(timeline, *player, *silent, app.view.mode)?;
        let Instant { model, now, .. } = shown.instant;
        let instant = Instant { whole: model, model, now, end: now };
        let view = View { trial: app.view.trial.and_then(|_| shown_index(&instant, &app.view)), ..kept(&app.view) };
        let extras = Extras { news: shown.news, passed: shown.passed, ..Extras::still() };
        let buf = frame(&instant, &view, *size, settings.look, &extras, &mut Columns::default());
        Ok(Still {
            at: now,
            size: *size,
            text: dump::text(&buf),
            ansi: dump::ansi(&buf),
            svg: dump::svg(&buf, settings.look),
        })
    }

    /// What stands beside the screen: of the newest instant, in a replay of the shown one.
    pub fn beside(&mut self) -> Result<(String, Progress), HistoryError> {
        let look = self.settings.look;
        if self.player.is_none() {
            let newest = self.timeline.newest();
            return Ok((title::title(newest, look), title::progress(newest, self.timeline.end())));
        }
        let Instant { model, now, .. } =
            shown(&mut self.timeline, self.player, self.silent, self.app.view.mode)?.instant;
        Ok((title::title(model, look), title::progress(model, now)))
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

impl Held {
    /// None without a list.
    fn of(lines: &[(RunTime, &str)], view: &View, below: u16) -> Option<Self> {
        let (at, text) = *lines.get(lines.len().checked_sub(1 + usize::from(below))?)?;
        Some(Self { panel: view.panel, filter: view.filter.clone(), line: (at, text.to_owned()), below })
    }

    /// Scrolls by as many lines as came after it. A cursor that moves takes the list along.
    fn move_along(&self, lines: &[(RunTime, &str)], view: &mut View) {
        if view.mode != Mode::Live || view.scroll == 0 || (view.panel, &view.filter) != (self.panel, &self.filter) {
            return;
        }
        let (at, text) = &self.line;
        let after = lines.iter().rev().position(|line| line == &(*at, text.as_str()));
        let came =
            after.and_then(|after| u16::try_from(after).ok()).map_or(0, |after| after.saturating_sub(self.below));
        view.scroll = view.scroll.saturating_add(came);
    }
}

/// Lines of the list that is shown, oldest first.
fn lines<'a>(view: &View, shown: &Shown<'a>, logs: &'a Logs) -> Vec<(RunTime, &'a str)> {
    // Not scrolled, nothing is to be held.
    match view.panel {
        _ if view.scroll == 0 => Vec::new(),
        Panel::Events => {
            let found = news::found(shown.news, view, shown.instant.now);
            found.into_iter().map(|news| (news.at, news.text.as_str())).collect()
        }
        Panel::Logs => {
            let found = logs::found(logs, view, shown.instant.now);
            found.into_iter().map(|line| (line.at, line.text.as_str())).collect()
        }
        Panel::Usual | Panel::Waterfall | Panel::Replicas => Vec::new(),
    }
}

/// What a still keeps of a view. Logs are not in the journal.
fn kept(view: &View) -> View {
    let View { zoom, trial, ghost, difference, panel, .. } = *view;
    let usual = View { zoom, trial, ghost, difference, ..View::default() };
    match panel {
        Panel::Logs => usual,
        panel => View { panel, filter: view.filter.clone(), ..usual },
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
            let Known { whole, model, arrived, news, passed } = timeline.at(playing)?;
            let silent = player.map_or(silent, |player| quiet(player.at.since(arrived)));
            let now = arrived.plus(silent);
            let live = player.map_or(now, |player| player.at);
            Ok(Shown { instant: Instant { whole, model, now, end }, news, passed, silent, live })
        }
        // What came later is not seen while it is paused, and in the lanes only while a cursor moves: `frame` knows.
        Mode::Paused(t) | Mode::Scrub(t) => {
            let Known { whole, model, news, passed, .. } = timeline.at(t)?;
            let instant = Instant { whole, model, now: t, end };
            Ok(Shown { instant, news, passed, silent: Span::ZERO, live: unplayed })
        }
    }
}

/// Whole seconds of silence, once there are enough.
fn quiet(since: Span) -> Span {
    Span::from_secs(if since.to_duration() >= SILENCE { since.to_duration().as_secs() } else { 0 })
}
