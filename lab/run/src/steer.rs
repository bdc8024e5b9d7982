//! What can be done to a lab by hand while it is up, and the words in which it is refused. Each becomes an event before it takes
//! effect. Who asks is answered in `desk`.

use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lab_core::control::{LoadChange, LoadState};
use lab_core::event::Kind;
use lab_core::spec::Spec;
use lab_env::{EnvError, Environment, EventSink, GeneratorAddress, GeneratorClient, ReplicaPhase, Seen};
use tokio::sync::{mpsc, oneshot};

use crate::error::{causes, chain};

/// How long a load may take to say whether it takes a change; below the time in which a question must be answered.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Longest remark, bytes.
const LONGEST_NOTE: usize = 1_000;
/// Most files of a still.
const MOST_FILES: usize = 16;

/// Done, or why not.
pub type Done = Result<(), String>;

/// A change on its way to who drives the load.
#[derive(Debug)]
pub struct Turn {
    /// What is wished.
    pub change: LoadChange,
    /// Where to say whether it is done.
    pub done: oneshot::Sender<Done>,
}

/// The part of a change that is the caller's to make.
///
/// # Errors
/// It changes nothing, or what cannot be changed by hand.
pub fn by_hand(change: LoadChange) -> Result<LoadChange, String> {
    let change = LoadChange { from_ns: None, skip: change.skip.filter(|skip| *skip), ..change };
    if change.share.is_some() {
        return Err("shares are dealt by the run, not by hand".to_owned());
    }
    if change == LoadChange::default() {
        return Err("nothing to change; give a rate, a mix, connections or a pause".to_owned());
    }
    Ok(change)
}

/// Hands a change to who drives the load, and waits for the answer.
///
/// # Errors
/// Why it is not made, or that the answer did not come in time.
pub async fn turn(driver: &mpsc::Sender<Turn>, change: LoadChange) -> Done {
    const OVER: &str = "the load is over";
    let (done, answer) = oneshot::channel();
    let asked = async {
        driver.send(Turn { change, done }).await.map_err(|_| OVER)?;
        answer.await.map_err(|_| OVER)?
    };
    let late = || Err("the load has not said yet whether it takes the change; the journal will tell".to_owned());
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| late())
}

/// Changes a load that others began: each generator that sends is told by itself, as they share nothing. Who does not take the change
/// while others do is warned of.
pub async fn change_running(events: &EventSink, generators: &[GeneratorAddress], change: &LoadChange) -> Done {
    let told = join_all(generators.iter().map(|address| async move {
        let told = tokio::time::timeout(PATIENCE, tell_if_it_sends(address, change)).await;
        (&address.replica, told.unwrap_or_else(|_| Err("it has not said in time whether it takes it".to_owned())))
    }));
    let told = told.await;
    if told.iter().any(|(_, told)| matches!(told, Ok(true))) {
        for (replica, told) in &told {
            if let Err(why) = told {
                say(events, Kind::Warning { text: format!("{replica} did not take the change: {why}") }).await?;
            }
        }
        return say(events, Kind::LoadChanged { change: change.clone(), by: "user".to_owned() }).await;
    }
    match told.into_iter().find_map(|(_, told)| told.err()) {
        Some(why) => Err(why),
        None => Err("no load runs; begin one with GET /start of the load-generator".to_owned()),
    }
}

/// Changes the load of one generator; false when it sends none.
async fn tell_if_it_sends(address: &GeneratorAddress, change: &LoadChange) -> Result<bool, String> {
    let tell = async {
        let client = GeneratorClient::new(address)?;
        let sends = matches!(client.status().await?.state, LoadState::Waiting | LoadState::Running | LoadState::Paused);
        if sends {
            client.change(change).await?;
        }
        Ok(sends)
    };
    tell.await.map_err(|error: EnvError| causes(&error))
}

/// Kills a replica.
pub async fn kill(events: &EventSink, environment: &Arc<dyn Environment>, spec: &Spec, replica: &str) -> Done {
    let mut found = None;
    for workload in spec.services.names() {
        // What is not deployed has no replicas.
        let replicas = environment.replicas(workload).await.unwrap_or_default();
        let phase = replicas.into_iter().find(|state| state.replica == replica).map(|state| state.phase);
        found = found.or(phase.map(|phase| (workload, phase)));
    }
    let workload = match found {
        Some((workload, ReplicaPhase::Running)) => workload.to_owned(),
        Some(_) => return Err(format!("{replica} is not running")),
        None => return Err(format!("there is no replica `{replica}`")),
    };
    let (replica_name, what, by) = (replica.to_owned(), "killed".to_owned(), "user".to_owned());
    say(events, Kind::Fault { workload, replica: replica_name, what, by }).await?;
    let Err(error) = environment.kill(replica).await else { return Ok(()) };
    let why = chain(&error.into());
    say(events, Kind::Warning { text: format!("{replica} was not killed: {why}") }).await?;
    Err(why)
}

