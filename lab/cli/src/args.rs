//! The command line as typed. What the words mean is settled in `cmd/`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use lab_core::unit::Span;

use crate::config::ThemeName;
use crate::instant::{At, Size, column};

/// Brings services up, drives honest load, watches the autoscaler act, and writes a report that can be checked.
#[derive(Debug, Parser)]
#[command(name = "lab", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Args {
    /// What to do; without one, `lab` lists what can be done.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

const AFTER_HELP: &str = "Exit codes: 0 ok, 1 an expectation failed, 2 bad input, 3 the environment failed, \
4 the measurement is invalid, 5 done but something was left running, 130 interrupted";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Bring services and their backing services up and leave them
    Up(Up),
    /// Remove a lab that is up, and all that it made
    Down(Down),
    /// Show what is up, since when, and where it answers
    Status(Status),
    /// Run all trials of an experiment and write its report
    Experiment(Experiment),
    /// Show what an experiment would create, for how long, and check all that can be checked
    Plan(Plan),
    /// Drive load at one URL
    Load(Load),
    /// List runs, newest last
    Runs(Runs),
    /// Write a run's report anew from its journal
    Report(Report),
    /// Play a run again on the live screen, from its journal
    Replay(Replay),
    /// Show a lab or a run that another process has up on the live screen
    Watch(Watch),
    /// Print what the live screen showed at an instant of a run
    Frame(Frame),
    /// Run one of the services in the foreground
    Serve(Box<Serve>),
    /// Pack this program as the image that containers run
    Image(Image),
    /// Say what is missing on this machine and how to get it
    Doctor(Doctor),
    /// Remove what earlier labs left behind
    Clean(Clean),
    /// Run the autoscaling engine over recorded inputs, a result a line
    Hpa(Hpa),
    /// Print shell completions
    Completions(Completions),
    /// Remove what a lab made once its process is gone
    #[command(name = "__reap", hide = true)]
    Reap(Reap),
    /// Ask a backing service, or make and remove a place at one
    #[command(name = "__backing", hide = true)]
    Backing(Backing),
    /// Make the Secrets of a lab from within its namespace
    #[command(name = "__secrets", hide = true)]
    Secrets(Secrets),
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Where a lab runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EnvName {
    /// The embedded default.
    #[default]
    Auto,
    /// Child processes, SQLite, no server to install.
    Local,
    /// Containers of this machine's Docker, real servers among them.
    Docker,
    /// Pods of the cluster that this context names; never the current one because it happens to be current.
    Context(String),
}

impl FromStr for EnvName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(':')) {
            ("auto", _) => Ok(Self::Auto),
            ("local", _) => Ok(Self::Local),
            ("docker", _) => Ok(Self::Docker),
            (_, Some(("context", name))) if !name.is_empty() => Ok(Self::Context(name.to_owned())),
            ("kubernetes" | "context" | "context:", _) => {
                Err("name the context: context:NAME; `kubectl config get-contexts` shows what there is".to_owned())
            }
            ("minikube" | "eks", _) => {
                Err("it is known, but not available in this version; make the cluster and write context:NAME"
                    .to_owned())
            }
            _ => Err("environments are auto, local, docker and context:NAME".to_owned()),
        }
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Local => f.write_str("local"),
            Self::Docker => f.write_str("docker"),
            Self::Context(name) => write!(f, "context:{name}"),
        }
    }
}

/// What can stand beside the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// Prometheus, and Grafana where its image can be had; with `--env docker`.
    Monitoring,
}

