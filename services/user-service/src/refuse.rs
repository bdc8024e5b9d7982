//! What a failed store or queue means to the client.

use axum::http::StatusCode;
use backing::Error;
use kit::ApiError;

/// The answer to a request whose store or queue call failed. The details go into the log.
pub(crate) fn refuse(error: &Error) -> ApiError {
    match error {
        Error::KeyReused { .. } => {
            ApiError::unprocessable("this Idempotency-Key was used before with another body; send a new key")
        }
        Error::Timeout { .. } => {
            tracing::warn!(error = kit::chain(error), "no answer in time");
            let message = "the store had no answer in time; a write may have happened, so repeat it with the same Idempotency-Key";
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, message)
        }
        Error::Cursor { .. } => ApiError::bad_request("`after` is not from this export; begin without it"),
        Error::Overloaded { .. } => {
            ApiError::unavailable("the store cannot serve this now; try again in a second").without_effect()
        }
        error if error.is_transient() => {
            tracing::warn!(error = kit::chain(error), "a request was refused");
            ApiError::unavailable("the store cannot serve this now; try again in a second")
        }
        error => {
            tracing::error!(error = kit::chain(error), "a request failed");
            ApiError::internal()
        }
    }
}
