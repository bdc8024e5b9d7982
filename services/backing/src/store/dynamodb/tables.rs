//! The tables, and how they come to be. Any number of replicas may make them at the same moment.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use futures_util::future::try_join_all;
use tokio::time::{sleep, timeout};

use super::{DynamodbStore, Fields, OPEN, Unread, item, number, text};
use crate::Error;

/// The tables of this layout.
const VERSION: i64 = 1;

/// Full names.
pub(super) struct Tables {
    /// By `name`: the counter of users, and the version of the tables.
    pub counters: String,
    /// By `id`.
    pub users: String,
    /// By `id`: claims and answers of keys. The service forgets them after `expires`.
    pub answers: String,
    /// By `id`: the messages there are.
    pub messages: String,
    /// By `to` and `place`: what the messages say.
    pub inboxes: String,
}

type Key = &'static [(&'static str, ScalarAttributeType)];

impl Tables {
    pub(super) fn of(prefix: &str) -> Self {
        let name = |table| format!("{prefix}-{table}");
        Self {
            counters: name("counters"),
            users: name("users"),
            answers: name("answers"),
            messages: name("messages"),
            inboxes: name("inboxes"),
        }
    }

    fn with_keys(&self) -> [(&str, Key); 5] {
        use ScalarAttributeType::{B, N, S};
        [
            (&self.counters, &[("name", S)]),
            (&self.users, &[("id", N)]),
            (&self.answers, &[("id", S)]),
            (&self.messages, &[("id", B)]),
            (&self.inboxes, &[("to", N), ("place", B)]),
        ]
    }
}

/// The key's first attribute chooses the partition, the second the order in it.
fn key_types() -> [KeyType; 2] {
    [KeyType::Hash, KeyType::Range]
}

impl DynamodbStore {
    /// Makes what is missing and refuses what is not ours.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let limit = self.place.ready_within();
        let prepare = async {
            try_join_all(self.tables.with_keys().map(|(table, key)| self.make(table, key))).await?;
            self.let_answers_expire().await?;
            let Some(found) = self.version(OPEN).await? else {
                let version = item([("name", text("schema")), ("version", number(VERSION.cast_unsigned()))]);
                // False when another replica was faster, with the same version or a newer one that knows of older ones.
                return self.insert(OPEN, &self.tables.counters, "name", version).await.map(drop);
            };
            if found > VERSION {
                return Err(Error::NewerSchema { what: self.place.address().to_owned(), found, known: VERSION });
            }
            Ok(())
        };
        timeout(limit, prepare).await.unwrap_or(Err(Error::Timeout { operation: OPEN, limit }))
    }

    /// The version written into the tables.
    pub(super) async fn version(&self, operation: &'static str) -> Result<Option<i64>, Error> {
        let found = self.get(operation, &self.tables.counters, "name", text("schema")).await?;
        let version = found.map(|item| Fields { operation, item: &item }.number("version")).transpose()?;
        Ok(version.map(u64::cast_signed))
    }

    /// Which server stands in for the service. The names that it gives to tables tell.
    pub(super) async fn which_stand_in(&self) -> Result<&'static str, Error> {
        let described = self.client.describe_table().table_name(&self.tables.counters).send().await;
        let table = described.map_err(self.failed(OPEN))?.table;
        let name = table.as_ref().and_then(|table| table.table_arn()).unwrap_or_default();
        Ok(if name.contains(":ddblocal:") { "DynamoDB Local" } else { "a stand-in for DynamoDB" })
    }

    /// Makes a table if there is none, and waits until it can be used.
    async fn make(&self, table: &str, key: Key) -> Result<(), Error> {
        const LONGEST_WAIT: Duration = Duration::from_millis(500);
        let mut wait = Duration::from_millis(5);
        while !self.is_usable(table, key).await? {
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Ok(())
    }

    /// True when the table is there and active. Made when it is not there.
    async fn is_usable(&self, table: &str, key: Key) -> Result<bool, Error> {
        let described = match self.client.describe_table().table_name(table).send().await {
            Ok(described) => described.table.ok_or_else(|| Error::engine(OPEN, Unread("table")))?,
            Err(error) if error.as_service_error().is_some_and(|said| said.is_resource_not_found_exception()) => {
                self.create(table, key).await?;
                return Ok(false);
            }
            Err(error) => return Err(self.failed(OPEN)(error)),
        };
        let types = key_types();
        let expected = key.iter().zip(&types).map(|((name, _), place)| (*name, place));
        let found = described.key_schema().iter().map(|element| (element.attribute_name(), element.key_type()));
        if !found.eq(expected) {
            return Err(Error::OtherFile { operation: OPEN, path: self.place.address().to_owned() });
        }
        Ok(described.table_status() == Some(&TableStatus::Active))
    }

    async fn create(&self, table: &str, key: Key) -> Result<(), Error> {
        let unbuilt = |error| Error::engine(OPEN, error);
        let mut create = self.client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for ((name, kind), place) in key.iter().zip(key_types()) {
            let defined = AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone());
            let element = KeySchemaElement::builder().attribute_name(*name).key_type(place);
            create = create.attribute_definitions(defined.build().map_err(unbuilt)?);
            create = create.key_schema(element.build().map_err(unbuilt)?);
        }
        match create.send().await {
            Ok(_created) => Ok(()),
            // Another replica was faster.
            Err(error) if error.as_service_error().is_some_and(|said| said.is_resource_in_use_exception()) => Ok(()),
            Err(error) => Err(self.failed(OPEN)(error)),
        }
    }

    async fn let_answers_expire(&self) -> Result<(), Error> {
        if self.answers_expire().await? {
            return Ok(());
        }
        let by = TimeToLiveSpecification::builder().attribute_name("expires").enabled(true).build();
        let by = by.map_err(|error| Error::engine(OPEN, error))?;
        let update = self.client.update_time_to_live().table_name(&self.tables.answers).time_to_live_specification(by);
        let Err(error) = update.send().await else { return Ok(()) };
        // It is refused when another replica was faster.
        if self.answers_expire().await? { Ok(()) } else { Err(self.failed(OPEN)(error)) }
    }

    async fn answers_expire(&self) -> Result<bool, Error> {
        let describe = self.client.describe_time_to_live().table_name(&self.tables.answers);
        let described = describe.send().await.map_err(self.failed(OPEN))?.time_to_live_description;
        let status = described.and_then(|described| described.time_to_live_status);
        Ok(matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)))
    }
}
