//! Who holds what, as far as this process knows: SQS lets an old receipt end a message that timed out, so whether a delivery is still held
//! is decided here, by our clock. Also the letters, to write the copy of one that comes back untried.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::letter::Letter;
use crate::queue::Receipt;

/// Fewer are not worth looking for those that timed out.
const FEW: usize = 1024;

/// See the module.
pub(super) struct Holds {
    /// Sets the receipts of this opener apart from others'.
    opener: String,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By SQS's receipt handle.
    held: HashMap<String, Held>,
    /// When there are so many, those that timed out are forgotten.
    full: usize,
}

/// One delivery.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Microseconds of the clock in the settings.
    pub(super) until: u64,
    /// None when another opener received it.
    pub(super) letter: Option<Letter>,
}

/// A receipt, read, of a delivery that is still held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// SQS's name for the delivery.
    pub(super) handle: String,
    /// Received by this opener, so that the table knows of its end. Of another one (before a restart, say) SQS has the last word.
    ours: bool,
}

impl Holds {
    pub(super) fn new() -> Self {
        Self { opener: Uuid::now_v7().simple().to_string(), table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a delivery.
    pub(super) fn hold(&self, handle: String, held: Held, now: u64) -> Receipt {
        let receipt = Receipt(format!("{}.{}.{handle}", self.opener, held.until));
        let mut table = self.table();
        if table.held.len() >= table.full.max(FEW) {
            table.held.retain(|_, held| held.until > now);
            table.full = table.held.len() * 2;
        }
        table.held.insert(handle, held);
        receipt
    }

    /// None when the receipt is stale.
    pub(super) fn ticket(&self, receipt: &Receipt, now: u64) -> Option<Ticket> {
        let mut parts = receipt.0.splitn(3, '.');
        let (opener, until, handle) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = opener == self.opener;
        let known = self.table().held.get(handle).map(|held| held.until);
        let until = known.or_else(|| if ours { None } else { until.parse().ok() })?;
        (until > now).then(|| Ticket { handle: handle.to_owned(), ours })
    }

    /// For the end of a delivery that SQS agreed to. False when it had ended meanwhile.
    pub(super) fn end(&self, ticket: &Ticket) -> bool {
        self.table().held.remove(&ticket.handle).is_some() || !ticket.ours
    }

    /// As [`Self::end`], with what was held. None also when another opener received it and we know nothing of it.
    pub(super) fn take(&self, ticket: &Ticket) -> Option<Held> {
        self.table().held.remove(&ticket.handle)
    }

    /// Undoes [`Self::take`].
    pub(super) fn put_back(&self, ticket: &Ticket, held: Held) {
        self.table().held.insert(ticket.handle.clone(), held);
    }

    pub(super) fn extend(&self, ticket: &Ticket, until: u64) {
        let mut table = self.table();
        match table.held.get_mut(&ticket.handle) {
            Some(held) => held.until = until,
            None if !ticket.ours => drop(table.held.insert(ticket.handle.clone(), Held { until, letter: None })),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageId;

    fn held(until: u64) -> Held {
        Held { until, letter: Some(Letter { id: MessageId::fresh(), body: vec![], receives: 1 }) }
    }

    #[test]
    fn a_receipt_is_good_until_its_time_or_its_end() {
        let holds = Holds::new();
        let receipt = holds.hold("a.b#c".to_owned(), held(100), 0);
        let ticket = holds.ticket(&receipt, 99).unwrap();
        assert_eq!(ticket.handle, "a.b#c");
        assert!(holds.ticket(&receipt, 100).is_none());
        holds.extend(&ticket, 200);
        assert!(holds.ticket(&receipt, 199).is_some());
        assert!(holds.end(&ticket));
        assert!(holds.ticket(&receipt, 50).is_none());
        assert!(!holds.end(&ticket), "once");
    }

    #[test]
    fn a_receipt_of_another_opener_is_good_until_its_first_time() {
        let receipt = Holds::new().hold("a".to_owned(), held(100), 0);
        let holds = Holds::new();
        let ticket = holds.ticket(&receipt, 99).unwrap();
        assert!(holds.ticket(&receipt, 100).is_none() && holds.take(&ticket).is_none());
        assert!(holds.end(&ticket), "SQS knows");
        holds.extend(&ticket, 200);
        assert!(holds.ticket(&receipt, 199).is_some() && holds.ticket(&receipt, 200).is_none());
        assert!(holds.ticket(&Receipt("1.2".to_owned()), 0).is_none(), "another engine's");
    }

    #[test]
    fn what_timed_out_is_forgotten() {
        let holds = Holds::new();
        for number in 0..FEW as u64 * 10 {
            holds.hold(number.to_string(), held(number + 10), number);
        }
        assert!(holds.table().held.len() <= FEW + 1);
    }
}
