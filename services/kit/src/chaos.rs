//! Trouble on demand, only with `--chaos`: added latency, answered errors, CPU burnt by request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use lab_core::unit::{Percent, Span};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::answer::json as answer_json;
use crate::service::Shared;
use crate::work::Burner;
use crate::{ApiError, body, query};

/// Most CPU time that one `GET /work` burns.
const MOST_WORK: Span = Span::from_secs(1);
const PER_MILLION: u64 = 1_000_000;

/// The trouble in force.
#[derive(Debug, Default)]
pub(crate) struct Chaos {
    added_ns: AtomicU64,
    /// Errors in a million requests.
    errors: AtomicU64,
    status: AtomicU16,
    /// Requests seen since the share was set; spreads errors evenly and the same way each time.
    seen: AtomicU64,
}

impl Chaos {
    /// Waits the added latency; Some when the request is one of those that fail.
    pub(crate) async fn meddle(&self) -> Option<ApiError> {
        let added = self.added_ns.load(Ordering::Relaxed);
        if added > 0 {
            tokio::time::sleep(Duration::from_nanos(added)).await;
        }
        let share = self.errors.load(Ordering::Relaxed);
        if share == 0 {
            return None;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) % PER_MILLION;
        let fails = (seen + 1) * share / PER_MILLION > seen * share / PER_MILLION;
        let status =
            StatusCode::from_u16(self.status.load(Ordering::Relaxed)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The request never comes to its handler.
        fails.then(|| {
            ApiError::new(status, "an error on demand; end it with POST /chaos/errors {\"share\":\"0%\"}")
                .without_effect()
        })
    }
}

/// An order for trouble. Its content type must be given: a page of another site cannot send JSON unasked.
async fn order<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    if !request.headers().contains_key(CONTENT_TYPE) {
        let message = "send the body as `content-type: application/json`";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let (_, bytes) = body::read_json(request).await?;
    body::parse(&bytes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Latency {
    add: Span,
}

/// `POST /chaos/latency {"add":"50ms"}`; `0s` ends it.
pub(crate) async fn latency(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, ApiError> {
    let Latency { add } = order(request).await?;
    if let Some(chaos) = &shared.chaos {
        chaos.added_ns.store(add.0, Ordering::Relaxed);
    }
    tracing::warn!(%add, "latency is added to every request");
    Ok(answer_json(StatusCode::OK, &json!({"add": add})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Errors {
    share: Percent,
    #[serde(default = "internal_error")]
    status: u16,
}

fn internal_error() -> u16 {
    500
}

/// `POST /chaos/errors {"share":"20%","status":503}`; `0%` ends it, 500 is the default.
pub(crate) async fn errors(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, ApiError> {
    let Errors { share, status } = order(request).await?;
    if share.0 > 1.0 {
        return Err(ApiError::bad_request("`share` is above 100%; give a percentage up to 100%"));
    }
    if !(400..600).contains(&status) {
        return Err(ApiError::bad_request("`status` is no error; give one from 400 to 599"));
    }
    if let Some(chaos) = &shared.chaos {
        chaos.status.store(status, Ordering::Relaxed);
        chaos.seen.store(0, Ordering::Relaxed);
        chaos.errors.store((share.0 * PER_MILLION as f64).round() as u64, Ordering::Relaxed);
    }
    tracing::warn!(%share, status, "a share of the requests is answered with an error");
    Ok(answer_json(StatusCode::OK, &json!({"share": share, "status": status})))
}

/// `GET /work?cpu=5ms`: burns that much CPU time, 1 ms when not given.
pub(crate) async fn work(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, ApiError> {
    let cpu = match query::one(request.uri().query(), "cpu")? {
        Some(text) => text.parse().map_err(|error| ApiError::bad_request(format!("`cpu`: {error}")))?,
        None => Span::from_millis(1),
    };
    if cpu > MOST_WORK {
        return Err(ApiError::bad_request(format!("`cpu` is above {MOST_WORK}; give less")));
    }
    Burner::new(cpu.to_duration(), shared.turns.clone()).burn().await;
    Ok(answer_json(StatusCode::OK, &json!({"burnt": cpu})))
}
