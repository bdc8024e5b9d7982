//! Commands that change the run: the rate, the load, phases, replicas, its end. They come here only when the run can be steered.

use lab_core::unit::Span;
use lab_core::words;

use super::ask::{Ask, Line, Prompt, Subject};
use super::facts::{Facts, Source};
use super::{Action, App, Over};
use crate::keys::Command;
use crate::outside::Steer;
use crate::view::Panel;

/// Highest rate that can be asked for, requests a second.
pub(super) const HIGHEST: f64 = 10_000_000.0;
/// A step of the rate keys.
const STEP: f64 = 1.1;
/// How long a rate that was asked for counts as offered, before the run itself has to say so.
const BELIEVED: Span = Span::from_secs(3);

impl App {
    /// None when the command does not change the run.
    pub(super) fn steering(&mut self, command: Command, facts: &Facts) -> Option<Vec<Action>> {
        match command {
            Command::RateUp => return Some(self.offer(stepped(self.rate(facts), true), facts)),
            Command::RateDown => return Some(self.offer(stepped(self.rate(facts), false), facts)),
            Command::PhasesRate => {
                self.asked = None;
                self.say("offering what the phases say");
                return Some(vec![Action::Steer(Steer::RateOfPhases)]);
            }
            Command::PauseLoad => {
                let pause = !facts.load_paused;
                self.say(if pause { "load paused; the phases go on" } else { "load goes on" });
                return Some(vec![Action::Steer(Steer::Pause(pause))]);
            }
            Command::SetRate => {
                self.over = Some(Over::Prompt(Prompt { subject: Subject::Rate, line: Line::default() }));
            }
            Command::Note => {
                self.over = Some(Over::Prompt(Prompt { subject: Subject::Note, line: Line::default() }));
            }
            Command::SkipPhase => self.over = facts.phase.clone().map(|phase| Over::Ask(Ask::SkipPhase(phase))),
            Command::Kill => {
                let replicas = facts.replicas.clone();
                let at = self.view.selected_of(facts.rows.iter().map(String::as_str));
                let row = facts.rows.get(at).filter(|_| self.view.panel == Panel::Replicas);
                match row.map_or(Some(0), |row| replicas.iter().position(|name| name == row)) {
                    Some(chosen) => self.over = Some(Over::Ask(Ask::Kill { replicas, chosen })),
                    None => self.say(super::ask::GONE),
                }
            }
            Command::Stop => self.over = Some(Over::Ask(stop(&facts.source))),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Asks for a rate and says so.
    pub(super) fn offer(&mut self, rate: f64, facts: &Facts) -> Vec<Action> {
        self.asked = Some((rate, facts.newest));
        self.say(format!("offering {}", words::rate(rate)));
        vec![Action::Steer(Steer::Rate(rate))]
    }

    /// What is offered now: what was asked for a moment ago, else what the run says.
    fn rate(&self, facts: &Facts) -> f64 {
        let asked = self.asked.filter(|(_, at)| facts.newest.since(*at) < BELIEVED).map(|(rate, _)| rate);
        asked.or(facts.rate).unwrap_or_default()
    }
}

/// A tenth more or less in whole requests, at least one.
fn stepped(rate: f64, up: bool) -> f64 {
    let next =
        if up { (rate * STEP).round().max(rate.floor() + 1.0) } else { (rate / STEP).round().min(rate.ceil() - 1.0) };
    next.clamp(1.0, HIGHEST)
}

fn stop(source: &Source) -> Ask {
    match source {
        Source::Held(lab) | Source::Attached(lab) => Ask::Stop {
            title: format!("take {lab} down?"),
            body: "its services drain and end, and what was made for them is removed".to_owned(),
        },
        Source::Load => Ask::Stop {
            title: "stop the load?".to_owned(),
            body: "what is in flight is awaited, then the summary is written".to_owned(),
        },
        Source::Conducted | Source::Recorded => Ask::Stop {
            title: "stop the run?".to_owned(),
            body: "what is in flight is awaited, the report is written, everything is removed".to_owned(),
        },
    }
}
