//! A spec that cannot be run, drawn: each error with its place, the lines it is about, and what to do.

use std::fmt;

use lab_core::spec::{Diagnostic, Place};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Severity};

/// All that is wrong with a spec, with its text.
#[derive(Debug)]
pub struct BrokenSpec {
    /// As it was named.
    pub file: String,
    /// What it says.
    pub text: String,
    /// What is wrong, in reading order.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for BrokenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.diagnostics.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(f, "{} has {count} {noun}", self.file)?;
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(110);
        for diagnostic in &self.diagnostics {
            let mut drawn = String::new();
            handler.render_report(&mut drawn, &Shown::new(self, diagnostic))?;
            write!(f, "\n\n{}: {}", diagnostic.place, diagnostic.message)?;
            if matches!(diagnostic.place, Place::File { .. }) {
                write!(f, "\n{}", snippet(&drawn))?;
            }
            if let Some(help) = &diagnostic.help {
                write!(f, "\n  help: {help}")?;
            }
        }
        Ok(())
    }
}

/// The drawn lines of source alone: place, message and help have their own lines.
fn snippet(drawn: &str) -> String {
    let lines = drawn.lines().skip_while(|line| !line.contains("╭─")).skip(1).take_while(|line| !line.contains("╰─"));
    lines.map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A diagnostic in the drawing library's words.
#[derive(Debug)]
struct Shown {
    source: NamedSource<String>,
    inner: MietteDiagnostic,
}

impl Shown {
    fn new(broken: &BrokenSpec, diagnostic: &Diagnostic) -> Self {
        let mut inner = MietteDiagnostic::new(diagnostic.message.clone()).with_severity(Severity::Error);
        if let Place::File { span, .. } = &diagnostic.place {
            inner = inner.with_label(LabeledSpan::underline(span.clone()));
        }
        Self { source: NamedSource::new(&broken.file, broken.text.clone()), inner }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl std::error::Error for Shown {}

impl miette::Diagnostic for Shown {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.inner.labels()
    }
}
