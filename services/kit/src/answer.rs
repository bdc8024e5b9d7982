//! Answers: JSON bodies, and errors as JSON that say what to change.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lab_core::control::EFFECT;
use serde::Serialize;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An error answer: `{"error":"…"}`. The text says what is wrong and what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    retry: bool,
    no_effect: bool,
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

impl ApiError {
    /// An error answer with this status.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), retry: false, no_effect: false }
    }

    /// 400.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 422: understood, and not acceptable.
    pub fn unprocessable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 503 with `Retry-After: 1`: the same request may succeed later.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// Promises that the request had no effect: nothing was done, and nothing of it is under way. An answer below 500 says so by
    /// itself.
    #[must_use]
    pub fn without_effect(self) -> Self {
        Self { no_effect: true, ..self }
    }

    /// 500. What happened belongs into the log, not into the answer.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed; its log says why")
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the answer says.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &Refusal { error: &self.message });
        if self.retry {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.no_effect {
            response.headers_mut().insert(EFFECT, HeaderValue::from_static("none"));
        }
        response
    }
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(status, Bytes::from(bytes)),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            ApiError::internal().into_response()
        }
    }
}

/// An answer whose body is JSON already.
pub fn json_bytes(status: StatusCode, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
