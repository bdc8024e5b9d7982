//! What one connection holds of a queue: messages that the broker pushed and nobody asked for yet, and messages in consumers' hands.
//! Plain bookkeeping: what it says is to be told to the broker is told elsewhere.

use std::collections::{HashMap, VecDeque};

use crate::MessageId;

/// A message that the broker counts as delivered to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The broker's number of this delivery on its channel.
    pub(super) tag: u64,
    pub(super) id: MessageId,
    pub(super) body: Vec<u8>,
    /// This delivery included.
    pub(super) receives: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hands {
    buffered: VecDeque<Held>,
    /// With the end of their visibility timeout.
    held: HashMap<u64, (Held, u64)>,
    /// How many messages the broker may have given us at most.
    pub(super) credit: usize,
}

impl Hands {
    pub(super) fn arrive(&mut self, message: Held) {
        self.buffered.push_back(message);
    }

    /// Hands out up to `max`, in the order of arrival, hidden until `until_us`.
    pub(super) fn take(&mut self, max: usize, until_us: u64) -> Vec<Held> {
        let taken: Vec<_> = self.buffered.drain(..max.min(self.buffered.len())).collect();
        self.held.extend(taken.iter().map(|message| (message.tag, (message.clone(), until_us))));
        taken
    }

    /// Whether the broker gives nothing more before something that it gave is done with.
    pub(super) fn are_full(&self) -> bool {
        self.buffered.is_empty() && self.held.len() >= self.credit
    }

    pub(super) fn get(&self, tag: u64) -> Option<&Held> {
        self.held.get(&tag).map(|(message, _)| message)
    }

    pub(super) fn remove(&mut self, tag: u64) -> Option<Held> {
        self.held.remove(&tag).map(|(message, _)| message)
    }

    /// False when nobody holds it.
    pub(super) fn extend(&mut self, tag: u64, until_us: u64) -> bool {
        self.held.get_mut(&tag).map(|(_, until)| *until = until_us).is_some()
    }

    /// Whose visibility timeout has ended, in the order of delivery.
    pub(super) fn expired(&self, now_us: u64) -> Vec<u64> {
        let mut expired: Vec<u64> =
            self.held.iter().filter(|(_, (_, until))| *until <= now_us).map(|(tag, _)| *tag).collect();
        expired.sort_unstable();
        expired
    }

    /// Everything that nobody asked for.
    pub(super) fn unbuffer(&mut self) -> Vec<Held> {
        self.buffered.drain(..).collect()
    }

    /// Buffered and held.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.buffered.len(), self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hands(messages: u64) -> Hands {
        let mut hands = Hands { credit: 4, ..Hands::default() };
        for tag in 1..=messages {
            hands.arrive(Held { tag, id: MessageId::fresh(), body: vec![], receives: 1 });
        }
        hands
    }

    #[test]
    fn handed_out_in_order_and_expired_by_their_own_time() {
        let mut hands = hands(4);
        assert!(!hands.are_full());
        let tags = |taken: Vec<Held>| taken.into_iter().map(|message| message.tag).collect::<Vec<_>>();
        assert_eq!(tags(hands.take(3, 100)), [1, 2, 3]);
        assert_eq!(tags(hands.take(3, 100)), [4]);
        assert!(hands.are_full());
        assert!(hands.extend(2, 101));
        assert_eq!(hands.expired(99), [] as [u64; 0]);
        assert_eq!(hands.expired(100), [1, 3, 4]);
        assert!(hands.remove(2).is_some());
        assert!(!hands.extend(2, 200), "done with");
        assert_eq!(hands.counts(), (0, 3));
    }
}
