//! `external.metrics.k8s.io/v1beta1` as a router: discovery and one call for values. Always JSON, whatever is asked for: controllers
//! list protobuf first and take JSON. Never 503: to the aggregator it would mean that the group's contents are unknown, and then no
//! namespace of the cluster can be deleted.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Counter;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kit::{Metrics, answer, query};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::catalogue::{METRICS, Source};
use crate::scrape::{Published, Reading};
use crate::selector::Selector;

const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";
/// Readings are answered until they are so many windows old. The autoscaler does not look at their age: it holds when it gets none.
const WINDOWS: u32 = 2;

/// What the routes share.
pub(crate) struct Api {
    namespace: String,
    keep: Duration,
    sources: Vec<(Source, Published)>,
    counted: Counted,
}

impl Api {
    /// Answers for one namespace from the newest readings.
    pub(crate) fn new(
        namespace: &str,
        window: Duration,
        sources: Vec<(Source, Published)>,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let (namespace, counted) = (namespace.to_owned(), Counted::new(metrics));
        Arc::new(Self { namespace, keep: WINDOWS * window, sources, counted })
    }

    /// The items of a metric that have the labels and are fresh.
    fn items(&self, metric: &str, selector: &Selector, now: Instant) -> Vec<Item> {
        let labelled = |source: Source| selector.matches(&[("service", source.name())]);
        let fresh = |reading: &Reading| now.saturating_duration_since(reading.at) <= self.keep;
        let sources = self.sources.iter().filter(|(source, _)| labelled(*source));
        let items = sources.filter_map(|(source, published)| {
            let reading = published.borrow().clone().filter(|reading| fresh(reading))?;
            let (name, value) = reading.values.iter().find(|(name, _)| *name == metric)?;
            Some(Item::new(name, *source, &reading, *value))
        });
        items.collect()
    }
}

/// The router of the API.
pub(crate) fn app(api: Arc<Api>) -> Router {
    Router::new()
        .route("/apis", get(aggregated_discovery))
        .route("/apis/external.metrics.k8s.io/v1beta1", get(discovery))
        .route("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}", get(values))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

/// The aggregator asks for the discovery of all groups in one document, and after anything but that asks for each group's own.
async fn aggregated_discovery() -> Status {
    Status::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", format!("ask for /apis/{GROUP_VERSION}"))
}

async fn discovery() -> Response {
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    let resources: Vec<_> = names
        .into_iter()
        .map(|name| {
            json!({
                "name": name, "singularName": "", "namespaced": true,
                "kind": "ExternalMetricValueList", "verbs": ["get"],
            })
        })
        .collect();
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": resources,
    });
    answer::json(StatusCode::OK, &list)
}

async fn values(
    State(api): State<Arc<Api>>,
    Path((namespace, metric)): Path<(String, String)>,
    RawQuery(asked): RawQuery,
) -> Result<Response, Status> {
    if namespace != api.namespace {
        let message = format!("the metrics here are those of namespace {}, not of {namespace}", api.namespace);
        return Err(Status::not_found(message));
    }
    if METRICS.iter().all(|known| known.name != metric) {
        return Err(Status::not_found(format!("there is no metric `{metric}`; see /apis/{GROUP_VERSION}")));
    }
    let selector = query::one(asked.as_deref(), "labelSelector").map_err(|error| Status::bad(error.message()))?;
    let selector =
        selector.unwrap_or_default().parse::<Selector>().map_err(|error| Status::bad(&kit::chain(&error)))?;
    let items = api.items(&metric, &selector, Instant::now());
    let counted = if items.is_empty() { &api.counted.empty } else { &api.counted.told };
    counted.increment(1);
    let list = json!({
        "kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items,
    });
    Ok(answer::json(StatusCode::OK, &list))
}

async fn unknown(uri: Uri) -> Status {
    Status::not_found(format!("there is no `{}`; there is /apis/{GROUP_VERSION}", uri.path()))
}

async fn wrong_method() -> Status {
    Status::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "metrics can only be read".to_owned())
}

/// One value.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    metric_name: &'static str,
    metric_labels: Labels,
    timestamp: String,
    /// Seconds.
    window: u64,
    value: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Labels {
    service: &'static str,
}

impl Item {
    fn new(metric_name: &'static str, source: Source, reading: &Reading, thousandths: i64) -> Self {
        Self {
            metric_name,
            metric_labels: Labels { service: source.name() },
            timestamp: reading.taken.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            window: reading.covered.as_secs_f64().round() as u64,
            value: format!("{thousandths}m"),
        }
    }
}

/// A refusal as Kubernetes' clients read it.
struct Status {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: String) -> Self {
        Self { code, reason, message }
    }

    fn not_found(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    fn bad(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message.to_owned())
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let Self { code, reason, message } = self;
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        answer::json(code, &status)
    }
}

/// How often a value was told, for `/metrics`.
struct Counted {
    told: Counter,
    empty: Counter,
}

impl Counted {
    fn new(metrics: &Metrics) -> Self {
        metrics.describe("lab_adapter_answers_total", "Answers to the autoscaler, with a value or empty");
        let answers = |with| metrics.counter("lab_adapter_answers_total", &[("with", with)]);
        Self { told: answers("value"), empty: answers("nothing") }
    }
}

#[cfg(test)]
mod tests;
