//! Where it was measured: the machine, the environment and how far it is what it stands for, the cost of watching, the spec.

use serde::Serialize;
use serde_json::Value;

use lab_core::event::Grade;
use lab_core::model::Model;
use lab_core::narrate::grade_text;
use lab_core::words;

/// Entries of a list that the report prints; a trace may have millions.
const MOST_ENTRIES: usize = 50;

#[derive(Serialize)]
pub(crate) struct Facts {
    kind: String,
    host: Vec<(String, String)>,
    fidelity: Vec<(String, &'static str, String, String)>,
    backing: Vec<Backing>,
    observer: String,
    up: Vec<String>,
}

/// A backing service as trials found it.
#[derive(Serialize, PartialEq)]
struct Backing {
    name: String,
    server: String,
    image: String,
    digest: String,
    address: String,
    grade: &'static str,
}

impl Facts {
    pub(crate) fn of(model: &Model) -> Self {
        let run = model.run.as_deref();
        let kind = run.and_then(|r| serde_json::to_value(r.spec.environment).ok());
        let host = run.map(|r| {
            let h = &r.host;
            vec![
                ("platform".to_owned(), format!("{}, kernel {}", h.platform, h.kernel)),
                ("processor".to_owned(), format!("{}, {}", h.cpu, words::plural(u64::from(h.cores), "usable core"))),
                ("memory".to_owned(), words::bytes(h.memory_bytes)),
            ]
        });
        Self {
            kind: kind.and_then(|k| k.as_str().map(str::to_owned)).unwrap_or_else(|| "not known".to_owned()),
            host: host.unwrap_or_default(),
            fidelity: fidelity(model),
            backing: backing(model),
            observer: observer(model),
            up: steps(model),
        }
    }
}

/// Each once, by name. Where trials found it at several addresses, one stands for all.
fn backing(model: &Model) -> Vec<Backing> {
    let mut all: Vec<Backing> = Vec::new();
    for seen in model.trials.iter().flat_map(|t| &t.backing) {
        let image = |of: fn(&lab_core::event::ImageSeen) -> &String| {
            seen.image.as_ref().map_or_else(|| "–".to_owned(), |image| of(image).clone())
        };
        let one = Backing {
            name: seen.name.clone(),
            server: seen.server.clone(),
            image: image(|i| &i.name),
            digest: image(|i| &i.digest),
            address: if seen.address.is_empty() { "in the services".to_owned() } else { seen.address.clone() },
            grade: grade_text(seen.promises.fidelity),
        };
        let same =
            |known: &mut Backing| (&known.name, &known.server, &known.digest) == (&one.name, &one.server, &one.digest);
        match all.iter_mut().find_map(|known| same(known).then_some(known)) {
            Some(known) if known.address == one.address || known.address.ends_with(", …") => {}
            Some(known) => known.address.push_str(", …"),
            None => all.push(one),
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn fidelity(model: &Model) -> Vec<(String, &'static str, String, String)> {
    let all = model.run.as_ref().map_or(0, |r| r.variants.len());
    let rows = model.fidelity.iter().map(|f| {
        let labels: Vec<String> = f.variants.iter().map(|v| model.label(*v)).collect();
        let of = if f.variants.is_empty() || f.variants.len() >= all {
            "all variants".to_owned()
        } else {
            words::list(&labels)
        };
        (f.subject.clone(), grade_text(f.grade), f.note.clone(), of)
    });
    rows.collect()
}

/// What is not the real thing in a variant: its label goes where its numbers stand.
pub(crate) fn stand_ins(model: &Model, variant: u32) -> Vec<String> {
    let mine = model
        .fidelity
        .iter()
        .filter(|f| f.grade != Grade::Real && (f.variants.is_empty() || f.variants.contains(&variant)));
    mine.map(|f| format!("{} {}", f.subject, grade_text(f.grade))).collect()
}

fn observer(model: &Model) -> String {
    let o = &model.observer;
    match o.cores() {
        Some(cores) => format!(
            "{} of a core over {}, at most {} of memory",
            words::share(cores),
            words::duration(o.over),
            words::bytes(o.peak_rss_bytes)
        ),
        None => "not measured".to_owned(),
    }
}

/// How long the steps of the first trial took.
fn steps(model: &Model) -> Vec<String> {
    let steps = model.trials.iter().find(|t| t.info.is_some()).map_or(&[][..], |t| &t.steps);
    let named = steps.iter().filter_map(|s| {
        let name = serde_json::to_value(s.name).ok()?.as_str()?.to_owned();
        Some(format!("{name} {}", words::duration(s.took?)))
    });
    named.collect()
}

/// The resolved spec as JSON. Long lists are cut, with their length.
pub(crate) fn spec(model: &Model) -> String {
    let Some(run) = model.run.as_deref() else { return String::new() };
    let Ok(mut spec) = serde_json::to_value(&run.spec) else { return String::new() };
    shorten(&mut spec);
    serde_json::to_string_pretty(&spec).unwrap_or_default()
}

fn shorten(value: &mut Value) {
    match value {
        Value::Array(items) => {
            let length = items.len();
            if length > MOST_ENTRIES {
                items.truncate(MOST_ENTRIES);
                items.push(Value::String(format!("… {length} in all")));
            }
            items.iter_mut().for_each(shorten);
        }
        Value::Object(fields) => fields.iter_mut().for_each(|(_, field)| shorten(field)),
        _ => {}
    }
}
