//! Specs from text: what is wrong with broken ones in full, what good ones come to, and that no text at all makes a panic.

use std::fs;
use std::path::{Path, PathBuf};

use lab_core::plan::Plan;
use lab_core::spec::reference::{self, Field, Kind};
use lab_core::spec::{Diagnostic, Experiment, MAX_SPEC_BYTES, Place, Set, parse};
use lab_core::unit::Span;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn specs_in(folder: &Path) -> Vec<(String, String)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a readable spec"))
        })
        .collect();
    all.sort();
    all
}

fn traces(file: &str) -> Result<String, String> {
    match file {
        "broken.csv" => Ok("offset\n0.5\nsoon\n".to_owned()),
        "unordered.csv" => Ok("1\n3\n2\n".to_owned()),
        "late.csv" => Ok("1\n12\n".to_owned()),
        "empty.csv" => Ok("# none\n".to_owned()),
        "good.csv" => Ok("seconds\n0\n0.5\n2\n".to_owned()),
        _ => Err("no such file".to_owned()),
    }
}

fn read(text: &str, sets: &[&str]) -> Result<Experiment, Vec<Diagnostic>> {
    let sets: Vec<Set> = sets.iter().map(|set| set.parse().expect("a setting")).collect();
    parse("spec.yaml", text, &sets, &traces)
}

fn shown(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn broken_specs_say_everything_that_is_wrong() {
    let specs = specs_in(&folder("broken"));
    assert!(specs.len() >= 30, "only {} broken specs", specs.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder("broken"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, text) in specs {
            let found = parse(&format!("{name}.yaml"), &text, &[], &traces).expect_err(&name);
            assert!(!found.is_empty(), "{name}");
            in_the_text(&text, &found);
            insta::assert_snapshot!(name, shown(&found));
        }
    });
}

/// Line, column and bytes of every place agree with each other and lie within the text.
fn in_the_text(text: &str, found: &[Diagnostic]) {
    for diagnostic in found {
        let Place::File { line, column, span, .. } = &diagnostic.place else { continue };
        assert!(text.get(span.clone()).is_some(), "{diagnostic}: {span:?}");
        let before = &text[..span.start];
        assert_eq!(before.matches('\n').count() + 1, *line, "{diagnostic}");
        assert_eq!(before.rsplit('\n').next().unwrap_or_default().chars().count() + 1, *column, "{diagnostic}");
    }
}

#[test]
fn good_specs_resolve_and_read_back() {
    let specs = specs_in(&folder("good"));
    assert!(!specs.is_empty());
    for (name, text) in specs {
        let experiment =
            parse(&format!("{name}.yaml"), &text, &[], &traces).unwrap_or_else(|e| panic!("{}", shown(&e)));
        reads_back(&experiment);
    }
}

fn reads_back(experiment: &Experiment) {
    for spec in experiment.variants.iter().map(|variant| &variant.spec).chain([&experiment.spec]) {
        let yaml = spec.to_yaml().expect("YAML");
        let again = parse("other.yaml", &yaml, &[], &|_| Err("nothing is read again".to_owned()));
        let again = again.unwrap_or_else(|e| panic!("{}\n{yaml}", shown(&e)));
        assert_eq!(again.spec, *spec, "{yaml}");
        let json = serde_json::to_string(spec).expect("JSON");
        assert_eq!(serde_json::from_str::<lab_core::spec::Spec>(&json).expect("a spec"), *spec);
    }
}

#[test]
fn experiments_of_the_repository_are_good() {
    let specs = specs_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments"));
    assert!(specs.len() >= 5, "only {} experiments", specs.len());
    for (name, text) in specs {
        let experiment = parse(&format!("{name}.yaml"), &text, &[], &|_| Err("no traces".to_owned()));
        let experiment = experiment.unwrap_or_else(|e| panic!("{}", shown(&e)));
        assert_eq!(experiment.spec.name, name);
        assert!(!experiment.spec.expect.is_empty(), "{name} expects nothing");
        reads_back(&experiment);
        let longest = experiment.variants.iter().map(|v| lab_core::plan::trial_wall(&v.spec)).max();
        assert!(longest <= Some(Span::from_secs(240)), "{name}: a trial takes {longest:?}");
        assert!(Plan::of(&experiment).over_budget().is_empty(), "{name}");
    }
}

