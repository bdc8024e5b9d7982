//! A message as SQS carries it: text, with what else there is to know in attributes. Nothing is sent from here.

use std::collections::HashMap;

use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::MessageId;

const ID: &str = "id";
/// How the text stands for the body; without it, the text is the body.
const FORM: &str = "form";
/// How often copies of this message were delivered before it; see [`Letter::receives`].
const RECEIVES: &str = "receives";

/// The attributes that we read.
pub(super) const ATTRIBUTES: [&str; 3] = [ID, FORM, RECEIVES];

/// A message, and how often it was delivered before SQS began to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: MessageId,
    pub(super) body: Vec<u8>,
    /// Deliveries. SQS counts those of one message of its own, and a message that came back untried is another one to it.
    pub(super) receives: u32,
}

/// A letter, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    /// Name, kind, value.
    pub(super) attributes: Vec<(&'static str, &'static str, String)>,
}

impl Letter {
    /// As SQS takes it: not empty, and of the signs that XML can carry.
    pub(super) fn write(&self) -> Written {
        let (text, form) = match str::from_utf8(&self.body) {
            Ok("") => ("-".to_owned(), Some("empty")),
            Ok(text) if text.chars().all(is_carried) => (text.to_owned(), None),
            _ => (STANDARD.encode(&self.body), Some("base64")),
        };
        let mut attributes = vec![(ID, "String", self.id.to_string())];
        attributes.extend(form.map(|form| (FORM, "String", form.to_owned())));
        if self.receives > 0 {
            attributes.push((RECEIVES, "Number", self.receives.to_string()));
        }
        Written { text, attributes }
    }

    /// What was received, this delivery counted. A message from elsewhere: the same content is the same message.
    pub(super) fn read(message: &Message) -> Self {
        let text = message.body().unwrap_or_default();
        let said = |name: &str| message.message_attributes()?.get(name)?.string_value();
        let body = match said(FORM) {
            Some("empty") => Vec::new(),
            Some("base64") => STANDARD.decode(text).unwrap_or_else(|_| text.into()),
            _ => text.into(),
        };
        let counted =
            message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
        let counted = counted.and_then(|count| count.parse().ok()).unwrap_or(1u32);
        let before = said(RECEIVES).and_then(|count| count.parse().ok()).unwrap_or(0u32);
        let id = said(ID).and_then(|id| id.parse().ok());
        let id = id.unwrap_or_else(|| MessageId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &body)));
        Self { id, body, receives: before.saturating_add(counted) }
    }
}

impl Written {
    /// As the service's limits count it, bytes.
    pub(super) fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, kind, value)| name.len() + kind.len() + value.len());
        self.text.len() + attributes.sum::<usize>()
    }

    /// The attributes as the client takes them.
    pub(super) fn attribute_values(&self) -> Result<HashMap<String, MessageAttributeValue>, BuildError> {
        let value = |(name, kind, value): &(&str, &str, String)| {
            let value = MessageAttributeValue::builder().data_type(*kind).string_value(value).build()?;
            Ok(((*name).to_owned(), value))
        };
        self.attributes.iter().map(value).collect()
    }
}

fn is_carried(sign: char) -> bool {
    matches!(sign, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(written: Written, count: u32) -> Message {
        let attributes = HashMap::from([(MessageSystemAttributeName::ApproximateReceiveCount, count.to_string())]);
        Message::builder()
            .set_message_attributes(Some(written.attribute_values().unwrap()))
            .body(written.text)
            .set_attributes(Some(attributes))
            .build()
    }

    #[test]
    fn every_body_comes_back_as_it_was() {
        for (body, form) in [
            (&b"plain\r\n\ttext"[..], None),
            ("Zoë 👩‍👩‍👧".as_bytes(), None),
            (b"", Some("empty")),
            (b"-", None),
            (&[0, 255, 10], Some("base64")),
            (b"a\0b", Some("base64")),
            ("\u{FFFE}".as_bytes(), Some("base64")),
        ] {
            let letter = Letter { id: MessageId::fresh(), body: body.to_vec(), receives: 2 };
            let written = letter.write();
            let said = written.attributes.iter().find(|(name, ..)| *name == FORM).map(|(_, _, form)| form.as_str());
            assert_eq!(said, form, "{body:?}");
            assert!(!written.text.is_empty() && written.text.chars().all(is_carried));
            assert_eq!(Letter::read(&received(written, 3)), Letter { receives: 5, ..letter });
        }
    }

    #[test]
    fn a_message_from_elsewhere_is_known_by_its_content() {
        let read = |text: &str| Letter::read(&Message::builder().body(text).build());
        assert_eq!(read("a"), read("a"));
        assert_ne!(read("a").id, read("b").id);
        assert_eq!((read("a").body, read("a").receives), (b"a".to_vec(), 1));
    }
}
