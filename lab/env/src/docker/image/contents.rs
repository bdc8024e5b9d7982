//! Every file of the lab image: the executable, what its loader wants, and the few files that a process looks for at run time.
//! Nothing of it tells which machine or which time it was packed at.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::executable::{self, Executable};
use crate::EnvError;
use crate::system::{Doing as _, blocking};

/// The user that a container of the image runs as, unless told otherwise.
pub(super) const USER: u64 = 65532;
/// Where the executable stands. `/lab` is where containers find the files of their lab.
pub(super) const ENTRYPOINT: &str = "/bin/lab";

/// Where distributions keep the certificates that they trust; the first that is there is packed.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Where the AWS client looks for them; the other engines' drivers have theirs compiled in.
const CERTIFICATES_THERE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// One file or directory. Owned by root, so that the process cannot change what it runs, except for `owner`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Permission bits.
    pub(super) mode: u32,
    /// User and group.
    pub(super) owner: u64,
    /// What it holds; None for a directory.
    pub(super) bytes: Option<Vec<u8>>,
}

/// All of them, by absolute path, parents before what is in them.
#[derive(Debug)]
pub(super) struct Contents {
    /// By path.
    pub(super) entries: BTreeMap<String, Entry>,
    /// In the words of Docker: `amd64`.
    pub(super) architecture: &'static str,
    /// Directories in which the loader must look for libraries, wherever its own configuration says.
    pub(super) library_path: Vec<String>,
}

impl Contents {
    /// What an executable needs.
    ///
    /// # Errors
    /// It cannot be packed, or something that it needs cannot be read.
    pub(super) async fn of(exe: &Path) -> Result<Self, EnvError> {
        let path = exe.to_owned();
        let executable = blocking(move || Executable::read(&path)).await?;
        let libraries = match &executable.loader {
            Some(loader) => executable::libraries(exe, loader).await?,
            None => Vec::new(),
        };
        blocking(move || Self::gather(executable, libraries)).await
    }

    fn gather(executable: Executable, libraries: Vec<PathBuf>) -> Result<Self, EnvError> {
        let mut contents =
            Self { entries: BTreeMap::new(), architecture: executable.architecture, library_path: Vec::new() };
        contents.file(ENTRYPOINT, 0o755, executable.bytes);
        if let Some(loader) = &executable.loader {
            contents.file(absolute(loader)?, 0o755, read(loader)?);
        }
        for library in libraries.iter().filter(|library| Some(*library) != executable.loader.as_ref()) {
            contents.library(library)?;
        }
        contents.run_time()?;
        Ok(contents)
    }

    /// A library under the real path of its directory, where a search that the executable itself names finds it too.
    fn library(&mut self, path: &Path) -> Result<(), EnvError> {
        let doing = || format!("read the library {}", path.display());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput)).doing(doing);
        };
        let folder = parent.canonicalize().doing(doing)?;
        let folder_name = absolute(&folder)?.to_owned();
        let bytes = read(path)?;
        if name == "libc.so.6" && !resolves_names_itself(&bytes) {
            for module in ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"] {
                self.file(absolute(&folder.join(module))?, 0o755, read(&folder.join(module))?);
            }
        }
        self.file(absolute(&folder.join(name))?, 0o755, bytes);
        if !self.library_path.contains(&folder_name) {
            self.library_path.push(folder_name);
        }
        Ok(())
    }

    /// What is read or written while a process runs, and the places where a container's own files are mounted.
    fn run_time(&mut self) -> Result<(), EnvError> {
        let users = format!("root:x:0:0:root:/:/nonexistent\nlab:x:{USER}:{USER}:lab:/data:/nonexistent\n");
        self.file("/etc/passwd", 0o644, users.into_bytes());
        self.file("/etc/group", 0o644, format!("root:x:0:\nlab:x:{USER}:\n").into_bytes());
        self.file("/etc/nsswitch.conf", 0o644, b"hosts: files dns\n".to_vec());
        if let Some(found) = CERTIFICATES.into_iter().map(Path::new).find(|path| path.is_file()) {
            self.file(CERTIFICATES_THERE, 0o644, read(found)?);
        }
        self.directory("/lab", 0o755, 0);
        self.directory("/data", 0o700, USER);
        self.directory("/tmp", 0o1777, 0);
        Ok(())
    }

    fn directory(&mut self, path: &str, mode: u32, owner: u64) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry { mode, owner, bytes: None });
    }

    fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry { mode, owner: 0, bytes: Some(bytes) });
    }

    fn parents(&mut self, path: &str) {
        for (slash, _) in path.match_indices('/').skip(1) {
            let parent = Entry { mode: 0o755, owner: 0, bytes: None };
            self.entries.entry(path[..slash].to_owned()).or_insert(parent);
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EnvError> {
    std::fs::read(path).doing(|| format!("read {}", path.display()))
}

/// The path as text, when it is one that can stand in an image.
fn absolute(path: &Path) -> Result<&str, EnvError> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let text = path.to_str().filter(|_| plain && path.is_absolute());
    text.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
        .doing(|| format!("place {} in an image", path.display()))
}

/// Whether this C library finds hosts without loading a module by a name that no executable tells: glibc does since 2.34.
fn resolves_names_itself(libc: &[u8]) -> bool {
    let version = b"GLIBC_2.34\0";
    libc.windows(version.len()).any(|window| window == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_executable_comes_with_all_that_it_needs_and_the_same_each_time() {
        let exe = std::env::current_exe().unwrap();
        let contents = Contents::of(&exe).await.unwrap();
        let again = Contents::of(&exe).await.unwrap();
        assert_eq!(contents.entries, again.entries);
        let paths: Vec<&str> = contents.entries.keys().map(String::as_str).collect();
        for path in ["/bin/lab", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/data", "/lab", "/tmp"] {
            assert!(paths.contains(&path), "{path} is not in {paths:?}");
        }
        assert!(paths.iter().any(|path| path.contains("/ld-")), "no loader in {paths:?}");
        assert!(contents.library_path.iter().all(|folder| paths.contains(&folder.as_str())));
        for (path, entry) in &contents.entries {
            let parent = path.rsplit_once('/').unwrap().0;
            assert!(parent.is_empty() || contents.entries[parent].bytes.is_none(), "{path} is in no directory");
            assert!(entry.owner == 0 || path == "/data", "{path} can be changed by the process");
        }
    }

    #[test]
    fn paths_stay_inside_the_image() {
        for bad in ["lib/x.so", "/lib/../../x.so", "./x"] {
            assert!(absolute(Path::new(bad)).is_err(), "{bad}");
        }
        assert_eq!(absolute(Path::new("/lib64/ld.so")).unwrap(), "/lib64/ld.so");
    }

    #[test]
    fn an_older_c_library_brings_its_modules() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        for name in ["libc.so.6", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"] {
            std::fs::write(folder.join(name), "GLIBC_2.31\0").unwrap();
        }
        let executable = || Executable { bytes: Vec::new(), loader: None, architecture: "amd64" };
        let old = Contents::gather(executable(), vec![folder.join("libc.so.6")]).unwrap();
        assert!(old.entries.contains_key(folder.join("libnss_dns.so.2").to_str().unwrap()));
        std::fs::write(folder.join("libc.so.6"), "GLIBC_2.33\0GLIBC_2.34\0").unwrap();
        let new = Contents::gather(executable(), vec![folder.join("libc.so.6")]).unwrap();
        assert!(!new.entries.contains_key(folder.join("libnss_dns.so.2").to_str().unwrap()));
        assert_eq!(new.library_path, [folder.to_str().unwrap()]);
    }
}
