//! What stands before every handler: admission, deadline, panics, counting. One hand-written layer, because its cost is paid on
//! every request and published as the services' own speed.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use ::metrics::{Counter, Histogram};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tower::{Layer, Service as TowerService};

use crate::service::Shared;
use crate::{ApiError, Metrics, REQUEST_TIMEOUT, guard};

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other"];
/// Statuses whose counters are kept at hand; others are looked up.
const STATUSES: [u16; 22] =
    [200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 409, 413, 415, 421, 422, 429, 499, 500, 501, 502, 503, 504];

/// The client went away before its answer; nginx's number for it, which no server sends.
const CLIENT_GONE: u16 = 499;

/// The metrics of one route.
pub(crate) struct RouteMetrics {
    route: &'static str,
    metrics: Metrics,
    duration: Histogram,
    counters: Vec<OnceLock<Counter>>,
}

impl RouteMetrics {
    pub(crate) fn new(metrics: &Metrics, route: &'static str) -> Self {
        Self {
            route,
            metrics: metrics.clone(),
            duration: metrics.histogram("http_request_duration_seconds", &[("route", route)]),
            counters: (0..METHODS.len() * STATUSES.len()).map(|_| OnceLock::new()).collect(),
        }
    }

    fn count(&self, method: usize, status: u16) {
        let make = || {
            let labels = [("route", self.route), ("method", METHODS[method]), ("status", &status.to_string())];
            self.metrics.counter("http_requests_total", &labels)
        };
        match STATUSES.iter().position(|known| *known == status) {
            Some(index) => self.counters[method * STATUSES.len() + index].get_or_init(make).increment(1),
            None => make().increment(1),
        }
    }
}

/// Counts a request when it ends, also when its future is dropped because the client went away.
struct Ending<'a> {
    route: &'a RouteMetrics,
    method: usize,
    begun: Instant,
    status: u16,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.route.count(self.method, self.status);
        self.route.duration.record(self.begun.elapsed());
    }
}

/// Puts a [`Front`] before a route.
#[derive(Clone)]
pub(crate) struct FrontLayer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) route: Arc<RouteMetrics>,
    /// False for the chaos routes themselves, so that trouble can be ended.
    pub(crate) chaos: bool,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Front<S> {
    layer: FrontLayer,
    inner: S,
}

impl<S> Layer<S> for FrontLayer {
    type Service = Front<S>;

    fn layer(&self, inner: S) -> Front<S> {
        Front { layer: self.clone(), inner }
    }
}

impl<S> TowerService<Request> for Front<S>
where
    S: TowerService<Request, Error = Infallible> + Clone + Send + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Handlers are always ready; what is too much is shed, not queued.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { layer, inner } = self.clone();
        Box::pin(async move { Ok(layer.answer(inner, request).await) })
    }
}

impl FrontLayer {
    async fn answer<S>(self, mut inner: S, request: Request) -> Response
    where
        S: TowerService<Request, Error = Infallible> + Send,
        S::Response: axum::response::IntoResponse,
        S::Future: Send,
    {
        let Self { shared, route, chaos } = self;
        let method = method_index(request.method());
        let Some(_place) = shared.admission.enter() else {
            shared.shed.increment(1);
            route.count(method, 503);
            return ApiError::unavailable("all places of this replica are taken; try again in a second")
                .without_effect()
                .into_response();
        };
        let mut ending = Ending { route: &route, method, begun: Instant::now(), status: CLIENT_GONE };
        let handled = async {
            let request = match keep_pages_out(request, chaos, &shared) {
                Ok(request) => request,
                Err(error) => return error.into_response(),
            };
            if let Some(trouble) = shared.chaos.as_ref().filter(|_| chaos)
                && let Some(error) = trouble.meddle().await
            {
                return error.into_response();
            }
            match inner.call(request).await {
                Ok(response) => response.into_response(),
                Err(never) => match never {},
            }
        };
        let caught = AssertUnwindSafe(handled).catch_unwind();
        let response = match tokio::time::timeout(REQUEST_TIMEOUT, caught).await {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => ApiError::internal().into_response(),
            Err(_elapsed) => timed_out(route.route),
        };
        ending.status = response.status().as_u16();
        response
    }
}

/// No other site's page may change anything here, or make trouble. Requests of programs pass after two look-ups.
fn keep_pages_out(request: Request, harmless: bool, shared: &Shared) -> Result<Request, ApiError> {
    if (harmless && request.method().is_safe()) || !guard::is_from_page(request.headers()) {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    guard::check_page(&head, shared.address.ip().is_loopback())?;
    Ok(Request::from_parts(head, body))
}

fn timed_out(route: &'static str) -> Response {
    tracing::warn!(route, limit = ?REQUEST_TIMEOUT, "a request had no answer in time");
    let message = "no answer within 2 s; a write may have happened, so repeat it with the same Idempotency-Key";
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, message).into_response()
}

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}
