//! A model in, a report out: Markdown, one SVG a trial and one of the curves, `summary.json`. Pure: no clock, no files, so the same journal gives the same
//! bytes.

mod escape;
mod facts;
mod markdown;
mod picture;

use lab_core::model::Model;
use lab_core::summary::Summary;

pub use picture::picture;

/// What a run leaves for people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `report.md`; it refers to the pictures by their names.
    pub markdown: String,
    /// Name and SVG of each trial's picture, and of the throughput–latency curve where there is one; trials without load have none.
    pub pictures: Vec<(String, String)>,
    /// `summary.json`.
    pub summary_json: String,
}

/// A report could not be written. Neither depends on the run: both are faults of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The template and the facts do not fit together.
    #[error("cannot fill in the report's template")]
    Template(#[from] minijinja::Error),
    /// The summary is not JSON.
    #[error("cannot write the summary as JSON")]
    Summary(#[from] serde_json::Error),
}

/// Writes the report of a run, whole or cut.
///
/// # Errors
/// See [`ReportError`].
pub fn write(model: &Model) -> Result<Report, ReportError> {
    let drawn = model.trials.iter().filter_map(|t| Some((facts::picture_name(t)?, picture(model, t)?)));
    let curve = picture::curve(model, &lab_core::curve::curves(model)).map(|svg| (facts::CURVE.to_owned(), svg));
    let pictures = curve.into_iter().chain(drawn).collect();
    Ok(Report {
        markdown: markdown::render(&facts::Facts::of(model))?,
        pictures,
        summary_json: Summary::of(model).to_json()?,
    })
}
