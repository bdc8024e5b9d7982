//! A TCP proxy in front of a server: for containers that must reach what listens on this machine alone, and to make a server seem further
//! away. It knows no protocol.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long the server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
/// After an accept that failed, as when this process has no descriptor left.
const AGAIN: Duration = Duration::from_millis(50);
/// Most pieces of one direction that are on their way, and the size of each, bytes.
const PIECES: usize = 256;
const PIECE: usize = 16 * 1024;

/// A proxy that runs until it is dropped; its connections end with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    delay: watch::Sender<Duration>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on a free port of `on` and passes everything to `to` (`host:port`) and back.
    ///
    /// # Errors
    /// It cannot listen there.
    pub(crate) async fn start(on: IpAddr, to: String) -> io::Result<Self> {
        let listener = TcpListener::bind((on, 0)).await?;
        let address = listener.local_addr()?;
        let (delay, seen) = watch::channel(Duration::ZERO);
        let task = tokio::spawn(serve(listener, to, seen));
        Ok(Self { address, delay, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on each direction takes so much longer; zero: as long as it takes.
    pub(crate) fn slow(&self, by: Duration) {
        self.delay.send_replace(by);
    }
}

async fn serve(listener: TcpListener, to: String, delay: watch::Receiver<Duration>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(pass(client, to.clone(), delay.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    sleep(AGAIN).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// One connection. What ends it is for its two ends to tell.
async fn pass(client: TcpStream, to: String, delay: watch::Receiver<Duration>) {
    let server = match timeout(CONNECT, TcpStream::connect(&to)).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => return tracing::debug!(%error, to, "cannot be reached"),
        Err(_) => return tracing::debug!(to, "did not accept"),
    };
    for stream in [&client, &server] {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small pieces may wait for each other");
        }
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = one_way(from_client, to_server, delay.clone());
    let back = one_way(from_server, to_client, delay);
    // One that failed ends both: half a connection would be another fault than the one asked for.
    drop(tokio::try_join!(there, back));
}

/// Reads on while pieces are on their way, so that what is slow is not also narrow.
async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: watch::Receiver<Duration>) -> io::Result<()> {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = from.read(&mut buffer).await?;
            let due = Instant::now() + *delay.borrow();
            // A receiver that is gone has failed, and says so itself. An empty piece is the end.
            if sender.send((due, buffer[..length].to_vec())).await.is_err() || length == 0 {
                return Ok::<_, io::Error>(());
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if piece.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Answers each piece with itself, until its client has ended.
    async fn echo() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await.unwrap();
                });
            }
        });
        address
    }

    async fn round_trip(stream: &mut TcpStream) -> Duration {
        let began = Instant::now();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        began.elapsed()
    }

    #[tokio::test]
    async fn what_is_slow_takes_longer_both_ways_and_is_fast_again() {
        let proxy = Proxy::start(Ipv4Addr::LOCALHOST.into(), echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        round_trip(&mut stream).await;
        let by = Duration::from_millis(150);
        proxy.slow(by);
        let slow = round_trip(&mut stream).await;
        assert!(slow >= by * 2, "{slow:?}");
        proxy.slow(Duration::ZERO);
        let fast = round_trip(&mut stream).await;
        assert!(fast < by, "{fast:?}");
    }

    #[tokio::test]
    async fn much_passes_whole_while_slow_and_ends_are_passed_on() {
        let proxy = Proxy::start(Ipv4Addr::LOCALHOST.into(), echo().await).await.unwrap();
        proxy.slow(Duration::from_millis(100));
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut read, mut write) = stream.into_split();
        let expected = sent.clone();
        let began = Instant::now();
        let writing = tokio::spawn(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        read.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(got == expected, "{} bytes", got.len());
        assert!(began.elapsed() < Duration::from_secs(5), "slow, not narrow: {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_a_connection_that_ends() {
        let proxy = Proxy::start(Ipv4Addr::LOCALHOST.into(), "127.0.0.1:1".to_owned()).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
}
