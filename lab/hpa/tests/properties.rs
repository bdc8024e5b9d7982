//! What holds for any input at all, and what holds for malformed lines.

use lab_hpa::{
    Active, Autoscaler, Behavior, Config, Decision, Input, Metric, Phase, Pod, PodsTarget, PolicyType, Readiness,
    Reason, Requests, Resource, ResourceTarget, Sample, ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
    replay_line,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

const SEEDS: [&str; 3] = [
    include_str!("vectors/replicas.jsonl"),
    include_str!("vectors/behavior.jsonl"),
    include_str!("vectors/reconcile.jsonl"),
];

/// Mostly plausible, at times at the very ends.
fn value() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![6 => 0..2_000_i64, 2 => -10..10_i64, 1 => any::<i64>(), 1 => select(vec![i64::MIN, i64::MAX, 0])]
}

fn age() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![6 => 0..700_000_i64, 1 => any::<i64>()]
}

fn replicas() -> impl Strategy<Value = i32> + Clone {
    prop_oneof![8 => 0..40_i32, 1 => any::<i32>()]
}

fn sample() -> impl Strategy<Value = Sample> {
    (value(), age(), age()).prop_map(|(value, age_ms, window_ms)| Sample { value, age_ms, window_ms })
}

fn pod() -> impl Strategy<Value = Pod> {
    let phase = select(vec![Phase::Running, Phase::Running, Phase::Pending, Phase::Failed, Phase::Unknown]);
    let ready = select(vec![Readiness::True, Readiness::False, Readiness::Unknown, Readiness::Absent]);
    let request = (option::of(value()), option::of(value())).prop_map(|(cpu, memory)| Requests { cpu, memory });
    (phase, ready, option::of(age()), option::of(age()), any::<bool>(), request).prop_map(
        |(phase, ready, ready_age_ms, start_age_ms, deleted, request)| Pod {
            phase,
            ready,
            ready_age_ms,
            start_age_ms,
            deleted,
            request,
        },
    )
}

fn metric() -> impl Strategy<Value = Metric> {
    let samples = || (vec(option::of(sample()), 0..5), vec(sample(), 0..2));
    let resource_target = prop_oneof![
        (-5..300_i32).prop_map(ResourceTarget::Utilization),
        value().prop_map(ResourceTarget::AverageValue)
    ];
    let total_target =
        || prop_oneof![value().prop_map(TotalTarget::Value), value().prop_map(TotalTarget::AverageValue)];
    prop_oneof![
        (select(vec![Resource::Cpu, Resource::Memory]), resource_target, samples())
            .prop_map(|(resource, target, (samples, orphans))| Metric::Resource { resource, target, samples, orphans }),
        (value(), samples()).prop_map(|(target, (samples, orphans))| Metric::Pods {
            name: None,
            target: PodsTarget::AverageValue(target),
            samples,
            orphans
        }),
        (total_target(), vec(value(), 0..3)).prop_map(|(target, values)| Metric::Object {
            name: Some("object".to_owned()),
            target,
            values
        }),
        (total_target(), vec(value(), 0..3)).prop_map(|(target, values)| Metric::External {
            name: None,
            target,
            values
        }),
    ]
}

fn rules() -> impl Strategy<Value = ScalingRules> {
    let policy = (select(vec![PolicyType::Pods, PolicyType::Percent]), replicas(), 0..1801_i32)
        .prop_map(|(kind, value, period_seconds)| ScalingPolicy { kind, value, period_seconds });
    let choice = select(vec![SelectPolicy::Max, SelectPolicy::Min, SelectPolicy::Disabled]);
    let tolerance = prop_oneof![0.0..1.0_f64, -1.0..0.0_f64];
    (option::of(0..3601_i32), option::of(choice), option::of(vec(policy, 0..3)), option::of(tolerance)).prop_map(
        |(stabilization_window_seconds, select_policy, policies, tolerance)| ScalingRules {
            stabilization_window_seconds,
            select_policy,
            policies,
            tolerance,
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let behavior = option::of(
        (option::of(rules()), option::of(rules())).prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down }),
    );
    (0..6_i32, 0..40_i32, behavior, age(), 0.0..0.5_f64).prop_map(|(min, above, behavior, window, tolerance)| Config {
        behavior,
        tolerance,
        downscale_stabilization_ms: window,
        ..Config::new(min, min + above)
    })
}

fn input() -> impl Strategy<Value = Input> {
    (replicas(), option::of(replicas()), vec(pod(), 0..5), vec(metric(), 0..4))
        .prop_map(|(current, status_replicas, pods, metrics)| Input { current, status_replicas, pods, metrics })
}

fn series() -> impl Strategy<Value = (Config, Vec<(i64, Input)>)> {
    (config(), vec((0..400_000_i64, input()), 1..8))
}

fn run(config: &Config, steps: &[(i64, Input)]) -> Vec<Decision> {
    let mut autoscaler = Autoscaler::new(config.clone());
    let mut now = 0;
    let sync = |(pause, input): &(i64, Input)| {
        now += pause;
        autoscaler.sync(now, input)
    };
    steps.iter().map(sync).collect()
}

