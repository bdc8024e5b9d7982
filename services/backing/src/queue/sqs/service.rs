//! The calls to SQS, one function each: the two queues and how they come to be, and what is sent, received, hidden and deleted there.
//! Nothing here waits longer than its caller does, but for batches, which end with the last of their items.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::gather::Item;
use super::letter::{ATTRIBUTES, Letter, Written};
use super::{ACK, DEPTH, OPEN, PUBLISH, RECEIVE, RELEASE};
use crate::Error;
use crate::aws::Place;
use crate::queue::Settings;

/// The longest that the service keeps a message.
const KEPT: &str = "1209600";

/// The longest that the service hides a message, seconds.
pub(super) const LONGEST_HIDDEN: u64 = 43_200;

/// The two queues of one name.
pub(super) struct Service {
    client: Client,
    pub(super) place: Place,
    queue: String,
    dead: String,
    /// Seconds.
    pub(super) visibility: i32,
}

/// What the service said of one item of a batch.
enum Said<A> {
    Done(A),
    /// It is no use to ask again.
    Refused(Error),
    /// The service failed at it.
    Failed(Error),
}

/// One call for a whole batch.
type Call<T, A> = for<'a> fn(&'a Service, &'a [Item<T, A>]) -> BoxFuture<'a, Result<Vec<Said<A>>, Error>>;

