//! Commands that change what is looked at: the instant, the axis, the trial, the panel.

use lab_core::unit::{RunTime, Span};

use super::facts::Facts;
use super::{Action, App};
use crate::axis::Axis;
use crate::keys::Command;
use crate::view::{Mode, Panel, View, Zoom};

/// Columns of a far step of the cursor.
const FAR: u64 = 10;
/// Slowest and fastest replay.
const SPEEDS: (f64, f64) = (0.125, 1_024.0);

/// The instant that a view shows.
pub(super) fn at(view: &View, facts: &Facts) -> RunTime {
    match view.mode {
        Mode::Live => facts.now,
        Mode::Paused(at) | Mode::Scrub(at) => at,
    }
}

impl App {
    pub(super) fn looking(&mut self, command: Command, facts: &Facts) -> Vec<Action> {
        let step = facts.column;
        let far = Span(step.0.saturating_mul(FAR));
        match command {
            Command::Pause => return self.pause(facts),
            Command::Left => self.back_by(step, facts),
            Command::FarLeft => self.back_by(far, facts),
            Command::Right => self.on_by(step, facts),
            Command::FarRight => self.on_by(far, facts),
            Command::Start => self.start(facts),
            Command::Newest => return self.newest(facts),
            Command::Faster => return self.speed(facts, 2.0),
            Command::Slower => return self.speed(facts, 0.5),
            Command::ZoomIn => self.zoom(true, facts),
            Command::ZoomOut => self.zoom(false, facts),
            Command::Fit => self.view.zoom = Zoom::Fit,
            Command::NextTrial => return self.next_trial(facts),
            Command::Ghost => {
                self.view.ghost = !self.view.ghost;
                self.view.difference &= self.view.ghost;
            }
            Command::Difference => {
                self.view.difference = !self.view.difference;
                self.view.ghost |= self.view.difference;
            }
            Command::Events => self.panel(Panel::Events),
            Command::Logs => self.panel(Panel::Logs),
            Command::Waterfall => self.panel(Panel::Waterfall),
            Command::Replicas => self.panel(Panel::Replicas),
            Command::Back => return self.back(facts),
            command => self.scroll(command.rows().unwrap_or(0), facts),
        }
        Vec::new()
    }

    fn pause(&mut self, facts: &Facts) -> Vec<Action> {
        match self.view.mode {
            Mode::Live if facts.played_out() => vec![Action::Seek(RunTime(0))],
            Mode::Live => {
                self.view.mode = Mode::Paused(facts.now);
                Vec::new()
            }
            Mode::Paused(at) | Mode::Scrub(at) => {
                self.view.mode = Mode::Live;
                // What plays goes on into the next trial, unless two are compared.
                self.view.trial = self.view.trial.filter(|_| facts.speed.is_none() || self.view.ghost);
                facts.speed.map(|_| Action::Seek(at)).into_iter().collect()
            }
        }
    }

    fn newest(&mut self, facts: &Facts) -> Vec<Action> {
        self.view.mode = Mode::Live;
        facts.speed.map(|_| Action::Seek(RunTime(u64::MAX))).into_iter().collect()
    }

    /// Where the cursor may stand: in the chosen trial, or anywhere in the run while none was chosen.
    fn bounds(&self, facts: &Facts) -> (RunTime, RunTime) {
        let chosen = self.view.trial.and(facts.window());
        let (from, to) = chosen.map_or((RunTime(0), facts.newest), |w| (w.from, w.to.min(facts.newest)));
        (from.min(to), to)
    }

    pub(super) fn scrub(&mut self, to: RunTime, facts: &Facts) {
        let (first, last) = self.bounds(facts);
        self.view.mode = Mode::Scrub(to.clamp(first, last));
    }

    fn back_by(&mut self, by: Span, facts: &Facts) {
        self.scrub(RunTime(at(&self.view, facts).0.saturating_sub(by.0)), facts);
    }

    fn on_by(&mut self, by: Span, facts: &Facts) {
        self.scrub(at(&self.view, facts).plus(by), facts);
    }

