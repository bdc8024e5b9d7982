//! What one process has of a queue: for each partition it owns the messages that were fetched, those in consumers' hands, and those that
//! are on their way to the dead letters. Plain bookkeeping: what it says is to be told to the broker is told elsewhere.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rdkafka::error::KafkaError;
use tokio::sync::watch;

use super::window::Window;
use crate::MessageId;

/// A message as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) id: MessageId,
    pub(super) body: Vec<u8>,
    /// Deliveries so far; in hands, that delivery included.
    pub(super) receives: u32,
}

/// How far the broker has taken over what is known of a partition. Its sender ends with the ownership.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// All changes up to this one are committed.
    pub(super) committed: u64,
    /// Changes up to this one were refused.
    pub(super) refused: Option<(u64, KafkaError)>,
}

/// What to commit of one partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) text: String,
    change: u64,
}

/// Acknowledgements of one partition that are to be committed.
pub(super) struct Acked {
    pub(super) count: usize,
    pub(super) change: u64,
    pub(super) progress: watch::Receiver<Progress>,
}

#[derive(Default)]
struct Partition {
    /// None until what was committed is known; what arrives before waits.
    window: Option<Window>,
    early: Vec<Message>,
    visible: VecDeque<Message>,
    bytes: usize,
    /// Its owner is about to change: nothing more is handed out.
    revoked: bool,
    /// Counts changes of what is to be committed.
    change: u64,
    progress: watch::Sender<Progress>,
}

impl Partition {
    fn push(&mut self, message: Message, front: bool) {
        if self.revoked {
            return;
        }
        self.bytes += message.body.len();
        if front { self.visible.push_front(message) } else { self.visible.push_back(message) }
    }

    fn count(&mut self, offset: i64, receives: u32) {
        self.change += 1;
        if let Some(window) = &mut self.window {
            window.count(offset, receives);
        }
    }

    fn done(&mut self, offset: i64) {
        self.change += 1;
        if let Some(window) = &mut self.window {
            window.done(offset);
        }
    }
}

/// See the module.
pub(super) struct Hands {
    partitions: BTreeMap<i32, Partition>,
    /// Where the next receive begins, so that no partition waits for another.
    turn: i32,
    /// By the number of the delivery, with the end of its visibility timeout.
    held: HashMap<u64, (Message, u64)>,
    dying: BTreeMap<u64, Message>,
    deliveries: u64,
    max_receives: u32,
    /// Nothing is handed out that is farther than this from the first message of its partition that is not done with.
    widest: usize,
}

impl Hands {
    pub(super) fn new(max_receives: u32, widest: usize) -> Self {
        Self {
            partitions: BTreeMap::new(),
            turn: 0,
            held: HashMap::new(),
            dying: BTreeMap::new(),
            deliveries: 0,
            max_receives,
            widest,
        }
    }

