//! One stable loopback address for a service: a plain TCP forwarder over its ready replicas. For people, not for measurement: it
//! counts nothing and no measured load goes through it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lab_core::control::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::EnvError;
use crate::system::Doing as _;

/// Deadline for a replica to accept before the next is tried.
const CONNECT: Duration = Duration::from_secs(1);
/// Deadline for each step of telling a caller that nobody is there.
const REFUSE: Duration = Duration::from_secs(1);
/// Connections at the same time; further ones wait in the listener's backlog.
const CONNECTIONS: usize = 512;
/// Pause after a failed accept: out of file descriptors, which only others can free.
const BREATH: Duration = Duration::from_millis(50);

/// An open front door. Dropping it closes it and cuts its connections.
#[derive(Debug)]
pub struct FrontDoor {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The port people expect a service on; None: any free one.
pub fn usual_port(workload: &str) -> Option<u16> {
    match workload {
        "user-service" => Some(8081),
        "message-service" => Some(8082),
        "load-generator" => Some(8080),
        _ => None,
    }
}

impl FrontDoor {
    /// Opens a door on `127.0.0.1:port`, or on another free port when that one is taken or 0.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn open(port: u16, endpoints: watch::Receiver<Vec<Endpoint>>) -> Result<Self, EnvError> {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = match bind(port).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind(0).await,
            other => other,
        };
        let listener = listener.doing(|| format!("listen on 127.0.0.1:{port}"))?;
        let address = listener.local_addr().doing(|| "read the front door's address".to_owned())?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept(listener, endpoints, stop.clone(), tasks.clone()));
        tasks.close();
        Ok(Self { address, stop, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes it, cuts its connections and waits until they are gone.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for FrontDoor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let turn = Arc::new(AtomicUsize::new(0));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let caller = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((caller, _)) = caller else {
            sleep(BREATH).await;
            continue;
        };
        let (stop, endpoints, first) = (stop.clone(), endpoints.clone(), turn.fetch_add(1, Ordering::Relaxed));
        tasks.spawn(async move {
            let ready = endpoints.borrow().clone();
            // An error is a connection that one side cut; both sides know.
            if let Some(Err(error)) = stop.run_until_cancelled(serve(caller, &ready, first)).await {
                tracing::trace!(%error, "a connection through the front door was cut");
            }
            drop(place);
        });
    }
}

async fn serve(mut caller: TcpStream, ready: &[Endpoint], first: usize) -> io::Result<()> {
    for n in 0..ready.len() {
        let endpoint = &ready[(first + n) % ready.len()];
        if let Ok(Ok(mut replica)) = timeout(CONNECT, TcpStream::connect(&endpoint.address)).await {
            caller.set_nodelay(true)?;
            replica.set_nodelay(true)?;
            // As long as either side likes: event streams last for hours, and a replica that drains cuts its own.
            return copy_bidirectional(&mut caller, &mut replica).await.map(drop);
        }
    }
    timeout(REFUSE * 2, refuse(&mut caller)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads the head first: closing with unread bytes would reset the connection and lose the answer.
async fn refuse(caller: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut chunk = [0_u8; 1024];
    while head.len() < 16 << 10 && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match timeout(REFUSE, caller.read(&mut chunk)).await {
            Ok(Ok(read)) if read > 0 => head.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    let body = r#"{"error":"no replica is ready; try again in a second"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    caller.write_all(answer.as_bytes()).await?;
    caller.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener that says its name to whoever connects.
    async fn named(name: &'static str) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut word = [0; 2];
                caller.read_exact(&mut word).await.unwrap();
                caller.write_all(name.as_bytes()).await.unwrap();
            }
        });
        Endpoint { replica: name.to_owned(), address }
    }

    async fn ask(door: &FrontDoor, question: &str) -> String {
        let mut stream = TcpStream::connect(door.address()).await.unwrap();
        stream.write_all(question.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn replicas_take_turns_and_a_dead_one_is_passed_over() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let dead = Endpoint { replica: "dead".to_owned(), address: closed };
        let (list, endpoints) = watch::channel(vec![named("a").await, dead, named("b").await]);
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = FrontDoor::open(taken.local_addr().unwrap().port(), endpoints).await.unwrap();
        assert_ne!(door.address().port(), taken.local_addr().unwrap().port());
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(ask(&door, "hi").await);
        }
        assert_eq!(answers.concat(), "abbabb");
        list.send_replace(Vec::new());
        let answer = ask(&door, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
        door.close().await;
    }
}
