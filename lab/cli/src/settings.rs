//! Where things are kept: `LAB_HOME` for labs that are up, `LAB_RUNS` for runs. What containers run: `LAB_IMAGE_LAB`. Read once, here.

use std::env;
use std::path::{Path, PathBuf};

use lab_core::spec::EnvironmentKind;
use lab_env::{ClusterRef, Endpoints};

use crate::args::{EnvName, With};
use crate::error::LabError;

/// Where things are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Labs that are up, their ledgers and data.
    pub home: PathBuf,
    /// Runs: journals and reports.
    pub runs: PathBuf,
    /// This program.
    pub exe: PathBuf,
    /// The image that containers of services run, instead of this program packed.
    pub image: Option<String>,
    /// Servers that are there already.
    pub endpoints: Endpoints,
    /// Prometheus and Grafana stand beside the services.
    pub monitoring: bool,
    /// The cluster that was named.
    pub cluster: Option<ClusterRef>,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// No home folder is known, or this program's own path is not.
    pub fn read() -> Result<Self, LabError> {
        let path = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let state = || path("XDG_STATE_HOME").or_else(|| Some(path("HOME")?.join(".local/state")));
        let home = path("LAB_HOME").or_else(|| Some(state()?.join("lab")));
        let home = home.ok_or_else(|| {
            LabError::input("neither LAB_HOME, XDG_STATE_HOME nor HOME is set")
                .hint("set LAB_HOME to a folder of yours")
        })?;
        let exe = env::current_exe().map_err(|e| LabError::failed("cannot find this program's own path", e))?;
        let runs = path("LAB_RUNS").unwrap_or_else(|| PathBuf::from("runs"));
        let home = std::path::absolute(&home).map_err(|e| LabError::failed("cannot resolve LAB_HOME", e))?;
        let image = env::var("LAB_IMAGE_LAB").ok().filter(|image| !image.is_empty());
        Ok(Self { home, runs, exe, image, endpoints: Endpoints::default(), monitoring: false, cluster: None })
    }

    /// On the cluster of the context that was typed, if one was.
    pub fn on(mut self, typed: Option<&EnvName>, kubeconfig: Option<&Path>) -> Self {
        if let Some(EnvName::Context(name)) = typed {
            let file = kubeconfig.map(|file| file.as_os_str().to_owned()).or_else(|| env::var_os("KUBECONFIG"));
            self.cluster = Some(ClusterRef::new(name, file.as_deref()));
        }
        self
    }

    /// With what was typed that stands beside the services.
    ///
    /// # Errors
    /// It cannot stand there.
    pub fn with(mut self, typed: &[With], environment: EnvironmentKind) -> Result<Self, LabError> {
        self.monitoring = typed.contains(&With::Monitoring);
        if self.monitoring && environment != EnvironmentKind::Docker {
            let problem = format!(
                "monitoring is made of containers, which cannot see replicas of environment {}",
                environment.name()
            );
            return Err(LabError::input(problem).hint("add --env docker"));
        }
        Ok(self)
    }

    /// With the servers that were typed or that variables name.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn with_endpoints(mut self, typed: &[String]) -> Result<Self, LabError> {
        let endpoints = Endpoints::read(typed, |name| env::var(name).ok());
        self.endpoints = endpoints.map_err(|e| LabError::refused("cannot use a server that was given", e))?;
        Ok(self)
    }

    /// The folder of one lab.
    pub fn lab(&self, name: &str) -> PathBuf {
        self.home.join("labs").join(name)
    }
}
