//! `POST /create`, `GET /get`, and `GET /export` for the lab's own checker.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use backing::cache::ReadThrough;
use backing::store::{Cursor, Idempotency, Table};
use backing::{Error, Queue, Store, UserId};
use kit::answer::{json, json_bytes};
use kit::idempotency::{self, Recent};
use kit::{ApiError, Builder, Burner, Routes, Service, body, query};
use serde_json::json;

use crate::refuse::refuse;
use crate::{Config, queued, user};

/// What `--work` may name.
pub(crate) const OPERATIONS: [&str; 2] = ["create", "get"];

/// What the routes share.
pub struct State {
    /// The service around them.
    pub service: Service,
    store: Arc<dyn Store>,
    reader: Arc<ReadThrough>,
    queue: Option<Arc<dyn Queue>>,
    recent: Recent,
    create_work: Burner,
    get_work: Burner,
}

impl State {
    pub(crate) fn new(
        service: Service,
        config: &Config,
        store: Arc<dyn Store>,
        reader: Arc<ReadThrough>,
        queue: Option<Arc<dyn Queue>>,
    ) -> Self {
        let create_work = service.burner(&config.work, "create");
        let get_work = service.burner(&config.work, "get");
        Self { service, store, reader, queue, recent: Recent::default(), create_work, get_work }
    }
}

/// The router of the service.
pub fn app(state: Arc<State>) -> Router {
    Routes::new(&state.service)
        .route("/create", post(create).with_state(state.clone()))
        .route("/get", get(read).with_state(state.clone()))
        .route("/export", get(export).with_state(state))
        .finish()
}

async fn create(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, bytes) = body::read_json(request).await?;
    let key = idempotency::key(&head.headers)?;
    let new = user::parse(&bytes)?;
    state.create_work.burn().await;
    if let Some(queue) = &state.queue {
        if let Some(key) = key {
            state.recent.check(key, &bytes)?;
        }
        let id = queued::publish(&**queue, new, key, &bytes).await?;
        if let Some(key) = key {
            state.recent.remember(key, &bytes);
        }
        return Ok(json(StatusCode::ACCEPTED, &json!({"id": id})));
    }
    let once = key.map(|key| Idempotency::client(key, &bytes));
    let created = state.store.create_user(new, once).await.map_err(|error| refuse(&error))?;
    no_content(created.id)
}

/// 204 with the place where the user can be read.
fn no_content(id: UserId) -> Result<Response, ApiError> {
    let location = HeaderValue::try_from(format!("/get?id={id}")).map_err(|_| ApiError::internal())?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

async fn read(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    request: Request,
) -> Result<Response, ApiError> {
    let id = UserId(query::id(request.uri().query(), "id")?);
    state.get_work.burn().await;
    // Users never change, so a copy needs no invalidation; and only users that exist are kept.
    let load = async {
        let Some(found) = state.store.get_user(id).await? else { return Ok(None) };
        let bytes = user::write(&found).map_err(|error| Error::engine("write a user as JSON", error))?;
        Ok(Some(Arc::from(bytes)))
    };
    match state.reader.get_or_load(&format!("user:{id}"), load).await {
        Ok(Some(bytes)) => Ok(json_bytes(StatusCode::OK, Bytes::from_owner(bytes))),
        Ok(None) => Err(ApiError::not_found(format!("there is no user {id}; create one with POST /create"))),
        Err(error) => Err(refuse(&error)),
    }
}

async fn export(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    request: Request,
) -> Result<Response, ApiError> {
    let kit::export::Asked { after, limit } = kit::export::asked(&request, Table::Users.name())?;
    let after = after.map(Cursor::from);
    let page = state.store.scan(Table::Users, after.as_ref(), limit).await.map_err(|error| refuse(&error))?;
    Ok(kit::export::answer(&page.rows, page.next.map(|next| next.to_string())))
}

/// Keeps the gauges of store and cache fresh.
pub(crate) fn observe(builder: Builder, store: &Arc<dyn Store>, reader: &Arc<ReadThrough>) -> Builder {
    let (store, reader) = (store.clone(), reader.clone());
    let stats = move || {
        let stats = reader.stats();
        (stats.hits, stats.misses)
    };
    let rows = move || {
        let store = store.clone();
        async move { store.count(Table::Users).await.ok() }
    };
    kit::reads::observe(builder, Table::Users.name(), stats, rows)
}
