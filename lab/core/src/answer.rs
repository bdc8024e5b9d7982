//! The answer to an experiment's question in one to three sentences, from verdicts and comparisons, with their uncertainty. What does
//! not hold comes first; an invalid or cut run answers nothing and says so.

use crate::compare::{self, Quantity, Word};
use crate::curve;
use crate::episode::{self, Direction};
use crate::judge::{self, Conclusion, Judged, VariantJudged, Verdict};
use crate::model::Model;
use crate::parity::{Footnotes, superscript};
use crate::validity::{self, Validity};
use crate::words::{list, plural, visible};

/// The answer; sentences with full stops, free of control characters.
pub fn answer(model: &Model) -> String {
    let conclusion = judge::conclude(model);
    let judged = judge::variants(model);
    let mut sentences = Vec::new();
    let mut footnotes = Footnotes::default();
    sentences.extend(reservation(model, &conclusion));
    if judged.len() > 1 {
        sentences.extend(across(model, &mut footnotes));
        sentences.push(expectations_across(model, &judged));
    } else if let Some(only) = judged.first() {
        sentences.extend(expectations(only));
        sentences.extend(slowest_episode(model));
        sentences.extend(scatter(only));
    }
    sentences.extend(capacities(model, &mut footnotes));
    sentences.extend(footnotes.notes().map(|note| format!("{} {}.", superscript(note.number), note.text)));
    sentences.retain(|s| !s.is_empty());
    if sentences.is_empty() {
        sentences
            .push("Nothing was expected and nothing compared, so there is no answer beyond the numbers.".to_owned());
    }
    visible(&sentences.join(" "))
}

fn reservation(model: &Model, conclusion: &Conclusion) -> Option<String> {
    if conclusion.validity == Validity::Invalid {
        let checks = model.trials.iter().flat_map(|t| validity::checks(model, t));
        let worst = checks.filter(|c| c.grade == Validity::Invalid).map(|c| format!("{}: {}", c.name, c.reason)).next();
        return Some(format!("The measurement is invalid and answers nothing ({}).", worst.unwrap_or_default()));
    }
    (!conclusion.complete).then(|| {
        let (finished, planned) = (model.finished_trials(), model.planned_trials());
        format!("The run is incomplete: {finished} of {} ran to the end.", plural(planned as u64, "trial"))
    })
}

fn told(judged: &Judged) -> String {
    let e = &judged.expectation;
    let phase = e.phase.as_ref().map(|p| format!("({p})")).unwrap_or_default();
    format!("{}{phase} was {}", e.measure, judged.measured)
}

fn told_against(judged: &Judged) -> String {
    let e = &judged.expectation;
    format!("{} where {} {} was expected", told(judged), e.comparison, e.bound)
}

/// The expectations of the only variant.
fn expectations(only: &VariantJudged) -> Vec<String> {
    let of = |verdict| only.expectations.iter().filter(|j| j.verdict == verdict).collect::<Vec<&Judged>>();
    let (passed, failed, open) = (of(Verdict::Pass), of(Verdict::Fail), of(Verdict::CannotTell));
    let all = only.expectations.len();
    if all == 0 {
        return Vec::new();
    }
    let mut sentences = Vec::new();
    if passed.len() == all {
        let told: Vec<String> = passed.iter().take(3).map(|j| told(j)).collect();
        let told = list(&told);
        sentences.push(match all {
            1 => format!("The only expectation holds: {told}."),
            _ => format!("All {} hold: {told}.", plural(all as u64, "expectation")),
        });
        return sentences;
    }
    if !failed.is_empty() {
        let told: Vec<String> = failed.iter().map(|j| told_against(j)).collect();
        let (n, verb) = (failed.len(), if failed.len() == 1 { "does" } else { "do" });
        sentences.push(format!("{n} of {} {verb} not hold: {}.", plural(all as u64, "expectation"), list(&told)));
    }
    if !open.is_empty() {
        let told: Vec<String> = open.iter().map(|j| format!("{} ({})", j.expectation, j.why)).collect();
        sentences.push(format!("It cannot be told whether {}.", list(&told)));
    }
    if !passed.is_empty() {
        let told: Vec<String> = passed.iter().take(3).map(|j| told(j)).collect();
        let verb = if passed.len() == 1 { "holds" } else { "hold" };
        sentences.push(format!("{} {verb}: {}.", plural(passed.len() as u64, "other"), list(&told)));
    }
    sentences
}

fn slowest_episode(model: &Model) -> Option<String> {
    let episodes = model.trials.iter().flat_map(|t| episode::episodes(model, t));
    let slowest = episodes.filter(|e| e.direction == Direction::Up).max_by_key(episode::Episode::length)?;
    Some(format!("Scaling {} {} → {} took {}.", slowest.workload, slowest.from, slowest.to, slowest.sentence()))
}

fn scatter(only: &VariantJudged) -> Option<String> {
    (only.planned == 1).then(|| "This is one trial, so nothing is known of the scatter from run to run.".to_owned())
}

/// The largest rate at which each variant keeps its limits.
fn capacities(model: &Model, footnotes: &mut Footnotes) -> Option<String> {
    let curves = curve::curves(model);
    let several = curves.len() > 1;
    let each = curves.iter().filter_map(|c| {
        let capacity = c.capacity.as_ref()?.text();
        if !several {
            return Some(capacity);
        }
        Some(format!("{capacity} with {}{}", model.label(c.variant), c.marks(footnotes)))
    });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| format!("The largest rate at which the limits hold is {}.", each.join("; ")))
}

/// Every quantity of every variant against the first.
fn across(model: &Model, footnotes: &mut Footnotes) -> Vec<String> {
    let comparisons = compare::comparisons(model);
    let label = |variant: u32| model.label(variant);
    let base = label(0);
    let mut sentences = Vec::new();
    for quantity in Quantity::ALL {
        let parts: Vec<String> = comparisons
            .iter()
            .filter(|c| c.quantity == quantity)
            .map(|c| match (c.said.word(), c.what_would_tell()) {
                (Word::CannotTell, Some(more)) => format!("cannot be told with {} ({more})", label(c.variant)),
                _ => format!("is {} with {} (ratio {})", c.said.text(footnotes), label(c.variant), c.ratio_text()),
            })
            .collect();
        if !parts.is_empty() {
            sentences.push(format!("Against {base}, {} {}.", quantity.name(), list(&parts)));
        }
    }
    sentences
}

fn expectations_across(model: &Model, judged: &[VariantJudged]) -> String {
    if judged.iter().all(|v| v.expectations.is_empty()) {
        return String::new();
    }
    let name = |v: &VariantJudged| {
        model.run.as_ref().and_then(|r| r.variants.get(v.variant as usize)).map(|i| i.label.clone())
    };
    let of = |verdict| -> Vec<String> {
        let mine = judged.iter().filter(|v| Verdict::all(v.expectations.iter().map(|j| j.verdict)) == verdict);
        mine.filter_map(name).collect()
    };
    let (pass, fail, open) = (of(Verdict::Pass), of(Verdict::Fail), of(Verdict::CannotTell));
    let mut parts = Vec::new();
    if !pass.is_empty() {
        parts.push(format!("hold with {}", list(&pass)));
    }
    if !fail.is_empty() {
        parts.push(format!("do not all hold with {}", list(&fail)));
    }
    if !open.is_empty() {
        parts.push(format!("cannot all be told with {}", list(&open)));
    }
    format!("The expectations {}.", list(&parts))
}
