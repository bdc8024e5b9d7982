//! `lab doctor`: what is missing on this machine, and how to get it.

use lab_core::templates;
use lab_env::Finding;
use lab_env::home::Home;
use lab_tui::home::FindingRow;

use super::experiment::local;
use super::plan::{finding_json, finding_text};
use crate::args::{Doctor, Format};
use crate::cmd::spec;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Looks and tells.
pub async fn run(args: Doctor, settings: Settings) -> Result<Code, LabError> {
    let (findings, leftovers) = look(&settings).await?;
    let host = lab_env::host::host();
    if args.format == Format::Json {
        let found: Vec<_> = findings.iter().map(finding_json).collect();
        let left: Vec<_> =
            leftovers.iter().map(|(lab, things)| serde_json::json!({ "lab": lab, "things": things })).collect();
        let value = serde_json::json!({ "host": host, "environments": { "local": found }, "leftovers": left });
        let text =
            serde_json::to_string_pretty(&value).map_err(|e| LabError::failed("cannot write the findings", e))?;
        out::line(&text)?;
    } else {
        let mut text = format!("{}, kernel {}, {} cores, {}\n", host.platform, host.kernel, host.cores, host.cpu);
        text.push_str(if findings.is_empty() { "local: ready\n" } else { "local:\n" });
        for finding in &findings {
            text.push_str(&finding_text(finding));
        }
        for (lab, things) in &leftovers {
            text.push_str(&format!("left behind by lab {lab}: {} (remove with: lab clean)\n", things.join(", ")));
        }
        out::data(&text)?;
    }
    let ready = findings.iter().all(|f| !f.fatal);
    Ok(if ready { Code::Ok } else { Code::EnvironmentFailed })
}

type Leftovers = Vec<(String, Vec<String>)>;

async fn look(settings: &Settings) -> Result<(Vec<Finding>, Leftovers), LabError> {
    let experiment = spec::from_text("lab.yaml", templates::LAB_UP, &[])?;
    let (events, _nobody) = tokio::sync::mpsc::channel(1);
    let environment = local(settings, &experiment.spec, "doctor", "doctor", std::path::Path::new("."), events)
        .map_err(|e| LabError::failed("cannot look at the environment", e))?;
    let findings = environment.check(&experiment.spec).await;
    let leftovers = lab_env::clean::leftovers(&Home::new(&settings.home))
        .map_err(|e| LabError::failed("cannot look for leftovers", e))?;
    Ok((findings, leftovers))
}

/// What is missing or left behind, for the home screen.
///
/// # Errors
/// The environment cannot be looked at.
pub async fn findings(settings: &Settings) -> Result<Vec<FindingRow>, LabError> {
    let (findings, leftovers) = look(settings).await?;
    let missing = findings.into_iter().map(|f| FindingRow { problem: f.problem, remedy: f.remedy, fatal: f.fatal });
    let left = leftovers.into_iter().map(|(lab, things)| FindingRow {
        problem: format!("left behind by lab {lab}: {}", things.join(", ")),
        remedy: "lab clean".to_owned(),
        fatal: false,
    });
    Ok(missing.chain(left).collect())
}
