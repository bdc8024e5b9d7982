//! What stands beside the screen: the title of the window, and how far the run is.

use lab_core::event::Outcome;
use lab_core::model::{Model, Trial};
use lab_core::unit::RunTime;
use lab_core::words;

use crate::frame::{planned, zero};
use crate::look::Look;
use crate::pane::strip;
use crate::scene::newest_second;
use crate::terminal::Progress;

/// `p99 412 ms · 7/10 ready · autoscale-users`, as much of it as is known.
pub(super) fn title(model: &Model, look: Look) -> String {
    let trial = model.current();
    let tail = trial
        .and_then(newest_second)
        .and_then(|second| second.value.p99())
        .map(|p99| format!("p99 {}", words::duration(p99)));
    let ready = trial.and_then(|t| {
        let workload = t.workloads.values().find(|w| !w.decisions.is_empty())?;
        Some(format!("{}/{} ready", workload.ready.last()?.value.0, workload.desired.last()?.value.0))
    });
    let name = model.run.as_ref().map(|run| run.spec.name.clone()).filter(|name| !name.is_empty());
    let parts = [tail, ready, Some(name.unwrap_or_else(|| "lab".to_owned()))];
    strip::plain(look, &parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")).into_owned()
}

/// Trials that are done and the part of the one under way, of those that were planned.
pub(super) fn progress(model: &Model, now: RunTime) -> Progress {
    if model.ended.is_some() {
        return Progress::None;
    }
    let failing = |trial: &Trial| trial.ended.as_ref().is_some_and(|end| end.outcome != Outcome::Completed);
    let done = model.trials.iter().filter(|t| t.ended.is_some()).count() as f64;
    let part = model.current().filter(|t| t.ended.is_none()).and_then(|trial| {
        trial.load_started?;
        let planned = planned(model, trial).filter(|planned| !planned.is_zero())?;
        Some((now.since(zero(trial)).as_secs_f64() / planned.as_secs_f64()).min(1.0))
    });
    match model.planned_trials() {
        0 => Progress::Unknown,
        all => {
            let percent = (100.0 * (done + part.unwrap_or(0.0)) / all as f64).clamp(0.0, 100.0) as u8;
            if model.trials.iter().any(failing) { Progress::Failing(percent) } else { Progress::Percent(percent) }
        }
    }
}

#[cfg(test)]
mod tests {
    use lab_core::fixture::Scenario;

    use super::*;

    #[test]
    fn it_grows_with_the_run_and_goes_with_its_end() {
        let events = Scenario::matrix(3, 1).events();
        let mut model = Model::default();
        let (look, ascii) = (Look::default(), Look { ascii: true, ..Look::default() });
        assert_eq!((title(&model, look).as_str(), progress(&model, RunTime(0))), ("lab", Progress::Unknown));
        let mut last = 0;
        for event in &events[..events.len() - 1] {
            model.apply(event);
            let Progress::Percent(percent) = progress(&model, event.arrived()) else { panic!("{:?}", event) };
            assert!(percent >= last, "{percent} after {last}");
            last = percent;
        }
        assert_eq!(last, 100);
        let told = title(&model, look);
        assert!(told.starts_with("p99 ") && told.contains(" ready · autoscale-users"), "{told}");
        let told = title(&model, ascii);
        assert!(told.is_ascii() && told.contains(" ready - autoscale-users"), "{told}");
        model.apply(&events[events.len() - 1]);
        assert_eq!(progress(&model, model.latest), Progress::None);
    }
}
