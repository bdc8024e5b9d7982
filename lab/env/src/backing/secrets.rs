//! Files with addresses and passwords in the lab's folder, which only its user enters.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::EnvError;
use crate::system::Doing as _;

/// Whose a file is to be: user and group. None: ours.
pub(crate) type Owner = Option<(u32, u32)>;

/// Writes a file that its owner reads and nobody writes; one that is there is replaced whole.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_secret(path: &Path, text: &str, owner: Owner) -> Result<(), EnvError> {
    write(path, text, 0o400, owner).doing(|| format!("write {}", path.display()))
}

/// Writes a file for a container whose user is not known before; the folder that it lies in keeps others from it.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_open(path: &Path, text: &str) -> Result<(), EnvError> {
    write(path, text, 0o444, None).doing(|| format!("write {}", path.display()))
}

fn write(path: &Path, text: &str, mode: u32, owner: Owner) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = Path::new(&draft);
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(text.as_bytes())?;
    // The mode asked for at creation is cut by the process's mask.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    if let Some((user, group)) = owner {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    file.sync_data()?;
    fs::rename(draft, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_secret_is_written_whole_with_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        // An engine's name has a dot, as an extension has.
        let path = folder.path().join("store.postgres");
        for text in ["postgres://lab:one@db/x", "postgres://lab:two@db/x"] {
            write_secret(&path, text, None).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
        }
        write_open(&folder.path().join("store.mysql"), "x").unwrap();
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "no draft is left");
    }
}
