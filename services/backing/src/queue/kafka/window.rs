//! What is known of the messages of one partition from its committed offset on: which are done with although others before them are not,
//! and how often each was delivered. As text it travels in the metadata of the commit, so that it outlives the process.

use std::collections::VecDeque;

/// How the text begins; what begins otherwise is not ours.
const MARK: &str = "lab1 ";
const DONE: char = '.';
const UNTOUCHED: char = '-';
/// `A` is one delivery, `z` this many or more.
const MOST_WRITTEN: u32 = 52;
/// No broker lets this much be written.
const MOST_READ: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    /// With the number of deliveries.
    Open(u32),
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The offset of the first state; none before the first message of a partition of which nothing was ever committed.
    base: Option<i64>,
    states: VecDeque<State>,
    /// What follows the last message that arrived; none before the first.
    next: Option<i64>,
}

impl Window {
    /// As it was when this offset was committed with this text; a text of others says nothing.
    pub(super) fn restore(base: Option<i64>, text: &str) -> Self {
        let states = text.strip_prefix(MARK).and_then(read).filter(|_| base.is_some()).unwrap_or_default();
        let mut window = Self { base, states, next: None };
        window.advance();
        window
    }

    /// A message came: how often it was delivered before. None when it is done with, or was here already.
    pub(super) fn arrive(&mut self, offset: i64) -> Option<u32> {
        let base = *self.base.get_or_insert(offset);
        if self.next.is_none() && offset < base {
            // The log was cut behind what was committed, and offsets are used again.
            *self = Self { base: Some(offset), ..Self::default() };
        }
        let next = self.next.or(self.base).unwrap_or(offset);
        if offset < next {
            return None;
        }
        // What the log skips is not there any more.
        for gone in next..offset {
            self.set(gone, State::Done);
        }
        self.next = Some(offset + 1);
        let receives = match self.get(offset) {
            Some(State::Done) => None,
            Some(State::Open(receives)) => Some(receives),
            None => {
                self.set(offset, State::Open(0));
                Some(0)
            }
        };
        self.advance();
        receives
    }

    pub(super) fn count(&mut self, offset: i64, receives: u32) {
        self.set(offset, State::Open(receives));
    }

    pub(super) fn done(&mut self, offset: i64) {
        self.set(offset, State::Done);
        self.advance();
    }

    /// What to commit: everything before it is done with.
    pub(super) fn base(&self) -> Option<i64> {
        self.base
    }

    /// How far this offset is from the one that would be committed.
    pub(super) fn distance(&self, offset: i64) -> usize {
        self.base.map_or(0, |base| usize::try_from(offset - base).unwrap_or(0))
    }

    /// Done with although others before them are not.
    pub(super) fn done_ahead(&self) -> usize {
        self.states.iter().filter(|state| **state == State::Done).count()
    }

    /// At most a sign for each offset, and [`MARK`].
    pub(super) fn text(&self) -> String {
        let touched = self.states.iter().rposition(|state| *state != State::Open(0)).map_or(0, |last| last + 1);
        let mut text = String::new();
        let mut states = self.states.iter().take(touched).map(|state| sign(*state)).peekable();
        while let Some(sign) = states.next() {
            let mut count = 1;
            while states.next_if_eq(&sign).is_some() {
                count += 1;
            }
            match count {
                1 => {}
                2 => text.push(sign),
                _ => text += &count.to_string(),
            }
            text.push(sign);
        }
        if text.is_empty() { text } else { format!("{MARK}{text}") }
    }

    fn index(&self, offset: i64) -> Option<usize> {
        usize::try_from(offset - self.base?).ok()
    }

    fn get(&self, offset: i64) -> Option<State> {
        self.states.get(self.index(offset)?).copied()
    }

    fn set(&mut self, offset: i64, state: State) {
        let Some(index) = self.index(offset) else { return };
        if index >= self.states.len() {
            self.states.resize(index + 1, State::Open(0));
        }
        self.states[index] = state;
    }

    fn advance(&mut self) {
        while self.states.front() == Some(&State::Done) {
            self.states.pop_front();
            self.base = self.base.map(|base| base + 1);
        }
    }
}

