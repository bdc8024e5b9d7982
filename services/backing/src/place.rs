//! Places of one's own at servers that others use too: a database, or names and keys that begin alike. Made for one run and removed with
//! all that is in it, so that nothing of it stays. Only what such a place is called is ever removed.

use std::time::Duration;

use tokio::time::timeout;

use crate::Error;
use crate::address::{read, shown};

mod database;
mod names;

/// What the names of all places begin with.
const MARK: &str = "lab_";
/// How long a server may take to make or remove a place.
const LIMIT: Duration = Duration::from_secs(60);
/// For errors.
const ROLE: &str = "place for a run";
const ACCEPTED: &str = "the address of a server, and a name that begins with `lab_`";

pub(crate) const OWN: &str = "make a place for a run";
pub(crate) const DISOWN: &str = "remove the place of a run";

/// The address of the place `name` at the server that `address` names. Nothing is made.
///
/// # Errors
/// [`Error::Address`]: the name does not begin with `lab_` and go on with `a-z 0-9 _`, or the address names no server.
pub fn derive(address: &str, name: &str) -> Result<String, Error> {
    let refused = || Error::Address { address: shown(address), role: ROLE, accepted: ACCEPTED };
    if !is_name(name) {
        return Err(refused());
    }
    let parts = Parts::of(address).ok_or_else(refused)?;
    Ok(match parts.scheme {
        "postgres" | "postgresql" | "mysql" | "dynamodb" | "sqs" => parts.at(name, parts.query),
        "mongodb" => {
            // A login is looked up in the database that the address names, unless it says otherwise.
            let logs_in = parts.authority.contains('@') && !parts.query.to_lowercase().contains("authsource=");
            let source = if parts.path.is_empty() { "admin" } else { parts.path };
            let more = if logs_in { format!("authSource={source}") } else { String::new() };
            parts.at(name, &joined(parts.query, &more))
        }
        "amqp" | "kafka" | "redis" => parts.at(parts.path, &joined(parts.query, &format!("{PREFIX}{name}-"))),
        _ => return Err(refused()),
    })
}

/// Makes the place that [`derive()`] gave, at the server that the first address names.
///
/// # Errors
/// What the server says; a place that is there already.
pub async fn make(server: &str, place: &str) -> Result<(), Error> {
    let name = name_of(place)?;
    let made = async {
        match Parts::of(server).map(|parts| parts.scheme) {
            Some("postgres" | "postgresql") => database::make_postgres(server, &name).await,
            Some("mysql") => database::make_mysql(server, &name).await,
            // Made with the first thing in them.
            _ => Ok(()),
        }
    };
    timeout(LIMIT, made).await.unwrap_or(Err(Error::Timeout { operation: OWN, limit: LIMIT }))
}

/// Removes the place at this address, or at the one that `@FILE` holds. One that is not there is fine.
/// `queues` are the names of the queues that services open, for brokers that do not list theirs.
///
/// # Errors
/// What the server says; an address that is not of a place.
pub async fn remove(address: &str, queues: &[&str]) -> Result<(), Error> {
    let address = &*read(address)?;
    let name = name_of(address)?;
    let removed = async {
        match Parts::of(address).map(|parts| parts.scheme) {
            Some("postgres" | "postgresql") => database::remove_postgres(address, &name).await,
            Some("mysql") => database::remove_mysql(address, &name).await,
            Some("mongodb") => database::remove_mongodb(address, &name).await,
            Some("dynamodb") => names::remove_dynamodb(address, &name).await,
            Some("sqs") => names::remove_sqs(address, &name).await,
            Some("amqp") => names::remove_rabbitmq(address, queues).await,
            Some("kafka") => names::remove_kafka(address).await,
            Some("redis") => names::remove_redis(address).await,
            _ => Ok(()),
        }
    };
    timeout(LIMIT, removed).await.unwrap_or(Err(Error::Timeout { operation: DISOWN, limit: LIMIT }))
}

/// What stands before a prefix in the query of an address.
const PREFIX: &str = "prefix=";

/// The address without its prefix, and the prefix, which is empty when there is none. For servers without places of their own.
pub(crate) fn prefixed(address: &str) -> (String, String) {
    let Some(parts) = Parts::of(address) else { return (address.to_owned(), String::new()) };
    let (prefix, rest): (Vec<&str>, Vec<&str>) =
        parts.query.split('&').filter(|pair| !pair.is_empty()).partition(|pair| pair.starts_with(PREFIX));
    let Some(prefix) = prefix.first().map(|pair| pair[PREFIX.len()..].to_owned()) else {
        return (address.to_owned(), String::new());
    };
    (parts.at(parts.path, &rest.join("&")), prefix)
}

