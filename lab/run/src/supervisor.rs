//! How a lab that is up, or an experiment that runs, is spoken to: one JSON line in, one JSON line out, over a private Unix socket
//! in the lab's folder. What is done about it is in `steer` and `desk`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab_core::control::LoadChange;
use lab_core::unit::RunTime;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Longest path of a socket that every system takes, bytes.
const LONGEST_PATH: usize = 100;
/// Between two tries to take connections, when that fails: most often too many files are open, which passes.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest line that is read.
const MAX_LINE: u64 = 64 * 1024;
/// How long a supervisor may take to answer; `down` answers before it begins.
const ANSWER: Duration = Duration::from_secs(3);

/// What is asked of whoever has a lab up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// What is up.
    Status,
    /// Take everything down and end. An experiment stops, as by `stop`.
    Down,
    /// Set a workload's wanted replicas.
    Scale {
        /// The workload.
        workload: String,
        /// How many.
        replicas: u32,
    },
    /// Change the load that is being driven: rate, mix, connections, pause. When it is in force is decided by who drives it.
    Load {
        /// What is different from then on; `from_ns` and `share` are not the caller's.
        change: LoadChange,
    },
    /// End the present phase of the load; the next one begins.
    SkipPhase,
    /// Kill a replica without warning.
    Kill {
        /// The replica.
        replica: String,
    },
    /// Finish what is in flight, report, take everything down. Asked again it changes nothing.
    Stop,
    /// Keep a remark.
    Note {
        /// The sentence, at most 1,000 bytes.
        text: String,
    },
    /// Note that what a dashboard showed was kept.
    Still {
        /// The instant that was shown.
        at: RunTime,
        /// Width and height in cells.
        size: (u16, u16),
        /// Paths inside the run's folder.
        files: Vec<String>,
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
    /// It is done, or will be.
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

/// Where questions arrive. Dropped, it takes its socket along.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    asked: mpsc::Receiver<Question>,
    accepting: AbortHandle,
}

impl Socket {
    /// The next question.
    pub async fn recv(&mut self) -> Option<Question> {
        self.asked.recv().await
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the socket stays");
        }
    }
}

/// Whether a lab in this folder can have its socket.
///
/// # Errors
/// The path is longer than sockets may have.
pub fn check(folder: &Path) -> io::Result<()> {
    let length = socket_path(folder).as_os_str().len();
    if length <= LONGEST_PATH {
        return Ok(());
    }
    let why = format!(
        "the path has {length} bytes and a socket's may have {LONGEST_PATH}: set LAB_HOME to a shorter folder or take a shorter name"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Listens in the lab's folder; only the owner can connect.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(folder: &Path) -> io::Result<Socket> {
    use std::os::unix::fs::PermissionsExt as _;
    check(folder)?;
    let path = socket_path(folder);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (questions, asked) = mpsc::channel(8);
    let accepting = tokio::spawn(async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection; trying again");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
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
    Ok(Socket { path, asked, accepting: accepting.abort_handle() })
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
    async fn the_socket_goes_with_its_listener_and_a_long_path_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = listen(folder.path()).expect("a socket");
        assert!(socket_path(folder.path()).exists());
        drop(socket);
        assert!(!socket_path(folder.path()).exists());
        let error = listen(&folder.path().join("x".repeat(100))).expect_err("too long");
        assert!(error.to_string().contains("LAB_HOME"), "{error}");
    }

    #[test]
    fn questions_are_plain_json() {
        let change = LoadChange { rate: Some(800.0), ..LoadChange::default() };
        let table = [
            (Ask::Load { change }, r#"{"ask":"load","change":{"rate":800.0}}"#),
            (Ask::SkipPhase, r#"{"ask":"skip-phase"}"#),
            (Ask::Kill { replica: "user-service-1".to_owned() }, r#"{"ask":"kill","replica":"user-service-1"}"#),
            (
                Ask::Still { at: RunTime(7), size: (80, 24), files: vec!["stills/1.txt".to_owned()] },
                r#"{"ask":"still","at":7,"size":[80,24],"files":["stills/1.txt"]}"#,
            ),
        ];
        for (ask, text) in table {
            assert_eq!(serde_json::to_string(&ask).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<Ask>(text).expect("a question"), ask);
        }
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(ask(folder.path(), &Ask::Status).await.is_err());
    }
}
