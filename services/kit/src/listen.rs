//! The listener: binding, the announcement on stdout, and accepting with a bound on connections.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::ServeError;

/// Binds the address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// Says on stdout where the service listens: `{"listening":"127.0.0.1:43121"}`, one line, the only one ever.
pub(crate) fn announce(listener: &TcpListener) -> Result<(), ServeError> {
    let failed = |doing| move |source| ServeError::System { doing, source };
    let address = listener.local_addr().map_err(failed("read the listener's address"))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "listening": address.to_string() }))
        .and_then(|()| out.flush())
        .map_err(failed("announce the address on stdout"))
}

/// The next connection, without delay of small packets. Waits while the process has no file descriptor left.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return without_delay(stream),
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The connections that the kernel had accepted already; closing the listener would reset them.
pub(crate) async fn accept_waiting(listener: &TcpListener) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    // The poller has to run before it tells of connections that came just now.
    tokio::task::yield_now().await;
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        streams.push(without_delay(stream));
    }
    streams
}

fn without_delay(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection went away before it was served");
    }
    stream
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
