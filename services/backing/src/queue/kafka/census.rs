//! Questions to the brokers: is the queue there, and how many messages are where. They block.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::member::{Consumer, Member, committed_window};
use super::place::Place;
use crate::queue::Depth;

const PAUSE: Duration = Duration::from_millis(10);

/// Answers when the topic is there and can be used.
pub(super) fn ping(consumer: &Consumer, place: &Place, limit: Duration) -> KafkaResult<()> {
    let answer = consumer.client().fetch_metadata(Some(&place.topic), limit)?;
    let topic = answer.topics().first();
    match topic.and_then(|topic| topic.error()) {
        Some(code) if code.is_error() => Err(KafkaError::MetadataFetch(code.into())),
        _ => Ok(()),
    }
}

/// Counts what the brokers have, less what this process knows better.
pub(super) fn count(
    consumer: &Consumer,
    member: &Member,
    place: &Place,
    partitions: i32,
    limit: Duration,
) -> KafkaResult<Depth> {
    let mut everything = TopicPartitionList::new();
    let mut topic = TopicPartitionList::new();
    for partition in 0..partitions {
        everything.add_partition(&place.topic, partition);
        topic.add_partition(&place.topic, partition);
    }
    everything.add_partition(&place.dead, 0);
    let first = edges(consumer, &everything, Offset::Beginning, limit)?;
    let committed = patiently(limit, |left| consumer.committed_offsets(topic.clone(), left))?;
    let end = edges(consumer, &everything, Offset::End, limit)?;
    let size = |topic: &str, partition: i32, from: i64| {
        let at = |edges: &HashMap<(String, i32), Offset>| edges.get(&(topic.to_owned(), partition)).and_then(offset);
        let first = at(&first).unwrap_or(0);
        u64::try_from(at(&end).unwrap_or(0) - from.max(first)).unwrap_or(0)
    };
    let hands = member.hands();
    let mut left = 0;
    for part in committed.elements() {
        let known = hands.known(part.partition()).or_else(|| {
            let window = committed_window(part.offset(), part.metadata());
            Some((window.base()?, window.done_ahead()))
        });
        let (from, done_ahead) = known.unwrap_or((0, 0));
        left += size(&place.topic, part.partition(), from).saturating_sub(done_ahead as u64);
    }
    let (held, dying) = hands.counts();
    drop(hands);
    let ours = (held + dying) as u64;
    Ok(Depth { visible: left.saturating_sub(ours), in_flight: held as u64, dead: size(&place.dead, 0, 0) })
}

/// Where each of these partitions begins or ends.
fn edges(
    consumer: &Consumer,
    partitions: &TopicPartitionList,
    edge: Offset,
    limit: Duration,
) -> KafkaResult<HashMap<(String, i32), Offset>> {
    patiently(limit, |left| {
        let mut asked = partitions.clone();
        asked.set_all_offsets(edge)?;
        let answered = consumer.offsets_for_times(asked, left)?;
        answered.elements().iter().try_for_each(|part| part.error())?;
        Ok(answered.to_topic_map())
    })
}

/// Asks again while brokers agree on who answers for what, as after a crash of one, or when the topic was made just now.
#[allow(clippy::disallowed_methods, reason = "a change of leaders offers only polling, and this blocks anyway")]
pub(super) fn patiently<T>(limit: Duration, ask: impl Fn(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match ask(left) {
            Err(error) if is_change_of_roles(&error) && !left.is_zero() => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}

fn is_change_of_roles(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, LeaderNotAvailable, NotCoordinator, NotLeaderForPartition,
        UnknownTopicOrPartition,
    };
    let roles = [
        CoordinatorLoadInProgress,
        CoordinatorNotAvailable,
        LeaderNotAvailable,
        NotCoordinator,
        NotLeaderForPartition,
        UnknownTopicOrPartition,
    ];
    error.rdkafka_error_code().is_some_and(|code| roles.contains(&code))
}

fn offset(offset: &Offset) -> Option<i64> {
    match offset {
        Offset::Offset(offset) => Some(*offset),
        _ => None,
    }
}
