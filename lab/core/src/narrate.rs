//! The one sentence for each thing that happens: on screen, in plain output and in the report the same. Events that are data rather
//! than news have none.

use crate::control::LoadChange;
use crate::deliveries::{Balance, Conserved};
use crate::event::{BackingSeen, Decided, Event, Grade, Kind, Outcome, RunInfo, StepName, TrialInfo};
use crate::unit::Span;
use crate::words::{count, duration, list, plural, rate, visible};

/// A sentence without a full stop, free of control characters; None for what is not news: samples, readings, decisions to stay.
pub fn narrate(event: &Event) -> Option<String> {
    sentence(&event.kind).map(|text| visible(&text))
}

fn sentence(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::RunStarted(info) => run_started(info),
        Kind::TrialStarted(info) => trial_started(info),
        Kind::Step { step, took } => self::step(*step, *took),
        Kind::Decided(decided) => return self::decided(decided),
        Kind::LoadStarted { .. } => "load begins".to_owned(),
        Kind::PhaseStarted { name, .. } => format!("phase {name} begins"),
        Kind::PhaseEnded { name, .. } => format!("phase {name} ends"),
        Kind::LoadChanged { change, by } => load_changed(change, by),
        Kind::Fault { replica, what, by, .. } => format!("{replica} is {what} by {by}"),
        Kind::SharesDealt { generators, cause, .. } => shares(generators, cause),
        Kind::SampleLost { generator, count: n, .. } => {
            format!("{} of {generator} did not come: these seconds are a gap", plural(*n, "sample"))
        }
        Kind::Conserved(conserved) => self::conserved(conserved),
        Kind::Delivered { workload, what, acknowledged, indeterminate, applied } => {
            let unknown =
                if *indeterminate > 0 { format!(", {} of unknown fate", count(*indeterminate)) } else { String::new() };
            format!("{workload}: {} {what} acknowledged{unknown}, {} applied", count(*acknowledged), count(*applied))
        }
        Kind::Backing(seen) => backing(seen),
        Kind::Fidelity { subject, grade, note } => fidelity(subject, *grade, note),
        Kind::Warning { text } => format!("warning: {text}"),
        Kind::Note { text } => format!("note: {text}"),
        Kind::Still { files, .. } => format!("still kept: {}", list(files)),
        Kind::Interrupted { count: 1 } => {
            "interrupted: finishing what is in flight, then reporting; once more tears everything down".to_owned()
        }
        Kind::Interrupted { count: 2 } => {
            "interrupted again: taking everything down now; once more leaves that to the reaper".to_owned()
        }
        Kind::Interrupted { .. } => {
            "interrupted a third time: leaving; the reaper ends what runs, lab clean makes sure of it".to_owned()
        }
        Kind::TrialEnded { outcome, error } => ended("trial", *outcome, error.as_deref()),
        Kind::LeftBehind { things, remedy } => format!("left running: {}; remove with `{remedy}`", list(things)),
        Kind::RunEnded { outcome } => ended("run", *outcome, None),
        other => return replica(other),
    })
}

fn replica(kind: &Kind) -> Option<String> {
    Some(match kind {
        // The autoscaler's own sentence says the same and why; that everything goes down is said by the step.
        Kind::Scaled { cause, .. } if cause == "autoscaler" || cause == "down" => return None,
        Kind::Scaled { workload, from, to, cause } => match cause.as_str() {
            "deploy" => format!("{workload} is deployed with {}", plural(u64::from(*to), "replica")),
            "replace" => format!("{workload} gets a new replica for one that died"),
            "user" => format!("{workload} scaled {from} → {to} by hand"),
            cause => format!("{workload} scaled {from} → {to}: {cause}"),
        },
        Kind::ReplicaCreated { replica, .. } => format!("{replica} is being made"),
        Kind::ReplicaStarted { replica, .. } => format!("{replica} has started"),
        Kind::ReplicaReady { replica, .. } => format!("{replica} is ready"),
        Kind::ReplicaUnready { replica, reason, .. } => format!("{replica} is no longer ready: {reason}"),
        Kind::ReplicaDraining { replica, .. } => format!("{replica} gets no new requests"),
        Kind::ReplicaStopped { replica, expected: true, .. } => format!("{replica} has stopped"),
        Kind::ReplicaStopped { replica, exit, .. } => format!("{replica} died: {exit}"),
        _ => return None,
    })
}

