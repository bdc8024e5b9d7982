//! How users name an instant of a run and a size of a screen.

use std::fmt;
use std::str::FromStr;

use lab_core::unit::{RunTime, Span};
use lab_core::words;

const SECOND: u64 = 1_000_000_000;
/// Most columns and rows of a screen.
const MOST: u16 = 1_000;

/// An instant, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest.
    End,
    /// After the load of the trial began.
    SinceLoad(Span),
    /// Before it began.
    BeforeLoad(Span),
    /// After the run began.
    Run(RunTime),
}

/// Text names no instant or size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(&'static str);

impl FromStr for At {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        const WRONG: Unreadable = Unreadable("write it like `1:19.5`, `79.5s`, `-5s`, `run:81.25s` or `end`");
        if text == "end" {
            return Ok(Self::End);
        }
        if let Some(since_run) = text.strip_prefix("run:") {
            return length(since_run).map(|span| Self::Run(RunTime(span.0))).ok_or(WRONG);
        }
        match text.strip_prefix('-') {
            Some(before) => length(before).map(Self::BeforeLoad).ok_or(WRONG),
            None => length(text).map(Self::SinceLoad).ok_or(WRONG),
        }
    }
}

/// `1:19.5`, `1:02:03` or `79.5s`, exact to the nanosecond.
fn length(text: &str) -> Option<Span> {
    if let Some(seconds) = text.strip_suffix('s') {
        return decimal(seconds).map(Span);
    }
    let (whole, seconds) = text.rsplit_once(':')?;
    let seconds = decimal(seconds).filter(|ns| *ns < 60 * SECOND)?;
    let minutes = match whole.split_once(':') {
        None => digits(whole)?,
        Some((hours, minutes)) => {
            digits(hours)?.checked_mul(60)?.checked_add(digits(minutes).filter(|minutes| *minutes < 60)?)?
        }
    };
    minutes.checked_mul(60 * SECOND)?.checked_add(seconds).map(Span)
}

/// The length of a column of the screen.
///
/// # Errors
/// It is none.
pub fn column(text: &str) -> Result<Span, Unreadable> {
    length(text).filter(|span| !span.is_zero()).ok_or(Unreadable("a column is so long: `2s`, `1:30`"))
}

/// Seconds with at most nine decimals, in nanoseconds.
fn decimal(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let nanoseconds = digits(part).filter(|_| part.len() <= 9)? * 10_u64.pow(9 - part.len() as u32);
    digits(whole)?.checked_mul(SECOND)?.checked_add(nanoseconds)
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl At {
    /// The instant in a run whose newest event is at `end`, with the load of the trial beginning at `zero`. None: it is not within the run.
    pub fn within(self, zero: RunTime, end: RunTime) -> Option<RunTime> {
        let at = match self {
            Self::End => end,
            Self::SinceLoad(span) => RunTime(zero.0.checked_add(span.0)?),
            Self::BeforeLoad(span) => RunTime(zero.0.checked_sub(span.0)?),
            Self::Run(at) => at,
        };
        (at <= end).then_some(at)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |span: &Span| words::clock(RunTime(span.0), RunTime(0));
        match self {
            Self::End => f.write_str("the end"),
            Self::SinceLoad(span) => write!(f, "{} since the load began", clock(span)),
            Self::BeforeLoad(span) => write!(f, "{} before the load began", clock(span)),
            Self::Run(at) => {
                let exact = format!("{}.{:09}", at.0 / SECOND, at.0 % SECOND);
                write!(f, "run:{}s", exact.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }
}

/// Columns and rows of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u16, pub u16);

impl FromStr for Size {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let number = |text: &str| digits(text).and_then(|n| u16::try_from(n).ok()).filter(|n| (1..=MOST).contains(n));
        let parts = text.split_once('x').and_then(|(width, height)| Some(Self(number(width)?, number(height)?)));
        parts.ok_or(Unreadable("a size is columns x rows, each 1 to 1000: 100x30"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_exact() {
        let table = [
            ("end", At::End),
            ("1:19.5", At::SinceLoad(Span(79_500_000_000))),
            ("0:05", At::SinceLoad(Span(5_000_000_000))),
            ("1:02:03", At::SinceLoad(Span::from_secs(3_723))),
            ("79.5s", At::SinceLoad(Span(79_500_000_000))),
            ("-5s", At::BeforeLoad(Span::from_secs(5))),
            ("-0:03.2", At::BeforeLoad(Span::from_millis(3_200))),
            ("run:81.250000001s", At::Run(RunTime(81_250_000_001))),
            ("run:0s", At::Run(RunTime(0))),
        ];
        for (text, at) in table {
            assert_eq!(text.parse(), Ok(at), "{text}");
        }
        assert_eq!(At::Run(RunTime(81_250_000_001)).to_string(), "run:81.250000001s");
        assert_eq!(At::Run(RunTime(100 * SECOND)).to_string(), "run:100s");
        for wrong in [
            "",
            "5",
            "s",
            "1:60",
            "1:75:00",
            "run:",
            "run:-1s",
            "--5s",
            "1.0000000001s",
            "99999999999999999999s",
            ":5",
            "1e3s",
        ] {
            assert!(wrong.parse::<At>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_is_within_the_run_can_be_shown() {
        let (zero, end) = (RunTime(4 * SECOND), RunTime(100 * SECOND));
        let within = |text: &str| text.parse::<At>().ok().and_then(|at| at.within(zero, end)).map(|t| t.0 / SECOND);
        assert_eq!(within("end"), Some(100));
        assert_eq!(within("0:10"), Some(14));
        assert_eq!(within("-4s"), Some(0));
        assert_eq!(within("-5s"), None);
        assert_eq!(within("96s"), Some(100));
        assert_eq!(within("96.5s"), None);
        assert_eq!(within("run:100.1s"), None);
    }

    #[test]
    fn sizes_have_bounds() {
        assert_eq!("100x30".parse(), Ok(Size(100, 30)));
        assert_eq!("1x1000".parse(), Ok(Size(1, 1_000)));
        for wrong in ["", "100", "0x1", "1001x1", "100x", "x30", "100X30", "-1x5", "1 x 1"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
