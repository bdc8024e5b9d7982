//! What of an ELF executable runs: the bytes that are loaded, the loader it names, and the libraries that this loader finds for it.
//! What else a container needs is in `contents`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::endian::{U16, U64};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::EnvError;
use crate::system::Doing as _;

/// How long a loader may take to find the libraries.
const LISTS_WITHIN: Duration = Duration::from_secs(10);

/// An executable, as far as it is loaded when it runs.
#[derive(Debug)]
pub(super) struct Executable {
    /// Without section headers, debug information and symbols, none of which is loaded.
    pub(super) bytes: Vec<u8>,
    /// Its loader; None when it is linked statically.
    pub(super) loader: Option<PathBuf>,
    /// In the words of Docker: `amd64`.
    pub(super) architecture: &'static str,
}

impl Executable {
    /// Reads it. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or is not a 64-bit Linux executable of an architecture that is known.
    pub(super) fn read(path: &Path) -> Result<Self, EnvError> {
        let read = std::fs::read(path).and_then(|bytes| Self::of(bytes).map_err(io::Error::other));
        read.doing(|| format!("pack {} into an image", path.display()))
    }

    fn of(mut bytes: Vec<u8>) -> Result<Self, &'static str> {
        let foreign = "it is not a 64-bit Linux executable; build the image with services/Dockerfile and name it in LAB_IMAGE_LAB";
        let header = FileHeader64::<Endianness>::parse(&*bytes).map_err(|_| foreign)?;
        let endian = header.endian().map_err(|_| foreign)?;
        let architecture = architecture(header.e_machine(endian)).ok_or("no image is known for its architecture")?;
        let segments = header.program_headers(endian, &*bytes).map_err(|_| "its program headers cannot be read")?;
        let mut loader = None;
        let table = header.e_phoff(endian) + u64::try_from(size_of_val(segments)).map_err(|_| foreign)?;
        let mut end = table;
        for segment in segments {
            end = end.max(segment.p_offset(endian).saturating_add(segment.p_filesz(endian)));
            let named = segment.interpreter(endian, &*bytes).map_err(|_| "the name of its loader cannot be read")?;
            loader = loader.or(named.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned())));
        }
        let end = usize::try_from(end).ok().filter(|end| *end <= bytes.len()).ok_or("it is cut off")?;
        bytes.truncate(end);
        let (header, _) =
            object::pod::from_bytes_mut::<FileHeader64<Endianness>>(&mut bytes).map_err(|()| "it is cut off")?;
        header.e_shoff = U64::new(endian, 0);
        header.e_shnum = U16::new(endian, 0);
        header.e_shstrndx = U16::new(endian, elf::SymbolSection(0));
        Ok(Self { bytes, loader, architecture })
    }
}

fn architecture(machine: elf::Machine) -> Option<&'static str> {
    match machine {
        elf::EM_X86_64 => Some("amd64"),
        elf::EM_AARCH64 => Some("arm64"),
        elf::EM_RISCV => Some("riscv64"),
        _ => None,
    }
}

/// The shared libraries of an executable, each where the loader finds it. The loader itself answers, as only it knows all its rules.
///
/// # Errors
/// The loader cannot be started, is silent, or misses a library.
pub(super) async fn libraries(executable: &Path, loader: &Path) -> Result<Vec<PathBuf>, EnvError> {
    let doing = || format!("list the libraries of {} by {}", executable.display(), loader.display());
    let mut command = tokio::process::Command::new(loader);
    command.arg("--list").arg(executable).env_remove("LD_PRELOAD").env_remove("LD_AUDIT").env_remove("LD_DEBUG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let silent = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {LISTS_WITHIN:?}"));
    let ended = tokio::time::timeout(LISTS_WITHIN, command.output()).await;
    let output = ended.map_err(silent).and_then(|output| output).doing(doing)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(said.trim().to_owned())).doing(doing);
    }
    listed(&String::from_utf8_lossy(&output.stdout)).map_err(io::Error::other).doing(doing)
}

/// Paths of a loader's list, of whose lines there are four kinds: `name => path (address)`, `path (address)`,
/// `name (address)` for what the kernel provides, and `name => not found`.
fn listed(text: &str) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim) {
        let (name, found) = line.split_once(" => ").unwrap_or((line, line));
        if found == "not found" {
            return Err(format!("{name} is not found"));
        }
        let path = found.rsplit_once(" (").map_or(found, |(path, _)| path);
        if path.starts_with('/') {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn a_list_of_libraries_is_read_in_the_words_of_both_libcs() {
        let glibc = "\tlinux-vdso.so.1 (0x00007f0fb734e000)\n\tlibm.so.6 => /lib/x86/libm.so.6 (0x00007f)\n\
                     \t/opt/odd (name)/libx.so (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = ["/lib/x86/libm.so.6", "/opt/odd (name)/libx.so", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(listed(glibc).unwrap(), paths.map(PathBuf::from));
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(listed(musl).unwrap(), ["/lib/ld-musl-x86_64.so.1"; 2].map(PathBuf::from));
        assert_eq!(listed("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(listed("\tlibz.so.1 => not found\n").unwrap_err(), "libz.so.1 is not found");
    }

    #[test]
    fn what_is_not_loaded_is_cut_off_and_the_rest_still_runs() {
        use std::os::unix::fs::PermissionsExt as _;
        let read = Executable::read(&own()).unwrap();
        let whole = std::fs::metadata(own()).unwrap().len();
        assert!((read.bytes.len() as u64) < whole, "a test's executable has symbols: {} of {whole}", read.bytes.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut");
        std::fs::write(&path, &read.bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let again = Executable::read(&path).unwrap();
        assert_eq!((again.bytes, &again.loader), (read.bytes, &read.loader), "nothing is left to cut");
        // Run from a copy that another process wrote: a child that another test forks meanwhile would keep ours busy.
        let copy = folder.path().join("copy");
        assert!(std::process::Command::new("cp").args([&path, &copy]).status().unwrap().success());
        let ran = std::process::Command::new(&copy).arg("--list").output().unwrap();
        assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("cut_off"), "{ran:?}");
    }

    #[tokio::test]
    async fn the_loader_names_libraries_that_are_there() {
        let loader = Executable::read(&own()).unwrap().loader.unwrap();
        let paths = libraries(&own(), &loader).await.unwrap();
        assert!(paths.iter().all(|path| path.is_file()), "{paths:?}");
        assert!(paths.iter().any(|path| path.to_string_lossy().contains("libc.")), "{paths:?}");
        let error = libraries(Path::new("/nowhere"), &loader).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }

    #[test]
    fn what_is_no_executable_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let error = Executable::read(&path).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("services/Dockerfile"), "{source}");
        let mut bytes = std::fs::read(own()).unwrap();
        bytes.truncate(5_000);
        assert!(Executable::of(bytes).is_err());
    }
}
