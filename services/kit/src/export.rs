//! `GET /export?table=users&after=…&limit=…`: the rows of a table page by page, for the lab's own checker, which looks for each
//! write that was acknowledged. A line holds what one row was given by its client, as a JSON string; the last line is
//! `{"next":"…"}`, where the next page begins, or `{"next":null}`. Without that line the answer was cut.

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;

use crate::answer::json_bytes;
use crate::{ApiError, query};

/// Most rows of a page, and how many there are when the client does not say.
const MOST: usize = 10_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Where the page begins; None: at the beginning.
    pub after: Option<String>,
    /// Most rows of it, at least 1.
    pub limit: usize,
}

/// Reads the query of a service that exports one `table`.
///
/// # Errors
/// 400 that says what to change.
pub fn asked(request: &Request, table: &'static str) -> Result<Asked, ApiError> {
    let asked = request.uri().query();
    if query::one(asked, "table")?.as_deref() != Some(table) {
        return Err(ApiError::bad_request(format!("`table` must be `{table}`; add ?table={table} to the path")));
    }
    let limit = match query::one(asked, "limit")? {
        None => MOST,
        Some(text) => query::whole(&text)
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit <= MOST)
            .ok_or_else(|| ApiError::bad_request(format!("`limit` must be a whole number from 1 to {MOST}")))?,
    };
    Ok(Asked { after: query::one(asked, "after")?.map(|after| after.into_owned()), limit })
}

/// A page, and where the next one begins.
pub fn answer(rows: &[String], next: Option<String>) -> Response {
    let mut lines = Vec::with_capacity(64 * rows.len() + 64);
    for row in rows {
        // Text is JSON, and a vector takes all of it.
        if serde_json::to_writer(&mut lines, row).is_ok() {
            lines.push(b'\n');
        }
    }
    lines.extend_from_slice(json!({ "next": next }).to_string().as_bytes());
    lines.push(b'\n');
    let mut response = json_bytes(StatusCode::OK, Bytes::from(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Asked, String> {
        let request = Request::builder().uri(format!("/export{query}")).body(axum::body::Body::empty()).expect("a URI");
        asked(&request, "users").map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_page_has_a_table_a_beginning_and_a_bounded_length() {
        assert_eq!(read("?table=users"), Ok(Asked { after: None, limit: MOST }));
        assert_eq!(read("?limit=3&after=a%2Fb&table=users"), Ok(Asked { after: Some("a/b".to_owned()), limit: 3 }));
        for (query, part) in
            [("", "?table=users"), ("?table=messages", "?table=users"), ("?table=users&limit=10001", "from 1 to 10000")]
        {
            assert!(read(query).is_err_and(|said| said.contains(part)), "{query}");
        }
    }
}
