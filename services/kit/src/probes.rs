//! `/livez`, `/readyz` and `/metrics`. None of them passes admission: a busy replica is alive, and must be seen.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::ApiError;
use crate::answer::json as answer_json;
use crate::service::Shared;

/// How long the outcome of the checks, and of the scrape hooks, is kept.
const KEPT: Duration = Duration::from_secs(1);
/// Longest wait for one dependency.
const DEADLINE: Duration = Duration::from_millis(500);

/// Asks a dependency whether it is there; the text says why not.
pub(crate) type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
/// Refreshes gauges before a scrape.
pub(crate) type ScrapeHook = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The dependencies of a service, asked at most once a second however many ask.
#[derive(Default)]
pub(crate) struct Readiness {
    pub(crate) checks: Vec<(&'static str, Check)>,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Readiness {
    async fn state(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((at, state)) = last.as_ref()
            && at.elapsed() < KEPT
        {
            return state.clone();
        }
        let asked = self.checks.iter().map(|(name, check)| async move {
            match timeout(DEADLINE, check()).await {
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(format!("{name}: {reason}")),
                Err(_elapsed) => Some(format!("{name}: no answer within {} ms", DEADLINE.as_millis())),
            }
        });
        let missing: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
        let state = if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) };
        *last = Some((Instant::now(), state.clone()));
        state
    }
}

/// What is refreshed before a scrape, at most once a second.
#[derive(Default)]
pub(crate) struct Scrapes {
    pub(crate) hooks: Vec<ScrapeHook>,
    last: Mutex<Option<Instant>>,
}

impl Scrapes {
    async fn refresh(&self) {
        let mut last = self.last.lock().await;
        if last.is_some_and(|at| at.elapsed() < KEPT) {
            return;
        }
        // A hook that has no answer in time leaves its gauges to the next scrape; the others must not miss because of it.
        join_all(self.hooks.iter().map(|hook| timeout(DEADLINE, hook()))).await;
        *last = Some(Instant::now());
    }
}

pub(crate) async fn livez() -> Response {
    answer_json(StatusCode::OK, &json!({"status": "ok"}))
}

pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    if shared.lifecycle.is_ending() {
        return ApiError::unavailable("shutting down").into_response();
    }
    match shared.readiness.state().await {
        Ok(()) => livez().await,
        Err(reasons) => ApiError::unavailable(format!("not ready: {reasons}")).into_response(),
    }
}

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.scrapes.refresh().await;
    shared.in_flight.set(shared.admission.in_flight() as f64);
    let mut response = shared.metrics.render().into_response();
    let text = axum::http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
