//! Questions and lines: what is asked before something is done, and how a line is typed.

use lab_core::words;

use super::facts::Facts;
use super::{Action, App, Over};
use crate::keys::{Command, Keymap};
use crate::outside::Steer;

/// Why a replica cannot be killed any more.
pub(super) const GONE: &str = "that replica is gone";
/// Longest line that is taken, characters.
const LONGEST: usize = 500;

/// A line that is typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line(String);

impl Line {
    /// A line that begins with a text.
    pub fn of(text: &str) -> Self {
        let mut line = Self::default();
        line.insert(text);
        line
    }

    /// What stands in it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Adds text at its end, without what could steer a terminal; line breaks and tabs become blanks.
    pub fn insert(&mut self, text: &str) {
        let room = LONGEST.saturating_sub(self.0.chars().count());
        let plain = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
        self.0.extend(plain.filter(|c| !c.is_control()).take(room));
    }

    /// Does an editing command; false when it is none.
    pub fn edit(&mut self, command: Command) -> bool {
        match command {
            Command::Erase => drop(self.0.pop()),
            Command::EraseLine => self.0.clear(),
            Command::EraseWord => {
                let kept = self.0.trim_end();
                let kept = kept.rfind(' ').map_or(0, |blank| blank + 1);
                self.0.truncate(kept);
            }
            _ => return false,
        }
        true
    }
}

/// What a line is typed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A remark.
    Note,
    /// Requests a second.
    Rate,
    /// Lines and rows that are shown, at once while it is typed.
    Filter {
        /// The filter before, for those who change their mind.
        before: String,
    },
}

/// A line that is typed for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub subject: Subject,
    /// What stands there so far.
    pub line: Line,
}

impl Prompt {
    /// For the filter, which begins as it is.
    pub fn filter(now: &str) -> Self {
        Self { subject: Subject::Filter { before: now.to_owned() }, line: Line::of(now) }
    }

    /// What it asks for.
    pub fn title(&self) -> &'static str {
        match self.subject {
            Subject::Note => "note",
            Subject::Rate => "requests a second",
            Subject::Filter { .. } => "only lines and rows with",
        }
    }
}

/// A question before something that cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Kill one of these replicas.
    Kill {
        /// Those that can be chosen.
        replicas: Vec<String>,
        /// The chosen one.
        chosen: usize,
    },
    /// End this phase.
    SkipPhase(String),
    /// End the run, or take the lab down.
    Stop {
        /// What is asked.
        title: String,
        /// What it means.
        body: String,
    },
}

impl Ask {
    /// The question.
    pub fn title(&self) -> String {
        match self {
            Self::Kill { replicas, chosen } => format!("kill {}?", replicas.get(*chosen).map_or("", String::as_str)),
            Self::SkipPhase(phase) => format!("end the phase {phase} now?"),
            Self::Stop { title, .. } => title.clone(),
        }
    }

    /// What it means, a sentence a line.
    pub fn body(&self, keymap: &Keymap, ascii: bool) -> Vec<String> {
        match self {
            Self::Kill { replicas, chosen } => {
                let mut lines =
                    vec!["at once and without warning, as a crash would; the trial is then suspect".to_owned()];
                if replicas.len() > 1 {
                    let keys = [Command::Up, Command::Down].map(|command| keymap.first(command, ascii));
                    let keys = keys.into_iter().flatten().collect::<Vec<_>>().join(" ");
                    let how = if keys.is_empty() { keys } else { format!("; {keys} choose another") };
                    lines.push(format!("{} of {}{how}", chosen + 1, replicas.len()));
                }
                lines
            }
            Self::SkipPhase(_) => {
                vec!["the next one begins, or the load ends after the last; the trial is then suspect".to_owned()]
            }
            Self::Stop { body, .. } => vec![body.clone()],
        }
    }

    fn steer(self) -> Option<(Steer, String)> {
        match self {
            Self::Kill { mut replicas, chosen } => {
                let replica = (chosen < replicas.len()).then(|| replicas.swap_remove(chosen))?;
                let said = format!("asked to kill {replica}");
                Some((Steer::Kill(replica), said))
            }
            Self::SkipPhase(phase) => Some((Steer::SkipPhase, format!("asked to end the phase {phase}"))),
            Self::Stop { .. } => Some((Steer::Stop, "asked to stop".to_owned())),
        }
    }
}

impl App {
    pub(super) fn in_ask(&mut self, mut ask: Ask, command: Command, facts: &Facts) -> Vec<Action> {
        if let (Ask::Kill { replicas, chosen }, Some(by)) = (&mut ask, command.rows()) {
            *chosen = chosen.saturating_add_signed(by.into()).min(replicas.len().saturating_sub(1));
            self.over = Some(Over::Ask(ask));
            return Vec::new();
        }
        match command {
            // The run may have ended, or the replica gone, while the question stood there.
            Command::Yes => match (gone(&ask, facts), ask.steer()) {
                (None, Some((steer, said))) => {
                    self.say(said);
                    vec![Action::Steer(steer)]
                }
                (why, _) => {
                    self.say(why.unwrap_or_default());
                    Vec::new()
                }
            },
            Command::No => Vec::new(),
            _ => {
                self.over = Some(Over::Ask(ask));
                Vec::new()
            }
        }
    }

    pub(super) fn in_prompt(&mut self, mut prompt: Prompt, command: Command, facts: &Facts) -> Vec<Action> {
        let stays = prompt.line.edit(command);
        match (&prompt.subject, command) {
            (Subject::Filter { before }, Command::Cancel) => self.view.filter.clone_from(before),
            (Subject::Filter { .. }, _) => prompt.line.text().clone_into(&mut self.view.filter),
            (_, Command::Accept) => return self.accept(prompt, facts),
            _ => {}
        }
        if stays {
            self.over = Some(Over::Prompt(prompt));
        }
        Vec::new()
    }

    fn accept(&mut self, prompt: Prompt, facts: &Facts) -> Vec<Action> {
        let text = prompt.line.text().trim().to_owned();
        if text.is_empty() {
            return Vec::new();
        }
        if let Some(why) = facts.missing(crate::keys::Needs::Steerable) {
            self.say(why);
            return Vec::new();
        }
        if prompt.subject == Subject::Note {
            self.say("noted");
            return vec![Action::Steer(Steer::Note(text))];
        }
        let number = text.trim_end_matches("/s").trim().parse::<f64>().ok();
        match number.filter(|rate| (0.0..=super::steer::HIGHEST).contains(rate)) {
            Some(rate) => self.offer(rate, facts),
            None => {
                let most = words::digits(super::steer::HIGHEST);
                self.say(format!("`{text}` is not a rate; write requests a second, 0 to {most}, like 250"));
                self.over = Some(Over::Prompt(prompt));
                Vec::new()
            }
        }
    }
}

/// Why what was asked can no longer be done.
fn gone(ask: &Ask, facts: &Facts) -> Option<&'static str> {
    let missing = facts.missing(crate::keys::Needs::Steerable);
    match ask {
        Ask::Kill { replicas, chosen } => {
            let there = replicas.get(*chosen).is_some_and(|name| facts.replicas.contains(name));
            missing.or((!there).then_some(GONE))
        }
        Ask::SkipPhase(phase) => missing.or((facts.phase.as_ref() != Some(phase)).then_some("that phase is over")),
        Ask::Stop { .. } => missing,
    }
}
