//! How a load is going, in one line: for those who watch sentences instead of lanes.

use crate::model::{Model, Trial};
use crate::words;

/// The newest second of the trial under way: `step: 180/s offered, 176/s completed, p50 12 ms, p99 81 ms, user-service 3 of 4 ready`.
/// None before the first sample.
pub fn progress(model: &Model) -> Option<String> {
    let trial = model.current()?;
    // The newest second may still be missing a generator's sample.
    let cell = &trial.newest_second()?.value;
    let mut parts = Vec::new();
    for (count, what) in [(cell.counts.offered, "offered"), (cell.counts.completed, "completed")] {
        parts.push(format!("{} {what}", words::rate(cell.per_second(count)?.round())));
    }
    let bad = cell.counts.failed + cell.counts.dropped;
    if bad > 0 {
        parts.push(format!("{} failed", words::count(bad)));
    }
    for (latency, name) in [(cell.p50(), "p50"), (cell.p99(), "p99")] {
        parts.extend(latency.map(|latency| format!("{name} {}", words::duration(latency))));
    }
    parts.extend(replicas(trial));
    let sentence = parts.join(", ");
    Some(phase(trial).map_or(sentence.clone(), |name| format!("{name}: {sentence}")))
}

fn phase(trial: &Trial) -> Option<String> {
    let under_way = |p: &&crate::model::Phase| p.started.is_some() && p.ended.is_none();
    Some(words::visible(&trial.phases.values().rev().find(under_way)?.name))
}

fn replicas(trial: &Trial) -> impl Iterator<Item = String> + '_ {
    trial.workloads.iter().filter(|(_, w)| !w.decisions.is_empty()).filter_map(|(name, workload)| {
        let (ready, desired) = (workload.ready.last()?.value.0, workload.desired.last()?.value.0);
        Some(format!("{} {ready} of {desired} ready", words::visible(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Scenario;

    #[test]
    fn it_tells_the_newest_second_and_nothing_before_the_first() {
        let events = Scenario::autoscale(3).events();
        let mut model = Model::default();
        assert_eq!(progress(&model), None);
        let half = events.len() / 2;
        events[..half].iter().for_each(|event| model.apply(event));
        let told = progress(&model).expect("a sentence");
        for part in ["offered", "completed", "p99", "ready"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
