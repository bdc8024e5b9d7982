//! Reads `matrix` and `exclude`: axes to cells, in the order written, the first axis changing slowest, each with its label.

use super::node::{At, Entry, Node, Value};
use super::path;
use super::reader::{Reading, Wrong};
use crate::nearest::nearest;

/// More variants than a run can mean.
const MAX_VARIANTS: usize = 100;
/// What is one for the whole run.
const FIXED: [&str; 8] = ["name", "question", "environment", "repeats", "seed", "budget", "matrix", "exclude"];

struct Axis {
    path: String,
    /// The path in full.
    steps: Vec<String>,
    values: Vec<Node>,
}

/// One combination.
pub(super) struct Cell {
    /// `cpu=70%`, or `cpu=70% cache=memory`.
    pub label: String,
    /// Path as written, value.
    pub values: Vec<(String, Node)>,
}

/// Cells of the matrix; one without values and label when there is none.
pub(super) fn cells(r: &mut Reading<'_>, root: &Node, matrix: Option<&Entry>, exclude: Option<&Entry>) -> Vec<Cell> {
    let before = r.found.len();
    let axes = matrix.map(|entry| axes(r, root, entry)).unwrap_or_default();
    let combinations = axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(axis.values.len()));
    match (matrix, combinations) {
        (Some(entry), Some(count)) if count > MAX_VARIANTS => {
            r.error(&entry.at, format!("`matrix` has {count} combinations, more than {MAX_VARIANTS}"));
        }
        (Some(entry), None) => r.error(&entry.at, format!("`matrix` has more than {MAX_VARIANTS} combinations")),
        _ => {}
    }
    if r.found.len() > before {
        return Vec::new();
    }
    let mut chosen = product(&axes);
    if let Some(entry) = exclude {
        leave_out(r, entry, &axes, &mut chosen);
    }
    let names = labels(&axes);
    chosen.iter().map(|choice| cell(&axes, &names, choice)).collect()
}

fn axes(r: &mut Reading<'_>, root: &Node, entry: &Entry) -> Vec<Axis> {
    if !matches!(entry.node.value, Value::Map(_) | Value::Null) {
        let help = "write `matrix: { user-service.cache: [none, memory] }`";
        r.error_with(&entry.node.at, format!("`matrix` is a mapping, found {}", entry.node.kind()), help);
    }
    let mut axes: Vec<Axis> = Vec::new();
    for entry in entry.node.entries() {
        let values = values(r, entry);
        let steps = match full_path(root, &entry.key) {
            Ok(steps) => steps,
            Err(Wrong(message, help)) => {
                r.note(&entry.at, message, help);
                continue;
            }
        };
        if let Some(other) = axes.iter().find(|axis| overlap(&axis.steps, &steps)) {
            r.error(&entry.at, format!("`{}` and `{}` change the same thing", entry.key, other.path));
        }
        axes.push(Axis { path: entry.key.clone(), steps, values });
    }
    axes
}

fn values(r: &mut Reading<'_>, entry: &Entry) -> Vec<Node> {
    let help = || format!("write `{}: [VALUE, VALUE]`", entry.key);
    let Value::List(items) = &entry.node.value else {
        r.error_with(
            &entry.node.at,
            format!("`{}` needs a list of values, found {}", entry.key, entry.node.kind()),
            help(),
        );
        return Vec::new();
    };
    if items.is_empty() {
        r.error_with(&entry.node.at, format!("`{}` has no values", entry.key), help());
    }
    if items.len() > MAX_VARIANTS {
        r.error(&entry.node.at, format!("`{}` has more than {MAX_VARIANTS} values", entry.key));
        return Vec::new();
    }
    for (index, item) in items.iter().enumerate() {
        if items[..index].iter().any(|earlier| earlier.text() == item.text()) {
            r.error(&item.at, format!("`{}` has the value {} twice", entry.key, item.text()));
        }
    }
    items.clone()
}

fn full_path(root: &Node, path: &str) -> Result<Vec<String>, Wrong> {
    let first = path.split('.').next().unwrap_or_default();
    if FIXED.contains(&first) {
        let help = (first == "exclude").then(|| "`exclude` stands beside `matrix`, not in it".to_owned());
        return Err(Wrong(format!("`{first}` is the same for all variants"), help));
    }
    let nothing = Node { value: Value::Null, at: root.at.clone() };
    path::put(&mut root.clone(), path, nothing, &root.at)
}

