//! Serving: connections, and the way from the first signal to the last answer.
//!
//! ```text
//! signal ─► Unready ──drain-delay──► Draining ──in flight done or drain-limit──► Stopping ──hooks──► end
//!           /readyz 503              listener closed                             consumers, stores
//!           Connection: close ───────────────────────────────►
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use futures_util::pin_mut;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::service::Shared;
use crate::shutdown::{Signals, stop_parts};
use crate::{ServeError, Service, Stage, listen};

/// Connections held at once; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 8192;
/// Longest wait for a request's head, and for the next request on a connection.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a request's head.
const HEAD_LIMIT: usize = 16 * 1024;
/// How long a draining service waits for a request that may be on its way on an idle connection, before it closes it.
const IDLE_LINGER: Duration = Duration::from_millis(500);

/// Binds, announces the address on stdout and serves until SIGTERM or SIGINT; a second signal cuts the drain short.
///
/// # Errors
/// When the address cannot be bound, and as [`serve`].
pub async fn run(service: &Service, app: Router) -> Result<(), ServeError> {
    let mut signals = Signals::listen()?;
    let listener = listen::bind(service.shared().address).await?;
    listen::announce(&listener)?;
    let (told, tell) = (CancellationToken::new(), CancellationToken::new());
    let serving = serve(service, listener, app, told.clone().cancelled_owned());
    let watch = async {
        signals.next().await;
        told.cancel();
        signals.next().await;
        tell.cancel();
    };
    tokio::select! {
        outcome = serving => outcome,
        () = watch => Err(ServeError::Interrupted),
    }
}

/// Serves on a bound listener until `shutdown`, then drains: see the module.
///
/// # Errors
/// [`ServeError::DrainLimit`] when requests had to be cut, [`ServeError::Stop`] when a part did not end in time.
pub async fn serve(
    service: &Service,
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let shared = service.shared();
    let server = Server { app, shared: shared.clone(), tracker: TaskTracker::new(), cut: CancellationToken::new() };
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(name = shared.name, address, "serving");
    {
        let accepting = server.accept(&listener);
        let ending = async {
            shutdown.await;
            shared.lifecycle.advance(Stage::Unready);
            tracing::info!(delay = %shared.args.drain_delay, limit = %shared.args.drain_limit, "draining");
            sleep(shared.args.drain_delay.to_duration()).await;
        };
        pin_mut!(accepting, ending);
        tokio::select! {
            () = ending => {}
            () = accepting => {}
            () = fold_metrics(&shared) => {}
        }
    }
    for stream in listen::accept_waiting(&listener).await {
        server.connect(stream, None);
    }
    drop(listener);
    server.drain().await
}

/// Recorded durations pile up until they are folded into buckets.
async fn fold_metrics(shared: &Shared) {
    loop {
        sleep(Duration::from_secs(1)).await;
        shared.metrics.fold();
    }
}

struct Server {
    app: Router,
    shared: Arc<Shared>,
    tracker: TaskTracker,
    cut: CancellationToken,
}

impl Server {
    /// Accepts without end.
    async fn accept(&self, listener: &TcpListener) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(place) = places.clone().acquire_owned().await {
            let stream = listen::accept(listener).await;
            self.connect(stream, Some(place));
        }
    }

    fn connect(&self, stream: TcpStream, place: Option<tokio::sync::OwnedSemaphorePermit>) {
        let connection = converse(stream, self.app.clone(), self.shared.clone());
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            let _place = place;
            tokio::select! {
                () = connection => {}
                () = cut.cancelled() => {}
            }
        });
    }

    async fn drain(self) -> Result<(), ServeError> {
        let limit = self.shared.args.drain_limit;
        let deadline = Instant::now() + limit.to_duration();
        self.shared.lifecycle.advance(Stage::Draining);
        self.tracker.close();
        let finished = timeout_at(deadline, self.tracker.wait()).await;
        let connections = self.tracker.len();
        self.cut.cancel();
        // Consumers and stores get a second even when requests used the whole limit.
        let stopped = stop_parts(&self.shared, deadline.max(Instant::now() + Duration::from_secs(1))).await;
        match finished {
            Ok(()) => stopped,
            Err(_elapsed) => Err(ServeError::DrainLimit { connections, limit }),
        }
    }
}

/// One connection from its first request to its close.
async fn converse(stream: TcpStream, app: Router, shared: Arc<Shared>) {
    let answering = service_fn(|request: hyper::Request<Incoming>| {
        let answer = app.clone().call(request.map(Body::new) as Request);
        let shared = &shared;
        async move {
            let mut response = answer.await?;
            if shared.lifecycle.is_ending() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_LIMIT)
        .max_buf_size(HEAD_LIMIT)
        .writev(false)
        .serve_connection(TokioIo::new(stream), answering);
    let lingered = async {
        shared.lifecycle.reached(Stage::Draining).await;
        sleep(IDLE_LINGER).await;
    };
    pin_mut!(connection, lingered);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = lingered => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection broke off");
    }
}
