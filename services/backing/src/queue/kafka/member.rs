//! One process's membership in the group that shares a queue: from the first receive on it has partitions, gives them up when others ask
//! for them or nobody here asks any more, and commits what became of their messages. Its thread is the only one that polls the driver.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::hands::{Hands, Message};
use super::place;
use super::window::Window;
use crate::MessageId;
use crate::clock::micros;
use crate::queue::Settings;

/// The driver with our side of it.
pub(super) type Consumer = BaseConsumer<Callbacks>;

/// After this long without a receive the partitions go to others.
const IDLE: Duration = Duration::from_secs(2);
/// Most that a partition which is asked back waits for what is in hands.
const GRACE: Duration = Duration::from_secs(2);
/// Longest wait of one poll, and of one with partitions that are held back.
const POLL: Duration = Duration::from_millis(100);
const POLL_HELD_BACK: Duration = Duration::from_millis(5);
/// Between two tries to commit.
const AGAIN: Duration = Duration::from_millis(20);
/// Messages taken from the driver before anything else is looked at.
const AT_ONCE: usize = 500;
/// So many messages or bytes of one partition wait here at most, about; then it is held back until less than the few are left.
const MANY: (usize, usize) = (500, 4 << 20);
const FEW: usize = 100;

/// See the module.
pub(super) struct Member {
    topic: String,
    pub(super) settings: Settings,
    hands: Mutex<Hands>,
    /// Rung when a delivery has ended, for who gives a partition up.
    settled: Condvar,
    pub(super) arrived: Notify,
    /// There is something to bury.
    pub(super) doomed: Notify,
    /// Held while something is committed, and while an ownership ends: no commit of an owner comes after its end.
    committing: Mutex<()>,
    receivers: AtomicUsize,
    last_receive: Mutex<Option<Instant>>,
    trouble: AtomicBool,
    stopping: AtomicBool,
    thread: OnceLock<Thread>,
    saver: OnceLock<Thread>,
    ended: watch::Sender<bool>,
}