/// `lab up`
#[derive(Debug, ClapArgs)]
pub struct Up {
    /// Name of the lab; two labs of one name cannot be up at once
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// Where it runs: local, docker, or context:NAME for the cluster of a Kubernetes context
    #[arg(long = "env", value_name = "ENV", default_value_t)]
    pub environment: EnvName,
    /// The file that has the context; without it KUBECONFIG, then ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Database of the services: sqlite, memory, postgres, mysql, mongodb, dynamodb
    #[arg(long)]
    pub store: Option<String>,
    /// Queue of message-service: sqlite, rabbitmq, kafka, sqs
    #[arg(long)]
    pub queue: Option<String>,
    /// Cache in front of reads: none, memory, redis
    #[arg(long)]
    pub cache: Option<String>,
    /// How user-service creates: direct, queued
    #[arg(long)]
    pub create: Option<String>,
    /// Change any field of the spec: --set services.user-service.replicas=2
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Use a server that is there already, as in `store.postgres=postgres://USER:PASSWORD@HOST/DATABASE` or `queue.kafka=@FILE`; the
    /// variable LAB_ENDPOINT_STORE_POSTGRES and the like do the same
    #[arg(long = "endpoint", value_name = "NAME=ADDRESS")]
    pub endpoints: Vec<String>,
    /// What stands beside the services
    #[arg(long, value_enum)]
    pub with: Vec<With>,
    /// Leave a supervisor behind and return once everything is ready
    #[arg(long)]
    pub detach: bool,
    /// Sentences instead of the live screen
    #[arg(long)]
    pub plain: bool,
    /// How the screen looks
    #[command(flatten)]
    pub look: LookArgs,
    /// How addresses are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Set by `--detach` for the process it leaves behind: where it writes its addresses
    #[arg(long, hide = true)]
    pub supervise: bool,
}

/// `lab down`
#[derive(Debug, ClapArgs)]
pub struct Down {
    /// Name of the lab
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// Every lab that is up
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
}

