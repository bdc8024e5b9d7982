//! A container's output, copied into a file of the run's folder for as long as it has any.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::time::timeout;

/// How long written lines may stay in memory while a container says nothing.
const LINGER: Duration = Duration::from_millis(200);

/// Copies until the container ends. `since`: from that second on, 1970 and later; the lines of that second may be there twice.
pub(super) async fn follow(docker: Docker, id: String, path: PathBuf, since: Option<i32>) {
    if let Err(error) = copy(&docker, &id, &path, since).await {
        tracing::warn!(%error, path = %path.display(), "a container's output is not copied any more");
    }
}

async fn copy(docker: &Docker, id: &str, path: &Path, since: Option<i32>) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path).await?;
    let mut file: BufWriter<File> = BufWriter::new(file);
    let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).since(since.unwrap_or(0)).build();
    let mut lines = std::pin::pin!(docker.logs(id, Some(options)));
    loop {
        match timeout(LINGER, lines.next()).await {
            Ok(Some(Ok(line))) => file.write_all(line.as_ref()).await?,
            Ok(Some(Err(error))) => {
                file.flush().await?;
                return Err(io::Error::other(error));
            }
            Ok(None) => return file.flush().await,
            Err(_) => file.flush().await?,
        }
    }
}
