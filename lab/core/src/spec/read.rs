//! Text to experiment: the order in which a spec is read. What each part means is in its own file.

use serde::{Deserialize, Serialize};

use super::autoscale;
use super::checks;
use super::diagnostic::{Diagnostic, in_order};
use super::load;
use super::matrix;
use super::node::{At, Node, Value};
use super::path::Set;
use super::reader::{Reading, Wrong, duration, line, number, whole, whole32, word};
use super::services::services;
use super::yaml;
use super::{Budget, EnvironmentKind, Spec, UnknownName, reference};
use crate::event::VariantInfo;
use crate::expect::Expectation;
use crate::plan;
use crate::unit::Span;

/// Largest spec that is read. Whoever opens the file checks its size against this before reading it.
pub const MAX_SPEC_BYTES: u64 = 256 * 1024;

/// Expectations of one spec.
const MAX_EXPECTATIONS: usize = 100;
/// With so much wrong, further variants would only repeat it.
const ENOUGH: usize = 200;

/// A spec and its variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// As it stands, before the matrix is applied.
    pub spec: Spec,
    /// Every cell of the matrix, or the spec itself; never empty.
    pub variants: Vec<VariantInfo>,
}

/// Reads an experiment. `file` is what diagnostics call the text, and its stem the experiment's default name; `sets` are
/// applied in order, before the matrix; `load_file` reads a trace that the spec names.
///
/// # Errors
/// Everything that is wrong, in reading order.
pub fn parse(
    file: &str,
    text: &str,
    sets: &[Set],
    load_file: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Experiment, Vec<Diagnostic>> {
    let mut reading = Reading { file, load_file, found: Vec::new() };
    match experiment(&mut reading, text, sets) {
        Some(experiment) if reading.found.is_empty() => Ok(experiment),
        _ => Err(in_order(reading.found)),
    }
}

fn experiment(r: &mut Reading<'_>, text: &str, sets: &[Set]) -> Option<Experiment> {
    let mut root = tree(r, text)?;
    for set in sets {
        if let Err(Wrong(message, help)) = set.apply(&mut root) {
            r.note(&set.at(), message, help);
        }
    }
    let (matrix, exclude) = (root.remove("matrix"), root.remove("exclude"));
    let base = spec(r, &root);
    if let (None, Some(exclude)) = (&matrix, &exclude) {
        r.error(&exclude.at, "without `matrix` there is nothing to exclude");
    }
    let cells = matrix::cells(r, &root, matrix.as_ref(), exclude.as_ref());
    let mut variants = Vec::new();
    for cell in &cells {
        if r.found.len() > ENOUGH {
            break;
        }
        let Some(spec) = spec(r, &cell.apply(&root)) else { continue };
        let label = if cell.label.is_empty() { spec.name.clone() } else { cell.label.clone() };
        let values = cell.values.iter().map(|(path, value)| (path.clone(), value.text()));
        variants.push(VariantInfo { label, cell: values.collect(), spec });
    }
    let experiment = Experiment { spec: base?, variants };
    if r.found.is_empty() {
        within_budget(r, &root, &experiment);
    }
    Some(experiment)
}

fn tree(r: &mut Reading<'_>, text: &str) -> Option<Node> {
    let start = At::Text { line: 1, column: 1, start: 0, end: 0 };
    if text.len() as u64 > MAX_SPEC_BYTES {
        r.error(&start, format!("a spec has at most {MAX_SPEC_BYTES} bytes, this has {}", text.len()));
        return None;
    }
    let help = "begin with `question: …`; the files in experiments/ are examples";
    match yaml::read(text) {
        Ok(Node { value: Value::Null, .. }) => {
            r.error_with(&start, "there is nothing in this file", help);
            None
        }
        Ok(root) if !matches!(root.value, Value::Map(_)) => {
            r.error_with(&root.at, format!("a spec is a mapping, found {}", root.kind()), help);
            None
        }
        Ok(root) => Some(root),
        Err(faults) => {
            faults.into_iter().for_each(|fault| r.note(&fault.at, fault.message, fault.help));
            None
        }
    }
}

/// Reads one spec from a tree without a matrix. None when a part is missing that nothing can stand in for.
fn spec(r: &mut Reading<'_>, root: &Node) -> Option<Spec> {
    let map = r.map(root, "a spec", reference::SPEC);
    let name = map.read(r, "name", &word).unwrap_or_else(|| stem(r.file));
    if map.get("question").is_none() {
        r.error_with(&map.at, "a spec needs `question`", "one sentence that the report answers");
    }
    let question = map.read(r, "question", &line(300)).unwrap_or_default();
    let kind = |text: &str| text.parse().map_err(|error: UnknownName| Wrong(error.message, Some(error.help)));
    let environment = map.read(r, "environment", &kind).unwrap_or(EnvironmentKind::Local);
    let services = match map.get("services") {
        Some(node) => services(r, node, load::target(map.get("load"))),
        None => {
            r.error_with(&map.at, "a spec needs `services`", "for instance `services: { user-service: {} }`");
            super::Services::default()
        }
    };
    let autoscaler = map.get("autoscaler").map(|node| autoscale::settings(r, node)).unwrap_or_default();
    let load = map.get("load").map(|node| load::load(r, node));
    let expect = expect(r, map.get("expect"));
    if load.as_ref().is_none_or(Option::is_some) {
        checks::expectations(r, &expect, load.as_ref().and_then(Option::as_ref), &services);
    }
    let repeats = map.read(r, "repeats", &whole32(1..=100)).unwrap_or(1);
    let seed = map.read(r, "seed", &whole(0..=u64::MAX)).unwrap_or(1);
    let budget = budget(r, map.get("budget"));
    let expect = expect.into_iter().map(|(expectation, _)| expectation).collect();
    let load = load.flatten();
    let spec = Spec { name, question, environment, services, autoscaler, load, expect, repeats, seed, budget };
    checks::together(r, root, &spec);
    Some(spec)
}

fn expect(r: &mut Reading<'_>, node: Option<&Node>) -> Vec<(Expectation, At)> {
    let Some(node) = node else { return Vec::new() };
    let (mut all, items) = (Vec::new(), r.list(node, "`expect`"));
    if items.len() > MAX_EXPECTATIONS {
        r.error(&node.at, format!("`expect` has more than {MAX_EXPECTATIONS} expectations"));
    }
    for item in items.iter().take(MAX_EXPECTATIONS) {
        let Some(text) = r.scalar(item, "an expectation", &|text: &str| Ok(text.to_owned())) else { continue };
        match text.parse::<Expectation>() {
            Ok(expectation) => all.push((expectation, item.at.clone())),
            Err(error) => r.error(&item.at, error.to_string()),
        }
    }
    all
}

fn budget(r: &mut Reading<'_>, node: Option<&Node>) -> Budget {
    let default = Budget { wall: Span::from_secs(30 * 60), usd: 0.0 };
    let Some(node) = node else { return default };
    let map = r.map(node, "`budget`", reference::BUDGET);
    let wall = duration(Span::from_secs(1)..=Span::from_secs(7 * 24 * 3600));
    Budget {
        wall: map.read(r, "wall", &wall).unwrap_or(default.wall),
        usd: map.read(r, "usd", &number(0.0..=1e6)).unwrap_or(default.usd),
    }
}

fn within_budget(r: &mut Reading<'_>, root: &Node, experiment: &Experiment) {
    let (wall, most) = (plan::wall(experiment), experiment.spec.budget.wall);
    if wall <= most {
        return;
    }
    // An estimate is not worth seconds.
    let wall = Span::from_secs(wall.as_millis().div_ceil(60_000) * 60);
    let trials = experiment.variants.len() as u64 * u64::from(experiment.spec.repeats);
    r.error_with(
        &checks::wall_place(root),
        format!("{trials} trials take about {wall}, longer than `budget.wall` {most}"),
        "raise `budget.wall`, or take fewer repeats, variants or shorter phases",
    );
}

/// The experiment's name by its file: the stem, with everything that does not belong into a name replaced.
fn stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name);
    let clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let clean: String = clean.trim_start_matches(['-', '_', '.']).chars().take(60).collect();
    if clean.is_empty() { "experiment".to_owned() } else { clean }
}
