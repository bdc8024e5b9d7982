//! `lab __reap`: what a lab leaves when its process dies is removed by this one.

use crate::args::Reap;
use crate::error::{Code, LabError};

/// Waits for the lab's end, then removes what it made.
pub fn run(args: &Reap) -> Result<Code, LabError> {
    lab_env::reaper::reap(&args.home, &args.name)
        .map_err(|e| LabError::failed(format!("cannot reap lab `{}`", args.name), e))?;
    Ok(Code::Ok)
}
