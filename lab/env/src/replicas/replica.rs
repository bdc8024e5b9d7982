//! One replica from its start to its end: a task that owns it, takes orders and reports. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use lab_core::control::LoadState;
use reqwest::Client;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::command::Template;
use super::probe::{Readiness, watch_readiness};
use super::{Grip, Runner, Unit, tail};
use crate::{GeneratorAddress, GeneratorClient};

/// How long generators may take to acknowledge a list before a replica that is not on it is terminated all the same.
pub(crate) const OFF_THE_LIST: Duration = Duration::from_secs(2);
/// How long a generator may still drive its share, which the conductor deals to others once it is off the list.
pub(crate) const LOAD_OVER: Duration = Duration::from_secs(4);
/// Between two looks at a generator that is about to end.
const LOOK: Duration = Duration::from_millis(50);

/// What a replica is told. Only the last order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Run,
    /// End, once the endpoint list of this version is in force.
    Terminate {
        /// Of the first list without it.
        version: u64,
        /// Between SIGTERM and SIGKILL.
        limit: Duration,
    },
}

/// What a replica reports.
#[derive(Debug)]
pub(super) enum Report {
    /// It said where it listens.
    Started { grip: Arc<dyn Grip>, address: String },
    /// Its probe says something else than before.
    Readiness(Readiness),
    /// It is gone. The last report.
    Ended { exit: String, tail: String },
}

/// What a replica's task needs.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) template: Arc<Template>,
    pub(super) http: Client,
    pub(super) announce_limit: Duration,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) in_force: watch::Receiver<u64>,
    /// Of a generator: the token of its control API.
    pub(super) token: Option<SecretString>,
    pub(super) reports: mpsc::Sender<(String, Report)>,
}

impl Replica {
    pub(super) async fn run(mut self) {
        let exit = self.live().await;
        let log = self.runner.log(&self.name);
        let tail = tokio::task::spawn_blocking(move || tail(&log)).await.unwrap_or_default();
        self.report(Report::Ended { exit, tail }).await;
    }

    async fn live(&mut self) -> String {
        let mut address = None;
        let mut unit = match self.runner.start(&self.template, &self.name).await {
            Ok(unit) => unit,
            Err(error) => return chain(&error),
        };
        let exit = match self.serve(unit.as_mut(), &mut address).await {
            Some(exit) => exit,
            None => self.end(unit.as_mut(), address).await,
        };
        unit.clear().await;
        exit
    }

    /// Until it ends by itself (its exit) or is told to (None).
    async fn serve(&mut self, unit: &mut dyn Unit, known: &mut Option<String>) -> Option<String> {
        let mut orders = self.orders.clone();
        let announced = tokio::select! {
            announced = unit.announced(self.announce_limit) => announced,
            () = told_to_end(&mut orders) => return None,
        };
        let address = match announced {
            Ok(address) => address,
            Err(why) => return Some(self.never_announced(unit, &why).await),
        };
        *known = Some(address.clone());
        self.report(Report::Started { grip: unit.grip(), address: address.clone() }).await;
        let (mut readiness, _probing) = watch_readiness(self.http.clone(), &address);
        loop {
            tokio::select! {
                exit = unit.ended() => return Some(exit),
                () = told_to_end(&mut orders) => return None,
                Ok(()) = readiness.changed() => {
                    let now = readiness.borrow_and_update().clone();
                    self.report(Report::Readiness(now)).await;
                }
            }
        }
    }

    /// One that ended says nothing either; its own exit tells more.
    async fn never_announced(&self, unit: &mut dyn Unit, why: &str) -> String {
        match timeout(Duration::from_millis(200), unit.ended()).await {
            Ok(exit) => exit,
            Err(_) => {
                unit.kill().await;
                why.to_owned()
            }
        }
    }

    async fn end(&mut self, unit: &mut dyn Unit, address: Option<String>) -> String {
        let Order::Terminate { version, limit } = *self.orders.borrow() else { return unit.kill().await };
        tokio::select! {
            exit = unit.ended() => return exit,
            // Late or not, it ends now; the pusher warns of a late list.
            _ = timeout(OFF_THE_LIST, self.in_force.wait_for(|in_force| *in_force >= version)) => {}
        }
        if let (Some(address), Some(token)) = (address, self.token.clone()) {
            let url = format!("http://{address}");
            let generator = GeneratorAddress { replica: self.name.clone(), url, token };
            tokio::select! {
                exit = unit.ended() => return exit,
                // Whoever drives it has had its time; what it still sends ends with it.
                _ = timeout(LOAD_OVER, load_is_over(&generator)) => {}
            }
        }
        unit.terminate(limit).await
    }

    async fn report(&self, report: Report) {
        if self.reports.send((self.name.clone(), report)).await.is_err() {
            tracing::debug!(replica = self.name, "its workload ended before it");
        }
    }
}

/// Ends when a generator drives nothing any more, or cannot be asked.
pub(crate) async fn load_is_over(generator: &GeneratorAddress) {
    let Ok(client) = GeneratorClient::new(generator) else { return };
    while let Ok(status) = client.status().await {
        if matches!(status.state, LoadState::Idle | LoadState::Finished) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends when it is told to terminate, or when nobody is there any more to tell it anything.
async fn told_to_end(orders: &mut watch::Receiver<Order>) {
    // An error is a sender that is gone: an order to end as well.
    drop(orders.wait_for(|order| *order != Order::Run).await);
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
