//! Messages on their way into a topic. Whoever publishes at the same time shares the driver's batches.

use std::sync::Mutex;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::hands::Message;
use super::member::lock;
use super::place::Quiet;
use crate::queue::Envelope;

/// Deliveries of a dead letter.
const RECEIVES: &str = "lab-receives";

/// See the module.
pub(super) struct Producer {
    config: ClientConfig,
    current: Mutex<FutureProducer<Quiet>>,
}

impl Producer {
    pub(super) fn new(config: ClientConfig) -> Result<Self, KafkaError> {
        let current = Mutex::new(FutureProducer::from_config_and_context(&config, Quiet)?);
        Ok(Self { config, current })
    }

    /// Returns when all of it is there for good.
    pub(super) async fn publish(&self, topic: &str, batch: &[Envelope]) -> Result<(), KafkaError> {
        let producer = self.current()?;
        let mut sent = Vec::with_capacity(batch.len());
        for Envelope { id, body } in batch {
            let key = id.to_string();
            let record = FutureRecord::to(topic).key(&key).payload(body);
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in sent {
            delivery.await.map_err(|_| KafkaError::Canceled)?.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Returns when this dead letter is there for good.
    pub(super) async fn bury(&self, topic: &str, message: &Message) -> Result<(), KafkaError> {
        let (key, receives) = (message.id.to_string(), message.receives.to_string());
        let headers = OwnedHeaders::new().insert(Header { key: RECEIVES, value: Some(&receives) });
        let record = FutureRecord::to(topic).key(&key).payload(&message.body).headers(headers);
        let delivery = self.current()?.send_result(record).map_err(|(error, _)| error)?;
        delivery.await.map_err(|_| KafkaError::Canceled)?.map_err(|(error, _)| error)?;
        Ok(())
    }

    /// The driver's producer, made anew when the last one can go on no more.
    fn current(&self) -> Result<FutureProducer<Quiet>, KafkaError> {
        let mut current = lock(&self.current);
        if let Some((code, reason)) = current.client().fatal_error() {
            tracing::warn!(?code, reason, "kafka: a producer could not go on; another takes its place");
            *current = FutureProducer::from_config_and_context(&self.config, Quiet)?;
        }
        Ok(current.clone())
    }
}
