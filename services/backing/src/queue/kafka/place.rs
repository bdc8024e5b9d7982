//! Where a queue stands in Kafka: its address, its two topics, and how clients are set up for them. Nothing here outlives the opening.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;

use crate::queue::Settings;

/// How many consumers can share a queue that is made here, unless its address says otherwise.
const PARTITIONS: i32 = 12;
/// How long what was published may wait, and how long what is done with takes up room: 14 days.
const RETENTION_MS: &str = "1209600000";
/// After this long without a sign a consumer's partitions go to others, unless its messages are to come back sooner.
const SESSION: Duration = Duration::from_secs(6);
/// Most that concurrent publishes wait for each other.
const LINGER_MS: &str = "2";
/// Most messages, and most KiB, that wait in this process to be published.
pub(super) const PRODUCER_MOST: usize = 100_000;
const PRODUCER_KIB: &str = "65536";
/// The broker's own default for what stands beside a committed offset, bytes.
const METADATA_BYTES: usize = 4096;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) bootstrap: String,
    pub(super) topic: String,
    pub(super) dead: String,
    partitions: i32,
}

/// What the brokers said of themselves and of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) partitions: i32,
    pub(super) shortest_session: Duration,
    /// Most that may stand beside a committed offset, bytes.
    pub(super) metadata_bytes: usize,
}

/// Hands what the driver says to our own log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

/// One line of the driver. It repeats in its own words what calls answer, so it is seldom of interest.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(?level, facility, message, "kafka");
}

impl Place {
    /// Reads `kafka://HOST:PORT[,HOST:PORT][?partitions=N]`. None when it is something else.
    pub(super) fn read(address: &str, name: &str) -> Option<Self> {
        let rest = address.strip_prefix("kafka://")?;
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        let is_host = |host: &str| {
            let named = |(name, port): (&str, &str)| !name.is_empty() && port.parse::<u16>().is_ok();
            !host.contains(['@', '/']) && host.rsplit_once(':').is_some_and(named)
        };
        let partitions = match query.split_once('=') {
            None if query.is_empty() => PARTITIONS,
            Some(("partitions", number)) => number.parse().ok().filter(|number| *number > 0)?,
            _ => return None,
        };
        let place = || Self { bootstrap: hosts.into(), topic: name.into(), dead: format!("{name}.dead"), partitions };
        hosts.split(',').all(is_host).then(place)
    }

