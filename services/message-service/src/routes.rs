//! `POST /send`, `GET /messages`, and `GET /export` for the lab's own checker.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use backing::cache::ReadThrough;
use backing::queue::Envelope;
use backing::store::{Cursor, Table};
use backing::{Error, MessageId, Queue, Store, UserId};
use kit::answer::{json, json_bytes};
use kit::idempotency::{self, Recent};
use kit::{ApiError, Builder, Burner, Routes, Service, body, query};
use serde_json::json;

use crate::refuse::refuse;
use crate::{Config, inbox, message};

/// What `--work` may name.
pub(crate) const OPERATIONS: [&str; 3] = ["send", "messages", "consume"];
/// Messages in an answer when the client does not say.
const LIMIT: usize = 50;
/// Most messages in an answer; also what the cache keeps of an inbox.
const MOST: usize = 200;

/// What routes and consumers share.
pub struct State {
    /// The service around them.
    pub service: Service,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) reader: Arc<ReadThrough>,
    pub(crate) queue: Arc<dyn Queue>,
    recent: Recent,
    send_work: Burner,
    messages_work: Burner,
}

impl State {
    pub(crate) fn new(
        service: Service,
        config: &Config,
        store: Arc<dyn Store>,
        reader: Arc<ReadThrough>,
        queue: Arc<dyn Queue>,
    ) -> Self {
        let send_work = service.burner(&config.work, "send");
        let messages_work = service.burner(&config.work, "messages");
        Self { service, store, reader, queue, recent: Recent::default(), send_work, messages_work }
    }
}

/// The router of the service.
pub fn app(state: Arc<State>) -> Router {
    Routes::new(&state.service)
        .route("/send", post(send).with_state(state.clone()))
        .route("/messages", get(messages).with_state(state.clone()))
        .route("/export", get(export).with_state(state))
        .finish()
}

/// The name of an inbox in the cache.
pub(crate) fn cache_key(user: UserId) -> String {
    format!("messages:{user}")
}

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

async fn send(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, bytes) = body::read_json(request).await?;
    let key = idempotency::key(&head.headers)?;
    let id = key.map_or_else(MessageId::fresh, message::id_of);
    let message = message::parse(&bytes, id, now_us())?;
    if let Some(key) = key {
        state.recent.check(key, &bytes)?;
    }
    state.send_work.burn().await;
    let body = serde_json::to_vec(&message).map_err(|error| {
        tracing::error!(%error, "a message could not be written as JSON");
        ApiError::internal()
    })?;
    state.queue.publish(vec![Envelope { id, body }]).await.map_err(|error| refuse(&error))?;
    if let Some(key) = key {
        state.recent.remember(key, &bytes);
    }
    Ok(json(StatusCode::ACCEPTED, &json!({"id": id})))
}

async fn messages(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    request: Request,
) -> Result<Response, ApiError> {
    let asked = request.uri().query();
    let user = UserId(query::id(asked, "user")?);
    let limit = limit(asked)?;
    state.messages_work.burn().await;
    // One copy of an inbox serves every limit. Without a cache there is no use in reading more than was asked for.
    let kept = if state.reader.cache().keeps() { MOST } else { limit };
    let load = async {
        let found = state.store.messages_for(user, kept).await?;
        let lines = message::write_lines(&found)
            .map_err(|error| Error::engine("write messages as JSON", std::io::Error::other(error)))?;
        Ok(Some(Arc::from(lines)))
    };
    let lines = state.reader.get_or_load(&cache_key(user), load).await.map_err(|error| refuse(&error))?;
    let answer = message::answer(lines.as_deref().unwrap_or_default(), limit);
    Ok(json_bytes(StatusCode::OK, Bytes::from(answer)))
}

async fn export(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    request: Request,
) -> Result<Response, ApiError> {
    let kit::export::Asked { after, limit } = kit::export::asked(&request, Table::Messages.name())?;
    let after = after.map(Cursor::from);
    let page = state.store.scan(Table::Messages, after.as_ref(), limit).await.map_err(|error| refuse(&error))?;
    Ok(kit::export::answer(&page.rows, page.next.map(|next| next.to_string())))
}

fn limit(asked: Option<&str>) -> Result<usize, ApiError> {
    let Some(text) = query::one(asked, "limit")? else { return Ok(LIMIT) };
    query::whole(&text)
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit <= MOST)
        .ok_or_else(|| ApiError::bad_request(format!("`limit` must be a whole number from 1 to {MOST}")))
}

/// A builder whose dependencies and gauges are in place.
pub(crate) fn observed(
    config: &Config,
    store: &Arc<dyn Store>,
    reader: &Arc<ReadThrough>,
    queue: &Arc<dyn Queue>,
) -> Builder {
    let builder = Service::builder(&config.serve, "message-service", 8082);
    let (store_asked, queue_asked) = (store.clone(), queue.clone());
    let builder = builder
        .dependency("store", move || {
            let store = store_asked.clone();
            async move { store.ping().await }
        })
        .dependency("queue", move || {
            let queue = queue_asked.clone();
            async move { queue.ping().await }
        });
    let builder = observe_reads(builder, store, reader);
    inbox::observe(builder, queue)
}

fn observe_reads(builder: Builder, store: &Arc<dyn Store>, reader: &Arc<ReadThrough>) -> Builder {
    let (store, reader) = (store.clone(), reader.clone());
    let stats = move || {
        let stats = reader.stats();
        (stats.hits, stats.misses)
    };
    let rows = move || {
        let store = store.clone();
        async move { store.count(Table::Messages).await.ok() }
    };
    kit::reads::observe(builder, Table::Messages.name(), stats, rows)
}
