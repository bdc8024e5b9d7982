//! A pod's port on this machine: a loopback listener whose every connection is a port-forward of its own through the cluster's API, so one that
//! breaks is made anew by whoever connects again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::EnvError;
use crate::system::Doing as _;

/// How long the API may take to open a way to a pod.
const OPEN: Duration = Duration::from_secs(5);
/// Connections at the same time; further ones wait in the listener's backlog.
const CONNECTIONS: usize = 64;
/// Pause after a failed accept: out of file descriptors, which only others can free.
const BREATH: Duration = Duration::from_millis(50);

/// An open way. Dropped: it is closed and its connections are cut.
#[derive(Debug)]
pub(super) struct Forward {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Forward {
    /// Listens on a free port of 127.0.0.1. The pod is asked only when somebody connects.
    ///
    /// # Errors
    /// No port can be had.
    pub(super) async fn open(pods: Api<Pod>, pod: &str, port: u16) -> Result<Self, EnvError> {
        let listening = || format!("listen on this machine for {pod}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.doing(listening)?;
        let address = listener.local_addr().doing(listening)?;
        let task = tokio::spawn(serve(listener, pods, pod.to_owned(), port));
        Ok(Self { address, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, pods: Api<Pod>, pod: String, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((caller, _)) => {
                    let (pods, pod) = (pods.clone(), pod.clone());
                    connections.spawn(async move {
                        if let Err(error) = pass(caller, &pods, &pod, port).await {
                            tracing::debug!(%error, pod, "a way to it broke");
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, pod, "a connection was not accepted");
                    sleep(BREATH).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn pass(mut caller: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> io::Result<()> {
    caller.set_nodelay(true)?;
    let opened = timeout(OPEN, pods.portforward(pod, &[port])).await;
    let mut forwarder = opened.map_err(|_| io::ErrorKind::TimedOut)?.map_err(io::Error::other)?;
    let mut stream = forwarder.take_stream(port).ok_or_else(|| io::Error::other("it has no stream"))?;
    // Its end is told by either side; the rest of the exchange with the API ends with the forwarder.
    let passed = copy_bidirectional(&mut caller, &mut stream).await;
    forwarder.abort();
    passed.map(drop)
}
