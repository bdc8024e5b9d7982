//! Readiness: `GET /readyz` of one replica, often until it answers, then once a second. Each probe has a connection of its own.

use std::time::Duration;

use lab_core::control::Refusal;
use reqwest::Client;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Between probes of a replica that starts, and for how long it counts as starting.
const STARTING: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(30));
/// Between probes of one that has been ready, or is long overdue.
const PERIOD: Duration = Duration::from_secs(1);
/// Deadline of one probe.
const DEADLINE: Duration = Duration::from_secs(1);
/// Failures in a row after which a ready replica is not ready any more.
const FAILURES: u32 = 2;
/// Longest reason that is passed on.
const REASON: usize = 200;

/// What the probes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// No probe has succeeded yet.
    NotYet,
    /// It is ready.
    Ready,
    /// It was ready and is not any more; with the reason.
    Unready(String),
}

/// A client whose connections are never reused: an idle one would hold up a replica that drains.
///
/// # Errors
/// The system's resources for HTTP cannot be had.
pub(super) fn client() -> reqwest::Result<Client> {
    Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(DEADLINE).build()
}

/// Probes until the handle is dropped.
pub(super) fn watch_readiness(client: Client, address: &str) -> (watch::Receiver<Readiness>, AbortOnDropHandle<()>) {
    let (tell, readiness) = watch::channel(Readiness::NotYet);
    let url = format!("http://{address}/readyz");
    let task = tokio::spawn(async move {
        let begun = Instant::now();
        let (mut failures, mut was_ready) = (0, false);
        let mut tick = interval(STARTING.0);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match probe(&client, &url).await {
                Ok(()) => {
                    failures = 0;
                    tell.send_if_modified(|now| std::mem::replace(now, Readiness::Ready) != Readiness::Ready);
                }
                Err(reason) => {
                    failures += 1;
                    if failures >= FAILURES && *tell.borrow() == Readiness::Ready {
                        tell.send_replace(Readiness::Unready(reason));
                    }
                }
            }
            if !was_ready && (failures == 0 || begun.elapsed() >= STARTING.1) {
                was_ready = true;
                tick = interval(PERIOD);
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                tick.reset();
            }
        }
    });
    (readiness, AbortOnDropHandle::new(task))
}

async fn probe(client: &Client, url: &str) -> Result<(), String> {
    let answer = timeout(DEADLINE, client.get(url).send()).await;
    let response = match answer {
        Err(_) => return Err(format!("no answer within {DEADLINE:?}")),
        Ok(Err(error)) if error.is_timeout() => return Err(format!("no answer within {DEADLINE:?}")),
        Ok(Err(error)) if error.is_connect() => return Err("it does not accept connections".to_owned()),
        Ok(Err(_)) => return Err("it broke the connection".to_owned()),
        Ok(Ok(response)) => response,
    };
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let said = response.json::<Refusal>().await.map(|refusal| refusal.error.chars().take(REASON).collect::<String>());
    Err(said.unwrap_or_else(|_| format!("it answered {}", status.as_u16())))
}
