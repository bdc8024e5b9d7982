//! The lab image as an archive that `docker load` takes: one layer, its description, its tag. Equal contents make equal bytes.

use std::io;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::contents::{Contents, ENTRYPOINT, Entry, USER};
use super::{IMAGE, IMAGE_OWNER};

/// How many hex digits of the hash a tag has.
const TAG_DIGITS: usize = 12;

/// Contents as one layer. What is left to say of an image is whose it is.
#[derive(Debug)]
pub(super) struct Packed {
    layer: Vec<u8>,
    /// `sha256:…` of the layer.
    pub(super) digest: String,
    /// `lab:` and the beginning of the hash of all that is in the image and said of it.
    pub(super) tag: String,
    /// In the words of Docker: `amd64`.
    pub(super) architecture: &'static str,
    library_path: String,
}

impl Packed {
    /// Packs them.
    ///
    /// # Errors
    /// A path cannot be written into an archive.
    pub(super) fn of(contents: &Contents) -> io::Result<Self> {
        let mut layer = Builder::new(Vec::new());
        for (path, entry) in &contents.entries {
            append(&mut layer, path.trim_start_matches('/'), entry)?;
        }
        let layer = layer.into_inner()?;
        let mut packed = Self {
            digest: format!("sha256:{}", hex(&layer)),
            layer,
            tag: String::new(),
            architecture: contents.architecture,
            library_path: contents.library_path.join(":"),
        };
        packed.tag = format!("lab:{}", &hex(packed.description(None).as_bytes())[..TAG_DIGITS]);
        Ok(packed)
    }

    /// The archive of the image, for the installation that packs it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn archive(&self, owner: &str) -> io::Result<Vec<u8>> {
        let description = self.description(Some(owner));
        let name = format!("{}.json", hex(description.as_bytes()));
        let manifest = json!([{ "Config": name, "RepoTags": [self.tag], "Layers": ["layer.tar"] }]);
        let mut archive = Builder::new(Vec::with_capacity(self.layer.len() + 16_384));
        append_file(&mut archive, "manifest.json", manifest.to_string().as_bytes())?;
        append_file(&mut archive, &name, description.as_bytes())?;
        append_file(&mut archive, "layer.tar", &self.layer)?;
        archive.into_inner()
    }

    /// The image's configuration, whose hash is its id. No time in it, so that equal contents are one image.
    fn description(&self, owner: Option<&str>) -> String {
        let mut labels = json!({ IMAGE: "1" });
        if let Some(owner) = owner {
            labels[IMAGE_OWNER] = owner.into();
        }
        let environment: Vec<String> = Some(&self.library_path)
            .filter(|path| !path.is_empty())
            .map(|path| format!("LD_LIBRARY_PATH={path}"))
            .into_iter()
            .collect();
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "User": format!("{USER}:{USER}"),
                "Env": environment,
                "Entrypoint": [ENTRYPOINT],
                "WorkingDir": "/",
                "Labels": labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [self.digest] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "lab image" }],
        })
        .to_string()
    }
}

fn append(layer: &mut Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = header(entry.mode, entry.owner, entry.bytes.as_deref().unwrap_or_default());
    match &entry.bytes {
        Some(bytes) => layer.append_data(&mut header, path, &**bytes),
        None => {
            header.set_entry_type(EntryType::Directory);
            layer.append_data(&mut header, format!("{path}/"), io::empty())
        }
    }
}

fn append_file(archive: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(0o644, 0, bytes), path, bytes)
}

fn header(mode: u32, owner: u64, bytes: &[u8]) -> Header {
    let mut header = Header::new_gnu();
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    header
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn contents(text: &str) -> Contents {
        let directory = Entry { mode: 0o1777, owner: 0, bytes: None };
        let file = Entry { mode: 0o755, owner: USER, bytes: Some(text.as_bytes().to_vec()) };
        let long = format!("/tmp/{}", "x".repeat(200));
        let entries = [("/tmp".to_owned(), directory), (long, file.clone()), ("/tmp/lab".to_owned(), file)];
        Contents { entries: entries.into(), architecture: "amd64", library_path: vec!["/lib".to_owned()] }
    }

    fn files(archive: &[u8]) -> BTreeMap<String, (u32, u64, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            let path = entry.path().unwrap().display().to_string();
            (path, (entry.header().mode().unwrap(), entry.header().uid().unwrap(), bytes))
        });
        entries.collect()
    }

    #[test]
    fn equal_contents_are_one_image_and_others_another() {
        let (one, again, other) = (contents("a"), contents("a"), contents("b"));
        let (one, again, other) = (Packed::of(&one).unwrap(), Packed::of(&again).unwrap(), Packed::of(&other).unwrap());
        assert_eq!((&one.tag, &one.digest), (&again.tag, &again.digest));
        assert_eq!(one.archive("me").unwrap(), again.archive("me").unwrap());
        assert_ne!(one.archive("me").unwrap(), again.archive("you").unwrap());
        assert_ne!(one.tag, other.tag);
        assert_eq!(one.tag.len(), "lab:".len() + TAG_DIGITS);
    }

    #[test]
    fn the_archive_holds_what_was_packed_and_says_so_truly() {
        let packed = Packed::of(&contents("a")).unwrap();
        let outer = files(&packed.archive("me").unwrap());
        let manifest: serde_json::Value = serde_json::from_slice(&outer["manifest.json"].2).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], packed.tag);
        let name = manifest[0]["Config"].as_str().unwrap();
        assert_eq!(name, format!("{}.json", hex(&outer[name].2)), "it is named by its hash");
        let said: serde_json::Value = serde_json::from_slice(&outer[name].2).unwrap();
        assert_eq!(said["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&outer["layer.tar"].2)));
        assert_eq!(said["config"]["User"], "65532:65532");
        assert_eq!(said["config"]["Entrypoint"], json!(["/bin/lab"]));
        assert_eq!(said["config"]["Labels"], json!({ "lab.image": "1", "lab.image.owner": "me" }));
        let layer = files(&outer["layer.tar"].2);
        assert_eq!(layer["tmp/"], (0o1777, 0, Vec::new()));
        assert_eq!(layer["tmp/lab"], (0o755, USER, b"a".to_vec()));
        assert_eq!(layer.len(), 3);
    }
}
