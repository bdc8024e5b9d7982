//! An image that somebody else made: the one that is here, or, when it is not, pulled. What `lab` packs itself is `image`'s.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::{Stream, StreamExt as _};
use lab_core::event::ImageSeen;
use tokio::time::{Instant, timeout};

use super::call::{QUICK, Refusal, ask};
use crate::EnvError;

/// Longest silence of a registry in a pull.
const SILENCE: Duration = Duration::from_secs(60);
/// Between two sentences about one pull.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Gives the image by its name, as it is here; one that is not here is pulled, and `tell` hears how that goes, a sentence every
/// two seconds. `variable` is what names another image.
///
/// # Errors
/// It is not here and cannot be pulled; the error names the variable.
pub(crate) async fn ensure(
    docker: &Docker,
    image: &str,
    variable: &str,
    tell: impl FnMut(String) + Send,
) -> Result<ImageSeen, EnvError> {
    let looking = match ask(QUICK, docker.inspect_image(image)).await {
        Err(refusal) if refusal.is_gone() => {
            let refused = |refusal: Refusal| refusal.on(format!("pull image {image}; {variable} names another"));
            pull(docker, image, tell).await.map_err(refused)?;
            ask(QUICK, docker.inspect_image(image)).await
        }
        looked => looked,
    };
    let found =
        looking.map_err(|refusal| refusal.on(format!("say what image {image} is; {variable} names another")))?;
    Ok(ImageSeen { name: image.to_owned(), digest: digest(&found) })
}

/// What it is by its content: as its registry knows it, or, for one that comes from none, as this Docker does.
fn digest(found: &ImageInspect) -> String {
    let known = found.repo_digests.iter().flatten().find_map(|known| known.split_once('@'));
    known.map(|(_, digest)| digest.to_owned()).or_else(|| found.id.clone()).unwrap_or_default()
}

async fn pull(docker: &Docker, image: &str, tell: impl FnMut(String) + Send) -> Result<(), Refusal> {
    let options = CreateImageOptionsBuilder::new().from_image(&with_tag(image)).build();
    follow(docker.create_image(Some(options), None, None), image, tell).await
}

async fn follow(
    steps: impl Stream<Item = Result<CreateImageInfo, bollard::errors::Error>>,
    image: &str,
    mut tell: impl FnMut(String) + Send,
) -> Result<(), Refusal> {
    let mut steps = std::pin::pin!(steps);
    let (mut layers, mut told) = (Layers::default(), None::<Instant>);
    loop {
        match timeout(SILENCE, steps.next()).await {
            Err(_) => return Err(Refusal::Silent(SILENCE)),
            Ok(None) => return Ok(()),
            Ok(Some(step)) => layers.learn(ask(SILENCE, std::future::ready(step)).await?),
        }
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            tell(format!("pulling {image}: {layers}"));
        }
    }
}

/// Without a tag Docker would pull every one there is.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// How far the layers are, by their ids: bytes that are here, and bytes in all.
#[derive(Debug, Default)]
struct Layers(std::collections::BTreeMap<String, (u64, u64)>);

impl Layers {
    fn learn(&mut self, step: CreateImageInfo) {
        let (Some(id), Some(progress)) = (step.id, step.progress_detail) else { return };
        let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        let (Some(here), Some(all)) = (bytes(progress.current), bytes(progress.total)) else { return };
        // It is told of again when it is unpacked, from its first byte on.
        let known = self.0.entry(id).or_default();
        *known = (known.0.max(here), all);
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (here, all) = self.0.values().fold((0, 0), |sum, (here, all)| (sum.0 + here, sum.1 + all));
        match all {
            0 => f.write_str("begun"),
            all => write!(f, "{} of {} MB", here / 1_000_000, all / 1_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;
    use futures_util::stream;

    use super::*;

    #[test]
    fn one_tag_is_pulled() {
        for (image, pulled) in [
            ("redis", "redis:latest"),
            ("redis:8", "redis:8"),
            ("localhost:5000/redis", "localhost:5000/redis:latest"),
            ("a/b@sha256:00", "a/b@sha256:00"),
        ] {
            assert_eq!(with_tag(image), pulled);
        }
    }

    #[test]
    fn the_digest_is_the_registrys_where_there_is_one() {
        let found = |digests: &[&str]| ImageInspect {
            id: Some("sha256:1".to_owned()),
            repo_digests: Some(digests.iter().map(|digest| (*digest).to_owned()).collect()),
            ..ImageInspect::default()
        };
        assert_eq!(digest(&found(&[])), "sha256:1");
        assert_eq!(digest(&found(&["redis@sha256:2"])), "sha256:2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pull_tells_how_far_it_is_and_fails_with_what_docker_says() {
        let step = |id: &str, current, total| {
            let progress = ProgressDetail { current: Some(current), total: Some(total) };
            let (id, progress_detail) = (Some(id.to_owned()), Some(progress));
            Ok(CreateImageInfo { id, progress_detail, ..CreateImageInfo::default() })
        };
        let mut told = Vec::new();
        let steps = [step("a", 1_000_000, 4_000_000), step("b", 2_000_000, 6_000_000), step("a", 1, 4_000_000)];
        let slow = stream::iter(steps).then(|step| async {
            tokio::time::sleep(TELL_EVERY).await;
            step
        });
        follow(slow, "redis:8", |text| told.push(text)).await.unwrap();
        let last = "pulling redis:8: 3 of 10 MB";
        assert_eq!(told, ["pulling redis:8: 1 of 4 MB", last, last]);

        let failing =
            stream::iter([Err(bollard::errors::Error::DockerStreamError { error: "toomanyrequests".into() })]);
        let refusal = follow(failing, "redis:8", |_| {}).await.unwrap_err();
        assert!(refusal.to_string().contains("toomanyrequests"), "{refusal}");
        let silent = follow(stream::pending(), "redis:8", |_| {}).await.unwrap_err();
        assert!(matches!(silent, Refusal::Silent(SILENCE)), "{silent}");
    }
}
