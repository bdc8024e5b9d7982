//! The flags of load-generator, and what is read from the files they name.

use std::path::{Path, PathBuf};

use clap::Args;
use kit::guard::Token;
use kit::{ServeArgs, ServeError};
use lab_core::control::{Endpoint, LoadPlan, PlanPhase, Share, Targets};
use lab_core::spec::{Shape, Target};
use lab_core::unit::{Rate, Span};

const MAX_RATE: Rate = Rate(100_000.0);
const SECOND: Span = Span::from_secs(1);
const LEASE: Span = Span::from_secs(30);

/// Flags of load-generator.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Flags that all services have.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// File with the bearer token of the control API; without it only the probes, /metrics and, on a loopback address, `GET /start` can be used
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
        let (plan, origin) = match &self.default_load {
            None => (lab_core::templates::default_plan(Target::UserService, "default"), "the default load".to_owned()),
            Some(path) => (read_plan(path)?, format!("the load in {}", path.display())),
        };
        let wrong = wrong_with(&plan, self.max_rate);
        if wrong.is_empty() {
            return Ok(plan);
        }
        Err(ServeError::Config(format!("{origin} cannot be driven: {}", wrong.join("; "))))
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
        let over = over_cap(peak(phase), plan.share, max_rate);
        wrong.extend(over.map(|over| format!("phase `{}`: {over}", phase.name)));
    }
    wrong
}

/// What is wrong with a rate of the whole schedule, requests a second, when this generator has that share of it.
pub(crate) fn over_cap(rate: f64, share: Share, max_rate: Rate) -> Option<String> {
    let own = if share.index < share.count { rate / f64::from(share.count) } else { 0.0 };
    (own > max_rate.0)
        .then(|| format!("{} is above this generator's --max-rate of {max_rate}; share the load", Rate(own)))
}

/// The highest rate of a plan, requests a second.
pub(crate) fn peak_of(plan: &LoadPlan) -> f64 {
    plan.phases.iter().map(peak).fold(0.0, f64::max)
}

/// The highest rate of a phase; of a trace the most arrivals in any second.
fn peak(phase: &PlanPhase) -> f64 {
    let Shape::Trace { offsets, .. } = &phase.rate else { return phase.rate.peak(phase.length).0 };
    let mut first = 0;
    let in_second = offsets.iter().enumerate().map(|(last, offset)| {
        while offset.0.saturating_sub(offsets[first].0) >= SECOND.0 {
            first += 1;
        }
        last + 1 - first
    });
    in_second.max().unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_peaks_in_its_fullest_second() {
        let offsets = [0, 900, 950, 999, 1_899, 1_900, 5_000].map(Span::from_millis).to_vec();
        let rate = Shape::Trace { file: "t".to_owned(), offsets };
        let phase = PlanPhase { name: "p".to_owned(), rate, length: Span::from_secs(10) };
        assert_eq!(peak(&phase), 4.0);
    }

    #[test]
    fn the_cap_is_on_a_generators_own_part() {
        let over = |index, count| over_cap(900.0, Share { index, count }, Rate(300.0)).is_some();
        assert!(over(0, 1) && over(1, 2));
        assert!(!over(2, 3) && !over(1, 1), "a third of it, and nothing");
    }
}
