//! The flags of load-generator, and what is read from the files they name.

use std::path::{Path, PathBuf};

use clap::Args;
use kit::guard::Token;
use kit::{ServeArgs, ServeError};
use lab_core::control::{Endpoint, LoadPlan, Targets};
use lab_core::spec::Target;
use lab_core::unit::{Rate, Span};

const MAX_RATE: Rate = Rate(100_000.0);
const LEASE: Span = Span::from_secs(30);

/// Flags of load-generator.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Flags that all services have.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// File with the bearer token of the control API; without it only `GET /start`, the probes and /metrics can be used
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
    /// JSON file with the load that `GET /start` begins [default: user-service's mix, 50/s for a minute]
    #[arg(long, value_name = "FILE")]
    pub default_load: Option<PathBuf>,
    /// Address to call until the control API names others; may be repeated
    #[arg(long = "target", value_name = "HOST:PORT")]
    pub targets: Vec<String>,
    /// Load given by `PUT /load` is stopped when its conductor has made no call for so long
    #[arg(long, default_value_t = LEASE, value_name = "TIME")]
    pub lease: Span,
    /// Highest rate that a load may offer
    #[arg(long, default_value_t = MAX_RATE, value_name = "RATE")]
    pub max_rate: Rate,
    /// Threads that send
    #[arg(long, default_value_t = 1, value_name = "THREADS", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub senders: u32,
}

impl Config {
    /// The token of the file, or one that nobody knows.
    pub(crate) fn token(&self) -> Result<Token, ServeError> {
        self.token_file.as_deref().map_or_else(Token::generate, Token::from_file)
    }

    /// The load that `GET /start` begins.
    pub(crate) fn default_plan(&self) -> Result<LoadPlan, ServeError> {
        let Some(path) = &self.default_load else {
            return Ok(lab_core::templates::default_plan(Target::UserService, "default"));
        };
        let plan = read_plan(path)?;
        let wrong = wrong_with(&plan, self.max_rate);
        if wrong.is_empty() {
            return Ok(plan);
        }
        Err(ServeError::Config(format!("the load in {} cannot be driven: {}", path.display(), wrong.join("; "))))
    }

    /// The addresses to begin with.
    pub(crate) fn first_targets(&self) -> Targets {
        let endpoint = |address: &String| Endpoint { replica: address.clone(), address: address.clone() };
        Targets { version: 0, endpoints: self.targets.iter().map(endpoint).collect() }
    }
}

fn read_plan(path: &Path) -> Result<LoadPlan, ServeError> {
    let failed = |source| ServeError::Open { role: "default load", address: path.display().to_string(), source };
    let text = std::fs::read(path).map_err(|error| failed(error.into()))?;
    serde_json::from_slice(&text).map_err(|error| failed(error.into()))
}

/// Everything that is wrong with a plan for this generator.
pub(crate) fn wrong_with(plan: &LoadPlan, max_rate: Rate) -> Vec<String> {
    let mut wrong = load_engine::validate(plan);
    for phase in &plan.phases {
        let peak = phase.rate.peak(phase.length);
        wrong.extend((peak.0 > max_rate.0).then(|| {
            format!("phase `{}`: {peak} is above this generator's --max-rate of {max_rate}; share the load", phase.name)
        }));
    }
    wrong
}