/// `message-service: 4 812 messages acknowledged, all of them found`, and what else was found.
fn conserved(c: &Conserved) -> String {
    let Balance { lost, unexpected, duplicated, recovered, .. } = &c.compared;
    let mut parts = vec![format!("{} {} acknowledged", count(c.acknowledged), c.what)];
    parts.push(match (lost.count, c.drained) {
        (0, _) if c.acknowledged > 0 => "all of them found".to_owned(),
        (lost, true) => format!("{} lost", count(lost)),
        (missing, false) => format!("{} not found before the queue was empty", count(missing)),
    });
    let others = [(unexpected.count, "found unexpectedly"), (duplicated.count, "found once too often")];
    parts.extend(others.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(n))));
    if c.indeterminate > 0 {
        let (open, found) = (count(c.indeterminate), count(recovered.count));
        parts.push(format!("{open} of unknown fate, {found} of them found"));
    }
    format!("{}: {}", c.workload, parts.join(", "))
}

fn backing(seen: &BackingSeen) -> String {
    let image = seen.image.as_ref().map(|image| format!(", image {}", image.name)).unwrap_or_default();
    let at = if seen.address.is_empty() { String::new() } else { format!(" at {}", seen.address) };
    format!("{} is {}{at}{image}", seen.name, seen.server)
}

fn run_started(info: &RunInfo) -> String {
    let trials = plural(info.order.len() as u64, "trial");
    let variants = match info.variants.len() {
        0 | 1 => String::new(),
        n => format!(" of {n} variants"),
    };
    format!("run {}: {trials}{variants} of {}", info.run, info.spec.name)
}

fn trial_started(info: &TrialInfo) -> String {
    format!(
        "trial {} begins: variant {}, block {}",
        info.trial.saturating_add(1),
        info.variant.saturating_add(1),
        info.block.saturating_add(1)
    )
}

fn step(step: StepName, took: Option<Span>) -> String {
    let (doing, done) = match step {
        StepName::Check => ("checking what is needed", "checked"),
        StepName::Up => ("bringing the environment up", "the environment is up"),
        StepName::Deploy => ("deploying", "deployed"),
        StepName::Prepare => ("preparing data", "data is prepared"),
        StepName::Drive => ("driving load", "load is over"),
        StepName::Drain => ("waiting for what is in flight", "drained"),
        StepName::Down => ("taking everything down", "everything is down"),
    };
    took.map_or_else(|| doing.to_owned(), |took| format!("{done} after {}", duration(took)))
}

/// A change as `user-service scaled 1 → 3: cpu 142 % of 70 %, …`; None where the size stays.
fn decided(decided: &Decided) -> Option<String> {
    let d = &decided.decision;
    if d.desired == d.current {
        return None;
    }
    let (workload, from, to) = (&decided.workload, d.current, d.desired);
    Some(format!("{workload} scaled {from} → {to}: {}", reason(&d.why)))
}

/// The part of a decision's sentence after what it wants: `cpu 142 % of 70 %, …`.
pub fn reason(why: &str) -> &str {
    why.split_once(": ").map_or(why, |(_, reason)| reason)
}

fn load_changed(change: &LoadChange, by: &str) -> String {
    let mut parts = Vec::new();
    match change.rate {
        Some(r) if r < 0.0 => parts.push("rate as in the phases again".to_owned()),
        Some(r) => parts.push(format!("rate {}", rate(r))),
        None => {}
    }
    if let Some(mix) = &change.mix {
        let names: Vec<String> =
            mix.iter().map(|(name, weight)| format!("{name} {}", crate::words::digits(*weight))).collect();
        parts.push(format!("mix {}", list(&names)));
    }
    parts.extend(change.connections.map(|n| plural(u64::from(n), "connection")));
    parts.extend(change.pause.map(|pause| if pause { "paused" } else { "resumed" }.to_owned()));
    parts.extend(change.skip.filter(|skip| *skip).map(|_| "the phase is cut short".to_owned()));
    parts.extend(change.share.map(|share| format!("share {} of {}", share.index.saturating_add(1), share.count)));
    let what = if parts.is_empty() { "nothing".to_owned() } else { list(&parts) };
    format!("load changed by {by}: {what}")
}

