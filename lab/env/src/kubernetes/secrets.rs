//! What the Secrets of a lab in Kubernetes hold: passwords of servers, the addresses that services get, the token of the control API.
//! Pure; who makes the objects is `cluster`'s affair.

use std::collections::BTreeMap;

use lab_core::spec::Server;

use crate::EnvError;
use crate::backing::recipe::{address, recipe};
use crate::home::random_hex;

/// The Secret with the token of the control API, and the key of it.
pub const ACCESS: (&str, &str) = ("lab-access", "token");
/// The Secret with the addresses of servers, one key a server: `store.postgres`.
pub const BACKING: &str = "backing";
/// Length of a password and of a token, bytes.
const PASSWORD: usize = 16;
const TOKEN: usize = 32;

/// Name of a Secret to its keys and their values.
pub type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// `store-postgres`: the name of a server's Service and StatefulSet.
pub(crate) fn host(server: Server) -> String {
    server.name().replace('.', "-")
}

/// The Secrets of these servers: `server-store-postgres` for what a server itself needs, and `backing` with the address of each as
/// services of its namespace reach it. Passwords are new each time.
///
/// # Errors
/// The system gives no random bytes.
pub fn of_servers(servers: &[Server]) -> Result<Secrets, EnvError> {
    let mut all = Secrets::from([(BACKING.to_owned(), BTreeMap::new())]);
    for server in servers {
        let password = random_hex(PASSWORD)?;
        let key = |name: &str, value: String| BTreeMap::from([(name.to_owned(), value)]);
        let own = match server {
            Server::Postgres | Server::Mysql | Server::Rabbitmq => Some(key("password", password.clone())),
            // In a file: arguments can be seen by all.
            Server::Redis => Some(key("lab.conf", format!("requirepass {password}\n"))),
            Server::Mongodb | Server::Dynamodb | Server::Kafka | Server::Sqs => None,
        };
        if let Some(own) = own {
            all.insert(format!("server-{}", host(*server)), own);
        }
        let reached = address(*server, &format!("{}:{}", host(*server), recipe(*server).port), &password);
        if let Some(backing) = all.get_mut(BACKING) {
            backing.insert(server.name(), reached);
        }
    }
    Ok(all)
}

/// A token for the control API.
///
/// # Errors
/// The system gives no random bytes.
pub fn token() -> Result<String, EnvError> {
    random_hex(TOKEN)
}

/// The component of `manifests/` that brings a server: `store-postgres`.
pub(crate) fn component(server: Server) -> String {
    format!("components/{}", host(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_the_passwords_of_their_servers() {
        let all = of_servers(&Server::ALL).unwrap();
        let backing = &all[BACKING];
        assert_eq!(backing.len(), Server::ALL.len());
        let password = &all["server-store-postgres"]["password"];
        assert_eq!(backing["store.postgres"], format!("postgres://lab:{password}@store-postgres:5432/lab"));
        assert_eq!(backing["queue.kafka"], "kafka://queue-kafka:9092");
        let conf = &all["server-cache-redis"]["lab.conf"];
        assert_eq!(
            backing["cache.redis"],
            format!("redis://:{}@cache-redis:6379/0", conf["requirepass ".len()..].trim())
        );
        assert_eq!(all.len(), 5, "{:?}", all.keys());
        assert_ne!(of_servers(&[Server::Postgres]).unwrap()["server-store-postgres"]["password"], *password);
    }
}
