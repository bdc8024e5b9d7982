//! `Idempotency-Key`: reading the header, and remembering recent keys where the answer comes before the store has seen the request.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;

use crate::ApiError;

/// Longest key, in bytes.
const LONGEST: usize = 128;
/// Keys that are remembered; older ones are forgotten.
const REMEMBERED: usize = 16 * 1024;

/// The client's `Idempotency-Key`; None when it sent none.
///
/// # Errors
/// 400 when it is empty, longer than 128 bytes, not visible ASCII, or given twice.
pub fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let valid = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if valid && values.next().is_none() {
        return Ok(Some(text));
    }
    Err(ApiError::bad_request(format!(
        "Idempotency-Key must be given once, with 1 to {LONGEST} visible ASCII characters"
    )))
}

/// The keys of this process's recent requests, with their bodies' hashes. For answers that are given before the store has seen the
/// request: another replica, or this one after a restart, does not know the key.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    bodies: HashMap<String, u64>,
    oldest_first: VecDeque<String>,
}

impl Recent {
    /// Passes a key that is new here or came with the same body.
    ///
    /// # Errors
    /// 422 when it came with another body.
    pub fn check(&self, key: &str, body: &[u8]) -> Result<(), ApiError> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.bodies.get(key).is_none_or(|known| *known == hash(body)) {
            return Ok(());
        }
        Err(ApiError::unprocessable("this Idempotency-Key was used before with another body; send a new key"))
    }

    /// Remembers a key whose request was accepted.
    pub fn remember(&self, key: &str, body: &[u8]) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.bodies.insert(key.to_owned(), hash(body)).is_none() {
            keys.oldest_first.push_back(key.to_owned());
        }
        if keys.oldest_first.len() > REMEMBERED
            && let Some(oldest) = keys.oldest_first.pop_front()
        {
            keys.bodies.remove(&oldest);
        }
    }
}

fn hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], Ok(None))]
    #[case(&["order-1"], Ok(Some("order-1")))]
    #[case(&[""], Err(400))]
    #[case(&["two words"], Err(400))]
    #[case(&["a", "a"], Err(400))]
    fn keys(#[case] given: &[&'static str], #[case] expected: Result<Option<&str>, u16>) {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append("idempotency-key", HeaderValue::from_static(value));
        }
        assert_eq!(key(&headers).map_err(|error| error.status().as_u16()), expected);
    }

    #[test]
    fn keys_have_a_length() {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", "x".repeat(LONGEST).parse().expect("a value"));
        assert!(key(&headers).is_ok());
        headers.insert("idempotency-key", "x".repeat(LONGEST + 1).parse().expect("a value"));
        assert!(key(&headers).is_err());
    }

    #[test]
    fn recent_keys_are_bounded() {
        let recent = Recent::default();
        recent.remember("first", b"a");
        assert!(recent.check("first", b"a").is_ok() && recent.check("other", b"b").is_ok());
        assert_eq!(recent.check("first", b"b").map_err(|error| error.status().as_u16()), Err(422));
        for n in 0..REMEMBERED {
            recent.remember(&n.to_string(), b"");
        }
        assert!(recent.check("first", b"b").is_ok(), "forgotten");
        assert!(recent.check("0", b"b").is_err(), "still remembered");
    }
}
