//! Quantities as types: rates, CPU, memory, durations, shares. Each knows how it is written in a spec and on a screen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A quantity could not be read. Says what was found and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {what}; write it like {example}")]
pub struct UnitError {
    /// The text as it stood.
    pub found: String,
    /// What was wanted, with its article: `a rate`.
    pub what: &'static str,
    /// One or two accepted spellings.
    pub example: &'static str,
}

/// Nanoseconds since the run began, on the run's one monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunTime(pub u64);

/// A length of time in nanoseconds. Written `250ms`, `20s`, `1.5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub u64);

/// Requests a second. Written `100/s`, `6000/min`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Rate(pub f64);

/// Thousandths of a core. Written `250m` or `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millicores(pub u64);

/// Bytes of memory. Written `128Mi`, `64M`, `1Gi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

/// A share of a whole, 0.0 to 1.0 for most uses. Written `20%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Percent(pub f64);

const SECOND: u64 = 1_000_000_000;

/// Splits `12.5ms` into its number and its unit; None when there is no number or it is not finite and ≥ 0.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim()))
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, unit) = split_number(text)?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let value = number * factor;
    (value < 9.0e18).then_some(value)
}

impl Span {
    /// The zero length.
    pub const ZERO: Self = Self(0);

    /// Whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Whole seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * SECOND)
    }

    /// True of the zero length.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Seconds as a float.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    /// Milliseconds, cut toward zero.
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The same length as the standard library writes it.
    pub fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

impl RunTime {
    /// Seconds since the run began.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    /// The length between an earlier instant and this one; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The instant `span` later.
    pub fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: [(&str, f64); 7] =
            [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
        scaled(text, &UNITS).map(|ns| Self(ns.round() as u64)).ok_or_else(|| UnitError {
            found: text.to_owned(),
            what: "a duration",
            example: "`250ms`, `20s` or `5m`",
        })
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &[("/s", 1.0), ("/min", 1.0 / 60.0), ("/m", 1.0 / 60.0), ("k/s", 1e3)])
            .map(Self)
            .ok_or_else(|| UnitError { found: text.to_owned(), what: "a rate", example: "`100/s` or `6000/min`" })
    }
}

impl FromStr for Millicores {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &[("m", 1.0), ("", 1000.0)]).map(|m| Self(m.round() as u64)).ok_or_else(|| UnitError {
            found: text.to_owned(),
            what: "an amount of CPU",
            example: "`250m` or `1.5`",
        })
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: [(&str, f64); 8] = [
            ("", 1.0),
            ("Ki", 1024.0),
            ("Mi", 1_048_576.0),
            ("Gi", 1_073_741_824.0),
            ("k", 1e3),
            ("M", 1e6),
            ("G", 1e9),
            ("B", 1.0),
        ];
        scaled(text, &UNITS).map(|b| Self(b.round() as u64)).ok_or_else(|| UnitError {
            found: text.to_owned(),
            what: "an amount of memory",
            example: "`128Mi` or `1Gi`",
        })
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        // Divided rather than multiplied by 0.01, so that `7%` is the nearest number to 0.07.
        scaled(text, &[("%", 1.0)]).map(|p| Self(p / 100.0)).ok_or_else(|| UnitError {
            found: text.to_owned(),
            what: "a percentage",
            example: "`70%`",
        })
    }
}

/// Writes a number with at most three decimals and no trailing zeros.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        match self.0 {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{}ns", self.0),
            1_000..1_000_000 => write!(f, "{}us", trimmed(ns / 1e3)),
            1_000_000..SECOND => write!(f, "{}ms", trimmed(ns / 1e6)),
            n if n.is_multiple_of(3600 * SECOND) => write!(f, "{}h", n / (3600 * SECOND)),
            n if n >= 60 * SECOND && n.is_multiple_of(60 * SECOND) => write!(f, "{}m", n / (60 * SECOND)),
            _ => write!(f, "{}s", trimmed(ns / 1e9)),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", trimmed(self.0))
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STEPS: [(u64, &str); 3] = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
        match STEPS.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, name)) => write!(f, "{}{name}", trimmed(self.0 as f64 / *size as f64)),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", trimmed(self.0 * 100.0))
    }
}

/// The text with the fewest decimals that reads back as the same value.
fn shortest<T: FromStr + PartialEq>(value: &T, number: f64, unit: &str) -> String {
    let texts = (0..=17).map(|decimals| format!("{number:.decimals$}{unit}"));
    let exact = texts.into_iter().find(|text| text.parse::<T>().is_ok_and(|read| read == *value));
    exact.unwrap_or_else(|| format!("{number}{unit}"))
}

impl Span {
    /// The shortest text that reads back as the same length; what [`fmt::Display`] writes is rounded for people.
    pub fn exact(self) -> String {
        let shown = self.to_string();
        if shown.parse() == Ok(self) { shown } else { format!("{}ns", self.0) }
    }
}

impl Rate {
    /// The shortest text that reads back as the same rate.
    pub fn exact(self) -> String {
        shortest(&self, self.0, "/s")
    }
}

impl Millicores {
    /// The shortest text that reads back as the same amount.
    pub fn exact(self) -> String {
        self.to_string()
    }
}

impl Bytes {
    /// The shortest text that reads back as the same amount.
    pub fn exact(self) -> String {
        let shown = self.to_string();
        if shown.parse() == Ok(self) { shown } else { self.0.to_string() }
    }
}

impl Percent {
    /// The shortest text that reads back as the same share.
    pub fn exact(self) -> String {
        shortest(&self, self.0 * 100.0, "%")
    }
}

/// Quantities travel as the text that a spec uses, so a resolved spec reads like the one that was written.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.exact())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Span, Rate, Millicores, Bytes, Percent);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_and_write() {
        assert_eq!("250ms".parse::<Span>(), Ok(Span::from_millis(250)));
        assert_eq!("1.5m".parse::<Span>(), Ok(Span::from_secs(90)));
        assert_eq!("200us".parse::<Span>().map(|s| s.to_string()), Ok("200us".to_owned()));
        assert_eq!("6000/min".parse::<Rate>(), Ok(Rate(100.0)));
        assert_eq!("1.5".parse::<Millicores>(), Ok(Millicores(1500)));
        assert_eq!("128Mi".parse::<Bytes>().map(|b| b.to_string()), Ok("128Mi".to_owned()));
        assert_eq!("0.1%".parse::<Percent>().map(|p| p.to_string()), Ok("0.1%".to_owned()));
    }

    #[test]
    fn what_travels_is_exact() {
        for span in [1_234_567_891, 90_000_000_001, 61_000_000_000, 250_000_000, 3_600_000_000_000].map(Span) {
            assert_eq!(span.exact().parse(), Ok(span));
        }
        assert_eq!(Span::from_secs(90).exact(), "90s");
        assert_eq!("33.3333%".parse::<Percent>().map(Percent::exact), Ok("33.3333%".to_owned()));
        assert_eq!("7%".parse::<Percent>(), Ok(Percent(0.07)));
        assert_eq!("100/min".parse::<Rate>().map(|rate| rate.exact().parse()), Ok(Ok(Rate(100.0 / 60.0))));
        assert_eq!(Bytes(1_300_000_001).exact(), "1300000001");
    }

    #[test]
    fn wrong_units_say_what_is_accepted() {
        for text in ["", "abc", "10", "-5s", "1e3s", "20 parsecs", "99999999999999h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let error = "100".parse::<Rate>().expect_err("no unit");
        assert_eq!(error.to_string(), "`100` is not a rate; write it like `100/s` or `6000/min`");
    }
}
