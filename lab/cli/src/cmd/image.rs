//! `lab image`: this program packed as the image that containers run.

use std::time::Instant;

use lab_env::home::Home;
use lab_env::image::{Image, Wanted, pack};

use crate::args::{Format, Image as ImageArgs};
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Packs it unless it is there, and says what it is.
pub async fn run(args: ImageArgs, settings: Settings) -> Result<Code, LabError> {
    let began = Instant::now();
    let image = pack(&wanted(&settings)?).await.map_err(|e| LabError::failed("there is no image of this `lab`", e))?;
    let seconds = began.elapsed().as_secs_f64();
    match args.format {
        Format::Text => out::line(&text(&image, seconds))?,
        Format::Json => {
            let value = serde_json::json!({
                "tag": image.tag, "id": image.id, "bytes": image.size.0, "packed": image.packed, "seconds": seconds,
            });
            out::line(&value.to_string())?;
        }
    }
    Ok(Code::Ok)
}

/// The image that this installation's containers run.
///
/// # Errors
/// The home cannot be used.
pub fn wanted(settings: &Settings) -> Result<Wanted, LabError> {
    let owner = Home::new(&settings.home).owner().map_err(|e| LabError::failed("cannot use LAB_HOME", e))?;
    Ok(Wanted { exe: settings.exe.clone(), owner, given: settings.image.clone() })
}

fn text(image: &Image, seconds: f64) -> String {
    let megabytes = image.size.0 as f64 / f64::from(1 << 20);
    let how = if image.packed { "packed" } else { "was there; found" };
    format!("{}\n  {}\n  {megabytes:.1} MiB, {how} in {seconds:.2} s", image.tag, image.id)
}

#[cfg(test)]
mod tests {
    use lab_core::unit::Bytes;

    use super::*;

    #[test]
    fn it_is_told_what_the_image_is_and_whether_it_is_new() {
        let mut image =
            Image { tag: "lab:0".to_owned(), id: "sha256:1".to_owned(), size: Bytes(3 << 19), packed: true };
        assert_eq!(text(&image, 0.5), "lab:0\n  sha256:1\n  1.5 MiB, packed in 0.50 s");
        image.packed = false;
        assert!(text(&image, 0.5).ends_with("was there; found in 0.50 s"));
    }
}
