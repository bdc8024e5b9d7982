//! How often the user asked to stop: 1 drains and reports, 2 tears down, 3 leaves. A budget that is used up acts like the first.

use lab_core::event::Kind;
use lab_env::{EventSink, Seen};
use tokio::sync::watch;

/// What was asked so far.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    /// By the user.
    count: u32,
    /// By the budget.
    over_budget: bool,
}

impl Asked {
    fn reaches(self, level: u32) -> bool {
        self.count >= level || (self.over_budget && level <= 1)
    }
}

/// A counter that every wait can listen to. Clones share it.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: watch::Sender<Asked>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}

impl Interrupt {
    /// Nobody asked yet.
    pub fn new() -> Self {
        Self { asked: watch::Sender::new(Asked::default()) }
    }

    /// One more request to stop; returns how many there are now.
    pub fn raise(&self) -> u32 {
        self.asked.send_modify(|asked| asked.count += 1);
        self.count()
    }

    /// A request to stop that counts only when it is the first: who asks by message may ask twice.
    pub fn raise_once(&self) {
        self.asked.send_if_modified(|asked| {
            let first = asked.count == 0;
            asked.count += u32::from(first);
            first
        });
    }

    /// The budget is used up: drain and report, never more, and not in the user's name.
    pub fn budget_used_up(&self) {
        self.asked.send_modify(|asked| asked.over_budget = true);
    }

    /// Whether the budget is used up.
    pub fn is_over_budget(&self) -> bool {
        self.asked.borrow().over_budget
    }

    /// How many requests of the user there were.
    pub fn count(&self) -> u32 {
        self.asked.borrow().count
    }

    /// Waits until there were at least `level` requests.
    pub async fn reached(&self, level: u32) {
        self.until(|asked| asked.reaches(level)).await;
    }

    async fn until(&self, is: impl Fn(Asked) -> bool) {
        let mut seen = self.asked.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail while we are here.
        if seen.wait_for(|asked| is(*asked)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells of every request of the user as it comes. Ends only when nobody takes events any more.
    pub async fn announce(self, events: EventSink) {
        for count in 1.. {
            self.until(|asked| asked.count >= count).await;
            let seen = Seen { src: "user".to_owned(), at: None, kind: Kind::Interrupted { count } };
            if events.send(seen).await.is_err() {
                return;
            }
        }
    }

    /// Runs `work` unless the user asks `level` times first.
    pub async fn or<T>(&self, level: u32, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.reached(level) => None,
            done = work => Some(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_by_message_never_tears_down() {
        let interrupt = Interrupt::new();
        interrupt.raise_once();
        interrupt.raise_once();
        assert_eq!(interrupt.count(), 1);
        assert_eq!(interrupt.raise(), 2);
    }

    #[tokio::test]
    async fn a_used_up_budget_reaches_the_first_level_only_and_is_no_request_of_the_user() {
        let interrupt = Interrupt::new();
        interrupt.budget_used_up();
        assert_eq!(interrupt.or(1, std::future::pending::<()>()).await, None);
        assert_eq!(interrupt.or(2, std::future::ready(())).await, Some(()));
        assert_eq!((interrupt.count(), interrupt.is_over_budget()), (0, true));
    }
}
