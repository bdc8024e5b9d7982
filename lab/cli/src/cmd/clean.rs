//! `lab clean`: what earlier labs left behind, removed.

use lab_env::home::Home;

use crate::args::Clean;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Removes it, or says what would be removed.
pub async fn run(args: Clean, settings: Settings) -> Result<Code, LabError> {
    let home = Home::new(&settings.home);
    if args.dry_run {
        let found = lab_env::clean::leftovers(&home).map_err(|e| LabError::failed("cannot look for leftovers", e))?;
        for (lab, things) in &found {
            out::line(&format!("lab {lab}: {}", things.join(", ")))?;
        }
        if found.is_empty() {
            out::talk("nothing was left behind");
        }
        return Ok(Code::Ok);
    }
    let cleaned = lab_env::clean::clean(&home).map_err(|e| LabError::failed("cannot clean", e))?;
    let mut left = false;
    for lab in &cleaned {
        out::line(&format!("lab {}: {} removed", lab.lab, lab.removed))?;
        for thing in &lab.removal.left {
            left = true;
            out::talk(&format!("lab {}: {thing} could not be removed", lab.lab));
        }
    }
    if cleaned.is_empty() {
        out::talk("nothing was left behind");
    }
    Ok(if left { Code::LeftRunning } else { Code::Ok })
}