fn check(config: &Config, decision: &Decision) -> Result<(), TestCaseError> {
    let Decision { current, desired, .. } = *decision;
    let within = (config.min..=config.max).contains(&desired);
    match decision.active {
        Some(Active::ScalingDisabled) => prop_assert_eq!((current, desired), (0, 0)),
        Some(Active::ValidMetricFound) => {
            prop_assert!(within, "{} is outside the bounds", desired);
            prop_assert!(decision.winner.is_some() && decision.limit.is_some() && decision.stabilized.is_some());
        }
        Some(_) => prop_assert_eq!(current, desired),
        None => prop_assert!(within && matches!(decision.reason, Some(Reason::AboveMax | Reason::BelowMin))),
    }
    prop_assert_eq!(decision.rescale, current != desired);
    prop_assert_eq!(decision.rescale, decision.reason.is_some());
    for proposal in &decision.proposals {
        prop_assert!(proposal.replicas.is_some() != proposal.error.is_some());
    }
    let verb = if decision.rescale { "wants" } else { "holds" };
    prop_assert!(decision.why.starts_with(&format!("{verb} {desired}")), "{}", decision.why);
    prop_assert!(!decision.why.contains('\n') && !decision.why.ends_with('.'));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn any_series_stays_within_the_bounds((config, steps) in series()) {
        for decision in run(&config, &steps) {
            check(&config, &decision)?;
        }
    }

    #[test]
    fn the_same_series_gives_the_same_decisions((config, steps) in series()) {
        prop_assert_eq!(run(&config, &steps), run(&config, &steps));
    }

    #[test]
    fn a_decision_survives_the_journal((config, steps) in series()) {
        for decision in run(&config, &steps) {
            let line = serde_json::to_string(&decision).unwrap();
            prop_assert_eq!(serde_json::from_str::<Decision>(&line).unwrap(), decision);
        }
    }

    /// What a line says is what the library does, and both read the same words.
    #[test]
    fn replaying_a_series_equals_running_it((config, steps) in series()) {
        let mut now = 0;
        let recorded: Vec<_> = steps.iter().map(|(pause, input)| {
            now += pause;
            let mut step = serde_json::to_value(input).unwrap();
            step["at_ms"] = json!(now);
            step
        }).collect();
        let mut given = serde_json::to_value(&config).unwrap();
        given["current"] = json!(1);
        given["steps"] = json!(recorded);
        let line = json!({"id": "p", "kind": "reconcile", "in": given, "surplus": [1]}).to_string();
        let answer: Value = serde_json::from_str(&replay_line(&line).unwrap()).unwrap();
        for (got, want) in answer["out"]["steps"].as_array().unwrap().iter().zip(run(&config, &steps)) {
            prop_assert_eq!(&got["replicas"], &json!(want.desired));
            for (key, want) in [
                ("rescale", json!(want.rescale)), ("reason", json!(want.reason)), ("limit", json!(want.limit)),
                ("stabilization", json!(want.stabilization)), ("active", json!(want.active)), ("why", json!(want.why)),
            ] {
                prop_assert_eq!(&got[key], &want);
            }
        }
    }

    #[test]
    fn text_that_is_no_vector_is_an_error(text in "\\PC*") {
        prop_assert!(replay_line(&text).is_err());
    }

    /// A recorded line with bytes changed, cut or doubled is answered or refused, and an answer is valid JSON.
    #[test]
    fn a_damaged_line_never_panics(
        seed in any::<prop::sample::Index>(),
        edits in vec((any::<prop::sample::Index>(), select(b"0129-.eE\"{}[]:,ntfalsu \x00\xff".to_vec()), 0..4_u8), 1..5),
    ) {
        let lines: Vec<_> = SEEDS.iter().flat_map(|text| text.lines()).collect();
        let mut bytes = seed.get(&lines).as_bytes().to_vec();
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match edit {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                2 if !bytes.is_empty() => { bytes.remove(at); }
                _ if !bytes.is_empty() => bytes[at] = byte,
                _ => {}
            }
        }
        if let Ok(answer) = replay_line(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(serde_json::from_str::<Value>(&answer).is_ok(), "{}", answer);
        }
    }
}

/// Errors name the vector and, through their source, the key.
#[test]
fn malformed_vectors_are_refused_with_what_was_wrong() {
    let step = |extra: &str| format!(r#"{{"id":7,"kind":"behavior","in":{{"max":3,"current":1,"steps":[{extra}]}}}}"#);
    for (line, message, cause) in [
        (String::new(), "not a JSON object", "EOF"),
        ("{".to_owned(), "not a JSON object", "EOF"),
        ("[]".to_owned(), "not a vector", "invalid length"),
        (r#"{"id":"a","kind":"replicas"}"#.to_owned(), "not a vector", "missing field `in`"),
        (r#"{"id":"a","kind":"other","in":{}}"#.to_owned(), r#"vector "a": unknown kind "other""#, ""),
        (r#"{"id":"a","kind":"replicas","in":{}}"#.to_owned(), r#"vector "a": cannot read `in` of kind replicas"#, "current"),
        (
            r#"{"id":"a","kind":"replicas","in":{"current":1,"metric":{"type":"Pods","target":{"type":"Value","value":1}}}}"#.to_owned(),
            "cannot read",
            "unknown variant `Value`",
        ),
        (step(r#"{"at_ms":0}"#), "vector 7: cannot read", "desired"),
        (step(r#"{"at_ms":0,"desired":2147483648}"#), "cannot read", "2147483648"),
        (step(r#"{"at_ms":5,"desired":1},{"at_ms":4,"desired":1}"#), "step 1 is at 4 ms", ""),
    ] {
        let error = replay_line(&line).unwrap_err();
        assert!(error.to_string().contains(message), "{line}: {error}");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains(cause), "{line}: {source}");
        assert!(source.is_empty() || !error.to_string().contains(&source), "{error} repeats its source");
    }
}
