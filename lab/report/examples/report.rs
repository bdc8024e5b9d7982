//! Writes the report of a made-up run into a directory: `cargo run -p lab-report --example report -- DIRECTORY [queues|matrix]`.

use lab_core::fixture::Scenario;
use lab_core::model::Model;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let scenario = match std::env::args().nth(2).as_deref() {
        None => Scenario::autoscale(1),
        Some("queues") => Scenario::queues(11, 3),
        Some(_) => Scenario::matrix(4, 4),
    };
    let report = lab_report::write(&Model::of(&scenario.events()))?;
    std::fs::write(format!("{directory}/report.md"), report.markdown)?;
    std::fs::write(format!("{directory}/summary.json"), report.summary_json)?;
    for (name, svg) in report.pictures {
        std::fs::write(format!("{directory}/{name}"), svg)?;
    }
    Ok(())
}
