//! Places that are beginnings of names: tables, queues, topics, keys.

use std::time::Duration;

use aws_sdk_dynamodb::types::TableStatus;
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use tokio::task::spawn_blocking;

use super::{ACCEPTED, DISOWN, ROLE, prefixed};
use crate::Error;
use crate::aws::{Limits, Place, Wanted};

/// Longest wait for one answer.
const CALL: Duration = Duration::from_secs(15);
/// Keys that are looked at, and removed, in one call.
const KEYS: usize = 1000;

async fn aws(address: &str, scheme: &'static str) -> Result<(Place, aws_config::SdkConfig), Error> {
    let place = Place::read(address, Wanted { scheme, role: ROLE, accepted: ACCEPTED })?;
    let config = place.config(Limits { deadline: CALL, ends_calls: true, idle: 4 }).await;
    Ok((place, config))
}

pub(super) async fn remove_dynamodb(address: &str, name: &str) -> Result<(), Error> {
    let (place, config) = aws(address, "dynamodb").await?;
    let client = aws_sdk_dynamodb::Client::new(&config);
    let mut tables = Vec::new();
    let mut from = None;
    loop {
        let listed = client.list_tables().set_exclusive_start_table_name(from).send().await;
        let listed = listed.map_err(place.failed(DISOWN))?;
        let ours = |table: &&String| table.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        tables.extend(listed.table_names().iter().filter(ours).cloned());
        from = listed.last_evaluated_table_name;
        if from.is_none() {
            break;
        }
    }
    for table in tables {
        let described = client.describe_table().table_name(&table).send().await;
        let status = described.ok().and_then(|described| described.table?.table_status);
        if status == Some(TableStatus::Deleting) {
            continue;
        }
        match client.delete_table().table_name(&table).send().await {
            Ok(_deleted) => {}
            Err(error) if error.as_service_error().is_some_and(|said| said.is_resource_not_found_exception()) => {}
            Err(error) => return Err(place.failed(DISOWN)(error)),
        }
    }
    Ok(())
}

pub(super) async fn remove_sqs(address: &str, name: &str) -> Result<(), Error> {
    let (place, config) = aws(address, "sqs").await?;
    let client = aws_sdk_sqs::Client::new(&config);
    let listed = client.list_queues().queue_name_prefix(format!("{name}-")).send().await;
    for queue in listed.map_err(place.failed(DISOWN))?.queue_urls() {
        match client.delete_queue().queue_url(queue).send().await {
            Ok(_deleted) => {}
            Err(error) if error.as_service_error().is_some_and(|said| said.is_queue_does_not_exist()) => {}
            Err(error) => return Err(place.failed(DISOWN)(error)),
        }
    }
    Ok(())
}

/// A broker lists its queues to administrators only, so they are known by their names.
pub(super) async fn remove_rabbitmq(address: &str, queues: &[&str]) -> Result<(), Error> {
    let failed = |error| Error::engine(DISOWN, error);
    let (address, prefix) = prefixed(address);
    let connection = Connection::connect(&address, ConnectionProperties::default()).await.map_err(failed)?;
    let channel = connection.create_channel().await.map_err(failed)?;
    for queue in queues {
        for name in [format!("{prefix}{queue}"), format!("{prefix}{queue}.dead")] {
            // One that is not there is fine to the broker.
            channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.map_err(failed)?;
        }
    }
    // All is done: a broker that does not take leave changes nothing.
    drop(connection.close(200, "OK".into()).await);
    Ok(())
}

pub(super) async fn remove_kafka(address: &str) -> Result<(), Error> {
    let failed = |error| Error::engine(DISOWN, error);
    let (address, prefix) = prefixed(address);
    let hosts = address.trim_start_matches("kafka://");
    let hosts = hosts.split(['/', '?']).next().unwrap_or(hosts).to_owned();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", hosts).set("client.id", "lab").create().map_err(failed)?;
    let looking = spawn_blocking(move || {
        let topics = admin.inner().fetch_metadata(None, CALL)?;
        let topics = topics.topics().iter().map(|topic| topic.name().to_owned());
        let topics: Vec<String> = topics.filter(|topic| topic.starts_with(&prefix)).collect();
        let groups = admin.inner().fetch_group_list(None, CALL)?;
        let groups = groups.groups().iter().map(|group| group.name().to_owned());
        let groups: Vec<String> = groups.filter(|group| group.starts_with(&prefix)).collect();
        Ok((admin, topics, groups))
    });
    let looked = looking.await.map_err(|error| Error::engine(DISOWN, error))?;
    let (admin, topics, groups) = looked.map_err(failed)?;
    let options = AdminOptions::new().request_timeout(Some(CALL)).operation_timeout(Some(CALL));
    if !groups.is_empty() {
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        // A group that still has members goes by itself once they and its topics are gone.
        drop(admin.delete_groups(&names, &options).await.map_err(failed)?);
    }
    if !topics.is_empty() {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        for deleted in admin.delete_topics(&names, &options).await.map_err(failed)? {
            match deleted {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => return Err(failed(rdkafka::error::KafkaError::AdminOp(code))),
            }
        }
    }
    Ok(())
}

pub(super) async fn remove_redis(address: &str) -> Result<(), Error> {
    let failed = |error| Error::engine(DISOWN, error);
    let (address, prefix) = prefixed(address);
    let client = redis::Client::open(address).map_err(failed)?;
    let mut connection = client.get_multiplexed_async_connection().await.map_err(failed)?;
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(KEYS);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await.map_err(failed)?;
        if !keys.is_empty() {
            let () = redis::cmd("UNLINK").arg(keys).query_async(&mut connection).await.map_err(failed)?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}
