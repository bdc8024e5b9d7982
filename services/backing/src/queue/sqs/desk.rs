//! Where messages come in: polls, which SQS answers when there is something, and receives, which wait for them. A poll cannot be taken back:
//! SQS would give its message to a connection that nobody reads. So a poll whose receive has gone goes on, the next receive takes it
//! over, and what nobody asks for any more goes back untried.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::RECEIVE;
use super::hold::{Held, Holds, Ticket};
use super::letter::Letter;
use super::service::Service;
use crate::clock::micros;
use crate::queue::{Delivery, Receipt, Settings};
use crate::seats::Seats;
use crate::{Error, queue::sqs::RELEASE};

/// SQS hands out so many at once.
const MOST: usize = 10;
/// Calls at once, to fill a large receive.
const CALLS: usize = 16;
/// The longest that SQS lets a poll wait, seconds.
const LONGEST_POLL: u64 = 20;
/// SQS waits for whole seconds. What is left of a wait passes with polls that do not wait, and pauses like this between them, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Desk {
    pub(super) service: Service,
    pub(super) holds: Holds,
    pub(super) settings: Settings,
    /// What polls brought.
    spare: Mutex<VecDeque<Delivery>>,
    receives: AtomicUsize,
    /// Those that wait.
    polls: AtomicUsize,
    /// Rung when there is something to look at: spare messages, the end of a poll, the end of everything.
    changed: Notify,
    /// Of all calls but receives, which are counted apart as they wait for each other.
    pub(super) seats: Seats,
}

