//! Every recorded case of the real controller must come out the same, in every field.

use serde_json::Value;

const FILES: [(&str, &str); 3] = [
    ("replicas", include_str!("vectors/replicas.jsonl")),
    ("behavior", include_str!("vectors/behavior.jsonl")),
    ("reconcile", include_str!("vectors/reconcile.jsonl")),
];

/// The first place where `got` misses something of `want`; an absent key equals null, further keys do not count.
fn difference(path: &str, want: &Value, got: &Value) -> Option<String> {
    match (want, got) {
        (Value::Object(fields), _) if !fields.is_empty() => fields
            .iter()
            .find_map(|(key, want)| difference(&format!("{path}.{key}"), want, got.get(key).unwrap_or(&Value::Null))),
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            want.iter().zip(got).enumerate().find_map(|(i, (want, got))| difference(&format!("{path}[{i}]"), want, got))
        }
        _ => (want != got).then(|| format!("{path}: want {want}, got {got}")),
    }
}

#[test]
fn every_recorded_case_comes_out_the_same() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (kind, text) in FILES {
        for line in text.lines() {
            let recorded: Value = serde_json::from_str(line).unwrap();
            assert_eq!(recorded["kind"], kind);
            let answer: Value = serde_json::from_str(&lab_hpa::replay_line(line).unwrap()).unwrap();
            assert_eq!(answer["id"], recorded["id"]);
            if let Some(difference) = difference("out", &recorded["out"], &answer["out"]) {
                failures.push(format!("{}: {difference}", recorded["id"]));
            }
            count += 1;
        }
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(count, 62);
}

/// What the real controller did not come to stays null; only `why` may be said beyond the record.
#[test]
fn answers_say_nothing_that_was_not_recorded() {
    for line in FILES.iter().flat_map(|(_, text)| text.lines()) {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let answer: Value = serde_json::from_str(&lab_hpa::replay_line(line).unwrap()).unwrap();
        let steps = |value: &Value| value["out"]["steps"].as_array().cloned().unwrap_or_default();
        for (want, got) in steps(&recorded).iter().zip(&steps(&answer)) {
            for (key, got) in got.as_object().unwrap().iter().filter(|(key, _)| *key != "why") {
                let want = want.get(key).unwrap_or(&Value::Null);
                assert_eq!(want, got, "{} {key}", recorded["id"]);
            }
        }
    }
}
