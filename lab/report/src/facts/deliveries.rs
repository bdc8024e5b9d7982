//! The delivery ledger of a trial: what was attempted, and what of it was found. When answers were back after a fault is in `faults`.

use serde::Serialize;

use lab_core::deliveries::{Conserved, Listed};
use lab_core::model::Trial;
use lab_core::words;

/// One workload's ledger.
#[derive(Serialize)]
pub(crate) struct DeliveryFacts {
    workload: String,
    what: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    count: String,
    meaning: &'static str,
    examples: String,
}

/// The ledgers of a trial.
pub(crate) fn deliveries(trial: &Trial) -> Vec<DeliveryFacts> {
    trial.workloads.values().flat_map(|w| &w.conserved).map(DeliveryFacts::of).collect()
}

impl DeliveryFacts {
    fn of(c: &Conserved) -> Self {
        let row = |name, count, meaning| Row { name, count: words::count(count), meaning, examples: String::new() };
        let listed =
            |name, listed: &Listed, meaning| Row { examples: examples(listed), ..row(name, listed.count, meaning) };
        let found = &c.compared;
        let rows = vec![
            row("attempted", c.attempted, "requests of which at least a byte was sent"),
            row("= acknowledged", c.acknowledged, "answered well: each must be found"),
            row("+ refused", c.refused, "answered with the promise that nothing happened: none may be found"),
            row("+ of unknown fate", c.indeterminate, "no answer, a cut one, or one that leaves it open: may be found"),
            row("found", found.found, "rows of this load in the store, after the drain"),
            listed("lost", &found.lost, "acknowledged, and not found"),
            listed("unexpected", &found.unexpected, "found, and refused or never attempted"),
            listed("duplicated", &found.duplicated, "rows beyond the first of their request"),
            listed("recovered", &found.recovered, "of unknown fate, and found"),
        ];
        Self { workload: c.workload.clone(), what: c.what.clone(), rows, notes: notes(c) }
    }
}

fn examples(listed: &Listed) -> String {
    let numbers: Vec<String> = listed.first.iter().map(u64::to_string).collect();
    let more = if listed.count > listed.first.len() as u64 { ", …" } else { "" };
    if numbers.is_empty() { String::new() } else { format!("{}{more}", numbers.join(", ")) }
}

fn notes(c: &Conserved) -> Vec<String> {
    let mut notes = Vec::new();
    if c.indeterminate > 0 {
        let recovered = c.compared.recovered.count;
        let absent = c.indeterminate.saturating_sub(recovered);
        notes.push(format!(
            "{} of unknown fate: {} found, {} not found. Neither is a loss: nobody was promised that they are there, or that they are \
             not.",
            words::count(c.indeterminate),
            words::count(recovered),
            words::count(absent)
        ));
    }
    if !c.drained {
        notes.push(
            "The queue was not seen empty before rows were read: what is missing may be on its way still.".to_owned(),
        );
    }
    if c.untold > 0 {
        let samples = words::plural(c.untold, "sample");
        notes.push(format!(
            "{samples} did not come, and with them fates: more may be lost, and less unexpected, than is shown."
        ));
    }
    if let Some(dead) = c.dead.filter(|dead| *dead > 0) {
        notes.push(format!("The queue gave up {}: they count as lost.", words::plural(dead, "message")));
    }
    if let (Some(redelivered), Some(repeated)) = (c.redelivered, c.repeated) {
        notes.push(format!(
            "Deliveries of a message after its first: {}. Deliveries whose effect was there already, and did not happen twice: {}. In \
             which order messages came is not measured.",
            words::count(redelivered),
            words::count(repeated)
        ));
    }
    if c.others > 0 {
        notes.push(format!("{} of the table are not of this load.", words::plural(c.others, "row")));
    }
    notes
}
