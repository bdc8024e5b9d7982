//! A service that does no work, for tests of environments: it honours the flags, the announcement, the probes and the signals of a
//! real one, and misbehaves on demand. What a replica of SERVICE shall do wrong stands in `<this executable as called>.SERVICE`.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab_core::control::{LoadState, Status, Targets};
use lab_core::event::Grade;
use lab_core::ledger::Ledger;
use lab_core::parity::Promises;
use lab_env::{
    ClusterRef, DockerConfig, DockerEnvironment, Environment, KubernetesConfig, KubernetesEnvironment, LocalConfig,
    LocalEnvironment, LocalLimits, Probed,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What it has been told.
#[derive(Default)]
struct State {
    targets: Mutex<Option<Targets>>,
    token: Option<String>,
    mode: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let exe = PathBuf::from(&args[0]);
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(&exe, &args[2], &args[3..]).await,
        Some(lab_env::reaper::VERB) => {
            Ok(lab_env::reaper::reap(Path::new(flag(&args, "--home")?), flag(&args, "--name")?)?)
        }
        Some("hold") => hold(&exe, &args).await,
        Some("__backing") => backing(&args),
        other => Err(format!("unknown verb {other:?}").into()),
    }
}

fn flag<'a>(args: &'a [String], name: &str) -> Result<&'a str, Failure> {
    let at = args.iter().position(|arg| arg == name).ok_or_else(|| format!("{name} is missing"))?;
    Ok(args.get(at + 1).ok_or_else(|| format!("{name} has no value"))?)
}

/// What engines say of themselves to those that ask: `__backing probe --role R …`.
fn backing(args: &[String]) -> Result<(), Failure> {
    io::stdin().read_to_end(&mut Vec::new())?;
    let promised = || "nothing".to_owned();
    let promises = Promises {
        engine: flag(args, "--role")?.to_owned(),
        durability: promised(),
        acknowledgement: promised(),
        replication: promised(),
        ordering: promised(),
        batching: promised(),
        fidelity: Grade::Embedded,
    };
    let probed = Probed { server: "a fake".to_owned(), address: String::new(), connections: None, promises };
    println!("{}", serde_json::to_string(&probed)?);
    Ok(())
}

async fn serve(exe: &Path, service: &str, args: &[String]) -> Result<(), Failure> {
    let mode = std::fs::read_to_string(format!("{}.{service}", exe.display())).unwrap_or_default();
    if mode.contains("crash") {
        eprintln!("the database is on fire");
        return Err("told to crash".into());
    }
    let mut term = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(flag(args, "--listen")?).await?;
    if !mode.contains("mute") {
        println!("{{\"listening\":\"{}\"}}", listener.local_addr()?);
        io::stdout().flush()?;
    }
    let token = flag(args, "--token-file").ok().map(std::fs::read_to_string).transpose()?;
    let state = Arc::new(State { token, mode, ..State::default() });
    loop {
        tokio::select! {
            _ = term.recv() => if !state.mode.contains("stubborn") { return Ok(()) },
            accepted = listener.accept() => {
                let (stream, state) = (accepted?.0, Arc::clone(&state));
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &state).await {
                        eprintln!("a connection broke: {error}");
                    }
                });
            }
        }
    }
}

/// One request on one connection.
async fn answer(stream: TcpStream, state: &State) -> Result<(), Failure> {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? <= 2 {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| head.iter().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned));
    let length = header("content-length:").and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let allowed = state.token.as_ref().is_none_or(|token| header("authorization: bearer ").as_ref() == Some(token));
    let request = head.first().map(String::as_str).unwrap_or_default().trim_end_matches(" HTTP/1.1");
    let (status, text) = match request {
        "GET /readyz" if state.mode.contains("never-ready") => (503, r#"{"error":"not yet"}"#.to_owned()),
        "GET /readyz" | "GET /livez" | "GET /startupz" => (200, "{}".to_owned()),
        "GET /metrics" => (200, own_usage()?),
        _ if !allowed => (401, r#"{"error":"wrong token"}"#.to_owned()),
        "PUT /targets" => put_targets(state, &body),
        "GET /load" => (200, serde_json::to_string(&status(state))?),
        _ => (404, r#"{"error":"no such route"}"#.to_owned()),
    };
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// CPU time and memory of this process, as a real service tells them.
fn own_usage() -> Result<String, Failure> {
    let usage = lab_env::proc::usage(std::process::id())?;
    let cpu = usage.cpu_ns as f64 / 1e9;
    Ok(format!("process_cpu_seconds_total {cpu:.6}\nprocess_resident_memory_bytes {}\n", usage.rss_bytes))
}

fn put_targets(state: &State, body: &[u8]) -> (u16, String) {
    let Ok(targets) = serde_json::from_slice::<Targets>(body) else {
        return (400, r#"{"error":"no list"}"#.to_owned());
    };
    let Ok(mut current) = state.targets.lock() else { return (500, String::new()) };
    if current.as_ref().is_some_and(|current| current.version > targets.version) {
        return (409, r#"{"error":"older than what is in force"}"#.to_owned());
    }
    *current = Some(targets);
    (204, String::new())
}

fn status(state: &State) -> Status {
    let version = state.targets.lock().ok().and_then(|targets| targets.as_ref().map(|targets| targets.version));
    Status {
        now_ns: 1,
        state: LoadState::Idle,
        plan: None,
        plan_ns: None,
        rate: 0.0,
        targets_version: version.unwrap_or(0),
        ledger: Ledger::default(),
        last_sample: 0,
    }
}

/// Has a lab up until it is killed: `hold --home H --name N --runs DIR --spec FILE`, in Docker with `--image IMAGE`, and in a
/// cluster with `--context NAME` beside it.
async fn hold(exe: &Path, args: &[String]) -> Result<(), Failure> {
    let (events, mut seen) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move { while seen.recv().await.is_some() {} });
    let config = LocalConfig {
        exe: exe.to_owned(),
        lab_name: flag(args, "--name")?.to_owned(),
        run_id: "held-run".to_owned(),
        run_dir: flag(args, "--runs")?.into(),
        home: flag(args, "--home")?.into(),
        events,
        default_load: "{}".to_owned(),
        limits: LocalLimits::default(),
        endpoints: lab_env::Endpoints::default(),
    };
    let environment: Box<dyn Environment> = match (flag(args, "--image"), flag(args, "--context")) {
        (Ok(image), Ok(context)) => Box::new(KubernetesEnvironment::new(KubernetesConfig {
            lab: config,
            cluster: Some(ClusterRef::new(context, std::env::var_os("KUBECONFIG").as_deref())),
            image: Some(image.to_owned()),
        })?),
        (Ok(image), Err(_)) => Box::new(DockerEnvironment::new(DockerConfig {
            lab: config,
            image: Some(image.to_owned()),
            monitoring: false,
        })?),
        (Err(_), _) => Box::new(LocalEnvironment::new(config)?),
    };
    let text = std::fs::read_to_string(flag(args, "--spec")?)?;
    let spec = lab_core::spec::parse("held.yaml", &text, &[], &|_| Err("no files".to_owned()));
    let spec = spec.map_err(|found| format!("{found:?}"))?.spec;
    environment.up(&spec).await?;
    for workload in spec.services.names() {
        environment.deploy(&spec, workload).await?;
    }
    println!("up");
    io::stdout().flush()?;
    tokio::time::sleep(Duration::from_secs(600)).await;
    Err("nobody killed it".into())
}
