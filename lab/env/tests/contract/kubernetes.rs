//! A place of its own for tests of the environment `kubernetes`. What is left in the cluster is counted by `kubectl`, not by `lab`'s records.
//! `LAB_TEST_CONTEXT` names the context, `KUBECONFIG` its file, and `LAB_TEST_LOAD` a program that takes an image of this machine's Docker to
//! the cluster's nodes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lab_env::home::Home;
use lab_env::image::{Wanted, pack, tidy};
use lab_env::{ClusterRef, KubernetesConfig, KubernetesEnvironment};
use tokio::sync::OnceCell;

use crate::bench::{Bench, assert_nothing_left, clean_after_a_failure, lab};

/// One image for all tests, of an owner of their own, so that those of earlier builds can go.
const IMAGE_OWNER: &str = "lab-env-k8s-tests";

/// Gone when dropped.
pub struct Ground {
    folder: tempfile::TempDir,
    context: String,
    image: String,
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn setting(name: &str) -> Result<String, String> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} is not set"))
}

impl Ground {
    /// None where no cluster was named: said loudly, or a failure when `LAB_REQUIRE` contains `kubernetes`.
    pub async fn here() -> Option<Self> {
        let found = setting("LAB_TEST_CONTEXT").and_then(|context| {
            run("kubectl", &["--context", &context, "get", "--raw", "/readyz"])?;
            Ok((context, setting("LAB_TEST_LOAD")?))
        });
        let (context, load) = match found {
            Ok(found) => found,
            Err(missing) => {
                let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
                assert!(!required.contains("kubernetes"), "no cluster here ({missing}), and LAB_REQUIRE wants it");
                // Past the test harness, which shows what a passing test prints to nobody.
                let line = format!("SKIPPED, NOT TESTED: the environment kubernetes ({missing})\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                return None;
            }
        };
        static IMAGE: OnceCell<String> = OnceCell::const_new();
        let image = IMAGE.get_or_init(|| async {
            let wanted =
                Wanted { exe: env!("CARGO_BIN_EXE_lab-env-fake").into(), owner: IMAGE_OWNER.to_owned(), given: None };
            let image = pack(&wanted).await.unwrap();
            tidy(&wanted, false).await.unwrap();
            run(&load, &[&image.tag]).unwrap();
            image.tag
        });
        let image = image.await.clone();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lab-env-fake"), folder.path().join("lab")).unwrap();
        Some(Self { folder, context, image })
    }

    /// The image of replicas.
    #[allow(dead_code, reason = "not every test binary that has this file needs it")]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The context.
    #[allow(dead_code, reason = "not every test binary that has this file needs it")]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The answer of `kubectl`, or what it complained of.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        run("kubectl", &[&["--context", &self.context], arguments].concat())
    }

    /// The executable, which is the reaper too.
    pub fn exe(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    pub fn home(&self) -> Home {
        Home::new(self.folder.path().join("home"))
    }

    pub fn runs(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn bench(&self, name: &str) -> Bench {
        self.bench_of(name, &self.image)
    }

    /// With another image.
    pub fn bench_of(&self, name: &str, image: &str) -> Bench {
        let (lab, events) = lab(name, self.exe(), self.home().root(), self.runs());
        let cluster = ClusterRef::new(&*self.context, std::env::var_os("KUBECONFIG").as_deref());
        let config = KubernetesConfig { lab, cluster: Some(cluster), image: Some(image.to_owned()) };
        Bench { environment: Arc::new(KubernetesEnvironment::new(config).unwrap()), events }
    }

    /// Namespaces and APIServices that carry this home's label.
    pub fn things(&self) -> Vec<String> {
        let label = format!("lab.owner={}", self.home().owner().unwrap());
        let kinds = "namespaces,apiservices,clusterroles,clusterrolebindings";
        self.kubectl(&["get", kinds, "-l", &label, "-o", "name"]).unwrap().lines().map(str::to_owned).collect()
    }

    /// Nothing of ours is in the cluster, no data and no token is left here.
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
