//! From what was typed to an experiment: a bundled name or a file, with settings; everything that is wrong with it at once.

use std::fs;
use std::path::{Path, PathBuf};

use lab_core::nearest::nearest;
use lab_core::spec::{Experiment, MAX_SPEC_BYTES, Set, parse};

use crate::args::{EnvName, SpecArgs};
use crate::broken::BrokenSpec;
use crate::catalogue::BUNDLED;
use crate::error::LabError;

/// A spec's text, what it is called, and where the files are that it names.
struct Source {
    file: String,
    text: String,
    folder: PathBuf,
}

/// Reads what was typed.
///
/// # Errors
/// There is no such experiment, or it is broken.
pub fn read(args: &SpecArgs) -> Result<Experiment, LabError> {
    let source = find(&args.experiment)?;
    let mut sets = sets(&args.sets)?;
    if let Some(environment) = &args.environment {
        sets.push(environment_set(environment));
    }
    resolve(source, &sets)
}

/// Reads a spec that is given as text.
///
/// # Errors
/// It is broken.
pub fn from_text(name: &str, text: &str, sets: &[Set]) -> Result<Experiment, LabError> {
    resolve(Source { file: name.to_owned(), text: text.to_owned(), folder: PathBuf::from(".") }, sets)
}

/// Settings as typed.
///
/// # Errors
/// One of them is not `PATH=VALUE`.
pub fn sets(typed: &[String]) -> Result<Vec<Set>, LabError> {
    typed.iter().map(|set| set.parse::<Set>().map_err(|e| LabError::refused("cannot read --set", e))).collect()
}

/// `--env` as a setting.
pub fn environment_set(environment: &EnvName) -> Set {
    let value = match environment {
        EnvName::Auto | EnvName::Local => "local",
        EnvName::Docker => "docker",
        EnvName::Context(_) => "kubernetes",
    };
    Set { path: "environment".to_owned(), value: value.to_owned() }
}

/// The question of a bundled spec.
pub fn question(text: &str) -> Option<String> {
    let experiment = parse("bundled", text, &[], &|_| Err("not read".to_owned())).ok()?;
    Some(experiment.spec.question)
}

fn resolve(source: Source, sets: &[Set]) -> Result<Experiment, LabError> {
    let load_file = |name: &str| {
        let path = source.folder.join(name);
        read_bounded(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    parse(&source.file, &source.text, sets, &load_file)
        .map_err(|diagnostics| LabError::spec(BrokenSpec { file: source.file, text: source.text, diagnostics }))
}

fn find(wanted: &str) -> Result<Source, LabError> {
    let path = Path::new(wanted);
    let looks_like_a_file = path.extension().is_some() || wanted.contains('/');
    if !looks_like_a_file && let Some(bundled) = BUNDLED.iter().find(|b| b.name == wanted) {
        let (file, text) = (format!("{wanted}.yaml"), bundled.text.to_owned());
        return Ok(Source { file, text, folder: PathBuf::from("experiments") });
    }
    if !looks_like_a_file && !path.exists() {
        let names = BUNDLED.iter().map(|b| b.name);
        let hint = match nearest(wanted, names.clone()) {
            Some(near) => format!("did you mean `{near}`? `lab` lists all"),
            None => format!("experiments are {}; or name a YAML file", names.collect::<Vec<_>>().join(", ")),
        };
        return Err(LabError::input(format!("there is no experiment `{wanted}`")).hint(hint));
    }
    let text = read_bounded(path).map_err(|e| LabError::refused(format!("cannot read {wanted}"), e))?;
    let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    Ok(Source { file: wanted.to_owned(), text, folder })
}

/// Reads a file that is not larger than any spec may be.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let size = fs::metadata(path)?.len();
    if size > MAX_SPEC_BYTES {
        return Err(std::io::Error::other(format!("it has {size} bytes; at most {MAX_SPEC_BYTES} are read")));
    }
    let bytes = fs::read(path)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}
