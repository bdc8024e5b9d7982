//! A place of its own for tests of the environment `docker`. What is left in Docker is counted by its own command, not by `lab`'s records.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lab_env::home::Home;
use lab_env::image::{Wanted, pack, tidy};
use lab_env::{DockerConfig, DockerEnvironment};
use tokio::sync::OnceCell;

use crate::bench::{Bench, assert_nothing_left, clean_after_a_failure, lab};

/// One image for all tests, of an owner of their own, so that those of earlier builds can go.
const IMAGE_OWNER: &str = "lab-env-tests";

/// Gone when dropped.
pub struct Ground {
    folder: tempfile::TempDir,
    image: String,
}

/// The answer of Docker's own command, or what it complained of.
pub fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

impl Ground {
    /// None where there is no Docker: said loudly, or a failure when `LAB_REQUIRE` contains `docker`.
    pub async fn here() -> Option<Self> {
        if let Err(missing) = docker(&["version", "--format", "{{.Server.Version}}"]) {
            let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
            assert!(!required.contains("docker"), "no Docker here ({missing}), and LAB_REQUIRE wants it");
            // Past the test harness, which shows what a passing test prints to nobody.
            let line = format!("SKIPPED, NOT TESTED: the environment docker ({missing})\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        static IMAGE: OnceCell<String> = OnceCell::const_new();
        let image = IMAGE.get_or_init(|| async {
            let wanted =
                Wanted { exe: env!("CARGO_BIN_EXE_lab-env-fake").into(), owner: IMAGE_OWNER.to_owned(), given: None };
            let image = pack(&wanted).await.unwrap();
            tidy(&wanted, false).await.unwrap();
            image.tag
        });
        let image = image.await.clone();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lab-env-fake"), folder.path().join("lab")).unwrap();
        Some(Self { folder, image })
    }

    /// The executable, which is the reaper too.
    pub fn exe(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    /// The image of replicas.
    #[allow(dead_code, reason = "not every test binary that has this file needs it")]
    pub fn image(&self) -> &str {
        &self.image
    }

    pub fn home(&self) -> Home {
        Home::new(self.folder.path().join("home"))
    }

    pub fn runs(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn bench(&self, name: &str) -> Bench {
        let (lab, events) = lab(name, self.exe(), self.home().root(), self.runs());
        let environment =
            DockerEnvironment::new(DockerConfig { lab, image: Some(self.image.clone()), monitoring: false }).unwrap();
        Bench { environment: Arc::new(environment), events }
    }

    /// Names of all that carries this home's label.
    pub fn things(&self) -> Vec<String> {
        let label = format!("label=lab.owner={}", self.home().owner().unwrap());
        let lists: [&[&str]; 3] = [
            &["ps", "--all", "--format", "{{.Names}}"],
            &["volume", "ls", "--format", "{{.Name}}"],
            &["network", "ls", "--format", "{{.Name}}"],
        ];
        let named = lists.map(|list| docker(&[list, &["--filter", &label]].concat()).unwrap());
        named.iter().flat_map(|names| names.lines()).map(str::to_owned).collect()
    }

    /// Nothing of ours is in Docker, no data and no token is left.
    pub fn assert_clean(&self) {
        assert_eq!(self.things(), [""; 0]);
        // A holder's name without its lock is not believed: one that died before its reaper was on guard leaves it.
        assert_nothing_left(&self.home(), &["holder.json"]);
    }
}

impl Drop for Ground {
    /// A test that failed leaves nothing either.
    fn drop(&mut self) {
        clean_after_a_failure(&self.home());
    }
}
