//! `lab report RUN`: Markdown, pictures and summary anew, from the journal alone.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;

use lab_core::answer::answer;
use lab_core::journal;
use lab_core::judge::conclude;
use lab_core::model::Model;
use lab_run::RunDir;

use crate::args::{Format, Report};
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// A run read back from its journal, its report written.
pub struct Written {
    model: Model,
    summary_json: String,
    path: PathBuf,
}

/// Writes a run's report and says where it is.
pub fn run(args: &Report, settings: &Settings) -> Result<Code, LabError> {
    let run = RunDir::find(&settings.runs, &args.run).map_err(|e| {
        LabError::refused(format!("cannot find run `{}`", args.run), e).hint("see what there is: lab runs")
    })?;
    let written = Written::of(&run)?;
    written.print(args.format)?;
    Ok(written.code())
}

impl Written {
    /// Reads the journal and writes everything that follows from it beside it.
    ///
    /// # Errors
    /// The journal cannot be read, or a file not be written.
    pub fn of(run: &RunDir) -> Result<Self, LabError> {
        let model = read(run)?;
        let report = lab_report::write(&model).map_err(|e| LabError::failed("cannot write the report", e))?;
        let path = run.path().join("report.md");
        let texts = [("report.md", &report.markdown), ("summary.json", &report.summary_json)];
        let pictures = report.pictures.iter().map(|(name, svg)| (name.as_str(), svg));
        for (name, text) in texts.into_iter().chain(pictures) {
            let path = run.path().join(name);
            fs::write(&path, text).map_err(|e| LabError::failed(format!("cannot write {}", path.display()), e))?;
        }
        Ok(Self { model, summary_json: report.summary_json, path })
    }

    /// The last lines of an experiment and of `lab report`.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn print(&self, format: Format) -> Result<(), LabError> {
        if format == Format::Json {
            return out::data(&self.summary_json);
        }
        out::line(&answer(&self.model))?;
        out::line(&self.words())?;
        out::line(&format!("report: {}", self.path.display()))
    }

    /// Verdict and validity in one line.
    pub fn words(&self) -> String {
        let conclusion = conclude(&self.model);
        let incomplete = if conclusion.complete { "" } else { ", incomplete" };
        format!("verdict: {}; measurement: {}{incomplete}", conclusion.verdict.text(), conclusion.validity.text())
    }

    /// The exit code that measurement and expectations call for.
    pub fn code(&self) -> Code {
        Code::of(conclude(&self.model).exit_code)
    }
}

fn read(run: &RunDir) -> Result<Model, LabError> {
    let path = run.journal();
    let file = File::open(&path).map_err(|e| LabError::failed(format!("cannot read {}", path.display()), e))?;
    let mut model = Model::default();
    for event in journal::Reader::new(BufReader::new(file)) {
        let event = event.map_err(|e| {
            LabError::refused(format!("{} is not a journal that this version reads", path.display()), e)
        })?;
        model.apply(&event);
    }
    Ok(model)
}
