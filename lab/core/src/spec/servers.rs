//! Backing services that are servers of their own, and which of them a spec needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CacheEngine, CreateMode, QueueEngine, Spec, StoreEngine};

/// What a backing service is to the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A database.
    Store,
    /// A queue.
    Queue,
    /// A cache.
    Cache,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Store, Self::Queue, Self::Cache];

    /// `store`, `queue`, `cache`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Queue => "queue",
            Self::Cache => "cache",
        }
    }
}

/// An engine that is a server of its own: the services of a lab share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// `store.postgres`
    Postgres,
    /// `store.mysql`
    Mysql,
    /// `store.mongodb`
    Mongodb,
    /// `store.dynamodb`
    Dynamodb,
    /// `queue.rabbitmq`
    Rabbitmq,
    /// `queue.kafka`
    Kafka,
    /// `queue.sqs`
    Sqs,
    /// `cache.redis`
    Redis,
}

impl Server {
    /// Every server.
    pub const ALL: [Self; 8] = [
        Self::Postgres,
        Self::Mysql,
        Self::Mongodb,
        Self::Dynamodb,
        Self::Rabbitmq,
        Self::Kafka,
        Self::Sqs,
        Self::Redis,
    ];

    /// The server of a store; None for an embedded one.
    pub fn of_store(engine: StoreEngine) -> Option<Self> {
        match engine {
            StoreEngine::Sqlite | StoreEngine::Memory => None,
            StoreEngine::Postgres => Some(Self::Postgres),
            StoreEngine::Mysql => Some(Self::Mysql),
            StoreEngine::Mongodb => Some(Self::Mongodb),
            StoreEngine::Dynamodb => Some(Self::Dynamodb),
        }
    }

    /// The server of a queue; None for an embedded one.
    pub fn of_queue(engine: QueueEngine) -> Option<Self> {
        match engine {
            QueueEngine::Sqlite => None,
            QueueEngine::Rabbitmq => Some(Self::Rabbitmq),
            QueueEngine::Kafka => Some(Self::Kafka),
            QueueEngine::Sqs => Some(Self::Sqs),
        }
    }

    /// The server of a cache; None for an embedded one.
    pub fn of_cache(engine: CacheEngine) -> Option<Self> {
        match engine {
            CacheEngine::None | CacheEngine::Memory => None,
            CacheEngine::Redis => Some(Self::Redis),
        }
    }

    /// What it is to the services.
    pub fn role(self) -> Role {
        match self {
            Self::Postgres | Self::Mysql | Self::Mongodb | Self::Dynamodb => Role::Store,
            Self::Rabbitmq | Self::Kafka | Self::Sqs => Role::Queue,
            Self::Redis => Role::Cache,
        }
    }

    /// `postgres`
    pub fn engine(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mongodb => "mongodb",
            Self::Dynamodb => "dynamodb",
            Self::Rabbitmq => "rabbitmq",
            Self::Kafka => "kafka",
            Self::Sqs => "sqs",
            Self::Redis => "redis",
        }
    }

    /// `store.postgres`: its name in events, faults, endpoints, on screens and in reports.
    pub fn name(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.role().name(), self.engine())
    }
}

impl std::str::FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|server| server.name() == text).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(|server| server.name()).collect();
            format!("there is no backing server `{}`; there are {}", text.escape_debug(), names.join(", "))
        })
    }
}

impl Spec {
    /// The servers that its services need, each once, in the order of [`Server::ALL`].
    pub fn servers(&self) -> Vec<Server> {
        let mut needed = Vec::new();
        if let Some(user) = &self.services.user_service {
            needed.push(Server::of_store(user.store));
            needed.push(Server::of_cache(user.cache));
            needed.push(Server::of_queue(user.queue).filter(|_| user.create == CreateMode::Queued));
        }
        if let Some(message) = &self.services.message_service {
            needed.push(Server::of_store(message.store));
            needed.push(Server::of_cache(message.cache));
            needed.push(Server::of_queue(message.queue));
        }
        let mut needed: Vec<Server> = needed.into_iter().flatten().collect();
        needed.sort();
        needed.dedup();
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse;

    #[test]
    fn every_server_is_known_by_its_name() {
        for server in Server::ALL {
            assert_eq!(server.name().parse(), Ok(server));
        }
        let error = "queue.broker".parse::<Server>().expect_err("no engine");
        assert!(error.contains("queue.kafka"), "{error}");
    }

    #[test]
    fn a_spec_needs_each_server_once_and_no_queue_that_is_not_used() {
        let spec = |create: &str| {
            let text = format!(
                "question: q\nservices:\n  user-service: {{ store: postgres, queue: kafka, create: {create} }}\n  \
                 message-service: {{ store: postgres, queue: rabbitmq, cache: redis }}\n"
            );
            parse("t.yaml", &text, &[], &|_| Err(String::new())).expect("a spec").spec
        };
        assert_eq!(spec("direct").servers(), [Server::Postgres, Server::Rabbitmq, Server::Redis]);
        assert_eq!(spec("queued").servers(), [Server::Postgres, Server::Rabbitmq, Server::Kafka, Server::Redis]);
    }
}
