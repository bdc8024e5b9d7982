//! Endpoints with their addresses looked up: names cost a blocking look-up, so this happens in the caller's thread.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use lab_core::control::Endpoint;

/// How long each address of a name with several is tried.
const TRY: Duration = Duration::from_millis(500);

/// An endpoint that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
}

/// Looks every address up; the errors name those that cannot be found, all at once.
pub(crate) fn resolve(endpoints: &[Endpoint]) -> Result<Vec<Target>, Vec<String>> {
    let mut targets: Vec<Target> = Vec::with_capacity(endpoints.len());
    let mut wrong = Vec::new();
    for endpoint in endpoints {
        match look_up(&endpoint.address) {
            Ok(address) if targets.iter().all(|t| t.endpoint != *endpoint) => {
                targets.push(Target { endpoint: endpoint.clone(), address });
            }
            Ok(_) => wrong.push(format!("{} at `{}` is listed twice", endpoint.replica, endpoint.address)),
            Err(why) => wrong.push(format!("`{}` of {}: {why}; write host:port", endpoint.address, endpoint.replica)),
        }
    }
    if wrong.is_empty() { Ok(targets) } else { Err(wrong) }
}

/// The first address of a name that takes a connection, or its first address when none does.
fn look_up(text: &str) -> Result<SocketAddr, String> {
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|e| e.to_string())?.collect();
    let first = *found.first().ok_or("the name has no address")?;
    if found.len() == 1 {
        return Ok(first);
    }
    Ok(found.into_iter().find(|a| TcpStream::connect_timeout(a, TRY).is_ok()).unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str) -> Endpoint {
        Endpoint { replica: format!("r {address}"), address: address.to_owned() }
    }

    #[test]
    fn addresses_are_looked_up_and_every_wrong_one_is_named() {
        let good = resolve(&[endpoint("127.0.0.1:80"), endpoint("[::1]:81")]).expect("two literals");
        assert_eq!(good[1].address.port(), 81);
        let wrong = resolve(&[endpoint("127.0.0.1"), endpoint("127.0.0.1:99999"), endpoint("127.0.0.1:1")]);
        assert_eq!(wrong.expect_err("two are wrong").len(), 2);
        assert!(resolve(&[endpoint("127.0.0.1:1"), endpoint("127.0.0.1:1")]).is_err(), "listed twice");
    }
}
