//! What holds for every spec: it plans, its plan and its text read back as the same thing, and no text makes a panic.

use lab_core::event::TrialInfo;
use lab_core::expect::Expectation;
use lab_core::plan::Plan;
use lab_core::spec::{Diagnostic, Experiment, Set, parse};
use lab_core::templates;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn read(text: &str) -> Result<Experiment, Vec<Diagnostic>> {
    parse("generated.yaml", text, &[], &|_| Err("no files".to_owned()))
}

fn shown(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

fn rate() -> impl Strategy<Value = String> {
    prop_oneof![
        (0_u32..5000).prop_map(|rate| format!("rate: {rate}/s")),
        (0.0_f64..500.0).prop_map(|rate| format!("rate: {rate:.4}/s")),
        (1_u32..9000).prop_map(|rate| format!("rate: {rate}/min")),
        (0_u32..500, 0_u32..500).prop_map(|(from, to)| format!("rate: {{ from: {from}/s, to: {to}/s }}")),
        vec(0_u64..3_000_000_000, 1..20).prop_map(|mut offsets| {
            offsets.sort_unstable();
            let offsets: Vec<_> = offsets.iter().map(|offset| format!("{offset}ns")).collect();
            format!("rate: {{ trace: a.csv, offsets: [{}] }}", offsets.join(", "))
        }),
        Just("pause: true".to_owned()),
    ]
}

fn phases() -> impl Strategy<Value = String> {
    vec((rate(), 3000_u64..90_000, any::<bool>()), 1..6).prop_map(|phases| {
        let phases = phases.iter().enumerate().map(|(index, (rate, length, measure))| {
            let measure = *measure || index == 0;
            format!("    - {{ name: p{index}, {rate}, for: {length}ms, measure: {measure} }}\n")
        });
        phases.collect()
    })
}

fn autoscale(metric: &'static str) -> impl Strategy<Value = String> {
    let behavior = option::of((0_i32..3601, 1_i32..10, 1_i32..1801, 0.0_f64..1.0));
    (1_u32..5, 0_u32..5, behavior).prop_map(move |(min, more, behavior)| {
        let behavior = behavior.map(|(window, value, period, tolerance)| {
            format!(
                ", behavior: {{ scaleUp: {{ tolerance: {tolerance} }}, scaleDown: {{ stabilizationWindowSeconds: {window}, \
                 policies: [ {{ type: Pods, value: {value}, periodSeconds: {period} }} ] }} }}"
            )
        });
        let max = min + more;
        format!("autoscale: {{ min: {min}, max: {max}, metrics: [ {metric} ]{} }}", behavior.unwrap_or_default())
    })
}

fn user_service() -> impl Strategy<Value = String> {
    (10_u32..4000, option::of(autoscale("{ cpu: 65% }, { response-time: 120ms }")), 0_u64..5000, any::<bool>()).prop_map(
        |(cpu, autoscale, work, cache)| {
            let cache = if cache { "memory" } else { "none" };
            let autoscale = autoscale.map(|autoscale| format!("    {autoscale}\n")).unwrap_or_default();
            format!("  user-service:\n    cache: {cache}\n    work: {{ get: {work}us }}\n    resources: {{ cpu: {cpu}m }}\n{autoscale}")
        },
    )
}

fn message_service() -> impl Strategy<Value = String> {
    (1_u32..65, option::of(autoscale("{ queue-depth: 40 }"))).prop_map(|(consumers, autoscale)| {
        let autoscale = autoscale.map(|autoscale| format!("    {autoscale}\n")).unwrap_or_default();
        format!("  message-service:\n    consumers: {consumers}\n{autoscale}")
    })
}

fn matrix() -> impl Strategy<Value = String> {
    let matrix = (1_usize..4, any::<bool>()).prop_map(|(sizes, cache)| {
        let sizes: Vec<_> = (1..=sizes).map(|size| (size * 8).to_string()).collect();
        let cache = if cache { "  user-service.cache-ttl: [1s, 1m, 1.5h]\n" } else { "" };
        format!("matrix:\n  load.connections: [{}]\n{cache}", sizes.join(", "))
    });
    option::of(matrix).prop_map(Option::unwrap_or_default)
}

/// Any text that is one line, quoted as YAML.
fn question() -> impl Strategy<Value = String> {
    "[^\\p{C}]{1,60}"
        .prop_filter("not blank", |text| !text.trim().is_empty())
        .prop_map(|text| format!("question: '{}'\n", text.replace('\'', "''")))
}

fn spec() -> impl Strategy<Value = String> {
    let parts = (question(), user_service(), option::of(message_service()), phases(), matrix());
    (parts, 0_u32..=100, 1_u32..9, any::<u64>(), 0.0_f64..100.0).prop_map(
        |((question, user, message, phases, matrix), create, repeats, seed, usd)| {
            let get = 100 - create;
            format!(
                "{question}services:\n{user}{}load:\n  target: user-service\n  mix: {{ create: {create}%, get: {get}% }}\n  \
                 phases:\n{phases}{matrix}expect: [ \"p99 < 250ms\", \"recovery(p0) < 60s\" ]\nrepeats: {repeats}\nseed: {seed}\n\
                 budget: {{ wall: 100h, usd: {usd} }}\n",
                message.unwrap_or_default()
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spec_that_resolves_plans_and_reads_back(text in spec()) {
        let experiment = read(&text).map_err(|found| TestCaseError::fail(format!("{}\n{text}", shown(&found))))?;
        let plan = Plan::of(&experiment);
        let json = serde_json::to_string(&plan).expect("JSON");
        prop_assert_eq!(&serde_json::from_str::<Plan>(&json).expect("a plan"), &plan);
        blocks_are_whole(&plan.order, experiment.variants.len(), experiment.spec.repeats)?;
        for variant in &experiment.variants {
            let yaml = variant.spec.to_yaml().expect("YAML");
            let again = read(&yaml).map_err(|found| TestCaseError::fail(format!("{}\n{yaml}", shown(&found))))?;
            prop_assert_eq!(&again.spec, &variant.spec, "{}", yaml);
            let load = templates::load_plan(&variant.spec, "run.0", 1).expect("a load");
            let json = serde_json::to_string(&load).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<lab_core::control::LoadPlan>(&json).expect("a load plan"), load);
        }
    }

    #[test]
    fn expectations_read_back(
        measure in prop_oneof![
            Just("max".to_owned()), Just("send-lag".to_owned()), (1_u32..99_999).prop_map(|q| format!("p{}", f64::from(q) / 1000.0)),
        ],
        phase in option::of("[a-z][a-z0-9.-]{0,10}"),
        sign in prop::sample::select(vec!["<", "<=", "=", ">=", ">"]),
        bound in 0_u64..10_000_000_000,
    ) {
        let phase = phase.map(|phase| format!("({phase})")).unwrap_or_default();
        let expectation: Expectation = format!("{measure}{phase} {sign} {bound}ns").parse().expect("an expectation");
        prop_assert_eq!(expectation.to_string().parse::<Expectation>(), Ok(expectation));
    }

    #[test]
    fn shares_and_counts_read_back(share in 0.0_f64..100.0, count in any::<u64>(), decimals in 0_usize..7) {
        for text in [format!("errors < {share:.decimals$}%"), format!("lost = {count}"), format!("backlog(a) <= {count}")] {
            let expectation: Expectation = text.parse().expect("an expectation");
            prop_assert_eq!(expectation.to_string().parse::<Expectation>(), Ok(expectation));
        }
    }
}

/// Every block has every variant once, numbered through, with one seed that no other block has.
fn blocks_are_whole(order: &[TrialInfo], variants: usize, repeats: u32) -> Result<(), TestCaseError> {
    prop_assert_eq!(order.len(), variants * repeats as usize);
    let mut seeds = std::collections::HashSet::new();
    for (block, trials) in order.chunks(variants).enumerate() {
        let mut seen: Vec<_> = trials.iter().map(|trial| trial.variant as usize).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..variants).collect::<Vec<_>>());
        prop_assert!(trials.iter().all(|trial| trial.block as usize == block && trial.seed == trials[0].seed));
        prop_assert!(seeds.insert(trials[0].seed));
    }
    prop_assert!(order.iter().enumerate().all(|(index, trial)| trial.trial as usize == index));
    Ok(())
}

const WHOLE: &str = include_str!("good/everything.yaml");

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_a_panic(text in any::<String>()) {
        check(&text, &[])?;
    }

    #[test]
    fn no_yaml_like_text_makes_a_panic(text in "([ \\n:\\-{}\\[\\],'\"#&*!|>?%@~]|question|services|load|matrix|expect|rate|cpu|1|/s|é|\\t){0,60}") {
        check(&text, &[])?;
    }

    /// A good spec with a piece replaced: far more of these get past the parser and into every corner of the reading.
    #[test]
    fn no_mutation_makes_a_panic(from in 0_usize..3000, length in 0_usize..40, piece in "[ \\na-z0-9:{}\\[\\],%/.-]{0,12}") {
        let mut text: Vec<char> = WHOLE.chars().collect();
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, piece.chars());
        check(&text.into_iter().collect::<String>(), &[])?;
    }

    #[test]
    fn no_setting_makes_a_panic(path in "[a-z0-9.-]{1,40}|(user-service|load|phases|expect|autoscale|metrics|rate|0|1|cpu|\\.){1,8}", value in ".{0,20}") {
        check(WHOLE, &[Set { path, value }])?;
    }
}

fn check(text: &str, sets: &[Set]) -> Result<(), TestCaseError> {
    match parse("any.yaml", text, sets, &|_| Err("no files".to_owned())) {
        Ok(experiment) => prop_assert!(!experiment.variants.is_empty()),
        Err(found) => prop_assert!(!found.is_empty() && found.iter().all(|diagnostic| !diagnostic.message.is_empty())),
    }
    Ok(())
}
