//! How a behavior and settings are read, checked and written.

use lab_hpa::{Behavior, Config, PolicyType, SelectPolicy, Tolerance};

fn yaml(text: &str) -> Result<Behavior, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn a_behavior_is_written_as_in_autoscaling_v2() {
    let behavior = yaml(
        "scaleUp:\n  stabilizationWindowSeconds: 30\n  selectPolicy: Min\n  tolerance: 50m\n  policies:\n  \
         - { type: Pods, value: 4, periodSeconds: 60 }\n  - { type: Percent, value: 50, periodSeconds: 15 }\n\
         scaleDown:\n  tolerance: 0.2\n",
    )
    .unwrap();
    let up = behavior.scale_up.as_ref().unwrap();
    assert_eq!((up.stabilization_window_seconds, up.select_policy), (Some(30), Some(SelectPolicy::Min)));
    assert_eq!(up.policies.as_ref().unwrap()[1].kind, PolicyType::Percent);
    assert!(behavior.problems().is_empty());
    let config = Config { behavior: Some(behavior.clone()), ..Config::new(1, 2) };
    assert_eq!(config.tolerances(), Tolerance { up: 0.05, down: 0.2 });

    let json = serde_json::to_string(&behavior).unwrap();
    assert_eq!(serde_json::from_str::<Behavior>(&json).unwrap(), behavior);
    assert!(json.contains("\"periodSeconds\":60") && !json.contains("null"), "{json}");
}

#[test]
fn unknown_fields_are_errors() {
    for text in [
        "scaleUP: {}",
        "scaleUp: { window: 3 }",
        "scaleUp: { policies: [ { type: Pods, value: 1, periodSeconds: 1, extra: 1 } ] }",
        "scaleUp: { selectPolicy: max }",
        "scaleUp: { tolerance: a lot }",
    ] {
        assert!(yaml(text).is_err(), "{text}");
    }
}

#[test]
fn every_form_of_a_tolerance_is_read() {
    for (text, value) in
        [("0", 0.0), ("0.1", 0.1), ("'0.1'", 0.1), ("100m", 0.1), ("'5e-2'", 0.05), ("200u", 0.0002), ("7n", 7e-9)]
    {
        let behavior = yaml(&format!("scaleUp: {{ tolerance: {text} }}")).unwrap();
        assert_eq!(behavior.scale_up.unwrap().tolerance, Some(value), "{text}");
    }
    assert_eq!(yaml("scaleUp: { tolerance: null }").unwrap().scale_up.unwrap().tolerance, None);
}

#[test]
fn all_problems_are_named_at_once() {
    let behavior = yaml(
        "scaleUp: { stabilizationWindowSeconds: 3601, tolerance: -0.1, policies: [ { type: Pods, value: 0, periodSeconds: 1801 } ] }\n\
         scaleDown: { stabilizationWindowSeconds: -1, policies: [] }\n",
    )
    .unwrap();
    let config = Config { behavior: Some(behavior), tolerance: -1.0, ..Config::new(5, 3) };
    let error = config.validate().unwrap_err();
    let paths: Vec<_> = error.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "max",
            "tolerance",
            "behavior.scaleUp.stabilizationWindowSeconds",
            "behavior.scaleUp.tolerance",
            "behavior.scaleUp.policies[0].value",
            "behavior.scaleUp.policies[0].periodSeconds",
            "behavior.scaleDown.stabilizationWindowSeconds",
            "behavior.scaleDown.policies",
        ]
    );
    assert!(error.to_string().contains("max: 3 is below min 5"), "{error}");
}

#[test]
fn the_ends_of_every_range_are_allowed() {
    for (window, period) in [(0, 1), (3600, 1800)] {
        let text = format!(
            "scaleUp: {{ stabilizationWindowSeconds: {window}, tolerance: 0, policies: [ {{ type: Pods, value: 1, periodSeconds: {period} }} ] }}"
        );
        let config = Config { behavior: Some(yaml(&text).unwrap()), ..Config::new(0, 1) };
        assert_eq!(config.validate(), Ok(()));
    }
}

#[test]
fn settings_take_the_defaults_of_kubernetes() {
    let config: Config = serde_json::from_str(r#"{"max":10}"#).unwrap();
    assert_eq!(config, Config::new(1, 10));
    assert_eq!((config.sync_period_ms, config.downscale_stabilization_ms), (15_000, 300_000));
    assert_eq!((config.cpu_initialization_period_ms, config.initial_readiness_delay_ms), (300_000, 30_000));
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
}
