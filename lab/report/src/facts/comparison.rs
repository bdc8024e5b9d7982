//! The variants beside one another: what their backing services promise, what they measured, and in a word how each stands to the
//! first, with the notes that such a word needs.

use serde::Serialize;

use lab_core::compare::{self, Quantity};
use lab_core::model::Model;
use lab_core::parity::{Footnotes, Parity, superscript};
use lab_core::words;

use super::environment;

#[derive(Serialize)]
pub(crate) struct Facts {
    labels: Vec<String>,
    parity: Vec<Role>,
    variants: Vec<Variant>,
    rows: Vec<Row>,
    /// Mark and text.
    footnotes: Vec<(String, String)>,
}

/// The table of one role.
#[derive(Serialize)]
struct Role {
    name: &'static str,
    /// Aspect, whether the cells differ, a cell a variant.
    rows: Vec<(&'static str, bool, Vec<String>)>,
}

#[derive(Serialize)]
struct Variant {
    label: String,
    /// Leads to the footnote that says what in it is not the real thing; empty: all is.
    mark: String,
    trials: usize,
    left_out: usize,
    values: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    variant: String,
    against: String,
    quantity: &'static str,
    word: String,
    ratio: String,
    blocks: usize,
    more: String,
}

impl Facts {
    /// `footnotes` has the notes that are marked elsewhere in the report.
    pub(crate) fn of(model: &Model, parity: &Parity, mut footnotes: Footnotes) -> Self {
        let rows = rows(model, &mut footnotes);
        let noted = footnotes.notes().map(|note| (superscript(note.number), format!("{}.", note.long())));
        let mut texts: Vec<(String, String)> = noted.collect();
        let variants = variants(model, parity.all_notes().count(), &mut texts);
        let roles = parity.roles.iter().map(|table| Role {
            name: table.role.name(),
            rows: table.rows.iter().map(|row| (row.aspect.name(), row.differs, row.cells.clone())).collect(),
        });
        Self {
            labels: (0..variants.len()).map(|v| model.label(v as u32)).collect(),
            parity: roles.collect(),
            variants,
            rows,
            footnotes: texts,
        }
    }
}

/// A row a variant, and what in them is not the real thing, each combination once; their numbers follow `notes` others.
fn variants(model: &Model, notes: usize, footnotes: &mut Vec<(String, String)>) -> Vec<Variant> {
    let mut known: Vec<String> = Vec::new();
    let rows = compare::numbers(model).into_iter().map(|numbers| {
        let stand_ins = words::list(&environment::stand_ins(model, numbers.variant));
        if !stand_ins.is_empty() && !known.contains(&stand_ins) {
            known.push(stand_ins.clone());
            footnotes.push((superscript(notes + known.len()), format!("Measured with {stand_ins}.")));
        }
        let at = known.iter().position(|k| *k == stand_ins);
        Variant {
            label: model.label(numbers.variant),
            mark: at.map_or_else(String::new, |at| superscript(notes + at + 1)),
            trials: numbers.trials.len(),
            left_out: numbers.left_out,
            values: Quantity::ALL.iter().map(|q| numbers.text(*q)).collect(),
        }
    });
    rows.collect()
}

fn rows(model: &Model, footnotes: &mut Footnotes) -> Vec<Row> {
    let rows = compare::comparisons(model).into_iter().map(|c| Row {
        variant: model.label(c.variant),
        against: model.label(0),
        quantity: c.quantity.name(),
        word: c.said.text(footnotes),
        ratio: c.ratio_text(),
        blocks: c.ratio.blocks,
        more: c.what_would_tell().unwrap_or_default(),
    });
    rows.collect()
}