/// `lab status`
#[derive(Debug, ClapArgs)]
pub struct Status {
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What experiments are read from.
#[derive(Debug, ClapArgs)]
pub struct SpecArgs {
    /// An experiment's name (see `lab`) or a YAML file
    pub experiment: String,
    /// Where it runs, instead of what the spec says: local, docker, or context:NAME for the cluster of a Kubernetes context
    #[arg(long = "env", value_name = "ENV")]
    pub environment: Option<EnvName>,
    /// The file that has the context; without it KUBECONFIG, then ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Change any field of the spec: --set load.connections=32
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Use a server that is there already, as in `store.postgres=postgres://USER:PASSWORD@HOST/DATABASE` or `queue.kafka=@FILE`; the
    /// variable LAB_ENDPOINT_STORE_POSTGRES and the like do the same
    #[arg(long = "endpoint", value_name = "NAME=ADDRESS")]
    pub endpoints: Vec<String>,
}

/// `lab experiment`
#[derive(Debug, ClapArgs)]
pub struct Experiment {
    /// What is run
    #[command(flatten)]
    pub spec: SpecArgs,
    /// What stands beside the services, in each trial
    #[arg(long, value_enum)]
    pub with: Vec<With>,
    /// Sentences instead of the live screen
    #[arg(long)]
    pub plain: bool,
    /// How the screen looks
    #[command(flatten)]
    pub look: LookArgs,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `lab plan`
#[derive(Debug, ClapArgs)]
pub struct Plan {
    /// What would be run
    #[command(flatten)]
    pub spec: SpecArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `lab load`
#[derive(Debug, ClapArgs)]
pub struct Load {
    /// Where to: http://host:port/path
    pub url: String,
    /// Offered rate: 500, 500/s; without it, as many as the connections carry
    #[arg(short, long)]
    pub rate: Option<String>,
    /// Connections
    #[arg(short, long, default_value_t = 50)]
    pub connections: u32,
    /// How long
    #[arg(short, long, default_value = "10s", conflicts_with = "requests")]
    pub duration: String,
    /// How many requests, instead of how long
    #[arg(short = 'n', long)]
    pub requests: Option<u64>,
    /// Method
    #[arg(short, long, default_value = "GET")]
    pub method: String,
    /// Header line: -H "Name: value"
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Body; @FILE reads it from a file
    #[arg(short = 'b', long)]
    pub body: Option<String>,
    /// Content type of the body
    #[arg(short = 'T', long)]
    pub content_type: Option<String>,
    /// Time after which a request without an answer has failed
    #[arg(short, long, default_value = "10s")]
    pub timeout: String,
    /// How arrivals are spaced with a rate: poisson, constant
    #[arg(long, default_value = "poisson")]
    pub arrivals: String,
    /// Seed of arrivals
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Sentences instead of the live screen
    #[arg(long)]
    pub plain: bool,
    /// How the screen looks
    #[command(flatten)]
    pub look: LookArgs,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `lab runs`
#[derive(Debug, ClapArgs)]
pub struct Runs {
    /// How they are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `lab report`
#[derive(Debug, ClapArgs)]
pub struct Report {
    /// A run's id, a beginning or an end of it, its folder, or `last`
    pub run: String,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a screen looks.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct LookArgs {
    /// Its colours
    #[arg(long, value_enum)]
    pub theme: Option<ThemeName>,
    /// Only characters that every terminal has
    #[arg(long)]
    pub ascii: bool,
}

/// `lab replay`
#[derive(Debug, ClapArgs)]
pub struct Replay {
    /// A run's id, a beginning or an end of it, its folder, `last`, or `demo`
    pub run: String,
    /// Where it begins: 1:19.5 or 79.5s since the load began, run:81.25s since the run began, end
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub at: Option<At>,
    /// How many times faster than it was; the demo plays at 20, else 1
    #[arg(long, value_parser = speed)]
    pub speed: Option<f64>,
    /// How the screen looks
    #[command(flatten)]
    pub look: LookArgs,
    /// Sentences instead of the screen
    #[arg(long)]
    pub plain: bool,
}

/// A speed of a replay.
fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| (0.1..=1_000.0).contains(speed));
    speed.ok_or_else(|| "a speed is a number from 0.1 to 1000".to_owned())
}

/// `lab watch`
#[derive(Debug, ClapArgs)]
pub struct Watch {
    /// Name of the lab, or id of the run; without it, the only one that is up
    pub name: Option<String>,
    /// How the screen looks
    #[command(flatten)]
    pub look: LookArgs,
}

/// `lab frame`
#[derive(Debug, ClapArgs)]
pub struct Frame {
    /// A run's id, a beginning or an end of it, its folder, `last`, or `demo`
    pub run: String,
    /// When: 1:19.5 or 79.5s since the load of the trial began, run:81.25s since the run began, end
    #[arg(long, value_name = "TIME", default_value = "end", allow_hyphen_values = true)]
    pub at: At,
    /// Columns and rows
    #[arg(long, value_name = "WxH", default_value = "100x30")]
    pub size: Size,
    /// As what it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: FrameFormat,
    /// How it looks
    #[command(flatten)]
    pub look: LookArgs,
    /// Which trial, from 1; without it, the newest at that time
    #[arg(long, value_name = "NUMBER")]
    pub trial: Option<NonZeroUsize>,
    /// With the cursor at that time, over all that is known of the trial
    #[arg(long)]
    pub scrub: bool,
    /// What stands below the lanes
    #[arg(long, value_enum)]
    pub panel: Option<PanelName>,
    /// How long a column is: 2s; without it, so that the planned load fits
    #[arg(long, value_name = "LENGTH", value_parser = column)]
    pub zoom: Option<Span>,
    /// With another variant's trial behind
    #[arg(long)]
    pub ghost: bool,
    /// By how much the trial differs from another variant's
    #[arg(long)]
    pub difference: bool,
    /// Only lines and rows of the panel that contain this
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub filter: Option<String>,
}

/// As what a frame is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FrameFormat {
    /// Characters.
    #[default]
    Text,
    /// Characters with the colours of a terminal.
    Ansi,
    /// A picture.
    Svg,
}

/// What stands below the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PanelName {
    /// What happened, sentence by sentence.
    Events,
    /// When each replica was created, started, ready and first answered.
    Waterfall,
    /// Replicas as a table.
    Replicas,
}

/// `lab serve`
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Which
    #[command(subcommand)]
    pub service: Service,
}

/// The services.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Users: POST /create, GET /get?id=1
    #[command(name = "user-service")]
    User(user_service::Config),
    /// Messages: POST /send, GET /messages?user=1
    #[command(name = "message-service")]
    Message(message_service::Config),
    /// Load: the control API
    #[command(name = "load-generator")]
    Load(load_generator::Config),
    /// Metrics for a HorizontalPodAutoscaler: external.metrics.k8s.io
    #[command(name = "metrics-adapter")]
    Adapter(metrics_adapter::Config),
}

