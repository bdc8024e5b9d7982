//! One call to a cluster's API: a deadline for each, and an error that says what was tried and why not, without what only a debugger wants.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::EnvError;

/// Deadline of a call that only looks.
pub(crate) const QUICK: Duration = Duration::from_secs(10);
/// Deadline of a call that makes or removes something; admission may take its time.
pub(crate) const SLOW: Duration = Duration::from_secs(30);

/// Why a call had no effect.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Nothing came back.
    Silent(Duration),
    /// The API said no: status of HTTP, its words.
    Said(u16, String),
    /// It could not be asked, or its answer could not be understood.
    Other(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(limit) => write!(f, "it did not answer within {limit:?}"),
            Self::Said(_, words) => f.write_str(words),
            Self::Other(error) => f.write_str(&innermost(error.as_ref())),
        }
    }
}

impl Error for Refusal {}

/// The last cause says what happened; those above it say what the client was doing.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.message.is_empty() => Self::Said(status.code, status.reason.clone()),
            kube::Error::Api(status) => Self::Said(status.code, status.message.clone()),
            other => Self::Other(other.into()),
        }
    }
}

impl Refusal {
    /// The thing that was named is not there.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Said(404, _))
    }

    /// This user may not.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Said(401 | 403, _))
    }

    /// The thing is there already, or has changed meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Said(409, _))
    }
}

/// Asks the cluster, but not for ever.
///
/// # Errors
/// It refused or did not answer.
pub(crate) async fn ask<T>(
    limit: Duration,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(limit, question).await {
        Err(_) => Err(Refusal::Silent(limit)),
        Ok(answer) => answer.map_err(Refusal::from),
    }
}

/// Says what a call was for.
pub(crate) trait Asked<T> {
    /// `what` completes the sentence "the cluster did not …", with its object.
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, EnvError>;
}

impl<T> Asked<T> for Result<T, Refusal> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, EnvError> {
        self.map_err(|refusal| EnvError::Cluster { doing: what(), source: Box::new(refusal) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_the_apis_words() {
        let status = kube::core::Status::failure("pods \"x\" is forbidden: no", "Forbidden").with_code(403);
        let refusal = Refusal::from(kube::Error::Api(status.boxed()));
        assert!(refusal.is_forbidden() && !refusal.is_gone() && !refusal.is_conflict());
        let told = Err::<(), _>(refusal).asked(|| "make pod x".to_owned()).unwrap_err();
        assert_eq!(told.to_string(), "the cluster did not make pod x");
        assert_eq!(told.source().unwrap().to_string(), "pods \"x\" is forbidden: no");
    }

    #[tokio::test]
    async fn no_answer_is_an_answer() {
        let refusal = ask(Duration::from_millis(20), std::future::pending::<Result<(), kube::Error>>()).await;
        assert!(matches!(refusal, Err(Refusal::Silent(_))));
    }
}
