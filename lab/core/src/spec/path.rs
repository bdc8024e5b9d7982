//! Dotted paths into a spec, `user-service.autoscale.metrics.0.cpu`: what `--set` and `matrix` change. A path is found in the
//! reference first, so that a field can be set that the file leaves to its default, and a misspelt one cannot.

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use super::node::{At, Entry, Node, Value};
use super::reader::Wrong;
use super::reference::{Field, Kind, SERVICES, SPEC};
use super::yaml;
use crate::nearest::nearest;

/// A setting of the command line, `path=value`; the value is YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Dotted path; `services.` may be left out before a service's name.
    pub path: String,
    /// YAML, usually one scalar.
    pub value: String,
}

/// A text is no setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no setting; write `PATH=VALUE`, e.g. `user-service.cache=memory`")]
pub struct NotASetting(String);

impl FromStr for Set {
    type Err = NotASetting;

    fn from_str(text: &str) -> Result<Self, NotASetting> {
        match text.split_once('=') {
            Some((path, value)) if !path.trim().is_empty() => {
                Ok(Self { path: path.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(NotASetting(text.to_owned())),
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.value)
    }
}

impl Set {
    pub(super) fn at(&self) -> At {
        At::Set(Rc::from(self.to_string()))
    }

    /// Changes the tree.
    pub(super) fn apply(&self, root: &mut Node) -> Result<(), Wrong> {
        let at = self.at();
        let value = yaml::read(&self.value).map_err(|faults| {
            let mut faults = faults.into_iter();
            faults.next().map_or_else(|| Wrong(String::new(), None), |fault| Wrong(fault.message, fault.help))
        })?;
        put(root, &self.path, value.placed(&at), &at).map(drop)
    }
}

/// Puts a value where a path leads and returns the path's steps in full: services named, list items by index.
pub(super) fn put(root: &mut Node, path: &str, value: Node, at: &At) -> Result<Vec<String>, Wrong> {
    let mut steps: Vec<&str> = path.split('.').collect();
    if SERVICES.iter().any(|service| steps.first() == Some(&service.name)) {
        steps.insert(0, "services");
    }
    let (mut node, mut kind, mut full) = (root, Kind::Map(SPEC), Vec::new());
    for (index, step) in steps.iter().enumerate() {
        let last = index + 1 == steps.len();
        (node, kind) = match kind {
            Kind::Map(fields) | Kind::ScalarOrMap(_, fields) => {
                let field = known(fields, step, &full)?;
                if full == ["services"] && !last && *step != "load-generator" && node.entry(step).is_none() {
                    return Err(Wrong(
                        format!("{step} is not part of this experiment"),
                        Some(format!("add `{step}: {{}}` to `services` first")),
                    ));
                }
                full.push((*step).to_owned());
                (field_of(node, field, kind, at)?, field.kind)
            }
            Kind::List(item) => {
                let index = index_of(node, step, &full)?;
                full.push(index.to_string());
                (item_of(node, index, at, &full)?, *item)
            }
            Kind::Scalar(_) | Kind::OneOf(_) => {
                return Err(Wrong(
                    format!("`{}` is a single value; there is no `{step}` below it", full.join(".")),
                    None,
                ));
            }
            Kind::Paths => {
                return Err(Wrong(
                    format!("`{}` is set as a whole only", full.join(".")),
                    Some(format!("write `{}={{ PATH: [VALUE, VALUE] }}`", full.join("."))),
                ));
            }
        };
    }
    *node = value;
    Ok(full)
}

fn known(fields: &'static [Field], step: &str, full: &[String]) -> Result<&'static Field, Wrong> {
    if let Some(field) = fields.iter().find(|field| field.name == step) {
        return Ok(field);
    }
    let within = |name: &str| full.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
    let names = || fields.iter().map(|field| field.name);
    let message = match nearest(step, names()) {
        Some(name) => format!("there is no field `{}`; did you mean `{}`?", within(step), within(name)),
        None => format!("there is no field `{}`", within(step)),
    };
    let place = if full.is_empty() { "of a spec".to_owned() } else { format!("of `{}`", full.join(".")) };
    Err(Wrong(message, Some(format!("fields {place}: {}", names().collect::<Vec<_>>().join(", ")))))
}

/// The value of a field, made when it is not there.
fn field_of<'n>(node: &'n mut Node, field: &Field, kind: Kind, at: &At) -> Result<&'n mut Node, Wrong> {
    let scalar = matches!((&node.value, kind), (Value::Scalar(_), Kind::ScalarOrMap(..)));
    if node.value == Value::Null || scalar {
        *node = Node { value: Value::Map(Vec::new()), at: at.clone() };
    }
    let found = node.kind();
    let Value::Map(entries) = &mut node.value else {
        return Err(Wrong(format!("`{}` is looked for in a mapping, found {found}", field.name), None));
    };
    let index = entries.iter().position(|entry| entry.key == field.name).unwrap_or_else(|| {
        let node = Node { value: Value::Null, at: at.clone() };
        entries.push(Entry { key: field.name.to_owned(), at: at.clone(), node });
        entries.len() - 1
    });
    Ok(&mut entries[index].node)
}

/// Items are named by their index, phases by their name too.
fn index_of(list: &Node, step: &str, full: &[String]) -> Result<usize, Wrong> {
    if let Ok(index) = step.parse() {
        return Ok(index);
    }
    let items = match &list.value {
        Value::List(items) => items.as_slice(),
        _ => &[],
    };
    let named = |item: &Node| item.get("name").is_some_and(|name| name.value == Value::Scalar(step.to_owned()));
    items.iter().position(named).ok_or_else(|| {
        let names: Vec<_> = items.iter().filter_map(|item| item.get("name")).map(Node::text).collect();
        let near = nearest(step, names.iter().map(String::as_str));
        let near = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        Wrong(
            format!("`{}` has no item `{step}`{near}", full.join(".")),
            Some("items are counted from 0; phases can be called by their name".to_owned()),
        )
    })
}

/// An item of a list, made when it is the next one.
fn item_of<'n>(node: &'n mut Node, index: usize, at: &At, full: &[String]) -> Result<&'n mut Node, Wrong> {
    if node.value == Value::Null {
        *node = Node { value: Value::List(Vec::new()), at: at.clone() };
    }
    let path = full.split_last().map(|(_, list)| list.join(".")).unwrap_or_default();
    let found = node.kind();
    let Value::List(items) = &mut node.value else {
        return Err(Wrong(format!("`{path}` is a list, found {found}"), None));
    };
    if index == items.len() {
        items.push(Node { value: Value::Null, at: at.clone() });
    }
    let end = match items.len() {
        0 => "has no items".to_owned(),
        count => format!("ends with item {}", count - 1),
    };
    items.get_mut(index).ok_or_else(|| {
        let help = "items are counted from 0; the next free one may be set too";
        Wrong(format!("`{path}` {end}, there is no item {index}"), Some(help.to_owned()))
    })
}
