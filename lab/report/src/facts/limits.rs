//! What the measurement does not say, and what would change the verdict.

use lab_core::event::Grade;
use lab_core::expect::Bound;
use lab_core::judge::{self, Judged, Verdict};
use lab_core::model::Model;
use lab_core::narrate::grade_text;
use lab_core::words;

/// What was measured and what was not.
pub(crate) fn limits(model: &Model) -> Vec<String> {
    let mut limits = vec![
        "Response times count from the intended send time of an open-loop schedule, so waiting caused by a slow target is in them; service times count from the first byte written.".to_owned(),
        "A request without a good answer (failed, dropped or unfinished) counts as slower than every answered one in percentiles of expectations and comparisons.".to_owned(),
    ];
    if let Some(spec) = model.run.as_ref().map(|r| &r.spec) {
        let a = &spec.autoscaler;
        let scaled = model.trials.iter().any(|t| t.workloads.values().any(|w| !w.decisions.is_empty()));
        if scaled {
            limits.push(format!(
                "The autoscaler sees CPU and memory every {} and decides every {}: between two looks nothing is known of what it would have seen.",
                words::duration(a.metric_resolution),
                words::duration(a.sync_period)
            ));
        }
    }
    if model.planned_trials() == model.run.as_ref().map_or(0, |r| r.variants.len()) {
        limits.push(
            "Each variant ran once: the scatter from run to run is not known, and every number could be luck."
                .to_owned(),
        );
    }
    let stand_ins = model.fidelity.iter().filter(|f| f.grade != Grade::Real);
    limits.extend(
        stand_ins.map(|f| format!("{} is {}, not the real thing: {}.", f.subject, grade_text(f.grade), f.note)),
    );
    limits
}

/// By how much each expectation holds or fails, and what would decide the open ones: expectation, variant, sentence.
pub(crate) fn what_would_change(model: &Model) -> Vec<(String, String, String)> {
    let judged = judge::variants(model);
    let several = judged.len() > 1;
    let lines = judged.iter().flat_map(|v| {
        let of = if several { format!(" with {}", model.label(v.variant)) } else { String::new() };
        v.expectations.iter().filter_map(move |j| change(j).map(|text| (j.expectation.to_string(), of.clone(), text)))
    });
    lines.collect()
}

fn change(judged: &Judged) -> Option<String> {
    let bound = match judged.expectation.bound {
        Bound::Time(span) => span.0 as f64,
        Bound::Share(share) => share.0,
        Bound::Count(count) => count as f64,
    };
    match judged.verdict {
        Verdict::CannotTell => Some(format!("not decided, because {}", judged.why)),
        // The trial nearest to the bound decides.
        Verdict::Pass if bound > 0.0 && judged.high > 0.0 && judged.high.is_finite() => {
            let (nearest, word) = if judged.high <= bound { (judged.high, "rose") } else { (judged.low, "fell") };
            let by = (bound / nearest - 1.0).abs();
            if by < 0.000_5 {
                return Some(format!("holds without any margin at {}", judged.measured));
            }
            by.is_finite().then(|| format!("would fail if it {word} by {} from {}", words::share(by), judged.measured))
        }
        Verdict::Fail if bound > 0.0 && judged.high.is_finite() && judged.high > 0.0 => {
            let (farthest, word) = if judged.high >= bound { (judged.high, "fell") } else { (judged.low, "rose") };
            let by = (bound / farthest - 1.0).abs();
            by.is_finite().then(|| format!("would hold if it {word} by {} from {}", words::share(by), judged.measured))
        }
        Verdict::Fail => Some(format!("fails with {}", judged.measured)),
        Verdict::Pass => None,
    }
}
