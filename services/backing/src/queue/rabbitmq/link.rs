//! Two connections to the broker, one to publish and one to consume, from their making to their end. Nothing is repeated on others: when
//! one ends, both do; the broker gives what was held here to others, and receipts of it fit nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::message::Delivery as Pushed;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind, PublisherConfirm,
};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::hands::{Hands, Held};
use crate::MessageId;
use crate::clock::micros;
use crate::queue::Settings;

/// Most messages that one subscription is given before some are acknowledged.
pub(super) const PREFETCH: u16 = 64;
/// Most subscriptions of one connection: this many times [`PREFETCH`] messages can be in hands at once.
const MOST_SUBSCRIPTIONS: usize = 64;
/// After this long without a receive, what was pushed is given back, so that others get it.
const IDLE: Duration = Duration::from_secs(1);
/// Deliveries of a message before it was published anew by us, see [`Link::put_back`].
const RECEIVES: &str = "x-lab-receives";
/// Deliveries that came back, kept by the broker.
const RETURNS: &str = "x-delivery-count";

/// Why the broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the connection to the broker failed")]
    Driver(#[from] lapin::Error),
    #[error("the broker has no queue for the message; it was deleted while it was in use")]
    Unroutable,
    #[error("the broker refused the message; it is out of memory, disk or replicas")]
    Refused,
    #[error("the connection to the broker has ended; what was held by it is delivered again")]
    Ended,
}

/// The queue and where its dead letters go.
pub(super) struct Names {
    pub(super) queue: ShortString,
    pub(super) dead: ShortString,
}

/// See the module.
pub(super) struct Link {
    /// Part of each receipt, so that none fits a delivery of another connection.
    pub(super) id: Uuid,
    /// Two: a broker that is short of memory or disk stops to read from who publishes, acknowledgements included.
    publishing: Connection,
    consuming: Connection,
    /// In confirm mode.
    publisher: Channel,
    /// Subscriptions, acknowledgements, and questions that must come after them.
    consumer: Channel,
    names: Arc<Names>,
    settings: Settings,
    hands: Mutex<Hands>,
    pub(super) arrived: Notify,
    subscribing: tokio::sync::Mutex<Vec<ShortString>>,
    receivers: Receivers,
    ended: AtomicBool,
    /// Its drop ends the tasks that pump, whose subscriptions would otherwise keep a connection that nobody uses.
    pumping: watch::Sender<()>,
}

/// Who waits for messages, and when somebody last did.
struct Receivers {
    now: AtomicUsize,
    last: Mutex<Instant>,
}

/// A receive that is under way.
pub(super) struct Receiving<'a>(&'a Receivers);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Link {
    /// Connects and declares what is missing.
    pub(super) async fn connect(uri: AMQPUri, names: Arc<Names>, settings: Settings) -> Result<Arc<Self>, Refusal> {
        let named = |name: &str| ConnectionProperties::default().with_connection_name(name.into());
        let publishing = Connection::connect_uri(uri.clone(), named("lab: publish"));
        let consuming = Connection::connect_uri(uri, named("lab: consume"));
        let (publishing, consuming) = tokio::try_join!(publishing, consuming)?;
        declare(&consuming, &names, settings.max_receives).await?;
        let publisher = publishing.create_channel().await?;
        publisher.confirm_select(ConfirmSelectOptions::default()).await?;
        let consumer = consuming.create_channel().await?;
        consumer.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let receivers = Receivers { now: AtomicUsize::new(0), last: Mutex::new(Instant::now()) };
        let link = Arc::new(Self {
            id: Uuid::now_v7(),
            publishing,
            consuming,
            publisher,
            consumer,
            names,
            settings,
            hands: Mutex::default(),
            arrived: Notify::new(),
            subscribing: tokio::sync::Mutex::default(),
            receivers,
            ended: AtomicBool::new(false),
            pumping: watch::Sender::new(()),
        });
        tokio::spawn(keep_time(Arc::downgrade(&link)));
        Ok(link)
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
            && self.publishing.status().connected()
            && self.consuming.status().connected()
            && self.publisher.status().connected()
            && self.consumer.status().connected()
    }

    pub(super) fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_us(&self) -> u64 {
        self.settings.clock.now_us()
    }

    /// The end of a visibility timeout that begins now.
    pub(super) fn hidden_until(&self, length: Duration) -> u64 {
        self.now_us().saturating_add(micros(length))
    }

