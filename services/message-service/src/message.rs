//! Messages as clients write and read them, and as they travel in the queue.

use backing::store::Message;
use backing::{MessageId, UserId};
use jiff::Timestamp;
use kit::{ApiError, query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Longest text, in characters.
const LONGEST_TEXT: usize = 4096;
/// Sets ids made of clients' keys apart from other ids made of text.
const KEYS: Uuid = Uuid::from_u128(0x6c61_622d_6d65_7373_6167_652d_6b65_7973);

#[derive(Deserialize)]
struct Input {
    from: Value,
    to: Value,
    text: String,
}

/// Reads the body of a send; `id` and `sent_at` are the service's.
///
/// # Errors
/// 400 that says what to change.
pub(crate) fn parse(body: &[u8], id: MessageId, sent_at: u64) -> Result<Message, ApiError> {
    let Input { from, to, text } = kit::body::parse(body)?;
    let message = Message { id, from: user("from", &from)?, to: user("to", &to)?, text, sent_at };
    if message.text.is_empty() {
        return Err(ApiError::bad_request("`text` is empty; write something"));
    }
    if message.text.chars().nth(LONGEST_TEXT).is_some() {
        return Err(ApiError::bad_request(format!("`text` is longer than {LONGEST_TEXT} characters; shorten it")));
    }
    Ok(message)
}

/// A user id, as a number or as its decimal digits.
fn user(field: &str, value: &Value) -> Result<UserId, ApiError> {
    let number = match value {
        Value::Number(number) => query::whole(&number.to_string()),
        Value::String(text) => query::whole(text),
        _ => None,
    };
    number
        .map(UserId)
        .ok_or_else(|| ApiError::bad_request(format!("`{field}` must be the id of a user: a whole number from 1 on")))
}

/// The id of a message that came with a client's `Idempotency-Key`: the same on every replica, so that the store keeps one.
pub(crate) fn id_of(key: &str) -> MessageId {
    MessageId(Uuid::new_v5(&KEYS, key.as_bytes()))
}

#[derive(Serialize)]
struct Output<'a> {
    id: MessageId,
    from: UserId,
    to: UserId,
    text: &'a str,
    sent_at: Timestamp,
}

/// One JSON object a line, newest first: what the cache keeps.
///
/// # Errors
/// When `sent_at` lies outside the years that dates have.
pub(crate) fn write_lines(messages: &[Message]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut lines = Vec::new();
    for message in messages {
        let Message { id, from, to, text, sent_at } = message;
        let sent_at = Timestamp::from_microsecond(i64::try_from(*sent_at)?)?;
        serde_json::to_writer(&mut lines, &Output { id: *id, from: *from, to: *to, text, sent_at })?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The answer made of the first `limit` lines: `{"messages":[…]}`. JSON text holds no bare line break, so lines are messages.
pub(crate) fn answer(lines: &[u8], limit: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(lines.len() + 16);
    body.extend_from_slice(b"{\"messages\":[");
    for (index, line) in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(limit).enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(line);
    }
    body.extend_from_slice(b"]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u64, text: &str) -> Message {
        let id = MessageId(Uuid::from_u128(u128::from(n)));
        Message { id, from: UserId(1), to: UserId(2), text: text.to_owned(), sent_at: 1_700_000_000_000_000 + n }
    }

    #[test]
    fn lines_make_an_answer_of_any_length() {
        let texts = ["line\nbreak \u{2028} \"quote\"", "b", "c"];
        let messages: Vec<_> = texts.iter().zip(1..).map(|(text, n)| message(n, text)).collect();
        let lines = write_lines(&messages).expect("dates of this century");
        for limit in 0..5 {
            let value: Value = serde_json::from_slice(&answer(&lines, limit)).expect("JSON");
            let found = value["messages"].as_array().expect("a list");
            assert_eq!(found.len(), limit.min(3));
            assert!(found.iter().zip(texts).all(|(message, text)| message["text"] == text));
        }
        let first: Value = serde_json::from_slice(&answer(&lines, 1)).expect("JSON");
        assert_eq!(first["messages"][0]["sent_at"], "2023-11-14T22:13:20.000001Z");
        assert_eq!(first["messages"][0]["to"], 2);
    }

    #[test]
    fn keys_give_ids() {
        assert_eq!(id_of("a"), id_of("a"));
        assert_ne!(id_of("a"), id_of("b"));
    }
}
