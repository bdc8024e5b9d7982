//! One replica from its start to its end: a task that owns the process, takes orders and reports. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::command::Template;
use super::limit::Limit;
use super::probe::{Readiness, watch_readiness};
use super::process::{Process, Shared, tail};
use crate::proc::ProcessRef;

/// How long generators may take to acknowledge a list before a replica that is not on it is terminated all the same.
const OFF_THE_LIST: Duration = Duration::from_secs(2);

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
    Started { process: ProcessRef, address: String, limit: Arc<Limit> },
    /// Its probe says something else than before.
    Readiness(Readiness),
    /// It is gone. The last report.
    Ended { exit: String, tail: String },
}

/// What a replica's task needs.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
    pub(super) template: Arc<Template>,
    pub(super) http: Client,
    pub(super) announce_limit: Duration,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) in_force: watch::Receiver<u64>,
    pub(super) reports: mpsc::Sender<(String, Report)>,
}

impl Replica {
    pub(super) async fn run(mut self) {
        let exit = self.live().await;
        let log = self.shared.log(&self.name);
        let tail = tokio::task::spawn_blocking(move || tail(&log)).await.unwrap_or_default();
        self.report(Report::Ended { exit, tail }).await;
    }

    async fn live(&mut self) -> String {
        let mut process = match Process::start(&self.shared, &self.template, &self.name).await {
            Ok(process) => process,
            Err(error) => return chain(&error),
        };
        let exit = match self.serve(&mut process).await {
            Some(exit) => exit,
            None => self.end(&mut process).await,
        };
        process.clear(&self.shared).await;
        exit
    }

    /// Until it ends by itself (its exit) or is told to (None).
    async fn serve(&mut self, process: &mut Process) -> Option<String> {
        let mut orders = self.orders.clone();
        let announced = tokio::select! {
            announced = process.announced(self.announce_limit) => announced,
            () = told_to_end(&mut orders) => return None,
        };
        let address = match announced {
            Ok(address) => address,
            Err(why) => return Some(self.never_announced(process, &why).await),
        };
        let started =
            Report::Started { process: process.identity, address: address.clone(), limit: Arc::clone(&process.limit) };
        self.report(started).await;
        let (mut readiness, _probing) = watch_readiness(self.http.clone(), &address);
        loop {
            tokio::select! {
                exit = process.ended() => return Some(exit),
                () = told_to_end(&mut orders) => return None,
                Ok(()) = readiness.changed() => {
                    let now = readiness.borrow_and_update().clone();
                    self.report(Report::Readiness(now)).await;
                }
            }
        }
    }

    /// A process that ended says nothing either; its own exit tells more.
    async fn never_announced(&self, process: &mut Process, why: &str) -> String {
        match timeout(Duration::from_millis(200), process.ended()).await {
            Ok(exit) => exit,
            Err(_) => {
                process.kill().await;
                why.to_owned()
            }
        }
    }

    async fn end(&mut self, process: &mut Process) -> String {
        let Order::Terminate { version, limit } = *self.orders.borrow() else { return process.kill().await };
        tokio::select! {
            exit = process.ended() => return exit,
            // Late or not, it ends now; the pusher warns of a late list.
            _ = timeout(OFF_THE_LIST, self.in_force.wait_for(|in_force| *in_force >= version)) => {}
        }
        process.terminate(limit).await
    }

    async fn report(&self, report: Report) {
        if self.reports.send((self.name.clone(), report)).await.is_err() {
            tracing::debug!(replica = self.name, "its workload ended before it");
        }
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
