//! `lab __backing`: what only an engine's own driver can do to a server. Environments run it, so that they need no driver; addresses, which
//! may hold passwords, come on stdin or in a file.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use backing::address::{read, shown};
use backing::{About, Promises, cache, place, queue, store};
use lab_env::Probed;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::{Backing, BackingAct, RoleName};
use crate::error::{Code, LabError};
use crate::out;

/// Between two tries of a server that does not answer yet.
const AGAIN: Duration = Duration::from_millis(100);
/// Longest wait for one answer. Servers that begin are slow.
const PATIENCE: Duration = Duration::from_secs(5);
/// The queue that a probe opens.
const PROBE: &str = "probe";
/// Queues that may be in a place.
const QUEUES: [&str; 3] = [user_service::QUEUE, message_service::QUEUE, PROBE];
/// Longest address that is read.
const MOST: u64 = 16 * 1024;

/// Does it.
pub async fn run(args: Backing) -> Result<Code, LabError> {
    match args.act {
        BackingAct::Probe { role, address, wait } => probe(role, &whole(&address)?, wait.to_duration()).await,
        BackingAct::Own { address, place, into, .. } => own(&whole(&address)?, &place, &into).await,
        BackingAct::Disown { address, .. } => {
            let removed = place::remove(&whole(&address)?, &QUEUES).await;
            removed.map_err(|e| LabError::failed("cannot remove the place of a run", e))?;
            Ok(Code::Ok)
        }
    }
}

/// The address itself, wherever it stands.
fn whole(address: &str) -> Result<String, LabError> {
    if address != "-" {
        let read = read(address).map_err(|e| LabError::failed("cannot read the address", e))?;
        return Ok(read.into_owned());
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MOST).read_to_string(&mut text);
    read.map_err(|e| LabError::failed("cannot read the address from stdin", e))?;
    Ok(text.trim().to_owned())
}

async fn own(server: &str, name: &str, into: &Path) -> Result<Code, LabError> {
    let failed = |error| LabError::failed("cannot make a place for a run", error);
    let place = place::derive(server, name).map_err(failed)?;
    // Before the place is there: whoever finds the file can remove it.
    let noted = note(into, &place).await;
    noted.map_err(|e| LabError::failed(format!("cannot note a place in {}", into.display()), e))?;
    place::make(server, &place).await.map_err(failed)?;
    Ok(Code::Ok)
}

/// Writes a new file that nobody else reads, and waits until it is on disk.
async fn note(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path).await?;
    file.write_all(text.as_bytes()).await?;
    file.sync_all().await
}

async fn probe(role: RoleName, address: &str, wait: Duration) -> Result<Code, LabError> {
    let until = Instant::now() + wait;
    let (about, promises) = loop {
        let error = match timeout_at(until, open(role, address)).await {
            Ok(Ok(found)) => break found,
            Ok(Err(error)) if error.is_transient() && Instant::now() + AGAIN < until => {
                tracing::debug!(%error, "asked again");
                sleep(AGAIN).await;
                continue;
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => backing::Error::Timeout { operation: "probe: open", limit: wait },
        };
        return Err(LabError::failed(format!("{} cannot be used", shown(address)), error));
    };
    let probed = Probed {
        server: about.server,
        address: shown(address),
        connections: about.connections,
        promises: lab_core::parity::Promises {
            engine: promises.engine.to_owned(),
            durability: promises.durability.to_owned(),
            acknowledgement: promises.acknowledgement.to_owned(),
            replication: promises.replication.to_owned(),
            ordering: promises.ordering.to_owned(),
            batching: promises.batching.to_owned(),
            fidelity: promises.fidelity,
        },
    };
    out::line(&serde_json::to_string(&probed).map_err(|e| LabError::failed("cannot tell what was found", e))?)?;
    Ok(Code::Ok)
}

/// Opens it as a service does, asks it something, and lets go.
async fn open(role: RoleName, address: &str) -> Result<(About, Promises), backing::Error> {
    match role {
        RoleName::Store => {
            let settings = store::Settings { deadline: PATIENCE, connections: 1, ..store::Settings::default() };
            let store = store::open(address, settings).await?;
            store.ping().await?;
            let found = (store.about(), store.promises());
            store.close().await.map(|()| found)
        }
        RoleName::Queue => {
            let settings = queue::Settings { deadline: PATIENCE, ..queue::Settings::default() };
            let queue = queue::open(address, PROBE, settings).await?;
            queue.ping().await?;
            let found = (queue.about(), queue.promises());
            queue.close().await.map(|()| found)
        }
        RoleName::Cache => {
            let settings = cache::Settings { deadline: PATIENCE, ..cache::Settings::default() };
            let cache = cache::open(address, settings).await?;
            cache.ping().await?;
            let found = (cache.about(), cache.promises());
            cache.close().await.map(|()| found)
        }
    }
}
