//! `lab hpa --replay FILE`: the autoscaling engine over recorded inputs, a result a line.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::args::Hpa;
use crate::error::{Code, LabError};
use crate::out;

/// Replays every line; the first one that cannot be read ends it.
pub fn run(args: &Hpa) -> Result<Code, LabError> {
    let text = read(&args.replay)?;
    let mut results = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let result = lab_hpa::replay_line(line)
            .map_err(|e| LabError::refused(format!("cannot replay line {number} of {}", args.replay.display()), e))?;
        results.push_str(&result);
        results.push('\n');
    }
    out::data(&results)?;
    Ok(Code::Ok)
}

fn read(path: &Path) -> Result<String, LabError> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|e| LabError::refused(format!("cannot read {}", path.display()), e))
}
