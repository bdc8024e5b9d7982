//! One generator's samples as they come, and the news that none will.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lab_core::control::Sample;
use lab_env::GeneratorClient;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Without a sample for so long a generator is asked whether it lives.
const SILENCE: Duration = Duration::from_millis(2500);
/// What a generator's reader reports.
#[derive(Debug)]
pub enum Report {
    /// One second of it.
    Sample(Arc<Sample>),
    /// It was silent and did not answer, or its stream broke for good.
    Lost {
        /// The replica.
        generator: String,
        /// Why it is believed lost.
        reason: String,
    },
}

/// Reads one generator's samples until the last, its loss, or the fleet's end.
pub(super) struct Reader {
    pub(super) generator: String,
    pub(super) client: Arc<GeneratorClient>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) stop: CancellationToken,
}

impl Reader {
    pub(super) async fn run(self) {
        let stop = self.stop.clone();
        let reason = tokio::select! {
            () = stop.cancelled() => None,
            reason = self.read() => reason,
        };
        if let Some(reason) = reason {
            let lost = Report::Lost { generator: self.generator, reason };
            if self.reports.send(lost).await.is_err() {
                tracing::debug!("the fleet is gone before its reader");
            }
        }
    }

    /// None: the last sample came, or nobody listens any more.
    async fn read(&self) -> Option<String> {
        let mut samples = std::pin::pin!(self.client.samples(1));
        loop {
            match tokio::time::timeout(SILENCE, samples.next()).await {
                Ok(Some(Ok(sample))) => {
                    let last = sample.last;
                    if self.reports.send(Report::Sample(Arc::new(sample))).await.is_err() || last {
                        return None;
                    }
                }
                Ok(Some(Err(error))) => return Some(format!("its samples broke off: {error}")),
                Ok(None) => return Some("its samples ended before the last".to_owned()),
                // Asking also keeps the generator's lease.
                Err(_) => {
                    if let Err(error) = self.client.status().await {
                        return Some(format!("it is silent: {error}"));
                    }
                }
            }
        }
    }
}