    pub(super) fn receiving(&self) -> Receiving<'_> {
        self.receivers.now.fetch_add(1, Ordering::Relaxed);
        Receiving(&self.receivers)
    }

    fn is_idle(&self) -> bool {
        let last = *self.receivers.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.receivers.now.load(Ordering::Relaxed) == 0 && last.elapsed() >= IDLE
    }

    /// Has the broker push messages, more at once when all that it may push is in hands.
    pub(super) async fn subscribe(self: &Arc<Self>) -> Result<(), Refusal> {
        if !self.hands().are_full() {
            return Ok(());
        }
        // In a task of its own: a subscription whose receive was dropped half way would be given messages that nobody sees.
        let link = self.clone();
        tokio::spawn(async move { link.subscribe_once_more().await }).await.unwrap_or(Err(Refusal::Ended))
    }

    async fn subscribe_once_more(self: Arc<Self>) -> Result<(), Refusal> {
        let mut subscriptions = self.subscribing.lock().await;
        if !self.hands().are_full() || subscriptions.len() >= MOST_SUBSCRIPTIONS {
            return Ok(());
        }
        let queue = self.names.queue.clone();
        let tag: ShortString = format!("{}.{}", self.id, Uuid::now_v7()).into();
        let options = BasicConsumeOptions::default();
        let consumer = self.consumer.basic_consume(queue, tag.clone(), options, FieldTable::default()).await?;
        subscriptions.push(tag);
        self.hands().credit += usize::from(PREFETCH);
        tokio::spawn(pump(Arc::downgrade(&self), self.pumping.subscribe(), consumer));
        Ok(())
    }

    /// Ends all subscriptions and gives back what nobody asked for, without counting it as delivered.
    pub(super) async fn unsubscribe(&self) -> Result<(), Refusal> {
        let mut subscriptions = self.subscribing.lock().await;
        for tag in std::mem::take(&mut *subscriptions) {
            self.consumer.basic_cancel(tag, Default::default()).await?;
        }
        self.hands().credit = 0;
        let buffered = self.hands().unbuffer();
        let put_back = self.put_back(&buffered).await;
        for Held { tag, .. } in buffered {
            match put_back {
                Ok(()) => self.consumer.basic_ack(tag, BasicAckOptions::default()).await?,
                Err(_) => self.consumer.basic_reject(tag, BasicRejectOptions { requeue: true }).await?,
            }
        }
        put_back?;
        self.flush().await
    }

    /// Publishes; returns when the broker holds all of it for good.
    pub(super) async fn publish(&self, messages: impl Iterator<Item = (MessageId, &[u8], u32)>) -> Result<(), Refusal> {
        let mut confirms: Vec<PublisherConfirm> = Vec::new();
        for (id, body, receives) in messages {
            let mut headers = FieldTable::default();
            if receives > 0 {
                headers.insert(RECEIVES.into(), AMQPValue::LongUInt(receives));
            }
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(id.to_string().into())
                .with_headers(headers);
            // Mandatory: a message that no queue takes would be confirmed all the same.
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let queue = self.names.queue.clone();
            confirms.push(self.publisher.basic_publish("".into(), queue, options, body, properties).await?);
        }
        for confirm in confirms {
            match confirm.await? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => return Err(Refusal::Unroutable),
                Confirmation::Nack(None) | Confirmation::NotRequested => return Err(Refusal::Refused),
            }
        }
        Ok(())
    }

    /// Publishes copies that do not count these deliveries: the broker itself counts each that comes back.
    pub(super) async fn put_back(&self, messages: &[Held]) -> Result<(), Refusal> {
        self.publish(messages.iter().map(|message| (message.id, &message.body[..], message.receives - 1))).await
    }

    /// True when this delivery was still held.
    pub(super) async fn ack(&self, tag: u64) -> Result<bool, Refusal> {
        // Nothing may be awaited between these two, or a dropped call would leave a message that is in nobody's hands.
        if self.hands().remove(tag).is_none() {
            return Ok(false);
        }
        self.consumer.basic_ack(tag, BasicAckOptions::default()).await?;
        Ok(true)
    }

    /// Back into the queue, or to the dead letters when this was its last delivery. True when this delivery was still held.
    pub(super) async fn give_back(&self, tag: u64) -> Result<bool, Refusal> {
        let Some(message) = self.hands().remove(tag) else { return Ok(false) };
        let requeue = message.receives < self.settings.max_receives;
        self.consumer.basic_reject(tag, BasicRejectOptions { requeue }).await?;
        if !requeue {
            tracing::warn!(id = %message.id, deliveries = message.receives, "gave a message up: it is with the dead letters now");
        }
        Ok(true)
    }

    /// Gives back what timed out.
    pub(super) async fn expire(&self) -> Result<(), Refusal> {
        let expired = self.hands().expired(self.now_us());
        for tag in expired {
            self.give_back(tag).await?;
        }
        Ok(())
    }

    /// Returns when the broker has read what was sent before.
    pub(super) async fn flush(&self) -> Result<(), Refusal> {
        Ok(self.consumer.basic_qos(PREFETCH, BasicQosOptions::default()).await?)
    }

    /// Messages in the queue that nobody has, and dead letters.
    pub(super) async fn counts(&self) -> Result<(u64, u64), Refusal> {
        let count = async |name: &ShortString| {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
            let queue = self.consumer.queue_declare(name.clone(), passive, FieldTable::default()).await?;
            Ok::<_, Refusal>(u64::from(queue.message_count()))
        };
        Ok((count(&self.names.queue).await?, count(&self.names.dead).await?))
    }

    pub(super) async fn close(&self) -> Result<(), Refusal> {
        self.end();
        self.publishing.close(200, "closed".into()).await?;
        Ok(self.consuming.close(200, "closed".into()).await?)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.arrived.notify_waiters();
    }

    async fn arrive(&self, pushed: Pushed) -> Result<(), Refusal> {
        let message = read(pushed);
        if message.receives > self.settings.max_receives {
            // Its last consumer went away without a word.
            self.consumer.basic_reject(message.tag, BasicRejectOptions { requeue: false }).await?;
            return Ok(());
        }
        self.hands().arrive(message);
        self.arrived.notify_waiters();
        Ok(())
    }
}