#[derive(Debug, thiserror::Error)]
#[error("the service refused an item of a batch: {code}: {message}")]
struct Refused {
    code: String,
    message: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the service left out `{0}` of its answer")]
struct LeftOut(&'static str);

/// For names: SQS takes letters, digits, `-` and `_`.
#[derive(Debug, thiserror::Error)]
#[error("SQS has no queue called `{0}`; use letters, digits, `-` and `_` in prefix and name, at most 80 with `-dead`")]
struct NoName(String);

impl Service {
    /// Makes the queues that are missing.
    pub(super) async fn open(client: Client, place: Place, name: &str, settings: &Settings) -> Result<Self, Error> {
        let name = format!("{}-{name}", place.prefix());
        let dead = format!("{name}-dead");
        if dead.len() > 80 || !dead.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(Error::engine(OPEN, NoName(dead)));
        }
        let visibility = seconds(settings.visibility.max(Duration::from_secs(1)));
        let mut service = Self { client, place, queue: String::new(), dead: String::new(), visibility };
        let prepare = service.prepare(&name, &dead, settings);
        let limit = service.place.ready_within();
        (service.queue, service.dead) =
            timeout(limit, prepare).await.unwrap_or(Err(Error::Timeout { operation: OPEN, limit }))?;
        Ok(service)
    }

    /// The addresses of both queues.
    async fn prepare(&self, name: &str, dead: &str, settings: &Settings) -> Result<(String, String), Error> {
        use QueueAttributeName::{MessageRetentionPeriod, QueueArn, RedrivePolicy, VisibilityTimeout};
        let limit = settings.deadline;
        let kept = (MessageRetentionPeriod, KEPT.to_owned());
        let dead = self.make(dead, HashMap::from([kept.clone()]), limit).await?;
        let arn = self.attribute(&dead, QueueArn, limit).await?;
        let most = settings.max_receives.clamp(1, 1000);
        let redrive = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{most}"}}"#);
        let visibility = (VisibilityTimeout, self.visibility.to_string());
        let queue = self.make(name, HashMap::from([kept, visibility, (RedrivePolicy, redrive)]), limit).await?;
        self.attribute(&queue, QueueArn, limit).await?;
        Ok((queue, dead))
    }

    /// The address of a queue with these attributes, made when it is not there. Any number of replicas may do so at once.
    async fn make(
        &self,
        name: &str,
        attributes: HashMap<QueueAttributeName, String>,
        limit: Duration,
    ) -> Result<String, Error> {
        let create = self.client.create_queue().queue_name(name).set_attributes(Some(attributes.clone()));
        let address = match self.in_time(limit, create.send()).await? {
            Ok(created) => return created.queue_url.ok_or_else(|| Error::engine(OPEN, LeftOut("QueueUrl"))),
            // It is there with other attributes.
            Err(error) if is_code(error.code(), &["QueueNameExists", "QueueAlreadyExists"]) => {
                let get = self.client.get_queue_url().queue_name(name);
                let found = self.in_time(limit, get.send()).await?.map_err(self.place.failed(OPEN))?;
                found.queue_url.ok_or_else(|| Error::engine(OPEN, LeftOut("QueueUrl")))?
            }
            Err(error) => return Err(self.place.failed(OPEN)(error)),
        };
        tracing::info!(queue = name, "the queue had other settings; these hold from now on");
        let set = self.client.set_queue_attributes().queue_url(&address).set_attributes(Some(attributes));
        self.in_time(limit, set.send()).await?.map_err(self.place.failed(OPEN))?;
        Ok(address)
    }

    /// An attribute of a queue, as soon as it can be used: SQS may need a second for a new one.
    async fn attribute(&self, queue: &str, name: QueueAttributeName, limit: Duration) -> Result<String, Error> {
        const WAIT: Duration = Duration::from_millis(100);
        loop {
            let get = self.client.get_queue_attributes().queue_url(queue).attribute_names(name.clone());
            match self.in_time(limit, get.send()).await? {
                Ok(got) => {
                    let value = got.attributes.and_then(|mut all| all.remove(&name));
                    return value.ok_or_else(|| Error::engine(OPEN, LeftOut("Attributes")));
                }
                Err(error) if is_code(error.code(), &["QueueDoesNotExist", "NonExistentQueue"]) => {}
                Err(error) => return Err(self.place.failed(OPEN)(error)),
            }
            sleep(WAIT).await;
        }
    }

    /// One call of an open: a service that is silent is as good as away.
    async fn in_time<T>(&self, limit: Duration, call: impl Future<Output = T>) -> Result<T, Error> {
        let silent = |_| self.place.unreachable(OPEN)(Arc::new(Error::Timeout { operation: OPEN, limit }));
        timeout(limit, call).await.map_err(silent)
    }

    /// Sends a batch and answers its items.
    pub(super) async fn send(&self, batch: Vec<Item<Written, ()>>) {
        self.settle(PUBLISH, batch, Self::send_once).await;
    }

    fn send_once<'a>(&'a self, batch: &'a [Item<Written, ()>]) -> BoxFuture<'a, Result<Vec<Said<()>>, Error>> {
        let entry = |(n, item): (usize, &Item<Written, ()>)| {
            let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(&item.content.text);
            entry.set_message_attributes(Some(item.content.attribute_values()?)).build()
        };
        Box::pin(async move {
            let entries: Result<_, BuildError> = batch.iter().enumerate().map(entry).collect();
            let entries = Some(entries.map_err(|error| Error::engine(PUBLISH, error))?);
            let send = self.client.send_message_batch().queue_url(&self.queue).set_entries(entries);
            let sent = send.send().await.map_err(self.place.failed(PUBLISH))?;
            let done = sent.successful().iter().map(|entry| (entry.id(), Said::Done(())));
            let not = sent.failed().iter().map(|entry| (entry.id(), not_done(PUBLISH, entry)));
            Ok(in_order(PUBLISH, batch.len(), done.chain(not)))
        })
    }

    /// Ends deliveries and answers whether SQS knew them.
    pub(super) async fn delete(&self, batch: Vec<Item<String, bool>>) {
        self.settle(ACK, batch, Self::delete_once).await;
    }

    fn delete_once<'a>(&'a self, batch: &'a [Item<String, bool>]) -> BoxFuture<'a, Result<Vec<Said<bool>>, Error>> {
        let entry = |(n, item): (usize, &Item<String, bool>)| {
            DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(&item.content).build()
        };
        Box::pin(async move {
            let entries: Result<_, BuildError> = batch.iter().enumerate().map(entry).collect();
            let entries = Some(entries.map_err(|error| Error::engine(ACK, error))?);
            let delete = self.client.delete_message_batch().queue_url(&self.queue).set_entries(entries);
            let deleted = delete.send().await.map_err(self.place.failed(ACK))?;
            let done = deleted.successful().iter().map(|entry| (entry.id(), Said::Done(true)));
            let not = deleted.failed().iter().map(|entry| match is_stale(Some(entry.code())) {
                true => (entry.id(), Said::Done(false)),
                false => (entry.id(), not_done(ACK, entry)),
            });
            Ok(in_order(ACK, batch.len(), done.chain(not)))
        })
    }

    /// Calls until every item has its answer: SQS may fail at some of a batch, which are sent again while somebody waits.
    async fn settle<T, A>(&self, operation: &'static str, mut batch: Vec<Item<T, A>>, call: Call<T, A>) {
        const LONGEST_WAIT: Duration = Duration::from_millis(200);
        let mut wait = Duration::from_millis(5);
        loop {
            let began = Instant::now();
            let until = batch.iter().map(|item| item.until).max().unwrap_or(began);
            let late = |_| Err(Error::Timeout { operation, limit: until - began });
            let said = match timeout_at(until, call(self, &batch)).await.unwrap_or_else(late) {
                Ok(said) => said,
                Err(error) => return batch.into_iter().for_each(|item| item.answer(Err(error.clone()))),
            };
            let next = Instant::now() + wait;
            let mut again = Vec::new();
            for (item, said) in batch.into_iter().zip(said) {
                match said {
                    Said::Done(answer) => item.answer(Ok(answer)),
                    Said::Failed(_) if item.until > next => again.push(item),
                    Said::Refused(error) | Said::Failed(error) => item.answer(Err(error)),
                }
            }
            if again.is_empty() {
                return;
            }
            batch = again;
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Up to ten messages, hidden from now on; waits so many seconds for the first.
    pub(super) async fn receive(&self, max: usize, wait: u64, limit: Duration) -> Result<Vec<Message>, Error> {
        let whole = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
        let receive = self.client.receive_message().queue_url(&self.queue);
        let receive = receive.max_number_of_messages(whole(max.clamp(1, 10) as u64)).wait_time_seconds(whole(wait));
        let receive = receive.visibility_timeout(self.visibility);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let receive = receive.set_message_attribute_names(Some(ATTRIBUTES.map(str::to_owned).to_vec()));
        let limit = limit + Duration::from_secs(wait);
        let received =
            timeout(limit, receive.send()).await.map_err(|_| Error::Timeout { operation: RECEIVE, limit })?;
        Ok(received.map_err(self.place.failed(RECEIVE))?.messages.unwrap_or_default())
    }

    /// Hides a message for so many seconds from now on. False when SQS knows of no such delivery.
    pub(super) async fn hide(&self, operation: &'static str, handle: &str, seconds: i32) -> Result<bool, Error> {
        let change = self.client.change_message_visibility().queue_url(&self.queue).receipt_handle(handle);
        match change.visibility_timeout(seconds).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_stale(error.code()) => Ok(false),
            Err(error) => Err(self.place.failed(operation)(error)),
        }
    }

    /// Puts a copy at the end of the queue.
    pub(super) async fn send_again(&self, letter: &Letter) -> Result<(), Error> {
        self.send_one(RELEASE, &self.queue, letter).await
    }

    /// Puts a copy among the dead letters.
    pub(super) async fn bury(&self, letter: &Letter) -> Result<(), Error> {
        self.send_one(RECEIVE, &self.dead, letter).await
    }

    async fn send_one(&self, operation: &'static str, queue: &str, letter: &Letter) -> Result<(), Error> {
        let written = letter.write();
        let attributes = written.attribute_values().map_err(|error| Error::engine(operation, error))?;
        let send = self.client.send_message().queue_url(queue).message_body(written.text);
        let sent = send.set_message_attributes(Some(attributes)).send().await;
        sent.map(drop).map_err(self.place.failed(operation))
    }

    /// Ends one delivery whose message is somewhere else by now. A failure brings it twice.
    pub(super) async fn drop_copied(&self, operation: &'static str, handle: &str) -> Result<(), Error> {
        match self.client.delete_message().queue_url(&self.queue).receipt_handle(handle).send().await {
            Ok(_) => Ok(()),
            Err(error) if is_stale(error.code()) => Ok(()),
            Err(error) => Err(self.place.failed(operation)(error)),
        }
    }

    /// Visible and hidden, of the queue.
    pub(super) async fn counts(&self, operation: &'static str) -> Result<(u64, u64), Error> {
        self.counts_of(operation, &self.queue).await
    }

    /// Visible and hidden, of the dead letters.
    pub(super) async fn dead_counts(&self) -> Result<(u64, u64), Error> {
        self.counts_of(DEPTH, &self.dead).await
    }

    async fn counts_of(&self, operation: &'static str, queue: &str) -> Result<(u64, u64), Error> {
        use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
        let names = vec![ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
        let get = self.client.get_queue_attributes().queue_url(queue).set_attribute_names(Some(names));
        let got = get.send().await.map_err(self.place.failed(operation))?.attributes.unwrap_or_default();
        let number = |name| {
            let number = got.get(&name).and_then(|number| number.parse().ok());
            number.ok_or_else(|| Error::engine(operation, LeftOut("Attributes")))
        };
        Ok((number(ApproximateNumberOfMessages)?, number(ApproximateNumberOfMessagesNotVisible)?))
    }
}

/// Whole seconds, rounded up, as long as the service allows.
pub(super) fn seconds(length: Duration) -> i32 {
    let whole = length.as_secs().saturating_add(u64::from(length.subsec_nanos() > 0)).min(LONGEST_HIDDEN);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// Whether an error's code is one of these. SQS has an older name beside each, behind dots, and does not always send the same one.
fn is_code(code: Option<&str>, names: &[&str]) -> bool {
    code.and_then(|code| code.rsplit('.').next()).is_some_and(|code| names.contains(&code))
}

/// Whether an error's code says that the receipt fits no delivery. That a message was held for 12 hours says the same.
fn is_stale(code: Option<&str>) -> bool {
    is_code(code, &["ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"])
}

fn not_done<A>(operation: &'static str, entry: &BatchResultErrorEntry) -> Said<A> {
    let refused = Refused { code: entry.code().to_owned(), message: entry.message().unwrap_or_default().to_owned() };
    let error = Error::engine(operation, refused);
    if entry.sender_fault() { Said::Refused(error) } else { Said::Failed(error) }
}

/// What was said of each, by its number in the batch; what was not mentioned has failed.
fn in_order<'a, A>(
    operation: &'static str,
    count: usize,
    said: impl Iterator<Item = (&'a str, Said<A>)>,
) -> Vec<Said<A>> {
    let unmentioned = || Said::Failed(Error::engine(operation, LeftOut("Id")));
    let mut all: Vec<_> = std::iter::repeat_with(unmentioned).take(count).collect();
    for (id, said) in said {
        if let Some(place) = id.parse().ok().and_then(|n: usize| all.get_mut(n)) {
            *place = said;
        }
    }
    all
}
