//! One call to Docker: a deadline for each, and an error that says what was tried, why not, and what to do about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::EnvError;

/// Deadline of a call that only looks or signals.
pub(crate) const QUICK: Duration = Duration::from_secs(10);
/// Deadline of a call that makes or removes something; a busy disk makes these slow.
pub(crate) const SLOW: Duration = Duration::from_secs(60);

/// Why a call had no effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Nothing came back.
    #[error("it did not answer within {0:?}; see whether `docker version` answers, and restart Docker if it does not")]
    Silent(Duration),
    /// It answered, but not with what was asked for.
    #[error("{said}")]
    Said {
        /// Status of HTTP.
        status: u16,
        /// Its words, with the remedy where one is known.
        said: String,
    },
    /// It could not be asked, or its answer could not be understood.
    #[error(transparent)]
    Other(#[from] bollard::errors::Error),
}

/// Asks Docker, but not for ever.
///
/// # Errors
/// It refused or did not answer.
pub(crate) async fn ask<T>(
    limit: Duration,
    question: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(limit, question).await {
        Err(_) => Err(Refusal::Silent(limit)),
        Ok(answer) => answer.map_err(Refusal::from_docker),
    }
}

impl Refusal {
    fn from_docker(error: bollard::errors::Error) -> Self {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code, message } => {
                let said = match remedy(&message) {
                    Some(remedy) => format!("{}; {remedy}", message.trim()),
                    None => message.trim().to_owned(),
                };
                Self::Said { status: status_code, said }
            }
            bollard::errors::Error::RequestTimeoutError => Self::Silent(Duration::from_secs(120)),
            other => Self::Other(other),
        }
    }

    /// The thing that was named is not there.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Said { status: 404, .. })
    }

    /// The thing is already as it was asked to be, or on its way there.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Said { status: 304 | 409, .. })
    }

    /// Says what was tried: `doing` completes "Docker did not …", with its object.
    pub(crate) fn on(self, doing: String) -> EnvError {
        EnvError::Docker { doing, source: Box::new(self) }
    }

    /// The refusal of the operating system at the bottom of it, if that is what it was.
    pub(crate) fn io(&self) -> Option<io::ErrorKind> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return Some(io.kind());
            }
            cause = error.source();
        }
        None
    }
}

/// Says what a call was for.
pub(crate) trait Asked<T> {
    /// `what` completes the sentence "Docker did not …", with its object.
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, EnvError>;
}

impl<T> Asked<T> for Result<T, Refusal> {
    fn asked(self, what: impl FnOnce() -> String) -> Result<T, EnvError> {
        self.map_err(|refusal| refusal.on(what()))
    }
}

/// What helps against refusals whose words do not say it.
fn remedy(message: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 5] = [
        ("no space left on device", "free some space: `docker system df` says where it went"),
        ("non-overlapping IPv4", "remove networks that nobody uses: `lab clean`, `docker network prune`"),
        ("fully subnetted", "remove networks that nobody uses: `lab clean`, `docker network prune`"),
        ("No such image", "pull it, or name another with LAB_IMAGE_…"),
        ("port is already allocated", "another program has this port; try again"),
    ];
    KNOWN.iter().find(|(words, _)| message.contains(words)).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_says_comes_with_its_remedy() {
        let said = |status_code, message: &str| {
            let message = message.to_owned();
            Refusal::from_docker(bollard::errors::Error::DockerResponseServerError { status_code, message })
        };
        let full = said(500, "write /x: no space left on device\n").on("make container x".to_owned());
        assert_eq!(full.to_string(), "Docker did not make container x");
        let cause = full.source().unwrap().to_string();
        assert_eq!(cause, "write /x: no space left on device; free some space: `docker system df` says where it went");
        assert!(said(404, "No such container: x").is_gone() && said(409, "is not running").is_done());
    }

    #[tokio::test]
    async fn no_answer_is_an_answer() {
        let limit = Duration::from_millis(20);
        let refusal = ask(limit, std::future::pending::<Result<(), bollard::errors::Error>>()).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Silent(silent) if silent == limit), "{refusal}");
    }
}
