//! How a lab that is up is spoken to: one JSON line in, one JSON line out, over a private Unix socket in the lab's folder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Longest line that is read.
const MAX_LINE: u64 = 64 * 1024;
/// How long a supervisor may take to answer; `down` answers before it begins.
const ANSWER: Duration = Duration::from_secs(3);

/// What is asked of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// What is up.
    Status,
    /// Take everything down and end.
    Down,
    /// Set a workload's wanted replicas.
    Scale {
        /// The workload.
        workload: String,
        /// How many.
        replicas: u32,
    },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To `status`: one entry of `lab status --format json`.
    Status {
        /// The entry.
        environment: serde_json::Value,
    },
    /// It will be done.
    Accepted,
    /// It will not be done.
    Refused {
        /// Why.
        why: String,
    },
}

/// The socket of a lab whose folder is given.
pub fn socket_path(lab: &Path) -> PathBuf {
    lab.join("supervisor.sock")
}

/// Asks the supervisor of the lab in `folder`.
///
/// # Errors
/// There is none, or it does not answer in time.
pub async fn ask(folder: &Path, question: &Ask) -> io::Result<Reply> {
    let path = socket_path(folder);
    let exchange = async {
        let mut stream = UnixStream::connect(&path).await?;
        write_line(&mut stream, question).await?;
        read_line(&mut stream).await
    };
    tokio::time::timeout(ANSWER, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A question with the way back to who asked it.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    stream: UnixStream,
}

impl Question {
    /// Answers; a caller that went away is not an error.
    pub async fn reply(mut self, reply: &Reply) {
        if let Err(error) = write_line(&mut self.stream, reply).await {
            tracing::debug!(%error, "the caller is gone");
        }
    }
}

/// Listens in the lab's folder; only the owner can connect. Questions come out of the channel.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(folder: &Path) -> io::Result<mpsc::Receiver<Question>> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = socket_path(folder);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (questions, asked) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let questions = questions.clone();
            tokio::spawn(async move {
                let mut stream = stream;
                let read = tokio::time::timeout(ANSWER, read_line(&mut stream)).await;
                match read {
                    Ok(Ok(ask)) => questions.send(Question { ask, stream }).await.is_ok(),
                    Ok(Err(error)) => {
                        let why = format!("not a question: {error}");
                        write_line(&mut stream, &Reply::Refused { why }).await.is_ok()
                    }
                    Err(_) => false,
                }
            });
        }
    });
    Ok(asked)
}

async fn write_line(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read_line<T: serde::de::DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    use tokio::io::AsyncReadExt as _;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_gets_its_answer_and_nonsense_a_refusal() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut asked = listen(folder.path()).expect("a socket");
        tokio::spawn(async move {
            while let Some(question) = asked.recv().await {
                let reply = match &question.ask {
                    Ask::Down => Reply::Accepted,
                    other => Reply::Refused { why: format!("{other:?}") },
                };
                question.reply(&reply).await;
            }
        });
        assert_eq!(ask(folder.path(), &Ask::Down).await.expect("an answer"), Reply::Accepted);
        let mut stream = UnixStream::connect(socket_path(folder.path())).await.expect("a connection");
        stream.write_all(b"hello\n").await.expect("written");
        let reply: Reply = read_line(&mut stream).await.expect("an answer");
        assert!(matches!(reply, Reply::Refused { why } if why.starts_with("not a question")));
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(ask(folder.path(), &Ask::Status).await.is_err());
    }
}
