//! summary.json follows its schema, whatever the run was like.

use lab_core::event::Event;
use lab_core::fixture::Scenario;
use lab_core::model::Model;
use lab_core::summary::{SCHEMA, Summary};
use serde_json::Value;

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a schema")
}

/// The properties of an object schema and of the objects below it are all the ones that occur.
fn undescribed(schema: &Value, root: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).expect("the reference leads somewhere"),
        None => schema,
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            match known {
                Some(known) => undescribed(known, root, field, &format!("{at}.{name}"), out),
                None => out.push(format!("{at}.{name}")),
            }
        }),
        Value::Array(items) => items.iter().for_each(|item| undescribed(&schema["items"], root, item, at, out)),
        _ => {}
    }
}

fn check(events: &[Event]) -> Value {
    let summary = Summary::of(&Model::of(events));
    let json = summary.to_json().expect("JSON");
    let value: Value = serde_json::from_str(&json).expect("JSON again");
    let validator = schema();
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert_eq!(errors, [""; 0]);
    let root: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let mut missing = Vec::new();
    undescribed(&root, &root, &value, "", &mut missing);
    assert_eq!(missing, [""; 0], "fields that the schema does not describe");
    assert_eq!(serde_json::from_str::<Summary>(&json).expect("reads back"), summary);
    value
}

#[test]
fn a_whole_run_follows_the_schema() {
    let value = check(&Scenario::autoscale(1).events());
    assert_eq!(value["complete"], true);
    assert_eq!(value["exit_code"], 1);
    assert_eq!(value["trials"][0]["episodes"][0]["direction"], "up");
}

#[test]
fn a_comparison_follows_the_schema() {
    let value = check(&Scenario::matrix(4, 3).events());
    assert_eq!(value["comparisons"].as_array().map(Vec::len), Some(8));
    assert_eq!(value["trials"].as_array().map(Vec::len), Some(9));
}

#[test]
fn curves_parity_faults_and_caches_follow_the_schema() {
    let value = check(&Scenario::queues(11, 3).events());
    assert_eq!(value["parity"][0]["role"], "queue");
    let slower = |c: &&Value| c["word"] == "slower";
    let slower = value["comparisons"].as_array().and_then(|all| all.iter().find(slower)).expect("one is slower");
    assert_eq!(slower["notes"][0]["number"], 1, "no word without its notes");
    assert_eq!(value["variants"][1]["capacity"]["at_least"], 120.0);
    assert_eq!(value["variants"][1]["curve"].as_array().map(Vec::len), Some(4));
    assert_eq!(value["variants"][1]["backing"][1]["server"], "ElasticMQ 1.6.11");
    let value = check(&Scenario::crash(5).events());
    assert_eq!(value["trials"][0]["faults"][0]["target"], "queue.kafka");
    let ledger = &value["trials"][0]["deliveries"][0];
    assert!(ledger["found"].as_u64().is_some_and(|found| found > 0) && ledger["lost"]["count"] == 0, "{ledger}");
    let value = check(&Scenario::caches(2).events());
    assert_eq!(value["variants"][0]["cache"]["engine"], "none");
    assert!(value["variants"][1]["cache"]["hit_ratio"].is_number());
}

#[test]
fn cut_runs_follow_the_schema() {
    let phases = vec![("step", 100.0, 3, true)];
    let events = Scenario { phases, ..Scenario::autoscale(3) }.events();
    for cut in (0..events.len()).step_by(9) {
        assert_eq!(check(&events[..cut])["complete"], false);
    }
}