fn sign(state: State) -> char {
    let letter = |first: u8, nth: u32| char::from(first + u8::try_from(nth).unwrap_or(0));
    match state {
        State::Done => DONE,
        State::Open(0) => UNTOUCHED,
        State::Open(receives @ 1..=26) => letter(b'A', receives - 1),
        State::Open(receives) => letter(b'a', receives.min(MOST_WRITTEN) - 27),
    }
}

fn read(text: &str) -> Option<VecDeque<State>> {
    let mut states = VecDeque::new();
    let mut count = None;
    for sign in text.chars() {
        if let Some(digit) = sign.to_digit(10) {
            count = Some(count.unwrap_or(0) * 10 + digit as usize).filter(|count| *count <= MOST_READ);
            count?;
            continue;
        }
        let state = match sign {
            DONE => State::Done,
            UNTOUCHED => State::Open(0),
            'A'..='Z' => State::Open(u32::from(sign) - u32::from('A') + 1),
            'a'..='z' => State::Open(u32::from(sign) - u32::from('a') + 27),
            _ => return None,
        };
        states.extend(std::iter::repeat_n(state, count.take().unwrap_or(1)));
    }
    (states.len() <= MOST_READ).then_some(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(messages: i64) -> Window {
        let mut window = Window::default();
        for offset in 10..10 + messages {
            assert_eq!(window.arrive(offset), Some(0));
        }
        window
    }

    #[test]
    fn the_lowest_offset_that_is_not_done_is_committed() {
        let mut window = window(6);
        assert_eq!((window.base(), window.text()), (Some(10), String::new()));
        (10..14).for_each(|offset| window.count(offset, 1));
        window.done(12);
        window.done(13);
        assert_eq!((window.base(), &*window.text(), window.done_ahead()), (Some(10), "lab1 AA..", 2));
        window.done(10);
        window.count(11, 0);
        assert_eq!((window.base(), &*window.text(), window.distance(15)), (Some(11), "lab1 -..", 4));
        window.done(11);
        assert_eq!((window.base(), &*window.text(), window.done_ahead()), (Some(14), "", 0));
    }

    #[test]
    fn another_owner_goes_on_where_the_last_one_was() {
        let mut first = window(200);
        first.count(10, 26);
        first.count(11, 27);
        first.count(12, 1000);
        (13..150).for_each(|offset| first.done(offset));
        (151..155).for_each(|offset| first.count(offset, 3));
        assert_eq!(first.text(), "lab1 Zaz137.-4C");
        let mut second = Window::restore(first.base(), &first.text());
        let arrived: Vec<_> = (10..156).map(|offset| second.arrive(offset)).collect();
        assert_eq!(arrived[..3], [Some(26), Some(27), Some(52)]);
        assert!(arrived[3..140].iter().all(Option::is_none), "done with");
        assert_eq!(arrived[140..], [Some(0), Some(3), Some(3), Some(3), Some(3), Some(0)]);
        assert_eq!(second.arrive(150), None, "it is here already");
        assert_eq!(second.text(), first.text());
    }

    #[test]
    fn what_the_log_lost_or_skips_holds_nothing_up() {
        let mut window = Window::restore(Some(10), "lab1 A-B");
        assert_eq!(window.arrive(12), Some(2), "the first two are too old by now");
        assert_eq!(window.base(), Some(12));
        assert_eq!(window.arrive(20), Some(0));
        window.done(12);
        assert_eq!(window.base(), Some(20));
        let mut cut = Window::restore(Some(10), "lab1 .");
        assert_eq!((cut.arrive(3), cut.base()), (Some(0), Some(3)), "a log that was cut begins anew");
    }

    #[test]
    fn texts_of_others_say_nothing() {
        for text in ["", "hello", "lab2 A", "lab1 A?", "lab1 99999999999999999999999.", "lab1 100000.100000."] {
            assert_eq!(Window::restore(Some(7), text), Window::restore(Some(7), ""), "{text}");
        }
        assert_eq!(Window::restore(None, "lab1 A"), Window::default());
    }

    #[test]
    fn no_text_is_longer_than_its_window() {
        let mut window = window(300);
        for offset in 10..310 {
            window.count(offset, offset as u32 % 7 % 3);
        }
        assert!(window.text().len() <= MARK.len() + 300);
    }
}