fn overlap(a: &[String], b: &[String]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// Every combination as the index of each axis' value.
fn product(axes: &[Axis]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![Vec::new()], |chosen, axis| {
        let extend = |choice: &Vec<usize>, value| choice.iter().copied().chain([value]).collect::<Vec<_>>();
        chosen.iter().flat_map(|choice| (0..axis.values.len()).map(move |value| extend(choice, value))).collect()
    })
}

fn leave_out(r: &mut Reading<'_>, entry: &Entry, axes: &[Axis], chosen: &mut Vec<Vec<usize>>) {
    let all = chosen.clone();
    for item in r.list(&entry.node, "`exclude`") {
        let Some(wanted) = excluded(r, item, axes) else { continue };
        let matches = |choice: &Vec<usize>| wanted.iter().all(|(axis, value)| choice[*axis] == *value);
        if !all.iter().any(matches) {
            r.error(&item.at, "this combination is not in `matrix`");
        }
        chosen.retain(|choice| !matches(choice));
    }
    if chosen.is_empty() {
        r.error(&entry.at, "every combination is left out");
    }
}

/// The axes and values that an item of `exclude` names.
fn excluded(r: &mut Reading<'_>, item: &Node, axes: &[Axis]) -> Option<Vec<(usize, usize)>> {
    if item.entries().is_empty() {
        let help = "write `- { PATH: VALUE }` with paths of `matrix`";
        r.error_with(&item.at, format!("an item of `exclude` is a mapping of paths, found {}", item.kind()), help);
        return None;
    }
    let mut wanted = Vec::new();
    for entry in item.entries() {
        let Some(axis) = axes.iter().position(|axis| same_path(axis, &entry.key)) else {
            let near = nearest(&entry.key, axes.iter().map(|axis| axis.path.as_str()));
            let near = near.map(|path| format!("; did you mean `{path}`?")).unwrap_or_default();
            r.error(&entry.at, format!("`{}` is not in `matrix`{near}", entry.key));
            continue;
        };
        let values = &axes[axis].values;
        match values.iter().position(|value| value.text() == entry.node.text()) {
            Some(value) => wanted.push((axis, value)),
            None => {
                let known = values.iter().map(Node::text).collect::<Vec<_>>().join(", ");
                let message = format!("`{}` is never {} in `matrix`", entry.key, entry.node.text());
                r.error_with(&entry.node.at, message, format!("its values: {known}"));
            }
        }
    }
    (wanted.len() == item.entries().len()).then_some(wanted)
}

fn same_path(axis: &Axis, path: &str) -> bool {
    axis.path == path || axis.steps.join(".") == path || axis.steps.join(".") == format!("services.{path}")
}

/// For each axis the shortest end of its path that no other axis shares and that does not begin with an index.
fn labels(axes: &[Axis]) -> Vec<String> {
    let name = |axis: &Axis| {
        let ends = (1..=axis.steps.len()).map(|length| &axis.steps[axis.steps.len() - length..]);
        let clear = |end: &&[String]| {
            let shared = axes.iter().filter(|other| other.steps.ends_with(end)).count() > 1;
            !shared && end[0].parse::<usize>().is_err()
        };
        ends.into_iter().find(clear).unwrap_or(&axis.steps).join(".")
    };
    axes.iter().map(name).collect()
}

fn cell(axes: &[Axis], names: &[String], choice: &[usize]) -> Cell {
    let mut cell = Cell { label: String::new(), values: Vec::new() };
    let mut parts = Vec::new();
    for ((axis, name), value) in axes.iter().zip(names).zip(choice) {
        let value = &axis.values[*value];
        let text: String = value.text().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        parts.push(format!("{name}={text}"));
        cell.values.push((axis.path.clone(), value.clone()));
    }
    cell.label = parts.join(" ");
    cell
}

impl Cell {
    /// The tree with this cell's values in it.
    pub(super) fn apply(&self, root: &Node) -> Node {
        let mut tree = root.clone();
        for (path, value) in &self.values {
            // The path was followed in this very tree when the matrix was read.
            let at: At = value.at.clone();
            let followed = path::put(&mut tree, path, value.clone(), &at);
            debug_assert!(followed.is_ok());
        }
        tree
    }
}
