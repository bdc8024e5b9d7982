//! The control API over HTTP: reads requests, checks who calls, writes answers. What the calls do is in `generator`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, put};
use futures_util::Stream;
use kit::answer::json;
use kit::{ApiError, Routes, body, query};

use crate::door::from_here;
use crate::generator::{Generator, Refused};
use crate::page;

/// Longest plan, in bytes: a recorded trace can be long.
const PLAN_LIMIT: usize = 16 << 20;
/// Longest list of targets or change, in bytes.
const LIST_LIMIT: usize = 1 << 20;
/// Between two signs of life of a stream that has nothing to send: well below the time after which readers connect anew.
const HEARTBEAT: Duration = Duration::from_secs(2);

type Answer<T> = Result<T, Refused>;
type Shared = State<Arc<Generator>>;

/// The router of the service.
pub fn app(generator: Arc<Generator>) -> Router {
    let load = put(put_load).patch(patch_load).get(get_load).delete(delete_load);
    Routes::new(&generator.service)
        .route("/start", get(start).with_state(generator.clone()))
        .route("/load", load.with_state(generator.clone()))
        .route("/load/samples", get(samples).with_state(generator.clone()))
        .route("/targets", put(put_targets).with_state(generator))
        .route("/", get(page::page))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .finish()
}

async fn start(State(generator): Shared, request: Request) -> Answer<StatusCode> {
    let head = request.into_parts().0;
    // A `Host` header proves nothing of a caller from elsewhere; where such calls can come, the token does.
    if generator.service.is_local() {
        from_here(&head)?;
    } else {
        generator.authorize(&head)?;
    }
    generator.begin_default().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn put_load(State(generator): Shared, request: Request) -> Answer<Response> {
    let plan = authorized_body(&generator, request, PLAN_LIMIT).await?;
    generator.begin_leased(body::parse(&plan)?).await?;
    get_status(&generator).await
}

async fn patch_load(State(generator): Shared, request: Request) -> Answer<Response> {
    let change = authorized_body(&generator, request, LIST_LIMIT).await?;
    generator.change(body::parse(&change)?).await?;
    get_status(&generator).await
}

async fn get_load(State(generator): Shared, request: Request) -> Answer<Response> {
    generator.authorize(&request.into_parts().0)?;
    get_status(&generator).await
}

async fn delete_load(State(generator): Shared, request: Request) -> Answer<StatusCode> {
    generator.authorize(&request.into_parts().0)?;
    generator.stop().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn put_targets(State(generator): Shared, request: Request) -> Answer<StatusCode> {
    let targets = authorized_body(&generator, request, LIST_LIMIT).await?;
    generator.set_targets(body::parse(&targets)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn get_status(generator: &Arc<Generator>) -> Answer<Response> {
    Ok(json(StatusCode::OK, &generator.status().await?))
}

async fn samples(
    State(generator): Shared,
    request: Request,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
    let head = request.into_parts().0;
    generator.authorize(&head)?;
    let reader = generator.samples.read(first_wanted(&head)?);
    let life = generator.service.lifecycle().clone();
    let events = futures_util::stream::unfold((generator, reader), move |(generator, mut reader)| {
        let life = life.clone();
        async move {
            let kept = generator.samples.wait(&mut reader, async { life.ending().await }).await?;
            let event = Event::default().id(kept.seq.to_string()).data(&*kept.json);
            Some((Ok(event), (generator, reader)))
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")))
}

/// `?from=SEQ`, or the number after the `Last-Event-ID` that a browser sends when it comes back.
fn first_wanted(head: &Parts) -> Result<Option<u64>, ApiError> {
    if let Some(from) = query::one(head.uri.query(), "from")? {
        let wrong = || ApiError::bad_request(format!("`from={from}` is no sample number; they count from 1"));
        return query::whole(&from).ok_or_else(wrong).map(Some);
    }
    let seen = head.headers.get("last-event-id").and_then(|id| query::whole(id.to_str().ok()?));
    Ok(seen.map(|seen| seen.saturating_add(1)))
}

/// The body of a call with the token. Without it nothing of the body is read.
async fn authorized_body(generator: &Generator, request: Request, limit: usize) -> Answer<Vec<u8>> {
    let (head, body) = request.into_parts();
    generator.authorize(&head)?;
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        let message = format!("the body broke off or is larger than {limit} bytes; send less");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    // An empty body is an error with a better message than that of an empty text.
    if bytes.is_empty() {
        return Err(ApiError::bad_request("the body is empty; send JSON").into());
    }
    Ok(bytes.into())
}
