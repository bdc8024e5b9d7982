//! How a user is created once for a key in a database whose only atomic change is that of one document. No engine is known here.
//!
//! 1. The key is claimed: a document that is made only if there is none. Whoever made it goes on, others wait for step 3.
//! 2. A number is drawn from the counter.
//! 3. The number becomes the key's answer: again a document that is made only if there is none.
//! 4. The user is stored under the number.
//!
//! Whoever dies between two steps leaves a key that another caller finishes: before step 3 by going on in its place once it has been
//! silent for long, after it by doing step 4 again, which changes nothing when it was done. At worst a number is drawn that no user gets.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{Created, Idempotency, NewUser};
use crate::{Error, UserId};

/// What a key was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of the request that was answered.
    pub body_hash: [u8; 16],
    /// The user it made.
    pub id: UserId,
}

/// The single changes of which a create consists. Each is atomic, and durable when it is answered.
#[async_trait]
pub(super) trait Documents: Send + Sync {
    /// Claims the key. False when it was claimed before.
    async fn claim(&self, key: &str) -> Result<bool, Error>;

    /// Adds 1 to the counter of users and returns it: from 1, each number once.
    async fn draw(&self) -> Result<UserId, Error>;

    /// Keeps the key's answer. False when it has one, which stays.
    async fn keep_answer(&self, key: &str, answer: Answer) -> Result<bool, Error>;

    /// The key's answer as it is now.
    async fn answer(&self, key: &str) -> Result<Option<Answer>, Error>;

    /// Stores the user under its number. False when the number has a user, which stays.
    async fn put_user(&self, id: UserId, user: &NewUser) -> Result<bool, Error>;
}

/// How long the one who claimed a key may be silent. Too short costs numbers, never a second user.
pub(super) fn patience(deadline: Duration) -> Duration {
    (deadline / 4).min(Duration::from_secs(1))
}

/// Stores a user. Ends only with an answer or an error: the caller bounds the time.
pub(super) async fn create(
    documents: &dyn Documents,
    user: &NewUser,
    once: Option<&Idempotency>,
    patience: Duration,
) -> Result<Created, Error> {
    match once {
        Some(once) => create_once(documents, user, once, patience).await,
        None => loop {
            let id = documents.draw().await?;
            // Taken only if the counter has lost numbers, as from a backup that is older than its users.
            if documents.put_user(id, user).await? {
                return Ok(Created { id, fresh: true });
            }
        },
    }
}

async fn create_once(
    documents: &dyn Documents,
    user: &NewUser,
    once: &Idempotency,
    patience: Duration,
) -> Result<Created, Error> {
    let key = once.stored_key();
    if !documents.claim(&key).await?
        && let Some(answer) = answered_within(documents, &key, patience).await?
    {
        return repeated(documents, user, once, answer).await;
    }
    loop {
        let answer = Answer { body_hash: once.body_hash, id: documents.draw().await? };
        if documents.keep_answer(&key, answer).await? {
            documents.put_user(answer.id, user).await?;
            return Ok(Created { id: answer.id, fresh: true });
        }
        if let Some(first) = documents.answer(&key).await? {
            return repeated(documents, user, once, first).await;
        }
        // Forgotten in between: the key is free again.
    }
}

/// The answer of a key that somebody else has claimed; None when it does not come.
async fn answered_within(documents: &dyn Documents, key: &str, patience: Duration) -> Result<Option<Answer>, Error> {
    const LONGEST_WAIT: Duration = Duration::from_millis(50);
    let until = Instant::now() + patience;
    let mut wait = Duration::from_millis(2);
    loop {
        let answer = documents.answer(key).await?;
        if answer.is_some() || Instant::now() >= until {
            return Ok(answer);
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn repeated(
    documents: &dyn Documents,
    user: &NewUser,
    once: &Idempotency,
    first: Answer,
) -> Result<Created, Error> {
    if first.body_hash != once.body_hash {
        return Err(once.reused());
    }
    documents.put_user(first.id, user).await?;
    Ok(Created { id: first.id, fresh: false })
}

#[cfg(test)]
mod tests;