/// Counts something while it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::SeqCst);
        Self(number)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    pub(super) fn new(service: Service, settings: Settings) -> Self {
        Self {
            service,
            holds: Holds::new(),
            seats: Seats::new(settings.max_waiting, settings.deadline),
            settings,
            spare: Mutex::default(),
            receives: AtomicUsize::new(0),
            polls: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.settings.clock.now_us()
    }

    pub(super) fn ticket(&self, receipt: &Receipt) -> Option<Ticket> {
        self.holds.ticket(receipt, self.now())
    }

    /// Ends the waits of receives. False when it was closed before.
    pub(super) fn close(&self) -> bool {
        let first = self.seats.close();
        self.changed.notify_waiters();
        first
    }

    pub(super) async fn receive(self: &Arc<Self>, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        self.seats.check_open(RECEIVE)?;
        let most = self.settings.max_waiting;
        let _receiving = Counted::new(&self.receives);
        if self.receives.load(Ordering::SeqCst) > most {
            return Err(Error::Overloaded { operation: RECEIVE, waiting: most });
        }
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on nothing changes unnoticed.
            changed.as_mut().enable();
            self.seats.check_open(RECEIVE)?;
            let spare = self.take_spare(max);
            if !spare.is_empty() {
                return Ok(spare);
            }
            let seconds = until.saturating_duration_since(Instant::now()).as_secs().min(LONGEST_POLL);
            if seconds > 0 && self.polls.load(Ordering::SeqCst) >= self.receives.load(Ordering::SeqCst) {
                // Ended by the wait or by a change; either is looked at above.
                drop(timeout_at(until, changed).await);
                continue;
            }
            let mut poll = self.poll(max, seconds);
            loop {
                tokio::select! {
                    ended = &mut poll => {
                        ended.unwrap_or(Err(Error::Closed { operation: RECEIVE }))?;
                        break;
                    }
                    () = &mut changed => {}
                }
                // What another poll brought is as good, and this one is the next receive's.
                changed.set(self.changed.notified());
                changed.as_mut().enable();
                self.seats.check_open(RECEIVE)?;
                let spare = self.take_spare(max);
                if !spare.is_empty() {
                    return Ok(spare);
                }
            }
            let brought = self.take_spare(max);
            if !brought.is_empty() || Instant::now() >= until {
                return Ok(brought);
            }
            if seconds == 0 {
                drop(timeout_at(until.min(Instant::now() + pause), changed).await);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Asks SQS once, in a task of its own, which makes spare what it brings: whoever waits takes it.
    fn poll(self: &Arc<Self>, max: usize, seconds: u64) -> oneshot::Receiver<Result<(), Error>> {
        let (end, ended) = oneshot::channel();
        let desk = self.clone();
        // Before the task runs, so that the next receive sees it.
        if seconds > 0 {
            self.polls.fetch_add(1, Ordering::SeqCst);
        }
        tokio::spawn(async move {
            let taken = desk.take(max, seconds).await;
            if seconds > 0 {
                desk.polls.fetch_sub(1, Ordering::SeqCst);
            }
            let brought = match taken {
                Ok(taken) => {
                    desk.keep_or_give_back(taken).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(Err(error)) = end.send(brought) {
                tracing::debug!(%error, "a poll failed that nobody waited for");
            }
            desk.changed.notify_waiters();
        });
        ended
    }

    /// As many as are there, up to `max`; waits so many seconds for the first.
    async fn take(&self, max: usize, seconds: u64) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + Duration::from_secs(seconds) + self.settings.deadline;
        let (mut taken, mut more) = self.take_once(max, seconds, self.settings.deadline).await?;
        while more && taken.len() < max && Instant::now() < until {
            let missing = max - taken.len();
            let limit = until.saturating_duration_since(Instant::now());
            let calls = (0..missing.div_ceil(MOST).min(CALLS)).map(|n| self.take_once(missing - n * MOST, 0, limit));
            for answer in join_all(calls).await {
                match answer {
                    Ok((brought, full)) => {
                        taken.extend(brought);
                        more &= full;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a receive brings less than it could");
                        more = false;
                    }
                }
            }
        }
        Ok(taken)
    }

    /// One call, and whether there may be more.
    async fn take_once(&self, max: usize, seconds: u64, limit: Duration) -> Result<(Vec<Delivery>, bool), Error> {
        let messages = self.service.receive(max.min(MOST), seconds, limit).await?;
        let full = messages.len() == MOST;
        let visibility = Duration::from_secs(self.service.visibility.unsigned_abs().into());
        let until = self.now().saturating_add(micros(visibility));
        let mut taken = Vec::with_capacity(messages.len());
        for mut message in messages {
            let Some(handle) = message.receipt_handle.take() else { continue };
            let letter = Letter::read(&message);
            if letter.receives > self.settings.max_receives {
                self.bury(handle, &message, letter).await;
                continue;
            }
            let Letter { id, ref body, receives } = letter;
            let body = body.clone();
            let receipt = self.holds.hold(handle, Held { until, letter: Some(letter) }, self.now());
            taken.push(Delivery { id, body, receipt, receives });
        }
        Ok((taken, full))
    }

    /// SQS buries what it counted itself; a message that came back untried was counted in part by us.
    async fn bury(&self, handle: String, message: &Message, letter: Letter) {
        let dead = Letter { receives: letter.receives - 1, ..letter };
        let bury = async {
            self.service.bury(&dead).await?;
            self.service.drop_copied(RECEIVE, &handle).await
        };
        let limit = self.settings.deadline;
        let late = Err(Error::Timeout { operation: RECEIVE, limit });
        match timeout(limit, bury).await.unwrap_or(late) {
            Ok(()) => tracing::warn!(id = %dead.id, "gave a message up: it is with the dead letters now"),
            Err(error) => {
                tracing::warn!(%error, message = message.message_id(), "a dead message comes back once more to be buried");
            }
        }
    }

    fn spare(&self) -> MutexGuard<'_, VecDeque<Delivery>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is spare and was not held for too long meanwhile.
    fn take_spare(&self, max: usize) -> Vec<Delivery> {
        let mut spare = self.spare();
        spare.retain(|delivery| self.ticket(&delivery.receipt).is_some());
        let count = max.min(spare.len());
        spare.drain(..count).collect()
    }

    async fn keep_or_give_back(&self, unasked: Vec<Delivery>) {
        if self.receives.load(Ordering::SeqCst) > 0 && self.seats.check_open(RECEIVE).is_ok() {
            self.spare().extend(unasked);
            return;
        }
        self.give_all_back(unasked).await;
    }

    /// For a close: what came to nobody.
    pub(super) async fn give_spare_back(&self) {
        let spare = self.spare().drain(..).collect();
        self.give_all_back(spare).await;
    }

    async fn give_all_back(&self, unasked: Vec<Delivery>) {
        let limit = self.settings.deadline;
        let back = unasked.iter().map(|delivery| async {
            let late = Err(Error::Timeout { operation: RELEASE, limit });
            if let Err(error) = timeout(limit, self.give_back_untried(&delivery.receipt)).await.unwrap_or(late) {
                tracing::debug!(%error, "a message that nobody asked for comes back after its visibility timeout");
            }
        });
        join_all(back).await;
    }

    /// SQS counts every delivery, so a copy takes the place of the message, which counts on from before this delivery. First the copy:
    /// whatever fails between the two leaves two messages, never none.
    pub(super) async fn give_back_untried(&self, receipt: &Receipt) -> Result<bool, Error> {
        let Some(ticket) = self.ticket(receipt) else { return Ok(false) };
        let held = self.holds.take(&ticket);
        let Some(letter) = held.as_ref().and_then(|held| held.letter.clone()) else {
            // Another opener received it, and its content is not known here: counted.
            return self.service.hide(RELEASE, &ticket.handle, 0).await;
        };
        let copy = Letter { receives: letter.receives.saturating_sub(1), ..letter };
        if let Err(error) = self.service.send_again(&copy).await {
            held.into_iter().for_each(|held| self.holds.put_back(&ticket, held));
            return Err(error);
        }
        self.service.drop_copied(RELEASE, &ticket.handle).await?;
        Ok(true)
    }
}
