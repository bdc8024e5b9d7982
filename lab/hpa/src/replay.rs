//! Recorded inputs, one JSON object a line, and the engine's answer to each: what `lab hpa --replay` prints.
//! The form of what goes in lives in `replay/input`, of what comes out in `replay/output`.

mod input;
mod output;

use serde::Deserialize;
use serde_json::Value;

use self::input::{BehaviorIn, ReconcileIn, ReplicasIn};
use self::output::{ProposalOut, StepOut};
use crate::autoscaler::Autoscaler;
use crate::metric::Proposal;

/// Why a line has no answer. The caller knows its number.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Not JSON at all.
    #[error("not a JSON object on one line")]
    Json(#[source] serde_json::Error),
    /// JSON, but no vector.
    #[error("not a vector: needs id, kind and in")]
    Vector(#[source] serde_json::Error),
    /// A kind other than `replicas`, `behavior` and `reconcile`.
    #[error("vector {id}: unknown kind {kind:?}, expected replicas, behavior or reconcile")]
    Kind {
        /// Of the vector.
        id: Value,
        /// As written.
        kind: String,
    },
    /// The `in` of a known kind that cannot be read.
    #[error("vector {id}: cannot read `in` of kind {kind}")]
    Input {
        /// Of the vector.
        id: Value,
        /// One of the three.
        kind: &'static str,
        /// Which key, and what was wrong with it.
        source: serde_json::Error,
    },
    /// Time falls from one step to the next.
    #[error("vector {id}: step {step} is at {at_ms} ms, before the one it follows")]
    Order {
        /// Of the vector.
        id: Value,
        /// Index of the step.
        step: usize,
        /// Its time.
        at_ms: i64,
    },
    /// The answer cannot be written; not known to happen.
    #[error("vector {id}: cannot write the answer")]
    Output {
        /// Of the vector.
        id: Value,
        /// What serde_json says.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Vector {
    id: Value,
    kind: String,
    r#in: Value,
}

/// Answers one recorded line: `{"id":…,"kind":…,"in":{…}}` becomes `{"id":…,"out":{…}}` without a line break.
/// Other keys are ignored. `out` also carries `why`, the engine's explanation, beside what the format asks for.
///
/// # Errors
/// When the line is no such vector; the error names what was wrong, its source the key.
///
/// ```
/// let line = r#"{"id":"v1","kind":"replicas","in":{"current":2,"pods":[],
///     "metric":{"type":"External","target":{"type":"AverageValue","value":30000},"values":[250000]}}}"#;
/// let answer = lab_hpa::replay_line(line)?;
/// assert!(answer.starts_with(r#"{"id":"v1","out":{"replicas":9,"#));
/// # Ok::<(), lab_hpa::ReplayError>(())
/// ```
pub fn replay_line(line: &str) -> Result<String, ReplayError> {
    let value: Value = serde_json::from_str(line).map_err(ReplayError::Json)?;
    let vector: Vector = serde_json::from_value(value).map_err(ReplayError::Vector)?;
    let Vector { id, kind, r#in } = vector;
    let out = match kind.as_str() {
        "replicas" => replicas(&id, read(&id, "replicas", r#in)?),
        "behavior" => behavior(&id, read(&id, "behavior", r#in)?),
        "reconcile" => reconcile(&id, read(&id, "reconcile", r#in)?),
        _ => return Err(ReplayError::Kind { id, kind }),
    }?;
    Ok(format!("{{\"id\":{id},\"out\":{out}}}"))
}

fn read<T: for<'de> Deserialize<'de>>(id: &Value, kind: &'static str, r#in: Value) -> Result<T, ReplayError> {
    serde_json::from_value(r#in).map_err(|source| ReplayError::Input { id: id.clone(), kind, source })
}

fn write<T: serde::Serialize>(id: &Value, out: &T) -> Result<String, ReplayError> {
    serde_json::to_string(out).map_err(|source| ReplayError::Output { id: id.clone(), source })
}

fn replicas(id: &Value, given: ReplicasIn) -> Result<String, ReplayError> {
    write(id, &ProposalOut::from(given.metric.propose(&given.scene())))
}

fn behavior(id: &Value, given: BehaviorIn) -> Result<String, ReplayError> {
    let mut autoscaler = given.series.autoscaler();
    let moments = given.steps.iter().map(|step| (step.at_ms, step.current));
    let steps = run(id, given.series.current, moments, |at_ms, current, step| {
        let desired = given.steps[step].desired;
        let decision = autoscaler.decide(at_ms, current, true, || vec![Proposal::external(desired)]);
        (decision.desired, StepOut::without_proposals(decision))
    })?;
    write(id, &output::Steps { steps })
}

fn reconcile(id: &Value, given: ReconcileIn) -> Result<String, ReplayError> {
    let mut autoscaler: Autoscaler = given.series.autoscaler();
    let moments = given.steps.iter().map(|step| (step.at_ms, step.current));
    let steps = run(id, given.series.current, moments, |at_ms, current, step| {
        let decision = autoscaler.sync(at_ms, &given.steps[step].input(current));
        (decision.desired, StepOut::from(decision))
    })?;
    write(id, &output::Steps { steps })
}

/// Walks the steps: each starts from the size the one before ended with, unless somebody set another by hand.
fn run(
    id: &Value,
    first: i32,
    moments: impl Iterator<Item = (i64, Option<i32>)>,
    mut sync: impl FnMut(i64, i32, usize) -> (i32, StepOut),
) -> Result<Vec<StepOut>, ReplayError> {
    let (mut size, mut last_ms, mut steps) = (first, i64::MIN, Vec::new());
    for (step, (at_ms, by_hand)) in moments.enumerate() {
        if at_ms < last_ms {
            return Err(ReplayError::Order { id: id.clone(), step, at_ms });
        }
        last_ms = at_ms;
        let (next, out) = sync(at_ms, by_hand.unwrap_or(size), step);
        size = next;
        steps.push(out);
    }
    Ok(steps)
}
