//! What a broker says of itself when a connection begins. The driver reads it and keeps it to itself, so it is asked for once more.

use std::time::Duration;

use lab_core::event::Grade;
use lapin::uri::AMQPUri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::About;

/// Longest greeting that is read, bytes.
const MOST: usize = 64 * 1024;

/// A broker that does not tell can be used all the same: it is then only as good as compatible.
pub(super) async fn about(uri: &AMQPUri, limit: Duration) -> About {
    let host = uri.authority.host.trim_start_matches('[').trim_end_matches(']');
    let greeting = timeout(limit, read(host, uri.authority.port)).await;
    named(&greeting.ok().and_then(Result::ok).unwrap_or_default())
}

/// The payload of the broker's first frame, Connection.Start.
async fn read(host: &str, port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let [_, _, _, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).min(MOST);
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Who it is, from the properties in its greeting.
pub(super) fn named(greeting: &[u8]) -> About {
    let version = text(greeting, "version").unwrap_or_default();
    let (server, fidelity) = match text(greeting, "product") {
        Some("RabbitMQ") => (format!("RabbitMQ {version}"), Grade::Real),
        Some(other) => (format!("{other} {version}"), Grade::Compatible),
        None => ("a broker that does not say what it is".to_owned(), Grade::Compatible),
    };
    About { server: server.trim_end().to_owned(), fidelity, connections: None }
}

/// The value of a text property: the key behind its length, `S`, the value behind its length in four bytes.
fn text<'a>(greeting: &'a [u8], key: &str) -> Option<&'a str> {
    let mut field = vec![u8::try_from(key.len()).ok()?];
    field.extend_from_slice(key.as_bytes());
    field.push(b'S');
    let behind = greeting.windows(field.len()).position(|window| window == field)? + field.len();
    let (length, rest) = greeting.get(behind..)?.split_first_chunk::<4>()?;
    let value = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_named_by_its_properties() {
        let greeting = b"\0\x0a\0\x0a\0\x09\0\0\0\x2a\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8";
        assert_eq!(named(greeting).server, "RabbitMQ 3.10.8");
        assert_eq!(named(greeting).fidelity, Grade::Real);
        let other = b"\x07productS\0\0\0\x08LavinMQ!\x07versionS\0\0\0\xff2";
        assert_eq!((named(other).server.as_str(), named(other).fidelity), ("LavinMQ!", Grade::Compatible));
        assert_eq!(named(b"").fidelity, Grade::Compatible);
    }
}
