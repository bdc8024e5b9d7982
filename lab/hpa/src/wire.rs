//! Helpers for reading JSON and YAML: what several types of this crate need, and nothing about any one of them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Reads `null` as the type's default, so that a key that is absent and a key that is null mean the same.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a Kubernetes quantity that is a plain ratio: `0.05`, `"0.05"`, `"50m"`, `5e-2`, or nothing.
pub(crate) fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::<Ratio>::deserialize(deserializer)?.map(|Ratio(value)| value))
}

struct Ratio(f64);

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RatioVisitor)
    }
}

struct RatioVisitor;

impl Visitor<'_> for RatioVisitor {
    type Value = Ratio;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number, or a quantity such as \"50m\"")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Ratio, E> {
        Ok(Ratio(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Ratio, E> {
        Ok(Ratio(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Ratio, E> {
        Ok(Ratio(value as f64))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ratio, E> {
        let (digits, unit) = match text.strip_suffix(['n', 'u', 'm']) {
            Some(digits) if text.ends_with('m') => (digits, 1e3),
            Some(digits) if text.ends_with('u') => (digits, 1e6),
            Some(digits) => (digits, 1e9),
            None => (text, 1.0),
        };
        let value: f64 = digits.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
        if value.is_finite() {
            Ok(Ratio(value / unit))
        } else {
            Err(E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
}
