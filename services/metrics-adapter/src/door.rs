//! The TLS listener: handshakes, connections, and their end with the service. Who may pass is decided in the handshake.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures_util::pin_mut;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kit::{Lifecycle, Stage};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::certificates::Tls;

/// Connections held at once, handshakes included; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 256;
/// Longest handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for a request's head, and for the next request on a connection. The API server keeps its own open for 90 s.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const HEAD_LIMIT: usize = 16 * 1024;

/// Serves until the service drains, then lets what is in work end.
pub(crate) async fn serve(listener: TcpListener, tls: Tls, app: Router, life: Lifecycle) {
    let tracker = TaskTracker::new();
    let accepting = async {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(place) = places.clone().acquire_owned().await {
            let stream = accept(&listener).await;
            let acceptor = TlsAcceptor::from(tls.borrow().clone());
            let connection = converse(stream, acceptor, app.clone(), life.clone());
            tracker.spawn(async move {
                connection.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = life.reached(Stage::Draining) => {}
    }
    drop(listener);
    tracker.close();
    tracker.wait().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "the connection went away before it was served");
                }
                return stream;
            }
            Err(error) => {
                // Of the connection, which is gone; or no file descriptor is left, and one may be in a moment.
                tracing::debug!(%error, "cannot accept a connection; trying again");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One connection from its handshake to its close.
async fn converse(stream: TcpStream, acceptor: TlsAcceptor, app: Router, life: Lifecycle) {
    let stream = match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a caller was refused"),
        Err(_elapsed) => return tracing::debug!(limit = ?HANDSHAKE_LIMIT, "a caller did not finish its handshake"),
    };
    let answering = service_fn(|request: hyper::Request<Incoming>| app.clone().call(request.map(Body::new) as Request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_LIMIT)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), answering);
    pin_mut!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = life.reached(Stage::Draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection broke off");
    }
}
