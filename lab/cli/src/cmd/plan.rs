//! `lab plan NAME`: everything a run would create, for how long, at what cost; checks all that can be checked, changes nothing.

use lab_core::plan::Plan;
use lab_core::spec::{Experiment, Shape};
use lab_core::words;
use lab_env::Finding;

use super::experiment::environment;
use crate::args::{Format, Plan as PlanArgs};
use crate::cmd::spec;
use crate::error::{Code, LabError};
use crate::out;
use crate::settings::Settings;

/// Prints the plan and what is missing for it.
pub async fn run(args: PlanArgs, settings: Settings) -> Result<Code, LabError> {
    let settings = settings.on(args.spec.environment.as_ref(), args.spec.kubeconfig.as_deref());
    let settings = settings.with_endpoints(&args.spec.endpoints)?;
    let experiment = spec::read(&args.spec)?;
    let plan = Plan::of(&experiment);
    let (events, _nobody) = tokio::sync::mpsc::channel(1);
    let environment = environment(&settings, &experiment.spec, "plan", "plan", std::path::Path::new("."), events)
        .map_err(|e| LabError::failed("cannot look at the environment", e))?;
    let findings = environment.check(&experiment.spec).await;
    match args.format {
        Format::Json => {
            let found: Vec<_> = findings.iter().map(finding_json).collect();
            let value = serde_json::json!({ "plan": plan, "findings": found });
            let text =
                serde_json::to_string_pretty(&value).map_err(|e| LabError::failed("cannot write the plan", e))?;
            out::line(&text)?;
        }
        Format::Text => out::data(&text(&experiment, &plan, &findings))?,
    }
    let ready = findings.iter().all(|f| !f.fatal);
    Ok(if ready { Code::Ok } else { Code::EnvironmentFailed })
}

/// A finding in JSON: of `lab plan` and of `lab doctor`.
pub fn finding_json(finding: &Finding) -> serde_json::Value {
    serde_json::json!({ "problem": finding.problem, "remedy": finding.remedy, "fatal": finding.fatal })
}

/// A finding in two lines: of `lab plan` and of `lab doctor`.
pub fn finding_text(finding: &Finding) -> String {
    let grade = if finding.fatal { "missing" } else { "note" };
    format!("  {grade}: {}\n           {}\n", finding.problem, finding.remedy)
}

fn rate(shape: &Shape) -> String {
    match shape {
        Shape::Constant(rate) => rate.to_string(),
        Shape::Ramp { from, to } => format!("{from} to {to}"),
        Shape::Trace { file, offsets } => format!("{} arrivals of {file}", offsets.len()),
    }
}

fn text(experiment: &Experiment, plan: &Plan, findings: &[Finding]) -> String {
    let spec = &experiment.spec;
    let mut text = format!("{}: {}\n", spec.name, spec.question);
    let trials = words::plural(plan.order.len() as u64, "trial");
    text.push_str(&format!(
        "{trials} in about {}, {:.2} USD; the budget is {} and {:.2} USD\n",
        plan.wall, plan.usd, plan.budget.wall, plan.budget.usd
    ));
    for variant in &plan.variants {
        text.push_str(&format!("\n{} (about {} a trial) creates and removes\n", variant.label, variant.wall));
        for thing in &variant.creates {
            let count = match thing.count {
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            text.push_str(&format!("  {count:>7}  {:<26} {}\n", thing.name, thing.about));
        }
    }
    if let Some(load) = &spec.load {
        text.push_str(&format!("\nload on {}\n", load.target.name()));
        for phase in &load.phases {
            let measured = if phase.measure { "" } else { "  (not measured)" };
            text.push_str(&format!(
                "  {:<12} {:>6}  {}{measured}\n",
                phase.name,
                phase.length.to_string(),
                rate(&phase.rate)
            ));
        }
    }
    for expectation in &spec.expect {
        text.push_str(&format!("expects {expectation}\n"));
    }
    text.push_str(if findings.is_empty() { "\nnothing is missing\n" } else { "\n" });
    for finding in findings {
        text.push_str(&finding_text(finding));
    }
    text
}
