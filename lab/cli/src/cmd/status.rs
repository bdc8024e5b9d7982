//! `lab status`: what is up, since when, where it answers.

use lab_env::home::Home;
use lab_run::{Ask, Reply, ask};
use serde_json::{Value, json};

use crate::args::{Format, Status};
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Asks every supervisor.
pub async fn run(args: Status, settings: Settings) -> Result<Code, LabError> {
    let labs = lab_env::status::status(&Home::new(&settings.home))
        .map_err(|e| LabError::failed("cannot see what is up", e))?;
    let mut environments = Vec::new();
    for lab in labs {
        // Nobody answers before a lab is taken, between two trials, or while it goes down.
        let entry = match ask(&settings.lab(&lab.name), &Ask::Status).await {
            Ok(Reply::Status { environment }) => environment,
            _ => json!({
                "name": lab.name, "kind": "local", "since": lab.since, "supervisor_pid": lab.supervisor_pid,
                "run": lab.run, "services": [], "backing": [],
            }),
        };
        environments.push(entry);
    }
    if args.format == Format::Json {
        let text = serde_json::to_string_pretty(&json!({ "environments": environments }));
        out::line(&text.map_err(|e| LabError::failed("cannot write the status", e))?)?;
        return Ok(Code::Ok);
    }
    if environments.is_empty() {
        out::talk("nothing is up; begin with: lab up");
    }
    for entry in &environments {
        out::data(&text(entry))?;
    }
    Ok(Code::Ok)
}

/// One lab, an address a line: also what `lab up` ends with.
pub fn text(entry: &Value) -> String {
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    let list = |key: &str| entry.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    // What a cluster costs only who pays for it knows.
    let cost = if entry.get("kind").and_then(Value::as_str) == Some("kubernetes") { "" } else { ", costs nothing" };
    let mut text = format!(
        "lab {} ({}), since {}, held by process {}{cost}\n",
        word(entry, "name"),
        word(entry, "kind"),
        word(entry, "since"),
        number(entry, "supervisor_pid")
    );
    for service in list("services") {
        let replicas = service.get("replicas").cloned().unwrap_or_default();
        let (ready, desired) = (number(&replicas, "ready"), number(&replicas, "desired"));
        text.push_str(&format!(
            "  {:<16} {:<24} {ready}/{desired} ready\n",
            word(&service, "name"),
            word(&service, "url")
        ));
    }
    for backing in list("backing") {
        let (name, engine, fidelity) = (word(&backing, "name"), word(&backing, "engine"), word(&backing, "fidelity"));
        let address = backing.get("address").and_then(Value::as_str).map(|address| format!(" at {address}"));
        text.push_str(&format!("  {name}: {engine} ({fidelity}){}\n", address.unwrap_or_default()));
    }
    text
}
