//! The router of a service: its own routes behind the front, the probes beside it, and JSON for everything else.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler as _;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};

use crate::front::{FrontLayer, RouteMetrics};
use crate::{ApiError, Service, chaos, probes};

/// Collects the routes of a service.
pub struct Routes {
    service: Service,
    router: Router,
    known: Vec<&'static str>,
}

impl Routes {
    /// No route yet.
    pub fn new(service: &Service) -> Self {
        Self { service: service.clone(), router: Router::new(), known: Vec::new() }
    }

    /// Adds a route. Its path is the metrics' `route` label, so it holds no parameter that clients choose.
    pub fn route(self, path: &'static str, methods: MethodRouter) -> Self {
        self.fronted(path, methods, true)
    }

    fn fronted(mut self, path: &'static str, methods: MethodRouter, chaos: bool) -> Self {
        let methods = methods.fallback(wrong_method).layer(self.front(path, chaos));
        self.router = self.router.route(path, methods);
        self.known.push(path);
        self
    }

    fn front(&self, route: &'static str, chaos: bool) -> FrontLayer {
        let metrics = Arc::new(RouteMetrics::new(self.service.metrics(), route));
        FrontLayer { shared: self.service.shared(), route: metrics, chaos }
    }

    /// The whole router: `/livez`, `/readyz`, `/startupz` and `/metrics`, with `--chaos` the chaos routes, and JSON errors for
    /// unknown routes and wrong methods.
    pub fn finish(mut self) -> Router {
        if self.service.shared().chaos.is_some() {
            let shared = self.service.shared();
            self = self
                .fronted("/chaos/latency", post(chaos::latency).with_state(shared.clone()), false)
                .fronted("/chaos/errors", post(chaos::errors).with_state(shared.clone()), false)
                .fronted("/work", get(chaos::work).with_state(shared), false);
        }
        let mut known = self.known.clone();
        known.extend(["/livez", "/readyz", "/startupz", "/metrics"]);
        let known: Arc<str> = known.join(", ").into();
        let unknown = (move |request: Request| {
            let message = format!("there is no route `{}`; there are {known}", request.uri().path());
            async move { ApiError::not_found(message) }
        })
        .layer(self.front("unknown", false));
        let probes = Router::new()
            .route("/livez", get(probes::livez).fallback(wrong_method))
            .route("/readyz", get(probes::readyz).fallback(wrong_method))
            .route("/startupz", get(probes::livez).fallback(wrong_method))
            .route("/metrics", get(probes::metrics).fallback(wrong_method))
            .with_state(self.service.shared());
        self.router.merge(probes).fallback(unknown)
    }
}

/// The `Allow` header is added by the router.
async fn wrong_method(request: Request) -> ApiError {
    let message = format!("{} does not take {}; see the Allow header", request.uri().path(), request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
