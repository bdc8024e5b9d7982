//! What can end a run early.

use std::path::PathBuf;

use lab_env::{EnvError, Finding};

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The environment refused or failed.
    #[error("the environment failed")]
    Environment(#[from] EnvError),
    /// Things are missing that the environment cannot do without.
    #[error("the environment is not ready: {}", list(.0))]
    NotReady(Vec<Finding>),
    /// A generator did not do what it was asked.
    #[error("{generator} did not {what}")]
    Generator {
        /// The replica.
        generator: String,
        /// What it was asked.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No generator was ready when load should begin.
    #[error("no load-generator is ready, so no load can be driven")]
    NoGenerator,
    /// All generators are gone while load was driven.
    #[error("every load-generator was lost {at_s:.1} s into the load")]
    GeneratorsLost {
        /// Seconds of plan time.
        at_s: f64,
    },
    /// Rows could not be created before the load.
    #[error("cannot prepare rows on {service}: {problem}")]
    Prepare {
        /// The service.
        service: &'static str,
        /// What it answered.
        problem: String,
    },
    /// The journal could not be written; the run stops rather than going on unrecorded.
    #[error("cannot write the journal {}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The run takes longer than its budget.
    #[error("the run passed its budget of {wall} and was stopped")]
    OverBudget {
        /// `budget.wall`.
        wall: lab_core::unit::Span,
    },
    /// The task that orders events is gone.
    #[error("the conductor stopped before the run did")]
    ConductorGone,
    /// The user asked to stop, or the budget was used up.
    #[error("interrupted")]
    Interrupted,
    /// The same, before the services were ready.
    #[error("interrupted before the services were ready")]
    InterruptedEarly,
}

impl RunError {
    /// True when nothing failed: it was asked to end.
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Interrupted | Self::InterruptedEarly)
    }
}

fn list(findings: &[Finding]) -> String {
    let fatal = findings.iter().filter(|f| f.fatal);
    fatal.map(|f| format!("{} ({})", f.problem, f.remedy)).collect::<Vec<_>>().join("; ")
}

/// An error with its causes, in one line.
pub fn chain(error: &RunError) -> String {
    causes(error)
}

/// Any error with its causes, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
