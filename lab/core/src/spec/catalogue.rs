//! Engines and environments by name. A new one is a row in one of the tables at the end of this file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::Grade;
use crate::nearest::nearest;

/// A name is not one of those that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct UnknownName {
    /// What is wrong.
    pub message: String,
    /// What can be used instead.
    pub help: String,
}

impl UnknownName {
    fn new(role: &str, found: &str, have: &[&str], later: &[&str]) -> Self {
        let message = if later.iter().any(|name| found == *name || Some(*name) == found.split_once(':').map(|(a, _)| a))
        {
            format!("`{found}` is known, but not available in this version")
        } else {
            match nearest(found, have.iter().chain(later).copied()) {
                Some(name) => format!("there is no {role} `{found}`; did you mean `{name}`?"),
                None => format!("there is no {role} `{found}`"),
            }
        };
        let mut help = format!("available: {}", have.join(", "));
        if !later.is_empty() {
            help.push_str(&format!("; known, but not available in this version: {}", later.join(", ")));
        }
        Self { message, help }
    }
}

/// Makes an enum of one role from its table: its names, texts and grades all come from the rows.
macro_rules! catalogue {
    ($(#[$about:meta])* $name:ident, $role:literal,
     have { $($variant:ident $text:literal $grade:ident $doc:literal,)+ } later [ $($later:literal),* ]) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = $doc] $variant,)+
        }

        impl $name {
            /// What can be used, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// Names of what can be used.
            pub const NAMES: &[&str] = &[$($text),+];
            /// Names that are known without being available in this version.
            pub const LATER: &[&str] = &[$($later),*];

            /// The name used in specs, on screens and in reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// How far it is what it stands for.
            pub fn grade(self) -> Grade {
                match self { $(Self::$variant => Grade::$grade),+ }
            }

            /// What it is, one line.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => $doc),+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let found = Self::ALL.iter().find(|engine| engine.name() == text);
                found.copied().ok_or_else(|| UnknownName::new($role, text, Self::NAMES, Self::LATER))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

catalogue! {
    /// Where an experiment runs.
    EnvironmentKind, "environment",
    have {
        Local "local" Embedded "Child processes of this machine, embedded backing services.",
        Docker "docker" Real "Containers of this machine's Docker engine.",
        Kubernetes "kubernetes" Real "Pods of the cluster that `--env context:NAME` names.",
    } later ["minikube", "eks"]
}

catalogue! {
    /// Databases.
    StoreEngine, "store",
    have {
        Sqlite "sqlite" Embedded "One SQLite file shared by all replicas.",
        Memory "memory" Embedded "A map in the process: fast, gone with it, never shared between replicas.",
        Postgres "postgres" Real "PostgreSQL.",
        Mysql "mysql" Real "MySQL, or MariaDB in its place.",
        Mongodb "mongodb" Real "MongoDB, or FerretDB in its place.",
        Dynamodb "dynamodb" Real "Amazon DynamoDB, or DynamoDB Local in its place.",
    } later []
}

catalogue! {
    /// Queues.
    QueueEngine, "queue",
    have {
        Sqlite "sqlite" Embedded "One SQLite file shared by all replicas.",
        Rabbitmq "rabbitmq" Real "RabbitMQ, a quorum queue.",
        Kafka "kafka" Real "Apache Kafka, one topic and one group of consumers.",
        Sqs "sqs" Real "Amazon SQS, or ElasticMQ in its place.",
    } later []
}

catalogue! {
    /// Caches.
    CacheEngine, "cache",
    have {
        None "none" Real "No cache.",
        Memory "memory" Embedded "A bounded map in each process.",
        Redis "redis" Real "Redis, shared by all replicas.",
    } later []
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_say_what_there_is() {
        let error = |text: &str| text.parse::<StoreEngine>().expect_err(text).to_string();
        assert_eq!(
            error("sqlight"),
            "there is no store `sqlight`; did you mean `sqlite`?; available: sqlite, memory, postgres, mysql, mongodb, dynamodb"
        );
        assert!(error("postgras").contains("did you mean `postgres`?"));
        let error = "minikube".parse::<EnvironmentKind>().expect_err("not yet");
        assert!(error.message.contains("is known, but not available"), "{error}");
    }

    #[test]
    fn every_row_reads_back() {
        for engine in StoreEngine::ALL {
            assert_eq!(engine.name().parse(), Ok(*engine));
        }
        assert_eq!(serde_json::to_string(&CacheEngine::None).expect("text"), "\"none\"");
    }
}