    pub(super) fn assign(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.remove(&[*partition]);
            self.partitions.insert(*partition, Partition::default());
        }
    }

    /// Owned partitions of which it is not known what was committed.
    pub(super) fn unknown(&self) -> Vec<i32> {
        self.partitions.iter().filter(|(_, part)| part.window.is_none()).map(|(number, _)| *number).collect()
    }

    pub(super) fn restore(&mut self, number: i32, window: Window) {
        let Some(part) = self.partitions.get_mut(&number) else { return };
        part.window = Some(window);
        for message in std::mem::take(&mut part.early) {
            self.arrive(message);
        }
    }

    pub(super) fn arrive(&mut self, mut message: Message) {
        let Some(part) = self.partitions.get_mut(&message.partition) else { return };
        let Some(window) = &mut part.window else { return part.early.push(message) };
        let Some(receives) = window.arrive(message.offset) else { return };
        message.receives = receives;
        if receives < self.max_receives {
            part.push(message, false);
        } else {
            // Its last consumer went away without a word.
            self.deliveries += 1;
            self.dying.insert(self.deliveries, message);
        }
    }

    /// Hands out up to `max`, hidden until `until_us`; partitions take turns.
    pub(super) fn take(&mut self, max: usize, until_us: u64) -> Vec<(u64, Message)> {
        let mut taken = Vec::new();
        let turn = self.turn;
        let order: Vec<i32> =
            self.partitions.range(turn..).chain(self.partitions.range(..turn)).map(|(number, _)| *number).collect();
        for number in order {
            let Some(part) = self.partitions.get_mut(&number) else { continue };
            while taken.len() < max
                && let Some(message) = part.visible.front()
                && part.window.as_ref().is_some_and(|window| window.distance(message.offset) < self.widest)
                && let Some(mut message) = part.visible.pop_front()
            {
                part.bytes -= message.body.len();
                message.receives += 1;
                part.count(message.offset, message.receives);
                self.deliveries += 1;
                self.held.insert(self.deliveries, (message.clone(), until_us));
                taken.push((self.deliveries, message));
                self.turn = number + 1;
            }
        }
        taken
    }

    /// Ends these deliveries, and says for each partition what is to be waited for.
    pub(super) fn ack(&mut self, deliveries: impl Iterator<Item = u64>) -> Vec<Acked> {
        let mut acked: BTreeMap<i32, Acked> = BTreeMap::new();
        for delivery in deliveries {
            let Some((message, _)) = self.held.remove(&delivery) else { continue };
            let Some(part) = self.partitions.get_mut(&message.partition) else { continue };
            part.done(message.offset);
            let progress = || part.progress.subscribe();
            let sum =
                acked.entry(message.partition).or_insert_with(|| Acked { count: 0, change: 0, progress: progress() });
            sum.count += 1;
            sum.change = part.change;
        }
        acked.into_values().collect()
    }

    /// False when nobody holds it.
    pub(super) fn extend(&mut self, delivery: u64, until_us: u64) -> bool {
        self.held.get_mut(&delivery).map(|(_, until)| *until = until_us).is_some()
    }

    /// Visible again, or to the dead letters when this was its last delivery. False when nobody holds it.
    pub(super) fn release(&mut self, delivery: u64) -> bool {
        let Some((message, _)) = self.held.remove(&delivery) else { return false };
        if message.receives >= self.max_receives {
            self.dying.insert(delivery, message);
        } else if let Some(part) = self.partitions.get_mut(&message.partition) {
            part.push(message, true);
        }
        true
    }

    /// Visible again as if this delivery had not been. False when nobody holds it.
    pub(super) fn release_untried(&mut self, delivery: u64) -> bool {
        let Some((mut message, _)) = self.held.remove(&delivery) else { return false };
        message.receives -= 1;
        if let Some(part) = self.partitions.get_mut(&message.partition) {
            part.count(message.offset, message.receives);
            part.push(message, true);
        }
        true
    }

    /// Releases what timed out. True when there was something.
    pub(super) fn expire(&mut self, now_us: u64) -> bool {
        let mut expired: Vec<u64> =
            self.held.iter().filter(|(_, (_, until))| *until <= now_us).map(|(delivery, _)| *delivery).collect();
        // Each goes to the front: the first delivered comes to stand before the others.
        expired.sort_unstable_by(|a, b| b.cmp(a));
        for delivery in &expired {
            self.release(*delivery);
        }
        !expired.is_empty()
    }

    pub(super) fn dying(&self) -> Vec<(u64, Message)> {
        self.dying.iter().map(|(delivery, message)| (*delivery, message.clone())).collect()
    }

    /// It is with the dead letters.
    pub(super) fn buried(&mut self, delivery: u64) {
        let Some(message) = self.dying.remove(&delivery) else { return };
        if let Some(part) = self.partitions.get_mut(&message.partition) {
            part.done(message.offset);
        }
    }

    /// What the broker does not know yet.
    pub(super) fn unsaved(&self) -> Vec<Mark> {
        let mark = |(number, part): (&i32, &Partition)| {
            let window = part.window.as_ref().filter(|_| part.change > part.progress.borrow().committed)?;
            Some(Mark { partition: *number, offset: window.base()?, text: window.text(), change: part.change })
        };
        self.partitions.iter().filter_map(mark).collect()
    }

    /// What became of a commit.
    pub(super) fn saved(&mut self, marks: &[Mark], result: &Result<(), KafkaError>) {
        for Mark { partition, change, .. } in marks {
            let Some(part) = self.partitions.get(partition) else { continue };
            part.progress.send_modify(|progress| match result {
                Ok(()) => progress.committed = *change,
                Err(error) => progress.refused = Some((*change, error.clone())),
            });
        }
    }

    /// Nothing more of these is handed out.
    pub(super) fn revoke(&mut self, partitions: &[i32]) {
        for number in partitions {
            let Some(part) = self.partitions.get_mut(number) else { continue };
            part.revoked = true;
            part.visible.clear();
            part.early.clear();
            part.bytes = 0;
        }
    }

    /// Whether something of these is in hands or on its way to the dead letters.
    pub(super) fn unsettled(&self, partitions: &[i32]) -> bool {
        let mut unsettled = self.held.values().map(|(message, _)| message).chain(self.dying.values());
        unsettled.any(|message| partitions.contains(&message.partition))
    }

    /// Forgets these; no receipt fits a delivery of them any more.
    pub(super) fn remove(&mut self, partitions: &[i32]) {
        partitions.iter().for_each(|number| drop(self.partitions.remove(number)));
        self.held.retain(|_, (message, _)| !partitions.contains(&message.partition));
        self.dying.retain(|_, message| !partitions.contains(&message.partition));
    }

    /// For each owned partition the messages and bytes that wait here.
    pub(super) fn buffered(&self) -> Vec<(i32, usize, usize)> {
        self.partitions
            .iter()
            .map(|(number, part)| (*number, part.visible.len() + part.early.len(), part.bytes))
            .collect()
    }

    /// What is known of an owned partition: the first offset that is not done with, and how many after it are.
    pub(super) fn known(&self, number: i32) -> Option<(i64, usize)> {
        let window = self.partitions.get(&number)?.window.as_ref()?;
        Some((window.base()?, window.done_ahead()))
    }

    /// Held, and on their way to the dead letters.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.held.len(), self.dying.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn message(partition: i32, offset: i64) -> Message {
        Message { partition, offset, id: MessageId::fresh(), body: vec![0; 10], receives: 0 }
    }

    fn hands() -> Hands {
        let mut hands = Hands::new(2, 100);
        hands.assign(&[0, 1]);
        assert_eq!(hands.unknown(), [0, 1]);
        hands.arrive(message(0, 5));
        assert_eq!(hands.take(9, 0).len(), 0, "not known whether it is done with");
        hands.restore(0, Window::restore(Some(5), "lab1 -."));
        hands.restore(1, Window::default());
        for offset in 6..9 {
            hands.arrive(message(0, offset));
            hands.arrive(message(1, offset));
        }
        hands
    }

    fn places(taken: &[(u64, Message)]) -> Vec<(i32, i64)> {
        taken.iter().map(|(_, message)| (message.partition, message.offset)).collect()
    }

    #[test]
    fn partitions_take_turns_and_what_is_done_is_not_handed_out() {
        let mut hands = hands();
        assert_eq!(places(&hands.take(2, 100)), [(0, 5), (0, 7)]);
        assert_eq!(places(&hands.take(9, 100)), [(1, 6), (1, 7), (1, 8), (0, 8)]);
        assert_eq!(hands.counts(), (6, 0));
        assert!(hands.buffered().iter().all(|(_, messages, bytes)| (*messages, *bytes) == (0, 0)));
    }

    #[test]
    fn an_ack_waits_for_its_commit_and_is_void_without_its_partition() {
        let mut hands = hands();
        let taken = hands.take(9, 100);
        let acked = hands.ack(taken.iter().map(|(delivery, _)| *delivery).chain([77]));
        assert_eq!(acked.iter().map(|acked| acked.count).collect::<Vec<_>>(), [3, 3]);
        let marks = hands.unsaved();
        assert_eq!(marks.iter().map(|mark| (mark.partition, mark.offset)).collect::<Vec<_>>(), [(0, 9), (1, 9)]);
        hands.saved(&marks[..1], &Ok(()));
        assert!(acked[0].progress.borrow().committed >= acked[0].change);
        assert!(acked[1].progress.borrow().committed < acked[1].change);
        assert_eq!(hands.unsaved().len(), 1);
        hands.remove(&[1]);
        assert!(acked[1].progress.has_changed().is_err());
    }

    #[test]
    fn deliveries_are_counted_to_death() {
        let mut hands = hands();
        hands.remove(&[1]);
        let first = hands.take(1, 100)[0].0;
        assert!(!hands.expire(99));
        assert!(hands.expire(100));
        assert!(!hands.extend(first, 500), "its time is over");
        let second = hands.take(1, 200).remove(0);
        assert_eq!((second.1.offset, second.1.receives), (5, 2));
        assert!(hands.release_untried(second.0));
        let third = hands.take(1, 200).remove(0);
        assert_eq!((third.1.offset, third.1.receives), (5, 2));
        assert!(hands.release(third.0) && !hands.release(third.0));
        assert_eq!(hands.counts(), (0, 1));
        let (dying, _) = hands.dying().remove(0);
        hands.buried(dying);
        assert_eq!((hands.counts(), hands.known(0)), ((0, 0), Some((7, 0))));
        // As after a crash of its consumers.
        hands.assign(&[0]);
        hands.restore(0, Window::restore(Some(7), "lab1 B"));
        hands.arrive(message(0, 7));
        assert_eq!(hands.counts(), (0, 1));
    }

    #[test]
    fn a_revoked_partition_lets_its_deliveries_end() {
        let mut hands = hands();
        let (delivery, _) = hands.take(1, 100).remove(0);
        hands.revoke(&[0]);
        assert!(hands.unsettled(&[0]) && !hands.unsettled(&[1]));
        assert!(hands.take(9, 100).iter().all(|(_, message)| message.partition == 1));
        assert_eq!(hands.ack([delivery].into_iter())[0].count, 1);
        assert!(!hands.unsettled(&[0]));
        assert_eq!(hands.unsaved().iter().find(|mark| mark.partition == 0).unwrap().offset, 7);
    }

    #[test]
    fn one_stuck_message_holds_up_no_more_than_its_partition() {
        let mut hands = Hands::new(5, 3);
        hands.assign(&[0, 1]);
        hands.restore(0, Window::default());
        hands.restore(1, Window::default());
        (0..9).for_each(|offset| hands.arrive(message(0, offset)));
        hands.arrive(message(1, 0));
        let taken = hands.take(9, 100);
        assert_eq!(places(&taken), [(0, 0), (0, 1), (0, 2), (1, 0)]);
        hands.ack(taken[1..].iter().map(|(delivery, _)| *delivery));
        assert_eq!(hands.take(9, 100), []);
        hands.ack([taken[0].0].into_iter());
        assert_eq!(places(&hands.take(9, 100)), [(0, 3), (0, 4), (0, 5)]);
    }
}