    fn client(&self, deadline: Duration) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Above the longest wait of a fetch, as the driver demands.
        let socket = deadline.clamp(Duration::from_secs(2), Duration::from_secs(60));
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "lab")
            .set("socket.timeout.ms", socket.as_millis().to_string())
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500");
        config
    }

    /// Answered when all in-sync replicas have it; what is sent again by the driver is there once.
    pub(super) fn producer(&self, settings: &Settings) -> ClientConfig {
        let mut config = self.client(settings.deadline);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", LINGER_MS)
            .set("delivery.timeout.ms", settings.deadline.as_millis().max(10).to_string())
            .set("queue.buffering.max.messages", PRODUCER_MOST.to_string())
            .set("queue.buffering.max.kbytes", PRODUCER_KIB)
            // As Java's producers do it, so that others find the same partition for the same id.
            .set("partitioner", "murmur2_random");
        config
    }

    /// One group for the queue; nothing is committed unless we say so.
    pub(super) fn consumer(&self, settings: &Settings, facts: &Facts) -> ClientConfig {
        let session = settings.visibility.min(SESSION).max(facts.shortest_session);
        let mut config = self.client(settings.deadline);
        config
            .set("group.id", &self.topic)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("session.timeout.ms", session.as_millis().to_string())
            .set("heartbeat.interval.ms", (session / 6).as_millis().clamp(50, 500).to_string())
            .set("max.poll.interval.ms", session.as_millis().max(60_000).to_string())
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.message.max.bytes", "262144")
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "16384");
        config
    }

    /// Makes what is missing; several openers at once do not disturb each other. Blocks.
    pub(super) fn prepare(&self, limit: Duration, runtime: &Handle) -> Result<Facts, Trouble> {
        let until = Instant::now() + limit;
        let admin: AdminClient<Quiet> = {
            use rdkafka::config::FromClientConfigAndContext as _;
            AdminClient::from_config_and_context(&self.client(limit), Quiet).map_err(Trouble::Refused)?
        };
        let cluster = admin.inner().fetch_metadata(None, limit).map_err(Trouble::Away)?;
        let brokers = cluster.brokers();
        let have = |name: &str| cluster.topics().iter().any(|topic| topic.name() == name);
        let options = AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit));
        if !(have(&self.topic) && have(&self.dead)) {
            self.create(&admin, &options, brokers.len(), runtime).map_err(Trouble::Refused)?;
        }
        let partitions = self.wait_for_leaders(admin.inner(), &self.topic, until).map_err(Trouble::Refused)?;
        self.wait_for_leaders(admin.inner(), &self.dead, until).map_err(Trouble::Refused)?;
        let asked = brokers.first().map_or(0, |broker| broker.id());
        let resources = [ResourceSpecifier::Broker(asked)];
        let settings = runtime.block_on(admin.describe_configs(&resources, &options)).unwrap_or_default();
        // Who may not read the broker's settings lives with their defaults.
        let number =
            |name: &str| -> Option<u64> { settings.first()?.as_ref().ok()?.get(name)?.value.as_ref()?.parse().ok() };
        let shortest_session = number("group.min.session.timeout.ms").map_or(SESSION, Duration::from_millis);
        let metadata_bytes = number("offset.metadata.max.bytes").and_then(|bytes| usize::try_from(bytes).ok());
        Ok(Facts { partitions, shortest_session, metadata_bytes: metadata_bytes.unwrap_or(METADATA_BYTES) })
    }

    fn create(
        &self,
        admin: &AdminClient<Quiet>,
        options: &AdminOptions,
        brokers: usize,
        runtime: &Handle,
    ) -> Result<(), KafkaError> {
        let (copies, in_sync) = match brokers {
            0 | 1 => (1, "1"),
            2 => (2, "1"),
            _ => (3, "2"),
        };
        let topic = |name, partitions| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(copies))
                .set("min.insync.replicas", in_sync)
                .set("cleanup.policy", "delete")
        };
        // Dead letters are kept for inspection, in the order of their death.
        let topics = [
            topic(&self.topic, self.partitions).set("retention.ms", RETENTION_MS),
            topic(&self.dead, 1).set("retention.ms", "-1"),
        ];
        for made in runtime.block_on(admin.create_topics(&topics, options))? {
            match made {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(KafkaError::AdminOp(code)),
            }
        }
        Ok(())
    }

    /// Returns the number of partitions when all of them can be used. Brokers learn of a new topic one after the other.
    #[allow(
        clippy::disallowed_methods,
        reason = "a topic that is being made offers only polling, and this blocks anyway"
    )]
    fn wait_for_leaders(&self, client: &Client<Quiet>, name: &str, until: Instant) -> Result<i32, KafkaError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = client.fetch_metadata(Some(name), left)?;
            let partitions = answer.topics().first().map_or(&[][..], |topic| topic.partitions());
            if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0) {
                return Ok(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
            }
            if left.is_zero() {
                return Err(KafkaError::AdminOp(RDKafkaErrorCode::LeaderNotAvailable));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Why a queue could not be prepared.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No broker answers.
    Away(KafkaError),
    /// One does, but not as asked.
    Refused(KafkaError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_brokers_and_nothing_secret() {
        let read = |address: &str| Place::read(address, "messages").map(|place| (place.bootstrap, place.partitions));
        assert_eq!(read("kafka://a:9092"), Some(("a:9092".into(), 12)));
        assert_eq!(read("kafka://a:9092,[::1]:9093/?partitions=3"), Some(("a:9092,[::1]:9093".into(), 3)));
        for wrong in [
            "kafka:a:9092",
            "kafka://",
            "kafka://a",
            "kafka://a:9092,",
            "kafka://lab:secret@a:9092",
            "kafka://a:9092/x",
            "kafka://a:9092?partitions=0",
            "kafka://a:9092?partition=3",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
