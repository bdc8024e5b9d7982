//! Sentences that are longer than their place: broken between words.

use lab_core::words::visible;
use unicode_width::UnicodeWidthChar as _;

use crate::canvas::width;

/// The lines of a text, each of at most `most` columns; words that are longer are broken. At least one line, unless `most` is 0.
pub fn wrap(text: &str, most: u16) -> Vec<String> {
    if most == 0 {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    for word in visible(text).split(' ').filter(|word| !word.is_empty()) {
        let line = lines.last().map_or(0, |line| width(line));
        let gap = u16::from(line > 0);
        if line > 0 && line.saturating_add(gap).saturating_add(width(word)) > most {
            lines.push(String::new());
        }
        add(&mut lines, word, most);
    }
    lines
}

/// Adds a word to the last line, and to further ones as far as it is longer than a line.
fn add(lines: &mut Vec<String>, word: &str, most: u16) {
    let gap = lines.last().is_some_and(|line| !line.is_empty());
    if let (Some(line), true) = (lines.last_mut(), gap) {
        line.push(' ');
    }
    for c in word.chars() {
        let full =
            lines.last().is_some_and(|line| usize::from(width(line)) + c.width().unwrap_or(0) > usize::from(most));
        if full && lines.last().is_some_and(|line| !line.is_empty()) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
}

/// The end of a text, of at most `most` columns: what one sees of a line that is typed.
pub fn tail(text: &str, most: u16) -> String {
    let text = visible(text);
    let mut left = usize::from(most);
    let mut kept: Vec<char> = Vec::new();
    for c in text.chars().rev() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        kept.push(c);
    }
    kept.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_where_that_is_possible() {
        assert_eq!(wrap("put the cursor a column back", 10), ["put the", "cursor a", "column", "back"]);
        assert_eq!(wrap("autoscale-users-k3f", 8), ["autoscal", "e-users-", "k3f"]);
        assert_eq!(wrap("", 5), [""]);
        assert!(wrap("a", 0).is_empty());
        for most in 1..20 {
            let lines = wrap("größer 漢字漢字 is wide\u{1b}[31m", most);
            assert!(lines.iter().all(|line| width(line) <= most.max(2)), "{lines:?}");
        }
    }

    #[test]
    fn the_tail_is_what_fits() {
        assert_eq!(tail("abcdef", 3), "def");
        assert_eq!(tail("ab漢", 2), "漢");
        assert_eq!(tail("ab漢", 1), "");
    }
}
