//! A table page by page: as the service cuts it, at a megabyte at most.

use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::{DynamodbStore, Fields, Item, SCAN, Unread, bytes, item, number};
use crate::Error;
use crate::store::{Cursor, Page, Table};

/// The key of a table's row, as a cursor holds it.
enum Place {
    Beginning,
    /// A user's `id`.
    User(u64),
    /// Whose inbox, when it was sent, which message.
    Message(u64, u64, Uuid),
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| text.parse::<u64>().map_err(drop);
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [id] => Ok(Self::User(number(id)?)),
            [to, sent, id] => Ok(Self::Message(number(to)?, number(sent)?, id.parse().map_err(drop)?)),
            _ => Err(()),
        }
    }
}

impl Place {
    fn key(self, table: Table) -> Result<Option<Item>, Error> {
        match (table, self) {
            (_, Self::Beginning) => Ok(None),
            (Table::Users, Self::User(id)) => Ok(Some(item([("id", number(id))]))),
            (Table::Messages, Self::Message(to, sent_at, id)) => {
                let place = [sent_at.to_be_bytes().as_slice(), id.as_bytes()].concat();
                Ok(Some(item([("to", number(to)), ("place", bytes(place))])))
            }
            _ => Err(Error::Cursor { operation: SCAN }),
        }
    }
}

fn cursor(table: Table, key: &Item) -> Result<Cursor, Error> {
    let fields = Fields { operation: SCAN, item: key };
    if table == Table::Users {
        return Ok(Cursor::at(fields.number("id")?));
    }
    let [t0, t1, t2, t3, t4, t5, t6, t7, id @ ..]: [u8; 24] = fields.bytes("place")?;
    let sent_at = u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
    Ok(Cursor::at(format_args!("{}/{sent_at}/{}", fields.number("to")?, Uuid::from_bytes(id))))
}

impl DynamodbStore {
    pub(super) async fn scanned(&self, table: Table, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let (name, field) = match table {
            Table::Users => (&self.tables.users, "name"),
            Table::Messages => (&self.tables.inboxes, "text"),
        };
        let after = Cursor::place(after, Place::Beginning, SCAN)?.key(table)?;
        let scan = self.client.scan().table_name(name).consistent_read(true).set_exclusive_start_key(after);
        let scan = scan.limit(i32::try_from(limit.max(1)).unwrap_or(i32::MAX)).send().await;
        let found = scan.map_err(self.failed(SCAN))?;
        let next = found.last_evaluated_key().map(|key| cursor(table, key)).transpose()?;
        let text = |mut item: Item| match item.remove(field) {
            Some(AttributeValue::S(text)) => Ok(text),
            _ => Err(Error::engine(SCAN, Unread(field))),
        };
        Ok(Page { rows: found.items.unwrap_or_default().into_iter().map(text).collect::<Result<_, _>>()?, next })
    }
}
