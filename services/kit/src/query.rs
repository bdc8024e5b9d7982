//! Query parameters: each at most once, unknown ones ignored.

use std::borrow::Cow;

use crate::ApiError;

/// The decoded value of the parameter `name`; None when it is absent.
///
/// # Errors
/// 400 when it is given more than once.
pub fn one<'q>(query: Option<&'q str>, name: &str) -> Result<Option<Cow<'q, str>>, ApiError> {
    let mut values = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter_map(|(key, value)| (key == name).then_some(value));
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::bad_request(format!("`{name}` is given more than once; give it once")));
    }
    Ok(first)
}

/// The parameter `name` as a whole number of at least 1.
///
/// # Errors
/// 400 when it is absent, given twice, or anything but decimal digits that make a number in 1..=2^63-1.
pub fn id(query: Option<&str>, name: &str) -> Result<u64, ApiError> {
    let value = one(query, name)?
        .ok_or_else(|| ApiError::bad_request(format!("`{name}` is missing; add ?{name}=1 to the path")))?;
    whole(&value).ok_or_else(|| ApiError::bad_request(format!("`{name}` must be a whole number from 1 on")))
}

/// A positive whole number in plain decimal digits, at most 2^63-1 (what databases can hold).
pub fn whole(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| (1..=i64::MAX as u64).contains(number))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("id=1", Ok(1))]
    #[case("a=2&id=%31%32&b", Ok(12))]
    #[case("id=9223372036854775807", Ok(i64::MAX as u64))]
    #[case("id=9223372036854775808", Err("must be a whole number"))]
    #[case("id=0", Err("must be a whole number"))]
    #[case("id=-1", Err("must be a whole number"))]
    #[case("id=+1", Err("must be a whole number"))]
    #[case("id=1.0", Err("must be a whole number"))]
    #[case("id=abc", Err("must be a whole number"))]
    #[case("id=", Err("must be a whole number"))]
    #[case("", Err("missing"))]
    #[case("Id=1", Err("missing"))]
    #[case("id=1&id=1", Err("more than once"))]
    fn ids(#[case] query: &str, #[case] expected: Result<u64, &str>) {
        match (id(Some(query), "id"), expected) {
            (Ok(number), Ok(wanted)) => assert_eq!(number, wanted),
            (Err(error), Err(part)) => {
                assert_eq!(error.status(), 400);
                assert!(error.message().contains(part), "{}", error.message());
            }
            (found, wanted) => panic!("{query}: {found:?} instead of {wanted:?}"),
        }
    }
}
