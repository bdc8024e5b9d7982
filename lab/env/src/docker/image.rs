//! The lab image: this program and what its loader wants, FROM scratch, without a registry or a Dockerfile. It is named by what is in
//! it, so it is packed once and kept; what runs in containers is what was built. Images of servers are not made here.

mod archive;
mod contents;
mod executable;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ImportImageOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use lab_core::unit::Bytes;

use self::archive::Packed;
use self::contents::Contents;
use super::call::{Asked as _, QUICK, Refusal, SLOW, ask};
use super::engine::Engine;
use crate::EnvError;
use crate::system::{Doing as _, blocking};

/// The label of every lab image.
const IMAGE: &str = "lab.image";
/// The label that carries the id of the installation that packed it. Not the label of other things: a container has the labels of its
/// image too, and one that somebody else starts from it is not ours.
const IMAGE_OWNER: &str = "lab.image.owner";
/// How long Docker may take to load an image.
const LOADS_WITHIN: Duration = Duration::from_secs(120);
/// The variable that names an image to use instead.
const GIVEN: &str = "LAB_IMAGE_LAB";

/// Which image is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The executable to pack.
    pub exe: PathBuf,
    /// The installation that packs it.
    pub owner: String,
    /// An image that is used as it is instead (`LAB_IMAGE_LAB`): from `services/Dockerfile`, where this program is none for Linux.
    pub given: Option<String>,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What containers are started from: `lab:` and twelve hex digits.
    pub tag: String,
    /// `sha256:…`; tells what is in it for ever.
    pub id: String,
    /// All its files together, uncompressed.
    pub size: Bytes,
    /// Whether it was packed now, or there before.
    pub packed: bool,
}

/// What became of lab images that nothing uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tidied {
    /// Tags, or ids of images without one, that are removed, or would be.
    pub removed: Vec<String>,
    /// Those that could not be, each with why not.
    pub left: Vec<String>,
}

/// Connects to Docker and sees to it that the image is there.
///
/// # Errors
/// Docker cannot be used, or as `ensure`.
pub async fn pack(wanted: &Wanted) -> Result<Image, EnvError> {
    ensure(&Engine::connect().await?, wanted).await
}

/// Removes this installation's lab images that no container uses, except the one of this executable. Without Docker there are none.
///
/// # Errors
/// Docker does not say which images there are.
pub async fn tidy(wanted: &Wanted, dry_run: bool) -> Result<Tidied, EnvError> {
    let Ok(docker) = Engine::connect().await else { return Ok(Tidied::default()) };
    let idle = unused(&docker, &wanted.owner).await?;
    if idle.is_empty() {
        return Ok(Tidied::default());
    }
    // An executable that cannot be packed has no image to keep.
    let keep = packed(&wanted.exe).await.map(|packed| packed.tag).ok();
    let mut tidied = Tidied::default();
    for (id, name) in idle.into_iter().filter(|(_, name)| Some(name) != keep.as_ref()) {
        match if dry_run { Ok(()) } else { remove(&docker, &id).await } {
            Ok(()) => tidied.removed.push(name),
            // A container came meanwhile.
            Err(refusal) if refusal.is_done() => {}
            Err(refusal) => tidied.left.push(format!("image {name}: {refusal}; remove it with `docker rmi {id}`")),
        }
    }
    Ok(tidied)
}

/// Sees to it that the image is there.
///
/// # Errors
/// The executable cannot be packed, the image that is given is not there, or Docker does not take it.
pub(crate) async fn ensure(docker: &Docker, wanted: &Wanted) -> Result<Image, EnvError> {
    if let Some(given) = &wanted.given {
        let found = inspect(docker, given).await?.ok_or_else(|| missing(given))?;
        return Ok(image(given.clone(), found, false));
    }
    let packed = packed(&wanted.exe).await?;
    if let Some(found) = inspect(docker, &packed.tag).await?.filter(|found| holds(found, &packed.digest)) {
        return Ok(image(packed.tag, found, false));
    }
    check_architecture(docker, packed.architecture).await?;
    let owner = wanted.owner.clone();
    let archiving = || format!("pack {} into an image", wanted.exe.display());
    let (tag, digest) = (packed.tag.clone(), packed.digest.clone());
    let archive = blocking(move || Ok(packed.archive(&owner))).await?.doing(archiving)?;
    load(docker, archive).await.asked(|| format!("load image {tag}"))?;
    let found = inspect(docker, &tag).await?.filter(|found| holds(found, &digest));
    let lost = || EnvError::Docker {
        doing: format!("keep image {tag}"),
        source: io::Error::other("it was loaded and is not there; `docker system df` says whether there is space")
            .into(),
    };
    Ok(image(tag.clone(), found.ok_or_else(lost)?, true))
}

