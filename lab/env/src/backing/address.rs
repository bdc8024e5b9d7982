//! Addresses of servers as text: where in them the host stands, and how it gives way to another. Passwords pass through unseen.

use std::net::IpAddr;

/// `host:port` in an address, with where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot<'a> {
    from: usize,
    to: usize,
    /// `127.0.0.1:5432`, `[::1]:5432`, `db`; several behind commas.
    pub(crate) hosts: &'a str,
}

impl<'a> Spot<'a> {
    /// None for an address without a host: a file, a service of AWS.
    pub(crate) fn of(address: &'a str) -> Option<Self> {
        let begin = address.find("://")? + 3;
        let rest = &address[begin..];
        // The last `@`: a password that was not escaped may hold one. Behind the host there is none.
        let from = begin + rest.rfind('@').map_or(0, |at| at + 1);
        let length = address[from..].find(['/', '?']).unwrap_or(address.len() - from);
        (length > 0).then(|| Self { from, to: from + length, hosts: &address[from..from + length] })
    }

    /// The same address at another place.
    pub(crate) fn moved(&self, address: &str, to: &str) -> String {
        format!("{}{to}{}", &address[..self.from], &address[self.to..])
    }

    /// True when only this machine reaches one of the hosts.
    pub(crate) fn is_loopback(&self) -> bool {
        self.hosts.split(',').any(|host| {
            let (name, _) = split(host, 0);
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
        })
    }

    /// Host and port; None when there are several.
    pub(crate) fn single(&self, default_port: u16) -> Option<(&'a str, u16)> {
        (!self.hosts.contains(',')).then(|| split(self.hosts, default_port))
    }
}

fn split(host: &str, default_port: u16) -> (&str, u16) {
    let bare = |host: &str| host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || bare(name) => (name, port.parse().unwrap_or(default_port)),
        _ => (host, default_port),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_found_and_moved() {
        for (address, hosts, loopback, moved) in [
            ("postgres://lab:s@cr/et@127.0.0.1:5432/x?a=b", "127.0.0.1:5432", true, "postgres://lab:s@cr/et@h:1/x?a=b"),
            ("dynamodb://localhost:8000/lab", "localhost:8000", true, "dynamodb://h:1/lab"),
            ("redis://[::1]:6379/0", "[::1]:6379", true, "redis://h:1/0"),
            ("amqp://lab:x@broker/%2f", "broker", false, "amqp://lab:x@h:1/%2f"),
            ("kafka://a:9092,localhost:9093", "a:9092,localhost:9093", true, "kafka://h:1"),
        ] {
            let spot = Spot::of(address).unwrap();
            assert_eq!((spot.hosts, spot.is_loopback()), (hosts, loopback));
            assert_eq!(spot.moved(address, "h:1"), moved);
        }
        assert_eq!(Spot::of("sqs:aws:eu-west-1/lab"), None);
        assert_eq!(Spot::of("postgres:///lab"), None);
    }

    #[test]
    fn a_port_that_is_not_named_is_the_usual_one() {
        let single = |address| Spot::of(address).unwrap().single(5432);
        assert_eq!(single("postgres://db/x"), Some(("db", 5432)));
        assert_eq!(single("postgres://[::1]:7/x"), Some(("::1", 7)));
        assert_eq!(single("postgres://[::1]/x"), Some(("::1", 5432)));
        assert_eq!(single("kafka://a:1,b:2"), None);
    }
}
