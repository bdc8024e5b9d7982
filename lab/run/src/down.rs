//! Taking an environment down, whatever happened before: always tried, never without a deadline, and what stays is named.

use std::sync::Arc;
use std::time::Duration;

use lab_core::event::{Kind, StepName};
use lab_env::{EnvError, Environment, EventSink};

use crate::error::RunError;
use crate::interrupt::Interrupt;
use crate::trial::{Step, tell};

/// Longest wait for everything to be gone.
const DOWN: Duration = Duration::from_secs(60);
/// Longest look for the names of what stays.
const NAMES: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Debug)]
pub struct Downed {
    /// What stays, one name each.
    pub left: Vec<String>,
    /// Why, when the environment failed, or why the journal does not tell of it.
    pub result: Result<(), RunError>,
}

/// Takes it down unless the user asks a third time. `workloads` are those that may stay, `lab` is who made them.
pub async fn down(
    events: &EventSink,
    interrupt: &Interrupt,
    environment: &Arc<dyn Environment>,
    workloads: &[&str],
    lab: &str,
) -> Downed {
    let step = Step::begin(events, StepName::Down).await;
    let removal = interrupt.or(3, tokio::time::timeout(DOWN, environment.down())).await;
    let (mut left, failure) = match removal {
        Some(Ok(Ok(removal))) => (removal.left, None),
        Some(Ok(Err(error))) => (names(environment, workloads, lab).await, Some(error)),
        Some(Err(_)) => (names(environment, workloads, lab).await, Some(late(lab))),
        None => (names(environment, workloads, lab).await, None),
    };
    left.sort();
    let told = async {
        if !left.is_empty() {
            tell(events, Kind::LeftBehind { things: left.clone(), remedy: "lab clean".to_owned() }).await?;
        }
        step?.end().await
    };
    let told = told.await;
    Downed { left, result: failure.map_or(told, |error| Err(error.into())) }
}

fn late(lab: &str) -> EnvError {
    EnvError::System {
        doing: format!("take `{lab}` down within {DOWN:?}"),
        source: std::io::ErrorKind::TimedOut.into(),
    }
}

/// The replicas that are there; the lab itself when they cannot be had, as other things of it may stay.
async fn names(environment: &Arc<dyn Environment>, workloads: &[&str], lab: &str) -> Vec<String> {
    let look = async {
        let mut things = Vec::new();
        for workload in workloads {
            if let Ok(replicas) = environment.replicas(workload).await {
                things.extend(replicas.into_iter().map(|r| r.replica));
            }
        }
        things
    };
    let things = tokio::time::timeout(NAMES, look).await.unwrap_or_default();
    if things.is_empty() { vec![format!("lab {lab}")] } else { things }
}