    /// Where load begins; from there or before it, where the trial begins.
    fn start(&mut self, facts: &Facts) {
        let (from, zero) = facts.window().map_or((RunTime(0), RunTime(0)), |w| (w.from, w.zero));
        let to = if at(&self.view, facts) > zero { zero } else { from };
        self.scrub(to, facts);
    }

    fn speed(&mut self, facts: &Facts, factor: f64) -> Vec<Action> {
        let speed = (facts.speed.unwrap_or(1.0) * factor).clamp(SPEEDS.0, SPEEDS.1);
        self.say(format!("replay at {}x", lab_core::words::digits(speed)));
        vec![Action::Speed(speed)]
    }

    fn zoom(&mut self, finer: bool, facts: &Facts) {
        self.view.zoom = Zoom::Column(Axis::zoomed(facts.column, finer));
    }

    /// The ghost if there is one, else the next trial, after the last the first. The newest is followed when a newer one begins. A
    /// held instant goes along: as long after the start of load as before. A replay that plays goes there and plays on.
    fn next_trial(&mut self, facts: &Facts) -> Vec<Action> {
        let shown = facts.shown.unwrap_or(0);
        let count = facts.trials.len().max(1);
        let next = facts.ghost.filter(|_| self.view.ghost).unwrap_or((shown + 1) % count);
        let windows = facts.window().zip(facts.trials.get(next).copied());
        self.view.trial = (next + 1 < count || self.view.ghost).then_some(next);
        let moved = |at: RunTime| {
            let Some((old, new)) = windows else { return at };
            let since = i128::from(at.0) - i128::from(old.zero.0);
            let at = u64::try_from((i128::from(new.zero.0) + since).max(0)).unwrap_or(u64::MAX);
            RunTime(at).clamp(new.from.min(new.to), new.to)
        };
        self.view.workload = None;
        match self.view.mode {
            // Both of a pair are known where it plays: the other one is shown without going anywhere.
            Mode::Live if facts.speed.is_some() && !self.view.ghost => {
                self.view.trial = None;
                return vec![Action::Seek(moved(facts.now))];
            }
            Mode::Live => {}
            Mode::Paused(at) | Mode::Scrub(at) => self.view.mode = Mode::Scrub(moved(at)),
        }
        Vec::new()
    }

    /// Shows a panel; asked for again, puts it away.
    fn panel(&mut self, panel: Panel) {
        self.view.panel = if self.view.panel == panel { Panel::Usual } else { panel };
        self.view.scroll = 0;
    }

    /// Undoes one step of looking closer, the newest kind first.
    fn back(&mut self, facts: &Facts) -> Vec<Action> {
        let view = &mut self.view;
        match () {
            () if !view.filter.is_empty() => view.filter.clear(),
            () if view.panel != Panel::Usual => view.panel = Panel::Usual,
            () if view.difference => view.difference = false,
            () if view.ghost => view.ghost = false,
            () if matches!(view.mode, Mode::Scrub(_)) => return self.pause(facts),
            () => {}
        }
        self.view.scroll = 0;
        Vec::new()
    }

    /// Events and logs are counted from their end, so that up is back in time; tables from their top. Only the table that was asked for
    /// has a selected row.
    fn scroll(&mut self, by: i16, facts: &Facts) {
        let scrolled = |scroll: u16, by: i16, lines: usize| {
            let most = u16::try_from(lines.saturating_sub(1)).unwrap_or(u16::MAX);
            scroll.min(most).saturating_add_signed(by).min(most)
        };
        let view = &mut self.view;
        match view.panel {
            Panel::Events | Panel::Logs => view.scroll = scrolled(view.scroll, -by, facts.lines),
            Panel::Usual | Panel::Waterfall => view.scroll = scrolled(view.scroll, by, facts.rows.len()),
            Panel::Replicas => {
                let most = facts.rows.len().saturating_sub(1);
                let at = view.selected_of(facts.rows.iter().map(String::as_str));
                view.selected = at.saturating_add_signed(by.into()).min(most);
                view.chosen = facts.rows.get(view.selected).cloned().unwrap_or_default();
            }
        }
    }
}
