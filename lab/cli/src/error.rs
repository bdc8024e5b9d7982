//! What can go wrong, as a user needs it: what failed, why, what to do, and the exit code.

use std::fmt;
use std::process::ExitCode;

/// Exit codes of `lab`, as documented in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Everything went well.
    Ok,
    /// An expectation failed.
    ExpectationFailed,
    /// A spec, a flag or another input is wrong.
    BadInput,
    /// The environment failed.
    EnvironmentFailed,
    /// The measurement is invalid.
    Invalid,
    /// Done, but something was left running.
    LeftRunning,
    /// Interrupted by the user.
    Interrupted,
}

impl Code {
    /// The code of a number that another `lab` ended with; one that none ends with counts as a failed environment.
    pub fn of(number: u8) -> Self {
        const ALL: [Code; 6] =
            [Code::Ok, Code::ExpectationFailed, Code::BadInput, Code::Invalid, Code::LeftRunning, Code::Interrupted];
        ALL.into_iter().find(|code| code.number() == number).unwrap_or(Self::EnvironmentFailed)
    }

    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::ExpectationFailed => 1,
            Self::BadInput => 2,
            Self::EnvironmentFailed => 3,
            Self::Invalid => 4,
            Self::LeftRunning => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct LabError {
    kind: Kind,
    hint: Option<String>,
}

#[derive(Debug)]
enum Kind {
    /// The user's input; the text says what is wrong with it.
    Input(String),
    /// All that is wrong with a spec.
    Spec(crate::broken::BrokenSpec),
    /// Something below failed.
    Failed { doing: String, source: Box<dyn std::error::Error + Send + Sync>, code: Code },
}

impl LabError {
    /// Input that cannot be used.
    pub fn input(problem: impl Into<String>) -> Self {
        Self { kind: Kind::Input(problem.into()), hint: None }
    }

    /// A spec that cannot be run.
    pub fn spec(broken: crate::broken::BrokenSpec) -> Self {
        Self { kind: Kind::Spec(broken), hint: None }
    }

    /// The environment, the disk or a service failed.
    pub fn failed(doing: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            kind: Kind::Failed { doing: doing.into(), source: source.into(), code: Code::EnvironmentFailed },
            hint: None,
        }
    }

    /// Input that something below refused.
    pub fn refused(doing: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Failed { doing: doing.into(), source: source.into(), code: Code::BadInput }, hint: None }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        match &self.kind {
            Kind::Input(_) | Kind::Spec(_) => Code::BadInput,
            Kind::Failed { code, .. } => *code,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The causes, outermost first.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        if let Kind::Failed { source, .. } = &self.kind {
            let mut next: Option<&dyn std::error::Error> = Some(source.as_ref());
            while let Some(error) = next {
                causes.push(error.to_string());
                next = error.source();
            }
        }
        causes
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Input(problem) => f.write_str(problem),
            Kind::Spec(broken) => write!(f, "{broken}"),
            Kind::Failed { doing, .. } => f.write_str(doing),
        }
    }
}
