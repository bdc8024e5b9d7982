//! Servers that are there already, as `--endpoint store.postgres=URL` names them. Addresses hold passwords, so they are never shown.

use std::collections::BTreeMap;

use lab_core::spec::Server;
use secrecy::{ExposeSecret as _, SecretString};

/// Begins the names of the variables that name endpoints: `LAB_ENDPOINT_STORE_POSTGRES`.
const VARIABLE: &str = "LAB_ENDPOINT_";

/// Servers that are there already.
#[derive(Debug, Clone, Default)]
pub struct Endpoints(BTreeMap<Server, SecretString>);

/// What was given is no endpoint. Its address is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given}: {problem}")]
pub struct BadEndpoint {
    /// `--endpoint store.postgres` or the variable.
    pub given: String,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl Endpoints {
    /// Reads what was typed, `NAME=ADDRESS` or `NAME=@FILE` each, over what variables say.
    ///
    /// # Errors
    /// A name is not that of a server, an address not one of its engine, or a file cannot be read.
    pub fn read(typed: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<Self, BadEndpoint> {
        let mut all = BTreeMap::new();
        for server in Server::ALL {
            let name = variable_of(server);
            if let Some(address) = variable(&name).filter(|address| !address.is_empty()) {
                all.insert(server, address_of(server, &address, &name)?);
            }
        }
        for typed in typed {
            let Some((name, address)) = typed.split_once('=') else {
                // All of it may be an address.
                return Err(bad(
                    "--endpoint",
                    "write it like store.postgres=postgres://USER:PASSWORD@HOST:5432/DATABASE".to_owned(),
                ));
            };
            let server: Server = name.trim().parse().map_err(|problem| bad("--endpoint", problem))?;
            all.insert(server, address_of(server, address, &format!("--endpoint {server}"))?);
        }
        Ok(Self(all))
    }

    /// The address of a server, when it was given.
    pub(crate) fn get(&self, server: Server) -> Option<&str> {
        self.0.get(&server).map(|address| address.expose_secret())
    }

    /// Which were given.
    pub fn servers(&self) -> impl Iterator<Item = Server> {
        self.0.keys().copied()
    }
}

/// `LAB_ENDPOINT_STORE_POSTGRES`
pub(crate) fn variable_of(server: Server) -> String {
    format!("{VARIABLE}{}", server.name().replace('.', "_").to_uppercase())
}

fn bad(given: &str, problem: String) -> BadEndpoint {
    BadEndpoint { given: given.to_owned(), problem }
}

/// A whole address: `host:9092` and `aws:eu-west-1` say enough.
fn address_of(server: Server, text: &str, given: &str) -> Result<SecretString, BadEndpoint> {
    let text = match text.trim().strip_prefix('@') {
        None => text.trim().to_owned(),
        Some(path) => {
            let read = std::fs::read_to_string(path);
            read.map_err(|error| bad(given, format!("{path} cannot be read: {error}")))?.trim().to_owned()
        }
    };
    let schemes = schemes(server);
    let scheme = schemes[0];
    let is_aws = matches!(server, Server::Sqs | Server::Dynamodb) && text.starts_with("aws:");
    let address = match text.split_once("://") {
        Some((found, _)) if schemes.contains(&found) => text,
        Some(_) => return Err(bad(given, format!("write {}", shape(server)))),
        None if is_aws => format!("{scheme}:{text}"),
        None if text.starts_with(&format!("{scheme}:aws:")) && scheme != "kafka" => text,
        None => format!("{scheme}://{text}"),
    };
    let whole = address.contains(":aws:") || super::Spot::of(&address).is_some();
    if whole { Ok(address.into()) } else { Err(bad(given, format!("write {}", shape(server)))) }
}

fn schemes(server: Server) -> &'static [&'static str] {
    match server {
        Server::Postgres => &["postgres", "postgresql"],
        Server::Mysql => &["mysql"],
        Server::Mongodb => &["mongodb"],
        Server::Dynamodb => &["dynamodb"],
        Server::Rabbitmq => &["amqp"],
        Server::Kafka => &["kafka"],
        Server::Sqs => &["sqs"],
        Server::Redis => &["redis"],
    }
}

fn shape(server: Server) -> &'static str {
    match server {
        Server::Postgres => "postgres://USER:PASSWORD@HOST:5432/DATABASE",
        Server::Mysql => "mysql://USER:PASSWORD@HOST:3306/DATABASE",
        Server::Mongodb => "mongodb://USER:PASSWORD@HOST:27017/DATABASE",
        Server::Dynamodb => "dynamodb://HOST:8000?region=REGION or aws:REGION",
        Server::Rabbitmq => "amqp://USER:PASSWORD@HOST:5672/VHOST",
        Server::Kafka => "HOST:9092",
        Server::Sqs => "sqs://HOST:9324?region=REGION or aws:REGION",
        Server::Redis => "redis://:PASSWORD@HOST:6379/0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &[&str], variables: &[(&str, &str)]) -> Result<Endpoints, BadEndpoint> {
        let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Endpoints::read(&typed, variable)
    }

    #[test]
    fn what_was_typed_goes_before_variables_and_says_enough_when_short() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("address");
        std::fs::write(&file, "mysql://lab:hush@db/lab\n").unwrap();
        let mysql = format!("store.mysql=@{}", file.display());
        let typed = ["queue.kafka=host:9092", "queue.sqs=aws:eu-west-1", "store.postgres=postgresql://a/b", &mysql];
        let variables =
            [("LAB_ENDPOINT_STORE_POSTGRES", "postgres://c/d"), ("LAB_ENDPOINT_CACHE_REDIS", "localhost:6379")];
        let endpoints = read(&typed, &variables).unwrap();
        for (server, address) in [
            (Server::Kafka, "kafka://host:9092"),
            (Server::Sqs, "sqs:aws:eu-west-1"),
            (Server::Postgres, "postgresql://a/b"),
            (Server::Mysql, "mysql://lab:hush@db/lab"),
            (Server::Redis, "redis://localhost:6379"),
        ] {
            assert_eq!(endpoints.get(server), Some(address));
        }
        assert_eq!(endpoints.get(Server::Mongodb), None);
        assert!(!format!("{endpoints:?}").contains("hush"));
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for (typed, word) in [
            ("postgres://lab:hush@db/lab", "store.postgres=postgres://"),
            ("store.postgras=hush", "store.postgres"),
            ("store.postgres=mysql://lab:hush@db", "postgres://USER"),
            ("store.mysql=@/nowhere", "cannot be read"),
            ("queue.kafka=", "HOST:9092"),
        ] {
            let refused = read(&[typed], &[]).unwrap_err().to_string();
            assert!(refused.contains(word) && !refused.contains("hush@"), "{refused}");
        }
    }
}
