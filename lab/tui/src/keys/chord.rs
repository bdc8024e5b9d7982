//! One key with what is held down beside it: how it is read from settings and from the terminal, and how it is shown.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Names of keys that are not characters, as settings write them.
const NAMED: [(&str, KeyCode); 16] = [
    ("space", KeyCode::Char(' ')),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("tab", KeyCode::Tab),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("minus", KeyCode::Char('-')),
];
/// Modifiers as settings write them, in the order in which they are written.
const HELD: [(&str, KeyModifiers); 3] =
    [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)];
/// How far function keys go.
const FUNCTION_KEYS: u8 = 24;

/// A key and what is held down with it. Shift is part of a character, so `L` holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    held: KeyModifiers,
}

impl Chord {
    /// Reads `q`, `L`, `+`, `space`, `ctrl-c`, `shift-left`, `pgup`, `f1`. None when it is no key.
    pub fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut held = KeyModifiers::NONE;
        let begins = |rest: &str, name: &str| {
            rest.len() > name.len() && rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
        };
        while let Some((name, modifier)) = HELD.iter().find(|(name, _)| begins(rest, name)) {
            held |= *modifier;
            rest = &rest[name.len()..];
        }
        Some(Self::normal(code(rest)?, held))
    }

    /// The chord of a key event; None for releases and for keys that no binding can name.
    pub fn of(key: KeyEvent) -> Option<Self> {
        let known = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT;
        let usable = key.kind != KeyEventKind::Release && known.contains(key.modifiers);
        usable.then(|| Self::normal(key.code, key.modifiers))
    }

    /// The event of such a key being pressed, for scripts.
    pub fn event(self) -> KeyEvent {
        KeyEvent::new(self.code, self.held)
    }

    /// The character that it types into a line of text, if it types one.
    pub fn typed(self) -> Option<char> {
        match self.code {
            KeyCode::Char(c) if self.held.is_empty() && !c.is_control() => Some(c),
            _ => None,
        }
    }

    /// As the footer shows it: arrows as arrows where the terminal has them.
    pub fn shown(self, ascii: bool) -> String {
        let arrow = match self.code {
            KeyCode::Left => "←",
            KeyCode::Right => "→",
            KeyCode::Up => "↑",
            KeyCode::Down => "↓",
            _ => return self.to_string(),
        };
        if ascii {
            return self.to_string();
        }
        HELD.iter().filter(|(_, m)| self.held.contains(*m)).map(|(name, _)| *name).chain([arrow]).collect()
    }

    /// The name nearest to a text that is no chord.
    pub(super) fn nearest(text: &str) -> Option<&'static str> {
        let key = text.rsplit('-').next().unwrap_or(text);
        lab_core::nearest::nearest(key, NAMED.iter().map(|(name, _)| *name))
    }

    /// One spelling for what terminals report in several.
    fn normal(code: KeyCode, held: KeyModifiers) -> Self {
        match code {
            KeyCode::BackTab => Self { code: KeyCode::Tab, held: held | KeyModifiers::SHIFT },
            KeyCode::Char(c) if held.contains(KeyModifiers::CONTROL) => {
                Self { code: KeyCode::Char(c.to_ascii_lowercase()), held: held - KeyModifiers::SHIFT }
            }
            KeyCode::Char(c) if held.contains(KeyModifiers::SHIFT) => {
                Self { code: KeyCode::Char(c.to_ascii_uppercase()), held: held - KeyModifiers::SHIFT }
            }
            code => Self { code, held },
        }
    }
}

fn code(text: &str) -> Option<KeyCode> {
    let named = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, code)) = named {
        return Some(*code);
    }
    let mut characters = text.chars();
    match (characters.next()?, characters.as_str()) {
        (c, "") => (!c.is_control() && !c.is_whitespace()).then_some(KeyCode::Char(c)),
        ('f' | 'F', number) => {
            let number: u8 = number.parse().ok()?;
            (1..=FUNCTION_KEYS).contains(&number).then_some(KeyCode::F(number))
        }
        _ => None,
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, modifier) in HELD {
            if self.held.contains(modifier) {
                f.write_str(name)?;
            }
        }
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (_, KeyCode::Char('-')) => f.write_str("-"),
            (Some((name, _)), _) => f.write_str(name),
            (None, KeyCode::Char(c)) => write!(f, "{c}"),
            (None, KeyCode::F(number)) => write!(f, "f{number}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_settings_write_is_what_terminals_send() {
        let (none, shift, ctrl) = (KeyModifiers::NONE, KeyModifiers::SHIFT, KeyModifiers::CONTROL);
        let table = [
            ("q", KeyCode::Char('q'), none),
            ("L", KeyCode::Char('L'), shift),
            ("L", KeyCode::Char('l'), shift),
            ("shift-l", KeyCode::Char('L'), none),
            ("+", KeyCode::Char('+'), shift),
            ("-", KeyCode::Char('-'), none),
            ("minus", KeyCode::Char('-'), none),
            ("ctrl--", KeyCode::Char('-'), ctrl),
            ("space", KeyCode::Char(' '), none),
            ("ctrl-c", KeyCode::Char('c'), ctrl),
            ("Ctrl-C", KeyCode::Char('c'), ctrl),
            ("shift-left", KeyCode::Left, shift),
            ("shift-tab", KeyCode::BackTab, shift),
            ("pgup", KeyCode::PageUp, none),
            ("f1", KeyCode::F(1), none),
            ("alt-ctrl-x", KeyCode::Char('x'), ctrl | KeyModifiers::ALT),
        ];
        for (text, code, held) in table {
            let read = Chord::read(text).expect(text);
            assert_eq!(Some(read), Chord::of(KeyEvent::new(code, held)), "{text}");
            assert_eq!(Chord::read(&read.to_string()), Some(read), "{text} is shown as {read}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "ctrl-", "pageup", "f0", "f25", "qq", "\u{1b}", "hyper-x", "ctrl-alt-"] {
            assert_eq!(Chord::read(text), None, "{text:?}");
        }
        assert_eq!(Chord::nearest("pgupp"), Some("pgup"));
        assert_eq!(Chord::of(KeyEvent::new(KeyCode::Char('x'), KeyModifiers::SUPER)), None);
    }

    #[test]
    fn only_plain_characters_are_text() {
        for (text, typed) in [("ü", Some('ü')), ("space", Some(' ')), ("L", Some('L')), ("ctrl-u", None), ("f1", None)]
        {
            assert_eq!(Chord::read(text).expect(text).typed(), typed);
        }
    }
}