/// A receive that is under way.
pub(super) struct Receiving<'a>(&'a Member);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        *lock(&self.0.last_receive) = Some(Instant::now());
        self.0.receivers.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    pub(super) fn new(topic: String, settings: Settings, widest: usize) -> Arc<Self> {
        Arc::new(Self {
            topic,
            hands: Mutex::new(Hands::new(settings.max_receives.max(1), widest)),
            settings,
            settled: Condvar::new(),
            arrived: Notify::new(),
            doomed: Notify::new(),
            committing: Mutex::default(),
            receivers: AtomicUsize::new(0),
            last_receive: Mutex::default(),
            trouble: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            thread: OnceLock::new(),
            saver: OnceLock::new(),
            ended: watch::Sender::new(false),
        })
    }

    pub(super) fn hands(&self) -> MutexGuard<'_, Hands> {
        lock(&self.hands)
    }

    /// The end of a visibility timeout that begins now.
    pub(super) fn hidden_until(&self, length: Duration) -> u64 {
        self.settings.clock.now_us().saturating_add(micros(length))
    }

    /// Says that messages are wanted for as long as the answer lives, and a little longer.
    pub(super) fn receiving(&self) -> Receiving<'_> {
        self.receivers.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_receive) = Some(Instant::now());
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        Receiving(self)
    }

    /// Makes visible, or dooms, what timed out.
    pub(super) fn expire(&self) {
        let now = self.settings.clock.now_us();
        if self.hands().expire(now) {
            self.changed();
        }
    }

    /// To be said after deliveries have ended.
    pub(super) fn changed(&self) {
        self.settled.notify_all();
        self.arrived.notify_waiters();
        self.doomed.notify_one();
        self.to_be_saved();
    }

    /// To be said when there is something to commit.
    pub(super) fn to_be_saved(&self) {
        if let Some(saver) = self.saver.get() {
            saver.unpark();
        }
    }

    /// Whether the driver complained since it was last all right.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.load(Ordering::Relaxed)
    }

    pub(super) fn is_well(&self) {
        self.trouble.store(false, Ordering::Relaxed);
    }

    /// Has the thread commit everything, leave the group and end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.settled.notify_all();
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub(super) async fn ended(&self) {
        // Fails only when nobody is left to say it.
        drop(self.ended.subscribe().wait_for(|ended| *ended).await);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn is_wanted(&self) -> bool {
        let recently = lock(&self.last_receive).is_some_and(|last| last.elapsed() < IDLE);
        recently || self.receivers.load(Ordering::Relaxed) > 0
    }

    /// Has partitions while they are wanted; returns after [`Self::stop`].
    pub(super) fn run(&self, consumer: &Consumer) {
        if self.thread.set(std::thread::current()).is_err() {
            return;
        }
        let (mut joined, mut held_back) = (false, HeldBack::default());
        while !self.is_stopping() {
            let wanted = self.is_wanted();
            if wanted && !joined {
                joined = consumer.subscribe(&[&self.topic]).is_ok();
            } else if joined && !wanted && self.hands().counts() == (0, 0) {
                consumer.unsubscribe();
                joined = false;
            }
            if joined || self.owns_some() {
                self.fetch(consumer, if held_back.is_some() { POLL_HELD_BACK } else { POLL });
                self.restore(consumer);
                held_back.apply(self, consumer);
            } else {
                std::thread::park_timeout(POLL);
            }
        }
        consumer.unsubscribe();
        // Ends also without the broker: what cannot be given up is lost in the end.
        while self.owns_some() {
            drop(consumer.poll(POLL_HELD_BACK));
        }
        self.ended.send_replace(true);
    }

    fn owns_some(&self) -> bool {
        !self.hands().buffered().is_empty()
    }

    fn fetch(&self, consumer: &Consumer, mut wait: Duration) {
        for _ in 0..AT_ONCE {
            match consumer.poll(wait) {
                Some(Ok(message)) => {
                    self.is_well();
                    self.hands().arrive(read(&message));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "kafka: a consumer is in trouble");
                    self.trouble.store(true, Ordering::Relaxed);
                }
                None if wait.is_zero() => break,
                None => return,
            }
            wait = Duration::ZERO;
        }
        self.arrived.notify_waiters();
        self.doomed.notify_one();
    }

    /// Learns what earlier owners committed of the partitions that are new here.
    fn restore(&self, consumer: &Consumer) {
        let unknown = self.hands().unknown();
        if unknown.is_empty() {
            return;
        }
        match consumer.committed_offsets(self.list(&unknown), self.settings.deadline) {
            Ok(committed) => {
                let mut hands = self.hands();
                for part in committed.elements().iter().filter(|part| part.error().is_ok()) {
                    hands.restore(part.partition(), committed_window(part.offset(), part.metadata()));
                }
            }
            Err(error) => tracing::debug!(%error, "kafka: what was committed is not known yet"),
        }
        self.arrived.notify_waiters();
        self.doomed.notify_one();
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    /// Commits as soon as there is something to commit; returns when the other thread has ended. A thread of its own, because
    /// the driver sets a commit no deadline.
    pub(super) fn keep_saved(&self, consumer: &Consumer) {
        if self.saver.set(std::thread::current()).is_err() {
            return;
        }
        while !*self.ended.borrow() {
            let nothing = self.hands().unsaved().is_empty();
            if nothing || !self.save(consumer) {
                std::thread::park_timeout(if nothing { POLL } else { AGAIN });
            }
        }
    }

    /// Commits what is not committed yet. Blocks until the broker has answered. False when it is to be tried again.
    fn save(&self, consumer: &Consumer) -> bool {
        let turn = lock(&self.committing);
        let marks = self.hands().unsaved();
        if marks.is_empty() {
            return true;
        }
        let mut list = TopicPartitionList::with_capacity(marks.len());
        for mark in &marks {
            let mut part = list.add_partition(&self.topic, mark.partition);
            part.set_metadata(&mark.text);
            if let Err(error) = part.set_offset(Offset::Offset(mark.offset)) {
                tracing::debug!(%error, "kafka: no such offset");
            }
        }
        let result = consumer.commit(&list, CommitMode::Sync);
        match &result {
            Ok(()) => self.is_well(),
            Err(error) => tracing::debug!(%error, "kafka: a commit was refused"),
        }
        // While the group changes, either the commit is soon possible, or the partition is no longer ours.
        if !result.as_ref().is_err_and(is_change_of_group) {
            self.hands().saved(&marks, &result);
        }
        drop(turn);
        result.is_ok()
    }

    /// The end of an ownership: lets what is in hands end, within limits, and commits all that is known for the next owner.
    fn give_up(&self, consumer: &Consumer, partitions: &[i32]) {
        let lost = consumer.assignment_lost();
        let mut hands = self.hands();
        hands.revoke(partitions);
        let until = Instant::now() + GRACE.min(self.settings.visibility);
        while !lost && !self.is_stopping() && hands.unsettled(partitions) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            hands = self.settled.wait_timeout(hands, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(hands);
        let until = Instant::now() + GRACE;
        while !lost && !self.save(consumer) && Instant::now() < until {
            std::thread::park_timeout(AGAIN);
        }
        let turn = lock(&self.committing);
        self.hands().remove(partitions);
        drop(turn);
    }
}

fn is_change_of_group(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, IllegalGeneration, NotCoordinator, RebalanceInProgress,
        UnknownMemberId,
    };
    let changes = [
        CoordinatorLoadInProgress,
        CoordinatorNotAvailable,
        IllegalGeneration,
        NotCoordinator,
        RebalanceInProgress,
        UnknownMemberId,
    ];
    error.rdkafka_error_code().is_some_and(|code| changes.contains(&code))
}

