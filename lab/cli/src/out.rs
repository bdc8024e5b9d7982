//! Data to stdout, talk to stderr. A reader that went away is not an error.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::error::LabError;

/// Writes data to stdout.
///
/// # Errors
/// Stdout cannot be written, for another reason than that nobody reads it any more.
pub fn data(text: &str) -> Result<(), LabError> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(LabError::failed("cannot write to stdout", e)),
        _ => Ok(()),
    }
}

/// Writes one line of data to stdout.
///
/// # Errors
/// As [`data`].
pub fn line(text: &str) -> Result<(), LabError> {
    data(&format!("{text}\n"))
}

/// Writes one line of talk to stderr; nobody can be told when that fails.
pub fn talk(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Says what failed, why, and what to do, each on its own line.
pub fn error(error: &LabError) {
    talk(&format!("error: {error}"));
    for cause in error.causes() {
        talk(&format!("  caused by: {cause}"));
    }
    if let Some(hint) = error.remedy() {
        talk(&format!("hint: {hint}"));
    }
}

/// Shows what clap has to say: help and version are data and succeed, the rest is bad input.
pub fn clap_error(error: &clap::Error) -> ExitCode {
    drop(error.print());
    if error.use_stderr() { crate::error::Code::BadInput.into() } else { ExitCode::SUCCESS }
}
