//! Users as clients write and read them, and what is accepted.

use std::str::FromStr as _;

use backing::store::{NewUser, User};
use jiff::Timestamp;
use jiff::civil::Date;
use kit::ApiError;
use serde::{Deserialize, Serialize};

/// Longest name, in characters.
const LONGEST_NAME: usize = 256;
/// Longest date, in bytes: RFC 3339 with nanoseconds and an offset has 35.
const LONGEST_DATE: usize = 40;

#[derive(Deserialize)]
struct Input {
    name: String,
    created_at: String,
}

/// Reads the body of a create.
///
/// # Errors
/// 400 that says what to change.
pub(crate) fn parse(body: &[u8]) -> Result<NewUser, ApiError> {
    let Input { name, created_at } = kit::body::parse(body)?;
    if name.trim().is_empty() {
        return Err(ApiError::bad_request("`name` is empty; give one"));
    }
    if name.chars().nth(LONGEST_NAME).is_some() {
        return Err(ApiError::bad_request(format!("`name` is longer than {LONGEST_NAME} characters; shorten it")));
    }
    if !is_date(&created_at) {
        return Err(ApiError::bad_request(
            "`created_at` is no date; write it like `2024-01-23` or `2024-01-23T10:00:00Z`",
        ));
    }
    Ok(NewUser { name, created_at })
}

/// `2024-01-23`, or RFC 3339.
fn is_date(text: &str) -> bool {
    let plain = text.len() == 10 && Date::from_str(text).is_ok();
    plain || (text.len() <= LONGEST_DATE && !text.contains('[') && Timestamp::from_str(text).is_ok())
}

#[derive(Serialize)]
struct Output<'a> {
    user_id: &'a str,
    name: &'a str,
    created_at: &'a str,
}

/// The JSON of a user: `{"user_id":"1","name":…,"created_at":…}`.
///
/// # Errors
/// Never for text; the serializer's signature has one.
pub(crate) fn write(user: &User) -> Result<Vec<u8>, serde_json::Error> {
    let user_id = user.id.to_string();
    serde_json::to_vec(&Output { user_id: &user_id, name: &user.name, created_at: &user.created_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_or_instants() {
        for good in ["2024-01-23", "2024-02-29", "2024-01-23T10:00:00Z", "2024-01-23T10:00:00.123456789+05:30"] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "",
            "2023-02-29",
            "2024-1-23",
            "23.01.2024",
            "2024-01-23T10:00",
            "20240123",
            "2024-01-23T10:00:00Z[UTC]",
            "yesterday",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }
}