/// What a commit says of its partition.
pub(super) fn committed_window(offset: Offset, text: &str) -> Window {
    match offset {
        Offset::Offset(offset) => Window::restore(Some(offset), text),
        _ => Window::default(),
    }
}

fn read(message: &BorrowedMessage<'_>) -> Message {
    let body = message.payload().unwrap_or_default().to_vec();
    let id = message.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.parse().ok());
    // A message from elsewhere: the same content is the same message.
    let id = id.unwrap_or_else(|| MessageId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &body)));
    Message { partition: message.partition(), offset: message.offset(), id, body, receives: 0 }
}

/// Which partitions the driver was told not to fetch.
#[derive(Default)]
struct HeldBack(HashSet<i32>);

impl HeldBack {
    fn is_some(&self) -> bool {
        !self.0.is_empty()
    }

    fn apply(&mut self, member: &Member, consumer: &Consumer) {
        let buffered = member.hands().buffered();
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, messages, bytes) in &buffered {
            if *messages >= MANY.0 || *bytes >= MANY.1 {
                if self.0.insert(*partition) {
                    pause.push(*partition);
                }
            } else if (*messages <= FEW && *bytes <= MANY.1 / 2) && self.0.remove(partition) {
                resume.push(*partition);
            }
        }
        let told = |partitions: &[i32], tell: &dyn Fn(&TopicPartitionList) -> KafkaResult<()>| {
            if !partitions.is_empty()
                && let Err(error) = tell(&member.list(partitions))
            {
                tracing::debug!(%error, "kafka: a partition changed its owner meanwhile");
            }
        };
        told(&pause, &|list| consumer.pause(list));
        told(&resume, &|list| consumer.resume(list));
        self.0.retain(|partition| buffered.iter().any(|(owned, _, _)| owned == partition));
    }
}

/// The driver's calls into this side, all from within a poll.
pub(super) struct Callbacks(pub(super) Arc<Member>);

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        place::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, consumer: &Consumer, rebalance: &Rebalance<'_>) {
        let numbers =
            |list: &TopicPartitionList| list.elements().iter().map(|part| part.partition()).collect::<Vec<_>>();
        match rebalance {
            Rebalance::Assign(list) => self.0.hands().assign(&numbers(list)),
            Rebalance::Revoke(list) => self.0.give_up(consumer, &numbers(list)),
            Rebalance::Error(error) => tracing::debug!(%error, "kafka: the group has trouble to share"),
        }
    }

    fn post_rebalance(&self, consumer: &Consumer, rebalance: &Rebalance<'_>) {
        // The driver remembers that it was told to hold a partition back, also from when it was ours before.
        if let Rebalance::Assign(list) = rebalance
            && let Err(error) = consumer.resume(list)
        {
            tracing::debug!(%error, "kafka: a partition changed its owner meanwhile");
        }
    }
}
