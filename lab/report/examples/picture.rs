//! Prints the picture of a made-up run: `cargo run -p lab-report --example picture > picture.svg`.

use lab_core::fixture::Scenario;
use lab_core::model::Model;

fn main() {
    let events = Scenario::autoscale(7).events();
    let model = Model::of(&events);
    let drawn = model.trials.first().and_then(|trial| lab_report::picture(&model, trial));
    println!("{}", drawn.unwrap_or_default());
}