const SMALL: &str = "
question: Does it resolve?
services:
  user-service: { resources: { cpu: 100m }, autoscale: { max: 2, metrics: [ { cpu: 50% } ] } }
load:
  target: user-service
  phases:
    - { name: step, rate: 10/s, for: 1s }
    - { name: rest, pause: true, for: 1s }
";

#[test]
fn defaults_are_those_of_the_reference() {
    let spec = read(SMALL, &[]).expect("a good spec").spec;
    insta::assert_snapshot!("defaults", spec.to_yaml().expect("YAML"));
}

/// Setting a field to the default that the reference names changes nothing.
#[test]
fn the_reference_tells_the_true_defaults() {
    let others = "services:
  message-service: { autoscale: { max: 2, metrics: [ { queue-depth: 5 } ] } }
  load-generator: { autoscale: { max: 2, metrics: [ { send-lag: 5ms } ] } }";
    let text = SMALL.replace("services:", others) + "budget: {}\nautoscaler: {}\n";
    let spec = read(&text, &[]).expect("a good spec").spec;
    let mut checked = 0;
    for (path, default) in literal_defaults("", reference::SPEC) {
        let set = Set { path, value: default.to_owned() };
        let same = parse("spec.yaml", &text, std::slice::from_ref(&set), &traces);
        let same = same.unwrap_or_else(|e| panic!("{}", shown(&e)));
        assert_eq!(same.spec, spec, "{set}");
        checked += 1;
    }
    assert!(checked >= 25, "only {checked} defaults were checked");
}

/// Paths of scalar fields whose default is a value, not a description.
fn literal_defaults(prefix: &str, fields: &'static [Field]) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for field in fields {
        let path = format!("{prefix}{}", field.name);
        match field.kind {
            // A share alone does not make a mix, and an empty behavior is not the same as none.
            Kind::Map(_) if ["mix", "behavior"].contains(&field.name) => {}
            Kind::Map(fields) => all.extend(literal_defaults(&format!("{path}."), fields)),
            Kind::List(Kind::Map(fields)) => all.extend(literal_defaults(&format!("{path}.0."), fields)),
            Kind::Scalar(_) | Kind::OneOf(_) => {
                let literal = !field.default.is_empty() && !field.default.contains([' ', '`', '\'']);
                let known = field.default != "unlimited" && !path.ends_with("name");
                // Work of an operation that is not named is not written out either, and a fault is no fault without its target.
                if literal && known && !path.contains(".work.") && !path.contains(".faults.") {
                    all.push((path, field.default));
                }
            }
            _ => {}
        }
    }
    all
}

#[test]
fn settings_change_what_the_file_says_and_what_it_leaves_out() {
    let sets = [
        "user-service.autoscale.metrics.0.cpu=70%",
        "user-service.cache=memory",
        "services.user-service.work={ get: 2ms }",
        "load.phases.rest.pause=~",
        "load.phases.rest.rate={ from: 1/s, to: 5/s }",
        "load.phases.0.rate.from=1/s",
        "load.phases.0.rate.to=9/s",
        "load.phases.2={ name: late, rate: 1/s, for: 2s }",
        "expect=['errors < 1%']",
        "name=other",
        "services.message-service={}",
    ];
    let spec = read(SMALL, &sets).unwrap_or_else(|e| panic!("{}", shown(&e))).spec;
    insta::assert_snapshot!("settings", spec.to_yaml().expect("YAML"));
}

#[test]
fn wrong_settings_are_pointed_to() {
    let sets = [
        "user-service.autoscale.metrics.0.cpu=70",
        "user-service.cahce=memory",
        "message-service.consumers=2",
        "load.phases.7.for=1s",
        "load.phases.stp.for=1s",
        "load.target.name=x",
        "repeats=[1, 2",
        "matrix.user-service.cache=[none]",
        "load={ target: user-service, phases: [ { name: a, rate: fast, for: 1s } ] }",
    ];
    let found = read(SMALL, &sets).expect_err("nothing fits");
    insta::assert_snapshot!("wrong_settings", shown(&found));
    assert!(found.iter().all(|diagnostic| matches!(diagnostic.place, Place::Set(_))));
    assert!("cache".parse::<Set>().is_err() && "=x".parse::<Set>().is_err());
}

