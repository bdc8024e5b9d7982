//! One service's scraper: reads all its replicas once a period and publishes what the window says then. It owns the window; readers get
//! finished numbers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Gauge};
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use kit::{Lifecycle, Metrics};
use reqwest::Client;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::catalogue::Source;
use crate::page::Page;
use crate::places::Places;
use crate::window::Window;

/// Replicas read at once.
const AT_ONCE: usize = 32;
/// Largest page, in bytes.
const PAGE_LIMIT: usize = 4 << 20;

/// What a service's replicas said together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// When the newest of them said it.
    pub(crate) at: Instant,
    /// The same, by the clock on the wall.
    pub(crate) taken: Timestamp,
    /// Over how much time.
    pub(crate) covered: Duration,
    /// Metric to value in thousandths; what is not known is absent.
    pub(crate) values: Vec<(&'static str, i64)>,
}

/// The newest reading of a service; None before the first.
pub(crate) type Published = watch::Receiver<Option<Arc<Reading>>>;

/// How a scraper works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) period: Duration,
    pub(crate) window: Duration,
}

/// Scrapes until the service ends.
pub(crate) fn scrape(source: Source, places: Places, client: Client, pace: Pace, service: &kit::Service) -> Published {
    let (sender, published) = watch::channel(None);
    let counted = Counted::new(service.metrics(), source);
    let scraper = Scraper { source, places, client, window: Window::new(pace.window), pace, counted };
    tokio::spawn(scraper.run(sender, service.lifecycle().clone()));
    published
}

struct Scraper {
    source: Source,
    places: Places,
    client: Client,
    window: Window,
    pace: Pace,
    counted: Counted,
}

impl Scraper {
    async fn run(mut self, sender: watch::Sender<Option<Arc<Reading>>>, life: Lifecycle) {
        let mut ticks = interval(self.pace.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let scraping = async {
            loop {
                ticks.tick().await;
                if let Some(reading) = self.round().await {
                    sender.send_replace(Some(Arc::new(reading)));
                }
            }
        };
        tokio::select! {
            () = scraping => {}
            () = life.ending() => {}
        }
    }

    /// Reads every replica; None when none answered, so that the reading before grows old.
    async fn round(&mut self) -> Option<Reading> {
        let replicas = self.places.borrow_and_update().clone();
        self.window.keep(&replicas);
        let (client, source) = (&self.client, self.source);
        let asked =
            replicas.iter().copied().map(|replica| async move { (replica, page(client, replica, source).await) });
        let mut answers = stream::iter(asked).buffer_unordered(AT_ONCE);
        let mut answered = 0_u32;
        while let Some((replica, page)) = answers.next().await {
            match page {
                Ok(page) => {
                    answered += 1;
                    self.counted.answered.increment(1);
                    self.window.push(replica, Instant::now(), page);
                }
                Err(reason) => {
                    self.counted.failed.increment(1);
                    tracing::debug!(service = source.name(), %replica, reason, "a replica could not be read");
                }
            }
        }
        drop(answers);
        self.counted.replicas.set(f64::from(answered));
        if answered == 0 {
            return None;
        }
        self.reading()
    }

    fn reading(&self) -> Option<Reading> {
        let merged = self.window.merged()?;
        let values = self.source.metrics().filter_map(|metric| {
            let value = metric.value(&merged, self.pace.window)?;
            Some((metric.name, value))
        });
        Some(Reading { at: merged.at, taken: Timestamp::now(), covered: merged.covered, values: values.collect() })
    }
}

/// One replica's page, within the client's deadline.
async fn page(client: &Client, replica: SocketAddr, source: Source) -> Result<Page, String> {
    let failed = |error: reqwest::Error| kit::chain(&error);
    let answer = client.get(format!("http://{replica}/metrics")).send().await.map_err(failed)?;
    let mut answer = answer.error_for_status().map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > PAGE_LIMIT {
            return Err(format!("its page is larger than {PAGE_LIMIT} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(bytes).map_err(|_| "its page is no text".to_owned())?;
    Page::read(&text, source).ok_or_else(|| "its page holds no metrics".to_owned())
}

/// How scraping goes, for `/metrics`.
struct Counted {
    answered: Counter,
    failed: Counter,
    replicas: Gauge,
}

impl Counted {
    fn new(metrics: &Metrics, source: Source) -> Self {
        metrics.describe("lab_adapter_scrapes_total", "Scrapes of replicas by outcome");
        metrics.describe("lab_adapter_replicas", "Replicas that answered in the last round");
        let service = ("service", source.name());
        let scrapes = |outcome| metrics.counter("lab_adapter_scrapes_total", &[service, ("outcome", outcome)]);
        Self {
            answered: scrapes("answered"),
            failed: scrapes("failed"),
            replicas: metrics.gauge("lab_adapter_replicas", &[service]),
        }
    }
}