async fn packed(exe: &Path) -> Result<Packed, EnvError> {
    let contents = Contents::of(exe).await?;
    let packed = blocking(move || Ok(Packed::of(&contents))).await?;
    packed.doing(|| format!("pack {} into an image", exe.display()))
}

fn missing(given: &str) -> EnvError {
    EnvError::Docker {
        doing: format!("find image {given}, which {GIVEN} names"),
        source: io::Error::other(format!(
            "build it (`docker build -f services/Dockerfile -t {given} .`), pull it, or unset {GIVEN}"
        ))
        .into(),
    }
}

fn image(tag: String, found: ImageInspect, packed: bool) -> Image {
    let size = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    Image { tag, id: found.id.unwrap_or_default(), size: Bytes(size), packed }
}

/// The image of a name, if there is one.
async fn inspect(docker: &Docker, name: &str) -> Result<Option<ImageInspect>, EnvError> {
    match ask(QUICK, docker.inspect_image(name)).await {
        Err(refusal) if refusal.is_gone() => Ok(None),
        found => found.map(Some).asked(|| format!("show image {name}")),
    }
}

/// Whether an image is this layer and nothing else, whoever tagged it.
fn holds(found: &ImageInspect, digest: &str) -> bool {
    found.root_fs.as_ref().and_then(|files| files.layers.as_deref()).is_some_and(|layers| layers == [digest])
}

async fn check_architecture(docker: &Docker, ours: &str) -> Result<(), EnvError> {
    let version = ask(QUICK, docker.version()).await.asked(|| "say which machine it runs on".to_owned())?;
    match version.arch {
        Some(theirs) if theirs != ours => {
            let problem = format!(
                "it runs on {theirs}, this `lab` is for {ours}; build the image there with services/Dockerfile"
            );
            let source = io::Error::other(format!("{problem} and name it in {GIVEN}")).into();
            Err(EnvError::Docker { doing: "take this program as an image".to_owned(), source })
        }
        _ => Ok(()),
    }
}

async fn load(docker: &Docker, archive: Vec<u8>) -> Result<(), Refusal> {
    let answers = docker.import_image(ImportImageOptions::default(), bollard::body_full(archive.into()), None);
    ask(LOADS_WITHIN, answers.map(|answer| answer.map(drop)).try_collect::<Vec<()>>()).await.map(drop)
}

/// Id and name of each lab image of this owner that no container uses and that nobody gave another name.
async fn unused(docker: &Docker, owner: &str) -> Result<Vec<(String, String)>, EnvError> {
    let labels = vec![format!("{IMAGE}=1"), format!("{IMAGE_OWNER}={owner}")];
    let ours = ListImagesOptionsBuilder::default().filters(&HashMap::from([("label", labels)])).build();
    let images = ask(QUICK, docker.list_images(Some(ours))).await.asked(|| "list images".to_owned())?;
    let all = ListContainersOptionsBuilder::default().all(true).build();
    let containers = ask(QUICK, docker.list_containers(Some(all))).await.asked(|| "list containers".to_owned())?;
    let used: HashSet<String> = containers.into_iter().filter_map(|container| container.image_id).collect();
    let idle = images.into_iter().filter(|image| !used.contains(&image.id));
    let named = idle.filter_map(|image| {
        // Docker's word for an image without a name.
        let tags: Vec<String> = image.repo_tags.into_iter().filter(|tag| tag != "<none>:<none>").collect();
        let name = tags.first().unwrap_or(&image.id).clone();
        tags.iter().all(|tag| tag.starts_with("lab:")).then_some((image.id, name))
    });
    Ok(named.collect())
}

/// Never by force: Docker refuses when a container that came meanwhile uses it.
async fn remove(docker: &Docker, id: &str) -> Result<(), Refusal> {
    let gently = RemoveImageOptionsBuilder::default().force(false).build();
    match ask(SLOW, docker.remove_image(id, Some(gently), None)).await {
        Err(refusal) if !refusal.is_gone() => Err(refusal),
        _ => Ok(()),
    }
}