/// Takes what the broker pushes until the subscription ends.
async fn pump(link: Weak<Link>, mut dropped: watch::Receiver<()>, mut consumer: Consumer) {
    loop {
        let pushed = tokio::select! {
            next = consumer.next() => next,
            // Nothing is ever sent.
            _ = dropped.changed() => return,
        };
        let Some(Ok(pushed)) = pushed else { break };
        let Some(link) = link.upgrade() else { return };
        if let Err(error) = link.arrive(pushed).await {
            tracing::debug!(%error, "a message of an ended connection is delivered again");
            break;
        }
    }
    let Some(link) = link.upgrade() else { return };
    if link.subscribing.lock().await.contains(&consumer.tag()) {
        link.end();
    }
}

/// Gives back what timed out, and what was pushed to a process that no longer asks.
async fn keep_time(link: Weak<Link>) {
    let pause = link.upgrade().map_or(IDLE, |link| link.settings.visibility / 4);
    let mut tick = tokio::time::interval(pause.clamp(Duration::from_millis(10), Duration::from_millis(250)));
    loop {
        tick.tick().await;
        let Some(link) = link.upgrade().filter(|link| link.is_alive()) else { return };
        let unasked = link.is_idle() && link.hands().counts().0 > 0;
        let kept = async {
            link.expire().await?;
            if unasked { link.unsubscribe().await } else { Ok(()) }
        };
        if let Err(error) = kept.await {
            tracing::debug!(%error, "an ended connection's messages are delivered again");
        }
    }
}

fn read(pushed: Pushed) -> Held {
    let properties = &pushed.properties;
    let number = |name: &str| {
        let value = properties.headers().as_ref().and_then(|headers| headers.inner().get(name));
        value.and_then(whole).unwrap_or(0)
    };
    let receives = number(RECEIVES).saturating_add(number(RETURNS)).saturating_add(1);
    let id = properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
    // A message from elsewhere: the same content is the same message.
    let id = id.unwrap_or_else(|| MessageId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &pushed.data)));
    Held { tag: pushed.delivery_tag, id, body: pushed.data, receives }
}

fn whole(value: &AMQPValue) -> Option<u32> {
    match *value {
        AMQPValue::ShortShortInt(n) => u32::try_from(n).ok(),
        AMQPValue::ShortShortUInt(n) => Some(n.into()),
        AMQPValue::ShortInt(n) => u32::try_from(n).ok(),
        AMQPValue::ShortUInt(n) => Some(n.into()),
        AMQPValue::LongInt(n) => u32::try_from(n).ok(),
        AMQPValue::LongUInt(n) => Some(n),
        AMQPValue::LongLongInt(n) => u32::try_from(n).ok(),
        _ => None,
    }
}

/// Both queues, quorum queues: replicated where the broker is a cluster, on disk before a confirm everywhere.
async fn declare(connection: &Connection, names: &Names, max_receives: u32) -> Result<(), Refusal> {
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut dead = FieldTable::default();
    dead.insert("x-queue-type".into(), text("quorum"));
    let mut arguments = dead.clone();
    // The broker's own count of what came back: it also ends a message whose consumers die before they can say so.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i64::from(max_receives.max(1)) - 1));
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(names.dead.as_str()));
    // A dead letter leaves the queue when the other one has it. The broker asks for this overflow behaviour with it.
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    let channel = connection.create_channel().await?;
    channel.queue_declare(names.dead.clone(), QueueDeclareOptions::durable(), dead).await?;
    match channel.queue_declare(names.queue.clone(), QueueDeclareOptions::durable(), arguments).await {
        Ok(_) => Ok(channel.close(200, "declared".into()).await?),
        Err(error) if is_precondition(&error) => {
            tracing::warn!(
                queue = names.queue.as_str(),
                "the queue was made with other settings; its own delivery limit holds where it is lower"
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn is_precondition(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == 406)
}
