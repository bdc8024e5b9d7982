//! Request bodies: bounded, JSON, refused with words that say what to change.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::{ApiError, BODY_LIMIT};

/// Bytes beyond the limit that are still read and thrown away, so that a client which writes before it reads gets its answer
/// instead of a reset connection.
const DISCARD_LIMIT: usize = 2 * 1024 * 1024;

/// The request's head and its whole body.
///
/// # Errors
/// 413 above [`BODY_LIMIT`], 400 when the body breaks off.
pub async fn read(request: Request) -> Result<(Parts, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = collect(body, announced(&parts.headers)).await?;
    Ok((parts, bytes))
}

/// The body of a request whose content type is JSON or not given.
///
/// # Errors
/// As [`read`]; 415 for another content type.
pub async fn read_json(request: Request) -> Result<(Parts, Bytes), ApiError> {
    json_type(request.headers())?;
    read(request).await
}

/// Reads JSON into a value.
///
/// # Errors
/// 400 with the place and the reason.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let kind = if error.is_data() { "the JSON body has a wrong shape" } else { "the body is not JSON" };
        ApiError::bad_request(format!("{kind}: {error}"))
    })
}

fn json_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body as `content-type: application/json`"))
}

/// What `Content-Length` says; 0 for a body of unknown length.
fn announced(headers: &HeaderMap) -> usize {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

async fn collect(body: Body, announced: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut whole = Bytes::new();
    let mut more: Vec<u8> = Vec::new();
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("the body broke off; send it whole"))?;
        length += chunk.len();
        if length > DISCARD_LIMIT || announced > DISCARD_LIMIT {
            break;
        }
        if length > BODY_LIMIT || announced > BODY_LIMIT {
            continue;
        }
        // Nearly every body arrives in one piece, which then needs no copy.
        if whole.is_empty() {
            whole = chunk;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&whole);
            }
            more.extend_from_slice(&chunk);
        }
    }
    if length > BODY_LIMIT || announced > BODY_LIMIT {
        let message = format!("the body is larger than {BODY_LIMIT} bytes; send less");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(if more.is_empty() { whole } else { Bytes::from(more) })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use rstest::rstest;

    use super::*;

    fn pieces(count: usize, length: usize) -> Body {
        Body::from_stream(stream::iter((0..count).map(move |n| Ok::<_, std::io::Error>(vec![n as u8; length]))))
    }

    #[tokio::test]
    async fn pieces_are_joined_in_order() {
        let (_, bytes) = read(Request::new(pieces(3, 2))).await.expect("small body");
        assert_eq!(&bytes[..], [0, 0, 1, 1, 2, 2]);
    }

    #[rstest]
    #[case(Body::from(vec![b'x'; BODY_LIMIT]), true)]
    #[case(Body::from(vec![b'x'; BODY_LIMIT + 1]), false)]
    #[case(pieces(1024, 1024), false)]
    #[case(pieces(4096, 1024), false)]
    #[tokio::test]
    async fn bodies_are_bounded(#[case] body: Body, #[case] fits: bool) {
        let answer = read(Request::new(body)).await.map(|_| ()).map_err(|error| error.status().as_u16());
        assert_eq!(answer, if fits { Ok(()) } else { Err(413) });
    }

    #[rstest]
    #[case(None, true)]
    #[case(Some("application/json"), true)]
    #[case(Some("Application/JSON; charset=utf-8"), true)]
    #[case(Some("text/plain"), false)]
    #[case(Some("application/x-www-form-urlencoded"), false)]
    #[case(Some(""), false)]
    #[tokio::test]
    async fn only_json_is_read(#[case] content_type: Option<&'static str>, #[case] accepted: bool) {
        let mut request = Request::new(Body::from("{}"));
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, content_type.parse().expect("a header value"));
        }
        let answer = read_json(request).await.map(|_| ()).map_err(|error| error.status().as_u16());
        assert_eq!(answer, if accepted { Ok(()) } else { Err(415) });
    }
}