/// `lab __secrets`
#[derive(Debug, ClapArgs)]
pub struct Secrets {
    /// Make the metrics adapter's certificates too, and tell the API server
    #[arg(long)]
    pub metrics_adapter: bool,
}

/// `lab image`
#[derive(Debug, ClapArgs)]
pub struct Image {
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `lab doctor`
#[derive(Debug, ClapArgs)]
pub struct Doctor {
    /// Look at the cluster of a context too: context:NAME
    #[arg(long = "env", value_name = "ENV")]
    pub environment: Option<EnvName>,
    /// The file that has the context; without it KUBECONFIG, then ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `lab clean`
#[derive(Debug, ClapArgs)]
pub struct Clean {
    /// Say what would be removed, remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `lab hpa`
#[derive(Debug, ClapArgs)]
pub struct Hpa {
    /// Recorded inputs, a JSON object a line; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    pub replay: PathBuf,
}

/// `lab completions`
#[derive(Debug, ClapArgs)]
pub struct Completions {
    /// For which shell
    pub shell: clap_complete::Shell,
}

/// `lab __backing`
#[derive(Debug, ClapArgs)]
pub struct Backing {
    /// What
    #[command(subcommand)]
    pub act: BackingAct,
}

/// What is done with a backing service.
#[derive(Debug, Subcommand)]
pub enum BackingAct {
    /// Wait until it answers, then print what it is
    Probe {
        /// As what it is used
        #[arg(long, value_enum)]
        role: RoleName,
        /// Where it is, `@FILE` that holds that, or `-` to read it from stdin
        #[arg(long)]
        address: String,
        /// How long it is waited for
        #[arg(long, default_value = "60s")]
        wait: Span,
    },
    /// Make a place of its own for a run
    Own {
        /// As what it is used
        #[arg(long, value_enum)]
        role: RoleName,
        /// Where the server is, `@FILE` that holds that, or `-` to read it from stdin
        #[arg(long)]
        address: String,
        /// What the place is called: `lab_` and more of `a-z 0-9 _`
        #[arg(long)]
        place: String,
        /// A new file that gets the place's address before the place is made
        #[arg(long)]
        into: PathBuf,
    },
    /// Remove a place that was made so, with all that is in it
    Disown {
        /// As what it is used
        #[arg(long, value_enum)]
        role: RoleName,
        /// Where the place is, or `@FILE` that holds that
        #[arg(long)]
        address: String,
    },
}

/// What a backing service is to the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// A database.
    Store,
    /// A queue.
    Queue,
    /// A cache.
    Cache,
}

/// `lab __reap`
#[derive(Debug, ClapArgs)]
pub struct Reap {
    /// Where labs are kept
    #[arg(long)]
    pub home: PathBuf,
    /// Which lab
    #[arg(long)]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_read_and_a_cluster_needs_its_context() {
        for text in ["auto", "local", "docker", "context:admin@prod:1"] {
            assert_eq!(text.parse::<EnvName>().map(|read| read.to_string()).as_deref(), Ok(text));
        }
        for (text, word) in [
            ("kubernetes", "context:NAME"),
            ("context:", "context:NAME"),
            ("eks", "not available"),
            ("dockre", "docker"),
        ] {
            let refused = text.parse::<EnvName>().expect_err(text);
            assert!(refused.contains(word), "{refused}");
        }
    }
}
