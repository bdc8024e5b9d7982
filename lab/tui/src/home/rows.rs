//! Rows of the home screen: which are shown under a filter, and what stands in their columns.

use lab_core::judge::Verdict;
use lab_core::unit::Span;
use lab_core::validity::Validity;

use super::{HomeData, Section};
use crate::look::{Look, Role};

/// A row under the name that it is chosen by: its columns, each with its role.
pub(super) struct Row<'a> {
    pub name: &'a str,
    pub columns: Vec<(String, Role)>,
}

/// The rows of a section that a filter lets through, in order.
pub(super) fn rows<'a>(section: Section, data: &'a HomeData, filter: &str, look: Look) -> Vec<Row<'a>> {
    let filter = filter.to_lowercase();
    let shows = |texts: &[&String]| texts.iter().any(|text| text.to_lowercase().contains(&filter));
    match section {
        Section::Experiments => {
            let rows = data.experiments.iter().filter(|row| shows(&[&row.name, &row.question]));
            rows.map(|row| Row { name: &row.name, columns: experiment(row, look) }).collect()
        }
        Section::Labs => {
            let rows = data.labs.iter().filter(|row| shows(&[&row.name, &row.kind, &row.what]));
            rows.map(|row| Row { name: &row.name, columns: lab(row) }).collect()
        }
        Section::Runs => {
            let rows = data.runs.iter().filter(|row| shows(&[&row.id, &row.experiment]));
            rows.map(|row| Row { name: &row.id, columns: run(row, look) }).collect()
        }
        Section::Findings => {
            let rows = data.findings.iter().filter(|row| shows(&[&row.problem, &row.remedy]));
            rows.map(|row| Row { name: &row.problem, columns: finding(row, look) }).collect()
        }
    }
}

/// Their names.
pub(super) fn names<'a>(section: Section, data: &'a HomeData, filter: &str) -> Vec<&'a str> {
    rows(section, data, filter, Look::default()).into_iter().map(|row| row.name).collect()
}

/// What is told of the chosen row in full.
pub(super) fn detail(section: Section, data: &HomeData, name: &str) -> Vec<String> {
    match section {
        Section::Experiments => {
            let row = data.experiments.iter().find(|row| row.name == name);
            row.map(|row| vec![row.question.clone()]).unwrap_or_default()
        }
        Section::Labs => {
            let row = data.labs.iter().find(|row| row.name == name);
            let held = |row: &super::LabRow| if row.steerable { "can be steered" } else { "nobody listens: look only" };
            row.map(|row| vec![format!("{}, up since {}; {}; {}", row.what, row.since, row.cost, held(row))])
                .unwrap_or_default()
        }
        Section::Runs => {
            let row = data.runs.iter().find(|row| row.id == name);
            let asked = |experiment: &str| data.experiments.iter().find(|row| row.name == experiment);
            row.and_then(|row| asked(&row.experiment)).map(|row| vec![row.question.clone()]).unwrap_or_default()
        }
        Section::Findings => {
            let row = data.findings.iter().find(|row| row.problem == name);
            row.map(|row| vec![row.problem.clone(), format!("what to do: {}", row.remedy)]).unwrap_or_default()
        }
    }
}

fn experiment(row: &super::ExperimentRow, look: Look) -> Vec<(String, Role)> {
    let (verdict, when) = match &row.last {
        Some(last) => (verdict(Some(last.verdict), look), last.when.clone()),
        None => (("not run yet".to_owned(), Role::Dim), String::new()),
    };
    vec![(row.name.clone(), Role::Text), verdict, (when, Role::Dim), (row.question.clone(), Role::Dim)]
}

fn lab(row: &super::LabRow) -> Vec<(String, Role)> {
    vec![
        (row.name.clone(), Role::Text),
        (row.kind.clone(), Role::Dim),
        (format!("up {}", age(row.age)), Role::Text),
        (row.cost.clone(), Role::Text),
        (row.what.clone(), Role::Dim),
    ]
}

fn run(row: &super::RunRow, look: Look) -> Vec<(String, Role)> {
    let came_out = match row.verdict {
        None if !row.complete => ("incomplete".to_owned(), Role::Open),
        known => verdict(known, look),
    };
    let (trust, role) = match row.validity {
        Some(Validity::Valid) => ("valid", Role::Dim),
        Some(Validity::Suspect) => ("suspect", Role::Open),
        Some(Validity::Invalid) => ("invalid", Role::Bad),
        None => ("", Role::Dim),
    };
    let trust = match (row.complete, row.verdict) {
        (false, Some(_)) => (format!("{trust}, incomplete"), Role::Open),
        _ => (trust.to_owned(), role),
    };
    vec![(row.id.clone(), Role::Text), came_out, trust, (row.when.clone(), Role::Dim)]
}

fn finding(row: &super::FindingRow, look: Look) -> Vec<(String, Role)> {
    let (glyph, role) = if row.fatal { (look.glyphs().fail, Role::Bad) } else { (look.glyphs().open, Role::Open) };
    vec![(format!("{glyph} {}", row.problem), role), (row.remedy.clone(), Role::Dim)]
}

fn verdict(verdict: Option<Verdict>, look: Look) -> (String, Role) {
    let (glyph, role) = match verdict {
        Some(Verdict::Pass) => (look.glyphs().pass, Role::Good),
        Some(Verdict::Fail) => (look.glyphs().fail, Role::Bad),
        Some(Verdict::CannotTell) => (look.glyphs().open, Role::Open),
        None => return ("no report".to_owned(), Role::Dim),
    };
    (format!("{glyph} {}", verdict.map_or("", Verdict::text)), role)
}

/// A long time in its two largest units: `40 s`, `12 min`, `3 h 5 min`, `2 d 4 h`.
fn age(span: Span) -> String {
    let seconds = span.0 / 1_000_000_000;
    let pair = |big: u64, big_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{big} {big_name}"),
        small => format!("{big} {big_name} {small} {small_name}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_two_units() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (720, "12 min"), (3_600, "1 h"), (11_100, "3 h 5 min"), (187_200, "2 d 4 h")]
        {
            assert_eq!(age(Span::from_secs(seconds)), text);
        }
    }
}
