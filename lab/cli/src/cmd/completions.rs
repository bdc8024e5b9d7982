//! `lab completions SHELL`.

use clap::CommandFactory as _;

use crate::args::{Args, Completions};
use crate::error::{Code, LabError};
use crate::out;

/// Prints the shell's script.
pub fn run(args: &Completions) -> Result<Code, LabError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "lab", &mut script);
    out::data(&String::from_utf8_lossy(&script))?;
    Ok(Code::Ok)
}
