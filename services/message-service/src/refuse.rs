//! What a failed store or queue means to the client.

use axum::http::StatusCode;
use backing::Error;
use kit::ApiError;

/// The answer to a request whose store or queue call failed. The details go into the log.
pub(crate) fn refuse(error: &Error) -> ApiError {
    match error {
        Error::Timeout { .. } => {
            tracing::warn!(error = kit::chain(error), "no answer in time");
            let message =
                "no answer in time; the message may have been sent, so repeat it with the same Idempotency-Key";
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, message)
        }
        Error::Cursor { .. } => ApiError::bad_request("`after` is not from this export; begin without it"),
        Error::Overloaded { .. } => {
            ApiError::unavailable("this cannot be served now; try again in a second").without_effect()
        }
        error if error.is_transient() => {
            tracing::warn!(error = kit::chain(error), "a request was refused");
            ApiError::unavailable("this cannot be served now; try again in a second")
        }
        error => {
            tracing::error!(error = kit::chain(error), "a request failed");
            ApiError::internal()
        }
    }
}