fn is_name(name: &str) -> bool {
    let rest = name.strip_prefix(MARK).unwrap_or_default();
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=56).contains(&rest.len()) && rest.bytes().all(good)
}

/// The name of the place at an address. The one check between a removal and what is not ours.
fn name_of(address: &str) -> Result<String, Error> {
    let refused = || Error::Address { address: shown(address), role: ROLE, accepted: ACCEPTED };
    let parts = Parts::of(address).ok_or_else(refused)?;
    let name = match parts.scheme {
        "amqp" | "kafka" | "redis" => prefixed(address).1.trim_end_matches('-').to_owned(),
        _ => parts.path.to_owned(),
    };
    if is_name(&name) { Ok(name) } else { Err(refused()) }
}

fn joined(query: &str, more: &str) -> String {
    [query, more].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&")
}

/// `scheme://authority/path?query`, or `scheme:aws:REGION/path`.
struct Parts<'a> {
    scheme: &'a str,
    /// What stands between scheme and authority.
    mark: &'static str,
    authority: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(address: &'a str) -> Option<Self> {
        let (scheme, rest) = address.split_once(':')?;
        let (mark, rest) = match (rest.strip_prefix("//"), rest.strip_prefix("aws:")) {
            (Some(rest), _) => ("://", rest),
            (_, Some(rest)) => (":aws:", rest),
            _ => return None,
        };
        // Behind the last `@`: a password that was not escaped may hold any sign.
        let host = rest.rfind('@').map_or(0, |at| at + 1);
        let end = rest[host..].find(['/', '?']).map_or(rest.len(), |at| host + at);
        let (authority, behind) = rest.split_at(end);
        let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
        (!authority.is_empty()).then_some(Self { scheme, mark, authority, path: path.trim_start_matches('/'), query })
    }

    fn at(&self, path: &str, query: &str) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{}{}{slash}{path}{mark}{query}", self.scheme, self.mark, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_by_their_address() {
        for (server, place) in [
            (
                "postgres://lab:s@cr/et@db:5432/app?sslmode=require",
                "postgres://lab:s@cr/et@db:5432/lab_x?sslmode=require",
            ),
            ("mysql://lab:x@db", "mysql://lab:x@db/lab_x"),
            ("mongodb://db:27017/app", "mongodb://db:27017/lab_x"),
            ("mongodb://lab:x@db/app", "mongodb://lab:x@db/lab_x?authSource=app"),
            ("mongodb://lab:x@db?w=1", "mongodb://lab:x@db/lab_x?w=1&authSource=admin"),
            ("mongodb://lab:x@db/?authSource=y", "mongodb://lab:x@db/lab_x?authSource=y"),
            ("dynamodb://db:8000?region=here", "dynamodb://db:8000/lab_x?region=here"),
            ("dynamodb:aws:eu-west-1", "dynamodb:aws:eu-west-1/lab_x"),
            ("sqs:aws:eu-west-1/other", "sqs:aws:eu-west-1/lab_x"),
            ("amqp://lab:x@mq/%2f", "amqp://lab:x@mq/%2f?prefix=lab_x-"),
            ("kafka://a:1,b:2?partitions=3", "kafka://a:1,b:2?partitions=3&prefix=lab_x-"),
            ("redis://:x@c:1/0", "redis://:x@c:1/0?prefix=lab_x-"),
        ] {
            assert_eq!(derive(server, "lab_x").unwrap(), place);
            assert_eq!(name_of(place).unwrap(), "lab_x");
        }
        assert_eq!(
            prefixed("kafka://a:1?partitions=3&prefix=lab_x-"),
            ("kafka://a:1?partitions=3".into(), "lab_x-".into())
        );
        assert_eq!(prefixed("kafka://a:1?partitions=3"), ("kafka://a:1?partitions=3".into(), String::new()));
    }

    #[tokio::test]
    async fn nothing_but_a_place_is_removed() {
        for address in [
            "postgres://lab:hush@127.0.0.1:1/app",
            "postgres://lab:hush@127.0.0.1:1/lab_",
            "mysql://lab:hush@127.0.0.1:1/lab_x;DROP",
            "dynamodb:aws:eu-west-1/app",
            "redis://:hush@127.0.0.1:1/0",
            "kafka://127.0.0.1:1?prefix=-",
            "sqlite:users.db",
        ] {
            let refused = remove(address, &[]).await.unwrap_err();
            assert!(matches!(refused, Error::Address { .. }) && !refused.to_string().contains("hush"), "{refused:?}");
        }
        assert!(derive("postgres://db/x", "app").is_err() && derive("sqlite:x", "lab_x").is_err());
    }
}
