//! `lab doctor`: what is missing on this machine, and how to get it.

use std::path::Path;

use lab_core::templates;
use lab_env::Finding;
use lab_env::home::Home;
use lab_tui::home::FindingRow;

use super::experiment::environment;
use super::plan::{finding_json, finding_text};
use crate::args::{Doctor, EnvName, Format};
use crate::cmd::spec;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// What was found.
struct Looked {
    /// Of each environment, by name.
    environments: Vec<(&'static str, Vec<Finding>)>,
    leftovers: Vec<(String, Vec<String>)>,
}

/// Looks and tells. Fails when not even the default environment can be used: the others are for those who have what they need.
pub async fn run(args: Doctor, settings: Settings) -> Result<Code, LabError> {
    let settings = settings.on(args.environment.as_ref(), args.kubeconfig.as_deref());
    let cluster = args.environment.filter(|environment| matches!(environment, EnvName::Context(_)));
    let kinds: Vec<EnvName> = [EnvName::Local, EnvName::Docker].into_iter().chain(cluster).collect();
    let looked = look(&settings, &kinds).await?;
    let host = lab_env::host::host();
    if args.format == Format::Json {
        let found: serde_json::Map<String, serde_json::Value> = looked
            .environments
            .iter()
            .map(|(name, findings)| ((*name).to_owned(), findings.iter().map(finding_json).collect()))
            .collect();
        let left: Vec<_> =
            looked.leftovers.iter().map(|(lab, things)| serde_json::json!({ "lab": lab, "things": things })).collect();
        let value = serde_json::json!({ "host": host, "environments": found, "leftovers": left });
        let text =
            serde_json::to_string_pretty(&value).map_err(|e| LabError::failed("cannot write the findings", e))?;
        out::line(&text)?;
    } else {
        let mut text = format!("{}, kernel {}, {} cores, {}\n", host.platform, host.kernel, host.cores, host.cpu);
        for (name, findings) in &looked.environments {
            text.push_str(&format!("{name}:{}\n", if findings.is_empty() { " ready" } else { "" }));
            for finding in findings {
                text.push_str(&finding_text(finding));
            }
        }
        for (lab, things) in &looked.leftovers {
            text.push_str(&format!("left behind by lab {lab}: {} (remove with: lab clean)\n", things.join(", ")));
        }
        out::data(&text)?;
    }
    let of_the_default = looked.environments.first().map(|(_, findings)| findings);
    let ready = of_the_default.is_some_and(|findings| findings.iter().all(|f| !f.fatal));
    Ok(if ready { Code::Ok } else { Code::EnvironmentFailed })
}

async fn look(settings: &Settings, kinds: &[EnvName]) -> Result<Looked, LabError> {
    let mut environments = Vec::new();
    for kind in kinds {
        let experiment = spec::from_text("lab.yaml", templates::LAB_UP, &[spec::environment_set(kind)])?;
        let (events, _nobody) = tokio::sync::mpsc::channel(1);
        let environment = environment(settings, &experiment.spec, "doctor", "doctor", Path::new("."), events)
            .map_err(|e| LabError::failed("cannot look at the environment", e))?;
        environments.push((experiment.spec.environment.name(), environment.check(&experiment.spec).await));
    }
    // Of Docker's findings, those of the machine are told already.
    let (told, rest) = environments.split_at_mut(1);
    for (_, findings) in rest {
        findings.retain(|finding| !told.iter().any(|(_, told)| told.contains(finding)));
    }
    let home = Home::new(&settings.home);
    // It asks Docker, which may take its time.
    let leftovers = tokio::task::spawn_blocking(move || lab_env::clean::leftovers(&home)).await;
    let leftovers = leftovers
        .map_err(|e| LabError::failed("cannot look for leftovers", e))?
        .map_err(|e| LabError::failed("cannot look for leftovers", e))?;
    Ok(Looked { environments, leftovers })
}

/// What is missing or left behind, for the home screen: of the default environment.
///
/// # Errors
/// The environment cannot be looked at.
pub async fn findings(settings: &Settings) -> Result<Vec<FindingRow>, LabError> {
    let Looked { environments, leftovers } = look(settings, &[EnvName::Local]).await?;
    let findings = environments.into_iter().flat_map(|(_, findings)| findings);
    let missing = findings.map(|f| FindingRow { problem: f.problem, remedy: f.remedy, fatal: f.fatal });
    let left = leftovers.into_iter().map(|(lab, things)| FindingRow {
        problem: format!("left behind by lab {lab}: {}", things.join(", ")),
        remedy: "lab clean".to_owned(),
        fatal: false,
    });
    Ok(missing.chain(left).collect())
}
