//! The text of an offered rate: `100/s`, `{ from, to }` or `{ trace, offsets }`, for specs and for plans on the wire.

use serde::{Deserialize, Serialize};

use super::Shape;
use crate::unit::{Rate, Span};

/// What is written, before it is clear which shape it is.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Constant(Rate),
    Ramp { from: Rate, to: Rate },
    Trace { trace: String, offsets: Vec<Span> },
}

impl Serialize for Shape {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self.clone() {
            Self::Constant(rate) => Written::Constant(rate),
            Self::Ramp { from, to } => Written::Ramp { from, to },
            Self::Trace { file, offsets } => Written::Trace { trace: file, offsets },
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Constant(rate) => Self::Constant(rate),
            Written::Ramp { from, to } => Self::Ramp { from, to },
            Written::Trace { trace, offsets } => Self::Trace { file: trace, offsets },
        })
    }
}

impl Shape {
    /// The highest rate of the phase, requests a second; of a trace, its mean over `length`.
    pub fn peak(&self, length: Span) -> Rate {
        match self {
            Self::Constant(rate) => *rate,
            Self::Ramp { from, to } => Rate(from.0.max(to.0)),
            Self::Trace { offsets, .. } if length > Span::ZERO => Rate(offsets.len() as f64 / length.as_secs_f64()),
            Self::Trace { .. } => Rate(0.0),
        }
    }

    /// Requests that it calls for over `length`, on average.
    pub fn planned(&self, length: Span) -> f64 {
        match self {
            Self::Constant(rate) => rate.0 * length.as_secs_f64(),
            Self::Ramp { from, to } => (from.0 + to.0) / 2.0 * length.as_secs_f64(),
            Self::Trace { offsets, .. } => offsets.iter().filter(|offset| **offset < length).count() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_survives_json() {
        let shapes = [
            (Shape::Constant(Rate(100.0)), "\"100/s\""),
            (Shape::Ramp { from: Rate(0.0), to: Rate(12.5) }, r#"{"from":"0/s","to":"12.5/s"}"#),
            (
                Shape::Trace { file: "a.csv".to_owned(), offsets: vec![Span(1_234_567_891)] },
                r#"{"trace":"a.csv","offsets":["1234567891ns"]}"#,
            ),
        ];
        for (shape, text) in shapes {
            assert_eq!(serde_json::to_string(&shape).expect("text"), text);
            assert_eq!(serde_json::from_str::<Shape>(text).expect(text), shape);
        }
    }
}
