//! `lab __secrets`: makes the Secrets of a lab from within its namespace, where `kubectl` alone applied the manifests.

use crate::args::Secrets;
use crate::error::{Code, LabError};
use crate::out;

/// Makes those that are not there yet, and says which.
pub async fn run(args: Secrets) -> Result<Code, LabError> {
    let made = lab_env::kubernetes::make_secrets(args.metrics_adapter).await;
    let made = made.map_err(|e| LabError::failed("cannot make the Secrets of this lab", e))?;
    if made.is_empty() {
        out::line("all were there")?;
    }
    for name in made {
        out::line(&format!("made {name}"))?;
    }
    Ok(Code::Ok)
}
