//! `lab clean`: what earlier labs left behind, removed, and images of earlier builds with it.

use lab_env::home::Home;
use lab_env::image::tidy;

use super::image::wanted;
use crate::args::Clean;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Removes it, or says what would be removed.
pub async fn run(args: Clean, settings: Settings) -> Result<Code, LabError> {
    let (mut nothing, left) = if args.dry_run { (would_remove(&settings)?, false) } else { remove(&settings)? };
    let images = tidy(&wanted(&settings)?, args.dry_run).await;
    let images = images.map_err(|e| LabError::failed("cannot look for images of earlier builds", e))?;
    for image in &images.removed {
        nothing = false;
        out::line(&if args.dry_run { format!("image {image}") } else { format!("image {image} removed") })?;
    }
    for image in &images.left {
        out::talk(image);
    }
    if nothing && images.left.is_empty() {
        out::talk("nothing was left behind");
    }
    Ok(if left || !images.left.is_empty() { Code::LeftRunning } else { Code::Ok })
}

/// Says so; whether there was nothing.
fn would_remove(settings: &Settings) -> Result<bool, LabError> {
    let found = lab_env::clean::leftovers(&Home::new(&settings.home));
    let found = found.map_err(|e| LabError::failed("cannot look for leftovers", e))?;
    for (lab, things) in &found {
        out::line(&format!("lab {lab}: {}", things.join(", ")))?;
    }
    Ok(found.is_empty())
}

/// Removes what is left of labs; whether there was nothing, and whether something is still there.
fn remove(settings: &Settings) -> Result<(bool, bool), LabError> {
    let cleaned = lab_env::clean::clean(&Home::new(&settings.home)).map_err(|e| LabError::failed("cannot clean", e))?;
    let mut left = false;
    for lab in &cleaned {
        out::line(&format!("lab {}: {} removed", lab.lab, lab.removed))?;
        for thing in &lab.removal.left {
            left = true;
            out::talk(&format!("lab {}: {thing} could not be removed", lab.lab));
        }
    }
    Ok((cleaned.is_empty(), left))
}