/// Keeps a remark.
pub async fn note(events: &EventSink, text: &str) -> Done {
    match text.trim() {
        "" => Err("the note is empty".to_owned()),
        text if text.len() > LONGEST_NOTE => Err(format!("a note has at most {LONGEST_NOTE} bytes")),
        text => say(events, Kind::Note { text: text.to_owned() }).await,
    }
}

/// Notes a still.
pub async fn still(events: &EventSink, kind: Kind) -> Done {
    if let Kind::Still { files, .. } = &kind {
        let inside = |file: &String| Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
        if files.is_empty() || files.len() > MOST_FILES || !files.iter().all(|file| !file.is_empty() && inside(file)) {
            return Err(format!("a still has 1 to {MOST_FILES} files, with paths inside the run's folder"));
        }
    }
    say(events, kind).await
}

/// An event in the user's name.
async fn say(events: &EventSink, kind: Kind) -> Done {
    let seen = Seen { src: "user".to_owned(), at: None, kind };
    events.send(seen).await.map_err(|_| "the run has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use lab_core::control::Share;
    use lab_core::unit::RunTime;

    use super::*;
    use crate::fleet::tests::Fake;

    #[test]
    fn what_is_not_the_callers_is_refused() {
        let plain = LoadChange::default;
        let share = LoadChange { share: Some(Share { index: 0, count: 1 }), rate: Some(1.0), ..plain() };
        assert!(by_hand(share).is_err_and(|why| why.contains("shares")));
        let empty = LoadChange { from_ns: Some(3), skip: Some(false), ..plain() };
        assert!(by_hand(empty).is_err_and(|why| why.contains("nothing to change")));
        let early = LoadChange { from_ns: Some(3), rate: Some(1.0), ..plain() };
        assert_eq!(by_hand(early), Ok(LoadChange { rate: Some(1.0), ..plain() }));
    }

    #[tokio::test]
    async fn remarks_and_stills_become_events_of_the_user() {
        let (events, mut seen) = mpsc::channel(4);
        note(&events, "  look here ").await.expect("kept");
        assert!(note(&events, " \n").await.is_err() && note(&events, &"x".repeat(1_001)).await.is_err());
        let kept = |file: &str| Kind::Still { at: RunTime(1), size: (80, 24), files: vec![file.to_owned()] };
        for outside in ["", "/etc/passwd", "../x.svg", "a/../../x"] {
            assert!(still(&events, kept(outside)).await.is_err(), "{outside}");
        }
        still(&events, kept("stills/1.svg")).await.expect("kept");
        let mut next = || seen.try_recv().expect("an event");
        let (first, second) = (next(), next());
        assert_eq!((first.src.as_str(), first.kind), ("user", Kind::Note { text: "look here".to_owned() }));
        assert_eq!(second.kind, kept("stills/1.svg"));
        drop(seen);
        assert!(note(&events, "late").await.is_err());
    }

    #[tokio::test]
    async fn without_a_load_nothing_can_be_turned() {
        let change = LoadChange { rate: Some(1.0), ..LoadChange::default() };
        let (load, turns) = mpsc::channel(1);
        drop(turns);
        assert_eq!(turn(&load, change.clone()).await, Err("the load is over".to_owned()));
        let (events, _seen) = mpsc::channel(1);
        assert!(change_running(&events, &[], &change).await.is_err_and(|why| why.contains("GET /start")));
    }

    #[tokio::test]
    async fn who_does_not_take_a_change_that_others_take_is_warned_of() {
        let change = LoadChange { rate: Some(1.0), ..LoadChange::default() };
        let (good, bad) = (Fake::good("a").await, Fake::start("b", |_| true).await);
        let (events, mut seen) = mpsc::channel(4);
        let both = [good.address.clone(), bad.address.clone()];
        assert_eq!(change_running(&events, &both, &change).await, Ok(()));
        assert_eq!(good.changes(), std::slice::from_ref(&change));
        let warned = seen.try_recv().expect("a warning").kind;
        assert!(matches!(&warned, Kind::Warning { text } if text.starts_with("b did not take")), "{warned:?}");
        assert!(matches!(seen.try_recv().expect("a change").kind, Kind::LoadChanged { .. }));
        let refused = change_running(&events, &both[1..], &change).await;
        assert!(refused.is_err_and(|why| why.contains("too much")) && seen.try_recv().is_err());
    }
}
