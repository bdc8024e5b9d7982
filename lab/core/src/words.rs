//! How numbers and foreign text are written for people: the same on screen, in sentences and in the report.

use std::fmt::Write as _;

use crate::unit::{RunTime, Span};

/// A length of time at three significant digits with a unit: `182 ms`, `34.8 s`, `850 µs`.
pub fn duration(span: Span) -> String {
    let ns = span.0 as f64;
    let (value, unit) = match span.0 {
        0 => return "0 s".to_owned(),
        1..1_000 => (ns, "ns"),
        1_000..999_500 => (ns / 1e3, "µs"),
        999_500..999_500_000 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Three significant digits, no exponent: `0.123`, `1.23`, `12.3`, `123`, `1234`. Whole numbers stay whole.
pub fn digits(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return "?".to_owned();
    }
    if value == value.trunc() && magnitude < 1e15 {
        // Adding zero turns the negative zero of an empty sum into the usual one.
        return format!("{}", value + 0.0);
    }
    let decimals = match magnitude {
        m if m >= 99.95 => 0,
        m if m >= 9.995 => 1,
        m if m >= 0.9995 => 2,
        m if m >= 0.0995 => 3,
        m if m >= 0.00995 => 4,
        _ => 5,
    };
    let text = format!("{value:.decimals$}");
    if text.trim_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { text }
}

/// A share of a whole: `0.123 %`, `70 %`.
pub fn share(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// A rate: `400/s`.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", digits(per_second))
}

/// Bytes in binary units: `41.2 MiB`.
pub fn bytes(bytes: u64) -> String {
    const STEPS: [(f64, &str); 3] = [(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1_024.0, "KiB")];
    let value = bytes as f64;
    match STEPS.iter().find(|(size, _)| value >= *size) {
        Some((size, name)) => format!("{} {name}", digits(value / size)),
        None => format!("{bytes} B"),
    }
}

/// A count with thin groups: `24 000`, so that a column of them can be read.
pub fn count(n: u64) -> String {
    let plain = n.to_string();
    let mut out = String::with_capacity(plain.len() + 8);
    for (i, c) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// A noun with its number: `1 trial`, `3 trials`.
pub fn plural(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(n))
}

/// Minutes, seconds and tenths since an instant: `1:19.5`; `-0:03.0` before it.
pub fn clock(at: RunTime, zero: RunTime) -> String {
    let (sign, span) = if at < zero { ("-", zero.since(at)) } else { ("", at.since(zero)) };
    let tenths = (span.0.saturating_add(50_000_000)) / 100_000_000;
    format!("{sign}{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

/// Names in a row: `a`, `a and b`, `a, b and c`.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [many @ .., last] => {
            let many: Vec<_> = many.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", many.join(", "), last.as_ref())
        }
    }
}

/// Text from outside with everything made visible that could steer a terminal or turn the reading direction; line breaks become
/// spaces. Meant for one line on a terminal; Markdown and HTML need their own escapes on top.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() || steers(c) => {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Marks that change the direction of text, break lines or take no room.
fn steers(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let texts = [
            (Span(0), "0 s"),
            (Span(740), "740 ns"),
            (Span(85_000), "85 µs"),
            (Span(999_600), "1.00 ms"),
            (Span(182_400_000), "182 ms"),
            (Span(1_234_000_000), "1.23 s"),
            (Span(34_800_000_000), "34.8 s"),
            (Span(125_000_000_000), "125 s"),
        ];
        for (span, text) in texts {
            assert_eq!(duration(span), text);
        }
        assert_eq!(share(0.001_234), "0.123 %");
        assert_eq!(share(-0.0), "0 %");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(clock(RunTime(79_460_000_000), RunTime(0)), "1:19.5");
        assert_eq!(clock(RunTime(0), RunTime(3_000_000_000)), "-0:03.0");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(bytes(43_200_000), "41.2 MiB");
    }

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        assert_eq!(visible("pod\u{1b}[31m\u{202e}x\ny"), "pod\\u{1b}[31m\\u{202e}x y");
        assert_eq!(visible("größer → ok"), "größer → ok");
    }
}