fn shares(generators: &[String], cause: &str) -> String {
    let names = list(generators);
    match cause {
        "start" => format!("load comes from {names}"),
        "scaled" => format!("load comes from {names} now"),
        cause => format!("load comes from {names} now: {cause}"),
    }
}

fn fidelity(subject: &str, grade: Grade, note: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!(": {note}") };
    format!("{subject} is {}{note}", grade_text(grade))
}

/// `real`, `compatible`, `embedded`.
pub fn grade_text(grade: Grade) -> &'static str {
    match grade {
        Grade::Real => "real",
        Grade::Compatible => "compatible",
        Grade::Embedded => "embedded",
    }
}

fn ended(what: &str, outcome: Outcome, error: Option<&str>) -> String {
    let how = match outcome {
        Outcome::Completed => "is complete",
        Outcome::Interrupted => "was interrupted",
        Outcome::Failed => "failed",
    };
    let error = error.map(|e| format!(": {e}")).unwrap_or_default();
    format!("{what} {how}{error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliveries::Listed;
    use crate::unit::RunTime;

    fn told(kind: Kind) -> Option<String> {
        narrate(&Event { n: 1, t: RunTime(0), src: "run".to_owned(), late: Span::ZERO, clock: None, kind })
    }

    #[test]
    fn what_happens_has_one_sentence() {
        let workload = || "user-service".to_owned();
        let replica = || "user-service-2".to_owned();
        let table = [
            (Kind::ReplicaReady { workload: workload(), replica: replica() }, "user-service-2 is ready"),
            (
                Kind::ReplicaStopped {
                    workload: workload(),
                    replica: replica(),
                    exit: "signal 9".to_owned(),
                    expected: false,
                },
                "user-service-2 died: signal 9",
            ),
            (
                Kind::Scaled { workload: workload(), from: 0, to: 1, cause: "deploy".to_owned() },
                "user-service is deployed with 1 replica",
            ),
            (
                Kind::LoadChanged {
                    change: LoadChange { rate: Some(800.0), pause: Some(false), ..LoadChange::default() },
                    by: "user".to_owned(),
                },
                "load changed by user: rate 800/s and resumed",
            ),
            (
                Kind::LoadChanged {
                    change: LoadChange { skip: Some(true), ..LoadChange::default() },
                    by: "user".to_owned(),
                },
                "load changed by user: the phase is cut short",
            ),
            (
                Kind::Fault {
                    workload: workload(),
                    replica: replica(),
                    what: "killed".to_owned(),
                    by: "user".to_owned(),
                },
                "user-service-2 is killed by user",
            ),
            (Kind::Step { step: StepName::Deploy, took: Some(Span::from_millis(1_240)) }, "deployed after 1.24 s"),
            (
                Kind::SampleLost { generator: "load-generator-1".to_owned(), from_seq: 7, count: 2 },
                "2 samples of load-generator-1 did not come: these seconds are a gap",
            ),
            (
                Kind::Conserved(Box::new(Conserved {
                    workload: workload(),
                    what: "users".to_owned(),
                    acknowledged: 4_812,
                    drained: true,
                    ..Conserved::default()
                })),
                "user-service: 4\u{202f}812 users acknowledged, all of them found",
            ),
            (
                Kind::Conserved(Box::new(Conserved {
                    workload: workload(),
                    what: "users".to_owned(),
                    acknowledged: 10,
                    indeterminate: 3,
                    compared: Balance {
                        lost: Listed { count: 2, first: vec![7, 8] },
                        duplicated: Listed { count: 1, first: vec![6] },
                        recovered: Listed { count: 1, first: vec![5] },
                        ..Balance::default()
                    },
                    drained: true,
                    ..Conserved::default()
                })),
                "user-service: 10 users acknowledged, 2 lost, 1 found once too often, 3 of unknown fate, 1 of them found",
            ),
            (Kind::Warning { text: "evil \u{1b}[2J text".to_owned() }, "warning: evil \\u{1b}[2J text"),
        ];
        for (kind, text) in table {
            assert_eq!(told(kind).as_deref(), Some(text));
        }
        assert_eq!(told(Kind::ObserverCost { cpu_ns: 1, over: Span(1), rss_bytes: 1 }), None);
        assert_eq!(reason("wants 3 (was 1): cpu 142 % of 70 %, ratio 2.03"), "cpu 142 % of 70 %, ratio 2.03");
    }
}