#[test]
fn a_matrix_has_stable_cells_and_short_labels() {
    let text = format!(
        "{SMALL}
matrix:
  user-service.autoscale.metrics.0.cpu: [50%, 70%]
  user-service.cache: [none, memory]
  load.phases.step.rate: [10/s, {{ from: 1/s, to: 5/s }}]
exclude:
  - {{ user-service.cache: memory, user-service.autoscale.metrics.0.cpu: 50% }}
repeats: 2
"
    );
    let experiment = read(&text, &[]).unwrap_or_else(|e| panic!("{}", shown(&e)));
    let labels: Vec<_> = experiment.variants.iter().map(|variant| variant.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "cpu=50% cache=none rate=10/s",
            "cpu=50% cache=none rate={from: 1/s, to: 5/s}",
            "cpu=70% cache=none rate=10/s",
            "cpu=70% cache=none rate={from: 1/s, to: 5/s}",
            "cpu=70% cache=memory rate=10/s",
            "cpu=70% cache=memory rate={from: 1/s, to: 5/s}",
        ]
    );
    assert_eq!(experiment.variants[4].cell["user-service.cache"], "memory");
    let plan = Plan::of(&experiment);
    insta::assert_snapshot!("plan", serde_json::to_string_pretty(&plan).expect("JSON"));
}

#[test]
fn labels_take_more_of_the_path_where_ends_are_shared() {
    let text = "
question: q
services: { user-service: {}, message-service: {} }
matrix: { user-service.cache: [none, memory], message-service.cache: [none, memory], expect.0: [a] }
";
    let text = text.replace(", expect.0: [a]", "");
    let experiment = read(&text, &[]).unwrap_or_else(|e| panic!("{}", shown(&e)));
    assert_eq!(experiment.variants[1].label, "user-service.cache=none message-service.cache=memory");
}

#[test]
fn a_trace_is_read_through_what_was_handed_in() {
    let sets = ["load.phases.step.rate={ trace: good.csv }", "load.phases.step.for=3s"];
    let spec = read(SMALL, &sets).unwrap_or_else(|e| panic!("{}", shown(&e))).spec;
    let phase = &spec.load.expect("a load").phases[0];
    let offsets = [0, 500, 2000].map(Span::from_millis).to_vec();
    assert_eq!(phase.rate, lab_core::spec::Shape::Trace { file: "good.csv".to_owned(), offsets });
}

/// Texts of the largest size that would take long, or much memory, if everything in them were looked at again and again.
#[test]
fn large_texts_are_not_gone_through_again_and_again() {
    let numbers = |count: u32| (1..=count).map(|n| format!("{n}, ")).collect::<String>();
    let matrix = |count| format!("matrix: {{ load.connections: [{}] }}\n", numbers(count));
    let keys: String = (0..30_000).map(|key| format!("k{key}: \n")).collect();
    let expectations = "recovery(step) < 1s, ".repeat(10_000);
    let phases = "    - { name: x y }\n".repeat(10_000);
    for (text, says) in [
        (keys, "more than 1000 keys"),
        (format!("{SMALL}{}", matrix(30_000)), "more than 100 values"),
        (format!("{SMALL}expect: [{expectations}]"), "more than 100 expectations"),
        (format!("{}{SMALL}{phases}", matrix(100)), "`x y` is not a name"),
    ] {
        let found = read(&text, &[]).expect_err(says);
        assert!(shown(&found).contains(says), "{says}: {}", shown(&found[..found.len().min(3)]));
        assert!(found.len() < 100_000);
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let text = format!("question: q\n# {}\n", "x".repeat(MAX_SPEC_BYTES as usize));
    let found = read(&text, &[]).expect_err("too large");
    assert!(shown(&found).contains("at most 262144 bytes"), "{}", shown(&found));
}
