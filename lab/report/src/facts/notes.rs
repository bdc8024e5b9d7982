//! What the user remarked and kept during the run, in the order of the instants it is about.

use serde::Serialize;

use lab_core::model::Model;
use lab_core::unit::RunTime;
use lab_core::words;

/// A remark, or a frame of the dashboard that was kept.
#[derive(Serialize)]
pub(crate) struct Note {
    /// Instant since the load of its trial began, where there is one; else since the run began.
    at: String,
    /// `note`, `still`.
    what: &'static str,
    /// The remark.
    text: String,
    /// Files that can be opened from the report, as names and links.
    files: Vec<(String, String)>,
}

/// All of them.
pub(crate) fn notes(model: &Model) -> Vec<Note> {
    let notes = model.notes.iter().map(|note| {
        let (what, text) = ("note", note.text.clone());
        (note.at, Note { at: at(model, note.trial, note.at), what, text, files: Vec::new() })
    });
    let stills = model.stills.iter().map(|still| {
        let files = still.files.iter().map(|file| (file.clone(), link(file))).collect();
        (still.at, Note { at: at(model, still.trial, still.at), what: "still", text: String::new(), files })
    });
    let mut all: Vec<(RunTime, Note)> = notes.chain(stills).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, note)| note).collect()
}

fn at(model: &Model, trial: Option<usize>, at: RunTime) -> String {
    let begun =
        trial.and_then(|index| model.trials.get(index)).and_then(|t| Some((t.info?.trial + 1, t.load_started?)));
    match begun {
        Some((_, zero)) if model.trials.len() == 1 => format!("{} since load began", words::clock(at, zero)),
        Some((number, zero)) => format!("trial {number}, {} since load began", words::clock(at, zero)),
        None => format!("{} since the run began", words::clock(at, RunTime(0))),
    }
}

/// Where a file of the run's folder is found from the report, which lies in it; empty when the path leads elsewhere.
fn link(file: &str) -> String {
    let inside = |part: &str| !matches!(part, "" | "." | "..");
    if !file.split('/').all(inside) {
        return String::new();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_');
    let byte = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    file.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_the_folder() {
        let table = [
            ("stills/81.25s.svg", "stills/81.25s.svg"),
            ("stills/a b.svg", "stills/a%20b.svg"),
            ("javascript:alert(1)", "javascript%3Aalert%281%29"),
            ("https://x/y", ""),
            ("../x", ""),
            ("/etc/x", ""),
            ("", ""),
        ];
        for (file, there) in table {
            assert_eq!(link(file), there, "{file}");
        }
    }
}
